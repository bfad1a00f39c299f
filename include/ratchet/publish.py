"""One batch of days from drop to published partition, and on record.

Order of writes, so that a crash between any two is mended by running again: quality, history, quarantine and refused,
the dataset (its commit decides), the ledger's record. Every table is written at the version that was looked at before
anything was read: a run that was overtaken meanwhile changes nothing (ConflictError).

Published rows have the spec's columns and `day`, `known_at` (when the drop was delivered, UTC), `drop_sha256`,
`recipe`. Tables: datasets/<name>; quarantine/<name> (line, reason, row as JSON, known_at, drop_sha256) of published
days; refused/<name>, the same of days refused as a whole; of the day's last check, published or refused,
quality/<name> (a row per day and expectation) and history/<name> (ratchet.quality: a row per day and column). Columns
made for suites: ratchet.checked_days.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

import pandas as pd

from ratchet.checked_days import CheckedDay, check_days
from ratchet.digests import digest_of, frame_digest
from ratchet.drops import Drop, DropStore
from ratchet.errors import DropError, LedgerError, RatchetError, UndeliveredDropError
from ratchet.expectations import Check, Suite
from ratchet.lake import NO_TABLE, Lake
from ratchet.published import written_by
from ratchet.quality import partition_history
from ratchet.read_drop import MAX_BYTES, DropRows, read_drop
from ratchet.specs import DatasetSpec

if TYPE_CHECKING:
    from ratchet.ledger import Partition, Refusal
    from ratchet.privacy import Pseudonyms

log = logging.getLogger(__name__)

TABLES = ("quality", "history", "quarantine", "refused", "datasets")  # in the order in which they are written
_READER = 2  # raise it when reading or splitting changes what is published from the same drop


class PartitionLedger(Protocol):
    """What ingestion needs of the ledger."""

    def partitions(self, dataset: str, first: str | None = None, last: str | None = None) -> Sequence[Partition]: ...

    def partition_revisions(
        self, dataset: str, first: str | None = None, last: str | None = None
    ) -> Mapping[str, list[Partition]]: ...

    def refusals(self, dataset: str) -> Sequence[Refusal]: ...

    def record_partition(
        self,
        dataset: str,
        day: str,
        digest: str,
        drop_sha256: str,
        recipe: str,
        table_version: int,
        rows: int,
        quarantined: int,
        delivered_at: datetime,
        actor: str | None = None,
        reason: str = "delivered",
    ) -> object: ...

    def record_refusal(
        self, dataset: str, day: str, delivery: str, recipe: str, reasons: Sequence[str], actor: str | None = None
    ) -> object: ...


@dataclass
class IngestReport:
    """What became of each day asked for. `confirmed`: checked anew by another recipe, with the same content as before.
    `refused`: why, a line per failure; `unreadable`: those of them whose file can't be used at all; `refused_before`:
    refused by an earlier run and not tried again. `warnings`: lines, of days published. `rows` and `quarantined` count
    the days published by this run."""

    dataset: str
    published: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    confirmed: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    refused: dict[str, list[str]] = field(default_factory=dict)
    unreadable: list[str] = field(default_factory=list)
    refused_before: list[str] = field(default_factory=list)
    warnings: dict[str, list[str]] = field(default_factory=dict)
    rows: int = 0
    quarantined: int = 0
    table_version: int | None = None
    data_docs: str | None = None

    @property
    def status(self) -> str:
        if self.refused:
            return "refused"
        return "published" if self.published else "nothing new"

    def as_dict(self) -> dict:
        """Plain values, ready for JSON."""
        return {"status": self.status, **vars(self)}


def recipe_of(spec: DatasetSpec, suite: Suite, pseudonyms: Pseudonyms | None = None) -> str:
    """The digest of all that decides, beside the drop, what is published: an owner, a schedule or a remark doesn't; of
    the pseudonyms' key a fingerprint does, where the spec has personal columns."""
    deciding = spec.model_dump(exclude={"name", "description", "owner", "schedule", "starts", "tags"})
    asked = [{key: value for key, value in one.items() if key != "meta"} for one in suite.expectations]
    return digest_of([_READER, deciding, asked, pseudonyms.fingerprint if spec.personal and pseudonyms else None])


