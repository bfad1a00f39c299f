"""The lake: Delta tables partitioned by event day. The only module that imports deltalake.

A table is named `<kind>/<name>`, e.g. `datasets/flights`, and lies in the folder of that name below the lake's root,
readable by Spark, DuckDB and Polars as it stands. Its `day` column is the partition. Every write replaces whole days
in one commit: a reader sees the table of before or of after, never a part. Nothing is vacuumed, so that each version
that was trained on can still be read.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError

from ratchet.days import check_day
from ratchet.errors import ConflictError, ParameterError, UnknownNameError
from ratchet.failpoints import failpoint

DAY = "day"
_TABLE = re.compile(r"[a-z][a-z0-9_]{0,40}/[a-z][a-z0-9_]{0,40}")
_ATTEMPTS = 12  # commits lost to writers of other days are tried again; each attempt reads the table anew


class Lake:
    """The tables below one root folder. Holds no handle: each call reads the table's newest state."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)

    def publish(self, table: str, day: str, frame: pd.DataFrame, metadata: Mapping[str, str] | None = None) -> int:
        """Replaces one day of a table by the rows of `frame`, in one commit. Returns the table's new version.

        `frame` need not hold `day`; without rows the day is emptied. `metadata` is kept in the commit.
        """
        return self.publish_days(table, {day: frame}, metadata)

    def publish_days(
        self, table: str, frames: Mapping[str, pd.DataFrame], metadata: Mapping[str, str] | None = None
    ) -> int:
        """Replaces several days in one commit: all of them or none. Returns the table's new version.

        Columns that the table doesn't have yet are added to it; a column whose type can't be cast to the table's
        raises ParameterError. Instants are kept as microseconds in UTC. Raises ConflictError when other writers
        keep winning.
        """
        days = sorted(check_day(day, "day") for day in frames)
        if not days:
            raise ParameterError("no day to publish", where=table, hint="name at least one day")
        filled = [frames[day].assign(**{DAY: day}) for day in days if len(frames[day])]
        rows = _to_arrow(pd.concat(filled, ignore_index=True)) if filled else None
        commit = CommitProperties(custom_metadata={k: str(v) for k, v in (metadata or {}).items()})
        failpoint("lake.publish.before_commit")
        for attempt in range(_ATTEMPTS):
            try:
                version = self._commit(table, days, rows, commit)
                failpoint("lake.publish.after_commit")
                return version
            except (CommitFailedError, DeltaError) as error:
                if not _is_race(error) or attempt == _ATTEMPTS - 1:
                    raise _publish_error(table, days, error) from error
                time.sleep(random.uniform(0, 0.05) * (attempt + 1))
        raise AssertionError("unreachable")

    def read(
        self,
        table: str,
        first: str | None = None,
        last: str | None = None,
        columns: list[str] | None = None,
        version: int | None = None,
    ) -> pd.DataFrame:
        """The rows of days `first` to `last` (inclusive; None: open), ordered by day, then as they were published.

        `version`: the table as it stood then. A table that isn't there reads as an empty frame. Raises
        UnknownNameError for a version or column that it doesn't have.
        """
        opened = self._open(table, version)
        if opened is None:
            return pd.DataFrame(columns=columns or [DAY])
        if absent := set(columns or []) - {field.name for field in opened.schema().fields}:
            known = [field.name for field in opened.schema().fields]
            raise UnknownNameError(
                f"table {table!r} has no column {sorted(absent)}", expected=known, hint="ask for columns it has"
            )
        wanted = sorted({*columns, DAY}) if columns else None
        bounds = [(DAY, op, check_day(day, "day")) for op, day in ((">=", first), ("<=", last)) if day is not None]
        frame = opened.to_pyarrow_table(columns=wanted, filters=bounds or None).to_pandas()
        frame = frame.sort_values(DAY, kind="stable", ignore_index=True)
        return frame[columns] if columns else frame

    def days(self, table: str) -> list[str]:
        """The days that hold rows, sorted."""
        opened = self._open(table)
        return sorted({part[DAY] for part in opened.partitions()}) if opened else []

    def version(self, table: str) -> int | None:
        """The newest version, None if the table isn't there."""
        opened = self._open(table)
        return opened.version() if opened else None

    def history(self, table: str, limit: int | None = None) -> list[dict]:
        """The commits, newest first, as deltalake describes them (`version`, `operation`, our metadata)."""
        opened = self._open(table)
        return opened.history(limit) if opened else []

    def path(self, table: str) -> Path:
        """The folder of a table. Raises ParameterError for a name that isn't `<kind>/<name>`."""
        if not _TABLE.fullmatch(table):
            raise ParameterError(
                "not a table's name",
                seen=repr(table),
                expected="<kind>/<name> in small letters, digits and _",
                hint="e.g. datasets/flights",
            )
        return self.root / table

    def _open(self, table: str, version: int | None = None) -> DeltaTable | None:
        path = self.path(table)
        if not (path / "_delta_log").is_dir():
            return None
        try:
            return DeltaTable(str(path), version=version)
        except TableNotFoundError:
            return None
        except DeltaError as error:
            if version is None:
                raise
            raise UnknownNameError(
                f"table {table!r} has no version {version}", seen=str(error), hint="see Lake.history for those it has"
            ) from error

    def _commit(self, table: str, days: list[str], rows: pa.Table | None, commit: CommitProperties) -> int:
        opened = self._open(table)
        replaced = f"{DAY} IN ({', '.join(repr(day) for day in days)})"
        if opened is None:
            if rows is None:
                return -1  # nothing to empty: the table isn't there
            self.path(table).mkdir(parents=True, exist_ok=True)
            write_deltalake(
                str(self.path(table)), rows, mode="error", partition_by=[DAY], name=table, commit_properties=commit
            )
        elif rows is None:
            opened.delete(replaced, commit_properties=commit)
        else:
            fitted, grown = _fit(rows, opened)
            write_deltalake(
                opened,
                fitted,
                mode="overwrite",
                predicate=replaced,
                schema_mode="merge" if grown else None,
                commit_properties=commit,
            )
        return (opened or DeltaTable(str(self.path(table)))).version()


