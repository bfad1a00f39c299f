"""What becomes of a drop's rows adds up, and a day's figures are what they say."""

import gzip
import json
import math
from dataclasses import replace
from datetime import UTC, datetime

import pandas as pd
import pytest

from ratchet import checked_days
from ratchet.checked_days import check_days
from ratchet.drops import Drop
from ratchet.errors import ReconciliationError
from ratchet.expectations import load_suite
from ratchet.lake import Lake
from ratchet.quality import partition_history
from ratchet.read_drop import read_drop
from ratchet.specs import DatasetSpec

DAY = "2013-01-01"
SPEC = DatasetSpec(
    name="things",
    description="things",
    owner="us",
    time_zone="America/New_York",
    starts=DAY,
    key=["id", "place"],
    columns={"id": "int64", "place": "string", "weight": "float64", "seen_at": "timestamp"},
    may_be_empty=["weight"],
    max_quarantined_share=0.6,
)
UNIQUE = {"type": "expect_compound_columns_to_be_unique", "kwargs": {"column_list": ["id", "place"]}}
AT_MOST = {"type": "expect_column_values_to_be_between", "kwargs": {"column": "weight", "max_value": 1000}}
NOON = "2013-01-01T17:00:00Z"


@pytest.fixture
def check(tmp_path):
    def check_lines(*lines, expectations=(AT_MOST,), spec=SPEC):
        (tmp_path / "drop").write_bytes(gzip.compress("\n".join(["id,place,weight,seen_at", *lines]).encode()))
        at = datetime(2013, 1, 2, 11, 30, tzinfo=UTC)
        drop = Drop("things", DAY, "things", "landing/things", "0" * 64, at, "us", len(lines), 0)
        (tmp_path / "suite").write_text(json.dumps({"name": "things", "expectations": list(expectations)}))
        read = {DAY: (drop, read_drop(tmp_path / "drop", drop, spec))}
        return check_days(spec, load_suite(tmp_path / "suite"), "recipe", read)[DAY]

    return check_lines


def test_every_row_that_landed_is_published_or_set_aside(check):
    checked = check(f"1,a,1,{NOON}", f"x,a,1,{NOON}", f"2,a,5000,{NOON}", "3,a", f",a,1,{NOON}", f"4,a,1,{NOON}")
    assert (checked.landed, len(checked.rows), len(checked.quarantine)) == (6, 2, 4)
    assert checked.quarantine["line"].tolist() == [3, 4, 5, 6]
    with pytest.raises(ReconciliationError, match="do not add up") as raised:
        replace(checked, rows=checked.rows.head(1))
    assert "1 to publish and 4 set aside" in str(raised.value) and "6 together" in str(raised.value)


def test_d1_a_column_without_a_value_refuses_the_day_unless_it_may_be_empty(check):
    lines = [f"{n},a,," for n in range(4)]
    (refusal,) = check(*lines).refusals
    assert refusal.startswith("seen_at: has a value: seen none in 4 rows, expected a value, or the column among")
    spec = SPEC.model_copy(update={"may_be_empty": ["weight", "seen_at"]})
    assert check(*lines, spec=spec).refusals == []


@pytest.mark.parametrize("expectations", [(AT_MOST,), (UNIQUE,)], ids=["no suite asks", "the suite asks too"])
def test_rows_that_share_a_key_are_set_aside_once(check, expectations):
    checked = check(f"1,a,1,{NOON}", f"1,a,2,{NOON}", f"1,b,1,{NOON}", f"2,a,1,{NOON}", expectations=expectations)
    assert checked.quarantine["line"].tolist() == [2, 3] and checked.rows["place"].tolist() == ["b", "a"]
    (reason,) = set(checked.quarantine["reason"])
    asked = reason.startswith("id, place: expect_compound_columns_to_be_unique")
    assert asked if expectations == (UNIQUE,) else reason == "id, place: a key that another row has too"
    assert sum(check.failed_rows for check in checked.checks) == 2


def test_of_a_refused_day_some_texts_are_kept(check, monkeypatch):
    monkeypatch.setattr(checked_days, "MAX_TEXTS", 2)
    checked = check(*(f"x{n},a,1,{NOON}" for n in range(5)))
    assert checked.refusals and checked.quarantine["row"].notna().tolist() == [True, True, False, False, False]
    assert len(checked.quarantine) == checked.landed == 5


def test_a_day_s_figures(check, storage):
    weights = [1, 2, 3, 4, 5, 6, 7, 8, 900, "", "", 5000]
    lines = [f"{n},{'ab'[n % 2]},{weight},{NOON}" for n, weight in enumerate(weights)]
    checked = check(*lines)
    found = partition_history(checked, SPEC).set_index("column")
    day = found.drop(columns=["type", "null_rate", "outlier_rate", "distinct"]).drop_duplicates()
    assert day.to_dict("records") == [
        {
            "day": DAY,
            "drop_sha256": "0" * 64,
            "published": True,
            "landed_rows": 12,
            "kept_rows": 11,
            "quarantined_rows": 1,
            "delivered_after_hours": 6.5,
        }
    ]
    assert found["type"].to_dict() == SPEC.columns
    assert found["null_rate"].tolist() == [0, 0, 2 / 11, 0]
    assert found.loc["weight", "outlier_rate"] == 1 / 9  # fences: 3 - 3 * 4 and 7 + 3 * 4
    assert found.loc["id", "outlier_rate"] == 0 and found.loc[["place", "seen_at"], "outlier_rate"].isna().all()
    assert found.loc["place", "distinct"] == 2 and found["distinct"].notna().sum() == 1
    lake = Lake(storage.below("lake"))
    lake.publish_days("history/things", {DAY: found.reset_index()}, {})
    back = lake.read("history/things").set_index("column")[found.columns]
    pd.testing.assert_frame_equal(back, found, check_dtype=False)


def test_the_figures_of_a_day_without_rows_are_not_made_up(check):
    found = partition_history(check(*(f"x,a,1,{NOON}" for _ in range(3))), SPEC)
    assert not found["published"].any() and set(found["kept_rows"]) == {0} and set(found["quarantined_rows"]) == {3}
    assert found["null_rate"].isna().all() and found["outlier_rate"].isna().all()


def test_where_half_the_values_are_equal_any_other_is_an_outlier_and_none_is_nan(check):
    found = partition_history(check(*(f"{n},a,{n // 7},{NOON}" for n in range(8))), SPEC).set_index("column")
    assert found.loc["weight", "outlier_rate"] == 1 / 8
    found = partition_history(check(*(f"{n},a,,{NOON}" for n in range(8))), SPEC).set_index("column")
    assert math.isnan(found.loc["weight", "outlier_rate"]) and found.loc["weight", "null_rate"] == 1
