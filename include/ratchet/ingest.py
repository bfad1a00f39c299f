"""Drops in, validated partitions out: each day is published whole and valid, or not at all.

Order of writes, so that a crash between any two is mended by running again: quality history, quarantine, the dataset
(its commit decides), the ledger's record. A day that the lake holds from the same drop by the same recipe (spec and
suite) is left as it is; only a record that the ledger lacks is made up for.

Published rows have the spec's columns and `day`, `known_at` (when the drop was delivered, UTC), `drop_sha256`,
`recipe`. Tables: datasets/<name>; quarantine/<name> (line, reason, row as JSON, known_at, drop_sha256); quality/<name>
(one row per day and expectation, of the day's last check, published or refused). Columns made for suites:
ratchet.checked_days.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal, Protocol

import pandas as pd

from ratchet.checked_days import CheckedDay, check_days
from ratchet.data_docs import data_docs_page
from ratchet.days import check_day
from ratchet.digests import digest_of, frame_digest
from ratchet.drops import Drop, DropStore
from ratchet.errors import DropError, ParameterError, RatchetError, ValidationFailedError
from ratchet.expectations import Check, Suite, load_suite
from ratchet.lake import Lake
from ratchet.read_drop import DropRows, read_drop
from ratchet.specs import DatasetSpec

log = logging.getLogger(__name__)

BATCH_DAYS = 15  # days held in memory, validated and committed together
_READER = 1  # raise it when reading or splitting changes what is published from the same drop


class PartitionLedger(Protocol):
    """What ingestion needs of the ledger."""

    def partitions(self, dataset: str, first: str | None = None, last: str | None = None) -> Sequence[object]: ...

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
    ) -> object: ...


@dataclass
class IngestReport:
    """What became of each day asked for. `refused`: why, a line per failure; `unreadable`: those of them
    whose file can't be used at all. `warnings`: likewise lines, of days published.
    `rows` and `quarantined` count the days published by this run."""

    dataset: str
    published: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    refused: dict[str, list[str]] = field(default_factory=dict)
    unreadable: list[str] = field(default_factory=list)
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


def ingest_days(
    spec: DatasetSpec,
    days: Sequence[str],
    *,
    drops: DropStore,
    suite_path: Path,
    lake: Lake,
    ledger: PartitionLedger,
    on_missing: Literal["error", "skip"] = "error",
    on_data_docs: Callable[[Path, str], str] | None = None,
) -> IngestReport:
    """Publishes the drops of these event days. Again: nothing changes.

    A missing drop is a DropError before anything is written, unless `on_missing` is "skip". A day is refused when its
    file can't be read, a table-level expectation fails, no row is left, or more than `max_quarantined_share` of its
    rows go to quarantine; the other days are published, then ValidationFailedError lists every refused day (DropError
    if all of them are unreadable files). Raises ValidationBrokenError when the validator itself raises.
    `on_data_docs(page, key)` saves the page that shows what was checked, and returns its address.
    """
    days = sorted({check_day(day, "day") for day in days})
    if not days:
        raise ParameterError(f"no day of {spec.name} to ingest", hint="name at least one event day")
    suite = load_suite(suite_path)
    report, recipe = IngestReport(spec.name), recipe_of(spec, suite)
    delivered = set(drops.days(spec.name))
    report.missing = [day for day in days if day not in delivered]
    if report.missing and on_missing == "error":
        raise _missing(spec, drops, report.missing, len(days))
    found = [day for day in days if day in delivered]
    checks: list[Check] = []
    for start in range(0, len(found), BATCH_DAYS):
        batch = found[start : start + BATCH_DAYS]
        checks += _ingest_batch(spec, batch, drops, suite, recipe, lake, ledger, report)
        log.info(
            "%s: %d of %d days; %d rows published, %d quarantined, %d days unchanged, %d refused",
            spec.name,
            start + len(batch),
            len(found),
            report.rows,
            report.quarantined,
            len(report.unchanged),
            len(report.refused),
        )
    if checks and on_data_docs:
        report.data_docs = _save_data_docs(spec, recipe, report, checks, on_data_docs)
    if report.refused:
        error = _refused(spec, suite, report)
        error.links = {"data_docs": report.data_docs} if report.data_docs else {}
        raise error
    return report


def ingest_new(
    spec: DatasetSpec, *, drops: DropStore, suite_path: Path, lake: Lake, ledger: PartitionLedger, **adapters
) -> IngestReport:
    """Publishes the drops that the lake hasn't got: of new days, and restatements (other bytes for a known day); and
    takes again the days that a killed run published without the ledger's record.

    None: a report whose status is "nothing new". Everything else as `ingest_days`.
    """
    known = _published(lake, spec.name, None, None)
    recorded = {p.day: (p.drop_sha256, p.recipe) for p in ledger.partitions(spec.name)}
    new = [
        day
        for day in drops.days(spec.name)
        if day not in known or known[day] != recorded.get(day) or _is_restated(drops, spec.name, day, known[day][0])
    ]
    if not new:
        return IngestReport(spec.name)
    return ingest_days(spec, new, drops=drops, suite_path=suite_path, lake=lake, ledger=ledger, **adapters)


def recipe_of(spec: DatasetSpec, suite: Suite) -> str:
    """The digest of all that decides, beside the drop, what is published: an owner, a schedule or a remark doesn't."""
    deciding = spec.model_dump(include={"time_zone", "key", "columns", "max_quarantined_share"})
    asked = [{key: value for key, value in one.items() if key != "meta"} for one in suite.expectations]
    return digest_of([_READER, deciding, asked])


