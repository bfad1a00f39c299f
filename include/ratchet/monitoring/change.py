"""A figure before and now, and whether it has surely changed.

Before and now are windows of other days, so their errors are taken for independent, and half the width of the interval
of their difference is the root of the sum of their squared half widths: each its standard error times Student's t by
its own number of independent days. That covers no less than it says, however unequal days and variances are (Banerjee,
"Approximate confidence interval for linear functions of means of k populations when the population variances are not
equal", Sankhya 22, 1960).

Days can be like the day before. How much so is asked of both windows together, for a fortnight alone can't tell (see
ratchet.statistics for what follows from it): of 14 independent days one in twenty looks so alike that the interval is
three times as wide, and harm would be missed for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import hypot, isfinite

import numpy as np
from scipy.special import stdtrit

from ratchet.errors import EmptyWindowError
from ratchet.monitoring.values import Area, Finding, Harm
from ratchet.statistics import ROUNDING, SURELY_ALIKE, Estimate, Jackknifed, estimate


@dataclass(frozen=True)
class Change:
    """A figure before and now, on other days. `sign`: 1 where more of it is worse, -1 where less is."""

    before: Jackknifed
    now: Jackknifed
    sign: int

    @property
    def worse_by(self) -> float:
        """In units of the figure; negative where it is better."""
        return self.sign * (self.now.value - self.before.value)

    def half(self, alpha: float) -> float:
        """How far `worse_by` may be off, one-sided at alpha."""
        alike = _neighbours(self.before, self.now)
        return hypot(*(_half(one, alike, alpha) for one in (self.before, self.now)))

    def is_other(self, least: float, alpha: float) -> bool:
        """Whether it differs, either way, by `least` or more as measured, and beyond its error at alpha."""
        return abs(self.worse_by) >= least and abs(self.worse_by) > self.half(alpha / 2)

    def is_surely(self, least: float, alpha: float) -> bool:
        """Whether it is worse by `least` or more as measured, and beyond its error, one-sided at alpha."""
        return self.worse_by >= least and self.worse_by > self.half(alpha)


def _neighbours(*windows: Jackknifed) -> float:
    """The correlation of days that follow each other, over all windows; 0 where chance makes as much of 19 in 20
    independent series."""
    offs = [one.without - one.without.mean() for one in windows]
    scaled = [off / spread for off in offs if (spread := float(np.sqrt(np.mean(off**2)))) > ROUNDING]
    days = sum(len(off) for off in scaled)
    alike = sum(float(off[1:] @ off[:-1]) for off in scaled) / days if days else 0.0
    return alike if days and alike > SURELY_ALIKE / np.sqrt(days) else 0.0


def _half(of: Jackknifed, alike: float, alpha: float) -> float:
    """Half the width of the interval, one-sided at alpha, of a window whose days are so much alike."""
    days = len(of.without)
    independent = max(2.0, days * (1 - alike) / (1 + alike))
    error = estimate(of).standard_error * float(np.sqrt(days / independent))
    return float(stdtrit(independent - 1, 1 - alpha)) * error


def interval_of(of: Jackknifed) -> Estimate:
    """With its 95 % interval over days in order."""
    return estimate(of, in_order=True)


def tell(of: Estimate) -> str:
    return f"{of.value:.4g} ({of.low:.4g} to {of.high:.4g}, {of.clusters} days)"


def held_against(
    area: Area,
    name: str,
    moved: bool,
    harm: Harm,
    says: str,
    told: Estimate,
    reference: float,
    threshold: float,
    unit: str,
) -> Finding:
    """What was measured now, held against what it was: "moved", with its harm, or "usual"."""
    state, costs = ("moved", harm) if moved else ("usual", "none")
    return Finding(area, name, state, costs, says, told.value, told.low, told.high, reference, threshold, unit)


def try_measure(measured: Callable[[], Jackknifed]) -> Jackknifed | None:
    """None where there are too few rows, days or classes to say."""
    try:
        found = measured()
    except EmptyWindowError:
        return None
    return found if isfinite(found.value) and isfinite(interval_of(found).high) else None
