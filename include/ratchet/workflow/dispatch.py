"""What is due, read from the ledger alone: events only wake this up, and a lost event loses nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ratchet.deployment import Deployment
from ratchet.digests import digest_of
from ratchet.workflow.scoring import due_days, inputs_digests

ATTEMPTS = 3


@dataclass(frozen=True)
class Due:
    """One run to start: its DAG, its deterministic run id (less the attempt), and its addresses."""

    dag_id: str
    key: str
    conf: dict

    def run_id(self, attempt: int) -> str:
        return f"{self.key}__{attempt}"


def list_due(deployment: Deployment) -> list[Due]:
    """Every run that the ledger says should exist and may not: trainings, judgements, scorings."""
    due = []
    for batch in deployment.ledger.open_batches():
        if batch.model in deployment.models.good:
            due.append(Due(f"{batch.model}.train_evaluate", f"train__{batch.as_of}__{batch.id}", {"batch": batch.id}))
    for name, spec in deployment.models.good.items():
        for challenger in deployment.ledger.challengers_to_judge(name):
            champion = deployment.ledger.champion(name)
            epoch = champion.epoch if champion else 0
            due.append(
                Due(f"{name}.promote", f"promote__v{challenger.version}__epoch{epoch}", {"version": challenger.version})
            )
        if days := due_days(deployment, spec):
            champion = deployment.ledger.champion(name)
            what = digest_of([inputs_digests(deployment, spec, days), champion.version, champion.epoch])[:12]
            due.append(Due(f"{name}.score", f"score__{days[0]}__{days[-1]}__{what}", {"days": days}))
    return due


def give_up(deployment: Deployment, item: Due) -> None:
    """Close what every attempt has failed at, so that it doesn't stay in the way: a batch given up on is "failed", and
    the next request for the same training opens a new one."""
    if batch := item.conf.get("batch"):
        deployment.ledger.finish_batch(batch, "failed")


def runs_to_start(due: list[Due], state_of: Callable[[str, str], str | None]) -> tuple[list[dict], list[Due]]:
    """The runs to start now, and what was given up.

    `state_of(dag_id, run_id)` is "none", "failed" or anything else (queued, running, success: leave it). A failed run
    is followed by a fresh one, up to ATTEMPTS in all: what died starts again, and what can't work ends.
    """
    start, given_up = [], []
    for item in due:
        for attempt in range(1, ATTEMPTS + 1):
            state = state_of(item.dag_id, item.run_id(attempt))
            if state == "none":
                start.append({"trigger_dag_id": item.dag_id, "trigger_run_id": item.run_id(attempt), "conf": item.conf})
            if state != "failed":
                break
        else:
            given_up.append(item)
    return start, given_up
