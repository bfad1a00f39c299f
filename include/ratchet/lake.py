"""The lake: Delta tables partitioned by event day. The only module that imports deltalake.

A table is named `<kind>/<name>`, e.g. `datasets/flights`, and lies in the folder of that name of the lake's storage,
readable by Spark, DuckDB and Polars as it stands. Its `day` column is the partition. Every write replaces whole days
in one commit: a reader sees the table of before or of after, never a part. Old versions stay readable until somebody
takes their files away on purpose (ratchet.lake_files). Of two writers of one version one wins: by rename in a folder,
by a conditional put (If-None-Match) on S3. Where the storage fails, every call may raise StorageError.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from functools import wraps
from pathlib import Path
from uuid import uuid4

import pandas as pd
import pyarrow as pa

# deltalake's allocator would keep what a write took, half a gigabyte for three million rows, for ten seconds.
os.environ.setdefault("_RJEM_MALLOC_CONF", "dirty_decay_ms:0,muzzy_decay_ms:0")

from deltalake import CommitProperties, DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError

from ratchet.days import check_day
from ratchet.errors import ConflictError, ParameterError, UnknownNameError
from ratchet.failpoints import failpoint
from ratchet.lake_files import NO_TABLE, LakeFiles, bounds_of, check_table, day_of, files_of, keys_of, read_rows
from ratchet.lake_rows import DAY, fit, to_arrow, to_frame
from ratchet.storage import Storage, delta_error, open_storage

_EXTREMES = "delta.dataSkippingNumIndexedCols"
# Delta forgets how to read versions older than 30 days, unless told otherwise.
_KEEP_HISTORY = {
    "delta.enableExpiredLogCleanup": "false",
    "delta.logRetentionDuration": "interval 36500 days",
    _EXTREMES: "0",  # the log would keep smallest and largest values, whoever is erased
}
_PUBLICATION = "ratchet_publication"  # in each commit's metadata: whose it is
_ATTEMPTS = 12  # commits lost to writers of other days are tried again; each attempt reads the table anew


def _answered(method: Callable) -> Callable:
    """Says in our words what deltalake says when the storage below a table fails. The error it comes from stays hidden:
    it quotes S3's answers, and some servers put keys and signatures into those."""

    @wraps(method)
    def call(self: Lake, table: str, *args: object, **kwargs: object) -> object:
        try:
            return method(self, table, *args, **kwargs)
        except (DeltaError, OSError) as error:
            failed = delta_error(error, self.path(table))
            if failed is None:
                raise
        raise failed

    return call


