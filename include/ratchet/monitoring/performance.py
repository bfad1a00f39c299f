"""How good a model is on rows whose outcomes have arrived, and whether it is surely worse there than it was. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite
from typing import TYPE_CHECKING

import pandas as pd

from ratchet.digests import digest_of
from ratchet.errors import EmptyWindowError
from ratchet.labels import is_label
from ratchet.monitoring.alarms import OF_ALL_ROWS, page_alpha, shared
from ratchet.monitoring.change import Change, held_against, interval_of, tell
from ratchet.monitoring.values import Finding
from ratchet.plain_text import one_line
from ratchet.statistics import Jackknifed, measure

if TYPE_CHECKING:
    from ratchet.specs import ModelSpec

LONGEST = 40  # characters of a slice's value


def measure_metric(spec: ModelSpec, frame: pd.DataFrame | None) -> tuple[Jackknifed | None, str]:
    """The spec's metric of the rows with a label and all scores, day by day; and a sentence that tells it with its 95 %
    interval, or why there is none: no outcomes, fewer rows than `watch.min_rows`, one day only, for an AUC one class
    only, or what is no number or no class.

    frame: `day`, `label` (see ratchet.labels) and the spec's score columns; any of them may be missing or null.
    """
    told = _told_rows(spec, frame)
    usable = _is_usable(spec, told)
    dropped = int((~usable).sum())
    unusable = f" ({dropped} more can't be used: not finite, or no label of the task)" if dropped else ""
    return _measure(spec, told[usable], unusable)


def _measure(spec: ModelSpec, known: pd.DataFrame, unusable: str = "") -> tuple[Jackknifed | None, str]:
    """Of rows as `with_outcomes` gives them. `unusable`: what to say of the others."""
    metric, least = spec.problem.success.metric, spec.watch.min_rows
    if len(known) < least:
        seen = f"{len(known)} rows with an outcome and a score{unusable}"
        return None, f"{metric} not measured: {seen}, {least} are needed"
    try:
        found = measure(metric, known["label"], known[spec.score_columns], known["day"])
    except EmptyWindowError as error:
        return None, f"{metric} not measured: {error.what} ({error.seen})"
    told = interval_of(found)
    if not isfinite(told.high - told.low):
        return None, f"{metric} not measured: the labels or scores are too large to be squared"
    return found, f"{metric} {tell(told)}{unusable}"


def with_outcomes(spec: ModelSpec, frame: pd.DataFrame | None) -> pd.DataFrame:
    """The rows that have a label of the spec's task and all scores, finite ones; none where a column is missing."""
    told = _told_rows(spec, frame)
    return told[_is_usable(spec, told)]


def _told_rows(spec: ModelSpec, frame: pd.DataFrame | None) -> pd.DataFrame:
    wanted = ["day", "label", *spec.score_columns]
    if frame is None or not set(wanted) <= set(frame.columns):
        return pd.DataFrame(columns=wanted)
    return frame[frame[wanted].notna().all(axis="columns")]


def _is_usable(spec: ModelSpec, told: pd.DataFrame) -> pd.Series:
    scores = told[spec.score_columns].astype("float64")
    return is_label(spec, told["label"]) & (scores.abs() < float("inf")).all(axis="columns")


def metric_change(spec: ModelSpec, before: Jackknifed | None, now: Jackknifed | None) -> Change | None:
    """None: not both are known."""
    if before is None or now is None:
        return None
    return Change(before, now, -1 if spec.problem.success.higher_is_better else 1)


def told_harm(spec: ModelSpec, change: Change | None) -> str | None:
    """The harm in a sentence, if it is large (`retrain_when.metric_falls_by`, in units of the metric) and sure: all of
    the 95 % interval of the difference is on its bad side."""
    least, success = spec.retrain_when.metric_falls_by, spec.problem.success
    if least is None or change is None or not change.is_surely(least, 0.025):
        return None
    before, worse, half = change.before.value, change.worse_by, change.half(0.025)
    moved = f"{success.metric} {'fell' if success.higher_is_better else 'rose'} from {before:.4g} to "
    return f"{moved}{tell(interval_of(change.now))}, by {worse:.4g} ({worse - half:.4g} to {worse + half:.4g})"


