"""Ingestion's face in Airflow."""

from __future__ import annotations

from collections.abc import Sequence

from ratchet.deployment import Deployment
from ratchet_airflow.links import DataDocsLink
from ratchet_airflow.operators.step import StepOperator
from ratchet_airflow.params import asked_by


class DatasetStepOperator(StepOperator):
    """A step that speaks for one dataset, and links to the data docs it saves."""

    template_fields: Sequence[str] = ("dataset",)
    operator_extra_links = (DataDocsLink(),)

    def __init__(self, *, dataset: str, **kwargs) -> None:
        super().__init__(**kwargs)
        self.dataset = dataset


class IngestPartitionsOperator(DatasetStepOperator):
    """Publish a dataset's drops as validated partitions (`ratchet.workflow.ingestion.ingest_partitions`).

    A backfill run speaks for the event day of its interval; a run with `from` and `to` for that range; any other run
    takes every drop not yet seen, and "nothing new" is a success.
    """

    def step(self, deployment: Deployment, params: dict, context) -> dict:
        from ratchet.workflow.ingestion import ingest_partitions

        first, last = params["from"], params["to"]
        if context["dag_run"].run_type == "backfill":
            zone = deployment.dataset(self.dataset).zone
            first = last = context["data_interval_start"].astimezone(zone).date().isoformat()
        return ingest_partitions(deployment, self.dataset, first, last, actor=asked_by(context))


class ReadmitPartitionsOperator(DatasetStepOperator):
    """Check days again after a corrected drop or suite (`ratchet.workflow.ingestion.readmit_partitions`)."""

    def step(self, deployment: Deployment, params: dict, context) -> dict:
        from ratchet.workflow.ingestion import readmit_partitions

        return readmit_partitions(
            deployment,
            self.dataset,
            reason=params["reason"],
            actor=asked_by(context),
            first=params["from"],
            last=params["to"],
        )
