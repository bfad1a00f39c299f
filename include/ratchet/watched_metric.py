"""How good a model is by its spec's metric on rows whose outcomes have arrived, and whether it is surely worse there
than it was. Pure."""

from __future__ import annotations

from math import isfinite
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
        found = estimate(measure(metric, known["label"], known[spec.score_columns], known["day"]))
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
    the interval is on the bad side of the value before."""
    least, success = spec.retrain_when.metric_falls_by, spec.problem.success
    worse = worse_by(spec, before, now)
    if least is None or worse is None or worse < least:
        return None
    surely = now.high < before.value if success.higher_is_better else now.low > before.value
    moved = "fell" if success.higher_is_better else "rose"
    return f"{success.metric} {moved} from {before.value:.4g} to {_told(now)}" if surely else None


def _known(spec: ModelSpec, frame: pd.DataFrame | None) -> pd.DataFrame:
    wanted = ["day", "label", *spec.score_columns]
    if frame is None or not set(wanted) <= set(frame.columns):
        return pd.DataFrame(columns=wanted)
    return frame[frame[wanted].notna().all(axis="columns")]


def _told(of: Estimate) -> str:
    return f"{of.value:.4g} ({of.low:.4g} to {of.high:.4g}, {of.clusters} days)"
