"""Ingestion's face in Airflow."""

from __future__ import annotations

from collections.abc import Sequence

from ratchet.deployment import Deployment
from ratchet_airflow.links import DataDocsLink
from ratchet_airflow.operators.step import StepOperator


class IngestPartitionsOperator(StepOperator):
    """Publish a dataset's drops as validated partitions (`ratchet.workflow.ingestion.ingest_partitions`).

    A backfill run speaks for the event day of its interval; a run with `from` and `to` for that range; any other run
    takes every drop not yet seen, and "nothing new" is a success.
    """

    template_fields: Sequence[str] = ("dataset",)
    operator_extra_links = (DataDocsLink(),)

    def __init__(self, *, dataset: str, **kwargs) -> None:
        super().__init__(**kwargs)
        self.dataset = dataset

    def step(self, deployment: Deployment, params: dict, context) -> dict:
        from ratchet.workflow.ingestion import ingest_partitions

        first, last = params["from"], params["to"]
        if context["dag_run"].run_type == "backfill":
            zone = deployment.dataset(self.dataset).zone
            first = last = context["data_interval_start"].astimezone(zone).date().isoformat()
        return ingest_partitions(deployment, self.dataset, first, last)
