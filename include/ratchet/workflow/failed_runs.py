"""Finds every run that failed, whatever callback was lost with it: one alert each, settled when the work is done."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Protocol
from urllib.parse import quote

from ratchet.deployment import Deployment
from ratchet.ledger import Alert
from ratchet.workflow.champion_alerts import held_days
from ratchet.workflow.dispatch import ATTEMPTS, NOT_DUE, Due, is_due, list_due
from ratchet.workflow.loop_alerts import GIVEN_UP, LOOP, MOST_DAYS, is_promised

DATASET_DAGS = ("ingest_validate", "readmit")
MODEL_DAGS = (
    "retrain",
    "train_evaluate",
    "promote",
    "break_glass",
    "rollback",
    "reproduce",
    "score",
    "check_drift",
    "monthly_report",
    "shadow",
    "canary",
)
BY_ITSELF = ("scheduled__", "asset_triggered__")  # how ids of runs begin that nobody looks at
SAME_WORK = ("ingest_validate", "score", "check_drift", "upkeep")  # the next scheduled run takes up what one has left
# how dispatch's keys begin, by the DAG's kind
KEYS = {"train_evaluate": "train", "promote": "promote", "score": "score", "check_drift": "check", "shadow": "shadow"}
AT_ONCE = 100  # run ids in one question
SUCCEEDED = "the run itself has succeeded since"
LATER = "a later run did its work"
TRAINED = "its training is done"
GONE = "Airflow has no such run any more"


class Runs(Protocol):
    """What is asked of the scheduler."""

    def count(self, dag_id: str, run_ids: Sequence[str] | None = None, state: str | None = None) -> int:
        """How many runs of the DAG there are, of those ids and in that state."""

    def states(self, dag_id: str, run_ids: Sequence[str] | None = None) -> dict[str, dict[str, str]]:
        """The states of the tasks of the DAG's runs: {run id: {task: state}}."""


@dataclass(frozen=True)
class FailedRun:
    dag_id: str
    run_id: str

    @property
    def model(self) -> str:
        """What the DAG is of: a model, a dataset, or the loop; of one of yours its id."""
        return self.dag_id.rpartition(".")[0] or self.dag_id

    @property
    def kind(self) -> str:
        return self.dag_id.rpartition(".")[2]

    @property
    def key(self) -> str:
        return f"run/{self.dag_id}/{self.run_id}"

    @property
    def work(self) -> str:
        """Dispatch's key of what a run that it started was to do: the run id less the attempt."""
        return self.run_id.rpartition("__")[0]

    @property
    def attempt(self) -> int | None:
        """Which attempt of dispatch it was; None for a run that dispatch did not start, whatever its id looks like."""
        told = re.fullmatch(rf"{KEYS[self.kind]}__.+__([1-{ATTEMPTS}])", self.run_id) if self.kind in KEYS else None
        return int(told[1]) if told else None

    def attempts_after(self) -> list[str]:
        """The ids of the runs that dispatch may start for the same work after this one."""
        return [f"{self.work}__{n}" for n in range(self.attempt + 1, ATTEMPTS + 1)] if self.attempt else []

    @property
    def by_itself(self) -> str | None:
        """How its id begins, for a run that nobody looks at; None for others."""
        return next((how for how in BY_ITSELF if self.run_id.startswith(how)), None)

    @property
    def taken_up(self) -> str | None:
        """How the ids of the runs begin that take up what it has left; None where the next one does other work."""
        return self.by_itself if self.kind in SAME_WORK else None

    def is_done_by(self, run_id: str) -> bool:
        """Whether that run does the same work after it: a next attempt, or a later one by the same schedule."""
        scheduled = self.taken_up is not None and run_id.startswith(self.taken_up) and run_id > self.run_id
        return scheduled or run_id in self.attempts_after()

    @property
    def level(self) -> str:
        """Page when production rests on it, nobody stands by, and nothing starts it again. What dispatch starts it
        starts afresh, or gives up: that is an alert of its own."""
        promised = is_promised(self.dag_id)
        if self.attempt:
            return "warn" if promised and not self.attempts_after() else "note"
        return "page" if promised and self.by_itself else "warn"

    @property
    def done(self) -> str:
        """What the loop does about it."""
        if self.attempts_after():
            return f"dispatch starts afresh what is still due of it: attempt {self.attempt} of {ATTEMPTS} failed"
        if self.attempt:
            return f"the last of {ATTEMPTS} attempts: what is still due of it is given up"
        if self.taken_up:
            return "the next run by the schedule takes the same work up"
        if self.by_itself:
            return "nothing: the next run by the schedule does other work. Clear this one, or start a fresh one"
        return "nothing: clear the run, or start a fresh one"


