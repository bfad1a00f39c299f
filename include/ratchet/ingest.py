"""Drops in, validated partitions out: which days are taken, and what is said of them. Writing: ratchet.publish.

A day that the ledger holds from the same drop by the same recipe (spec and suite) is left as it is. A refused drop is
remembered: the nightly run does not try it again until drop or recipe change, an explicit range does.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ratchet.data_docs import data_docs_page
from ratchet.days import check_day
from ratchet.digests import digest_of
from ratchet.drops import Drop, DropStore
from ratchet.errors import DropError, ParameterError, RatchetError, ValidationFailedError
from ratchet.expectations import Check, Suite, load_suite
from ratchet.lake import Lake
from ratchet.publish import IngestReport, PartitionLedger, Publisher
from ratchet.specs import DatasetSpec

if TYPE_CHECKING:
    from ratchet.privacy import Pseudonyms

log = logging.getLogger(__name__)

BATCH_DAYS = 15  # days held in memory, validated and committed together, unless
BATCH_BYTES = 32 * 1024 * 1024  # their drops, packed, come to more than this


def ingest_days(
    spec: DatasetSpec,
    days: Sequence[str],
    *,
    drops: DropStore,
    suite_path: Path,
    lake: Lake,
    ledger: PartitionLedger,
    pseudonyms: Pseudonyms | None = None,
    on_missing: Literal["error", "skip"] = "error",
    on_data_docs: Callable[[Path, str], str] | None = None,
    actor: str | None = None,
    reason: str | None = None,
) -> IngestReport:
    """Publishes the drops of these event days. Again: nothing changes.

    A missing drop is a DropError before anything is written, unless `on_missing` is "skip". A day is refused when its
    file can't be read, it was delivered before the one published, a table-level expectation fails, no row is left, or
    more than `max_quarantined_share` of its rows go to quarantine; the other days are published, then
    ValidationFailedError lists every refused day (DropError if all of them are unreadable files). Raises
    ValidationBrokenError when the validator itself raises, ConflictError when another run wrote one of these days
    meanwhile. `on_data_docs(page, key)` saves the page that shows what was checked, and returns its address. `actor`
    and `reason` (None: delivered, restated by the sender, or checked by another recipe) go on record.
    """
    days = sorted({check_day(day, "day") for day in days})
    if not days:
        raise ParameterError(f"no day of {spec.name} to ingest", hint="name at least one event day")
    publisher = Publisher(
        spec,
        load_suite(suite_path),
        drops=drops,
        lake=lake,
        ledger=ledger,
        pseudonyms=pseudonyms,
        actor=actor,
        reason=reason,
    )
    delivered = set(drops.days(spec.name))
    missing = publisher.report.missing = [day for day in days if day not in delivered]
    if missing and on_missing == "error":
        raise _missing(spec, drops, missing, len(days))
    found = {day: _announced(drops, spec.name, day) for day in days if day in delivered}
    return _ingest(publisher, found, on_data_docs)


def _ingest(
    publisher: Publisher, found: Mapping[str, Drop | None], on_data_docs: Callable[[Path, str], str] | None
) -> IngestReport:
    """Publishes these days, in batches. Of the drops only the sizes count: the publisher looks at each anew, once it
    has seen what it would replace."""
    spec, suite, report = publisher.spec, publisher.suite, publisher.report
    checks: list[Check] = []
    done = 0
    for batch in _batches(found):
        checks += publisher.ingest(batch)
        done += len(batch)
        log.info(
            "%s: %d of %d days; %d rows published, %d quarantined, %d days unchanged, %d refused",
            spec.name,
            done,
            len(found),
            report.rows,
            report.quarantined,
            len(report.unchanged),
            len(report.refused),
        )
    if checks and on_data_docs:
        report.data_docs = _save_data_docs(spec, publisher.recipe, report, checks, on_data_docs)
    if report.refused:
        error = _refused(spec, suite, report)
        error.links = {"data_docs": report.data_docs} if report.data_docs else {}
        raise error
    return report


def ingest_new(
    spec: DatasetSpec,
    *,
    drops: DropStore,
    suite_path: Path,
    lake: Lake,
    ledger: PartitionLedger,
    pseudonyms: Pseudonyms | None = None,
    on_data_docs: Callable[[Path, str], str] | None = None,
    actor: str | None = None,
) -> IngestReport:
    """Publishes the drops that the ledger hasn't got: of new days, and restatements (other bytes for a known day).

    A drop that this recipe has refused before is not tried again: `refused_before` of the report names it. No drop to
    take: a report whose status is "nothing new". Everything else as `ingest_days`.
    """
    publisher = Publisher(
        spec, load_suite(suite_path), drops=drops, lake=lake, ledger=ledger, pseudonyms=pseudonyms, actor=actor
    )
    refused = {(r.day, r.delivery, r.recipe) for r in ledger.refusals(spec.name)}
    new: dict[str, Drop | None] = {}
    for day, drop in _not_published(spec, drops, ledger):
        if drop is not None and (day, drop.delivery, publisher.recipe) in refused:
            publisher.report.refused_before.append(day)
        else:
            new[day] = drop
    if before := publisher.report.refused_before:
        log.warning("%s: refused before and not tried again: %s", spec.name, ", ".join(before))
    return _ingest(publisher, new, on_data_docs)


def affected_days(spec: DatasetSpec, *, drops: DropStore, ledger: PartitionLedger) -> list[str]:
    """The days that a corrected drop or suite can mend: those with rows in quarantine, and those whose drop is not the
    one published, as it was refused or is new."""
    quarantined = {p.day for p in ledger.partitions(spec.name) if p.quarantined}
    not_in = {day for day, _ in _not_published(spec, drops, ledger)}
    return [day for day in drops.days(spec.name) if day in quarantined or day in not_in]


def refused_days(spec: DatasetSpec, *, drops: DropStore, ledger: PartitionLedger) -> list[str]:
    """The days whose drop, as it lies in the landing zone now, was refused and is not published."""
    refused = {(r.day, r.delivery) for r in ledger.refusals(spec.name)}
    days = _not_published(spec, drops, ledger)
    return [day for day, drop in days if (day, drop.delivery if drop else "") in refused or (day, "") in refused]


def _not_published(spec: DatasetSpec, drops: DropStore, ledger: PartitionLedger) -> Iterator[tuple[str, Drop | None]]:
    published = {p.day: p.drop_sha256 for p in ledger.partitions(spec.name)}
    for day in drops.days(spec.name):
        drop = _announced(drops, spec.name, day)
        if drop is None or published.get(day) != drop.sha256:
            yield day, drop


def _batches(found: Mapping[str, Drop | None]) -> Iterator[list[str]]:
    batch, size = [], 0
    for day, drop in found.items():
        more = drop.bytes if drop else 0
        if batch and (len(batch) == BATCH_DAYS or size + more > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(day)
        size += more
    if batch:
        yield batch


def _announced(drops: DropStore, dataset: str, day: str) -> Drop | None:
    """The drop; None if its manifest can't be read: to be refused, aloud, by the publisher."""
    try:
        return drops.announced(dataset, day)
    except DropError:
        return None


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


def _missing(spec: DatasetSpec, drops: DropStore, missing: list[str], asked: int) -> DropError:
    return DropError(
        f"no drop of {spec.name} for {len(missing)} of the {asked} days asked for",
        seen=f"missing: {', '.join(missing[:20])}{' …' if len(missing) > 20 else ''}",
        expected="a drop with manifest for each day; nothing was published",
        where=drops.storage.address(spec.name),
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
