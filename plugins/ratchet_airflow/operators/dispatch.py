"""Dispatch in Airflow: read what is due from the ledger; the mapped task after it starts each run, once."""

from __future__ import annotations

from airflow.sdk import BaseOperator

from ratchet.deployment import get_deployment


class ListDueOperator(BaseOperator):
    """List the runs to start now (`ratchet.workflow.dispatch`), as arguments of TriggerDagRunOperator.

    Run ids are deterministic, so a run that another sweep started first is found and skipped. The runs started carry
    addresses only and read again what decides.
    """

    def execute(self, context) -> list[dict]:
        from ratchet.workflow.dispatch import give_up, keep_house, list_due, runs_to_start

        deployment, ti = get_deployment(), context["ti"]

        def state_of(dag_id: str, run_id: str) -> str:
            which = {} if run_id == "*" else {"run_ids": [run_id]}
            if ti.get_dr_count(dag_id, **which, states=["queued", "running"]):
                return "active"
            if not which or not ti.get_dr_count(dag_id, **which):
                return "none"
            return "failed" if ti.get_dr_count(dag_id, **which, states=["failed"]) else "success"

        unreached = keep_house(deployment)
        start, given_up = runs_to_start(lambda: list_due(deployment, unreached), state_of)
        for item in given_up:
            self.log.error("given up after every attempt failed: %s %s", item.dag_id, item.key)
            give_up(deployment, item)
        self.log.info("due now: %s", start or "nothing")
        return start
