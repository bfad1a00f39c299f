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
from datetime import UTC
from typing import TYPE_CHECKING, Protocol

import pandas as pd

from ratchet.checked_days import CheckedDay, check_days
from ratchet.day_batch import DayBatch
from ratchet.digests import digest_of, frame_digest
from ratchet.drops import Drop, DropStore
from ratchet.errors import DropError, RatchetError, UndeliveredDropError
from ratchet.expectations import Check, Suite
from ratchet.lake import Lake
from ratchet.quality import UnreadDrop, history_with_unread, partition_history, quality_with_unread
from ratchet.read_drop import MAX_BYTES, DropRows, read_drop
from ratchet.specs import DatasetSpec

if TYPE_CHECKING:
    from ratchet.ledger import Partition, Refusal
    from ratchet.privacy import Pseudonyms

log = logging.getLogger(__name__)

_READER = 2  # raise it when reading or splitting changes what is published from the same drop


class PartitionLedger(Protocol):
    """What ingestion needs of the ledger."""

    def partitions(self, dataset: str, first: str | None = None, last: str | None = None) -> Sequence[Partition]: ...

    def partition_revisions(
        self, dataset: str, first: str | None = None, last: str | None = None
    ) -> Mapping[str, list[Partition]]: ...

    def refusals(self, dataset: str) -> Sequence[Refusal]: ...

    def record_partitions(self, published: Sequence[Mapping]) -> object: ...

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


MOST_ROWS = 1_000_000  # held in memory at once, unless a single drop has more


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
        """Publishes the days in one commit, and puts them on record in one transaction; in several of both when their
        rows are more than MOST_ROWS, whatever their manifests say. Returns what was checked."""
        checks: list[Check] = []
        while days:
            some, days = self._ingest_some(days)
            checks += some
        return checks

    def _ingest_some(self, days: Sequence[str]) -> tuple[list[Check], Sequence[str]]:
        """What was checked of the first days, and the days left for another batch."""
        batch = DayBatch(self.lake, self.ledger, self.spec.name, self.recipe, days)
        read: dict[str, tuple[Drop, DropRows]] = {}
        unread: dict[str, UnreadDrop] = {}
        made_up: list[dict] = []
        left: Sequence[str] = []
        for at, day in enumerate(days):
            drop = None
            if sum(rows.landed for _, rows in read.values()) > MOST_ROWS:
                left = days[at:]
                break
            try:
                drop = self._announced(batch, day)
                if not self._is_done(batch, drop, made_up):
                    read[day] = drop, self._read(drop)
            except DropError as error:
                log.warning("%s %s refused: %s", self.spec.name, day, error)
                final = not isinstance(error, UndeliveredDropError)
                unread[day] = UnreadDrop(day, drop, _one_line(error), final)
        self._record(made_up)
        checked = check_days(self.spec, self.suite, self.recipe, read) if read else {}
        if checked or unread:
            self._publish(batch, checked, unread)
        return [check for day in checked.values() for check in day.checks], left

    def _announced(self, batch: DayBatch, day: str) -> Drop:
        """The day's drop. Of bytes that are published already, the time of delivery on record stands: whoever delivers
        them again changes nothing."""
        drop, known = self.drops.announced(self.spec.name, day), batch.recorded.get(day)
        return replace(drop, delivered_at=known.delivered_at) if known and known.drop_sha256 == drop.sha256 else drop

    def _read(self, drop: Drop) -> DropRows:
        with self.drops.fetched(drop, MAX_BYTES) as path:
            return read_drop(path, drop, self.spec, pseudonyms=self.pseudonyms)

    def _is_done(self, batch: DayBatch, drop: Drop, made_up: list[dict]) -> bool:
        """Whether the day stands as it should; `made_up` gets the record that was lost between the lake's commit and
        the ledger's. Raises DropError for a drop that isn't newer than the one it would replace."""
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
        made_up.append(self._facts(batch, drop, rows, quarantined, batch.read_at["datasets"]))
        self.report.unchanged.append(drop.day)
        return True

    def _publish(self, batch: DayBatch, checked: dict[str, CheckedDay], unread: dict[str, UnreadDrop]) -> None:
        good = {day: one for day, one in checked.items() if not one.refusals}
        bad = {day: one for day, one in checked.items() if one.refusals}
        changed = {day: one for day, one in good.items() if not self._is_confirmed(batch, one)}
        self._write_findings(batch, checked, unread)
        batch.write("quarantine", {day: one.quarantine for day, one in good.items()})
        batch.write("refused", {day: bad[day].quarantine if day in bad else None for day in [*checked, *unread]})
        if changed:
            self.report.table_version = batch.write("datasets", {day: one.rows for day, one in changed.items()})
        versions = {
            day: self.report.table_version if day in changed else batch.recorded[day].table_version for day in good
        }
        self._record(
            [self._facts(batch, one.drop, one.rows, len(one.quarantine), versions[day]) for day, one in good.items()]
        )
        for day, one in good.items():
            self._report(one, "published" if day in changed else "confirmed")
        for day, one in bad.items():
            self._refuse(day, one.drop.delivery, one.refusals)
        for day, one in unread.items():
            self._refuse(day, one.delivery, [one.reason])
            self.report.unreadable.append(day)

    def _write_findings(self, batch: DayBatch, checked: dict[str, CheckedDay], unread: dict[str, UnreadDrop]) -> None:
        quality = {day: one.quality(self.recipe) for day, one in checked.items()}
        history = {day: partition_history(one, self.spec) for day, one in checked.items()}
        held = {kind: batch.read(kind, list(unread)) if unread else None for kind in ("quality", "history")}
        for day, one in unread.items():
            quality[day] = quality_with_unread(_of_day(held["quality"], day), one, self.recipe)
            history[day] = history_with_unread(_of_day(held["history"], day), one, self.spec)
        batch.write("quality", {day: frame for day, frame in quality.items() if frame is not None})
        batch.write("history", {day: frame for day, frame in history.items() if frame is not None})

    def _is_confirmed(self, batch: DayBatch, one: CheckedDay) -> bool:
        known = batch.recorded.get(one.drop.day)
        same = known is not None and known.digest == _digest(self.spec, one.rows)
        return same and batch.holds_what_is_on_record(one.drop.day)

    def _facts(self, batch: DayBatch, drop: Drop, rows: pd.DataFrame, quarantined: int, table_version: int) -> dict:
        """What goes on the ledger's record of a day."""
        known = batch.recorded.get(drop.day)
        restated = known is not None and known.drop_sha256 != drop.sha256
        usual = "delivered" if known is None else "restated by the sender" if restated else "checked by another recipe"
        return {
            "dataset": self.spec.name,
            "day": drop.day,
            "digest": _digest(self.spec, rows),
            "drop_sha256": drop.sha256,
            "recipe": self.recipe,
            "table_version": table_version,
            "rows": len(rows),
            "quarantined": quarantined,
            "delivered_at": drop.delivered_at,
            "actor": self.actor,
            "reason": self.reason or usual,
            "revises": known.revision if known else 0,
        }

    def _record(self, published: list[dict]) -> None:
        if published:
            self.ledger.record_partitions(published)

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


def _digest(spec: DatasetSpec, rows: pd.DataFrame) -> str:
    """Of the content: the spec's columns and when they were known, by whatever recipe."""
    return frame_digest(rows[[*spec.columns, "day", "known_at"]])


def _of_day(frame: pd.DataFrame, day: str) -> pd.DataFrame:
    return frame[frame["day"] == day]


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
