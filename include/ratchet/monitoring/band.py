"""How many scores lie where nearly all of those lay on which the model was approved."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from ratchet.monitoring.alarms import shared, warn_alpha
from ratchet.monitoring.change import Change, held_against, interval_of, tell, try_measure
from ratchet.monitoring.values import Finding
from ratchet.statistics import mean

if TYPE_CHECKING:
    from ratchet.specs import ModelSpec

BAND = (0.01, 0.99)  # the central 98 % of the judge window's scores, of each score column


def find_band(spec: ModelSpec, judged: pd.DataFrame, current: pd.DataFrame) -> Finding:
    """The share of rows of which all scores lie inside the band. Both: `day` and the score columns; a score that is
    null or infinite is outside. Of many rows of one day nothing is known: days differ."""
    scores, least = spec.score_columns, spec.watch.min_rows
    wanted = {"day", *scores}
    if not wanted <= set(judged) or not wanted <= set(current) or min(len(judged), len(current)) < least:
        rows = f"{len(current)} rows, {len(judged)} of the judge window"
        return _none(f"too few scores for the approved band: {rows}: {least} are needed")
    low, high = (judged[scores].astype("float64").quantile(edge) for edge in BAND)
    was, found = (
        try_measure(lambda one=one: mean(_inside(one[scores].astype("float64"), low, high), one["day"]))
        for one in (judged, current)
    )
    if was is None or found is None:
        return _none("scores of one day only: how days differ is not known")
    return _told(spec, Change(was, found, -1))


def _inside(scores: pd.DataFrame, low: pd.Series, high: pd.Series) -> pd.Series:
    return (scores.ge(low) & scores.le(high)).all(axis="columns")


def _told(spec: ModelSpec, change: Change) -> Finding:
    told, step = interval_of(change.now), spec.watch.smallest.share
    moved = change.is_surely(step, shared(warn_alpha(spec), 1))
    says = f"share of scores inside the approved band {tell(told)}; {change.before.value:.4g} on the judge window"
    before = change.before.value
    return held_against("predictions", "band", moved, "estimated", says, told, before, before - step, "share")


def _none(says: str) -> Finding:
    return Finding("predictions", "band", "not enough data", "none", says, unit="share")
