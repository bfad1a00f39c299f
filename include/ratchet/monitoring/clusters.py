"""Is the mean of a row's figure in a window of days further from the reference's than windows of the reference are?

A day has something that all its rows share, and it follows the day before. So the mean of a window of G days with n
rows varies by between q + within / n, where q = w'Rw, w the days' shares of the window's rows and R the correlation of
day with day, r to the power of their distance (autoregression of first order).

- within, between: mean squares of a one-way random-effects analysis of variance of the reference's rows by day (Searle,
  Casella and McCulloch, "Variance Components", 1992, ch. 3, for days that differ in rows), corrected for what days that
  are alike take from the deviations of their own mean. The days' variance is also computed from all windows of G
  consecutive days (of a quarter of the reference at most), as in a moving-blocks resampling (Kuensch, Annals of
  Statistics 17, 1989): a season shows there. The larger of the two counts.
- r: of neighbouring days, corrected for the bias of a short series (Kendall, Biometrika 41, 1954), and a standard error
  higher: what is taken for less alike than it is makes false alarms.
- Student's t, with Satterthwaite's degrees of freedom (Biometrics Bulletin 2, 1946); those of the days are as of the
  variance of an autoregression, D (1 - r^2) / (1 + r^2) - 1 (Bayley and Hammersley, JRSS Supplement 8, 1946).
- A window with more rows than its days have in the reference counts as one with as many: days were measured no finer.
- What days have is skewed (a share, rain): how far out a mean lies is first put on the scale of a normal value that is
  as rare, as of a Pearson type III (Wilson and Hilferty, PNAS 17, 1931), by the skewness of the reference's days, taken
  a standard error of it (sqrt(6 / D)) further than seen, and of a window's mean as of the mean of 1 / q days.
- Of a rare share also the exact binomial tail, given the rows of both (the larger p counts): there a mean is not
  normal. And `beyond`: further out, in its own standard errors, than every window of the reference on that side.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import betainc, stdtr

LEAST_WINDOWS = 4  # of the reference, side by side: else shorter ones are looked at
RARE = 0.05  # of the rows of both frames
SMALL_WINDOW = 0.2  # of the middle window's rows: smaller ones say nothing of what is usual
MOST_ALIKE = 0.98
LEAST_FREEDOM, LEAST_SKEWED = 0.5, 1e-3
LEAST_LEFT = 1 / 3  # of the days' variance, by their own mean: more than three times what was seen is a guess
MOST_LAGS = 200  # days: 0.98 to the power of 200 is 0.02


@dataclass(frozen=True, eq=False)
class Sums:
    """By day and figure, shape (days, figures): rows that count, and of their values the sum and the sum of squares.
    `day`: days since 1970, ascending."""

    day: np.ndarray
    rows: np.ndarray
    sum: np.ndarray
    squares: np.ndarray

    @property
    def total(self) -> np.ndarray:
        return self.rows.sum(axis=0)

    @property
    def mean(self) -> np.ndarray:
        return _ratio(self.sum.sum(axis=0), self.total)

    def times(self, scale: np.ndarray) -> Sums:
        return Sums(self.day, self.rows, self.sum * scale, self.squares * scale**2)


@dataclass(frozen=True, eq=False)
class Compared:
    """By figure. `error`: the standard error of the difference of the means, `freedom`: its degrees of freedom;
    `p`: two-sided; `beyond`: is it further out than every window of the reference; `outermost`: the furthest of those,
    in standard errors; `skewed`: how skewed the difference is, on its own side."""

    before: np.ndarray
    now: np.ndarray
    error: np.ndarray
    freedom: np.ndarray
    p: np.ndarray
    beyond: np.ndarray
    outermost: np.ndarray
    skewed: np.ndarray


@dataclass(frozen=True, eq=False)
class Varies:
    """How the reference varies, by figure: variances within and between days, correlation of neighbours, rows of a
    usual day, days (as many with equal rows would tell as much), and the skewness of days."""

    within: np.ndarray
    between: np.ndarray
    alike: np.ndarray
    rows_a_day: np.ndarray
    days: np.ndarray
    skewed: np.ndarray


def _unskewed(out: np.ndarray, skewed: np.ndarray) -> np.ndarray:
    """What lies as far out on the scale of a normal value that is as rare."""
    return np.maximum(6 / skewed * (np.cbrt(skewed / 2 * out + 1) - 1) + skewed / 6, 0)


def skewed_again(out: float, skewed: float) -> float:
    """The other way round: how far out it is that lies `out` on the scale of a normal value."""
    return 2 / skewed * ((skewed / 6 * (out - skewed / 6) + 1) ** 3 - 1)


def compare(before: Sums, now: Sums, shares: np.ndarray) -> Compared:
    """`shares`: which of the figures are shares of rows. Each figure needs two days with rows before, and a row now."""
    length = int(now.day[-1] - now.day[0]) + 1
    varies, (high, low) = _how_it_varies(before, now, length)
    few = np.minimum(now.total, varies.rows_a_day * len(now.day))
    days_now = _alike(now, varies.alike)
    days = days_now + _alike(before, varies.alike)
    rest = _ratio(varies.within, before.total)
    variance = varies.between * days + _ratio(varies.within, few) + rest
    unsure = varies.between * days + _ratio(varies.within, varies.rows_a_day * len(now.day)) + rest
    error, difference = np.sqrt(variance), now.mean - before.mean
    freedom = np.maximum(_of_days(varies), LEAST_FREEDOM) * np.maximum(_ratio(variance, unsure), 1) ** 2
    out = _standard(difference, error)
    by_days = _ratio(varies.between * days_now, variance) ** 1.5 * np.sqrt(days_now)
    longer_tail = np.maximum(np.sign(difference) * varies.skewed + np.sqrt(_ratio(6.0, varies.days)), 0)
    skewed = np.maximum(by_days * longer_tail, LEAST_SKEWED)
    p = 2 * stdtr(freedom, -_unskewed(np.abs(out), skewed))
    p = np.where(shares, np.maximum(p, _exact(before, now)), p)
    outermost = np.where(difference > 0, high, -low)
    beyond = np.abs(out) > np.maximum(outermost, 0) + 1e-9
    return Compared(before.mean, now.mean, error, freedom, np.minimum(p, 1), beyond, np.maximum(outermost, 0), skewed)


def _of_days(varies: Varies) -> np.ndarray:
    """Degrees of freedom of what days and rows together vary by: the noise of a day's rows is not alike."""
    noise = _ratio(varies.within, varies.rows_a_day)
    squared = (varies.alike * _ratio(varies.between, varies.between + noise)) ** 2
    return varies.days * (1 - squared) / (1 + squared) - 1


