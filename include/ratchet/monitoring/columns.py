"""A column of two frames as counts by day and value, and the few figures that are watched of it.

A number is watched by its place (the normal score of its rank in the reference), its spread (how far that lies from its
day's mean) and the share that is missing; text by the share of each of the reference's most frequent values, of all its
others, of values that the reference never held, and of what is missing. All are means over rows of something bounded,
so that no outlier decides, and all of them come from one table of counts: days by values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from scipy.special import ndtri

from ratchet.plain_text import one_line

BINS, MOST_SORTED = 256, 20_000  # quantiles that numbers are cut at, taken of about so many rows
CATEGORIES = 20  # told apart; the rest together: over hundreds of rare ones nothing can be found
LONGEST = 40  # signs of a category that are shown
MISSING, EDGE = "missing or unusable", float(ndtri(1 - 0.5 / BINS))
BY_CHANCE = 1e-9
Widths = tuple[float, float]


@dataclass(frozen=True, eq=False)
class Days:
    """A frame in order of its days. `number`: of each row's day among `days`, which are days since 1970, ascending."""

    frame: pd.DataFrame
    number: np.ndarray
    days: np.ndarray

    def where(self, kept: pd.Series) -> Days:
        """The rows that are kept, and the days that have any."""
        kept = kept.to_numpy()
        found, number = np.unique(self.number[kept], return_inverse=True)
        return Days(self.frame[kept], number, self.days[found])


@dataclass(frozen=True, eq=False)
class Part:
    """A figure that is watched, of the rows whose value `counts`: the mean of `values`; both are by value of the table.

    kind "shift": in standard deviations of the reference; "share": of rows; "spread": the mean distance of `values`
    from their day's mean, relative to the reference's."""

    kind: Literal["shift", "spread", "share"]
    name: str
    values: np.ndarray
    counts: np.ndarray


@dataclass(frozen=True, eq=False)
class Column:
    """`before` and `now`: rows by day and value of the table, whose last one is "missing". `means` and `widths`, before
    and now, are of a number's usable values: NaN where there are none. `tops`: the share of the most frequent one.
    Widths: 80 % and 98 % of the others lie within so much. `alike`: are all values of now the same?"""

    before: np.ndarray
    now: np.ndarray
    parts: Sequence[Part]
    alike: bool
    means: tuple[float, float] = (np.nan, np.nan)
    tops: tuple[float, float] = (np.nan, np.nan)
    widths: tuple[Widths, Widths] = ((np.nan, np.nan), (np.nan, np.nan))

    @property
    def known(self) -> tuple[int, int]:
        """Values that are not missing, before and now."""
        return int(self.before[:, :-1].sum()), int(self.now[:, :-1].sum())


def in_order_of_days(frame: pd.DataFrame) -> Days:
    """Rows without a day are left out. Raises ValueError for a `day` that is none."""
    if "day" not in frame:
        frame = frame.head(0).assign(day=pd.Series(dtype="datetime64[s]"))
    codes, names = pd.factorize(frame["day"])
    if (codes < 0).any():
        frame, codes = frame[codes >= 0], codes[codes >= 0]
    days = np.asarray(pd.DatetimeIndex(names), dtype="datetime64[D]").astype(np.int64)
    number = np.argsort(np.argsort(days))[codes] if len(days) else codes
    if (np.diff(number) < 0).any():
        order = np.argsort(number, kind="stable")
        frame, number = frame.iloc[order], number[order]
    return Days(frame, number, np.sort(days))


def count_numbers(name: str, before: Days, now: Days) -> Column:
    was, became = (_as_numbers(rows.frame[name]) for rows in (before, now))
    known, new = was[~np.isnan(was)], became[~np.isnan(became)]
    cuts = _cuts(known)
    tables = [_table(_bins(values, cuts), rows, len(cuts) + 3) for values, rows in ((was, before), (became, now))]
    alike = len(new) > 0 and bool(new.min() == new.max())
    tops, widths = zip(_top_and_widths(known), _top_and_widths(new), strict=True)
    return Column(
        *tables, _parts_of_numbers(tables[0].sum(axis=0), cuts), alike, (_mean(known), _mean(new)), tops, widths
    )


