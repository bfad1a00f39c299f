"""A version that has passed the gate serves a small share of the rows, to see that it is safe; never more by itself.

A day is published whole under one routing. The version's rows are looked at before anybody sees them, and once their
outcomes have come; what is wrong ends the canary, on record, and that day is scored by the champion alone. Whatever
befalls the canary, the champion's rows are scored as ever.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ratchet.days import days_between, shift_day
from ratchet.deployment import Deployment
from ratchet.digests import digest_of
from ratchet.errors import ApprovalError, ParameterError, RatchetError
from ratchet.ledger import Champion, Routing
from ratchet.ledger.routings import MAY_SERVE
from ratchet.plain_text import one_line
from ratchet.specs import ModelSpec
from ratchet.workflow.scoring import inputs_digests
from ratchet.workflow.versions import load_checked, load_version

if TYPE_CHECKING:
    import pandas as pd

    from ratchet.workflow.probation import Probation

RUNBOOK = "start-a-canary"
log = logging.getLogger(__name__)


def start_canary(
    deployment: Deployment,
    model: str,
    version: int | None,
    *,
    share: float,
    actor: str,
    reason: str,
    run_id: str,
    try_number: int = 1,
) -> dict:
    """Let `version` serve a share of the rows, from the first day that is not scored yet, for `field_test.canary_days`
    event days; once per `run_id`. What it takes: see Ledger.start_canary; and that the version still says what it said
    at its training. Moves no champion. Raises as these do, ParameterError where the spec allows none, and ApprovalError
    on a later try that has started none before: whoever clears a run is not who started it.

    Returns {canary, version, share, first_day, last_day, ended, outcomes}; `outcomes`: whether these are compared.
    """
    spec, ledger = deployment.model(model), deployment.ledger
    rules = spec.field_test
    if rules.canary_share is None or version is None:
        raise ParameterError(
            f"no canary of {model} was started",
            seen="field_test.canary_share is not set" if version else "no version",
            hint="say canary_share in the model's spec" if version else "name the version",
        )
    if try_number > 1 and run_id not in {one.run_id for one in ledger.routings(model)}:
        raise ApprovalError(
            "a canary is asked for once",
            seen=f"try {try_number}",
            hint="have an approver start a fresh run instead of clearing this one",
        )
    load_checked(deployment, ledger.challenger(model, version))
    started = ledger.start_canary(
        model,
        version,
        share=share,
        most=rules.canary_share,
        first_day=_first_day(deployment, spec),
        days=rules.canary_days,
        actor=actor,
        reason=reason,
        run_id=run_id,
        allowed=spec.approval.approvers,
        four_eyes=spec.approval.four_eyes,
    )
    _settle(deployment, model, f"a canary of version {version} was started by {actor}")
    return _told(deployment, started)


def stop_canary(deployment: Deployment, model: str, *, actor: str, reason: str) -> dict:
    """End the canary that stands, if there is one, and settle what alerts of canaries are open. Returns as
    `start_canary`, or {canary: None}."""
    deployment.model(model)
    standing = deployment.ledger.open_canary(model)
    _settle(deployment, model, f"seen by {actor}: {reason}")
    if standing is None:
        return {"canary": None}
    return _told(deployment, deployment.ledger.end_canary(model, standing.id, "stopped", reason, actor))


def standing_canary(deployment: Deployment, model: str) -> Routing | None:
    """The canary that stands now: none whose version was refused, rejected or superseded since."""
    standing = deployment.ledger.open_canary(model)
    return standing if standing and _status(deployment, standing) in MAY_SERVE else None


def end_if_over(deployment: Deployment, model: str, day: str = "") -> None:
    """End the canary that is open if its version may no longer serve, or if `day`, which is scored now, is after its
    last."""
    standing = deployment.ledger.open_canary(model)
    if standing is None:
        return
    if (status := _status(deployment, standing)) not in MAY_SERVE:
        how, why = "stopped", f"version {standing.version} is {status}"
    elif day > standing.last_day:
        how, why = "days over", f"{day} has come"
    else:
        return
    deployment.ledger.end_canary(model, standing.id, how, why, "ratchet")


def _status(deployment: Deployment, routing: Routing) -> str:
    return deployment.ledger.challenger(routing.model, routing.version).status


class Canary:
    """Scores days for the champion, and lets the canary that stands serve its share of them."""

    def __init__(self, deployment: Deployment, spec: ModelSpec, champion: Champion, probation: Probation) -> None:
        self.deployment, self.spec, self.champion, self.probation = deployment, spec, champion, probation
        self.key = deployment.dataset(spec.scored_dataset).key
        self._estimators: dict[int, object] = {}

    def routing_on(self, day: str) -> str:
        """The id of the routing that a day would be scored under now; "" for none. Changes nothing."""
        found = self._serving(day)
        return found.id if found else ""

    def score(self, estimator, inputs: pd.DataFrame, spec: ModelSpec) -> pd.DataFrame:
        """What the champion says of the rows of one day (see Probation.score), and of the canary's rows what the canary
        says, with `model_version`, `model_digest` and `routing` of each. The champion alone while it is on probation
        itself, where the canary can't be fetched or the machine is at fault, and where what it says can't be right:
        that ends the canary."""
        scores = self.probation.score(estimator, inputs, spec)
        day = str(inputs["day"].iloc[0])
        end_if_over(self.deployment, self.spec.name, day)
        routing = self._serving(day)
        if routing is None or self.probation.on:
            return scores
        mine = self._rows(inputs, routing)
        try:
            theirs, wrong = self._try(routing, inputs[mine]) if mine.any() else (scores[mine], None)
        except (RatchetError, MemoryError, OSError) as error:
            log.warning("version %s serves no row of this day: %s", routing.version, one_line(str(error)))
            return scores
        if wrong:
            roll_back(self.deployment, routing, wrong, "warn")
            return scores
        return self._together(scores, theirs, mine, routing)

    def _serving(self, day: str) -> Routing | None:
        routing = standing_canary(self.deployment, self.spec.name)
        if routing is None or routing.champion_epoch != self.champion.epoch:
            return None
        return routing if routing.first_day <= day <= routing.last_day else None

    def _rows(self, inputs: pd.DataFrame, routing: Routing):
        from ratchet.field_test.routing import in_share

        return in_share(inputs, self.key, routing.id, routing.share)

    def _try(self, routing: Routing, rows: pd.DataFrame) -> tuple[pd.DataFrame | None, str | None]:
        """Its scores, and what is wrong with them, or with it. What is not its fault is raised."""
        from ratchet.first_scoring import wrong_scores
        from ratchet.score import score_frame

        challenger = self.deployment.ledger.challenger(self.spec.name, routing.version)
        try:
            if routing.version not in self._estimators:
                self._estimators[routing.version] = load_version(self.deployment, self.spec.name, routing.version)
            scores = score_frame(self._estimators[routing.version], rows, self.spec)
        except (MemoryError, OSError):  # the machine's fault
            raise
        except Exception as error:  # whatever a version raises that can't be loaded, or can't score
            if isinstance(error, RatchetError) and error.retryable:
                raise
            why = error.what if isinstance(error, RatchetError) else f"{type(error).__name__}: {error}"
            return None, one_line(why)[:500]
        return scores, "; ".join(wrong_scores(self.spec, scores, challenger.manifest.get("proof", {}))) or None

    def _together(self, scores: pd.DataFrame, theirs: pd.DataFrame, mine, routing: Routing) -> pd.DataFrame:
        by = {"model_version": int(self.champion.version), "model_digest": self.champion.model_digest}
        served = scores.assign(**by, routing=routing.id)
        served.loc[mine, self.spec.score_columns] = theirs[self.spec.score_columns]
        served.loc[mine, "model_version"] = int(routing.version)
        served.loc[mine, "model_digest"] = routing.model_digest
        return served


def roll_back(deployment: Deployment, routing: Routing, why: str, level: str) -> None:
    """Raise the alert for what a canary did, and end what is open of its version, be it a later canary: the alert
    first, so that a crash between the two loses none. Run again it changes nothing."""
    model, version = routing.model, routing.version
    how = f"has served until {routing.last_day}" if routing.ended_how else "rolled back"
    log.error("the canary of version %s of %s %s: %s", version, model, how, why)
    facts = {"version": version, "canary": routing.id, "share": routing.share, "why": why}
    what = f"canary of version {version} of {model} {how}: {why}"
    deployment.ledger.raise_alert(model, f"canary/v{version}", level, what, facts, RUNBOOK)
    for one in deployment.ledger.routings(model):
        if one.version == version and one.ended_how is None:
            deployment.ledger.end_canary(model, one.id, "rolled back", why, "ratchet")


def check_canary(deployment: Deployment, model: str) -> dict:
    """Look for gross harm on the days of a canary whose outcomes have come (see ratchet.field_test.safety): one that
    stands is ended, of one whose days are over the alert tells. Once per what there is to look at, of the one that
    stands first. Rows whose label can't be used are left out. Returns {canary, days, unusable_labels, harm}; where
    nothing is new 0 days, of the canary that is open or None."""
    spec = deployment.model(model)
    end_if_over(deployment, model)
    owed = _owed(deployment, spec)
    if owed is None:
        standing = deployment.ledger.open_canary(model)
        return {"canary": standing and standing.id, "days": 0, "unusable_labels": 0, "harm": None}
    routing, basis = owed
    from ratchet.field_test.losses import daily_losses
    from ratchet.field_test.safety import greatest_loss, gross_harm

    rows, unusable = _served_rows(deployment, spec, routing, basis)
    daily = daily_losses(spec, rows)
    proof = deployment.ledger.challenger(model, routing.champion_version).manifest.get("proof", {})
    most = greatest_loss(spec, proof)
    harm = gross_harm(daily, most) if most else None
    if harm:
        roll_back(deployment, routing, harm, "page")
    seen = {"days": len(daily), "unusable_labels": unusable, "harm": harm}
    told = {"digest": digest_of(basis), "last": max(basis), **seen}
    deployment.ledger.note("canary_checked", f"models/{model}/routings/{routing.id}", told, "ratchet")
    return {"canary": routing.id, **seen}


def canary_basis(deployment: Deployment, spec: ModelSpec, routing: Routing) -> dict[str, str]:
    """By day that was scored under the routing, from inputs as they still are, and has outcomes: a digest of both."""
    ledger = deployment.ledger
    served = {day: one for day, one in ledger.scored_days(spec.name).items() if one.routing == routing.id}
    now = inputs_digests(deployment, spec, sorted(served))
    outcomes = {one.day: one.digest for one in ledger.partitions(spec.outcome_dataset, first=routing.first_day)}
    return {
        day: digest_of([one.inputs_digest, outcomes[day]])
        for day, one in served.items()
        if day in outcomes and now.get(day) == one.inputs_digest
    }


def canary_due(deployment: Deployment, spec: ModelSpec) -> str | None:
    """A name for what there is to look at of a canary; None for nothing new."""
    owed = _owed(deployment, spec)
    return owed and f"{owed[0].id}__{digest_of(owed[1])[:12]}"


def _owed(deployment: Deployment, spec: ModelSpec) -> tuple[Routing, dict[str, str]] | None:
    """A canary that has something new to look at, and its basis: the one that stands, or else the oldest. One whose
    days are over is looked at until its last day was, for outcomes come later than the days; also beside another that
    was started since."""
    for routing in sorted(deployment.ledger.routings(spec.name), key=lambda one: one.ended_how is not None):
        if routing.ended_how not in (None, "days over"):
            continue
        told = deployment.ledger.events(f"models/{spec.name}/routings/{routing.id}")
        looked = [one.payload for one in told if one.kind == "canary_checked"][-1:]
        if routing.ended_how and looked and looked[0].get("last") == routing.last_day:
            continue
        basis = canary_basis(deployment, spec, routing)
        if basis and digest_of(basis) not in [one["digest"] for one in looked]:
            return routing, basis
    return None


def _served_rows(deployment: Deployment, spec: ModelSpec, routing: Routing, days: dict[str, str]) -> tuple:
    """The rows that the canary served, with their labels, what it said, and what the champion would have said; and how
    many are left out, for their label can't be used."""
    from ratchet.labels import split_usable
    from ratchet.score import score_frame
    from ratchet.snapshot import build_inputs, read_labels

    key = deployment.dataset(spec.scored_dataset).key
    where = (spec, deployment.datasets.good, deployment.published, min(days), max(days))
    predictions = deployment.lake.read(f"predictions/{spec.name}", days=list(days))
    mine = predictions[(predictions["model_version"] == routing.version) & (predictions["routing"] == routing.id)]
    said = mine[[*key, *spec.score_columns]].rename(columns={c: f"challenger_{c}" for c in spec.score_columns})
    rows = build_inputs(*where).merge(said, on=key, how="inner", validate="one_to_one")
    champion = load_version(deployment, spec.name, routing.champion_version)
    rows = rows.join(score_frame(champion, rows, spec).add_prefix("champion_"))
    labels = read_labels(*where)[[*key, "label"]]
    return split_usable(spec, rows.merge(labels, on=key, how="inner", validate="one_to_one"))


