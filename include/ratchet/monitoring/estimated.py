"""How good a model most likely is on rows whose outcomes have not arrived, from its scores alone.

Confidence-based performance estimation: of a row scored `s` the chance `p` of the label 1 is known, if scores mean what
they say, and so is what it is expected to add to the metric (as in NannyML's CBPE; the idea goes back to Guillory et
al., "Predicting with confidence on unseen distributions", ICCV 2021, and Garg et al., "Leveraging unlabeled data to
predict out-of-distribution performance", ICLR 2022). `p` comes from an isotonic fit to the validate window. Expected
log loss: -p ln s - (1 - p) ln(1 - s); Brier score: p (1 - s)^2 + (1 - p) s^2; AUC: the pairs in the right order,
sum of p_i (1 - p_j) where s_i > s_j (ties one half), over the sum of p times the sum of 1 - p. Of a multiclass model
the scores are taken as they are: log loss is their entropy. The scores of a regression say nothing of its error.

It can't see that what follows from the inputs has changed: then it goes on promising what once was so. Its error on
the newest days with outcomes, estimated less measured, is told beside it, and widens its interval.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ratchet.errors import EmptyWindowError
from ratchet.monitoring.alarms import shared, warn_alpha
from ratchet.monitoring.change import Change, interval_of, try_measure
from ratchet.monitoring.performance import with_outcomes
from ratchet.monitoring.values import Finding
from ratchet.statistics import LEAST_PROBABILITY, Jackknifed, combined, mean, measure

if TYPE_CHECKING:
    from ratchet.specs import ModelSpec

Chance = Callable[[np.ndarray], np.ndarray]


def find_estimate(
    spec: ModelSpec,
    reference: pd.DataFrame,
    current: pd.DataFrame,
    outcomes: pd.DataFrame | None,
    baseline: Jackknifed | None,
) -> list[Finding]:
    """The estimate for the rows of `current`, and its error on those of `outcomes`. Frames as for
    `ratchet.monitoring.check.check_drift`; `baseline`: the metric on the judge window.

    An estimate that is surely worse than the baseline, beyond its own error, by `retrain_when.metric_falls_by` or
    more, is estimated harm. Without outcomes enough its error is that on the judge window, and it says so."""
    metric = spec.problem.success.metric
    validate, scored = with_outcomes(spec, reference[reference["window"] == "validate"]), _scored(spec, current)
    chance = _chance_of(spec, validate)
    if spec.task == "regression":
        return _none(metric, "of a regression scores say nothing")
    if chance is None or len(scored) < spec.watch.min_rows:
        why = f"{len(scored)} rows with scores, {len(validate)} of the validate window to learn from"
        return _none(metric, f"{why}: {spec.watch.min_rows} are needed")
    now = try_measure(lambda: expected(metric, scored, scored["day"], chance))
    judged = reference[reference["window"] == "judge"]
    newest = _error(spec, outcomes, chance)
    error = newest or _error(spec, judged, chance)
    if now is None or baseline is None or error is None:
        return _none(metric, "too few days, or no baseline")
    return [
        _told(spec, now, baseline, error),
        _told_error(metric, error, "of the judge window" if newest is None else "with outcomes"),
    ]


def expected(metric: str, scores: pd.DataFrame, day: pd.Series, chance: Chance) -> Jackknifed:
    """The metric that is to be expected of these rows, and without each day. `scores` holds the score columns, none of
    them null; `chance`: of the label 1, by score. Raises EmptyWindowError where it says nothing, as for one day."""
    columns = [name for name in scores if str(name).startswith("score")]
    said = np.clip(scores[columns].to_numpy(dtype=float), LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
    if len(columns) > 1:
        return mean(-(said * np.log(said)).sum(axis=1), day)
    said = said[:, 0]
    p = chance(said)
    if metric == "roc_auc":
        return _expected_auc(said, p, np.asarray(day))
    loss = -p * np.log(said) - (1 - p) * np.log(1 - said)
    return mean(p * (1 - said) ** 2 + (1 - p) * said**2 if metric == "brier" else loss, day)


def _expected_auc(score: np.ndarray, p: np.ndarray, day: np.ndarray) -> Jackknifed:
    _, level = np.unique(score, return_inverse=True)
    days = np.unique(day)
    if len(days) < 2:
        raise EmptyWindowError(
            "nothing can be estimated on these rows", seen="1 day", expected="two or more", hint="take a longer window"
        )
    without = np.array([_auc_of(level, p, day != one) for one in days])
    return Jackknifed(_auc_of(level, p, np.ones(len(p), dtype=bool)), without, len(p))


def _auc_of(level: np.ndarray, p: np.ndarray, among: np.ndarray) -> float:
    positive, negative = np.bincount(level, p * among), np.bincount(level, (1 - p) * among)
    pairs = positive.sum() * negative.sum()
    return float(positive @ (np.cumsum(negative) - negative / 2) / pairs) if pairs > 0 else np.nan


def _chance_of(spec: ModelSpec, validate: pd.DataFrame) -> Chance | None:
    """None: there is no estimate of a regression, nor without rows to learn it from."""
    if spec.task == "regression":
        return None
    if spec.task == "multiclass":
        return lambda said: said
    if len(validate) < spec.watch.min_rows or validate["label"].nunique() < 2:
        return None
    from sklearn.isotonic import IsotonicRegression

    fitted = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip")
    return fitted.fit(validate["score"].astype(float), validate["label"].astype(float)).predict


def _scored(spec: ModelSpec, frame: pd.DataFrame) -> pd.DataFrame:
    """day and the score columns of the rows whose scores are probabilities."""
    wanted = ["day", *spec.score_columns]
    if not set(wanted) <= set(frame.columns):
        return pd.DataFrame(columns=wanted)
    scores = frame[spec.score_columns].apply(pd.to_numeric, errors="coerce")
    return frame.loc[scores.ge(0).all(axis="columns") & scores.le(1).all(axis="columns"), wanted]


def _error(spec: ModelSpec, outcomes: pd.DataFrame | None, chance: Chance) -> Jackknifed | None:
    """Estimated less measured, of the same rows and days."""
    known, metric = with_outcomes(spec, outcomes), spec.problem.success.metric
    if len(known) < spec.watch.min_rows:
        return None
    return try_measure(
        lambda: combined(
            np.subtract,
            expected(metric, known[spec.score_columns], known["day"], chance),
            measure(metric, known["label"], known[spec.score_columns], known["day"]),
        )
    )


def _told(spec: ModelSpec, now: Jackknifed, baseline: Jackknifed, error: Jackknifed) -> Finding:
    metric, sign = spec.problem.success.metric, -1 if spec.problem.success.higher_is_better else 1
    least, alpha = spec.retrain_when.metric_falls_by or spec.promote_if.no_worse.metric, shared(warn_alpha(spec), 1)
    off, worse = abs(error.value), sign * (now.value - baseline.value)
    half, told = off + Change(baseline, now, sign).half(alpha), interval_of(now)
    low, high, moved = told.low - off, told.high + off, worse >= least and worse > half
    says = (
        f"{metric} estimated before outcomes {now.value:.4g} ({low:.4g} to {high:.4g}); {baseline.value:.4g} on judge"
    )
    return Finding(
        "estimate",
        "all",
        "moved" if moved else "usual",
        "estimated" if moved else "none",
        f"{says}: most likely worse, by {worse:.4g}" if moved else says,
        now.value,
        low,
        high,
        baseline.value,
        baseline.value + sign * max(least, half),
        metric,
    )


def _told_error(metric: str, error: Jackknifed, which: str) -> Finding:
    told = interval_of(error)
    says = f"estimated less measured {metric}: {told.value:.4g} on the {told.clusters} newest days {which}"
    return Finding("estimate", "error", "usual", "none", says, told.value, told.low, told.high, 0.0, unit=metric)


def _none(metric: str, why: str) -> list[Finding]:
    says = f"no estimate before outcomes arrive: {why}"
    return [Finding("estimate", name, "not enough data", "none", says, unit=metric) for name in ("all", "error")]