def _as_numbers(values: pd.Series) -> np.ndarray:
    """float64; NaN for what is missing, no number or not finite."""
    numbers = pd.to_numeric(values, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    return np.where(np.isfinite(numbers), numbers, np.nan)


def _cuts(known: np.ndarray) -> np.ndarray:
    """Where the reference is cut: a bin begins at its cut. The last cut is the greatest value."""
    if not len(known):
        return known
    inner = np.quantile(_some(known), np.arange(1, BINS) / BINS, method="lower")
    return np.unique(np.r_[known.min(), inner, known.max()])


def _bins(values: np.ndarray, cuts: np.ndarray) -> np.ndarray:
    """0: below the reference; then the bins from cut to cut; above the reference; missing."""
    bins = np.searchsorted(cuts, values, side="right")
    if len(cuts):
        bins[values > cuts[-1]] += 1
    bins[np.isnan(values)] = len(cuts) + 2
    return bins


def _parts_of_numbers(counts: np.ndarray, cuts: np.ndarray) -> list[Part]:
    """counts: of the reference, by bin."""
    known, missing = np.arange(len(counts)) < len(counts) - 1, _share(len(counts), [len(counts) - 1], MISSING)
    if not len(cuts):
        return [missing]
    if len(cuts) == 1:  # one value in all of the reference
        other = (known & (np.arange(len(counts)) != 1)).astype(float)
        return [Part("share", f"values other than {cuts[0]:.6g}", other, known), missing]
    weights = np.r_[counts[:-1], 0] / counts[:-1].sum()
    score = ndtri(np.clip(np.cumsum(weights) - weights / 2, 0.5 / BINS, 1 - 0.5 / BINS)) * known
    score[0], score[-2] = -EDGE, EDGE
    score -= weights @ score
    score /= np.sqrt(weights @ score**2)
    return [Part("shift", "mean", score, known), Part("spread", "spread", score, known), missing]


def count_text(name: str, before: Days, now: Days) -> Column:
    """A value is new if the reference never held it; and in the reference, if it was seen within as many days as now
    has, and never again: what always brings new values, such as an identifier, has not moved by bringing more."""
    (was, known), (became, seen) = (_as_text(rows.frame[name]) for rows in (before, now))
    often = np.argsort(-np.bincount(was[was >= 0], minlength=len(known)), kind="stable")[:CATEGORIES]
    other, new, missing = len(often), len(often) + 1, len(often) + 2
    place = np.where(_is_passing(was, before, _span(now), len(known)), new, other)
    place[often] = np.arange(len(often))
    at = dict(zip(known, np.minimum(place, other), strict=True))
    became_place = np.array([at.get(value, new) for value in seen], dtype=np.int64)
    tables = [
        _table(np.r_[places, missing][codes], rows, missing + 1)
        for codes, places, rows in ((was, place, before), (became, became_place, now))
    ]
    names = [*map(_quoted, known[often]), "other values", _called_new(became, became_place == new, seen), MISSING]
    parts = [_share(len(names), [at, new] if at == other else [at], name) for at, name in enumerate(names)]
    return Column(*tables, parts, alike=len(seen) == 1)


def _as_text(values: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Codes, -1 for missing, and the text that each stands for."""
    codes, known = pd.factorize(values)
    return codes, np.array([str(value) for value in known], dtype=object)


def _is_passing(codes: np.ndarray, rows: Days, days: int, values: int) -> np.ndarray:
    """Which values were seen within so many days, and never before or after."""
    known, day = codes >= 0, rows.days[rows.number]
    last, first = np.zeros(values, dtype=np.int64), np.zeros(values, dtype=np.int64)
    last[codes[known]] = day[known]  # rows are in order of days: the last one stays
    first[codes[known][::-1]] = day[known][::-1]
    return last - first < days


def _called_new(codes: np.ndarray, is_new: np.ndarray, seen: np.ndarray) -> str:
    counts = np.bincount(codes[codes >= 0], minlength=len(seen)) * is_new
    return "values never seen before" + (f", such as {_quoted(seen[counts.argmax()])}" if counts.any() else "")


def _quoted(value: str) -> str:
    return f"'{one_line(value)[:LONGEST]}'"


def _share(values: int, at: list[int], name: str) -> Part:
    """Of all rows, those with these values of the table."""
    return Part("share", name, np.isin(np.arange(values), at).astype(float), np.ones(values, dtype=bool))


def _table(codes: np.ndarray, rows: Days, values: int) -> np.ndarray:
    counts = np.bincount(rows.number * values + codes, minlength=len(rows.days) * values)
    return counts.reshape(-1, values).astype(float)


def is_constant(column: Column) -> bool:
    """Has it one value, or none at all, the same before and now?"""
    before, now = (np.flatnonzero(table.sum(axis=0)) for table in (column.before, column.now))
    return len(before) == 1 and np.array_equal(before, now)


def is_stuck(column: Column) -> bool:
    """Is now of one value, as no window of as many days of the reference was, and as chance never made it?"""
    if not column.alike:
        return False
    before, now = column.before[:, :-1], column.now[:, :-1].sum(axis=0)
    length, value = min(len(column.now), max(1, len(before) // 2)), now.argmax()
    sums = np.vstack([np.zeros(before.shape[1]), np.cumsum(before, axis=0)])
    windows = sums[length:] - sums[:-length]
    share = before.sum(axis=0)[value] / max(before.sum(), 1)
    chance = max(share ** now.sum(), _chance_of_days(before, value, len(column.now)))
    return chance < BY_CHANCE and not (windows.max(axis=1) == windows.sum(axis=1)).any()


def _chance_of_days(before: np.ndarray, value: int, days: int) -> float:
    """That so many days one after another hold that value alone, as clear skies do for a week: by how many days of the
    reference did, and how often the next one did too. 0 where none ever did."""
    alone = before[:, value] == before.sum(axis=1)
    if not alone.any():
        return 0.0
    again = (alone[1:] & alone[:-1]).sum()
    return (alone.sum() + 1) / (len(alone) + 2) * ((again + 1) / (alone[:-1].sum() + 2)) ** (days - 1)


def _span(rows: Days) -> int:
    return int(rows.days[-1] - rows.days[0]) + 1


def _some(values: np.ndarray) -> np.ndarray:
    """About MOST_SORTED of them, at even distances."""
    return values[:: max(1, len(values) // MOST_SORTED)]


def _mean(values: np.ndarray) -> float:
    return float((values / len(values)).sum()) if len(values) else np.nan  # of huge ones the sum would overflow


def _top_and_widths(values: np.ndarray) -> tuple[float, Widths]:
    if not len(values):
        return np.nan, (np.nan, np.nan)
    found, counts = np.unique(_some(values), return_counts=True)
    top = counts.argmax()
    others = np.repeat(np.delete(found, top), np.delete(counts, top)) if len(found) > 1 else found
    low, lower, upper, high = np.quantile(others, [0.01, 0.1, 0.9, 0.99])
    with np.errstate(over="ignore"):
        return float(counts[top] / counts.sum()), (float(upper - lower), float(high - low))
