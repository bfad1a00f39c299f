"""What moved between two frames, whether it hurt, and how sure that is; and whether to ask for a retraining.

Two different questions. *Drift*: a watched column's distribution differs from the reference by at least the spec's
pinned threshold, by its pinned method, on a bounded, seeded sample. Watched are the features and every score column:
the probability, that of each class, or the value. It says nothing of harm: weather drifts with every season.
*Performance*: the spec's metric on rows whose outcomes have arrived, with an interval over days, against its value on
the reference (see ratchet.watched_metric). Pure, except that the report's page is written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pandas as pd

from ratchet.errors import DriftBrokenError
from ratchet.evaluation.scored import name_of
from ratchet.watched_metric import measure_metric, told_harm, worse_by

if TYPE_CHECKING:
    from ratchet.specs import ModelSpec
    from ratchet.statistics import Estimate

CATEGORIES = 20  # the reference's most frequent ones are compared one by one, the rest as one: a statistic over
REST = "(other)"  # hundreds of rare categories exceeds any threshold with no drift at all
FOR_CATEGORIES = "jensenshannon"  # the method for text where the spec's knows numbers only

Status = Literal["compared", "vanished", "too few values", "no reference"]


@dataclass(frozen=True)
class ColumnDrift:
    """One watched column. `statistic` is None unless `status` is "compared".

    "vanished": missing or without a single value now, though the reference has enough: that counts as drifted.
    "too few values" and "no reference": fewer than `min_rows` values now or in the reference; counts neither way.
    `*_null_share` are of all rows, before sampling.
    """

    column: str
    kind: Literal["numeric", "categorical"]
    method: str
    threshold: float
    status: Status
    statistic: float | None
    drifted: bool
    reference_rows: int
    current_rows: int
    reference_null_share: float
    current_null_share: float


@dataclass(frozen=True)
class Pair:
    """The two samples of one column, without nulls, ready to be measured."""

    column: str
    kind: Literal["numeric", "categorical"]
    method: str
    threshold: float
    reference: pd.Series
    current: pd.Series


Measure = Callable[[list[Pair], list[str], Path | None], dict[str, float]]


@dataclass(frozen=True)
class DriftResult:
    """`share` is drifted columns of those that could be told. `performance` and `baseline`: the spec's `metric` now and
    on the reference; `worse_by`: by how much it is worse, in its units. None: could not be told, `explanation` says
    why."""

    enough_data: bool
    explanation: str
    columns: list[ColumnDrift]
    share: float | None
    metric: str
    performance: Estimate | None
    baseline: Estimate | None
    worse_by: float | None
    ask_retrain: list[str]

    @property
    def drifted(self) -> list[str]:
        return [column.column for column in self.columns if column.drifted]

    def as_dict(self) -> dict:
        """All of it, for JSON: no NaN, no infinity."""
        return {
            "enough_data": self.enough_data,
            "explanation": self.explanation,
            "drifted": self.drifted,
            "share": self.share,
            "columns": [asdict(column) for column in self.columns],
            "metric": self.metric,
            "performance": self.performance and self.performance.as_dict(),
            "baseline": self.baseline and self.baseline.as_dict(),
            "worse_by": self.worse_by,
            "ask_retrain": self.ask_retrain,
        }

    def numbers(self) -> dict[str, float]:
        """What there is to plot over time: the statistics, the share, the metric and its interval."""
        found = {name_of("drift", column.column): column.statistic for column in self.columns}
        found |= {"drifted_share": self.share, "worse_by": self.worse_by}
        for name, interval in ((self.metric, self.performance), (f"reference_{self.metric}", self.baseline)):
            if interval:
                found |= {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}
        return {name: float(value) for name, value in found.items() if value is not None}


def check_drift(
    spec: ModelSpec,
    reference: pd.DataFrame,
    current: pd.DataFrame,
    performance: pd.DataFrame | None = None,
    *,
    report_path: Path | None = None,
    notes: Sequence[str] = (),
    measure: Measure | None = None,
) -> DriftResult:
    """Compare the model's features, and the score columns that the reference has, and write the report's page.

    reference, current: the spec's features, `day`, its score columns, and in the reference also `label`. performance:
    `day`, `label` (see ratchet.labels) and the score columns of rows whose outcomes are known. Columns may be missing
    or null. `notes`: what else the page is to say. `measure` gives the statistic of each pair and writes the page
    (default: `ratchet.drift_report.measure_columns`).
    Raises DriftBrokenError when the measuring itself fails: neither "drifted" nor "did not".
    """
    columns, pairs = _watched(spec, reference, current)
    enough = all(_is_enough(spec, frame) for frame in (reference, current))
    (before, told_before), (now, told_now) = measure_metric(spec, reference), measure_metric(spec, performance)
    told = [*_notes(spec, columns, (reference, current), enough), f"reference: {told_before}", f"now: {told_now}"]
    statistics = (measure or _evidently)(pairs if enough else [], [*told, *notes], report_path)
    columns = [_decided(column, statistics.get(column.column)) for column in columns]
    known = [column for column in columns if column.drifted or column.status == "compared"] if enough else []
    result = DriftResult(
        enough_data=enough,
        explanation="; ".join(told),
        columns=columns if enough else [],
        share=sum(column.drifted for column in known) / len(known) if known else None,
        metric=spec.problem.success.metric,
        performance=now,
        baseline=before,
        worse_by=worse_by(spec, before, now),
        ask_retrain=[],
    )
    return replace(result, ask_retrain=_reasons(spec, result, len(known)))


def _evidently(pairs: list[Pair], notes: list[str], report_path: Path | None) -> dict[str, float]:
    from ratchet.drift_report import measure_columns  # Evidently takes seconds to import

    return measure_columns(pairs, notes, report_path)


def _watched(spec: ModelSpec, reference: pd.DataFrame, current: pd.DataFrame) -> tuple[list[ColumnDrift], list[Pair]]:
    """Each watched column, not yet decided, and the samples of those that can be compared."""
    columns, pairs = [], []
    for name in [*spec.features, *(score for score in spec.score_columns if score in reference)]:
        kind = "categorical" if name in spec.categorical_features else "numeric"
        method = FOR_CATEGORIES if kind == "categorical" and spec.watch.method == "wasserstein" else spec.watch.method
        was, now = _values(reference, name, kind), _values(current, name, kind)
        status = _status(len(was), len(now), spec.watch.min_rows)
        columns.append(
            ColumnDrift(
                name,
                kind,
                method,
                spec.watch.threshold,
                status,
                None,
                status == "vanished",
                len(was),
                len(now),
                _null_share(was, reference),
                _null_share(now, current),
            )
        )
        if status == "compared":
            was, now = (_sample(values, spec) for values in _pooled(was, now, kind))
            pairs.append(Pair(name, kind, method, spec.watch.threshold, was, now))
    return columns, pairs


def _values(frame: pd.DataFrame, name: str, kind: str) -> pd.Series:
    """The column's values: finite numbers or text; nulls, and what is no number where numbers are due, left out."""
    if name not in frame:
        return pd.Series(dtype="float64" if kind == "numeric" else object, name=name)
    values = frame[name].reset_index(drop=True)
    if kind == "categorical":
        return values[values.notna()].astype(str).astype(object)
    numbers = pd.to_numeric(values, errors="coerce").astype("float64")
    return numbers[numbers.abs() < float("inf")]


