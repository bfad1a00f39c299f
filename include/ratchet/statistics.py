"""Measures with intervals that respect clusters of rows.

Rows of one day share their weather and their knock-on delays: they are not independent, and a test that treats them
so promotes equal models far more often than it says. So whole clusters are left out, never rows.

Method: the leave-one-cluster-out jackknife. With G clusters and the value computed again without each of them, the
variance is (G - 1) / G times the sum of squared deviations of those G values from their mean; intervals come from
Student's t with G - 1 degrees of freedom. This is the CV3J of MacKinnon, Nielsen and Webb ("Leverage, influence, and
the jackknife in clustered regression models: Reliable inference using summclust", Stata Journal 23(4), 2023), who
prefer it, or CV3, where clusters are few or differ in size; CV3 takes deviations from the value of all rows, and is the
larger by (G - 1) (mean - value)^2, next to nothing here. Two models are compared on the same rows, by the difference of
their values without each cluster: a paired test. Nothing is drawn at random: the same rows give the same interval.
Clusters are taken for independent; `estimate(..., in_order=True)` allows for days that are like the day before.

The values without a cluster are exact. Means come from sums by cluster. An AUC counts pairs of a positive and a
negative row in the right order: all of them, less those of the cluster's positives with any negative, less those of its
negatives with any positive, plus those within the cluster, which were taken away twice. By ranks that takes
O(rows log rows), for 20 clusters of 1,000 rows and for 10,000 clusters of one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from ratchet.errors import EmptyWindowError, ParameterError

ROUNDING = 1e-12  # two scores that order all rows alike differ by this much, by rounding alone
LEAST_PROBABILITY = 1e-15  # a log loss is never infinite
SURELY_ALIKE = 1.645  # one-sided, 5 %; in units of 1 / sqrt(G), the error of a correlation of neighbours that is 0


@dataclass(frozen=True, eq=False)
class Jackknifed:
    """A value, and the value `without` each cluster: shape (clusters,), in the order of the clusters' sorted names."""

    value: float
    without: np.ndarray
    rows: int

    def minus(self, other: Jackknifed) -> Jackknifed:
        """The paired difference: both are of the same rows and clusters."""
        return combined(np.subtract, self, other)


@dataclass(frozen=True)
class Estimate:
    """A value with its two-sided interval at confidence 1 - alpha; `clusters` and `rows` are what it rests on. A
    one-sided bound at alpha is that of the two-sided interval at 2 alpha. The interval may reach beyond the measure's
    range."""

    value: float
    low: float
    high: float
    standard_error: float
    clusters: int
    rows: int
    alpha: float = 0.05

    def as_dict(self) -> dict[str, float | int]:
        return asdict(self)


def combined(function: Callable[..., np.ndarray], *parts: Jackknifed) -> Jackknifed:
    """A function of several values of the same clusters, such as a difference or a ratio, value by value."""
    if len({part.without.shape for part in parts}) > 1:
        raise ParameterError(
            "values of other clusters can't be compared",
            seen=[len(part.without) for part in parts],
            expected="the same clusters of the same rows",
            hint="measure both on the same rows",
        )
    value, without = function(*(part.value for part in parts)), function(*(part.without for part in parts))
    return Jackknifed(float(value), np.asarray(without, dtype=float), parts[0].rows)


def estimate(of: Jackknifed, alpha: float = 0.05, in_order: bool = False) -> Estimate:
    """The value with its interval, by the jackknife's standard error and Student's t.

    `in_order`: the clusters follow each other in time, as days do. Where neighbours are surely alike, the interval is
    that of fewer clusters, independent ones: see _independent.
    """
    clusters, off = len(of.without), of.without - of.without.mean()
    error = float(np.sqrt((clusters - 1) / clusters * np.sum(off**2)))
    if error <= ROUNDING:
        return Estimate(of.value, of.value, of.value, 0.0, clusters, of.rows, alpha)
    independent = _independent(off) if in_order else clusters
    error *= float(np.sqrt(clusters / independent))
    half = float(stdtrit(independent - 1, 1 - alpha / 2)) * error
    return Estimate(of.value, of.value - half, of.value + half, error, clusters, of.rows, alpha)


def _independent(off: np.ndarray) -> float:
    """How many independent clusters tell as much as these, by their deviations in order of time: G (1 - r) / (1 + r),
    2 or more, where r is the correlation of neighbours (Bayley and Hammersley, "The effective number of independent
    observations in an autocorrelated time series", JRSS Supplement 8(2), 1946: right for a long series in which each
    depends on the one before); and all G where r is no more than what chance makes of 19 in 20 independent series.

    Of few clusters r comes out too low: below some 30 independent ones intervals are still somewhat narrow (Zwiers and
    von Storch, "Taking serial correlation into account in tests of the mean", Journal of Climate 8(2), 1995).
    """
    neighbours = float(off[1:] @ off[:-1] / (off @ off))
    if neighbours <= SURELY_ALIKE / np.sqrt(len(off)):
        return len(off)
    return max(2.0, len(off) * (1 - neighbours) / (1 + neighbours))


