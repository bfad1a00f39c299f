"""What is due, read from the ledger alone: events only wake this up, and a lost event loses nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from ratchet.days import shift_day
from ratchet.deployment import Deployment
from ratchet.digests import digest_of
from ratchet.errors import EmptyWindowError, LedgerError, RatchetError, RegistryError
from ratchet.ledger import Alert
from ratchet.specs import ModelSpec
from ratchet.workflow.canary import canary_due
from ratchet.workflow.check_basis import check_to_redo
from ratchet.workflow.loop_alerts import GIVEN_UP, note_house, note_mlflow, raise_given_up
from ratchet.workflow.promotion import reconcile_alias
from ratchet.workflow.requests import ask_retrain_for_growth, tell_of_stop
from ratchet.workflow.scoring import due_days, inputs_digests
from ratchet.workflow.staleness import ask_retrain_for_corrections, mark_stale
from ratchet.workflow.weighing import shadow_due

ATTEMPTS = 3
JUDGE_AGAIN_AFTER_DAYS = 7
REKEYED = ("score", "check_drift", "shadow")  # their keys hold a digest of what is due: new data change them
NOT_DUE = "it is done, or no longer due"  # why an alert of work is settled
log = logging.getLogger(__name__)

RunState = Literal["none", "active", "success", "failed"]


@dataclass(frozen=True)
class Due:
    """One run to start: its DAG, its deterministic run id (less the attempt), and its addresses.

    `held_by`: a run of that DAG that works on it already, whatever its id ("*": any run that is active).
    """

    model: str
    dag_id: str
    key: str
    conf: dict
    held_by: str | None = None

    def run_id(self, attempt: int) -> str:
        return f"{self.key}__{attempt}"


def list_due(deployment: Deployment, without: Collection[str] = ()) -> list[Due]:
    """Every run that the ledger says should exist and may not: trainings, judgements, scorings, and drift checks to be
    made again; none of the models in `without`."""
    specs = [spec for name, spec in deployment.models.good.items() if name not in without]
    return [item for spec in specs for item in _of_model(deployment, spec)]


def _of_model(deployment: Deployment, spec: ModelSpec) -> list[Due]:
    days = due_days(deployment, spec)
    asked = [*_trainings(deployment, spec.name), *_judgements(deployment, spec)]
    return [*asked, *_scorings(deployment, spec, days), *_checks(deployment, spec, days), *_shadow(deployment, spec)]


def _trainings(deployment: Deployment, model: str) -> list[Due]:
    dag_id = f"{model}.train_evaluate"
    return [
        Due(model, dag_id, f"train__{batch.as_of}__{batch.id}", {"batch": batch.id}, held_by=batch.run_id)
        for batch in deployment.ledger.open_batches()
        if batch.model == model
    ]


def _judgements(deployment: Deployment, spec: ModelSpec) -> list[Due]:
    """A challenger that was held is judged again once JUDGE_AGAIN_AFTER_DAYS more days have outcomes: each look at an
    overlapping window costs some of alpha."""
    model, ledger = spec.name, deployment.ledger
    champion, newest = ledger.champion(model), ledger.high_water(spec.outcome_dataset)
    epoch = champion.epoch if champion else 0
    held_to = shift_day(newest, 1 - JUDGE_AGAIN_AFTER_DAYS) if newest else ""
    due = []
    for one in ledger.challengers_to_judge(model, held_to):
        key = f"promote__v{one.version}__epoch{epoch}"
        if one.status == "held" and (held := ledger.verdict(model, one.version)).champion_epoch == epoch:
            key += f"__after{held.judged_to}"
        due.append(Due(model, f"{model}.promote", key, {"version": one.version}))
    return due


def _scorings(deployment: Deployment, spec: ModelSpec, days: list[str]) -> list[Due]:
    """One run for all days that are due; none beside another, whose days would be due in both."""
    if not days:
        return []
    champion = deployment.ledger.champion(spec.name)
    what = digest_of([inputs_digests(deployment, spec, days), champion.version, champion.epoch])[:12]
    key = f"score__{days[0]}__{days[-1]}__{what}"
    return [Due(spec.name, f"{spec.name}.score", key, {"days": days}, held_by="*")]


def _checks(deployment: Deployment, spec: ModelSpec, days: list[str]) -> list[Due]:
    """The newest drift check again, as of its own day, when what it was made from was corrected; else they are made by
    their schedule. `days`: those to score."""
    redo = check_to_redo(deployment, spec, days)
    if redo is None:
        return []
    check, what = redo
    key = f"check__{check.as_of}__v{check.version}__{what[:12]}"
    return [Due(spec.name, f"{spec.name}.check_drift", key, {"as_of": check.as_of}, held_by="*")]


def _shadow(deployment: Deployment, spec: ModelSpec) -> list[Due]:
    """What the field has new to say of a challenger, in runs of their own: no champion's scoring waits for it."""
    what = [one for one in (shadow_due(deployment, spec), canary_due(deployment, spec)) if one]
    return [Due(spec.name, f"{spec.name}.shadow", "__".join(["shadow", *what]), {}, held_by="*")] if what else []


