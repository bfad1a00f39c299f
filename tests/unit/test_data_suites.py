"""The example's suites against its real data: all of it passes but real faults, and each way of being bad is caught."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest

from ratchet.drops import DropStore
from ratchet.errors import ValidationFailedError
from ratchet.expectations import load_suite
from ratchet.ingest import ingest_days
from ratchet.lake import Lake
from ratchet.ledger import open_ledger
from ratchet.settings import get_settings
from ratchet.specs import load_dataset_specs
from ratchet.upstream import land_flights

HOME = Path(__file__).parents[2]
SPECS = load_dataset_specs(HOME / "include" / "datasets")
SUITES = HOME / "great_expectations" / "expectations"
DATASETS = ["flights", "outcomes", "planes", "weather"]
DAY = "2013-02-12"  # a weather station saw a wind of 1,048 mph


@pytest.fixture(scope="module")
def landed(tmp_path_factory):
    """The real drops of a week round each clock change, of a blizzard, of the slowest day, and of DAY."""
    drops = DropStore(tmp_path_factory.mktemp("landing"))
    for first, last in (
        ("2013-02-08", DAY),
        ("2013-03-09", "2013-03-11"),
        ("2013-11-02", "2013-11-04"),
        ("2013-11-28",) * 2,
    ):
        land_flights(drops, first, last)
    return drops


class World:
    def __init__(self, root, landed):
        self.landed, self.drops, self.lake = landed, DropStore(root / "landing"), Lake(root / "lake")
        paths = {"ledger_key_file": root / "key", "ledger_head_file": root / "head"}
        self.ledger = open_ledger(
            replace(get_settings(), var=root, ledger_url=f"sqlite:///{root / 'ledger.db'}", **paths)
        )

    def ingest(self, dataset, days=None, drops=None):
        adapters = {"drops": drops or self.drops, "suite_path": SUITES / f"{dataset}.json", "lake": self.lake}
        days = days or (drops or self.drops).days(dataset)
        return ingest_days(SPECS.good[dataset], days, ledger=self.ledger, **adapters)

    def deliver(self, dataset, change, hours_later=0):
        """The real drop of a day, changed."""
        drop = self.landed.find(dataset, "2013-01-01" if dataset == "planes" else "2013-02-11")
        frame = pd.read_csv(drop.address, dtype="str", keep_default_na=False)
        at = drop.delivered_at + timedelta(hours=hours_later)
        return self.drops.write(dataset, drop.day, change(frame), at, "test")


@pytest.fixture
def world(tmp_path, landed):
    return World(tmp_path, landed)


def test_every_dataset_has_a_good_spec_and_suite():
    assert SPECS.errors == {} and sorted(SPECS.good) == DATASETS
    for dataset in DATASETS:
        suite = load_suite(SUITES / f"{dataset}.json")
        assert suite.name == dataset
        assert all(one["meta"]["why"] for one in suite.expectations)
        named = {one["kwargs"].get("column") for one in suite.expectations}
        named |= {one["kwargs"].get(end) for one in suite.expectations for end in ("column_A", "column_B")}
        keys = [tuple(one["kwargs"].get("column_list", [one["kwargs"].get("column")])) for one in suite.expectations]
        assert tuple(SPECS.good[dataset].key) in keys
        assert "delivered_after_hours" in named


@pytest.mark.parametrize("dataset", DATASETS)
def test_real_data_pass(world, landed, dataset):
    report = world.ingest(dataset, drops=landed)
    assert report.published == landed.days(dataset) and report.warnings == {}
    assert report.quarantined == (1 if dataset == "weather" else 0)


def test_a_real_fault_of_a_weather_station_goes_to_quarantine(world, landed):
    world.ingest("weather", [DAY], drops=landed)
    found = world.lake.read("quarantine/weather")
    assert found["reason"].tolist() == [
        "wind_speed: expect_column_values_to_be_between (max_value 150.0, min_value 0.0)"
    ]
    assert "1048.36" in found["row"][0]


def column(name, value):
    """Sets a column of the first row."""

    def change(frame):
        frame.loc[0, name] = value
        return frame

    return change


def landed_row(name, value):
    """Sets a column of the first flight that landed."""

    def change(frame):
        frame.loc[frame.index[frame["status"] == "landed"][0], name] = value
        return frame

    return change


def double(frame):
    return pd.concat([frame, frame.head(1)])


@pytest.mark.parametrize(
    ("dataset", "change", "reason"),
    [
        ("flights", column("carrier", ""), "carrier: expect_column_values_to_not_be_null"),
        ("flights", column("carrier", "=cmd()"), "carrier: expect_column_values_to_match_regex"),
        ("flights", column("flight", "0"), "flight: expect_column_values_to_be_between"),
        ("flights", column("origin", "BOS"), "origin: expect_column_values_to_be_in_set"),
        ("flights", column("distance", "-1"), "distance: expect_column_values_to_be_between"),
        (
            "flights",
            column("sched_dep_at", "2013-02-11T04:59:00Z"),
            "day_of_sched_dep_at, day: expect_column_pair_values_to_be_equal",
        ),
        ("flights", column("sched_arr_at", "2013-02-11T05:00:00Z"), "hours_to_sched_arr_at, hours_to_sched_dep_at"),
        ("flights", column("sched_dep_at", "11/02/2013"), "sched_dep_at is not an ISO-8601 instant"),
        ("flights", double, "carrier, flight, origin, sched_dep_at: expect_compound_columns_to_be_unique"),
        ("weather", column("humid", "101"), "humid: expect_column_values_to_be_between"),
        ("weather", column("temp", ""), "temp: expect_column_values_to_not_be_null"),
        (
            "weather",
            column("observed_at", "2013-02-12T05:00:00Z"),
            "day_of_observed_at, day: expect_column_pair_values_to_be_equal",
        ),
        ("weather", double, "origin, observed_at: expect_compound_columns_to_be_unique"),
        ("planes", column("engine", "Steam"), "engine: expect_column_values_to_be_in_set"),
        ("planes", column("seats", ""), "seats: expect_column_values_to_not_be_null"),
        ("planes", column("year", "1903"), "year: expect_column_values_to_be_between"),
        ("planes", double, "tailnum: expect_column_values_to_be_unique"),
        ("outcomes", column("status", "lost"), "status: expect_column_values_to_be_in_set"),
        (
            "outcomes",
            landed_row("arr_delay", ""),
            "arr_delay: expect_column_values_to_not_be_null (where status == landed",
        ),
        (
            "outcomes",
            landed_row("landed_at", ""),
            "landed_at: expect_column_values_to_not_be_null (where status == landed",
        ),
        ("outcomes", landed_row("status", "diverted"), "arr_delay: expect_column_values_to_be_null"),
        ("outcomes", landed_row("landed_at", "2013-02-14T00:00:00Z"), "hours_to_delivery, hours_to_landed_at"),
        ("outcomes", landed_row("arr_delay", "9999"), "arr_delay: expect_column_values_to_be_between"),
    ],
)
def test_a_bad_row_goes_to_quarantine(world, dataset, change, reason):
    world.deliver(dataset, change)
    report = world.ingest(dataset)
    assert report.quarantined == (2 if change is double else 1)
    assert world.lake.read(f"quarantine/{dataset}")["reason"].str.contains(reason, regex=False).all()


@pytest.mark.parametrize(
    ("dataset", "change", "hours_later", "reason"),
    [
        ("flights", lambda f: f.head(100), 0, "expect_table_row_count_to_be_between"),
        ("outcomes", lambda f: f.head(100), 0, "expect_table_row_count_to_be_between"),
        ("weather", lambda f: f.head(10), 0, "expect_table_row_count_to_be_between"),
        ("planes", lambda f: f.head(10), 0, "expect_table_row_count_to_be_between"),
        ("flights", lambda f: f.assign(tailnum=""), 0, "tailnum: expect_column_proportion_of_non_null_values"),
        ("weather", lambda f: f.assign(pressure=""), 0, "pressure: expect_column_proportion_of_non_null_values"),
        ("planes", lambda f: f.assign(year=""), 0, "year: expect_column_proportion_of_non_null_values"),
        (
            "outcomes",
            lambda f: f.assign(arr_delay="", landed_at="", status="diverted"),
            0,
            "arr_delay: expect_column_prop",
        ),
        ("weather", lambda f: f.assign(temp=""), 0, "too many rows for quarantine"),
        ("outcomes", lambda f: f, -24, "delivered_after_hours: expect_column_min_to_be_between"),
        ("weather", lambda f: f, -1, "delivered_after_hours: expect_column_min_to_be_between"),
        ("flights", lambda f: f, 1200, "delivered_after_hours: expect_column_max_to_be_between"),
        ("planes", lambda f: f, 1200, "delivered_after_hours: expect_column_max_to_be_between"),
    ],
)
def test_d1_a_bad_table_is_refused(world, dataset, change, hours_later, reason):
    world.deliver(dataset, change, hours_later)
    with pytest.raises(ValidationFailedError) as raised:
        world.ingest(dataset)
    assert reason in str(raised.value)
    assert world.lake.days(f"datasets/{dataset}") == []


@pytest.mark.parametrize(("dataset", "hours_later"), [("flights", 6), ("weather", 48), ("outcomes", 48), ("planes", 6)])
def test_late_but_not_stale_is_a_warning(world, dataset, hours_later):
    world.deliver(dataset, lambda frame: frame, hours_later)
    report = world.ingest(dataset)
    (warned,) = report.warnings.values()
    assert "delivered_after_hours: expect_column_max_to_be_between" in warned[0]
