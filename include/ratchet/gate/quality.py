"""Is the challenger good enough, better than the champion, and not too good to be true?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ratchet.gate.evidence import alpha_left
from ratchet.gate.values import Check, Evidence
from ratchet.statistics import Estimate, Jackknifed, estimate, measure

if TYPE_CHECKING:
    from ratchet.specs import ModelSpec

NEAR_PERFECT = 0.98  # of the way from knowing nothing to knowing all: for a first model, an AUC of 0.99
LEAP = 0.5  # of what the champion lacks to perfect: from an AUC of 0.7 to one of 0.85


def quality_checks(spec: ModelSpec, champion: dict | None, evidence: Evidence) -> list[Check]:
    """The bounds are one-sided, at the alpha that earlier looks have left, of days in their order: neighbours that are
    alike would else promote equal models too often."""
    rows, alpha = evidence.rows, alpha_left(spec.promote_if.alpha, evidence.looks)
    challenger = metric_of("challenger", rows, spec)
    reigning = metric_of("champion", rows, spec) if champion is not None else None
    checks = [_success(spec, estimate(challenger, 2 * alpha, in_order=True))]
    if reigning is not None:
        better = estimate(advantage(spec, challenger, reigning), 2 * alpha, in_order=True)
        checks.append(_better_than_champion(spec, better, alpha))
    return [*checks, _plausible(spec, challenger, reigning, rows)]


def metric_of(who: str, rows: pd.DataFrame, spec: ModelSpec) -> Jackknifed:
    scores = rows[[f"{who}_{name}" for name in spec.score_columns]].set_axis(spec.score_columns, axis="columns")
    return measure(spec.problem.success.metric, rows["label"], scores, rows["day"])


def advantage(spec: ModelSpec, challenger: Jackknifed, champion: Jackknifed) -> Jackknifed:
    """By how much the challenger is better, in units of the metric, whichever of its directions is the good one."""
    better, worse = (challenger, champion) if spec.problem.success.higher_is_better else (champion, challenger)
    return better.minus(worse)


def _success(spec: ModelSpec, of: Estimate) -> Check:
    """The success criterion is asked of the bound, not of the value: a lucky fortnight is not quality."""
    success = spec.problem.success
    bound = of.low if success.higher_is_better else of.high
    passed = bound >= success.bound if success.higher_is_better else bound <= success.bound
    reason = (
        f"{success.metric} {of.value:.4f}, surely {'above' if success.higher_is_better else 'below'} {bound:.4f}, "
        + ("meets" if passed else "does not surely meet")
        + f" the success criterion of {success.bound:g}"
    )
    return Check("success", passed, reason, "REJECT", of.value, success.bound, [of.low, of.high])


def _better_than_champion(spec: ModelSpec, of: Estimate, alpha: float) -> Check:
    """Surely better at all, and by as much as is worth a promotion."""
    need = spec.promote_if.better_by
    surely, enough = of.low > 0, of.value >= need
    reason = (
        f"better than the champion by {of.value:+.4f} {spec.problem.success.metric} on {of.clusters} days, surely by "
        f"{of.low:+.4f} (one-sided, alpha {alpha:.2g})"
        + ("" if surely else ": not surely better at all")
        + ("" if enough else f": less than the {need:g} that is worth a promotion")
    )
    return Check("better_than_champion", surely and enough, reason, "REJECT", of.value, need, [of.low, of.high])


def _plausible(spec: ModelSpec, challenger: Jackknifed, champion: Jackknifed | None, rows: pd.DataFrame) -> Check:
    """A leap is rather a leak (Kaufman, Rosset, Perlich and Stitelman, "Leakage in data mining", ACM TKDD 6(4), 2012):
    an improvement of `implausible_jump`, or by half of what the champion lacks to perfect; without a champion, or
    against one that knows less than nothing, as its inputs broke, a model that is all but perfect. A spec whose
    `implausible_jump` is None finds nothing implausible."""
    most, metric = spec.promote_if.implausible_jump, spec.problem.success.metric
    skill, known = _skill(spec, challenger, rows), -1.0 if champion is None else _skill(spec, champion, rows)
    if known < 0:
        passed = most is None or skill < NEAR_PERFECT
        reason = f"{metric} {challenger.value:.4f} is {skill:.0%} of the way from knowing nothing to perfect"
        reason += "" if champion is None else "; the champion knows less than nothing"
        return Check("plausible", passed, reason + _leak(passed), "HOLD", skill, NEAR_PERFECT)
    jump, leap = advantage(spec, challenger, champion).value, (skill - known) / (1 - known) if known < 1 else 0.0
    passed = most is None or (jump < most and leap < LEAP)
    reason = f"{metric} {jump:+.4f} against the champion, {leap:.0%} of what it lacks to perfect"
    return Check("plausible", passed, reason + _leak(passed), "HOLD", jump, most)


def _leak(passed: bool) -> str:
    return "" if passed else ": too good to be true; look for a feature that tells the outcome"


def _skill(spec: ModelSpec, of: Jackknifed, rows: pd.DataFrame) -> float:
    """1 for perfect, 0 for the best constant: 2 AUC - 1, or 1 - loss / loss of the best constant score."""
    metric = spec.problem.success.metric
    if metric == "roc_auc":
        return 2 * of.value - 1
    return 1 - of.value / measure(metric, rows["label"], _best_constant(spec, rows["label"]), rows["day"]).value


def _best_constant(spec: ModelSpec, label: pd.Series) -> pd.DataFrame:
    if spec.task == "multiclass":
        best = [float((label.astype(str) == name).mean()) for name in spec.classes]
    else:
        best = [float(label.median() if spec.problem.success.metric == "mae" else label.mean())]
    return pd.DataFrame(np.tile(best, (len(label), 1)), columns=spec.score_columns)


def difference_of(spec: ModelSpec, rows: pd.DataFrame) -> Jackknifed:
    """The challenger's advantage on these rows."""
    return advantage(spec, metric_of("challenger", rows, spec), metric_of("champion", rows, spec))