class Publisher:
    """Takes batches of one dataset's days; `report` collects what became of them."""

    def __init__(
        self,
        spec: DatasetSpec,
        suite: Suite,
        *,
        drops: DropStore,
        lake: Lake,
        ledger: PartitionLedger,
        pseudonyms: Pseudonyms | None = None,
        actor: str | None = None,
        reason: str | None = None,
    ) -> None:
        self.spec, self.suite, self.drops, self.lake, self.ledger = spec, suite, drops, lake, ledger
        self.pseudonyms, self.recipe = pseudonyms, recipe_of(spec, suite, pseudonyms)
        self.report = IngestReport(spec.name)
        self.actor, self.reason = actor, reason

    def ingest(self, days: Sequence[str]) -> list[Check]:
        """Publishes the days, all in one commit. Returns what was checked."""
        batch = _Batch(self, days)
        read: dict[str, tuple[Drop, DropRows]] = {}
        for day in days:
            drop = None
            try:
                drop = self._announced(batch, day)
                if not self._is_done(batch, drop):
                    read[day] = drop, self._read(drop)
            except DropError as error:
                log.warning("%s %s refused: %s", self.spec.name, day, error)
                self.report.unreadable.append(day)
                final = drop is not None and not isinstance(error, UndeliveredDropError)
                self._refuse(day, drop.delivery if final else "", [_one_line(error)])
        if not read:
            return []
        checked = check_days(self.spec, self.suite, self.recipe, read)
        self._publish(batch, checked)
        return [check for day in checked.values() for check in day.checks]

    def _announced(self, batch: _Batch, day: str) -> Drop:
        """The day's drop. Of bytes that are published already, the time of delivery on record stands: whoever delivers
        them again changes nothing."""
        drop, known = self.drops.announced(self.spec.name, day), batch.recorded.get(day)
        return replace(drop, delivered_at=known.delivered_at) if known and known.drop_sha256 == drop.sha256 else drop

    def _read(self, drop: Drop) -> DropRows:
        with self.drops.fetched(drop, MAX_BYTES) as path:
            return read_drop(path, drop, self.spec, pseudonyms=self.pseudonyms)

    def _is_done(self, batch: _Batch, drop: Drop) -> bool:
        """Whether the day stands as it should; makes up for a record lost between the lake's commit and the ledger's.
        Raises DropError for a drop that isn't newer than the one it would replace."""
        known, held = batch.recorded.get(drop.day), batch.held.get(drop.day)
        wanted = (drop.sha256, self.recipe)
        if known and (known.drop_sha256, known.recipe) == wanted and batch.holds_what_is_on_record(drop.day):
            self.report.unchanged.append(drop.day)
            return True
        if known and drop.sha256 != known.drop_sha256 and drop.delivered_at <= known.delivered_at:
            raise _not_newer(drop, known)
        if held != wanted:
            return False
        table = f"datasets/{self.spec.name}"
        rows = self.lake.read(table, drop.day, drop.day, version=batch.read_at["datasets"])
        quarantined = len(self.lake.read(f"quarantine/{self.spec.name}", drop.day, drop.day))
        drop = replace(drop, delivered_at=rows["known_at"].iloc[0].to_pydatetime())
        self._record(batch, drop, rows, quarantined, batch.read_at["datasets"])
        self.report.unchanged.append(drop.day)
        return True

    def _publish(self, batch: _Batch, checked: dict[str, CheckedDay]) -> None:
        good = {day: one for day, one in checked.items() if not one.refusals}
        bad = {day: one for day, one in checked.items() if one.refusals}
        changed = {day: one for day, one in good.items() if not self._is_confirmed(batch, one)}
        batch.write("quality", {day: one.quality(self.recipe) for day, one in checked.items()})
        batch.write("history", {day: partition_history(one, self.spec) for day, one in checked.items()})
        batch.write("quarantine", {day: one.quarantine for day, one in good.items()})
        batch.write("refused", {day: one.quarantine if day in bad else None for day, one in checked.items()})
        if changed:
            self.report.table_version = batch.write("datasets", {day: one.rows for day, one in changed.items()})
        for day, one in good.items():
            version = self.report.table_version if day in changed else batch.recorded[day].table_version
            self._record(batch, one.drop, one.rows, len(one.quarantine), version)
            self._report(one, "published" if day in changed else "confirmed")
        for day, one in bad.items():
            self._refuse(day, one.drop.delivery, one.refusals)

    def _is_confirmed(self, batch: _Batch, one: CheckedDay) -> bool:
        known = batch.recorded.get(one.drop.day)
        same = known is not None and known.digest == _digest(self.spec, one.rows)
        return same and batch.holds_what_is_on_record(one.drop.day)

    def _record(self, batch: _Batch, drop: Drop, rows: pd.DataFrame, quarantined: int, table_version: int) -> None:
        known = batch.recorded.get(drop.day)
        restated = known is not None and known.drop_sha256 != drop.sha256
        usual = "delivered" if known is None else "restated by the sender" if restated else "checked by another recipe"
        self.ledger.record_partition(
            dataset=self.spec.name,
            day=drop.day,
            digest=_digest(self.spec, rows),
            drop_sha256=drop.sha256,
            recipe=self.recipe,
            table_version=table_version,
            rows=len(rows),
            quarantined=quarantined,
            delivered_at=drop.delivered_at,
            actor=self.actor,
            reason=self.reason or usual,
        )

    def _report(self, one: CheckedDay, outcome: str) -> None:
        getattr(self.report, outcome).append(one.drop.day)
        if outcome == "published":
            self.report.rows += len(one.rows)
            self.report.quarantined += len(one.quarantine)
        if warned := [c for c in one.checks if not c.passed and c.severity != "critical"]:
            self.report.warnings[one.drop.day] = [
                f"{c.expectation}: seen {c.seen}, expected {c.expected}" for c in warned
            ]

    def _refuse(self, day: str, delivery: str, reasons: list[str]) -> None:
        self.report.refused[day] = reasons
        self.ledger.record_refusal(self.spec.name, day, delivery, self.recipe, reasons, actor=self.actor)


