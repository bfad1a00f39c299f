"""A person's rows out of the lake: out of the newest version of each table that holds them, then out of all others.

A file of a table that holds such rows counts, whatever version refers to it, or none: an interrupted run finds what is
left. Tables are purged in the order in which they are given: `datasets` last, as the keys of its rows tell which
predictions are the person's.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa

from ratchet.failpoints import failpoint
from ratchet.forget import Person
from ratchet.lake import Lake
from ratchet.lake_files import day_of
from ratchet.storage import Storage

if TYPE_CHECKING:
    from ratchet.specs import DatasetSpec, ModelSpec

ERASED = "(erased)"
SCORED = ("predictions", "shadow")  # kinds of tables whose rows bear the key of a scored row
BATCH_DAYS = 15  # days held in memory and committed together


@dataclass(frozen=True)
class Target:
    """A table, the columns by which its rows are told apart, and which of a day's rows are the person's. `blanks`: the
    rows only mention the person, by the way: they stay, with this column blanked, and no day is looked into for them.
    """

    table: str
    columns: list[str]
    find: Callable[[pa.Table, str], np.ndarray]
    blanks: str | None = None

    def without(self, frame: pd.DataFrame, day: str) -> pd.DataFrame:
        """A day's rows less the person's."""
        known = [name for name in self.columns if name in frame.columns]
        found = self.find(pa.Table.from_pandas(frame[known], preserve_index=False), day)
        if self.blanks is None:
            return frame[~found]
        return frame.assign(**{self.blanks: frame[self.blanks].mask(found, ERASED)})


@dataclass
class HeldRows:
    """How many of the person's rows each file of each table holds, by table and file key; only those that hold any.
    `mentions`: tables of which that is all there is. `not_read`: addresses of files that can't be read as rows."""

    files: dict[str, dict[str, int]] = field(default_factory=dict)
    mentions: set[str] = field(default_factory=set)
    not_read: list[str] = field(default_factory=list)

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """Rows by table and day, over all files: a row that three versions wrote anew counts three times."""
        return {table: _by_day(files) for table, files in self.files.items() if files and table not in self.mentions}

    @property
    def days(self) -> set[str]:
        return {day for days in self.counts.values() for day in days}

    def holding(self, table: str, days: Iterable[str]) -> set[str]:
        wanted = set(days)
        return {key for key in self.files.get(table, {}) if day_of(key) in wanted}


def targets(
    lake: Lake,
    person: Person,
    dataset_specs: Mapping[str, DatasetSpec],
    model_specs: Iterable[ModelSpec],
    odd_rows: Sequence[str],
) -> list[Target]:
    """The tables that can hold rows of the person, in the order in which they are to be purged."""
    name, columns = person.spec.name, list(person.key)
    published = Target(f"datasets/{name}", columns, lambda rows, _: person.among_published(rows))
    keys = _RemovedKeys(lake, published, person.spec.key)

    def aside(rows: pa.Table, _: str) -> np.ndarray:
        return person.among_set_aside(rows["row"].to_pylist() if "row" in rows.column_names else [], odd_rows)

    def mentioned(rows: pa.Table, _: str) -> np.ndarray:
        return person.mentioned(rows["expectation"].to_pylist(), rows["seen"].to_pylist())

    found = [
        Target(f"quality/{name}", ["expectation", "seen"], mentioned, blanks="seen"),
        Target(f"quarantine/{name}", ["row"], aside),
        Target(f"refused/{name}", ["row"], aside),
    ]
    for model in model_specs:
        scored = dataset_specs[model.scored_dataset]
        if scored.name == name:
            found += [Target(f"{kind}/{model.name}", scored.key, keys.find) for kind in SCORED]
        elif set(columns) <= set(scored.key):
            found += [Target(f"{kind}/{model.name}", columns, published.find) for kind in SCORED]
    return [*found, published]


def find_held(lake: Lake, wanted: Iterable[Target]) -> HeldRows:
    """Looks into every file of these tables."""
    held = HeldRows()
    for target in wanted:
        files = held.files.setdefault(target.table, {})
        held.mentions |= {target.table} if target.blanks else set()
        for key in sorted(lake.data_files(target.table)):
            rows = _rows(lake, key, target.columns)
            if rows is None:
                held.not_read.append(lake.storage.address(key))
            elif found := int(target.find(rows, day_of(key)).sum()):
                files[key] = found
    return held


def publish_without(lake: Lake, target: Target, held: HeldRows, days: Iterable[str], erasure: str) -> None:
    """Publishes those of these days of a table of which the newest version reads files with the person's rows, without
    these. Raises ConflictError if one of them is written meanwhile."""
    read_at = lake.state(target.table)
    touched = lake.files_at(target.table, days=set(days)) & held.holding(target.table, days)
    days = sorted({day_of(key) for key in touched})
    for first in range(0, len(days), BATCH_DAYS):
        batch = days[first : first + BATCH_DAYS]
        frames = {day: target.without(lake.read(target.table, day, day), day) for day in batch}
        read_at = lake.publish_days(target.table, frames, {"erasure": erasure}, read_at=read_at)


def delete_snapshots(storage: Storage, model: str, digests: Iterable[str]) -> None:
    """Deletes training inputs saved in the lake's storage. The manifest goes first: a folder without it isn't one."""
    for digest in digests:
        keys = [entry.key for entry in storage.list(f"snapshots/{model}/{digest}")]
        for key in sorted(keys, key=lambda key: (not key.endswith(".json"), key)):
            storage.delete(key)
            failpoint("forget.snapshot_deleted")


class _RemovedKeys:
    """Predictions bear a row's key, not the person's name: they are told by the keys of the rows of their day."""

    def __init__(self, lake: Lake, published: Target, key: list[str]) -> None:
        self._lake, self._published, self._key = lake, published, key
        self._known: dict[str, set[tuple]] | None = None

    def find(self, rows: pa.Table, day: str) -> np.ndarray:
        if self._known is None:
            self._known = self._look()
        wanted = self._known.get(day, set())
        if not wanted:
            return np.zeros(len(rows), dtype=bool)
        return np.array([row in wanted for row in _tuples(rows, self._key)], dtype=bool)

    def _look(self) -> dict[str, set[tuple]]:
        known: dict[str, set[tuple]] = {}
        for key in self._lake.data_files(self._published.table):
            rows = _rows(self._lake, key, {*self._published.columns, *self._key})
            found = None if rows is None else rows.filter(pa.array(self._published.find(rows, day_of(key))))
            if found:
                known.setdefault(day_of(key), set()).update(_tuples(found, self._key))
        return known


def _rows(lake: Lake, key: str, columns: Collection[str]) -> pa.Table | None:
    """None for what isn't a whole file."""
    try:
        return lake.read_file(key, columns)
    except pa.ArrowInvalid:
        return None


def _tuples(rows: pa.Table, columns: list[str]) -> list[tuple]:
    return list(zip(*(rows[name].to_pylist() for name in columns), strict=True))


def _by_day(files: Mapping[str, int]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for key, rows in sorted(files.items()):
        counts[day_of(key)] = counts.get(day_of(key), 0) + rows
    return counts
