"""Columns made for suites, of each row. Days are those of the dataset's zone, hours are elapsed ones, so a day has 23
to 25: `day_of_<timestamp column>`; `hours_to_<timestamp column>` and `hours_to_delivery`, from the start of the event
day; `delivered_after_hours`, from its end to the delivery.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, time

import numpy as np
import pandas as pd

from ratchet.days import shift_day
from ratchet.drops import Drop
from ratchet.expectations import Suite
from ratchet.specs import DatasetSpec

_HOUR = pd.Timedelta(hours=1)


def with_made_columns(
    frame: pd.DataFrame, spec: DatasetSpec, suite: Suite, drops: Sequence[Drop], sizes: Sequence[int]
) -> pd.DataFrame:
    """`frame`, the rows of these drops one after another, `sizes` of each, with those of the columns made for suites,
    and `drop_sha256`, that the suite looks at."""

    def each(values: Iterable) -> pd.Series:
        return repeated(values, sizes).set_axis(frame.index)

    starts, ends = zip(*(_bounds(drop, spec) for drop in drops), strict=True)
    delivered = [pd.Timestamp(drop.delivered_at) for drop in drops]
    instants = [name for name, kind in spec.columns.items() if kind == "timestamp"]
    made = {
        "drop_sha256": lambda: each(drop.sha256 for drop in drops),
        "hours_to_delivery": lambda: each((at - start) / _HOUR for at, start in zip(delivered, starts, strict=True)),
        "delivered_after_hours": lambda: each(delivered_after_hours(drop, spec) for drop in drops),
        **{f"hours_to_{name}": lambda name=name: (frame[name] - each(starts)) / _HOUR for name in instants},
        **{
            f"day_of_{name}": lambda name=name: _day_of(
                frame[name], [drop.day for drop in drops], sizes, each(starts), each(ends), spec
            )
            for name in instants
        },
    }
    return frame.assign(**{name: made[name]() for name in suite.reads(made)})


def delivered_after_hours(drop: Drop, spec: DatasetSpec) -> float:
    """Hours from the end of the event day, in the dataset's zone, to the delivery; negative for one before it."""
    return (pd.Timestamp(drop.delivered_at) - _bounds(drop, spec)[1]) / _HOUR


def repeated(values: Iterable, sizes: Sequence[int]) -> pd.Series:
    """Each of the values as many times as its size says."""
    return pd.Series(list(values)).repeat(sizes)


def _day_of(
    instants: pd.Series,
    days: Sequence[str],
    sizes: Sequence[int],
    start: pd.Series,
    end: pd.Series,
    spec: DatasetSpec,
) -> pd.Series:
    """The local day of each instant. `days`: the event days, in which most of them lie."""
    found = np.repeat(np.array(days, "datetime64[D]"), sizes)
    outside = ((instants < start) | (instants >= end)).to_numpy()
    local = instants[outside].dt.tz_convert(spec.zone).dt.tz_localize(None)
    found[outside] = local.to_numpy("datetime64[us]").astype("datetime64[D]")
    found[instants.isna().to_numpy()] = np.datetime64("NaT")
    codes, known = pd.factorize(found.astype("datetime64[s]"))
    texts = pd.array(np.datetime_as_string(known, unit="D").tolist(), dtype="str")
    return pd.Series(texts.take(codes, allow_fill=True), index=instants.index)


def _bounds(drop: Drop, spec: DatasetSpec) -> tuple[pd.Timestamp, pd.Timestamp]:
    return _midnight(drop.day, spec), _midnight(shift_day(drop.day, 1), spec)


def _midnight(day: str, spec: DatasetSpec) -> pd.Timestamp:
    local = datetime.combine(datetime.fromisoformat(day), time(), tzinfo=spec.zone)
    return pd.Timestamp(local).tz_convert("UTC").as_unit("us")
