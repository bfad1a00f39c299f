"""What is watched beside the model itself: the data that feed it, training-serving skew, and the loop's own health.

Each of the three functions gathers what `ratchet.monitoring` needs and hands back its findings; `watch_loop` raises
those of the loop as alerts."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from ratchet.days import shift_day
from ratchet.deployment import Deployment
from ratchet.errors import RatchetError
from ratchet.ledger import Partition, Scored
from ratchet.monitoring.health import Loop, Waiting, look_at_loop
from ratchet.monitoring.values import Finding
from ratchet.published import as_known
from ratchet.specs import ModelSpec
from ratchet.windows import known_before
from ratchet.workflow.champion_alerts import held_days
from ratchet.workflow.check_basis import MOST_DAYS
from ratchet.workflow.scoring import due_days, inputs_partitions

if TYPE_CHECKING:
    import pandas as pd

TOLD_ELSEWHERE = (
    "given_up",
    "drops_refused",
    "alerts",
    "days_held",
)  # dispatch, ingestion and the channels have alerts of their own, and so has each day that is held back
SINCE = timedelta(days=7)  # what failed longer ago is no news
_RHYTHM = 56  # newest days
_HOUR = timedelta(hours=1)
log = logging.getLogger(__name__)


def data_findings(
    deployment: Deployment,
    spec: ModelSpec,
    reached: str,
    reference: pd.DataFrame,
    current: pd.DataFrame,
    as_of: str,
) -> list[Finding]:
    """Quality and availability of the model's datasets and features (area "data"), by what was delivered before the end
    of the day `as_of`. reference, current: as given to `ratchet.monitoring.check.check_drift`; the window is that of
    `current`. reached: the day that scoring has reached. The datasets' figures come from the tables history/<dataset>.
    """
    from ratchet.monitoring import data_quality as quality
    from ratchet.monitoring.alarms import warn_alpha

    days = sorted(current["day"].unique()) if len(current) else [reached]
    first, last, found, figures = days[0], days[-1], [], []
    names = sorted({*spec.inputs, spec.outcome_dataset})
    revisions = {name: deployment.ledger.partition_revisions(name) for name in names}
    delivered = {name: _hours_late(deployment, name, of, as_of) for name, of in revisions.items()}
    for name in names:
        history = _history(deployment, name, shift_day(first, -MOST_DAYS), last, as_of)
        found.append(quality.refused_finding(name, history, first, last))
        if name in spec.inputs and spec.inputs[name].latest:
            continue
        figures += quality.history_figures(name, history, first, last)
        found.append(quality.missing_finding(name, [*delivered[name]], first, last))
        if name in spec.inputs:  # of outcomes that don't come `ratchet.monitoring.labels` tells
            found.append(quality.stopped_finding(name, delivered[name], reached))
    figures += quality.feature_figures(reference, current, spec.numeric_features, spec.features)
    judged = quality.judge_figures(figures, warn_alpha(spec), spec.watch.smallest.share)
    return [*quality.broken_features(reference, current, spec.features, spec.watch.min_rows), *found, *judged]


def loop_findings(deployment: Deployment, spec: ModelSpec, now: datetime | None = None) -> list[Finding]:
    """The health of the model's loop at an instant (area "loop"), by the ledger alone. None: now, by the clock."""
    now = now or datetime.now(UTC)
    return look_at_loop(_loop(deployment, spec, now), now)


def watch_loop(deployment: Deployment, spec: ModelSpec, now: datetime | None = None) -> list[Finding]:
    """Raise what is wrong with the loop as alerts, one for each finding, settle those that are usual again, and keep
    all of them in the history (see `_keep`). Not by way of the drift check: that says nothing new while no data come,
    which is when this matters most."""
    now = now or datetime.now(UTC)
    found = loop_findings(deployment, spec, now)
    for one in (one for one in found if one.name not in TOLD_ELSEWHERE):
        if one.state == "usual":
            deployment.ledger.settle_alert(spec.name, one.key, f"usual again: {one.says}")
        elif one.harm != "none":
            facts = {"value": one.value, "threshold": one.threshold, "unit": one.unit, "hurts": "the loop falls behind"}
            told = {name: value for name, value in facts.items() if value not in (None, "")}
            deployment.ledger.raise_alert(spec.name, one.key, one.level, one.says, told, runbook="loop")
    try:
        _keep(deployment, spec.name, found, now)
    except (RatchetError, OSError) as error:  # the check that follows needs the lake too, and fails if it is away
        log.warning("what was found of the loop is not in the history: %s", type(error).__name__)
    return found


def _keep(deployment: Deployment, model: str, found: Sequence[Finding], now: datetime) -> None:
    """In the table of the checks, the newest look of each day (UTC) under the version LOOP: these are of no version."""
    import pandas as pd

    from ratchet.monitoring.history import LOOP, rows_of, table_of

    day, table = f"{now.astimezone(UTC):%Y-%m-%d}", table_of(model)
    read_at = deployment.lake.state(table)
    there, rows = deployment.lake.read(table, day, day), rows_of(found, {"key": f"loop/{day}", "version": LOOP})
    if len(there):
        others = there[there["model_version"] != LOOP].drop(columns="day")
        rows = pd.concat([others, rows], ignore_index=True) if len(others) else rows
    deployment.lake.publish(table, day, rows, read_at=read_at)


