"""What is kept of each day's last check: the figures of its data, in history/<dataset>, and of a drop that couldn't be
read why not, there and in quality/<dataset>."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ratchet.checked_days import CheckedDay
from ratchet.drops import Drop
from ratchet.expectations import Check
from ratchet.made_columns import delivered_after_hours
from ratchet.specs import ColumnType, DatasetSpec

FENCE = 3.0  # times the interquartile range; "far out" in Tukey, Exploratory Data Analysis (1977), chapter 2


@dataclass(frozen=True)
class UnreadDrop:
    """A delivery of `day` of which not a row could be taken in, and why. `drop` None: its manifest can't be read.
    `final`: these bytes will never do; otherwise they may not all have arrived yet."""

    day: str
    drop: Drop | None
    reason: str
    final: bool

    @property
    def sha256(self) -> str:
        return self.drop.sha256 if self.drop else ""

    @property
    def delivery(self) -> str:
        """What the refusal goes on record under; "": whatever is delivered, it is tried again."""
        return self.drop.delivery if self.drop and self.final else ""


def partition_history(checked: CheckedDay, spec: DatasetSpec) -> pd.DataFrame:
    """A row per column of the spec. Of the day, the same in each row:

    `day`; `drop_sha256`; `published` (False: the day was refused); `landed_rows`, of the file, all of them in
    `kept_rows` or `quarantined_rows`; `delivered_after_hours`, from the end of the event day to the delivery.

    Of the column, over the rows kept: `column`; `type`; `null_rate`, 0 to 1; `outlier_rate` (int64, float64: the share
    of the values there are that lie more than 3 interquartile ranges below the first or above the third quartile of
    the day); `distinct` (string: different values). NaN or null where it doesn't apply or there is nothing to count.
    """
    rows = checked.rows
    return _figures(
        spec,
        rows,
        day=checked.drop.day,
        drop_sha256=checked.drop.sha256,
        published=not checked.refusals,
        landed_rows=checked.landed,
        kept_rows=len(rows),
        quarantined_rows=len(checked.quarantine),
        delivered_after_hours=delivered_after_hours(checked.drop, spec),
    )


def history_with_unread(held: pd.DataFrame, unread: UnreadDrop, spec: DatasetSpec) -> pd.DataFrame | None:
    """The rows of a day of which `held` are there: no rows, REFUSED. None: they stay as they are, since they tell that
    already, or are those of what is published. `drop_sha256` is "" where no manifest says it."""
    told = _figures(
        spec,
        pd.DataFrame(columns=list(spec.columns)),
        day=unread.day,
        drop_sha256=unread.sha256,
        published=False,
        landed_rows=0,
        kept_rows=0,
        quarantined_rows=0,
        delivered_after_hours=delivered_after_hours(unread.drop, spec) if unread.drop else np.nan,
    )
    if len(held) and (held["published"].any() or _tell_the_same(held, told, ["column", "drop_sha256", "landed_rows"])):
        return None
    return told


def quality_with_unread(held: pd.DataFrame, unread: UnreadDrop, recipe: str) -> pd.DataFrame | None:
    """The rows of a day of which `held` are there: what was found in the published drop, if any, and why this one can't
    be used. None: they tell that already."""
    check = Check(unread.day, "the day as a whole", "critical", False, 0, "no row taken in", unread.reason, True)
    told = pd.DataFrame([vars(check)]).assign(published=False, drop_sha256=unread.sha256, recipe=recipe)
    if held.empty:
        return told
    stands, noted = held[held["published"]], held[~held["published"]]
    if _tell_the_same(noted, told, ["drop_sha256", "expected", "recipe"]):
        return None
    return pd.concat([stands, told])


def _tell_the_same(held: pd.DataFrame, told: pd.DataFrame, columns: list[str]) -> bool:
    return held[columns].to_numpy().tolist() == told[columns].to_numpy().tolist()


def _figures(spec: DatasetSpec, rows: pd.DataFrame, **of_the_day: object) -> pd.DataFrame:
    columns = [_column_figures(name, kind, rows[name]) for name, kind in spec.columns.items()]
    return pd.DataFrame(columns).astype({"distinct": "Int64"}).assign(**of_the_day)


def _column_figures(name: str, kind: ColumnType, values: pd.Series) -> dict:
    number = kind in ("int64", "float64")
    return {
        "column": name,
        "type": kind,
        "null_rate": values.isna().mean() if len(values) else np.nan,
        "outlier_rate": _outlier_rate(values) if number else np.nan,
        "distinct": values.nunique() if kind == "string" else None,
    }


def _outlier_rate(values: pd.Series) -> float:
    known = values.dropna().to_numpy("float64")
    if not len(known):
        return np.nan
    first, third = np.quantile(known, [0.25, 0.75])
    reach = FENCE * (third - first)
    return float(np.mean((known < first - reach) | (known > third + reach)))
