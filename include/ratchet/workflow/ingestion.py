"""Drops in, validated partitions out."""

from __future__ import annotations

import logging
from pathlib import Path

from ratchet.days import check_range, days_between
from ratchet.deployment import Deployment
from ratchet.errors import RegistryError

log = logging.getLogger(__name__)


def ingest_partitions(deployment: Deployment, dataset: str, first: str | None = None, last: str | None = None) -> dict:
    """Validate and publish the drops of `first`..`last` (event days, both included), or, without a range, every drop
    not yet seen.

    Writes quarantine, dataset partitions and the ledger's partition records; saves the data docs in the registry.
    A missing drop inside a range is a DropError; a failed table-level expectation is a ValidationFailedError, raised
    after every other day has been published. Returns counts, the days published, and `data_docs`, a URL.
    """
    from ratchet.ingest import ingest_days, ingest_new

    def save_data_docs(page: Path, key: str) -> str | None:
        """An observer: without it the data still counts."""
        try:
            return deployment.registry.log_report(f"{dataset}.data_docs", key, {"data_docs.html": page})
        except RegistryError as error:
            log.warning("the data docs of %s are not saved: %s", dataset, error)
            return None

    spec = deployment.dataset(dataset)
    adapters = {
        "drops": deployment.drops,
        "suite_path": deployment.suite(dataset),
        "lake": deployment.lake,
        "ledger": deployment.ledger,
        "on_data_docs": save_data_docs,
    }
    if first is None and last is None:
        report = ingest_new(spec, **adapters)
    else:
        report = ingest_days(spec, days_between(*check_range(first, last)), **adapters)
    return report.as_dict()
