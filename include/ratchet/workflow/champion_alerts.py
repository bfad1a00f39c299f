"""Alerts of what the loop does by itself about a champion that can't be right: it goes back, or a day is held back.

Both are read from the ledger alone, when it happens and again in each sweep: a crash in between leaves none untold.
"""

from __future__ import annotations

from ratchet.deployment import Deployment
from ratchet.ledger import Event
from ratchet.workflow.scoring import inputs_digests

ROLLBACK, HELD = "rollback/", "held/"
RUNBOOK = "roll-back"
OVER = "the day is scored, or was delivered otherwise"


def tell_of_champions(deployment: Deployment) -> None:
    """As `tell_of_champion`, of each model."""
    for model in deployment.models.good:
        tell_of_champion(deployment, model)


def tell_of_champion(deployment: Deployment, model: str) -> None:
    """A page of a champion that went back by itself (`rollback/v<version>`), until the next promotion; a warning of
    each day that is held back (`held/<day>`), see `held_days`. What a person has settled is not raised again."""
    _tell_of_rollback(deployment, model)
    held = held_days(deployment, model)
    _tell_of_held(deployment, model, held)
    for alert in deployment.ledger.open_alerts(model):
        if alert.key.startswith(HELD) and alert.key.removeprefix(HELD) not in held:
            deployment.ledger.settle_alert(model, alert.key, OVER)


def held_days(deployment: Deployment, model: str) -> dict[str, Event]:
    """The days that were held back on probation with what they hold now, and are not scored from it, in order, with the
    newest entry of each. {} of a model whose spec can't be used: nobody knows what its days are made from."""
    told = sorted(deployment.ledger.held_days(model).values(), key=lambda entry: (entry.payload["day"], entry.seq))
    if not told or model not in deployment.models.good:
        return {}
    now = inputs_digests(deployment, deployment.model(model), [entry.payload["day"] for entry in told])
    scored = {day: one.inputs_digest for day, one in deployment.ledger.scored_days(model).items()}
    of_now = [one for one in told if one.payload["inputs_digest"] == now.get(one.payload["day"])]
    held = {one.payload["day"]: one for one in of_now}
    return {day: one for day, one in held.items() if scored.get(day) != now[day]}


def _tell_of_rollback(deployment: Deployment, model: str) -> None:
    ledger, moves = deployment.ledger, deployment.ledger.champion_history(model)
    if not moves:
        return
    if moves[-1].how != "rollback":
        for alert in ledger.open_alerts(model):
            if alert.key.startswith(ROLLBACK):
                ledger.settle_alert(model, alert.key, f"version {moves[-1].version} was promoted")
    elif moves[-1].actor == "ratchet":
        back, failed = moves[-1], moves[-2].version
        known = ledger.newest_alert(model, f"{ROLLBACK}v{failed}")
        if known is None or known.facts["epoch"] != back.epoch:
            done = f"version {back.version} is champion again, and scores the days"
            facts = {"version": failed, "champion": back.version, "epoch": back.epoch, "why": back.reason, "done": done}
            what = f"version {failed} of {model} was taken back: its first day can't be right"
            ledger.raise_alert(model, f"{ROLLBACK}v{failed}", "page", what, facts, RUNBOOK)


def _tell_of_held(deployment: Deployment, model: str, held: dict[str, Event]) -> None:
    known = {alert.key: alert for alert in deployment.ledger.alerts_under(model, HELD)} if held else {}
    for day, entry in held.items():
        key = f"{HELD}{day}"
        if key in known and known[key].seen_at >= entry.at and known[key].why != OVER:
            continue
        facts = {
            "day": day,
            "version": entry.payload["version"],
            "why": entry.payload["why"],
            "hurts": "the day is not published as it was delivered",
            "done": "it is tried again once it is delivered otherwise, or with another champion; other days are scored",
        }
        deployment.ledger.raise_alert(model, key, "warn", f"{day} of {model} is held back", facts, RUNBOOK)
