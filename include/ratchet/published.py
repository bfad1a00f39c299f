"""The datasets as the ledger says they are, or were known to be: the only way that training and scoring read them.

The ledger names, for each day, every revision with the drop it came from, when that was delivered, and the table
version that holds it. As of an instant, a day is the newest revision delivered before it: a correction that came later
changes nothing of what was known then. Rows that the lake holds and the ledger doesn't know are not read.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

import pandas as pd

if TYPE_CHECKING:
    from ratchet.lake import Lake
    from ratchet.ledger import Partition


class PartitionRevisions(Protocol):
    """What is needed of the ledger."""

    def partition_revisions(
        self, dataset: str, first: str | None = None, last: str | None = None
    ) -> dict[str, list[Partition]]: ...


class Published:
    """Reads `datasets/<name>` from the lake by the ledger's record."""

    def __init__(self, lake: Lake, ledger: PartitionRevisions) -> None:
        self.lake, self.ledger = lake, ledger

    def read(
        self, dataset: str, first: str | None, last: str | None, known_before: datetime | None = None
    ) -> tuple[pd.DataFrame, list[Partition], int]:
        """Rows of the days `first` to `last` (inclusive; None: open), in order of day; the revisions they are, in order
        of day; and how many rows of these days are left out because no revision of their day was known yet."""
        revisions = self.ledger.partition_revisions(dataset, first, last)
        wanted = [known for all_of in revisions.values() if (known := as_known(all_of, known_before))]
        days = {one.day for one in wanted}
        not_known_yet = sum(all_of[-1].rows for day, all_of in revisions.items() if day not in days)
        frame = self._rows(f"datasets/{dataset}", wanted, revisions)
        return frame, sorted(wanted, key=lambda one: one.day), not_known_yet

    def _rows(self, table: str, wanted: Sequence[Partition], revisions: dict[str, list[Partition]]) -> pd.DataFrame:
        """Most days in one read, of the newest version that any of them needs; each of those that another commit has
        replaced there, from its own version."""
        if not wanted:
            return self.lake.read(table, days=[])
        days = [one.day for one in wanted]
        newest = max(one.table_version for one in wanted)
        frame = self.lake.read(table, days=days, version=newest)
        written = frame[["day", "drop_sha256", "recipe"]].drop_duplicates()
        there: dict[str, set] = {}
        for row in written.itertuples():
            there.setdefault(row.day, set()).add((row.drop_sha256, row.recipe))
        right = {one.day for one in wanted if there.get(one.day) == {written_by(one, revisions[one.day])}}
        parts = [frame[frame["day"].isin(right)]]
        for one in wanted:
            if one.day not in right and one.rows:
                parts.append(self.lake.read(table, one.day, one.day, version=one.table_version))
        return pd.concat(parts).sort_values("day", kind="stable", ignore_index=True)


def as_known(revisions: Sequence[Partition], known_before: datetime | None) -> Partition | None:
    """The newest of a day's revisions that was delivered before an instant (None: the newest), or None."""
    known = [one for one in revisions if known_before is None or one.delivered_at < known_before]
    return max(known, key=lambda one: one.revision, default=None)


def written_by(one: Partition, revisions: Sequence[Partition]) -> tuple[str, str]:
    """Drop and recipe in the rows themselves: those of the first revision of that table version. A later one of the
    same version has only found the same content again."""
    first = min((r for r in revisions if r.table_version == one.table_version), key=lambda r: r.revision)
    return first.drop_sha256, first.recipe