def _to_arrow(frame: pd.DataFrame) -> pa.Table:
    """Arrow rows with plain strings and microsecond instants; text columns without a value stay text."""
    table = pa.Table.from_pandas(frame, preserve_index=False)
    fields = [pa.field(field.name, _plain_type(field.type)) for field in table.schema]
    return table.cast(pa.schema(fields)).replace_schema_metadata(None)


def _plain_type(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_timestamp(kind):
        return pa.timestamp("us", tz="UTC" if kind.tz else None)
    return pa.string() if pa.types.is_large_string(kind) or pa.types.is_null(kind) else kind


def _fit(rows: pa.Table, opened: DeltaTable) -> tuple[pa.Table, bool]:
    """`rows` with the table's columns, order and types, new columns last; and whether there are new ones."""
    known = pa.schema(opened.schema().to_arrow())
    added = [field for field in rows.schema if field.name not in known.names]
    columns = []
    for field in known:
        kind = _plain_type(field.type)
        if field.name not in rows.column_names:
            columns.append(pa.nulls(len(rows), kind))
            continue
        column = rows[field.name]
        try:
            columns.append(column.cast(kind))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise ParameterError(
                f"column {field.name!r} does not fit the table",
                seen=f"{column.type} ({error})",
                expected=str(kind),
                hint="publish the type that the table has, or give the column a new name",
            ) from error
    columns += [rows[field.name] for field in added]
    return pa.table(columns, names=[*known.names, *(field.name for field in added)]), bool(added)


def _is_race(error: Exception) -> bool:
    text = str(error).lower()
    return isinstance(error, CommitFailedError) or any(
        word in text for word in ("conflict", "concurrent", "already exists", "transaction")
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
