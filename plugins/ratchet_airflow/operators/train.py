"""Retrain requests and training in Airflow."""

from __future__ import annotations

from collections.abc import Sequence

from ratchet.deployment import Deployment
from ratchet_airflow.links import MlflowLink
from ratchet_airflow.operators.step import ModelStepOperator
from ratchet_airflow.params import asked_by


class RequestRetrainOperator(ModelStepOperator):
    """File a retrain request in the ledger (`ratchet.workflow.training.request_retrain`).

    A run started over the REST API is the caller's request: calling again with the same `key` gives the same answer.
    """

    def step(self, deployment: Deployment, params: dict, context) -> dict:
        from ratchet.workflow.training import request_retrain

        run = context["dag_run"]
        scheduled = run.run_type == "scheduled"
        return request_retrain(
            deployment,
            self.model,
            reason="scheduled retrain" if scheduled else params["reason"],
            source="cron" if scheduled else params["source"],
            actor=asked_by(context),
            as_of=params["as_of"],
            idempotency_key=params["key"] or f"{run.dag_id}/{run.run_id}",
        )


class TakeTrainingSnapshotOperator(ModelStepOperator):
    """Start the batch named in the run's conf and keep its training input as a snapshot.

    Without a batch (a person's own run) a retrain request is filed first, so that this training too is on record.
    """

    def step(self, deployment: Deployment, params: dict, context) -> dict:
        from ratchet.workflow.training import request_retrain, take_training_snapshot

        run, batch = context["dag_run"], params["batch"]
        if batch is None:
            batch = request_retrain(
                deployment,
                self.model,
                reason=f"run {run.run_id}",
                source="person",
                actor=asked_by(context),
                as_of=params["as_of"],
                idempotency_key=f"{run.dag_id}/{run.run_id}",
            )["batch"]
        return {"batch": batch, **take_training_snapshot(deployment, self.model, batch, run.run_id)}


class TrainCandidateOperator(ModelStepOperator):
    """Fit and log one candidate (`ratchet.workflow.training.train_candidate`); mapped over the spec's candidates."""

    template_fields: Sequence[str] = ("model", "candidate", "snapshot")
    operator_extra_links = (MlflowLink(),)

    def __init__(self, *, candidate: str, snapshot: str, **kwargs) -> None:
        super().__init__(**kwargs)
        self.candidate, self.snapshot = candidate, snapshot

    def step(self, deployment: Deployment, params: dict, context) -> dict:
        from ratchet.workflow.training import train_candidate

        return train_candidate(deployment, self.model, self.snapshot, self.candidate)


class PutForwardChallengerOperator(ModelStepOperator):
    """Register the best candidate as challenger (`ratchet.workflow.training.put_forward_challenger`)."""

    template_fields: Sequence[str] = ("model", "batch", "snapshot")
    operator_extra_links = (MlflowLink(),)

    def __init__(self, *, batch: str, snapshot: str, **kwargs) -> None:
        super().__init__(**kwargs)
        self.batch, self.snapshot = batch, snapshot

    def step(self, deployment: Deployment, params: dict, context) -> dict:
        from ratchet.workflow.training import put_forward_challenger

        return put_forward_challenger(deployment, self.model, self.batch, self.snapshot)
