"""Quality and availability of what a model is fed: nulls, outliers, freshness, missing days and columns. Pure.

A figure has one value a day (a share of nulls, hours until delivery). The median of the window's days is held against
the medians of stretches as long as the window, side by side in the days before it, by the t-test of one new value
against B of them (Whitmore, "Prediction limits for a univariate normal observation", American Statistician 40(2), 1986)
on a scale on which such figures are nearly normal. It stands out where it is unlike them (at `alpha`, shared by all
figures of a check), beyond each of them, and by more than a step that nobody minds. A median moves only if most days
do: a single odd day, of which every quarter has some, is told and is no movement.

Measured on 18 figures without change (clustered, skewed, with rare outages), a check a day: something stands out in
0.5 to 0.8 % of checks at an alpha of 1 %. Days taken one by one, with fences of 3 interquartile ranges, stood out in
29 to 81 % of weeks, depending on how many days there are to compare with.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from math import ceil
from typing import Literal

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from ratchet.days import days_between
from ratchet.monitoring.values import Finding, Harm
from ratchet.quality import FENCE

LEAST_STRETCHES = 4  # fewer have no spread to speak of
LEAST_PARTITIONS = 7  # fewer have no rhythm
MARGIN_DAYS = 2  # beyond the longest wait there was: then a dataset has stopped
MOSTLY, CLEARLY_MORE = 0.5, 0.25  # of the rows
LAST_DAYS = 2  # a feature that is null in most rows on each of them is broken
RHYTHM_DAYS = 56  # the newest ones, from which a dataset's rhythm is taken: a first load of old days is none
TAIL = 0.001  # of the reference's values on either side: values beyond are as rare as outliers

Kind = Literal["share", "rows", "hours"]
_SCALE: dict[Kind, tuple[Callable, Callable]] = {  # and back
    "share": (lambda x: np.log((x + 0.01) / (1.01 - x)), lambda s: 1.02 / (1 + np.exp(-s)) - 0.01),
    "rows": (np.log1p, np.expm1),
    "hours": (np.arcsinh, np.sinh),  # as a logarithm far from 0, and hours may be negative
}
_UNIT: dict[Kind, str] = {"share": "share of rows", "rows": "rows", "hours": "hours"}
_LEAST_SPREAD: dict[Kind, float] = {"share": 0.1, "rows": 0.05, "hours": 0.15}  # on that scale


@dataclass(frozen=True, eq=False)
class Figure:
    """A figure by day: `was` of the days before the window, `now` of the window's, both indexed by ISO day, in order.
    `harm`: what it costs when it rises (rows: when they fall below half of what was lowest)."""

    name: str
    kind: Kind
    told: str
    was: pd.Series
    now: pd.Series
    harm: Harm


def history_figures(dataset: str, history: pd.DataFrame, first: str, last: str) -> list[Figure]:
    """The figures of a dataset from the rows of history/<dataset> (see ratchet.quality), days to `last`; the window
    begins on `first`. Of refused days only that they were refused counts (see `refused_finding`)."""
    if history.empty:
        return []
    kept = history[history["published"].astype(bool) & (history["day"] <= last)].sort_values("day", kind="stable")
    days = kept.drop_duplicates("day").set_index("day")
    quarantined = days["quarantined_rows"] / days["landed_rows"].clip(lower=1)
    found = [
        (f"{dataset}/rows", "rows", "rows a day", days["kept_rows"], "estimated"),
        (f"{dataset}/quarantined", "share", "share of rows quarantined", quarantined, "estimated"),
        (f"{dataset}/hours", "hours", "hours from a day's end to its delivery", days["delivered_after_hours"], "none"),
    ]
    for column, rows in kept.groupby("column", sort=True):
        by_day = rows.set_index("day")
        found.append((f"{dataset}/nulls.{column}", "share", f"nulls in {column}", by_day["null_rate"], "none"))
        if "outlier_rate" in by_day and by_day["outlier_rate"].notna().any():
            rate = by_day["outlier_rate"]
            found.append((f"{dataset}/outliers.{column}", "share", f"outliers in {column}", rate, "none"))
    return [_figure(name, kind, f"{dataset}: {told}", of, first, harm) for name, kind, told, of, harm in found]


def feature_figures(reference: pd.DataFrame, current: pd.DataFrame, numeric: Collection[str], names: Sequence[str]):
    """Share of nulls of each feature, and of its values outside the reference's range if it is a number. Both frames:
    `day` and features, any of which may be missing. A feature without a single value in the reference has nothing to
    be held against: its figures have no days before. What it costs that a feature moved is told by its importance, in
    ratchet.monitoring.movement: here it is none."""
    found = []
    for name in (name for name in names if name in reference and name in current):
        was, now = reference[name], current[name]
        was = was if was.notna().any() else was[:0]
        pairs = [("nulls", "nulls", was.isna(), now.isna())]
        if name in numeric:
            low, high = usual_range(was)
            beyond = [_beyond(values, low, high) for values in (was, now)]
            pairs.append(("outliers", f"values outside {low:.4g} to {high:.4g}", *beyond))
        for what, told, *flags in pairs:
            series = [_by_day(flag, frame) for flag, frame in zip(flags, (reference, current), strict=True)]
            found.append(Figure(f"features/{what}.{name}", "share", f"{name}: share of {told}", *series, "none"))
    return found


def usual_range(values: pd.Series) -> tuple[float, float]:
    """The smallest and the largest value that are no outliers: 3 interquartile ranges beyond the quartiles ("far out"
    in Tukey, Exploratory Data Analysis (1977), chapter 2), or the last TAIL of the values, whichever is wider."""
    known = _numbers(values)
    known = known[np.isfinite(known)]
    if not len(known):
        return -np.inf, np.inf
    low, first, third, high = np.quantile(known, [TAIL, 0.25, 0.75, 1 - TAIL])
    reach = FENCE * (third - first)
    return float(min(low, first - reach)), float(max(high, third + reach))


def judge_figures(figures: Sequence[Figure], alpha: float, least_share: float) -> list[Finding]:
    """A finding for each figure. `alpha`: how likely any of them may stand out by chance. `least_share`: a share that
    changed by less is nobody's business."""
    return [_judge(one, alpha / len(figures), least_share) for one in figures]


