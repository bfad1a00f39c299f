"""Quality of what a model is fed: a break that lasts is found and named, odd days and a steady world are not."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ratchet.days import days_between, shift_day
from ratchet.monitoring.data_quality import (
    Figure,
    broken_features,
    feature_figures,
    history_figures,
    judge_figures,
    missing_finding,
    refused_finding,
    stopped_finding,
)

FIRST, START, LAST = "2013-01-01", "2013-03-01", "2013-03-07"
BEFORE, WINDOW = days_between(FIRST, shift_day(START, -1)), days_between(START, LAST)


def history(changed: dict[str, dict] | None = None, **window: object) -> pd.DataFrame:
    """As history/<dataset> has it: a row for each column and day. `window`: figures of the window's days."""
    draw, rows = np.random.default_rng(1), []
    for day in [*BEFORE, *WINDOW]:
        kept = int(draw.normal(1000, 30))
        of_day = {"published": True, "quarantined_rows": 0, "delivered_after_hours": 6 + draw.exponential()}
        of_day |= {"kept_rows": kept, "landed_rows": kept, "null_rate": draw.beta(2, 100), "outlier_rate": 0.001}
        of_day |= (window if day in WINDOW else {}) | (changed or {}).get(day, {})
        rows += [{"day": day, "column": name, **of_day} for name in ("temp", "wind")]
    return pd.DataFrame(rows)


def found(table: pd.DataFrame) -> dict:
    figures = history_figures("weather", table, START, LAST)
    return {one.name: one for one in judge_figures(figures, alpha=0.005, least_share=0.02)}


def test_a_steady_world_is_usual_in_every_figure():
    told = found(history())
    assert {one.state for one in told.values()} == {"usual"}
    assert set(told) == {
        *(f"weather/{name}" for name in ("rows", "quarantined", "hours")),
        *(f"weather/{what}.{name}" for what in ("nulls", "outliers") for name in ("temp", "wind")),
    }


@pytest.mark.parametrize(
    ("window", "name", "harm"),
    [
        ({"null_rate": 0.4}, "weather/nulls.temp", "none"),
        ({"kept_rows": 400}, "weather/rows", "estimated"),
        ({"kept_rows": 2000}, "weather/rows", "none"),
        ({"quarantined_rows": 40}, "weather/quarantined", "estimated"),
        ({"delivered_after_hours": 40.0}, "weather/hours", "none"),
        ({"outlier_rate": 0.1}, "weather/outliers.wind", "none"),
    ],
)
def test_a_break_that_lasts_is_named_with_what_it_costs(window, name, harm):
    one = found(history(**window))[name]
    assert (one.state, one.harm) == ("moved", harm)
    (value,) = window.values()
    assert one.value == pytest.approx(value, rel=0.1) or "quarantined" in name
    assert min(one.reference, one.value) < one.threshold < max(one.reference, one.value)


def test_a_single_odd_day_is_told_and_is_no_movement():
    one = found(history({WINDOW[3]: {"null_rate": 0.9}}))["weather/nulls.temp"]
    assert one.state == "usual" and f"farthest 0.9 on {WINDOW[3]}" in one.says


def test_too_few_days_before_say_nothing():
    few = history(null_rate=0.9)
    told = found(few[few["day"] >= shift_day(START, -20)])
    assert {one.state for one in told.values()} == {"not enough data"}
    assert history_figures("weather", pd.DataFrame(columns=["day"]), START, LAST) == []


def test_the_false_alarm_rate_of_a_steady_world_is_held():
    """100 driftless checks of 10 figures: skewed, like the day before, with outages of a day to three. Days taken one
    by one, with fences of 3 interquartile ranges, stand out in most weeks of this world."""
    draw, checks, far_out, days = np.random.default_rng(7), [], [], [*BEFORE, *WINDOW]
    for _ in range(100):
        figures = [_steady(draw, kind, days) for kind in ["clustered"] * 3 + ["skewed"] * 3 + ["outages"] * 4]
        told = judge_figures(figures, alpha=0.01, least_share=0.02)
        checks.append(any(one.state == "moved" for one in told))
        far_out.append(any(_beyond_fences(one) for one in figures))
    assert np.mean(checks) <= 0.03  # 1 % and its error: a true 1 % gives no more in 98 of 100 cases
    assert np.mean(far_out) > 0.3


def _steady(draw: np.random.Generator, kind: str, days: list[str]) -> Figure:
    count, noise = len(days), draw.normal(size=len(days))
    if kind == "clustered":
        for n in range(1, count):
            noise[n] = 0.7 * noise[n - 1] + 0.7 * noise[n]
        values = 1 / (1 + np.exp(3 - 0.8 * noise))
    elif kind == "skewed":
        values = draw.beta(2, 100, count)
    else:
        values = np.zeros(count)
        for at in np.flatnonzero(draw.uniform(size=count) < 0.02):
            values[at : at + draw.integers(1, 4)] = draw.uniform(0.02, 0.6)
    series = pd.Series(values, days)
    return Figure(kind, "share", kind, series[: len(BEFORE)], series[len(BEFORE) :], "none")


def _beyond_fences(figure: Figure) -> bool:
    first, third = figure.was.quantile([0.25, 0.75])
    reach = max(3 * (third - first), 0.01)
    low, high = min(first - reach, figure.was.min()), max(third + reach, figure.was.max())
    return bool(((figure.now < low) | (figure.now > high)).any())


def frame(days: list[str], seed: int, **columns: object) -> pd.DataFrame:
    draw, size = np.random.default_rng(seed), 40 * len(days)
    made = {"day": np.repeat(days, 40), "temp": draw.normal(size=size), "carrier": draw.choice(["x", "y"], size)}
    return pd.DataFrame({**made, **columns})