def watched_dags(deployment: Deployment) -> list[str]:
    """Every DAG whose failed runs are looked for. Not dispatch: it is what looks (see
    `loop_alerts.note_sweep`)."""
    datasets = [f"{name}.{kind}" for name in deployment.datasets.good for kind in DATASET_DAGS]
    models = [f"{name}.{kind}" for name in deployment.models.good for kind in MODEL_DAGS]
    return [*datasets, *models, f"{LOOP}.upkeep"]


def raise_failed_run(deployment: Deployment, run: FailedRun, tasks: Sequence[str] = ()) -> Alert:
    """The alert of a run that failed, with its failed tasks as far as they are known."""
    facts = {"dag": run.dag_id, "run": run.run_id, "done": run.done}
    if tasks:
        facts["tasks"] = list(tasks)
    if ui := os.environ.get("RATCHET_AIRFLOW_UI"):
        facts["link"] = f"{ui}/dags/{run.dag_id}/runs/{quote(run.run_id, safe='')}"
    what = f"run {run.run_id} of {run.dag_id} failed"
    return deployment.ledger.raise_alert(run.model, run.key, run.level, what, facts, "a-run-failed")


def watch_runs(deployment: Deployment, runs: Runs) -> dict:
    """Raise an alert of each failed run that has none, and settle those whose work was done since.

    One count for each DAG, where nothing failed; the runs are listed only where more have failed than are known.
    Returns {"raised": keys, "settled": keys}.
    """
    raised, settled = [], []
    for dag_id in watched_dags(deployment):
        failed = runs.count(dag_id, state="failed")
        known = _known(deployment, dag_id) if failed else []
        if failed > sum(runs.count(dag_id, ids, "failed") for ids in _chunks(known)):
            raised += _raise_unknown(deployment, runs, dag_id, known)
    unsettled = [alert for alert in deployment.ledger.open_alerts() if alert.key.startswith("run/")]
    due = list_due(deployment) if unsettled else []
    for dag_id, alerts in groupby(sorted(unsettled, key=_dag_of), key=_dag_of):
        alerts = {FailedRun(dag_id, alert.key.split("/", 2)[2]): alert for alert in alerts}
        for run, why in _settled_by(deployment, runs, dag_id, list(alerts), due):
            deployment.ledger.settle_alert(alerts[run].model, run.key, why)
            settled.append(run.key)
    return {"raised": raised, "settled": settled}


def _dag_of(alert: Alert) -> str:
    return alert.key.split("/", 2)[1]


def _known(deployment: Deployment, dag_id: str) -> list[str]:
    """The runs of the DAG that failed and have an alert. One that succeeded since may fail again, and be new."""
    before = f"run/{dag_id}/"
    found = deployment.ledger.alerts_under(FailedRun(dag_id, "").model, before)
    return [alert.key.removeprefix(before) for alert in found if alert.why != SUCCEEDED]


def _raise_unknown(deployment: Deployment, runs: Runs, dag_id: str, known: Sequence[str]) -> list[str]:
    states = runs.states(dag_id)
    raised = []
    for run_id in _those(runs, dag_id, [run_id for run_id in states if run_id not in set(known)], "failed"):
        run = FailedRun(dag_id, run_id)
        tasks = sorted(task for task, state in states[run_id].items() if state == "failed")
        raised.append(raise_failed_run(deployment, run, tasks).key)
    return raised


