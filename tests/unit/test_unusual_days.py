"""A day's data stand out where no reference day was like it, and far out; else the world has moved, not the data."""

from __future__ import annotations

import json
from dataclasses import asdict

import pandas as pd
import pytest

from ratchet.unusual_days import LEAST_DAYS, Unusual, unusual_days

REFERENCE = [f"2013-01-{n:02}" for n in range(1, 15)]
NOTHING = pd.DataFrame(columns=["day"])  # as a table reads that has no such day, or isn't there
NOW = ["2013-02-01", "2013-02-02", "2013-02-03"]


def history(days: list[str], changed: dict[str, dict] | None = None, **figures: object) -> pd.DataFrame:
    """As it lies in history/<dataset>: 1000 rows a day, one or two more or less, with 2 % of nulls in `temp`."""
    rows = []
    for number, day in enumerate(days):
        of_day = {"kept_rows": 1000 + number % 3, "quarantined_rows": 0, "published": True}
        of_day |= {"delivered_after_hours": 6.5, "landed_rows": 1000 + number % 3, "null_rate": 0.02 + number % 2 / 500}
        of_day |= figures | (changed or {}).get(day, {})
        rows.append({"day": day, "column": "temp", **of_day})
        rows.append({"day": day, "column": "id", **of_day, "null_rate": 0.0})
    return pd.DataFrame(rows).astype({"kept_rows": "Int64", "published": "boolean"})


def look(changed: dict[str, dict] | None = None, days: list[str] = NOW) -> list[Unusual] | None:
    return unusual_days("weather", history(REFERENCE), history(days, changed), NOW)


def test_days_like_those_of_the_reference_do_not_stand_out():
    assert look() == []
    assert look({NOW[1]: {"kept_rows": 960, "null_rate": 0.028, "delivered_after_hours": 7.2}}) == []


@pytest.mark.parametrize(
    ("changed", "figure", "column", "worst"),
    [
        ({"null_rate": 0.6}, "nulls", "temp", 0.6),
        ({"kept_rows": 500}, "rows", None, 500.0),
        ({"quarantined_rows": 500}, "quarantined", None, 500 / 1001),
        ({"delivered_after_hours": 40.0}, "hours", None, 40.0),
        ({"published": False}, "refused", None, 1.0),
    ],
)
def test_a_figure_that_is_far_out_is_named_with_its_days_and_what_is_usual(changed, figure, column, worst):
    found = look({NOW[1]: changed})
    one = next(one for one in found if one.column == column)
    assert (one.dataset, one.figure, one.days) == ("weather", figure, [NOW[1]])
    assert one.worst == pytest.approx(worst)
    assert one.usual[0] <= one.usual[1] and not one.usual[0] <= worst <= one.usual[1]
    assert NOW[1] in str(one) and "weather" in str(one)
    assert {other.figure for other in found} == {figure}
    assert json.loads(json.dumps(asdict(one), allow_nan=False)) == asdict(one)


def test_the_days_of_one_figure_are_told_together():
    (found,) = (one for one in look({day: {"kept_rows": 10 * n} for n, day in enumerate(NOW)}) if one.figure == "rows")
    assert (found.days, found.worst) == (NOW, 0.0)


def test_a_day_that_is_missing_has_no_rows():
    (found,) = look(days=NOW[1:])
    assert (found.figure, found.days, found.worst) == ("rows", [NOW[0]], 0.0)
    (found,) = unusual_days("weather", history(REFERENCE), NOTHING, NOW)
    assert (found.figure, found.days) == ("rows", NOW)
    assert unusual_days("planes", history(REFERENCE), NOTHING, expected=[]) == []


def test_what_a_reference_day_has_shown_does_not_stand_out():
    reference = history(REFERENCE, {REFERENCE[3]: {"null_rate": 0.7}})
    now = history(NOW, {NOW[0]: {"null_rate": 0.6}, NOW[1]: {"null_rate": 0.8}})
    assert {day for one in unusual_days("weather", reference, now, NOW) for day in one.days} == {NOW[1]}


def test_too_few_reference_days_say_nothing():
    few = history(REFERENCE[: LEAST_DAYS - 1])
    assert unusual_days("weather", few, history(NOW, kept_rows=1), NOW) is None
    assert unusual_days("weather", NOTHING, history(NOW), NOW) is None


def test_a_column_that_is_new_has_nothing_to_be_compared_with():
    now = pd.concat([history(NOW), history(NOW, null_rate=1.0).assign(column="new")])
    assert unusual_days("weather", history(REFERENCE), now, NOW) == []