def _ingest_batch(
    spec: DatasetSpec,
    days: list[str],
    drops: DropStore,
    suite: Suite,
    recipe: str,
    lake: Lake,
    ledger: PartitionLedger,
    report: IngestReport,
) -> list[Check]:
    known = _published(lake, spec.name, days[0], days[-1])
    recorded = {p.day: (p.drop_sha256, p.recipe) for p in ledger.partitions(spec.name, days[0], days[-1])}
    read: dict[str, tuple[Drop, DropRows]] = {}
    for day in days:
        try:
            drop = drops.find(spec.name, day)
            if known.get(day) == (drop.sha256, recipe):
                report.unchanged.append(day)
                if recorded.get(day) != known[day]:
                    _record_again(spec, drop, recipe, lake, ledger)
            else:
                read[day] = drop, read_drop(drop, spec)
        except DropError as error:
            log.warning("%s %s refused: %s", spec.name, day, error)
            report.refused[day] = [_one_line(error)]
            report.unreadable.append(day)
    if not read:
        return []
    checked = check_days(spec, suite, recipe, read)
    _publish(spec, recipe, lake, ledger, checked, report)
    return [check for day in checked.values() for check in day.checks]


def _publish(
    spec: DatasetSpec,
    recipe: str,
    lake: Lake,
    ledger: PartitionLedger,
    checked: dict[str, CheckedDay],
    report: IngestReport,
) -> None:
    good = {day: one for day, one in checked.items() if not one.refusals}
    report.refused |= {day: one.refusals for day, one in checked.items() if one.refusals}
    metadata = {"recipe": recipe}
    quality = {day: one.quality(recipe) for day, one in checked.items()}
    lake.publish_days(f"quality/{spec.name}", quality, metadata)
    set_aside = set(lake.days(f"quarantine/{spec.name}"))
    quarantine = {day: one.quarantine for day, one in good.items() if len(one.quarantine) or day in set_aside}
    if quarantine:
        lake.publish_days(f"quarantine/{spec.name}", quarantine, metadata)
    if not good:
        return
    report.table_version = lake.publish_days(
        f"datasets/{spec.name}", {d: one.rows for d, one in good.items()}, metadata
    )
    for day, one in good.items():
        _record(spec, one.drop, recipe, report.table_version, one.rows, len(one.quarantine), ledger)
        report.published.append(day)
        report.rows += len(one.rows)
        report.quarantined += len(one.quarantine)
        if warned := [c for c in one.checks if not c.passed and c.severity != "critical"]:
            report.warnings[day] = [f"{c.expectation}: seen {c.seen}, expected {c.expected}" for c in warned]


