"""Whether the scores still mean what they say.

Asked of the rows with low scores and of those with high ones (below and above the judge window's median) by what came
true less what was said: a mean, and so not biased by few rows as the expected calibration error is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ratchet.monitoring.alarms import shared, warn_alpha
from ratchet.monitoring.change import Change, held_against, interval_of, tell, try_measure
from ratchet.monitoring.performance import with_outcomes
from ratchet.monitoring.values import Finding
from ratchet.statistics import mean

if TYPE_CHECKING:
    from ratchet.specs import ModelSpec

HALVES = ("low scores", "high scores")


def find_calibration(spec: ModelSpec, judged: pd.DataFrame, outcomes: pd.DataFrame | None) -> list[Finding]:
    """Both: `day`, `label` and the score columns. Of a multiclass model it is the likeliest class that comes true; of a
    regression the value, and the smallest change that counts is `watch.smallest.shift` standard deviations of the
    label; else `promote_if.no_worse.calibration`. Harm is estimated: what it costs is for performance to tell."""
    before, now = (_said_and_true(spec, with_outcomes(spec, frame)) for frame in (judged, outcomes))
    if min(len(before), len(now)) < spec.watch.min_rows:
        rows = f"{len(now)} rows with an outcome and a score, {len(before)} of the judge window"
        says = f"{rows}: {spec.watch.min_rows} are needed"
        return [Finding("calibration", name, "not enough data", "none", says) for name in HALVES]
    middle = before["said"].median()
    halves = [(one[one["said"] <= middle], one[one["said"] > middle]) for one in (before, now)]
    step = spec.promote_if.no_worse.calibration
    if spec.task == "regression":
        step = spec.watch.smallest.shift * float(before["true"].std())
    return [_half(spec, *parts, step) for parts in zip(HALVES, *halves, strict=True)]


def _said_and_true(spec: ModelSpec, known: pd.DataFrame) -> pd.DataFrame:
    """day, said, true; rows with what is no finite number left out."""
    scores = known[spec.score_columns].astype("float64")
    said, true = scores.max(axis="columns"), known["label"]
    if spec.task == "multiclass" and len(known):
        likeliest = np.array(spec.classes, dtype=object)[scores.to_numpy().argmax(axis=1)]
        true = (known["label"] == likeliest).astype(float)
    told = pd.DataFrame({"day": known["day"], "said": said, "true": true})
    told[["said", "true"]] = told[["said", "true"]].astype("float64")
    return told[np.isfinite(told[["said", "true"]]).all(axis="columns")]


def _half(spec: ModelSpec, name: str, before: pd.DataFrame, now: pd.DataFrame, step: float) -> Finding:
    was, found = (try_measure(lambda one=one: mean(one["true"] - one["said"], one["day"])) for one in (before, now))
    if was is None or found is None or len(now) < spec.watch.min_rows // 2:
        return Finding("calibration", name, "not enough data", "none", f"{len(now)} rows with {name}: too few to tell")
    change, told = Change(was, found, 1), interval_of(found)
    moved = change.is_other(step, shared(warn_alpha(spec), len(HALVES))) and abs(found.value) > abs(was.value)
    unit = "units of the label" if spec.task == "regression" else "share"
    says = f"{name}: what came true less what was said is {tell(told)}; {was.value:.4g} on the judge window"
    return held_against("calibration", name, moved, "estimated", says, told, was.value, step, unit)
