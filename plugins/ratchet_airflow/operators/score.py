"""Scoring in Airflow."""

from __future__ import annotations

from ratchet.deployment import Deployment
from ratchet_airflow.operators.step import ModelStepOperator


class ScorePartitionsOperator(ModelStepOperator):
    """Score event days with the champion (`ratchet.workflow.scoring.score_partitions`).

    The days come from the run's `days` or its range `from`..`to`; without either they are those that are due. A
    backfill run speaks for its interval's day.
    """

    def step(self, deployment: Deployment, params: dict, context) -> dict:
        from ratchet.days import check_range, days_between
        from ratchet.workflow.scoring import due_days, score_partitions

        if context["dag_run"].run_type == "backfill":
            zone = deployment.dataset(deployment.model(self.model).scored_dataset).zone
            days = [context["data_interval_start"].astimezone(zone).date().isoformat()]
        elif params["days"]:
            days = params["days"]
        elif params["from"] or params["to"]:
            days = days_between(*check_range(params["from"], params["to"]))
        else:
            days = due_days(deployment, deployment.model(self.model))
        return score_partitions(deployment, self.model, days)
