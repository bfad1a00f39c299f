"""What stood before a batch of days was read, and the writing of their tables at just those versions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pandas as pd

from ratchet.errors import LedgerError
from ratchet.lake import NO_TABLE
from ratchet.published import written_by

if TYPE_CHECKING:
    from ratchet.lake import Lake
    from ratchet.published import PartitionRevisions

TABLES = ("quality", "history", "quarantine", "refused", "datasets")  # in the order in which they are written


class DayBatch:
    """What stood before a batch was read: versions of the tables, and what lake and ledger hold of its days."""

    def __init__(self, lake: Lake, ledger: PartitionRevisions, dataset: str, recipe: str, days: Sequence[str]) -> None:
        self._lake, self._name, self._recipe = lake, dataset, recipe
        revisions = ledger.partition_revisions(dataset, min(days), max(days))
        self.recorded = {day: all_of[-1] for day, all_of in revisions.items()}
        self._written = {day: written_by(all_of[-1], all_of) for day, all_of in revisions.items()}
        self.read_at = {kind: self._lake.state(f"{kind}/{self._name}") for kind in TABLES}
        self._check_lake()
        self.held = self._held(min(days), max(days))

    def holds_what_is_on_record(self, day: str) -> bool:
        """Whether the lake's rows of the day are those that the ledger knows of."""
        return day in self.held and self.held[day] == self._written.get(day)

    def _check_lake(self) -> None:
        newest = max((one.table_version for one in self.recorded.values()), default=NO_TABLE)
        if newest > self.read_at["datasets"]:
            raise LedgerError(
                f"the lake is older than what the ledger has on record of {self._name}",
                seen=f"version {self.read_at['datasets']} of datasets/{self._name}",
                expected=f"{newest} or newer",
                hint="restore lake and ledger from the same time; to begin anew, `make reset` deletes all state",
            )

    def _held(self, first: str, last: str) -> dict[str, tuple[str, str]]:
        """Drop and recipe that the lake's rows of each day come from, at the version looked at."""
        version = self.read_at["datasets"]
        if version == NO_TABLE:
            return {}
        columns = ["day", "drop_sha256", "recipe"]
        seen = self._lake.read(f"datasets/{self._name}", first, last, columns=columns, version=version)
        return {row.day: (row.drop_sha256, row.recipe) for row in seen.drop_duplicates().itertuples()}

    def read(self, kind: str, days: Sequence[str]) -> pd.DataFrame:
        """Rows of some days of one table, at the version that was looked at."""
        version = self.read_at[kind]
        return self._lake.read(f"{kind}/{self._name}", days=days, version=None if version == NO_TABLE else version)

    def write(self, kind: str, frames: Mapping[str, pd.DataFrame | None]) -> int | None:
        """Publishes the days of one table at the version that was looked at; None or no rows empties a day, and writes
        nothing where there is nothing to empty."""
        table = f"{kind}/{self._name}"
        empty = {day for day, frame in frames.items() if frame is None or frame.empty}
        idle = empty - set(self._lake.days(table)) if empty else empty
        given = {day: pd.DataFrame() if day in empty else frame for day, frame in frames.items() if day not in idle}
        if not given:
            return None
        return self._lake.publish_days(table, given, {"recipe": self._recipe}, read_at=self.read_at[kind])
