"""The files below the lake's tables: what they hold, which of them nobody needs, and what is said of what is gone."""

from __future__ import annotations

import json
import re
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from ratchet.days import check_day
from ratchet.digests import canonical_json, digest_of
from ratchet.errors import ParameterError, UnknownNameError
from ratchet.failpoints import failpoint
from ratchet.lake_rows import DAY, decoded
from ratchet.storage import Entry, Storage

if TYPE_CHECKING:
    from deltalake import DeltaTable

NO_TABLE = -1  # stands for the version of a table that isn't there
_ERASED = "_erased"  # folder of a table: which days an erasure took from its old versions
_TABLE = re.compile(r"[a-z][a-z0-9_]{0,40}/[a-z][a-z0-9_]{0,40}")
_NO_DAY = "none"  # Arrow takes no empty list
_MAX_BYTES = 4 * 1024**3
_YOUNG = timedelta(hours=1)


class ErasedError(UnknownNameError):
    """What is asked for held rows of somebody who was forgotten since."""


class LakeFiles(ABC):
    """What a lake does with whole files. Files of versions are immutable, so what nobody needs can go at any time."""

    storage: Storage

    @abstractmethod
    def path(self, table: str) -> str: ...

    @abstractmethod
    def state(self, table: str) -> int: ...

    @abstractmethod
    def history(self, table: str, limit: int | None = None) -> list[dict]: ...

    @abstractmethod
    def files_at(self, table: str, version: int | None = None, days: Collection[str] | None = None) -> set[str]: ...

    def tables(self) -> list[str]:
        """The names of all tables, sorted."""
        keys = (entry.key.split("/") for entry in self.storage.list())
        return sorted({"/".join(key[:2]) for key in keys if len(key) > 3 and key[2] == "_delta_log"})

    def data_files(self, table: str) -> dict[str, Entry]:
        """Every file of rows below the table's folder, by key, whether a version refers to it or not."""
        self.path(table)
        listed = self.storage.list(table)
        return {entry.key: entry for entry in listed if entry.key.endswith(".parquet") and f"/{DAY}=" in entry.key}

    def read_file(self, key: str, columns: Collection[str]) -> pa.Table:
        """Some columns of one of the `data_files`, as they are in it; those that it lacks are left out."""
        with tempfile.TemporaryDirectory(prefix="ratchet-file-") as folder:
            path = Path(folder) / "rows.parquet"
            self.storage.download(key, path, _MAX_BYTES)
            known = pq.read_schema(path).names
            return decoded(pq.read_table(path, columns=[name for name in columns if name in known], partitioning=None))

    def purge(self, table: str, days: Collection[str], holding: Collection[str], erasure: str) -> int:
        """Deletes the files of these days that the newest version doesn't read, so that no other can be read there any
        more: those `holding` what is erased, and all others but the young ones, which a writer may be about to commit.
        Who reads them later is told of `erasure`. Returns how many were deleted."""
        there = {key: entry for key, entry in self.data_files(table).items() if day_of(key) in days}
        before, needed = datetime.now(UTC) - _YOUNG, self.files_at(table, days=days)
        gone = sorted(
            key for key, entry in there.items() if key not in needed and (key in holding or entry.modified < before)
        )
        if gone:
            note = {"erasure": erasure, "days": sorted({day_of(key) for key in gone})}
            key = f"{table}/{_ERASED}/{digest_of(note)[:16]}.json"  # Delta's readers leave such folders alone
            self.storage.write(key, canonical_json(note).encode())
        return self._delete(gone)

    def vacuum(
        self, table: str, keep_versions: Iterable[int] = (), keep_days: float = 30, dry_run: bool = False
    ) -> int:
        """Deletes the files that nobody reads: not the newest version, not those of `keep_versions`, not one that was
        the newest at any time in the last `keep_days`, which a reader may still be at; and, of files that no version
        knows, those that killed writers left behind that long ago. Returns how many they are.

        `keep_days` below a day is for a lake that nobody writes to: what is about to be committed would go too.
        """
        before = datetime.now(UTC) - timedelta(days=keep_days)
        there = {key for key, entry in self.data_files(table).items() if entry.modified <= before}
        newest = self.state(table)
        if newest == NO_TABLE or not there:
            return 0
        for version in {newest, *keep_versions, *self._versions_since(table, before)}:
            there -= self.files_at(table, version)
        return len(there) if dry_run else self._delete(sorted(there))

    def erasures(self, table: str, days: Collection[str]) -> list[str]:
        """The erasures that took files of these days."""
        keys = [entry.key for entry in self.storage.list(f"{table}/{_ERASED}")]
        notes = [json.loads(self.storage.read(key, _MAX_BYTES)) for key in keys]
        return sorted({note["erasure"] for note in notes if set(days) & set(note["days"])})

    def _versions_since(self, table: str, moment: datetime) -> list[int]:
        """The versions that were the newest at that moment or later."""
        limit = 100
        while True:
            commits = self.history(table, limit)
            before = [commit["version"] for commit in commits if commit["timestamp"] < moment.timestamp() * 1000]
            if before or len(commits) < limit:
                return [commit["version"] for commit in commits if commit["version"] >= max(before, default=0)]
            limit *= 10

    def _delete(self, keys: Sequence[str]) -> int:
        for key in keys:
            failpoint("lake.before_delete")
            self.storage.delete(key)
        return len(keys)