def _judge(figure: Figure, alpha: float, least_share: float) -> Finding:
    now, was = figure.now.dropna(), figure.was.dropna()
    stretches = stretch_medians(was, max(len(figure.now), 1))
    if not len(now) or len(stretches) < LEAST_STRETCHES:
        told = f"{figure.told}: {len(now)} days with a value, {len(stretches)} stretches before them"
        says = f"{told}; a day and {LEAST_STRETCHES} stretches are needed"
        return Finding("data", figure.name, "not enough data", "none", says)
    value, usual = float(now.median()), float(np.median(stretches))
    low, high = _bounds(figure.kind, stretches, alpha, _step(figure.kind, usual, least_share))
    moved, odd = not low <= value <= high, (now - usual).abs().idxmax()
    says = f"{figure.told} {value:.3g} ({stretches.min():.3g} to {stretches.max():.3g} before)"
    says += f"; farthest {now[odd]:.3g} on {odd}"
    return Finding(
        "data",
        figure.name,
        "moved" if moved else "usual",
        _harm(figure, value, stretches.min(), high) if moved else "none",
        says,
        value,
        reference=usual,
        threshold=low if value < usual else high,
        unit=_UNIT[figure.kind],
    )


def stretch_medians(was: pd.Series, days: int) -> np.ndarray:
    """The medians of stretches of so many days, side by side, the last of them the newest."""
    count = len(was) // days
    return np.median(was.to_numpy("float64")[len(was) - count * days :].reshape(count, days), axis=1)


