"""What asks for a training by itself, each sweep while it is true, and the alert of a broker that has stopped."""

from __future__ import annotations

from datetime import datetime, timedelta

from ratchet.deployment import Deployment
from ratchet.ledger import Partition, Request
from ratchet.specs import ModelSpec
from ratchet.workflow.training import high_water_mark, request_retrain

STOPPED = "broker/stopped"
RUNBOOK = "the-broker-has-stopped"
AT_REST = timedelta(minutes=10)  # since the newest outcomes were published: a year taken in at once is one step


def ask_while_it_stands(deployment: Deployment, spec: ModelSpec, about: str, *, reason: str, source: str) -> dict:
    """File a request for something that is true until a training mends it, known by `about`: once for each data day,
    until one is let through and its training does not fail. What was suppressed is asked again, and not lost.

    Returns the answer, see request_retrain; once one was let through, always that one.
    """
    as_of = high_water_mark(deployment, spec)
    asked = {one.idempotency_key or "": one for one in deployment.ledger.requests(spec.name)}
    through = [key for key, one in asked.items() if key.startswith(f"{about}/") and _is_let_through(deployment, one)]
    return request_retrain(
        deployment,
        spec.name,
        reason=reason,
        source=source,
        actor="dispatch",
        as_of=as_of,
        idempotency_key=through[0] if through else f"{about}/{as_of}",
    )


def _is_let_through(deployment: Deployment, request: Request) -> bool:
    return request.batch_id is not None and deployment.ledger.batch(request.batch_id).status != "failed"


def ask_retrain_for_growth(deployment: Deployment, spec: ModelSpec, now: datetime) -> dict | None:
    """File a request when the days with outcomes that are newer than those of the champion's snapshot are at least
    `retrain_when.data_grows_by` of these; again at each further step of that size. None: nothing to ask yet, or
    outcomes are still coming in (see AT_REST; `now` with its time zone)."""
    wanted, champion = spec.retrain_when.data_grows_by, deployment.ledger.champion(spec.name)
    if wanted is None or champion is None:
        return None
    used, newer = _days_used_and_newer(deployment, spec, champion.version)
    step = steps_grown(used, len(newer), wanted)
    if step == 0 or now < max(one.recorded_at for one in newer) + AT_REST:
        return None
    return ask_while_it_stands(
        deployment,
        spec,
        f"growth/v{champion.version}/{step}",
        reason=f"{len(newer)} days with outcomes are newer than the {used} of version {champion.version}",
        source="volume",
    )


def steps_grown(used: int, newer: int, share: float) -> int:
    """How many times the newer days make up that share of those that were used."""
    return int(newer / (share * used)) if used else 0


def _days_used_and_newer(deployment: Deployment, spec: ModelSpec, version: int) -> tuple[int, list[Partition]]:
    """How many days with outcomes the version's snapshot was made from, and those that there are after them."""
    made_from = deployment.ledger.challenger(spec.name, version).snapshot
    snapshots = {one.digest: one for one in deployment.ledger.snapshots(spec.name)}
    used = snapshots[made_from].partitions.get(spec.outcome_dataset, {}) if made_from in snapshots else {}
    newer = [one for one in deployment.ledger.partitions(spec.outcome_dataset) if used and one.day > max(used)]
    return len(used), newer


def tell_of_stop(deployment: Deployment, spec: ModelSpec) -> None:
    """Ask a person, by an alert, while the broker has stopped; settle it once it goes on."""
    versions = deployment.ledger.turned_down(spec.name)
    if len(versions) < spec.retrain_when.stop_after_rejected:
        deployment.ledger.settle_alert(spec.name, STOPPED, "a person asked for a training, or a version was promoted")
        return
    named = ", ".join(map(str, versions))
    deployment.ledger.raise_alert(
        spec.name,
        STOPPED,
        "warn",
        f"{spec.name} is not trained any more: the gate or a person turned down versions {named}, one after the other",
        {"versions": versions, "done": "retrain requests are held back, each on record, until a person makes one"},
        RUNBOOK,
    )
