"""Retrain requests and training in Airflow."""

from __future__ import annotations

from collections.abc import Sequence

from airflow.sdk.configuration import conf
from airflow.sdk.exceptions import AirflowSkipException

from ratchet.deployment import Deployment
from ratchet.errors import ParameterError
from ratchet_airflow.links import MlflowLink, RequestLink
from ratchet_airflow.operators.step import ModelStepOperator
from ratchet_airflow.params import asked_by


class RequestRetrainOperator(ModelStepOperator):
    """File a retrain request in the ledger (`ratchet.workflow.training.request_retrain`).

    A run started over the REST API is the caller's request: calling again with the same `key` gives the same answer.
    Its result names under `follow` where to ask what became of it (see ratchet_airflow.api).
    """

    operator_extra_links = (RequestLink(),)

    def step(self, deployment: Deployment, params: dict, context) -> dict:
        from ratchet.workflow.request_story import key_of
        from ratchet.workflow.training import request_retrain

        run = context["dag_run"]
        asked = run.run_type not in ("scheduled", "backfill")  # else by the calendar
        answer = request_retrain(
            deployment,
            self.model,
            reason=params["reason"] if asked else "scheduled retrain",
            source=params["source"] if asked else "cron",
            actor=asked_by(context),
            as_of=params["as_of"],
            idempotency_key=key_of(self.model, key=params["key"], run=run.run_id),
        )
        base = conf.get("api", "base_url", fallback="").rstrip("/")
        return {**answer, "follow": f"{base}/ratchet/models/{self.model}/requests/{answer['request']}"}


class TakeTrainingSnapshotOperator(ModelStepOperator):
    """Start the batch named in the run's conf and keep its training input as a snapshot.

    Without a batch a retrain request is filed first, so that this training too is on record: in the name of a person
    only where a run started by hand says so. Where that is held back, or the same training is done already, all is
    skipped.
    """

    def step(self, deployment: Deployment, params: dict, context) -> dict:
        from ratchet.workflow.training import take_training_snapshot

        run, batch = context["dag_run"], params["batch"]
        if batch and params["as_of"]:
            raise ParameterError(
                "both batch and as_of",
                seen=f"{batch}, {params['as_of']}",
                hint="a batch has its day: leave as_of empty",
            )
        if batch is None:
            batch = self._asked(deployment, params, context)
        if (known := deployment.ledger.batch(batch)).status == "done":
            raise AirflowSkipException(f"trained already, from the same inputs: version {known.challenger_version}")
        return {"batch": batch, **take_training_snapshot(deployment, self.model, batch, run.run_id)}

    def _asked(self, deployment: Deployment, params: dict, context) -> str:
        """The batch of the run's own request. A run that another DAG started is no person's, whoever started that."""
        from ratchet.workflow.training import request_retrain

        run = context["dag_run"]
        answer = request_retrain(
            deployment,
            self.model,
            reason=f"run {run.run_id}",
            source=params["source"] if run.run_type == "manual" else "api",
            actor=asked_by(context),
            as_of=params["as_of"],
            idempotency_key=f"{run.dag_id}/{run.run_id}",
        )
        if answer["batch"] is None:
            raise AirflowSkipException(f"{answer['status']}: {answer['explanation']}")
        return answer["batch"]


class TrainCandidateOperator(ModelStepOperator):
    """Fit and log one candidate (`ratchet.workflow.training.train_candidate`); mapped over the spec's candidates.

    The snapshot is the one that the ledger holds for this run: XCom, which people may edit, is not asked.
    """

    template_fields: Sequence[str] = ("model", "candidate")
    operator_extra_links = (MlflowLink(),)

    def __init__(self, *, candidate: str, **kwargs) -> None:
        super().__init__(**kwargs)
        self.candidate = candidate

    def step(self, deployment: Deployment, params: dict, context) -> dict:
        from ratchet.workflow.training import train_candidate

        batch = deployment.ledger.batch_of_run(self.model, context["ti"].run_id)
        return train_candidate(deployment, self.model, batch.snapshot, self.candidate)


class EvaluateCandidateOperator(TrainCandidateOperator):
    """Evaluate a trained candidate (`ratchet.workflow.evaluation.evaluate_candidate`); mapped as its training is."""

    def step(self, deployment: Deployment, params: dict, context) -> dict:
        from ratchet.workflow.evaluation import evaluate_candidate

        batch = deployment.ledger.batch_of_run(self.model, context["ti"].run_id)
        return evaluate_candidate(deployment, self.model, batch.snapshot, self.candidate)


class PutForwardChallengerOperator(ModelStepOperator):
    """Register the best candidate as challenger (`ratchet.workflow.training.put_forward_challenger`)."""

    operator_extra_links = (MlflowLink(),)

    def step(self, deployment: Deployment, params: dict, context) -> dict:
        from ratchet.workflow.training import put_forward_challenger

        batch = deployment.ledger.batch_of_run(self.model, context["ti"].run_id)
        return put_forward_challenger(deployment, self.model, batch.id, batch.snapshot)
