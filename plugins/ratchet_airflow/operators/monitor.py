"""Monitoring in Airflow."""

from __future__ import annotations

from ratchet.deployment import Deployment
from ratchet_airflow.links import DriftReportLink
from ratchet_airflow.operators.step import ModelStepOperator


class CheckDriftOperator(ModelStepOperator):
    """Check drift and performance, file what follows (`ratchet.workflow.monitoring.check_drift`)."""

    operator_extra_links = (DriftReportLink(),)

    def step(self, deployment: Deployment, params: dict, context) -> dict:
        from ratchet.workflow.monitoring import check_drift

        return check_drift(deployment, self.model, params["as_of"])
