"""Monitoring in Airflow."""

from __future__ import annotations

from ratchet.deployment import Deployment
from ratchet_airflow.links import DriftReportLink
from ratchet_airflow.operators.step import ModelStepOperator


class CheckDriftOperator(ModelStepOperator):
    """Look at the model and at its loop, file and raise what follows (`ratchet.workflow.monitoring.check_drift`,
    `ratchet.workflow.health.watch_loop`)."""

    operator_extra_links = (DriftReportLink(),)

    def step(self, deployment: Deployment, params: dict, context) -> dict:
        from ratchet.workflow.health import watch_loop
        from ratchet.workflow.monitoring import check_drift

        watch_loop(deployment, deployment.model(self.model))  # also when there is nothing new to check
        return check_drift(deployment, self.model, params["as_of"])
