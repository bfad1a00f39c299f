"""The example's upstream systems: real data, as daily drops, holding only what was known."""

import pandas as pd
import pytest

from ratchet.drops import DropStore
from ratchet.errors import ParameterError
from ratchet.upstream import land_flights


@pytest.fixture(scope="module")
def landed(tmp_path_factory):
    drops = DropStore(tmp_path_factory.mktemp("landing"))
    return drops, land_flights(drops, "2013-03-08", "2013-03-11")


def rows(drops, dataset, day):
    times = ["sched_dep_at", "sched_arr_at", "landed_at", "observed_at"]
    frame = pd.read_csv(drops.find(dataset, day).address)
    return frame.assign(**{name: pd.to_datetime(frame[name], utc=True) for name in times if name in frame})


def test_each_day_has_its_drops_and_planes_come_once(landed):
    drops, report = landed
    assert report.drops == {"planes": 1, "flights": 4, "weather": 4, "outcomes": 4}
    assert report.rows == {"planes": 3322, "flights": 3632, "weather": 285, "outcomes": 3632}
    assert drops.days("planes") == ["2013-01-01"]
    assert drops.days("flights") == ["2013-03-08", "2013-03-09", "2013-03-10", "2013-03-11"]


def test_delivery_follows_new_york_clocks_across_dst(landed):
    drops, _ = landed
    said = {
        (dataset, day): drops.find(dataset, day).delivered_at.strftime("%m-%dT%H:%M")
        for dataset in ("flights", "weather", "outcomes")
        for day in ("2013-03-09", "2013-03-10")
    }
    assert said == {  # clocks go forward in the night to 10 March
        ("flights", "2013-03-09"): "03-09T01:00",
        ("flights", "2013-03-10"): "03-10T01:00",
        ("weather", "2013-03-09"): "03-10T05:30",
        ("weather", "2013-03-10"): "03-11T04:30",
        ("outcomes", "2013-03-09"): "03-11T03:00",
        ("outcomes", "2013-03-10"): "03-12T03:00",
    }
    assert drops.find("planes", "2013-01-01").delivered_at.isoformat() == "2013-01-01T01:00:00+00:00"


def test_nothing_is_delivered_before_it_happened(landed):
    drops, _ = landed
    for day in drops.days("outcomes"):
        for dataset, column in (("outcomes", "landed_at"), ("weather", "observed_at")):
            assert rows(drops, dataset, day)[column].max() < drops.find(dataset, day).delivered_at
        assert rows(drops, "flights", day)["sched_dep_at"].min() > drops.find("flights", day).delivered_at


def test_the_schedule_tells_nothing_of_the_outcome(landed):
    drops, _ = landed
    schedule = rows(drops, "flights", "2013-03-08")
    assert not {"status", "dep_delay", "arr_delay", "landed_at", "air_time"} & set(schedule.columns)
    assert schedule["sched_dep_at"].is_monotonic_increasing  # not sorted by the actual departure, as the source is


def test_outcomes_are_consistent_with_the_schedule(landed):
    drops, _ = landed
    key = ["carrier", "flight", "origin", "sched_dep_at"]
    both = rows(drops, "flights", "2013-03-08").merge(
        rows(drops, "outcomes", "2013-03-08"), on=key, validate="one_to_one", how="outer", indicator=True
    )
    assert (both["_merge"] == "both").all()
    landed_ones = both[both["status"] == "landed"]
    minutes = (landed_ones["landed_at"] - landed_ones["sched_arr_at"]).dt.total_seconds() / 60
    assert (minutes == landed_ones["arr_delay"]).all()
    others = both[both["status"] != "landed"]
    assert others[["arr_delay", "landed_at"]].isna().all(axis=None)
    assert set(both["status"]) == {"landed", "cancelled", "diverted"}
    assert both.loc[both["status"] == "cancelled", "dep_delay"].isna().all()


def test_arrivals_are_in_the_time_of_the_destination(landed):
    drops, _ = landed
    schedule = rows(drops, "flights", "2013-03-09").set_index("dest")
    hours = (schedule["sched_arr_at"] - schedule["sched_dep_at"]).dt.total_seconds() / 3600
    assert hours.between(50 / 60, 700 / 60).all()
    assert 10 < hours["HNL"].mean() < 12 and 5.5 < hours["LAX"].mean() < 7 and 3 < hours["SJU"].mean() < 5


def test_landing_again_gives_the_same_bytes(landed, storage):
    drops, report = landed
    other = DropStore(storage)
    assert land_flights(other, "2013-03-08", "2013-03-11") == report
    for dataset in report.drops:
        for day in drops.days(dataset):
            assert other.find(dataset, day).sha256 == drops.find(dataset, day).sha256


def test_weather_ends_on_30_december(tmp_path):
    drops = DropStore(tmp_path)
    report = land_flights(drops, "2013-12-30", "2013-12-31")
    assert report.without == {"weather": ["2013-12-31"]}
    assert drops.days("weather") == ["2013-12-30"]


@pytest.mark.parametrize(
    ("first", "last"),
    [("2013-01-02", "2013-01-01"), ("2012-12-31", "2013-01-02"), ("2013-12-31", "2014-01-01"), ("x", "y")],
)
def test_a_range_that_is_none_is_refused(tmp_path, first, last):
    with pytest.raises(ParameterError):
        land_flights(DropStore(tmp_path / "landing"), first, last)
    assert not (tmp_path / "landing").exists()
