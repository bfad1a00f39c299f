"""What moved under a model, whether it hurts, and how sure that is; what of it is an alarm; and whether to retrain.

Two different questions. *Movement*: a column is not what it was in the reference (see ratchet.monitoring.movement). It
says nothing of harm: weather moves with every season. *Harm*: the model is worse on rows whose outcomes have arrived
(ratchet.monitoring.performance), or most likely is by what is known before they do (ratchet.monitoring.estimated).
Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

import pandas as pd

from ratchet.evaluation.scored import name_of
from ratchet.monitoring.alarms import Alarm, find_alarms
from ratchet.monitoring.band import find_band
from ratchet.monitoring.business import find_value
from ratchet.monitoring.calibration import find_calibration
from ratchet.monitoring.change import Change, interval_of
from ratchet.monitoring.estimated import find_estimate
from ratchet.monitoring.labels import due_days, find_arrival, find_labels
from ratchet.monitoring.movement import Movements, find_movements
from ratchet.monitoring.performance import (
    find_concept,
    find_performance,
    find_slices,
    measure_metric,
    metric_change,
    told_harm,
)
from ratchet.monitoring.values import Finding, State

if TYPE_CHECKING:
    from ratchet.specs import ModelSpec
    from ratchet.statistics import Estimate, Jackknifed


@dataclass(frozen=True)
class CheckResult:
    """`state`: "broken data" if anything is; else "moved" if anything moved; "not enough data" if neither movement nor
    performance could be told; else "usual". `performance` and `baseline`: the spec's `metric` on the outcomes and on
    the judge window; `worse_by`: by how much it is worse now, in its units; None: not known, the findings say why.
    `asks`: the reasons to ask for a retrain, by source ("drift", "performance")."""

    state: State
    explanation: str
    findings: tuple[Finding, ...]
    alarms: tuple[Alarm, ...]
    asks: dict[str, str]
    metric: str
    performance: Estimate | None
    baseline: Estimate | None
    worse_by: float | None

    @property
    def ask_retrain(self) -> tuple[str, ...]:
        return tuple(self.asks.values())

    def as_dict(self) -> dict:
        """All of it, for JSON: no NaN, no infinity."""
        return {
            "state": self.state,
            "explanation": self.explanation,
            "findings": [finding.as_dict() for finding in self.findings],
            "alarms": [alarm.as_dict() for alarm in self.alarms],
            "ask_retrain": list(self.ask_retrain),
            "asks": self.asks,
            "metric": self.metric,
            "performance": self.performance and self.performance.as_dict(),
            "baseline": self.baseline and self.baseline.as_dict(),
            "worse_by": self.worse_by,
        }

    def numbers(self) -> dict[str, float]:
        """What there is to plot over time: the value of each finding, and the metric with its interval."""
        found = {name_of(one.area, one.name): one.value for one in self.findings} | {"worse_by": self.worse_by}
        for name, interval in ((self.metric, self.performance), (f"reference_{self.metric}", self.baseline)):
            if interval:
                found |= {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}
        return {name: float(value) for name, value in found.items() if value is not None}


def check_drift(
    spec: ModelSpec,
    reference: pd.DataFrame,
    current: pd.DataFrame,
    outcomes: pd.DataFrame | None,
    *,
    earlier: Sequence[Iterable[Mapping]] = (),
    extra: Sequence[Finding] = (),
    importance: Mapping[str, float] | None = None,
    threshold: float | None = None,
    waiting: Collection[str] | None = None,
) -> CheckResult:
    """Look at a model in production.

    reference: the rows that it knows: `window` (train, validate, judge), `day`, the features, `label`, and its scores,
    null in train; without rows what needs them is "not enough data". current: the newest `watch.window_days` scored
    days: `day`, features, scores. outcomes: the newest `watch.outcome_days` days with outcomes: `day`, `label`,
    features, the columns of `evaluate.slices`, scores. Columns may be missing or null. earlier: the `findings` of this
    version's checks before, as dicts, oldest first. extra: what else was found, such as of data quality: passed
    through, and alarms like the rest.

    importance: of each feature (see `find_movements`). threshold: of a binary model's decisions (`find_value`).
    waiting: scored days whose outcomes are due and have not come (`find_arrival`); None: those of `current`.
    """
    current, outcomes = (_numbers(spec, frame) for frame in (current, outcomes))
    judged, proved = (reference[reference["window"].isin(names)] for names in (["judge"], ["validate", "judge"]))
    (before, told_before), (now, told_now) = measure_metric(spec, judged), measure_metric(spec, outcomes)
    change, moves = metric_change(spec, before, now), find_movements(spec, reference, current, importance)
    findings = (
        *extra,
        *moves.findings,
        find_band(spec, judged, current),
        *find_estimate(spec, reference, current, outcomes, before),
        find_arrival(due_days(spec, current, outcomes) if waiting is None else waiting),
        *find_labels(spec, proved, outcomes),
        *_of_performance(spec, judged, outcomes, change, _both(before, told_before, told_now), moves),
        *find_calibration(spec, judged, outcomes),
        *find_value(spec, reference, outcomes, threshold),
    )
    return CheckResult(
        state=_state(moves, change, findings),
        explanation=_explanation(moves, findings, told_before, told_now),
        findings=findings,
        alarms=tuple(find_alarms(spec.watch.persistence, earlier, findings)),
        asks=_asks(spec, moves, change),
        metric=spec.problem.success.metric,
        performance=_told(now),
        baseline=_told(before),
        worse_by=change and change.worse_by,
    )


def _numbers(spec: ModelSpec, frame: pd.DataFrame | None) -> pd.DataFrame | None:
    """With scores, and labels that are numbers, as float64; null where they are anything else."""
    if frame is None:
        return None
    labels = [] if spec.task == "multiclass" else ["label"]
    columns = [name for name in [*spec.score_columns, *labels] if name in frame]
    return frame.assign(**{name: pd.to_numeric(frame[name], errors="coerce").astype("float64") for name in columns})


def _both(before: Jackknifed | None, told_before: str, told_now: str) -> str:
    return told_now if before else f"{told_now}; reference: {told_before}"


def _of_performance(
    spec: ModelSpec,
    judged: pd.DataFrame,
    outcomes: pd.DataFrame | None,
    change: Change | None,
    told: str,
    moves: Movements,
) -> list[Finding]:
    performance = find_performance(spec, change, told)
    moved = [one.name for one in moves.findings if one.area == "inputs" and one.state == "moved"]
    concept = find_concept(performance, moved, moves.state != "not enough data")
    return [performance, *find_slices(spec, judged, outcomes), concept]


def _state(moves: Movements, change: Change | None, findings: Iterable[Finding]) -> State:
    states = {finding.state for finding in findings}
    if "broken data" in states or moves.state == "broken data":
        return "broken data"
    if "moved" in states:
        return "moved"
    return "not enough data" if change is None and moves.state == "not enough data" else "usual"


def _explanation(moves: Movements, findings: Sequence[Finding], before: str, now: str) -> str:
    states = [finding.state for finding in findings]
    counts = ", ".join(f"{states.count(state)} {state}" for state in get_args(State) if state in states)
    why = [moves.why] if moves.state == "not enough data" else []
    return "; ".join([f"of {len(states)} findings {counts}", *why, f"reference: {before}", f"now: {now}"])


def _asks(spec: ModelSpec, moves: Movements, change: Change | None) -> dict[str, str]:
    reasons = {"drift": _told_share(spec, moves), "performance": told_harm(spec, change)}
    return {source: reason for source, reason in reasons.items() if reason}


def _told_share(spec: ModelSpec, moves: Movements) -> str | None:
    """That so many of the watched columns moved, or are broken, that the spec asks for a retrain."""
    least, told = spec.retrain_when.drifted_share, [one for one in moves.findings if one.state != "not enough data"]
    share = len(moves.moved) / len(told) if told else 0.0
    if least is None or not moves.moved or share < least:
        return None
    asked = f"share {share:.2f}, asked for from {least:.2f}"
    return f"{len(moves.moved)} of {len(told)} watched columns drifted ({asked}): {', '.join(moves.moved)}"


def _told(of: Jackknifed | None) -> Estimate | None:
    return of and interval_of(of)