def _bounds(kind: Kind, stretches: np.ndarray, alpha: float, step: float) -> tuple[float, float]:
    """The smallest and the largest median that is usual."""
    to, back = _SCALE[kind]
    scaled, usual = to(stretches), np.median(stretches)
    error = max(scaled.std(ddof=1), _LEAST_SPREAD[kind]) * np.sqrt(1 + 1 / len(scaled))
    reach = float(stdtrit(len(scaled) - 1, 1 - alpha / 2)) * error
    low, high = back(scaled.mean() - reach), back(scaled.mean() + reach)
    return float(min(low, stretches.min(), usual - step)), float(max(high, stretches.max(), usual + step))


def _step(kind: Kind, usual: float, least_share: float) -> float:
    return {"share": least_share, "rows": 0.1 * usual, "hours": 1.0}[kind]


def _harm(figure: Figure, value: float, lowest: float, high: float) -> Harm:
    harmful = value < lowest / 2 if figure.kind == "rows" else value > high
    return figure.harm if harmful else "none"


def broken_features(
    reference: pd.DataFrame, current: pd.DataFrame, names: Sequence[str], least_rows: int
) -> list[Finding]:
    """Features that are unusable (null, or infinite) in most rows on each of the last LAST_DAYS days, clearly more than
    on as many days in a row of the reference; no finding of the others. "Not enough data" of each feature where these
    days have fewer rows than `least_rows` or the reference is shorter, and of features without a single value in
    `current`: those are inputs that are broken (ratchet.monitoring.movement)."""
    days = sorted(current["day"].unique())[-LAST_DAYS:] if len(current) else []
    newest = current[current["day"].isin(days)]
    enough = len(days) == LAST_DAYS and len(newest) >= least_rows and reference["day"].nunique() >= LAST_DAYS
    known = [name for name in names if name in reference and name in current and current[name].notna().any()]
    unknown = [name for name in names if not enough or name not in known]
    says = f"{len(newest)} rows on the last {len(days)} days, and no reference or no value to compare"
    return [
        *(one for name in known if enough and (one := _broken(name, reference, newest))),
        *(Finding("data", f"features/{name}", "not enough data", "none", f"{name}: {says}") for name in unknown),
    ]


def _broken(name: str, reference: pd.DataFrame, newest: pd.DataFrame) -> Finding | None:
    was, now = (_by_day(_unusable(frame[name]), frame) for frame in (reference, newest))
    share, worst = float(now.min()), _worst(was)
    if share <= MOSTLY or share < worst + CLEARLY_MORE:
        return None
    says = f"{name}: unusable in {share:.0%} of rows or more on each of the last {LAST_DAYS} days; {worst:.0%} before"
    numbers = {"value": share, "reference": float(was.mean()), "threshold": max(MOSTLY, worst + CLEARLY_MORE)}
    return Finding("data", f"features/{name}", "broken data", "broken", says, **numbers, unit="share")


def _worst(shares: pd.Series) -> float:
    """The highest share that was reached on each of LAST_DAYS days in a row."""
    return float(shares.rolling(LAST_DAYS).min().max())


def _unusable(values: pd.Series) -> pd.Series:
    """Null; of numbers infinite, too."""
    if not pd.api.types.is_numeric_dtype(values):
        return values.isna()
    return pd.Series(~np.isfinite(_numbers(values)), index=values.index)


def refused_finding(dataset: str, history: pd.DataFrame, first: str, last: str) -> Finding:
    """Days of the window whose last drop was refused, by the rows of history/<dataset>. Ingestion has raised
    an alert of each: here it is no harm more."""
    refused = history[~history["published"].astype(bool)] if len(history) else pd.DataFrame({"day": []})
    days = sorted({day for day in refused["day"] if first <= day <= last})
    says = f"{dataset}: {_count(days, 'drop')} refused from {first} to {last}{_named(days)}"
    state = "moved" if days else "usual"
    return Finding("data", f"{dataset}/refused", state, "none", says, float(len(days)), threshold=0.0, unit="days")


