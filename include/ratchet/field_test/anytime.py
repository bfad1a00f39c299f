"""Means of a series of days, with bounds that hold at all days at once: whoever looks each day, and stops when they
like what they see, is wrong no oftener than alpha says. Pure.

`running_bounds` are asymptotic confidence sequences (Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, "Time-uniform
central limit theory and asymptotic confidence sequences", Annals of Statistics 52(6), 2024), one bound on each side.
They promise alpha for long series only; the first FIRST_DAYS days say nothing. Their variance is that of days that are
like the day before: it is multiplied by (1 + r) / (1 - r), where r is the correlation of neighbours (Bayley and
Hammersley, JRSS Supplement 8(2), 1946), corrected for the bias that short series give it, (1 + 3 r) / n (Marriott and
Pope, "Bias in the estimation of autocorrelations", Biometrika 41, 1954), and taken SURE standard errors of 1 / sqrt(n)
too high: a correlation that is not seen yet is not taken for none. What that is worth is measured: `python -m
benchmarks field`.

`betting_wealth` bets against "on no day is the mean above 0" (Waudby-Smith and Ramdas, "Estimating means of bounded
random variables by betting", JRSS B 86(1), 2024: the mean of the wealth of bettors who each stake a fixed share). It
holds for any number of days, needs no variance, and is slow: for large harm.
"""

from __future__ import annotations

import numpy as np

FIRST_DAYS = 28
BEST_AT_DAYS = 60  # the bounds are narrowest about here: any value keeps their promise
SURE = 1.645  # one-sided, 5 %
MOST_ALIKE = 0.95
STAKES = np.linspace(0.05, 0.95, 19)


def running_bounds(values: np.ndarray, alpha: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(means, lower, upper) after each of the values, one a day in order of time; each bound fails anywhere with
    probability alpha. Before FIRST_DAYS the bounds are infinite. alpha: one-sided, below 0.5."""
    values = np.asarray(values, dtype=float)
    days = np.arange(1, len(values) + 1)
    means = values.cumsum() / days
    half = np.sqrt(_long_run_variance(values, means, days)) * _radius(days, alpha)
    half[: FIRST_DAYS - 1] = np.inf
    return means, means - half, means + half


def _radius(days: np.ndarray, alpha: float) -> np.ndarray:
    """Half the width of a one-sided bound, in standard deviations of a day (their theorem, rho for BEST_AT_DAYS)."""
    least = -2 * np.log(2 * alpha)
    rho = (least + np.log(least + 1)) / BEST_AT_DAYS
    mixed = days * rho + 1
    return np.sqrt(2 * mixed / (days**2 * rho) * np.log1p(np.sqrt(mixed) / (2 * alpha)))


def _long_run_variance(values: np.ndarray, means: np.ndarray, days: np.ndarray) -> np.ndarray:
    """Of all values up to each day; 0 for a single one."""
    off = values - (values[0] if len(values) else 0.0)  # sums of squares of small differences keep their digits
    mean, pairs = means - (values[0] if len(values) else 0.0), np.maximum(days - 1, 1)
    variance = np.maximum((off**2).cumsum() - days * mean**2, 0.0) / pairs
    product = np.concatenate([[0.0], (off[1:] * off[:-1]).cumsum()])[: len(off)]
    total = off.cumsum()
    neighbours = product - mean * (total - off[:1]) - mean * (total - off) + (days - 1) * mean**2
    alike = np.divide(neighbours, variance * pairs, out=np.zeros_like(mean), where=variance > 0)
    alike = np.clip(alike + (1 + 3 * np.clip(alike, 0, 1)) / days + SURE / np.sqrt(days), 0, MOST_ALIKE)
    return variance * (1 + alike) / (1 - alike)


def betting_wealth(values: np.ndarray) -> np.ndarray:
    """What 1 has become after each of the values, -1 or more each: 1 / alpha is reached anywhere with probability alpha
    at most, while no value's mean, whatever came before it, is above 0."""
    values = np.maximum(np.asarray(values, dtype=float), -1.0)
    grown = np.log1p(STAKES[:, None] * values[None, :]).cumsum(axis=1)
    return np.exp(np.logaddexp.reduce(grown, axis=0) - np.log(len(STAKES)))
