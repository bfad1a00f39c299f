"""Clears away what nobody needs any more, and gathers what lies scattered. Stopped anywhere, it harms nothing."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from ratchet.deployment import Deployment
from ratchet.errors import ConflictError, ParameterError
from ratchet.ledger import Partition, SnapshotRecord
from ratchet.ledger.staleness import made_from
from ratchet.published import as_known
from ratchet.windows import known_before

log = logging.getLogger(__name__)

_DEAD_AFTER = timedelta(days=1)  # what a writer left unfinished for that long, nobody finishes


def keep_up(deployment: Deployment, keep_days: float = 30, dry_run: bool = False) -> dict:
    """For each table of the lake: put days that lie in several files into one, then delete the files that nobody reads.

    Kept: the newest version, whatever was the newest in the last `keep_days`, and of datasets every version that the
    ledger's partitions of now, or a registered model's snapshot, are read from. Uploads and training snapshots that
    were left unfinished a day ago go too. `dry_run` counts, and changes nothing (unfinished uploads aren't counted).
    Returns {tables: {table: {compacted: days, cleared: files}}, leftovers, partial_snapshots, dry_run}. Raises
    ParameterError for less than a day.
    """
    if keep_days < 1:
        raise ParameterError(
            "too short a time to keep what is read",
            seen=keep_days,
            expected="1 day at least",
            hint="say --keep-days 30",
        )
    lake = deployment.lake
    tables = {}
    for table in lake.tables():
        compacted = _compact(deployment, table, dry_run)
        keep = needed_versions(deployment, table, keep_days)
        tables[table] = {"compacted": compacted, "cleared": lake.vacuum(table, keep, keep_days, dry_run)}
    return {
        "tables": {table: done for table, done in tables.items() if any(done.values())},
        "leftovers": None if dry_run else _abort_leftovers(deployment),
        "partial_snapshots": _clear_partial_snapshots(deployment, dry_run),
        "dry_run": dry_run,
    }


def needed_versions(deployment: Deployment, table: str, keep_days: float) -> set[int]:
    """The versions that must stay whole, whatever their age. A dataset is read over a range of days at the newest of
    the versions that its partitions are in, so that not only single days of these are needed."""
    kind, _, name = table.partition("/")
    if kind != "datasets":
        return set()
    revisions = deployment.ledger.partition_revisions(name)
    needed = {all_of[-1].table_version for all_of in revisions.values()}
    spec = deployment.datasets.good.get(name)
    for snapshot in _needed_snapshots(deployment, keep_days):
        before = known_before(snapshot.as_of, spec.zone) if spec else None
        for day, partition in snapshot.partitions.get(name, {}).items():
            for revision in made_from(partition):
                needed |= {one.table_version for one in _read_by(revisions.get(day, []), revision, before)}
    return needed


def _needed_snapshots(deployment: Deployment, keep_days: float) -> Iterator[SnapshotRecord]:
    """Those of registered models, and the young ones, of which a model may yet be made."""
    young = datetime.now(UTC) - timedelta(days=keep_days)
    models = deployment.models
    for model in {*models.good, *models.errors}:
        registered = {one.snapshot for one in deployment.ledger.challengers(model)}
        for snapshot in deployment.ledger.snapshots(model):
            if snapshot.digest in registered or snapshot.recorded_at > young:
                yield snapshot


def _read_by(revisions: list[Partition], revision: int, before: datetime | None) -> list[Partition]:
    """That revision, and those that are read in its place now: the newest delivered no later, or known as of the day.
    They hold the same, unless a correction of then was taken in after the snapshot."""
    (then,) = [one for one in revisions if one.revision == revision] or [None]
    if then is None:
        return []
    no_later = [one for one in revisions if one.delivered_at <= then.delivered_at]
    return [then, no_later[-1], as_known(revisions, before) or then]


def _compact(deployment: Deployment, table: str, dry_run: bool) -> int:
    try:
        return deployment.lake.compact(table, dry_run)
    except ConflictError as error:
        log.warning("%s is left scattered until the next upkeep: %s", table, error)
        return 0


def _abort_leftovers(deployment: Deployment) -> int:
    return sum(zone.storage.abort_leftovers(_DEAD_AFTER) for zone in (deployment.drops, deployment.lake))


def _clear_partial_snapshots(deployment: Deployment, dry_run: bool) -> int:
    """Training snapshots without a manifest: whoever saved them died, and the next one to try writes them anew."""
    storage = deployment.lake.storage
    folders: dict[str, list] = {}
    for entry in storage.list("snapshots"):
        folders.setdefault(entry.key.rpartition("/")[0], []).append(entry)
    before = datetime.now(UTC) - _DEAD_AFTER
    dead = [
        entry.key
        for entries in folders.values()
        if not any(entry.key.endswith("/manifest.json") for entry in entries)
        for entry in entries
        if entry.modified < before
    ]
    for key in [] if dry_run else dead:
        storage.delete(key)
    return len(dead)
