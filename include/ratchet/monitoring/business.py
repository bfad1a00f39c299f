"""What a binary model's decisions are worth, by the costs that its spec states."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ratchet.evaluation.value import PER, cheapest_threshold, cost_of
from ratchet.monitoring.alarms import shared, warn_alpha
from ratchet.monitoring.change import Change, held_against, interval_of, tell, try_measure
from ratchet.monitoring.performance import with_outcomes
from ratchet.monitoring.values import Finding
from ratchet.statistics import mean

if TYPE_CHECKING:
    from ratchet.specs import Costs, ModelSpec

LEAST = 0.1  # of what was saved on the judge window: a smaller loss is nobody's business


def find_value(
    spec: ModelSpec, reference: pd.DataFrame, outcomes: pd.DataFrame | None, threshold: float | None = None
) -> list[Finding]:
    """What the model saves against the better of acting on none and acting on all (by the judge window): a day, and by
    1,000 rows against the judge window; nothing without `evaluate.costs`. Frames: `window`, `day`, `label`, `score`.

    `threshold`: that of the decisions; None: the cheapest on the validate window, as in training. Less is estimated
    harm: it can lie in the mix of rows as well as in the model."""
    costs = spec.evaluate.costs
    if costs is None:
        return []
    judged, now = reference[reference["window"] == "judge"], with_outcomes(spec, outcomes)
    judged, validate = (with_outcomes(spec, one) for one in (judged, reference[reference["window"] == "validate"]))
    if min(len(judged), len(validate), len(now)) < spec.watch.min_rows:
        sizes = f"{len(now)} rows with an outcome and a score, {len(judged)} of the judge window"
        return _none(f"{sizes}, {len(validate)} of the validate window: too few to say what they are worth", costs.unit)
    at = cheapest_threshold(validate["label"], validate["score"], costs) if threshold is None else threshold
    on_all = _on_all(_true(judged), costs)
    was, found = (
        try_measure(lambda one=one: mean(PER * _saved(one, at, on_all, costs), one["day"])) for one in (judged, now)
    )
    if was is None or found is None:
        return _none("outcomes of one day only", costs.unit)
    daily = pd.Series(_saved(now, at, on_all, costs)).groupby(now["day"].to_numpy()).sum()
    return [_told(spec, Change(was, found, -1), costs.unit), _a_day(daily, costs.unit)]


def _true(rows: pd.DataFrame) -> np.ndarray:
    return (rows["label"] == 1).to_numpy()


def _on_all(true: np.ndarray, costs: Costs) -> bool:
    """Whether acting on all rows costs less than acting on none."""
    every, none = np.ones(len(true), dtype=bool), np.zeros(len(true), dtype=bool)
    return bool(cost_of(true, every, costs).sum() < cost_of(true, none, costs).sum())


def _saved(rows: pd.DataFrame, threshold: float, on_all: bool, costs: Costs) -> np.ndarray:
    """Of each row: the cost of treating all alike, less that of the model's decision."""
    true, alike = _true(rows), np.full(len(rows), on_all)
    return cost_of(true, alike, costs) - cost_of(true, (rows["score"] >= threshold).to_numpy(dtype=bool), costs)


def _told(spec: ModelSpec, change: Change, unit: str) -> Finding:
    told, before = interval_of(change.now), change.before.value
    step = LEAST * abs(before)
    moved = change.is_surely(step, shared(warn_alpha(spec), 1))
    says = f"saved by 1,000 rows, in {unit}: {tell(told)}; {before:.4g} on the judge window"
    by = f"{unit} by {PER} rows"
    return held_against("value", "all", moved, "estimated", says, told, before, before - step, by)


def _a_day(daily: pd.Series, unit: str) -> Finding:
    """The mean of the days with its 95 % interval, and by how much it changes from day to day."""
    told = interval_of(mean(daily.to_numpy(), daily.index))
    slope = float(np.polyfit(np.arange(len(daily)), daily.to_numpy(), 1)[0])
    says = f"saved a day, in {unit}: {tell(told)}; {slope:+.3g} from one day to the next"
    return Finding("value", "a day", "usual", "none", says, told.value, told.low, told.high, unit=f"{unit} a day")


def _none(says: str, unit: str) -> list[Finding]:
    return [Finding("value", name, "not enough data", "none", says, unit=unit) for name in ("all", "a day")]