def _first_day(deployment: Deployment, spec: ModelSpec) -> str:
    """The day after the newest that is scored: what was published stays as it is."""
    scored = deployment.ledger.scored_days(spec.name)
    champion = deployment.ledger.champion(spec.name)
    return shift_day(max([*scored, *([champion.as_of] if champion else [])], default="2000-01-01"), 1)


def _settle(deployment: Deployment, model: str, why: str) -> None:
    for alert in deployment.ledger.open_alerts(model):
        if alert.key.startswith("canary/"):
            deployment.ledger.settle_alert(model, alert.key, why)


def _told(deployment: Deployment, routing: Routing) -> dict:
    told = {name: getattr(routing, name) for name in ("version", "share", "first_day", "last_day")}
    return {"canary": routing.id, **told, "ended": routing.ended_how, "outcomes": _outcomes(deployment, routing)}


def _outcomes(deployment: Deployment, routing: Routing) -> str:
    """Whether they can show harm of it."""
    from ratchet.field_test.safety import LEAST_DAYS, greatest_loss

    champion = deployment.ledger.challenger(routing.model, routing.champion_version)
    if len(days_between(routing.first_day, routing.last_day)) < LEAST_DAYS:
        return f"not compared: fewer than {LEAST_DAYS} days show no harm"
    if greatest_loss(deployment.model(routing.model), champion.manifest.get("proof", {})) is None:
        return "not compared: the range of the champion's scores in evaluation is not known"
    return f"compared, once {LEAST_DAYS} days have them"
