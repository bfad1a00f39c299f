"""Days whose data were unlike those of other days, by the quality history (ratchet.quality).

A column that moved because the world did looks the same to a drift statistic as one that broke on its way in. Pure.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from ratchet.quality import FENCE

LEAST_DAYS = 4  # of the reference: fewer have no quartiles
Figure = Literal["rows", "quarantined", "refused", "hours", "nulls"]
_TOLD: dict[Figure, str] = {
    "rows": "rows kept",
    "quarantined": "share of rows quarantined",
    "refused": "the last drop refused",
    "hours": "hours until delivered",
    "nulls": "share of nulls",
}
_LEAST = {"quarantined": 0.01, "refused": 0.5, "hours": 1.0, "nulls": 0.01}  # a smaller step away is nobody's worry
_LEAST_ROWS = 0.1  # of the reference's median


@dataclass(frozen=True)
class Unusual:
    """A figure that was far out on some `days` (in order). `rows`: kept, 0 for a day that is missing; `quarantined`: of
    the rows landed, 0 to 1; `refused`: 1 for a day whose last drop was; `hours`: from the end of the day to its
    delivery; `nulls`: of the rows kept, 0 to 1, in `column`. `worst`: the value farthest out. `usual`: the smallest and
    the largest of the reference's days."""

    dataset: str
    figure: Figure
    column: str | None
    days: list[str]
    worst: float
    usual: list[float]

    def __str__(self) -> str:
        what = f"{_TOLD[self.figure]}{f' in {self.column}' if self.column else ''}"
        days = f"{', '.join(self.days[:5])}{f' and {len(self.days) - 5} more' if len(self.days) > 5 else ''}"
        low, high = self.usual
        return f"{self.dataset}: {what} {self.worst:.3g} ({low:.3g} to {high:.3g} in the reference) on {days}"


def unusual_days(
    dataset: str, reference: pd.DataFrame, current: pd.DataFrame, expected: Collection[str]
) -> list[Unusual] | None:
    """What stands out in the history of the days now (`current`) against that of the `reference` days.

    A value stands out if no reference day had one so low or so high, and it lies farther below their first or above
    their third quartile than 3 interquartile ranges ("far out" in Tukey, Exploratory Data Analysis (1977), chapter 2)
    and than a step that nobody minds: 0.01 of a share, an hour, a tenth of the rows. Both frames: rows of
    history/<dataset>. `expected`: days on which there should be rows. None: too few reference days to tell.
    """
    if reference.empty or reference["day"].nunique() < LEAST_DAYS:
        return None
    was, now = _figures(reference), _figures(current) if len(current) else {}
    missing = pd.Series(0.0, index=sorted(set(expected) - set(current["day"])))
    now["rows", None] = pd.concat([now.get(("rows", None), missing.head(0)), missing]).sort_index()
    found = [_unusual(dataset, figure, was[figure].dropna(), now[figure].dropna()) for figure in now if figure in was]
    return [one for one in found if one]


def _figures(history: pd.DataFrame) -> dict[tuple[Figure, str | None], pd.Series]:
    """By figure and column, a value for each day."""
    days = history.drop_duplicates("day").set_index("day")
    of_day = {
        "rows": days["kept_rows"],
        "quarantined": days["quarantined_rows"] / days["landed_rows"].clip(lower=1),
        "refused": ~days["published"],
        "hours": days["delivered_after_hours"],
    }
    of_column = history.groupby("column")
    nulls = {("nulls", name): rows.set_index("day")["null_rate"] for name, rows in of_column}
    return {(name, None): values.astype("float64") for name, values in of_day.items()} | nulls


def _unusual(dataset: str, figure: tuple[Figure, str | None], was: pd.Series, now: pd.Series) -> Unusual | None:
    if len(was) < LEAST_DAYS:
        return None
    first, middle, third = was.quantile([0.25, 0.5, 0.75])
    reach = max(FENCE * (third - first), _LEAST.get(figure[0], _LEAST_ROWS * middle))
    low, high = min(first - reach, was.min()), max(third + reach, was.max())
    out = now[(now < low) | (now > high)]
    if out.empty:
        return None
    worst = out[(out - middle).abs().idxmax()]
    usual = [float(was.min()), float(was.max())]
    return Unusual(dataset, *figure, sorted(out.index), float(worst), usual)