def runs_to_start(
    list_due: Callable[[], list[Due]], state_of: Callable[[str, str], RunState]
) -> tuple[list[dict], list[Due]]:
    """The runs to start now, as arguments of a trigger, and what every attempt has failed at.

    `state_of(dag_id, run_id)` looks at a run; the run id "*" stands for all of the DAG's runs that aren't over. What
    is still due after its run has ended, well or not, is started afresh, up to ATTEMPTS in all: what died starts
    again, a task marked successful by hand has done nothing, and what can't work ends. The ledger is read again after
    the states, so that a run which ended in between does not count against what it did.
    """
    attempts = [(item, _next_attempt(item, state_of)) for item in list_due()]
    still_due = [(item.dag_id, item.key) for item in list_due()]
    attempts = [(item, n) for item, n in attempts if n is not None and (item.dag_id, item.key) in still_due]
    start = [
        {"trigger_dag_id": item.dag_id, "trigger_run_id": item.run_id(n), "conf": item.conf}
        for item, n in attempts
        if n <= ATTEMPTS
    ]
    return start, [item for item, n in attempts if n > ATTEMPTS]


def give_up(deployment: Deployment, item: Due) -> None:
    """Put on record that every attempt has failed, once, and raise an alert; a batch is closed as "failed", so that the
    next request for the same training opens a new one."""
    deployment.ledger.note_given_up(item.model, item.key, item.dag_id, ATTEMPTS)
    raise_given_up(deployment, item.model, item.dag_id, item.key, ATTEMPTS)
    if batch := item.conf.get("batch"):
        deployment.ledger.finish_batch(batch, "failed")


def is_due(due: Collection[Due], dag_id: str, key: str) -> bool:
    """Whether that work is among what is due; under whatever key where another says only that new data came (REKEYED):
    one run of such a DAG does all that is due."""
    anyhow = dag_id.endswith(tuple(f".{kind}" for kind in REKEYED))
    return any(item.dag_id == dag_id and (anyhow or item.key == key) for item in due)


def settle_given_up(deployment: Deployment, list_due: Callable[[], list[Due]], unreached: Collection[str]) -> None:
    """Settle the alerts of work that was given up and is due no more; of `unreached` models nobody knows, nor of those
    whose spec can't be used. A training counts as given up until a later one is done: its batch is closed, so it is
    never due."""
    given_up = [one for one in deployment.ledger.open_alerts() if one.key.startswith(GIVEN_UP)]
    due = list_due() if given_up else []
    for alert in given_up:
        key, dag_id = alert.key.removeprefix(GIVEN_UP), alert.facts["dag"]
        if alert.model in unreached or alert.model not in deployment.models.good:
            continue
        if dag_id.endswith(".train_evaluate"):
            if _trained_since(deployment, alert):
                deployment.ledger.settle_alert(alert.model, alert.key, "a later training is done")
        elif not is_due(due, dag_id, key):
            deployment.ledger.settle_alert(alert.model, alert.key, NOT_DUE)


def _trained_since(deployment: Deployment, alert: Alert) -> bool:
    done = [batch for batch in deployment.ledger.batches(alert.model) if batch.status == "done"]
    return any(batch.finished_at >= alert.raised_at for batch in done)


def keep_house(deployment: Deployment) -> set[str]:
    """What each sweep sets right: questions past their time expire, MLflow's alias follows the ledger, what corrections
    made stale is marked, a retrain is asked for where corrections or new data have come so far as the spec says, and a
    broker that has stopped tells a person. Neither an MLflow that is down nor what can't be done for one model (a
    feature package that is gone) stops a sweep, and the other models go on; an alert tells of it. A ledger that can't
    be read does.

    Returns the models of which MLflow says nothing: a run of theirs would only use up one of its attempts.
    """
    unreached, now = set(), datetime.now(UTC)
    mark_stale(deployment)
    for model, spec in deployment.models.good.items():
        try:
            deployment.ledger.expire_approvals(model, now)
            tell_of_stop(deployment, spec)
            if not _alias_follows(deployment, model):
                unreached.add(model)
            _ask(ask_retrain_for_corrections, deployment, spec)
            _ask(ask_retrain_for_growth, deployment, spec, now)
        except LedgerError:
            raise
        except RatchetError as error:
            log.warning("what each sweep sets right is not all done for %s: %s", model, error)
            note_house(deployment, model, error)
        else:
            note_house(deployment, model, None)
    note_mlflow(deployment, unreached)
    return unreached


def _ask(ask_retrain: Callable[..., dict | None], *about: object) -> None:
    """Windows that don't fit the data yet are waited for: that is no news."""
    try:
        ask_retrain(*about)
    except EmptyWindowError as error:
        log.info("no retrain can be asked for yet: %s", error)


def _alias_follows(deployment: Deployment, model: str) -> bool:
    try:
        reconcile_alias(deployment, model)
    except RegistryError as error:
        log.error("MLflow says nothing of %s, so no run of it is started: %s", model, error)
        return False
    return True


def _next_attempt(item: Due, state_of: Callable[[str, str], RunState]) -> int | None:
    """The attempt to start; None while a run is at work on it; above ATTEMPTS when all are used up."""
    if item.held_by and state_of(item.dag_id, item.held_by) == "active":
        return None
    for attempt in range(1, ATTEMPTS + 1):
        state = state_of(item.dag_id, item.run_id(attempt))
        if state == "active":
            return None
        if state == "none":
            return attempt
    return ATTEMPTS + 1
