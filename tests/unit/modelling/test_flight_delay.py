import pandas as pd
import pytest

from feature_views.flight_delay import OBSERVED, build_features, build_label


def instant(text):
    return pd.Timestamp(text, tz="America/New_York").tz_convert("UTC").as_unit("us")


@pytest.fixture
def flight():
    return pd.DataFrame(
        {
            "carrier": ["UA"],
            "flight": [1],
            "tailnum": ["N1"],
            "origin": ["EWR"],
            "dest": ["BOS"],
            "distance": [200.0],
            "sched_dep_at": [instant("2013-03-05 12:30")],
            "sched_arr_at": [instant("2013-03-05 13:45")],
        },
        index=[42],
    )


def observed(*times, origin="EWR"):
    return pd.DataFrame(
        {"origin": origin, "observed_at": [instant(t) for t in times]}
        | {n: [float(i) for i in range(len(times))] for n in OBSERVED}
    )


PLANES = pd.DataFrame({"tailnum": ["N1"], "year": [2003.0], "seats": [149]})


def test_features_of_one_flight(flight):
    features = build_features(flight, observed("2013-03-05 10:00"), PLANES)
    assert list(features.index) == [42]
    row = features.loc[42]
    assert (row.carrier, row.origin, row.dest, row.distance, row.weekday) == ("UA", "EWR", "BOS", 200.0, "Tuesday")
    assert (row.dep_hour, row.sched_minutes, row.plane_age, row.plane_seats, row.temp) == (12.5, 75.0, 10.0, 149.0, 0.0)


def test_all_features_of_the_spec_are_built(flight, spec):
    assert set(build_features(flight, observed("2013-03-05 10:00"), PLANES).columns) == set(spec.features)


@pytest.mark.parametrize(
    ("times", "seen"),
    [
        (["2013-03-05 10:30"], 0),  # exactly two hours before
        (["2013-03-05 10:31"], None),  # later: not known in time
        (["2013-03-05 09:00", "2013-03-05 10:00", "2013-03-05 11:00", "2013-03-05 12:00"], 1),
        (["2013-03-05 04:30"], 0),  # eight hours before: the oldest that counts
        (["2013-03-05 04:29"], None),
    ],
)
def test_weather_is_that_of_two_hours_before_or_older_never_later(flight, times, seen):
    value = build_features(flight, observed(*times), PLANES).loc[42, "temp"]
    assert pd.isna(value) if seen is None else value == seen


def test_absent_weather_and_unknown_planes_do_not_block(flight):
    nothing = observed("2013-03-05 10:00").iloc[:0]
    elsewhere = observed("2013-03-05 10:00", origin="JFK")
    for weather in (nothing, elsewhere):
        row = build_features(flight.assign(tailnum=None), weather, PLANES).loc[42]
        assert row[OBSERVED].isna().all() and pd.isna(row.plane_age)


def test_hours_are_those_of_new_york_in_summer_and_winter(flight):
    for day in ("2013-03-05", "2013-07-05"):
        moved = flight.assign(sched_dep_at=[instant(f"{day} 06:15")])
        assert build_features(moved, observed("2013-03-05 10:00"), PLANES).loc[42, "dep_hour"] == 6.25


def test_rows_keep_their_order_and_their_own_weather(made):
    shuffled = made["flights"].sample(frac=1, random_state=3)
    one = build_features(made["flights"], made["weather"], made["planes"])
    two = build_features(shuffled, made["weather"].sample(frac=1, random_state=4), made["planes"])
    assert list(two.index) == list(shuffled.index)
    pd.testing.assert_frame_equal(one, two.sort_index())


def test_no_outcome_of_any_flight_can_reach_a_feature(flight, spec):
    """The function is not even given the outcomes, and the spec names none of their columns."""
    assert "outcomes" not in spec.inputs
    assert not {"dep_delay", "arr_delay", "status", "landed_at", "label"} & set(spec.features)


def test_label_is_later_than_fifteen_minutes_and_leaves_out_what_never_arrived():
    outcomes = pd.DataFrame(
        {
            "carrier": "UA",
            "flight": range(4),
            "origin": "EWR",
            "sched_dep_at": instant("2013-03-05 12:30"),
            "arr_delay": [15.0, 15.1, None, -30.0],
        }
    )
    label = build_label(outcomes)
    assert label["flight"].tolist() == [0, 1, 3] and label["label"].tolist() == [0, 1, 0]
