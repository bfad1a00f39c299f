"""The history of what was found, a row per finding and check, and its trend. Pure.

Partition: the check's as-of day. Of several checks of one version as of one day the one that no other replaces stands.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields

import numpy as np
import pandas as pd
from scipy.stats import theilslopes

from ratchet.monitoring.values import Finding

LOOP = 0  # in place of a version: the loop's health is no version's (see ratchet.workflow.health)
PER_DAYS = 30
LEAST_POINTS = 5  # fewer have no trend
CONFIDENCE = 0.95
TEXTS = ("area", "name", "state", "harm", "says", "unit", "key", "replaces")
COLUMNS = [*(one.name for one in fields(Finding)), "key", "model_version", "replaces"]


def table_of(model: str) -> str:
    """Its history's table in the lake."""
    return f"drift/{model}"


@dataclass(frozen=True)
class Trend:
    """`slope` with its interval: change of the value in PER_DAYS days, in the finding's unit; None: too few points, and
    `says` tells. `points`: values that it rests on."""

    slope: float | None
    low: float | None
    high: float | None
    points: int
    says: str
    told: str = ""  # the same in short

    @property
    def is_sure(self) -> bool:
        """Whether all of the interval is on one side of no change."""
        return self.slope is not None and not self.low <= 0 <= self.high


def rows_of(findings: Iterable[Finding | Mapping], about: Mapping) -> pd.DataFrame:
    """The rows of a check in the table, one per finding: COLUMNS. `about`: the check's `key`, `version`, and the key of
    the check that it `replaces` (None: none). The same check gives the same rows."""
    found = [one.as_dict() if isinstance(one, Finding) else dict(one) for one in findings]
    told = {"key": about["key"], "model_version": about["version"], "replaces": about.get("replaces")}
    frame = pd.DataFrame([{**one, **told} for one in found], columns=COLUMNS)
    numbers = {name: "float64" for name in COLUMNS if name not in (*TEXTS, "model_version")}
    return frame.astype({**{name: "str" for name in TEXTS}, **numbers, "model_version": "int64"})


def standing(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of checks that no other one of the table replaces, in order of day."""
    if table.empty:
        return table
    return table[~table["key"].isin(table["replaces"].dropna())].sort_values("day", kind="stable", ignore_index=True)


def trend(table: pd.DataFrame, key: str, apart_days: int = 7, version: int | None = None) -> Trend:
    """The trend of a finding ("<area>/<name>") over the days of a table of such rows; of one version, or all.

    The slope is the median of the slopes between any two points, with its interval (Theil 1950; Sen, "Estimates of the
    regression coefficient based on Kendall's tau", JASA 63, 1968): a few wild values do not move it. Checks of
    neighbouring days share most of theirs: points are taken `apart_days` apart (the check's window), from the newest
    back, so that they share none.
    """
    points = _points(table, key, apart_days, version)
    if len(points) < LEAST_POINTS:
        told = f"{key}: {len(points)} values {apart_days} days or more apart, {LEAST_POINTS} are needed for a trend"
        return Trend(None, None, None, len(points), told)
    at = (pd.to_datetime(points["day"]) - pd.Timestamp(points["day"].iloc[0])).dt.days / PER_DAYS
    found = theilslopes(points["value"].to_numpy(), at.to_numpy(), alpha=CONFIDENCE)
    slope, low, high = (float(one) for one in (found.slope, found.low_slope, found.high_slope))
    unit = str(points["unit"].iloc[-1] or "") if "unit" in points else ""
    way = "no sure trend" if low <= 0 <= high else "rising" if slope > 0 else "falling"
    span = f"{points['day'].iloc[0]} to {points['day'].iloc[-1]}"
    says = f"{key}: {way}, {slope:+.3g} {unit} in {PER_DAYS} days ({low:+.3g} to {high:+.3g}), {span}"
    told = f"{way}, {slope:+.3g} in {PER_DAYS} days"
    return Trend(slope, low, high, len(points), " ".join(says.split()), told)


def _points(table: pd.DataFrame, key: str, apart_days: int, version: int | None) -> pd.DataFrame:
    """A value a day, those of the newest version where two were watched; finite ones, `apart_days` apart."""
    if table.empty:
        return table
    area, _, name = key.partition("/")
    mine = standing(table)  # of all findings: what a check found may be gone in the one that replaces it
    mine = mine[(mine["area"] == area) & (mine["name"] == name)]
    mine = mine[mine["model_version"] == version] if version is not None else mine
    mine = mine[np.isfinite(mine["value"].astype("float64"))].sort_values(["day", "model_version"], kind="stable")
    mine = mine.drop_duplicates("day", keep="last")
    kept, days = [], pd.to_datetime(mine["day"]).to_list()
    for at in reversed(range(len(days))):
        if not kept or (days[kept[-1]] - days[at]).days >= apart_days:
            kept.append(at)
    return mine.iloc[kept[::-1]]
