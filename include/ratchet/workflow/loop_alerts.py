"""Alerts of the loop about itself: a dispatch that fails, work that was given up, what a sweep can't do for a model, an
MLflow that is away, a ledger that does not verify, and drops that were refused."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta

from ratchet.deployment import Deployment
from ratchet.errors import RatchetError
from ratchet.ledger import Alert

LOOP = "ratchet"  # the `model` of these alerts
PROMISED = ("ingest_validate", "promote", "score")  # the DAGs that production rests on
IN_A_ROW = 3  # sweeps that failed, until somebody is paged
AWAY = ((timedelta(hours=1), "page"), (timedelta(minutes=10), "warn"))  # a restart of MLflow is nobody's business
GIVEN_UP = "given-up/"
MOST_DAYS = 20  # that an alert names; all are counted


def is_promised(dag_id: str) -> bool:
    return dag_id.rpartition(".")[2] in PROMISED


def note_sweep(deployment: Deployment, failed_run: str | None) -> Alert | None:
    """A sweep of dispatch that failed: a note; a page from the third in a row. None: one that went well. The same
    again changes nothing: its own task tells of it, and a callback, as either may be lost."""
    key, ledger = "loop/dispatch", deployment.ledger
    if failed_run is None:
        return ledger.settle_alert(LOOP, key, "a later sweep went well")
    known = _open_alert(deployment, LOOP, key)
    if known and known.facts["run"] == failed_run:
        return known
    level = "page" if known and known.times >= IN_A_ROW - 1 else "note"
    facts = {"run": failed_run, "done": "the next sweep, a minute later, does all that is due"}
    return ledger.raise_alert(LOOP, key, level, "dispatch failed: what is due waits", facts, "a-run-failed")


def note_mlflow(deployment: Deployment, unreached: Collection[str]) -> Alert | None:
    """An MLflow that says nothing of some models: louder the longer it lasts (AWAY). None of them: it is back."""
    key, ledger = "loop/mlflow", deployment.ledger
    if not unreached:
        return ledger.settle_alert(LOOP, key, "MLflow answers again")
    known = _open_alert(deployment, LOOP, key)
    lasted = datetime.now(UTC) - known.raised_at if known else timedelta(0)
    level = next((level for least, level in AWAY if lasted >= least), "note")
    facts = {
        "models": sorted(unreached),
        "hurts": "nothing of these models is trained, judged or scored meanwhile",
        "done": "no run of them is started, so that none uses up its attempts; each minute MLflow is asked again",
    }
    return ledger.raise_alert(LOOP, key, level, "MLflow can't be reached, or refuses", facts, "mlflow-is-away")


def note_house(deployment: Deployment, model: str, error: RatchetError | None) -> Alert | None:
    """Warn of what the sweeps can't set right for a model. None: a sweep has done all of it."""
    key, ledger = "loop/house", deployment.ledger
    if error is None:
        return ledger.settle_alert(model, key, "a later sweep has set all right")
    facts = {
        "why": "; ".join(filter(None, [error.what, error.hint])),
        "hurts": "retrains that corrections or new data ask for may not be filed, and questions not expire",
        "done": "each minute it is tried again; other models and the runs that are due go on",
    }
    return ledger.raise_alert(model, key, "warn", f"sweeps can't set all right for {model}", facts, "the-loop-lags")


def raise_given_up(deployment: Deployment, model: str, dag_id: str, key: str, attempts: int) -> Alert:
    """Work that every attempt has failed at: a page where production rests on it."""
    facts = {"dag": dag_id, "work": key, "done": f"{attempts} runs were started for it, the last one has failed"}
    level = "page" if is_promised(dag_id) else "warn"
    what = f"{dag_id} is given up: {key}"
    return deployment.ledger.raise_alert(model, f"{GIVEN_UP}{key}", level, what, facts, "a-run-failed")


def verify_ledger(deployment: Deployment) -> dict:
    """Walk the ledger (see `Ledger.verify`): a page when it is not as it was sealed. Returns {ok, entries}."""
    key, report = "loop/ledger", deployment.ledger.verify()
    if report.ok:
        deployment.ledger.settle_alert(LOOP, key, "the ledger verifies")
    else:
        facts = {"found": report.reason, "entry": report.first_bad, "hurts": "no champion moves on such a record"}
        what = "the ledger is not as it was sealed"
        deployment.ledger.raise_alert(LOOP, key, "page", what, facts, "the-ledger-does-not-verify")
    return {"ok": report.ok, "entries": report.entries}


def note_refused(deployment: Deployment, dataset: str) -> Alert | None:
    """Warn of the dataset's days that are not published because their drop was refused; settle it when there are none.
    The landing zone is asked only where the ledger has a refusal that nothing was published after."""
    from ratchet.ingest import refused_days

    ledger, key = deployment.ledger, f"data/{dataset}"
    published = {one.day: one.recorded_at for one in ledger.partitions(dataset)}
    reasons = {
        one.day: one.reasons
        for one in ledger.refusals(dataset)
        if one.day not in published or published[one.day] < one.recorded_at
    }
    refused = refused_days(deployment.dataset(dataset), drops=deployment.drops, ledger=ledger) if reasons else []
    if not refused:
        return ledger.settle_alert(dataset, key, "every day that was refused is published, or gone")
    facts = {
        "days": refused[-MOST_DAYS:],
        "refused": len(refused),
        "reasons": reasons.get(refused[-1], []),
        "hurts": "these days are not published as they were last delivered: nothing is scored or trained on them",
    }
    return ledger.raise_alert(dataset, key, "warn", f"drops of {dataset} were refused", facts, "a-drop-was-refused")


def _open_alert(deployment: Deployment, model: str, key: str) -> Alert | None:
    newest = deployment.ledger.newest_alert(model, key)
    return newest if newest and newest.settled_at is None else None