def _how_it_varies(before: Sums, now: Sums, length: int) -> tuple[Varies, tuple[np.ndarray, np.ndarray]]:
    """And the outermost windows of the reference, above and below, in standard errors."""
    total, rows = before.total, before.rows
    weights = _ratio(rows, total)
    off = np.where(rows > 0, _ratio(before.sum, rows) - before.mean, 0)
    count, squared = (rows > 0).sum(axis=0), (weights**2).sum(axis=0)
    within, noise = _within(before), np.maximum(_within(before), _within(before, now))
    rows_a_day = _ratio(total * (1 - squared), count - 1)
    raw = _ratio((weights * off**2).sum(axis=0) - _ratio(within, rows_a_day) * (1 - squared), 1 - squared)
    effective = _ratio(1.0, squared)
    alike = _neighbours(before, off, raw, _ratio(within, rows_a_day), effective)
    between = np.maximum(raw, 0) * _ratio(1 - squared, np.maximum(1 - _alike(before, alike), LEAST_LEFT))
    windows = _Windows(before, min(length, max(1, _span(before) // LEAST_WINDOWS)))
    between = np.maximum(between, windows.variance(within, alike))
    skewed = _ratio((weights * off**3).sum(axis=0), (weights * off**2).sum(axis=0) ** 1.5)
    varies = Varies(noise, between, alike, rows_a_day, effective, skewed)
    return varies, windows.outermost(noise, between, alike)


def _within(*of: Sums) -> np.ndarray:
    """The variance of rows round their day's mean."""
    squares = sum((one.squares - _ratio(one.sum**2, one.rows)).sum(axis=0) for one in of)
    freedom = sum((np.maximum(one.rows - 1, 0)).sum(axis=0) for one in of)
    return np.maximum(_ratio(squares, freedom), 0)


def _neighbours(before: Sums, off: np.ndarray, between: np.ndarray, noise: np.ndarray, days: np.ndarray) -> np.ndarray:
    """The correlation of what a day has with what the next one has. `noise`: of a day's mean, by its rows. Where the
    days' variance can't be told from none, neither can their likeness: a standard error is added to what divides it."""
    next_day = np.flatnonzero(np.diff(before.day) == 1)
    weight = np.sqrt(before.rows[next_day] * before.rows[next_day + 1])
    shared = _ratio((weight * off[next_day] * off[next_day + 1]).sum(axis=0), weight.sum(axis=0))
    between = np.maximum(between, 0)
    seen = np.clip(_ratio(shared, between + noise * np.sqrt(_ratio(2.0, days))), -1, 1)
    margin = np.sqrt(_ratio(1 - seen**2, days)) * _ratio(between, between + noise)
    return np.clip(_ratio(seen * days + 1, np.maximum(days - 3, 1)) + margin, 0, MOST_ALIKE)


def _alike(of: Sums, alike: np.ndarray) -> np.ndarray:
    """w'Rw: the variance of a weighted mean of days, each of variance 1."""
    grid = _on_grid(of.day, _ratio(of.rows, of.total))
    most = min(len(grid), MOST_LAGS)
    waves = np.abs(np.fft.rfft(grid, 2 * len(grid), axis=0)) ** 2
    by_lag = np.fft.irfft(waves, axis=0)[:most]  # sums of products of days so far apart (Wiener and Khinchin)
    return 2 * (by_lag * alike ** np.arange(most)[:, None]).sum(axis=0) - by_lag[0]


class _Windows:
    """All windows of so many consecutive days of the reference."""

    def __init__(self, of: Sums, length: int) -> None:
        self.of, self.length = of, length
        self.rows, self.sum = (_moving(_on_grid(of.day, one), length) for one in (of.rows, of.sum))
        self.enough = self.rows > SMALL_WINDOW * np.median(self.rows, axis=0)
        self.off = _ratio(self.sum, self.rows) - of.mean

    def _of_rows(self, within: np.ndarray) -> np.ndarray:
        return within * np.maximum(_ratio(1.0, self.rows) - _ratio(1.0, self.of.total), 0)

    def _of_days(self, alike: np.ndarray) -> np.ndarray:
        """The variance of a window's mean round that of all, where a day's is 1."""
        lags = np.arange(1, self.length)[:, None]
        window = (1 + 2 * ((1 - lags / self.length) * alike**lags).sum(axis=0)) / self.length
        return np.maximum(window - _alike(self.of, alike), LEAST_LEFT * window)

    def variance(self, within: np.ndarray, alike: np.ndarray) -> np.ndarray:
        """Of a day, as these windows tell it."""
        weights = np.where(self.enough, self.rows, 0)
        seen = _ratio((weights * (self.off**2 - self._of_rows(within))).sum(axis=0), weights.sum(axis=0))
        return np.maximum(seen, 0) / self._of_days(alike)

    def outermost(self, within: np.ndarray, between: np.ndarray, alike: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The highest and the lowest, in standard errors."""
        error = np.sqrt(between * self._of_days(alike) + self._of_rows(within))
        out = np.where(self.enough, _standard(self.off, error), 0)
        return out.max(axis=0), out.min(axis=0)


def _exact(before: Sums, now: Sums) -> np.ndarray:
    """p of a rare share, or of one that is rarely not so: given how many such rows both have, the share of them that
    is of now. 0 where it isn't rare."""
    rows, cases = np.stack([before.total, now.total]), np.stack([before.sum.sum(axis=0), now.sum.sum(axis=0)])
    rare = np.where(2 * cases.sum(axis=0) > rows.sum(axis=0), rows - cases, cases)
    all_of, ours = np.rint(rare.sum(axis=0)), np.rint(rare[1])
    share = _ratio(rows[1], rows.sum(axis=0))
    above = np.where(ours > 0, betainc(np.maximum(ours, 1), all_of - ours + 1, share), 1.0)
    below = np.where(ours < all_of, betainc(np.maximum(all_of - ours, 1), ours + 1, 1 - share), 1.0)
    tail = 2 * np.minimum(above, below)
    return np.where(all_of <= RARE * rows.sum(axis=0), np.minimum(tail, 1), 0.0)


def _standard(difference: np.ndarray, error: np.ndarray) -> np.ndarray:
    """In standard errors; what can't vary is infinitely far out when it differs."""
    sure = np.where(np.abs(difference) > 1e-9, np.copysign(np.inf, difference), 0.0)
    return np.divide(difference, error, out=sure, where=error > 1e-12)


def _span(of: Sums) -> int:
    return int(of.day[-1] - of.day[0]) + 1


def _on_grid(day: np.ndarray, values: np.ndarray) -> np.ndarray:
    """By calendar day, with 0 for days that have none."""
    grid = np.zeros((int(day[-1] - day[0]) + 1, values.shape[1]))
    grid[day - day[0]] = values
    return grid


def _moving(grid: np.ndarray, length: int) -> np.ndarray:
    sums = np.vstack([np.zeros(grid.shape[1]), np.cumsum(grid, axis=0)])
    return sums[length:] - sums[:-length]


def _ratio(above, below) -> np.ndarray:
    """0 where there is nothing to divide by."""
    above, below = np.broadcast_arrays(np.asarray(above, dtype=float), np.asarray(below, dtype=float))
    return np.divide(above, below, out=np.zeros(above.shape), where=below > 0)
