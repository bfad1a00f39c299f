"""Upkeep's face in Airflow."""

from __future__ import annotations

from ratchet.deployment import Deployment
from ratchet_airflow.operators.step import StepOperator


class KeepUpOperator(StepOperator):
    """Clear away what nobody needs any more (`ratchet.workflow.upkeep.keep_up`)."""

    def step(self, deployment: Deployment, params: dict, context) -> dict:
        from ratchet.workflow.upkeep import keep_up

        return keep_up(deployment, keep_days=params["keep_days"], dry_run=params["dry_run"])


class VerifyLedgerOperator(StepOperator):
    """Walk the whole ledger, and page somebody when it is not as it was sealed
    (`ratchet.workflow.loop_alerts.verify_ledger`)."""

    def step(self, deployment: Deployment, params: dict, context) -> dict:
        from ratchet.workflow.loop_alerts import verify_ledger

        return verify_ledger(deployment)