def find_performance(spec: ModelSpec, change: Change | None, told: str) -> Finding:
    """The spec's metric on all rows. `told`: the sentence of `measure_metric` for the outcomes."""
    least = spec.retrain_when.metric_falls_by or spec.promote_if.no_worse.metric
    return _finding(spec, "all", change, told, least, shared(OF_ALL_ROWS * page_alpha(spec), 1))


def find_slices(spec: ModelSpec, before: pd.DataFrame, now: pd.DataFrame) -> list[Finding]:
    """The spec's metric on each slice of `evaluate.slices` that has `min_group_rows` rows in `before`: the same ones at
    each check of a version. Those that have fewer now are "not enough data".

    before, now: as for `measure_metric`, with the columns of the slices; one that `before` lacks has no slices.
    """
    found, fewest = [], max(spec.evaluate.min_group_rows, spec.watch.min_rows)
    known = (with_outcomes(spec, _narrowed(spec, frame)) for frame in (before, now))
    for name, was, rows in _slices(spec, *known, fewest):
        told = _measure(spec, rows)
        change = metric_change(spec, _measure(spec, was)[0], told[0]) if len(rows) >= fewest else None
        too_few = f"{len(rows)} rows with an outcome and a score, {fewest} are needed"
        found.append((name, change, told[1] if len(rows) >= fewest else too_few))
    asked = sum(change is not None for _, change, _ in found)
    least, alpha = spec.promote_if.no_worse.metric, shared((1 - OF_ALL_ROWS) * page_alpha(spec), asked)
    return [_finding(spec, name, change, told, least, alpha) for name, change, told in found]


def _narrowed(spec: ModelSpec, frame: pd.DataFrame | None) -> pd.DataFrame | None:
    """Less the columns that slices have no need of: rows are taken from it many times."""
    wanted = dict.fromkeys(["day", "label", *spec.score_columns, *spec.evaluate.slices])
    return frame if frame is None else frame[[name for name in wanted if name in frame]]


def find_concept(performance: Finding, inputs: list[str], enough: bool) -> Finding:
    """Whether performance fell though no input moved: then it is what follows from the inputs that has changed. The
    harm is performance's to tell. `inputs`: those that moved; `enough`: whether that could be told."""
    if performance.state != "moved":
        says = "performance did not fall" if performance.state == "usual" else "performance could not be told"
        return Finding("concept", "all", performance.state, "none", says)
    if not enough:
        return Finding(
            "concept", "all", "not enough data", "none", "performance fell; whether inputs moved is not known"
        )
    if inputs:
        return Finding("concept", "all", "usual", "none", f"performance fell where inputs moved: {', '.join(inputs)}")
    says = "performance fell and no input moved: what follows from the inputs has changed"
    return Finding("concept", "all", "moved", "none", says)


def _slices(
    spec: ModelSpec, before: pd.DataFrame, now: pd.DataFrame, fewest: int
) -> Iterator[tuple[str, pd.DataFrame, pd.DataFrame]]:
    for column in spec.evaluate.slices:
        if column not in before:
            continue
        was, groups = before[column].astype(str), now.get(column, pd.Series(index=now.index, dtype=str)).astype(str)
        counts = was.value_counts()
        for value in sorted(counts.index[counts >= fewest]):
            yield f"{column}={_shown(value)}", before[was == value], now[groups == value]


def _shown(value: str) -> str:
    """On one line and cut, so that it can be part of a key; with a digest where that makes it another text."""
    short = one_line(value)[:LONGEST]
    return short if short == value else f"{short}~{digest_of(value)[:8]}"


def _finding(spec: ModelSpec, name: str, change: Change | None, told: str, least: float, alpha: float) -> Finding:
    """`least`: by how much it must be worse to be harm, beside being sure, one-sided at `alpha`."""
    metric = spec.problem.success.metric
    if change is None:
        return Finding("performance", name, "not enough data", "none", told, unit=metric)
    now, half, before = interval_of(change.now), change.half(alpha), change.before.value
    says, is_harm = f"{told}; {before:.4g} on the judge window", change.is_surely(least, alpha)
    says += f": surely worse, by {change.worse_by:.4g}" if is_harm else ""
    threshold = before + change.sign * max(least, half)
    return held_against("performance", name, is_harm, "measured", says, now, before, threshold, metric)
