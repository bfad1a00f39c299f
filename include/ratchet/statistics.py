"""Areas under the ROC curve, and differences of two, with intervals that respect clusters of rows.

Rows of one day share their weather and their knock-on delays: they are not independent, and a test that treats them
so promotes equal models far more often than it says. So whole clusters are resampled, never rows.

Method: the pairs cluster bootstrap (resample G clusters with replacement) gives a standard error, scaled by
sqrt(G / (G - 1)); intervals and p-values then come from Student's t with G - 1 degrees of freedom, as there are few
clusters (Cameron and Miller, "A Practitioner's Guide to Cluster-Robust Inference", Journal of Human Resources 50(2),
2015, sections IV and VI). Two scores are compared on the same resamples of the same rows: a paired test.

An AUC under cluster weights w is w'Uw / (w'p)(w'n), where U[g, h] counts the pairs of a positive row of cluster g
and a negative row of cluster h that are in the right order (ties one half), and p, n count rows. U is computed once,
in O(rows x clusters); each resample then costs O(clusters^2), whatever the number of rows.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from scipy.stats import t as student_t

from ratchet.errors import EmptyWindowError


@dataclass(frozen=True)
class Interval:
    """A value with its two-sided interval at confidence 1 - alpha; `clusters` and `rows` are what it rests on."""

    value: float
    low: float
    high: float
    clusters: int
    rows: int
    alpha: float = 0.05

    def as_dict(self) -> dict[str, float | int]:
        return asdict(self)


@dataclass(frozen=True)
class PairedTest:
    """`difference` is a's AUC minus b's. `low` and `high` are each a one-sided bound at confidence 1 - alpha;
    `p_value` is one-sided, of "a is no better than b"."""

    difference: float
    low: float
    high: float
    p_value: float
    standard_error: float
    clusters: int
    rows: int
    alpha: float

    def as_dict(self) -> dict[str, float | int]:
        return asdict(self)


def clustered_auc(label, score, cluster, resamples: int = 1000, seed: int = 0, alpha: float = 0.05) -> Interval:
    """AUC of `score` for the 0/1 `label`, resampling `cluster`s. The interval is cut to [0, 1].

    Raises EmptyWindowError where an AUC says nothing: one class only, or fewer than two clusters.
    """
    pairs = _ClusterPairs(label, cluster)
    ordered = pairs.ordered(score)
    weights = _resampled_weights(pairs.clusters, resamples, seed)
    value = float(pairs.auc(ordered, np.ones((1, pairs.clusters)))[0])
    error = _standard_error(pairs.auc(ordered, weights), pairs.clusters)
    half = float(student_t.ppf(1 - alpha / 2, pairs.clusters - 1)) * error
    return Interval(value, max(0.0, value - half), min(1.0, value + half), pairs.clusters, pairs.rows, alpha)


def paired_auc_difference(
    label, score_a, score_b, cluster, resamples: int = 1000, seed: int = 0, alpha: float = 0.025
) -> PairedTest:
    """AUC of `score_a` minus AUC of `score_b` on the same rows, resampling `cluster`s; bounds one-sided at `alpha`.

    Raises EmptyWindowError as clustered_auc does. Two scores that order all rows alike differ by 0 with no error,
    and their p-value is 1.
    """
    pairs = _ClusterPairs(label, cluster)
    a, b = pairs.ordered(score_a), pairs.ordered(score_b)
    whole = np.ones((1, pairs.clusters))
    weights = _resampled_weights(pairs.clusters, resamples, seed)
    difference = float((pairs.auc(a, whole) - pairs.auc(b, whole))[0])
    error = _standard_error(pairs.auc(a, weights) - pairs.auc(b, weights), pairs.clusters)
    freedom = pairs.clusters - 1
    half = float(student_t.ppf(1 - alpha, freedom)) * error
    p_value = float(student_t.sf(difference / error, freedom)) if error > 0 else float(difference <= 0)
    return PairedTest(
        difference, difference - half, difference + half, p_value, error, pairs.clusters, pairs.rows, alpha
    )


class _ClusterPairs:
    """The labels and clusters of some rows, ready to count ordered pairs for any score of theirs."""

    def __init__(self, label, cluster) -> None:
        label = np.asarray(label)
        names, self._cluster = np.unique(np.asarray(cluster, dtype=object).astype(str), return_inverse=True)
        self._positive = label.astype(bool)
        self.rows, self.clusters = len(label), len(names)
        self._positives = np.bincount(self._cluster[self._positive], minlength=self.clusters).astype(float)
        self._negatives = np.bincount(self._cluster[~self._positive], minlength=self.clusters).astype(float)
        if self.clusters < 2 or not self._positives.any() or not self._negatives.any():
            raise EmptyWindowError(
                "an AUC can't be estimated on these rows",
                seen=f"{self.clusters} clusters, {int(self._positives.sum())} positive and "
                f"{int(self._negatives.sum())} negative rows",
                expected="two clusters or more, and both classes",
                hint="take a longer window",
            )

    def ordered(self, score) -> np.ndarray:
        """U: for clusters g, h the pairs (positive row of g, negative row of h) in the right order; ties one half."""
        score = np.asarray(score, dtype=float)
        if not np.isfinite(score).all():
            raise EmptyWindowError(
                "scores that are no numbers",
                seen=f"{int((~np.isfinite(score)).sum())} of {len(score)} rows",
                expected="a finite score a row",
                hint="look at the model's features on these rows",
            )
        levels, rank = np.unique(score, return_inverse=True)
        rank_positive, cluster_positive = rank[self._positive], self._cluster[self._positive]
        rank_negative, cluster_negative = rank[~self._positive], self._cluster[~self._positive]
        ordered = np.empty((self.clusters, self.clusters))
        for h in range(self.clusters):
            at_level = np.bincount(rank_negative[cluster_negative == h], minlength=len(levels))
            below_or_half = np.cumsum(at_level) - at_level / 2
            ordered[:, h] = np.bincount(cluster_positive, below_or_half[rank_positive], minlength=self.clusters)
        return ordered

    def auc(self, ordered: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """The AUC under each row of cluster weights; NaN where a resample holds one class only."""
        pairs = (weights @ self._positives) * (weights @ self._negatives)
        right = np.einsum("rg,rg->r", weights @ ordered, weights)
        return np.divide(right, pairs, out=np.full(len(pairs), np.nan), where=pairs > 0)


def _resampled_weights(clusters: int, resamples: int, seed: int) -> np.ndarray:
    draws = np.random.default_rng(seed).multinomial(clusters, np.full(clusters, 1 / clusters), size=resamples)
    return draws.astype(float)


def _standard_error(values: np.ndarray, clusters: int) -> float:
    values = values[np.isfinite(values)]
    if len(values) < 2:
        raise EmptyWindowError(
            "hardly a resample holds both classes",
            seen=f"{len(values)} of them",
            expected="2 or more",
            hint="take a longer window",
        )
    error = float(np.std(values, ddof=1)) * float(np.sqrt(clusters / (clusters - 1)))
    return 0.0 if error < 1e-12 else error  # two orders that agree differ by rounding alone