def missing_finding(dataset: str, days: Collection[str], first: str, last: str) -> Finding:
    """Days of the window before the dataset's newest that were not published; against the stretches of as many days
    before the window. `days`: those published."""
    if not days or max(days) < first:
        says = f"{dataset}: nothing published from {first} to {last}"
        return Finding("data", f"{dataset}/missing", "not enough data", "none", says)
    window = days_between(first, min(last, max(days)))
    missing = [day for day in window if day not in days]
    before = [float(day not in days) for day in days_between(min(days), first)[:-1]]
    count = len(before) // len(window)
    usual = max((sum(before[n * len(window) : (n + 1) * len(window)]) for n in range(count)), default=0.0)
    says = f"{dataset}: {_count(missing, 'day')} missing of {len(window)}{_named(missing)}; {usual:.0f} at most before"
    state, harm = ("moved", "estimated") if len(missing) > usual else ("usual", "none")
    numbers = {"value": float(len(missing)), "reference": usual, "threshold": usual, "unit": "days"}
    return Finding("data", f"{dataset}/missing", state, harm, says, **numbers)


def stopped_finding(dataset: str, delivered: Mapping[str, float], now: str) -> Finding:
    """Whether a dataset has stopped coming. `delivered`: {day: hours from its end to its first delivery}; `now`: the
    day that the model has reached, which goes on without a dataset after `score_when.or_after_days`. Late beyond the
    longest wait that there was in the newest RHYTHM_DAYS days; broken MARGIN_DAYS later."""
    name, days = f"{dataset}/stopped", sorted(day for day in delivered if day <= now)[-RHYTHM_DAYS:]
    if len(days) < LEAST_PARTITIONS:
        says = f"{dataset}: {len(days)} days published, {LEAST_PARTITIONS} are needed to know its rhythm"
        return Finding("data", name, "not enough data", "none", says)
    gap = max(_days_after(one, other) for one, other in pairwise(days))
    usual = gap - 1 + max(0, ceil(max(delivered[day] for day in days) / 24))
    waited = _days_after(days[-1], now)
    says = f"{dataset}: its newest day is {days[-1]}, {waited} days before {now}; {usual} at most so far"
    numbers = {"value": float(waited), "reference": float(usual), "threshold": float(usual + MARGIN_DAYS)}
    if waited > usual + MARGIN_DAYS:
        return Finding("data", name, "broken data", "broken", f"{says}: it has stopped", **numbers, unit="days")
    state, harm = ("moved", "estimated") if waited > usual else ("usual", "none")
    return Finding("data", name, state, harm, says, **numbers, unit="days")


def _figure(name: str, kind: Kind, told: str, values: pd.Series, first: str, harm: Harm) -> Figure:
    values = values.astype("float64")
    return Figure(name, kind, told, values[values.index < first], values[values.index >= first], harm)


def _by_day(flag: pd.Series, frame: pd.DataFrame) -> pd.Series:
    return flag.astype("float64").groupby(frame["day"]).mean()


def _numbers(values: pd.Series) -> np.ndarray:
    return pd.to_numeric(values, errors="coerce").to_numpy("float64", na_value=np.nan)


def _beyond(values: pd.Series, low: float, high: float) -> pd.Series:
    """An infinite value is beyond; a null is not."""
    numbers = _numbers(values)
    return pd.Series((numbers < low) | (numbers > high), index=values.index)


def _days_after(first: str, then: str) -> int:
    return (date.fromisoformat(then) - date.fromisoformat(first)).days


def _count(of: Sequence, what: str) -> str:
    return f"{len(of)} {what}{'' if len(of) == 1 else 's'}"


def _named(days: Sequence[str], most: int = 5) -> str:
    told = ", ".join(days[:most]) + (f" and {len(days) - most} more" if len(days) > most else "")
    return f" ({told})" if days else ""
