"""Dispatch in Airflow: read what is due from the ledger, and the mapped task after it starts each run, once; tell
people what they should know."""

from __future__ import annotations

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from ratchet.deployment import get_deployment


class ListDueOperator(BaseOperator):
    """List the runs to start now (`ratchet.workflow.dispatch`), as arguments of TriggerDagRunOperator.

    Run ids are deterministic, so a run that another sweep started first is found and skipped. The runs started carry
    addresses only and read again what decides.
    """

    def execute(self, context) -> list[dict]:
        from ratchet.workflow.dispatch import give_up, keep_house, list_due, runs_to_start, settle_given_up

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
        settle_given_up(deployment, lambda: list_due(deployment, unreached), unreached)
        self.log.info("due now: %s", start or "nothing")
        return start


class SendAlertsOperator(BaseOperator):
    """Raise an alert of each run that failed without one (`ratchet.workflow.failed_runs`) and of champions that can't
    be right (`ratchet.workflow.champion_alerts`), then send what is unsent (`ratchet.workflow.alerts`); each of these
    also where the one before it fails. To be run also when the tasks before it failed: then it fails too, at its end,
    so that the run shows as failed. A sweep went well once this task has come to its end, too."""

    def execute(self, context) -> dict:
        from ratchet.workflow.alerts import send_news
        from ratchet.workflow.champion_alerts import tell_of_champions
        from ratchet.workflow.failed_runs import watch_runs
        from ratchet.workflow.loop_alerts import note_sweep
        from ratchet_airflow.notifiers import senders
        from ratchet_airflow.runs import RunsOfAirflow

        deployment, ti = get_deployment(), context["ti"]
        runs = RunsOfAirflow(ti)
        states = runs.states(ti.dag_id, [ti.run_id])[ti.run_id]
        failed = sorted(task for task, state in states.items() if state in ("failed", "upstream_failed"))
        if failed:
            note_sweep(deployment, ti.run_id)
        try:
            tell_of_champions(deployment)
        finally:
            try:
                found = watch_runs(deployment, runs)
            finally:
                told = send_news(deployment, senders(deployment))
        if failed:
            raise AirflowFailException(f"alerts are sent; of this sweep {', '.join(failed)} failed")
        note_sweep(deployment, None)
        return {**found, **told}
