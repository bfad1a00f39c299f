"""How good a model is by its spec's metric on rows whose outcomes have arrived, and whether it is surely worse there
than it was. Pure.

Both windows have an interval of their own, which allows for days that are like the day before (see ratchet.statistics).
They are windows of other days, so their errors are taken for independent, and half the width of the interval of their
difference is the root of the sum of their squared half widths: each its standard error times Student's t by its own
number of independent days. That covers no less than it says, however unequal days and variances are (Banerjee,
"Approximate confidence interval for linear functions of means of k populations when the population variances are not
equal", Sankhya 22, 1960).
"""

from __future__ import annotations

from math import hypot, isfinite
from typing import TYPE_CHECKING

import pandas as pd

from ratchet.errors import EmptyWindowError
from ratchet.statistics import Estimate, estimate, measure

if TYPE_CHECKING:
    from ratchet.specs import ModelSpec


def measure_metric(spec: ModelSpec, frame: pd.DataFrame | None) -> tuple[Estimate | None, str]:
    """The spec's metric of the rows with a label and all scores, with its interval over days; and a sentence that tells
    it, or why there is none: no outcomes, fewer rows than `watch.min_rows`, one day only, for an AUC one class only, or
    what is no number or no class.

    frame: `day`, `label` (see ratchet.labels) and the spec's score columns; any of them may be missing or null.
    """
    metric, least = spec.problem.success.metric, spec.watch.min_rows
    known = _known(spec, frame)
    if len(known) < least:
        return None, f"{metric} not measured: {len(known)} rows with an outcome and a score, {least} are needed"
    try:
        found = estimate(measure(metric, known["label"], known[spec.score_columns], known["day"]), in_order=True)
    except EmptyWindowError as error:
        return None, f"{metric} not measured: {error.what} ({error.seen})"
    if not isfinite(found.high - found.low):
        return None, f"{metric} not measured: the labels or scores are too large to be squared"
    return found, f"{metric} {_told(found)}"


def worse_by(spec: ModelSpec, before: Estimate | None, now: Estimate | None) -> float | None:
    """By how much the metric is worse than before, in its units; negative where it is better. None: not both known."""
    if before is None or now is None:
        return None
    return before.value - now.value if spec.problem.success.higher_is_better else now.value - before.value


def told_harm(spec: ModelSpec, before: Estimate | None, now: Estimate | None) -> str | None:
    """The harm in a sentence, if it is large (`retrain_when.metric_falls_by`, in units of the metric) and sure: all of
    the interval of the difference is on its bad side."""
    least, success = spec.retrain_when.metric_falls_by, spec.problem.success
    worse = worse_by(spec, before, now)
    if least is None or worse is None or worse < least:
        return None
    half = hypot(before.high - before.value, now.high - now.value)
    if worse <= half:
        return None
    moved = f"{success.metric} {'fell' if success.higher_is_better else 'rose'} from {before.value:.4g} to {_told(now)}"
    return f"{moved}, by {worse:.4g} ({worse - half:.4g} to {worse + half:.4g})"


def _known(spec: ModelSpec, frame: pd.DataFrame | None) -> pd.DataFrame:
    wanted = ["day", "label", *spec.score_columns]
    if frame is None or not set(wanted) <= set(frame.columns):
        return pd.DataFrame(columns=wanted)
    return frame[frame[wanted].notna().all(axis="columns")]


def _told(of: Estimate) -> str:
    return f"{of.value:.4g} ({of.low:.4g} to {of.high:.4g}, {of.clusters} days)"
