"""The figures of a day's data, for a table that shows how they move from day to day: history/<dataset>."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ratchet.checked_days import CheckedDay, delivered_after_hours
from ratchet.specs import ColumnType, DatasetSpec

FENCE = 3.0  # times the interquartile range; "far out" in Tukey, Exploratory Data Analysis (1977), chapter 2


def partition_history(checked: CheckedDay, spec: DatasetSpec) -> pd.DataFrame:
    """A row per column of the spec. Of the day, the same in each row:

    `day`; `drop_sha256`; `published` (False: the day was refused); `landed_rows`, of the file, all of them in
    `kept_rows` or `quarantined_rows`; `delivered_after_hours`, from the end of the event day to the delivery.

    Of the column, over the rows kept: `column`; `type`; `null_rate`, 0 to 1; `outlier_rate` (int64, float64: the share
    of the values there are that lie more than 3 interquartile ranges below the first or above the third quartile of
    the day); `distinct` (string: different values). NaN or null where it doesn't apply or there is nothing to count.
    """
    rows = checked.rows
    columns = [_column_figures(name, kind, rows[name]) for name, kind in spec.columns.items()]
    return (
        pd.DataFrame(columns)
        .astype({"distinct": "Int64"})
        .assign(
            day=checked.drop.day,
            drop_sha256=checked.drop.sha256,
            published=not checked.refusals,
            landed_rows=checked.landed,
            kept_rows=len(rows),
            quarantined_rows=len(checked.quarantine),
            delivered_after_hours=delivered_after_hours(checked.drop, spec),
        )
    )


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
