"""Drops in, validated partitions out; and what was refused or restated, mended."""

from __future__ import annotations

import logging
from pathlib import Path

from ratchet.days import check_range, days_between
from ratchet.deployment import Deployment
from ratchet.errors import ParameterError, RegistryError

log = logging.getLogger(__name__)


def ingest_partitions(
    deployment: Deployment,
    dataset: str,
    first: str | None = None,
    last: str | None = None,
    *,
    actor: str | None = None,
) -> dict:
    """Validate and publish the drops of `first`..`last` (event days, both included), or, without a range, every drop
    not yet seen.

    Writes quarantine, dataset partitions and the ledger's partition records; saves the data docs in the registry; marks
    what a changed partition makes stale. A missing drop inside a range is a DropError; a failed table-level expectation
    is a ValidationFailedError, raised after every other day has been published. Returns counts, the days published,
    `data_docs`, a URL, and `stale`, how many snapshots and scored days were marked.
    """
    from ratchet.ingest import ingest_days, ingest_new

    spec = deployment.dataset(dataset)
    adapters = _adapters(deployment, dataset) | {"actor": actor}
    try:
        if first is None and last is None:
            report = ingest_new(spec, **adapters)
        else:
            report = ingest_days(spec, days_between(*check_range(first, last)), **adapters)
    finally:
        stale = _marked(deployment, dataset)  # also when some days were refused
    return report.as_dict() | {"stale": stale}


def readmit_partitions(
    deployment: Deployment,
    dataset: str,
    *,
    reason: str,
    actor: str,
    first: str | None = None,
    last: str | None = None,
) -> dict:
    """Check again, after a corrected drop or suite, the days of `first`..`last` that have a drop; without a range those
    that a correction can mend: refused, restated, or with rows in quarantine. Only days that come out otherwise are
    published anew.

    Who and why goes on record with each, and with the snapshots and scored days that it makes stale. Writes, raises and
    returns what `ingest_partitions` does. Raises ParameterError for an empty reason.
    """
    from ratchet.ingest import affected_days, ingest_days
    from ratchet.publish import IngestReport

    if not reason.strip():
        raise ParameterError("no reason given", hint="say why these days are read again, for the record")
    spec, adapters = deployment.dataset(dataset), _adapters(deployment, dataset)
    if first is None and last is None:
        days = affected_days(spec, drops=deployment.drops, ledger=deployment.ledger)
    else:
        days = days_between(*check_range(first, last))
    if not days:
        return IngestReport(dataset).as_dict() | {"stale": 0}
    try:
        report = ingest_days(spec, days, **adapters, on_missing="skip", actor=actor, reason=reason)
    finally:
        stale = _marked(deployment, dataset)
    return report.as_dict() | {"stale": stale}


def _adapters(deployment: Deployment, dataset: str) -> dict:
    from ratchet.privacy import open_pseudonyms

    def save_data_docs(page: Path, key: str) -> str | None:
        """An observer: without it the data still counts."""
        try:
            return deployment.registry.log_report(f"{dataset}.data_docs", key, {"data_docs.html": page})
        except RegistryError as error:
            log.warning("the data docs of %s are not saved: %s", dataset, error)
            return None

    return {
        "drops": deployment.drops,
        "suite_path": deployment.suite(dataset),
        "lake": deployment.lake,
        "ledger": deployment.ledger,
        "pseudonyms": open_pseudonyms(deployment.settings.var) if deployment.dataset(dataset).personal else None,
        "on_data_docs": save_data_docs,
    }


def _marked(deployment: Deployment, dataset: str) -> int:
    """How much became stale; and an alert of days that were refused."""
    from ratchet.workflow.loop_alerts import note_refused
    from ratchet.workflow.staleness import mark_stale

    note_refused(deployment, dataset)
    return len(mark_stale(deployment))