class _Batch:
    """What stood before a batch was read: versions of the tables, and what lake and ledger hold of its days."""

    def __init__(self, publisher: Publisher, days: Sequence[str]) -> None:
        self._lake, self._name, self._recipe = publisher.lake, publisher.spec.name, publisher.recipe
        revisions = publisher.ledger.partition_revisions(self._name, min(days), max(days))
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

    def write(self, kind: str, frames: Mapping[str, pd.DataFrame | None]) -> int | None:
        """Publishes the days of one table at the version that was looked at; None or no rows empties a day, and writes
        nothing where there is nothing to empty."""
        table = f"{kind}/{self._name}"
        there = set(self._lake.days(table))
        frames = {day: frame if frame is not None else pd.DataFrame() for day, frame in frames.items()}
        frames = {day: frame for day, frame in frames.items() if len(frame) or day in there}
        if not frames:
            return None
        return self._lake.publish_days(table, frames, {"recipe": self._recipe}, read_at=self.read_at[kind])


def _digest(spec: DatasetSpec, rows: pd.DataFrame) -> str:
    """Of the content: the spec's columns and when they were known, by whatever recipe."""
    return frame_digest(rows[[*spec.columns, "day", "known_at"]])


def _not_newer(drop: Drop, known: Partition) -> DropError:
    return DropError(
        f"the drop of {drop.dataset} for {drop.day} is other than the one published, and not newer",
        seen=f"delivered {drop.delivered_at.isoformat()}",
        expected=f"later than {known.delivered_at.astimezone(UTC).isoformat()}, when the one published was delivered",
        hint="a correction says when it was delivered: have the sender mend the manifest's delivered_at",
    )


def _one_line(error: RatchetError) -> str:
    facts = {"seen": error.seen, "expected": error.expected}
    return ", ".join([error.what, *(f"{name} {value}" for name, value in facts.items() if value is not None)])