def _record(
    spec: DatasetSpec,
    drop: Drop,
    recipe: str,
    table_version: int,
    rows: pd.DataFrame,
    quarantined: int,
    ledger: PartitionLedger,
) -> None:
    """The digest is of the content: the spec's columns and when they were known, by whatever recipe."""
    ledger.record_partition(
        dataset=spec.name,
        day=drop.day,
        digest=frame_digest(rows[[*spec.columns, "day", "known_at"]]),
        drop_sha256=drop.sha256,
        recipe=recipe,
        table_version=table_version,
        rows=len(rows),
        quarantined=quarantined,
        delivered_at=drop.delivered_at,
    )


def _record_again(spec: DatasetSpec, drop: Drop, recipe: str, lake: Lake, ledger: PartitionLedger) -> None:
    """Makes up for a record lost between the dataset's commit and the ledger's."""
    table = f"datasets/{spec.name}"
    version = lake.version(table)
    rows = lake.read(table, drop.day, drop.day, version=version)
    quarantined = len(lake.read(f"quarantine/{spec.name}", drop.day, drop.day))
    _record(spec, drop, recipe, version, rows, quarantined, ledger)


def _published(lake: Lake, dataset: str, first: str | None, last: str | None) -> dict[str, tuple[str, str]]:
    """(drop_sha256, recipe) of each day in the lake."""
    table = f"datasets/{dataset}"
    columns = ["day", "drop_sha256", "recipe"]
    seen = lake.read(table, first, last, columns=columns).drop_duplicates()
    return {row.day: (row.drop_sha256, row.recipe) for row in seen.itertuples()}


def _is_restated(drops: DropStore, dataset: str, day: str, known_sha256: str) -> bool:
    try:
        return drops.announced(dataset, day).sha256 != known_sha256
    except DropError:
        return True  # to be refused, aloud, by ingest_days


def _save_data_docs(
    spec: DatasetSpec,
    recipe: str,
    report: IngestReport,
    checks: list[Check],
    on_data_docs: Callable[[Path, str], str],
) -> str:
    key = digest_of([spec.name, recipe, report.table_version, [vars(check) for check in checks]])
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "data_docs.html"
        page.write_text(data_docs_page(spec, report.as_dict(), checks), "utf-8")
        return on_data_docs(page, key)


def _one_line(error: RatchetError) -> str:
    facts = {"seen": error.seen, "expected": error.expected}
    return ", ".join([error.what, *(f"{name} {value}" for name, value in facts.items() if value is not None)])


def _missing(spec: DatasetSpec, drops: DropStore, missing: list[str], asked: int) -> DropError:
    return DropError(
        f"no drop of {spec.name} for {len(missing)} of the {asked} days asked for",
        seen=f"missing: {', '.join(missing[:20])}{' …' if len(missing) > 20 else ''}",
        expected="a drop with manifest for each day; nothing was published",
        where=drops.root / spec.name,
        hint="wait for the delivery, or ask for the days that are there",
    )


def _refused(spec: DatasetSpec, suite: Suite, report: IngestReport) -> RatchetError:
    kind = DropError if set(report.unreadable) == set(report.refused) else ValidationFailedError
    lines = [f"{day}: {' | '.join(why)}" for day, why in sorted(report.refused.items())]
    more = [f"… and {len(lines) - 20} more days"] if len(lines) > 20 else []
    return kind(
        f"{len(lines)} {'day' if len(lines) == 1 else 'days'} of {spec.name} refused, nothing of it was published",
        seen="\n    ".join(["", *lines[:20], *more]),
        expected=f"what {suite.path.name} asks; the other days stand: {len(report.published)} published, "
        f"{len(report.unchanged)} unchanged",
        where=report.data_docs or suite.path,
        hint="have the sender deliver these days again, or, if the data is right, mend the suite; then run again",
    )