def check_table(table: str) -> str:
    """The name itself. Raises ParameterError for what isn't `<kind>/<name>`."""
    if not _TABLE.fullmatch(table):
        raise ParameterError(
            "not a table's name",
            seen=repr(table),
            expected="<kind>/<name> in small letters, digits and _",
            hint="e.g. datasets/flights",
        )
    return table


def bounds_of(first: str | None, last: str | None, days: Collection[str] | None) -> list[tuple[str, str, object]]:
    """What to filter rows by; see Lake.read. Raises ParameterError for a day that is none."""
    bounds = [(DAY, op, check_day(day, "day")) for op, day in ((">=", first), ("<=", last)) if day is not None]
    if days is not None:
        bounds.append((DAY, "in", [check_day(day, "day") for day in days] or [_NO_DAY]))
    return bounds


def read_rows(
    lake: LakeFiles, table: str, opened: DeltaTable, columns: list[str] | None, bounds: list[tuple[str, str, str]]
) -> pa.Table:
    """The rows of a version: some columns and `day`, or all. Raises UnknownNameError for a column that it doesn't have,
    and after a clearing where the rows' files are gone; ErasedError after an erasure."""
    known = [field.name for field in opened.schema().fields]
    if absent := set(columns or []) - set(known):
        raise UnknownNameError(
            f"table {table!r} has no column {sorted(absent)}", expected=known, hint="ask for columns it has"
        )
    wanted = sorted({*columns, DAY}) if columns else None
    try:
        return opened.to_pyarrow_table(columns=wanted, filters=bounds or None)
    except FileNotFoundError as error:
        wanted = {key for key in keys_of(table, opened.file_uris()) if _is_within(day_of(key), bounds)}
        days = sorted({day_of(key) for key in wanted - set(lake.data_files(table))})
        erasures = lake.erasures(table, days)
        if opened.version() == lake.state(table) and not erasures:
            raise  # nobody took these away on purpose
        raise _gone(table, opened.version(), days, erasures) from error


def files_of(opened: DeltaTable, days: Collection[str]) -> set[str]:
    """The addresses of the files that a version reads for these days."""
    return set(opened.file_uris(file_pruning_predicate=[(DAY, "in", list(days))]))


def keys_of(table: str, uris: Iterable[str]) -> set[str]:
    return {f"{table}{uri[uri.rindex(f'/{DAY}=') :]}" for uri in uris}


def day_of(key: str) -> str:
    """The day whose rows a file holds."""
    return key.split(f"/{DAY}=")[1].split("/")[0]


def _is_within(day: str, bounds: list[tuple[str, str, str]]) -> bool:
    return all(day in limit if op == "in" else day >= limit if op == ">=" else day <= limit for _, op, limit in bounds)


def _gone(table: str, version: int, days: list[str], erasures: list[str]) -> UnknownNameError:
    told = f"version {version} of table {table!r} can't be read any more for {', '.join(days[:10])}"
    if erasures:
        return ErasedError(
            f"{told}: rows were erased there for good",
            seen=f"erasure {', '.join(erasures)}",
            hint="read the newest version, or other days; `ratchet audit show` tells who erased and why",
        )
    return UnknownNameError(
        f"{told}: its files were cleared away, as nobody needed them",
        hint="read the newest version; --keep-days of `ratchet upkeep` is how long old ones are kept",
    )
