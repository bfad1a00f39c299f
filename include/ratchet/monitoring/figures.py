"""The figures of a column, held against the reference: which of them moved, and the sentence that says so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from ratchet.monitoring.clusters import Sums, compare, skewed_again
from ratchet.monitoring.columns import Column, Part
from ratchet.monitoring.values import State
from ratchet.specs.watching import Smallest

CONFIDENCE = 0.95
LEAST_DAYS, LEAST_VALUES = 5, 50  # a part is looked at from so many days of the reference and rows of now
LEAST_SPREAD = 1e-9  # standard deviations of the reference: less is rounding, where days have one value each
MOST_OUT = 1e6  # standard errors
UNIT = {"shift": "sd", "spread": "times the reference's", "share": "share of rows"}


@dataclass(frozen=True, eq=False)
class Figure:
    """A part of a column, before and now; see ratchet.monitoring.clusters.Compared for the numbers. `means`: of the
    column's values, before and now, in its own unit. `range`: the least and the greatest that the figure can be."""

    part: Part
    means: tuple[float, float]
    range: tuple[float, float]
    before: float
    now: float
    error: float
    freedom: float
    p: float
    beyond: bool
    outermost: float
    skewed: float

    @property
    def difference(self) -> float:
        return self.now - self.before

    def half(self, alpha: float) -> float:
        """Half of the two-sided interval at confidence 1 - alpha."""
        return float(stdtrit(self.freedom, 1 - alpha / 2)) * self.error

    def reach(self, alpha: float) -> float:
        """The smallest difference whose p is alpha, and that lies beyond every window of the reference."""
        normal = min(float(stdtrit(self.freedom, 1 - alpha / 2)), MOST_OUT)
        return max(skewed_again(normal, self.skewed), self.outermost) * self.error

    def interval(self) -> tuple[float, float]:
        """Of `now`, were the reference's mean the truth, within what the figure can be."""
        half, (low, high) = self.half(1 - CONFIDENCE), self.range
        return max(self.now - half, low), min(self.now + half, high)

    @property
    def says(self) -> str:
        """From what to what, and how sure."""
        low, high = self.interval()
        if self.part.kind == "share":
            return f"share of {self.part.name} {self.before:.1%} to {self.now:.1%} ({low:.1%} to {high:.1%})"
        if self.part.kind == "spread":
            return f"spread {self.now:.2f} times the reference's ({low:.2f} to {high:.2f})"
        way, sign = ("up", 1) if self.now >= 0 else ("down", -1)
        low, high = sorted([sign * low, sign * high])
        return (
            f"mean {self.means[0]:.4g} to {self.means[1]:.4g}, {way} {abs(self.now):.2f} sd ({low:.2f} to {high:.2f})"
        )


def figures_of(column: Column, days: np.ndarray, now: np.ndarray) -> list[Figure]:
    """`days`, `now`: those of the tables' rows, since 1970."""
    parts = [part for part in column.parts if _is_enough(column, part)]
    if not parts:
        return []
    before, after = _sums(parts, column.before, days), _sums(parts, column.now, now)
    scale = np.array(
        [1 / mean if part.kind == "spread" else 1.0 for part, mean in zip(parts, before.mean, strict=True)]
    )
    told = compare(before.times(scale), after.times(scale), np.array([part.kind == "share" for part in parts]))
    numbers = zip(
        told.before, told.now, told.error, told.freedom, told.p, told.beyond, told.outermost, told.skewed, strict=True
    )
    return [
        Figure(part, column.means, _range(part, by), *(value.item() for value in one))
        for part, by, one in zip(parts, scale, numbers, strict=True)
    ]


def _sums(parts: Sequence[Part], table: np.ndarray, days: np.ndarray) -> Sums:
    of_parts = [(_distances if part.kind == "spread" else _values)(part, table * part.counts) for part in parts]
    return Sums(days, *(np.stack(one, axis=1) for one in zip(*of_parts, strict=True)))


