"""The history of findings: the same check leaves the same rows, one made again replaces it, and trends are told."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ratchet.days import shift_day
from ratchet.lake import Lake
from ratchet.monitoring.history import COLUMNS, rows_of, standing, trend
from ratchet.monitoring.values import Finding

START = "2013-01-01"
ABOUT = {"key": "k", "version": 1, "replaces": None}


def finding(value: float | None, name: str = "temp", **numbers: float) -> Finding:
    return Finding("inputs", name, "usual", "none", f"{name} is as it was", value, **numbers, unit="sd")


def table(values: list, apart: int = 7, name: str = "temp") -> pd.DataFrame:
    days = [shift_day(START, apart * n) for n in range(len(values))]
    parts = [
        rows_of([finding(value, name)], {**ABOUT, "key": day}).assign(day=day)
        for day, value in zip(days, values, strict=True)
    ]
    return pd.concat(parts, ignore_index=True)


def test_rows_are_the_same_from_findings_and_from_their_record_and_survive_the_lake(tmp_path):
    found = [finding(0.1, low=0.0, high=0.2), finding(None, "wind")]
    rows = rows_of(found, ABOUT)
    pd.testing.assert_frame_equal(rows, rows_of([one.as_dict() for one in found], ABOUT))
    assert list(rows.columns) == COLUMNS and len(rows) == 2
    lake = Lake(tmp_path)
    lake.publish("drift/m", START, rows)
    lake.publish("drift/m", shift_day(START, 1), rows_of([finding(0.2)], {**ABOUT, "key": "l", "replaces": "k"}))
    back = lake.read("drift/m", START, START)
    assert back["value"].tolist()[0] == 0.1 and back["value"].isna().tolist() == [False, True]
    assert back["replaces"].isna().all() and (back["says"] == ["temp is as it was", "wind is as it was"]).all()


def test_a_check_without_findings_has_no_rows():
    assert rows_of([], ABOUT).empty and list(rows_of([], ABOUT).columns) == COLUMNS


def test_a_check_that_was_replaced_does_not_stand():
    again = rows_of([finding(5.0)], {**ABOUT, "key": "again", "replaces": START}).assign(day=START)
    whole = pd.concat([table([1.0, 2.0]), again])
    assert standing(whole)["value"].tolist() == [5.0, 2.0]


def test_what_a_check_found_is_in_no_trend_once_one_that_found_it_no_more_replaces_it():
    again = rows_of([finding(0.0, "wind")], {**ABOUT, "key": "again", "replaces": START}).assign(day=START)
    assert trend(pd.concat([table([9.0]), again]), "inputs/temp").points == 0


def test_a_rise_is_told_per_30_days_with_its_interval():
    found = trend(
        table([0.7 * n + wiggle for n, wiggle in enumerate([0.0, 0.1, -0.1, 0.05, 0, -0.05, 0.1, 0])]), "inputs/temp"
    )
    assert found.slope == pytest.approx(3.0, rel=0.1) and found.low <= found.slope <= found.high
    assert found.is_sure and found.points == 8 and found.says.startswith("inputs/temp: rising, +")
    assert trend(table([-float(n) for n in range(8)]), "inputs/temp").says.startswith("inputs/temp: falling")


def test_a_wild_value_makes_no_trend_and_noise_is_not_sure():
    flat = [1.0, 1.1, 0.9, 1.0, 1.05, 0.95, 1.0, 1.02]
    assert not trend(table(flat), "inputs/temp").is_sure
    assert not trend(table([*flat[:-1], 1000.0]), "inputs/temp").is_sure


def test_checks_that_share_their_days_count_once():
    """Daily checks of a 7-day window: a slow wave looks like a sure trend if each is counted."""
    wave = list(np.sin(np.arange(30) / 10))
    assert trend(table(wave, apart=1), "inputs/temp", apart_days=7).points == 5
    assert trend(table(wave, apart=1), "inputs/temp", apart_days=1).points == 30


def test_too_few_values_have_no_trend():
    found = trend(table([1.0, 2.0, np.nan, 3.0, 4.0]), "inputs/temp")
    assert (found.slope, found.points) == (None, 4) and "5 are needed" in found.says
    assert trend(table([1.0] * 6), "inputs/wind").points == 0
    assert trend(pd.DataFrame(columns=["day"]), "inputs/temp").points == 0