def _those(runs: Runs, dag_id: str, run_ids: Sequence[str], state: str | None = None) -> list[str]:
    """Those of the runs that there are, in that state, by counting in halves."""
    found = []
    for ids in _chunks(run_ids):
        counted = runs.count(dag_id, ids, state)
        if counted == len(ids):
            found += ids
        elif counted:
            middle = len(ids) // 2
            found += _those(runs, dag_id, ids[:middle], state) + _those(runs, dag_id, ids[middle:], state)
    return found


def _settled_by(
    deployment: Deployment, runs: Runs, dag_id: str, failed: Sequence[FailedRun], due: Collection[Due]
) -> Iterator[tuple[FailedRun, str]]:
    """Those of the DAG's failed runs whose alerts are settled, and why."""
    run_ids = [run.run_id for run in failed]
    there, succeeded = set(_those(runs, dag_id, run_ids)), set(_those(runs, dag_id, run_ids, "success"))
    later = _later_successes(runs, dag_id, failed)
    for run in failed:
        if run.run_id not in there:
            yield run, GONE
        elif run.run_id in succeeded:
            yield run, SUCCEEDED
        elif any(run.is_done_by(run_id) for run_id in later):
            yield run, _but_held(deployment, run, LATER)
        elif why := _why_over(deployment, run, due):
            yield run, why


def _later_successes(runs: Runs, dag_id: str, failed: Sequence[FailedRun]) -> set[str]:
    """The runs that succeeded and may have done the same work: the next attempts, and of each schedule the newest."""
    attempts = [run_id for run in failed for run_id in run.attempts_after()]
    found = set(_those(runs, dag_id, attempts, "success"))
    listed = runs.states(dag_id) if any(run.taken_up for run in failed) else {}
    for how in {run.taken_up for run in failed} - {None}:
        oldest = min(run.run_id for run in failed if run.taken_up == how)
        found |= _newest_success(runs, dag_id, sorted(one for one in listed if one.startswith(how) and one > oldest))
    return found


def _newest_success(runs: Runs, dag_id: str, run_ids: Sequence[str]) -> set[str]:
    """The last of the runs that has succeeded, if any: of many, the newest are asked for first."""
    if len(run_ids) > AT_ONCE:
        return _newest_success(runs, dag_id, run_ids[-AT_ONCE:]) or _newest_success(runs, dag_id, run_ids[:-AT_ONCE])
    if not run_ids or not runs.count(dag_id, run_ids, "success"):
        return set()
    middle = len(run_ids) // 2
    if middle == 0:
        return set(run_ids)
    return _newest_success(runs, dag_id, run_ids[middle:]) or _newest_success(runs, dag_id, run_ids[:middle])


def _why_over(deployment: Deployment, run: FailedRun, due: Collection[Due]) -> str | None:
    """Why nobody waits any more for what dispatch had started: it is not due. A training is over once its
    batch is done, by whatever run; one that was given up is never due: what settled that alert settles those of its
    runs. None while somebody waits, and where nobody knows, as the model's spec can't be used."""
    if run.attempt is None or run.model not in deployment.models.good:
        return None
    if run.kind == "train_evaluate":
        given_up = deployment.ledger.newest_alert(run.model, f"{GIVEN_UP}{run.work}")
        return TRAINED if _is_trained(deployment, run) else given_up and given_up.why
    return None if is_due(due, run.dag_id, run.work) else _but_held(deployment, run, NOT_DUE)


def _is_trained(deployment: Deployment, run: FailedRun) -> bool:
    """Whether the batch that dispatch's key names is done."""
    batch = run.work.rpartition("__")[2]
    return any((one.id, one.status) == (batch, "done") for one in deployment.ledger.batches(run.model))


def _but_held(deployment: Deployment, run: FailedRun, why: str) -> str:
    """Of days that are held back no run did the work: their own alerts stay open."""
    held = [*held_days(deployment, run.model)] if run.kind == "score" else []
    return f"{why}; still held back: {', '.join(held[-MOST_DAYS:])}" if held else why


def _chunks(run_ids: Sequence[str]) -> Iterator[Sequence[str]]:
    return (run_ids[n : n + AT_ONCE] for n in range(0, len(run_ids), AT_ONCE))