class Lake(LakeFiles):
    """The tables of one storage, or of the folder that is one. Holds no handle: each call reads the newest state."""

    def __init__(self, storage: Storage | Path | str) -> None:
        self.storage = open_storage(storage)

    def publish(
        self,
        table: str,
        day: str,
        frame: pd.DataFrame,
        metadata: Mapping[str, str] | None = None,
        *,
        read_at: int | None = None,
    ) -> int:
        """Replaces one day of a table by the rows of `frame`, in one commit. Returns the table's new version.

        `frame` need not hold `day`; without rows the day is emptied. `metadata` is kept in the commit.
        """
        return self.publish_days(table, {day: frame}, metadata, read_at=read_at)

    @_answered
    def publish_days(
        self,
        table: str,
        frames: Mapping[str, pd.DataFrame],
        metadata: Mapping[str, str] | None = None,
        *,
        read_at: int | None = None,
    ) -> int:
        """Replaces several days in one commit: all of them or none. Returns the table's new version.

        Columns that the table doesn't have yet are added to it; a column whose type can't be cast to the table's
        raises ParameterError. Instants are kept as microseconds in UTC. `read_at`: the version (NO_TABLE: there was
        none) at which the caller looked before it decided to write; raises ConflictError, and writes nothing, if any
        of these days was written since. Raises ConflictError too when other writers keep winning.
        """
        days = sorted(check_day(day, "day") for day in frames)
        if not days:
            raise ParameterError("no day to publish", where=table, hint="name at least one day")
        rows = to_arrow({day: frames[day] for day in days})
        self.path(table)
        mark = {_PUBLICATION: uuid4().hex}
        told = {key: str(value) for key, value in (metadata or {}).items()} | mark
        commit = CommitProperties(custom_metadata=told, max_commit_retries=0)  # an unknown outcome is looked up first
        kind = table.partition("/")[0]
        failpoint(f"lake.{kind}.before_commit")
        for attempt in range(_ATTEMPTS):
            try:
                version = self._commit(table, days, rows, commit, read_at)
                failpoint(f"lake.{kind}.after_commit")
                return version
            except (DeltaError, OSError) as error:
                if (version := self._landed(table, mark)) is not None:
                    return version
                if not _is_race(error) or attempt == _ATTEMPTS - 1:
                    raise _publish_error(table, days, error) from error
                time.sleep(random.uniform(0, 0.05) * (attempt + 1))
        raise AssertionError("unreachable")

    def _landed(self, table: str, mark: Mapping[str, str]) -> int | None:
        """The version that a commit made although its reply was lost: that which bears its mark. None: it made none, or
        nobody can tell now."""
        with suppress(DeltaError, OSError):
            opened = self._open(table)
            for commit in opened.history(_ATTEMPTS) if opened else ():
                if mark.items() <= commit.items():
                    return commit["version"]
        return None

    @_answered
    def read(
        self,
        table: str,
        first: str | None = None,
        last: str | None = None,
        columns: list[str] | None = None,
        version: int | None = None,
        days: Collection[str] | None = None,
    ) -> pd.DataFrame:
        """The rows of days `first` to `last` (inclusive; None: open), and of these only `days`, if given.

        Ordered by day, then as they were published. `version`: the table as it stood then. A table that isn't there
        reads as an empty frame. Raises UnknownNameError for a version or column that it doesn't have.
        """
        opened = self._open(table, version)
        if opened is None:
            return pd.DataFrame(columns=columns or [DAY])
        rows = read_rows(self, table, opened, columns, bounds_of(first, last, days))
        frame = to_frame(rows).sort_values(DAY, kind="stable", ignore_index=True)
        return frame[columns] if columns else frame

    @_answered
    def days(self, table: str) -> list[str]:
        """The days that hold rows, sorted."""
        opened = self._open(table)
        return sorted({part[DAY] for part in opened.partitions()}) if opened else []

    @_answered
    def version(self, table: str) -> int | None:
        """The newest version, None if the table isn't there."""
        opened = self._open(table)
        return opened.version() if opened else None

    def state(self, table: str) -> int:
        """What to hand to a publish as `read_at`: the newest version, NO_TABLE if the table isn't there."""
        version = self.version(table)
        return NO_TABLE if version is None else version

    @_answered
    def history(self, table: str, limit: int | None = None) -> list[dict]:
        """The commits, newest first, as deltalake describes them (`version`, `operation`, our metadata)."""
        opened = self._open(table)
        return opened.history(limit) if opened else []

    def path(self, table: str) -> str:
        """Where a table lies, a folder or an s3:// address. Raises ParameterError for what isn't `<kind>/<name>`."""
        return self.storage.address(check_table(table))

    def _open(self, table: str, version: int | None = None) -> DeltaTable | None:
        path = self.path(table)
        try:
            return self._existing(table, version)
        except TableNotFoundError:
            if not any(entry.key.endswith(".json") for entry in self.storage.list(f"{table}/_delta_log")):
                return None
            return self._existing(table, version)  # made meanwhile; or it can't be read, which isn't the same as none
        except DeltaError as error:
            if version is None or delta_error(error, path):
                raise
            raise UnknownNameError(
                f"table {table!r} has no version {version}", seen=str(error), hint="see Lake.history for those it has"
            ) from error

    def _existing(self, table: str, version: int | None) -> DeltaTable:
        return DeltaTable(self.path(table), version=version, storage_options=self.storage.delta_options())

    def _commit(
        self, table: str, days: list[str], rows: pa.Table | None, commit: CommitProperties, read_at: int | None
    ) -> int:
        opened = self._open(table)
        if read_at is not None and opened is not None:
            self._refuse_overtaken(table, days, opened, read_at)
        replaced = f"{DAY} IN ({', '.join(repr(day) for day in days)})"
        if opened is None:
            if rows is None:
                return NO_TABLE  # nothing to empty: the table isn't there
            write_deltalake(
                self.path(table),
                rows,
                mode="error",
                partition_by=[DAY],
                name=table,
                # Without this the loser of two first commits is added as a second one: the days of both, twice over.
                commit_properties=commit,
                configuration=_KEEP_HISTORY,
                storage_options=self.storage.delta_options(),
            )
        elif rows is None:
            opened.delete(replaced, commit_properties=commit)
        else:
            fitted, grown = fit(rows, pa.schema(opened.schema().to_arrow()))
            write_deltalake(
                opened,
                fitted,
                mode="overwrite",
                predicate=replaced,
                schema_mode="merge" if grown else None,
                commit_properties=commit,
            )
        return opened.version() if opened else 0  # mode "error" makes the first version or none

    def _refuse_overtaken(self, table: str, days: list[str], opened: DeltaTable, read_at: int) -> None:
        """The commit itself fails if another one of these days comes between this look and it: Delta's own check."""
        if opened.version() == read_at:
            return
        then = files_of(self._open(table, read_at), days) if read_at != NO_TABLE else set()
        if then != files_of(opened, days):
            raise ConflictError(
                f"days of table {table!r} were written by another run meanwhile",
                seen=f"version {opened.version()}",
                expected=f"those days as they were at version {read_at}",
                where=f"days {days[0]} to {days[-1]}",
                hint="run again: it starts from what is there now; nothing was published",
            )

    @_answered
    def files_at(self, table: str, version: int | None = None, days: Collection[str] | None = None) -> set[str]:
        """The keys of the files that a version (None: the newest) reads, for some days or all. Raises
        UnknownNameError for a version that it doesn't have."""
        opened = self._open(table, version)
        if opened is None:
            return set()
        uris = opened.file_uris() if days is None else files_of(opened, sorted(days)) if days else ()
        return keys_of(table, uris)

    @_answered
    def has_values_in_log(self, table: str) -> bool:
        """Whether the log of a table, one made before there was an end to that, holds columns' extremes."""
        opened = self._open(table)
        return bool(opened) and opened.metadata().configuration.get(_EXTREMES) != "0"

    @_answered
    def compact(self, table: str, dry_run: bool = False) -> int:
        """Puts the rows of each day that lies in several files into one, in one commit. Returns how many such days
        there were. Raises ConflictError, and changes nothing, when one of them is written meanwhile."""
        opened = self._open(table)
        days = Counter(day_of(key) for key in self.files_at(table)) if opened else Counter()
        scattered = sorted(day for day, files in days.items() if files > 1)
        if scattered and not dry_run:
            try:
                opened.optimize.compact(partition_filters=[(DAY, "in", scattered)])
            except (CommitFailedError, DeltaError) as error:
                raise _publish_error(table, scattered, error) from error
        return len(scattered)


def _is_race(error: Exception) -> bool:
    text = str(error).lower()
    return isinstance(error, CommitFailedError) or (
        delta_error(error, "") is None
        and any(word in text for word in ("conflict", "concurrent", "already exists", "transaction"))
    )


def _publish_error(table: str, days: list[str], error: Exception) -> Exception:
    if not _is_race(error):
        return error
    return ConflictError(
        f"table {table!r} could not be written: other writers won each time",
        seen=str(error),
        where=f"days {days[0]} to {days[-1]}",
        hint="run again; nothing was published",
    )
