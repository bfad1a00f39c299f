"""Labelled rows with their scores: what every aspect of an evaluation is measured on."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite

import numpy as np
import pandas as pd

from ratchet.errors import EmptyWindowError, ParameterError
from ratchet.score import score_frame
from ratchet.specs import ModelSpec
from ratchet.statistics import Estimate, Jackknifed, estimate, measure

TOO_FEW = "too few"
SHARE = (0.0, 1.0)  # the range of a share, and of
RANGES: dict[str, tuple[float, float]] = {"roc_auc": SHARE, "brier": SHARE}
LOSS = (0.0, np.inf)  # and that of other metrics


@dataclass(frozen=True)
class Scored:
    """`rows`: label, day (the cluster), features and the columns of evaluate.slices and evaluate.sensitive. `scores`:
    the spec's score_columns, on the index of `rows`. `threshold`: a binary model's rows are acted on from it upwards.
    """

    spec: ModelSpec
    rows: pd.DataFrame
    scores: pd.DataFrame
    threshold: float | None

    @property
    def label(self) -> pd.Series:
        return self.rows["label"]

    @property
    def day(self) -> pd.Series:
        return self.rows["day"]

    @property
    def metric(self) -> str:
        return self.spec.problem.success.metric

    def only(self, mask: np.ndarray) -> Scored:
        """Of some of the rows."""
        return Scored(self.spec, self.rows[mask], self.scores[mask], self.threshold)

    def measured(self) -> Jackknifed:
        """The spec's metric. Raises EmptyWindowError where it says nothing."""
        return measure(self.metric, self.label, self.scores, self.day)

    def decisions(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """{what is decided: (is it true, was it said)} a row: that of a binary model at its threshold; for each class
        of a multiclass one, whether it is the likeliest; nothing of a regression."""
        if self.spec.task == "binary":
            return {"positive": ((self.label == 1).to_numpy(), (self.scores["score"] >= self.threshold).to_numpy())}
        if self.spec.task == "multiclass":
            likeliest = self.likeliest()
            return {name: ((self.label == name).to_numpy(), likeliest == name) for name in self.spec.classes}
        return {}

    def likeliest(self) -> np.ndarray:
        """The class with the highest probability, a row, of a multiclass model."""
        return np.array(self.spec.classes, dtype=object)[self.scores.to_numpy().argmax(axis=1)]


def score_rows(estimator, rows: pd.DataFrame, spec: ModelSpec, threshold: float | None) -> Scored:
    """The rows with their scores. Raises ParameterError for a column that is not there, or a binary model without a
    threshold; EmptyWindowError for no rows, or a row without a label."""
    _check(rows, spec, threshold)
    return Scored(spec, rows, score_frame(estimator, rows, spec), threshold)


def try_estimate(measured: Callable[[], Jackknifed]) -> Estimate | None:
    """The value with its 95 % interval; None where there are too few rows, clusters or classes to say."""
    try:
        found = estimate(measured())
    except EmptyWindowError:
        return None
    return found if isfinite(found.value) else None


def interval(found: Estimate | None, least: float = -np.inf, most: float = np.inf) -> dict[str, float | None]:
    """value, low and high, as columns of a table; the interval is cut to the measure's range."""
    if found is None:
        return dict.fromkeys(("value", "low", "high"))
    return {"value": found.value, "low": max(found.low, least), "high": min(found.high, most)}


def worse_by(metric_is_higher_better: bool, before: Jackknifed, after: Jackknifed) -> Jackknifed:
    """By how much the metric is worse after than before, in its own units: positive is worse."""
    return before.minus(after) if metric_is_higher_better else after.minus(before)


def sample(rows: pd.DataFrame, most: int, seed: int) -> pd.DataFrame:
    """At most so many rows, drawn evenly, in the order in which they were."""
    if len(rows) <= most:
        return rows
    drawn = np.random.default_rng(seed).choice(len(rows), most, replace=False)
    return rows.iloc[np.sort(drawn)]


def finite(numbers: Mapping[str, float | None]) -> dict[str, float]:
    """Those that are numbers, as floats."""
    return {name: float(value) for name, value in numbers.items() if value is not None and isfinite(value)}


def name_of(*parts: object) -> str:
    """A name that MLflow takes for a metric, however odd a value of the data is: letters, digits, _ and -, by dots."""
    return ".".join(re.sub(r"[^A-Za-z0-9_-]", "_", str(part))[:60] for part in parts)


def _check(rows: pd.DataFrame, spec: ModelSpec, threshold: float | None) -> None:
    for what, wanted in (
        ("slices", spec.evaluate.slices),
        ("sensitive", spec.evaluate.sensitive),
        ("the evaluation", ["label", "day", *spec.features]),
    ):
        if missing := [column for column in wanted if column not in rows]:
            raise ParameterError(
                f"{what} of {spec.name}: no such column",
                seen=missing,
                expected=f"some of {sorted(map(str, rows.columns))}",
                hint=f"mend evaluate in include/models/{spec.name}.yaml, or let the feature function make the column",
            )
    if rows.empty or rows["label"].isna().any():
        raise EmptyWindowError(
            f"{spec.name} can't be evaluated on these rows",
            seen=f"{len(rows)} rows, {int(rows['label'].isna().sum())} of them without a label",
            expected="rows, each with its label",
            hint="take a window whose outcomes are known",
        )
    if spec.task == "binary" and not isfinite(np.nan if threshold is None else threshold):
        raise ParameterError(
            f"{spec.name} decides by a threshold",
            seen=threshold,
            expected="a number, of the score",
            hint="take the one that was chosen on the validate window",
        )
