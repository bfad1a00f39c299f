"""Reports in Airflow."""

from __future__ import annotations

from ratchet.deployment import Deployment
from ratchet_airflow.links import MonthlyReportLink
from ratchet_airflow.operators.step import ModelStepOperator


class ReportMonthOperator(ModelStepOperator):
    """File the page of a month (`ratchet.workflow.monthly.report_month`)."""

    operator_extra_links = (MonthlyReportLink(),)

    def step(self, deployment: Deployment, params: dict, context) -> dict:
        from ratchet.workflow.monthly import report_month

        return report_month(deployment, self.model, params["month"] or None)