def measure(metric: str, label, scores, cluster) -> Jackknifed:
    """roc_auc, log_loss (natural), brier, mae or rmse of `scores`, whose columns are the spec's `score_columns`.

    label: 0/1 (roc_auc, brier, log_loss of one column), numbers (mae, rmse), or for a log_loss of several columns the
    class: as in the column's name after "score_", or for an array the column's number.
    Raises EmptyWindowError where it says nothing: fewer than two clusters, a score or label that is no number, and for
    an AUC one class only, be it without one of the clusters.
    """
    if metric not in _LOSSES and metric != "roc_auc":
        raise ParameterError(f"no metric {metric!r}", expected=["roc_auc", *_LOSSES], hint="mend problem.success")
    clusters = _Clusters(cluster)
    numbers = _numbers(scores)
    if metric == "roc_auc":
        return _auc(_binary(label), numbers[:, 0], clusters)
    columns = list(scores.columns) if isinstance(scores, pd.DataFrame) else None
    loss = clusters.share(_LOSSES[metric](label, numbers, columns), np.ones(len(numbers)))
    return combined(np.sqrt, loss) if metric == "rmse" else loss


def calibration_error(label, score, cluster, bins: int = 10) -> Jackknifed:
    """Expected calibration error: the mean over rows of |mean score - share of positives| of the row's bin.

    Bins that hold equally many rows bias it less than equal widths do (Roelofs et al., "Mitigating bias in calibration
    error estimation", AISTATS 2022). For a multiclass model pass whether the likeliest class came true, and its
    probability. Raises EmptyWindowError as `measure` does.
    """
    clusters, score = _Clusters(cluster), _numbers(score)[:, 0]
    cell = clusters.code * bins + bins_of(score, bins)
    gaps = np.bincount(cell, _binary(label) - score, clusters.count * bins).reshape(clusters.count, bins)
    total, rows = gaps.sum(axis=0), clusters.sums(np.ones(len(score)))
    without = np.abs(total - gaps).sum(axis=1) / (len(score) - rows)
    return Jackknifed(float(np.abs(total).sum() / len(score)), without, len(score))


def bins_of(score: np.ndarray, bins: int) -> np.ndarray:
    """The number of each row's bin, from 0 for the lowest scores. Bins hold equally many rows, by quantiles of all
    scores; ties stay together, so that there may be fewer bins."""
    edges = np.unique(np.quantile(score, np.arange(1, bins) / bins))
    return np.searchsorted(edges, score, side="right")


def rate(flag, cluster, among=None) -> Jackknifed:
    """The share of True among the rows, or those `among` them: a selection rate, or with among=(label == 1) the share
    of positives found. Clusters are those of all rows, so that the rates of two groups can be compared; `rows` counts
    those among. Raises EmptyWindowError where there are none among, be it without one of the clusters."""
    return mean(np.asarray(flag, dtype=bool), cluster, among)


def mean(values, cluster, among=None) -> Jackknifed:
    """The mean of `values` over the rows, or those `among` them; else as `rate`."""
    values = np.asarray(values, dtype=float)
    among = np.ones(len(values)) if among is None else np.asarray(among, dtype=float)
    return _Clusters(cluster).share(values * among, among)


class _Clusters:
    """Which cluster each row is of, by number: 0 is the first of the sorted names."""

    def __init__(self, cluster) -> None:
        self.code, names = pd.factorize(np.asarray(cluster), sort=True, use_na_sentinel=False)
        self.count = len(names)
        if self.count < 2:
            raise EmptyWindowError(
                "nothing can be estimated on these rows",
                seen=f"{self.count} clusters",
                expected="two clusters or more",
                hint="take a longer window",
            )

    def sums(self, values) -> np.ndarray:
        return np.bincount(self.code, values, self.count)

    def share(self, part: np.ndarray, whole: np.ndarray) -> Jackknifed:
        """sum(part) / sum(whole)."""
        return _ratio(self.sums(part), self.sums(whole), int(np.count_nonzero(whole)))


def _ratio(part: np.ndarray, whole: np.ndarray, rows: int) -> Jackknifed:
    """Of sums by cluster."""
    left = whole.sum() - whole
    if (left <= 0).any():
        raise EmptyWindowError(
            "a value that rests on the rows of one cluster",
            seen=f"{int((whole > 0).sum())} clusters with such rows",
            expected="two or more",
            hint="take a longer window",
        )
    return Jackknifed(float(part.sum() / whole.sum()), (part.sum() - part) / left, rows)