def _history(deployment: Deployment, dataset: str, first: str, last: str, as_of: str) -> pd.DataFrame:
    """The figures of its days, without those of drops delivered after the day `as_of`."""
    history, zone = deployment.lake.read(f"history/{dataset}", first, last), deployment.dataset(dataset).zone
    if history.empty:
        return history
    hours = {day: (known_before(as_of, zone) - known_before(day, zone)) / _HOUR for day in history["day"].unique()}
    late = history["delivered_after_hours"].astype("float64") >= history["day"].map(hours)
    return history[~late].reset_index(drop=True)


def _hours_late(
    deployment: Deployment, dataset: str, revisions: dict[str, list[Partition]], as_of: str
) -> dict[str, float]:
    """By day, in order, hours from its end to its first delivery; of days delivered before the end of `as_of`."""
    zone = deployment.dataset(dataset).zone
    known = {day: of[0] for day, of in sorted(revisions.items()) if as_known(of, known_before(as_of, zone))}
    return {day: (of.delivered_at - known_before(day, zone)) / _HOUR for day, of in known.items()}


def _loop(deployment: Deployment, spec: ModelSpec, now: datetime) -> Loop:
    ledger, model = deployment.ledger, spec.name
    scored = ledger.scored_days(model)
    return Loop(
        newest=ledger.high_water(spec.scored_dataset),
        scored=max(scored, default=None),
        patience_days=spec.score_when.or_after_days,
        due=_due(deployment, spec, scored),
        trainings=[Waiting(f"batch {one.id}", one.opened_at) for one in ledger.open_batches() if one.model == model],
        judgements=[
            Waiting(f"version {one.version}", one.registered_at)
            for one in ledger.challengers(model)
            if one.status == "registered"
        ],
        questions=_questions(deployment, model, now),
        unsent=[Waiting(f"alert {one.id}", one.raised_at) for one in ledger.unsent_alerts() if one.model == model],
        failures={
            "given up": _given_up(deployment, model, now),
            "drops refused": _refused(deployment, spec, now),
            "days held": [*held_days(deployment, model)],
        },
        stale=_stale(deployment, model, scored),
        deliveries={name: _deliveries(deployment, name) for name in sorted({*spec.inputs, spec.outcome_dataset})},
    )


def _due(deployment: Deployment, spec: ModelSpec, scored: dict[str, Scored]) -> list[Waiting]:
    """Each day to score, since the newest of what its features are made from was published; one that goes on without
    its inputs, since the day that ended the patience was. Where none was scored yet, since there is a champion at the
    earliest."""
    used = inputs_partitions(deployment, spec, due_days(deployment, spec))
    if not used:
        return []
    published = {
        name: deployment.ledger.partition_revisions(name) for name in {*spec.inputs, *spec.score_when.complete}
    }
    waiting, first = [], [] if scored else [deployment.ledger.champion_history(spec.name)[0].moved_at]
    for day, inputs in used.items():
        at = first + [
            published[name][one][of[0] - 1].recorded_at for name, days in inputs.items() for one, of in days.items()
        ]
        if not all(day in published[name] for name in spec.score_when.complete):
            patience = shift_day(day, spec.score_when.or_after_days)
            at += [min(of[0].recorded_at for one, of in published[spec.scored_dataset].items() if one >= patience)]
        waiting.append(Waiting(day, max(at)))
    return waiting


def _questions(deployment: Deployment, model: str, now: datetime) -> list[Waiting]:
    waiting = []
    for one in deployment.ledger.challengers(model):
        verdict = deployment.ledger.verdict(model, one.version) if one.status == "awaiting_approval" else None
        asked = verdict and deployment.ledger.approval(model, one.version, verdict.digest)
        if asked and asked.answer is None and asked.expires_at > now:
            waiting.append(Waiting(f"the question about version {one.version}", asked.asked_at, asked.expires_at))
    return waiting


def _given_up(deployment: Deployment, model: str, now: datetime) -> list[str]:
    told = deployment.ledger.events(subject=f"models/{model}")
    return [one.payload["key"] for one in told if one.kind == "given_up" and now - one.at <= SINCE]


def _refused(deployment: Deployment, spec: ModelSpec, now: datetime) -> list[str]:
    """Days of drops that were refused lately, and that nothing was published of since."""
    left = []
    for name in sorted({*spec.inputs, spec.outcome_dataset}):
        published = {one.day: one.recorded_at for one in deployment.ledger.partitions(name)}
        for one in deployment.ledger.refusals(name):
            mended = one.day in published and published[one.day] > one.recorded_at
            if not mended and now - one.recorded_at <= SINCE:
                left.append(f"{name} {one.day}")
    return list(dict.fromkeys(left))


def _stale(deployment: Deployment, model: str, scored: dict[str, Scored]) -> list[str]:
    """The days whose newest scoring was made from partitions that hold something else now."""
    newest = {f"{day}/{one.revision}" for day, one in scored.items()}
    marks = {one.subject for one in deployment.ledger.stale(model) if one.kind == "predictions"}
    return sorted(subject.rpartition("/")[0] for subject in newest & marks)


def _deliveries(deployment: Deployment, dataset: str) -> Sequence[tuple[datetime, datetime]]:
    revisions = deployment.ledger.partition_revisions(dataset)
    return [(of[0].delivered_at, of[0].recorded_at) for _, of in sorted(revisions.items())][-_RHYTHM:]