REFERENCE = frame(BEFORE, 1)


def of_features(current: pd.DataFrame, reference: pd.DataFrame = REFERENCE) -> dict:
    figures = feature_figures(reference, current, ["temp"], ["temp", "carrier"])
    judged = judge_figures(figures, 0.005, 0.02)
    return {one.name: one for one in [*judged, *broken_features(reference, current, ["temp", "carrier"], 50)]}


def test_values_outside_the_reference_s_range_are_outliers_and_infinity_is_one():
    current = frame(WINDOW, 2)
    assert {one.state for one in of_features(current).values()} == {"usual"}
    for far in (1000.0, np.inf, -np.inf):
        stuck = current.assign(temp=np.where(np.arange(len(current)) % 5 == 0, far, current["temp"]))
        assert of_features(stuck)["features/outliers.temp"].state == "moved"
    assert "features/outliers.carrier" not in of_features(current)


@pytest.mark.parametrize("reference", [REFERENCE.iloc[:0].astype(object), REFERENCE.assign(temp=None, carrier=None)])
def test_without_values_to_compare_each_figure_of_a_feature_says_that_nobody_looked(reference):
    """One that is left out would count as usual again."""
    found = of_features(frame(WINDOW, 2), reference)
    assert {"features/nulls.temp", "features/outliers.temp", "features/nulls.carrier"} <= set(found)
    told = {one.name: one.state for one in found.values() if "." in one.name}
    assert set(told.values()) == {"not enough data"}


def test_a_feature_null_in_most_rows_on_the_last_days_is_broken_data():
    current = frame(WINDOW, 2)
    late = current["day"] >= WINDOW[-2]
    for unusable in (np.nan, np.inf):
        one = of_features(current.assign(temp=current["temp"].mask(late, unusable)))["features/temp"]
        assert (one.state, one.harm, one.level, one.value) == ("broken data", "broken", "page", 1.0)


@pytest.mark.parametrize("nulls", [[-1], [0, 1, 2], [-3, -2]])
def test_an_outage_that_is_over_or_a_day_old_is_not(nulls):
    current = frame(WINDOW, 2)
    out = current["day"].isin([WINDOW[n] for n in nulls])
    assert "features/temp" not in of_features(current.assign(temp=current["temp"].mask(out)))


def test_what_was_as_empty_before_is_not_broken_now():
    """Gusts of wind: null in three rows of four, and in all rows of some days."""
    calm = REFERENCE["day"].isin(BEFORE[20:22])
    mostly = REFERENCE.assign(temp=REFERENCE["temp"].mask((REFERENCE.index % 4 > 0) | calm))
    current = frame(WINDOW, 2)
    calm_now = current.assign(temp=current["temp"].mask((current.index % 4 > 0) | (current["day"] >= WINDOW[-2])))
    assert "features/temp" not in of_features(calm_now, mostly)
    assert of_features(calm_now)["features/temp"].state == "broken data"


def test_few_rows_break_nothing():
    few = frame(WINDOW, 2).groupby("day").head(10)
    found = of_features(few.assign(temp=few["temp"].mask(few["day"] >= WINDOW[-2])))
    assert {found[f"features/{name}"].state for name in ("temp", "carrier")} == {"not enough data"}


def test_refused_drops_of_the_window_are_counted():
    table = history({WINDOW[1]: {"published": False}, BEFORE[3]: {"published": False}})
    one = refused_finding("weather", table, START, LAST)
    assert (one.value, one.state, one.harm) == (1.0, "moved", "none") and WINDOW[1] in one.says
    assert refused_finding("weather", table.head(0), START, LAST).state == "usual"


def test_a_day_that_is_missing_is_news_where_none_was_before():
    without = [day for day in [*BEFORE, *WINDOW] if day != WINDOW[2]]
    one = missing_finding("weather", without, START, LAST)
    assert (one.value, one.state, one.harm) == (1.0, "moved", "estimated") and WINDOW[2] in one.says
    weekdays = [day for day in [*BEFORE, *WINDOW] if pd.Timestamp(day).dayofweek < 5]
    assert missing_finding("weather", weekdays, START, LAST).state == "usual"
    assert missing_finding("weather", WINDOW[:3], START, LAST).state == "usual"  # the rest has not come: see stopped
    assert missing_finding("weather", [], START, LAST).state == "not enough data"


@pytest.mark.parametrize(
    ("last", "state"), [(28, "usual"), (27, "usual"), (26, "moved"), (25, "moved"), (24, "broken data")]
)
def test_a_dataset_that_stopped_coming_is_late_first_and_then_broken(last, state):
    """Delivered 20 hours after its day, so that it may be a day behind; two more are the margin."""
    delivered = dict.fromkeys(days_between("2013-02-01", f"2013-02-{last}"), 20.0)
    one = stopped_finding("outcomes", delivered, "2013-02-28")
    assert one.state == state and one.level == {"usual": "note", "moved": "warn", "broken data": "page"}[state]


def test_a_dataset_with_gaps_may_have_them_and_one_without_a_rhythm_has_not_stopped():
    weekly = {day: 5.0 for day in days_between("2013-01-01", "2013-02-14")[::7]}
    assert stopped_finding("rates", weekly, "2013-02-19").state == "usual"
    assert stopped_finding("rates", weekly, "2013-02-25").state == "broken data"
    assert stopped_finding("rates", {"2013-01-01": 3.0}, "2013-12-31").state == "not enough data"