def _values(part: Part, table: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """By day: rows, and of their values the sum and the sum of squares."""
    return table.sum(axis=1), table @ part.values, table @ part.values**2


def _distances(part: Part, table: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same of distances from the day's mean, of days with two rows or more. From the mean of n rows they are
    shorter than from the mean that they were drawn round, by sqrt(1 - 1 / n): that is put right."""
    rows = table.sum(axis=1)
    table, rows = np.where(rows[:, None] > 1, table, 0), np.where(rows > 1, rows, 0)
    far = np.abs(part.values - (table @ part.values / np.maximum(rows, 1))[:, None])
    by = rows / np.maximum(rows - 1, 1)
    return rows, np.sqrt(by) * (table * far).sum(axis=1), by * (table * far**2).sum(axis=1)


def _range(part: Part, scale: float) -> tuple[float, float]:
    values = part.values[part.counts]
    return (0.0, float(np.ptp(values)) * scale) if part.kind == "spread" else (float(values.min()), float(values.max()))


def _is_enough(column: Column, part: Part) -> bool:
    if part.kind == "spread":
        rows, far, _ = _distances(part, column.before * part.counts)
        if far.sum() <= LEAST_SPREAD * rows.sum():
            return False
    days = ((column.before @ part.counts) > 0).sum()
    return days >= LEAST_DAYS and (column.now @ part.counts).sum() >= LEAST_VALUES


@dataclass(frozen=True)
class Bar:
    """What the figures of one column are held against: `alpha` is that column's, of so many `columns`."""

    smallest: Smallest
    alpha: float
    columns: int

    def decide(self, figures: Sequence[Figure]) -> tuple[Figure, State, str]:
        """The figure that tells most, the column's state, and what is said of it."""
        alpha = self.alpha / len(figures)
        moved = sorted((one for one in figures if self._is_over(one, alpha)), key=lambda one: one.p)
        if moved:
            told, p = "; ".join(one.says for one in _told(moved)), len(figures) * moved[0].p
            return moved[0], "moved", f"{told}, p {p:.1g} of {self.columns} columns"
        first = max(figures, key=lambda one: (one.part.kind == "shift", abs(one.difference)))
        if self._is_blind(first, alpha):
            return first, "not enough data", f"{first.says}: days of the reference are too few, or too unlike, to tell"
        return first, "usual", f"{first.says}: usual"

    def numbers(self, figure: Figure, of: int) -> dict[str, float | str]:
        """As a Finding has them; `of` so many figures."""
        low, high = figure.interval()
        beyond = figure.before + np.copysign(self._reach(figure, self.alpha / of, figure.difference), figure.difference)
        least, most = figure.range
        told = {"value": figure.now, "low": low, "high": high, "reference": figure.before}
        return {**told, "threshold": float(np.clip(beyond, least, most)), "unit": UNIT[figure.part.kind]}

    def _is_over(self, figure: Figure, alpha: float) -> bool:
        is_large = abs(figure.difference) >= self._least(figure, figure.difference)
        return figure.p <= alpha and figure.beyond and is_large

    def _is_blind(self, figure: Figure, alpha: float) -> bool:
        """Could it not be over, whatever the rows of now were?"""
        least, most = figure.range
        return (
            figure.before + self._reach(figure, alpha, 1) > most
            and figure.before - self._reach(figure, alpha, -1) < least
        )

    def _reach(self, figure: Figure, alpha: float, way: float) -> float:
        """How far from the reference it has to be, upwards or downwards."""
        return max(self._least(figure, way), figure.reach(alpha))

    def _least(self, figure: Figure, way: float) -> float:
        """The smallest difference that is anybody's business."""
        spread = self.smallest.spread
        up_or_down = {"spread": spread - 1 if way > 0 else 1 - 1 / spread}
        return {"shift": self.smallest.shift, "share": self.smallest.share, **up_or_down}[figure.part.kind]


def _told(moved: Sequence[Figure]) -> Sequence[Figure]:
    """Two at most; of what lies elsewhere the spread of its ranks tells nothing more."""
    return [one for one in moved if one.part.kind != "spread" or moved[0].part.kind != "shift"][:2]