def _auc(positive: np.ndarray, score: np.ndarray, clusters: _Clusters) -> Jackknifed:
    """Ties count one half."""
    is_positive = positive.astype(bool)
    positives, negatives = clusters.sums(is_positive), clusters.sums(~is_positive)
    left = (positives.sum() - positives) * (negatives.sum() - negatives)
    if (left <= 0).any():
        raise EmptyWindowError(
            "an AUC can't be estimated on these rows",
            seen=f"{int((positives > 0).sum())} clusters with positive and {int((negatives > 0).sum())} with negative "
            f"rows, of {clusters.count}",
            expected="both classes, whichever cluster is left out",
            hint="take a longer window",
        )
    _, level = np.unique(score, return_inverse=True)
    pairs = _ordered_pairs(level, is_positive)
    total, with_any = pairs[is_positive].sum(), clusters.sums(pairs)
    within = _ordered_pairs_within(level, is_positive, clusters)
    value = total / (positives.sum() * negatives.sum())
    return Jackknifed(float(value), (total - with_any + within) / left, len(score))


def _ordered_pairs(level: np.ndarray, is_positive: np.ndarray) -> np.ndarray:
    """For each positive row the negative rows below it, for a negative one the positive rows above; ties one half."""
    below, above = _below(level, ~is_positive), _below(level, is_positive)
    return np.where(is_positive, below[level], is_positive.sum() - above[level])


def _below(level: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """For each level the counted rows of lower levels, and half of its own."""
    at_level = np.bincount(level, counted)
    return np.cumsum(at_level) - at_level / 2


def _ordered_pairs_within(level: np.ndarray, is_positive: np.ndarray, clusters: _Clusters) -> np.ndarray:
    """For each cluster its pairs of a positive and a negative row in the right order; ties one half."""
    cells, cell = np.unique(clusters.code * (level.max() + 1) + level, return_inverse=True)
    cluster = cells // (level.max() + 1)
    negatives_before = np.cumsum(clusters.sums(~is_positive)) - clusters.sums(~is_positive)
    below = _below(cell, ~is_positive) - negatives_before[cluster]
    return np.bincount(cluster, np.bincount(cell, is_positive) * below, clusters.count)


def _log_loss(label, scores: np.ndarray, columns: list[str] | None) -> np.ndarray:
    if scores.shape[1] == 1:
        of_truth = np.where(_binary(label) == 1, scores[:, 0], 1 - scores[:, 0])
    else:
        names = [name.removeprefix("score_") for name in columns] if columns else range(scores.shape[1])
        column = pd.Index(names).get_indexer(np.asarray(label) if columns is None else np.asarray(label).astype(str))
        if (column < 0).any():
            raise EmptyWindowError(
                "labels of no known class",
                seen=f"{int((column < 0).sum())} of {len(column)} rows",
                expected=list(names),
                hint="look at the model's label function, or name all classes in its spec",
            )
        of_truth = scores[np.arange(len(scores)), column]
    return -np.log(np.clip(of_truth, LEAST_PROBABILITY, 1))


def _brier(label, scores: np.ndarray, columns: list[str] | None) -> np.ndarray:
    return (_binary(label) - scores[:, 0]) ** 2


def _absolute_error(label, scores: np.ndarray, columns: list[str] | None) -> np.ndarray:
    return np.abs(_numbers(label)[:, 0] - scores[:, 0])


def _squared_error(label, scores: np.ndarray, columns: list[str] | None) -> np.ndarray:
    return (_numbers(label)[:, 0] - scores[:, 0]) ** 2


_LOSSES = {"log_loss": _log_loss, "brier": _brier, "mae": _absolute_error, "rmse": _squared_error}


def _binary(label) -> np.ndarray:
    label = _numbers(label)[:, 0]
    if not np.isin(label, (0, 1)).all():
        raise EmptyWindowError(
            "labels other than 0 and 1",
            seen=sorted(set(label.tolist()) - {0, 1})[:5],
            expected="0 or 1",
            hint="look at the model's label function",
        )
    return label


def _numbers(values) -> np.ndarray:
    """As float, shape (rows, columns)."""
    given = values.to_numpy(dtype=float, na_value=np.nan) if isinstance(values, pd.Series | pd.DataFrame) else values
    numbers = np.asarray(given, dtype=float).reshape(len(given), -1)
    if bad := int((~np.isfinite(numbers).all(axis=1)).sum()):
        raise EmptyWindowError(
            "scores or labels that are no numbers",
            seen=f"{bad} of {len(numbers)} rows",
            expected="a finite number a row",
            hint="look at the model's features on these rows",
        )
    return numbers