def _status(reference: int, current: int, least: int) -> Status:
    if reference < least:
        return "no reference"
    if current == 0:
        return "vanished"
    return "compared" if current >= least else "too few values"


def _null_share(values: pd.Series, frame: pd.DataFrame) -> float:
    return 1.0 - len(values) / len(frame) if len(frame) else 1.0


def _pooled(reference: pd.Series, current: pd.Series, kind: str) -> tuple[pd.Series, pd.Series]:
    if kind == "numeric":
        return reference, current
    kept = sorted(reference.value_counts().sort_index(kind="stable").nlargest(CATEGORIES).index)
    return reference.where(reference.isin(kept), REST), current.where(current.isin(kept), REST)


def _sample(values: pd.Series, spec: ModelSpec) -> pd.Series:
    """At most `max_rows` of them, in their own order; the same ones every time."""
    if len(values) > spec.watch.max_rows:
        values = values.sample(spec.watch.max_rows, random_state=spec.seed).sort_index()
    return values.reset_index(drop=True)


def _decided(column: ColumnDrift, statistic: float | None) -> ColumnDrift:
    if statistic is None:
        return column
    if not isfinite(statistic):
        raise DriftBrokenError(
            f"the statistic of column {column.column!r} is no number",
            seen=statistic,
            expected="a finite number",
            hint="look at the column's values in both frames",
        )
    return replace(column, statistic=statistic, drifted=statistic >= column.threshold)


def _reasons(spec: ModelSpec, result: DriftResult, told: int) -> list[str]:
    when, reasons = spec.retrain_when, []
    if when.drifted_share is not None and result.share is not None and result.share >= when.drifted_share:
        reasons.append(
            f"{len(result.drifted)} of {told} watched columns drifted (share {result.share:.2f}, "
            f"asked for from {when.drifted_share:.2f}): {', '.join(result.drifted)}"
        )
    harm = told_harm(spec, result.baseline, result.performance)
    return [*reasons, harm] if harm else reasons


def _is_enough(spec: ModelSpec, frame: pd.DataFrame) -> bool:
    """Rows of a day are alike, so days are asked for too, where the frame has them."""
    days = frame["day"].nunique() if "day" in frame else spec.watch.min_days
    return len(frame) >= spec.watch.min_rows and days >= spec.watch.min_days


def _notes(spec: ModelSpec, columns: list[ColumnDrift], frames: tuple, enough: bool) -> list[str]:
    """What the page and the record say of the columns beside the statistics. frames: reference, then current."""
    watch, (before, now) = spec.watch, map(len, frames)
    notes = [f"{spec.name}: {now} rows against {before} of the reference, by {watch.method} at {watch.threshold}"]
    if not enough:
        notes.append(f"not enough data: {watch.min_rows} rows of {watch.min_days} days are needed on either side")
    return notes + [f"{column.column}: {column.status}" for column in columns if column.status != "compared"]
