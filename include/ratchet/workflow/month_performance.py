"""How a model did in a month, by week and by day, on outcomes that have arrived."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING

from ratchet.days import days_between
from ratchet.deployment import Deployment
from ratchet.errors import EmptyWindowError
from ratchet.specs import ModelSpec

if TYPE_CHECKING:
    import pandas as pd

LEAST_WEEK = 4  # days; a shorter rest of a month goes with the week before


def scored_rows(deployment: Deployment, spec: ModelSpec, first: str, last: str) -> tuple[pd.DataFrame, int]:
    """The month's predictions of record whose outcomes are known now: day, label and scores; and how many rows are left
    out because their label can't be used."""
    from ratchet.labels import split_usable
    from ratchet.snapshot import read_labels

    wanted = ["day", *spec.score_columns, "label"]
    rows = deployment.lake.read(f"predictions/{spec.name}", first, last)
    if rows.empty:
        return rows.reindex(columns=wanted), 0
    record = {day: one.inputs_digest for day, one in deployment.ledger.scored_days(spec.name).items()}
    rows = rows[rows["inputs_digest"] == rows["day"].map(record)]
    keys = deployment.dataset(spec.scored_dataset).key
    labels = read_labels(spec, deployment.datasets.good, deployment.published, first, last)
    joined = rows.reindex(columns=[*keys, "day", *spec.score_columns]).merge(labels, on=keys, how="inner")
    return split_usable(spec, joined[wanted].dropna(subset=spec.score_columns))


def weeks_of(first: str, last: str) -> list[tuple[str, str]]:
    """Stretches of 7 days, the last one of LEAST_WEEK to 6 + LEAST_WEEK."""
    days = days_between(first, last)
    starts = list(range(0, len(days), 7))
    if len(days) - starts[-1] < LEAST_WEEK:
        starts.pop()
    ends = [*(start - 1 for start in starts[1:]), len(days) - 1]
    return [(days[start], days[end]) for start, end in zip(starts, ends, strict=True)]


def measure_days(spec: ModelSpec, rows: pd.DataFrame, first: str, last: str) -> dict:
    """{from, to, value, low, high, rows, days, note}: the metric with its 95 % interval over days; the note says why
    there is none."""
    from ratchet.statistics import estimate, measure

    mine = rows[(rows["day"] >= first) & (rows["day"] <= last)]
    told = {"from": first, "to": last, "value": None, "low": None, "high": None, "rows": len(mine)}
    told["days"] = int(mine["day"].nunique())
    try:
        measured = measure(spec.problem.success.metric, mine["label"], mine[spec.score_columns], mine["day"])
    except EmptyWindowError as error:
        return told | {"note": f"{error.what} ({error.seen})"}
    found = estimate(measured, in_order=True)
    return told | {name: _finite(getattr(found, name)) for name in ("value", "low", "high")} | {"note": None}


def value_of_day(spec: ModelSpec, rows: pd.DataFrame, day: str) -> float | None:
    """The metric of one day; it has no interval, for its rows share their day."""
    from ratchet.statistics import measure

    mine = rows[rows["day"] == day]
    try:
        found = measure(spec.problem.success.metric, mine["label"], mine[spec.score_columns], mine.index)
    except EmptyWindowError:
        return None
    return _finite(found.value)


def _finite(value: float) -> float | None:
    return float(value) if isfinite(value) else None
