"""A feature that looks past the instant of its row is found; one that does not, is not."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ratchet.errors import SpecError
from ratchet.point_in_time import CUTS, Leaks, find_leaks
from ratchet.specs import START_OF_DAY, Input

DAYS = ("2013-03-14", "2013-03-18")


@pytest.fixture(autouse=True)
def leaky(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(Path(__file__).parent), *sys.path])


@pytest.fixture
def leaks(spec, datasets, published):
    def of(function: str, cuts=12, specs=datasets, **changes) -> Leaks:
        named = {"feature_function": f"leaky_views:{function}"} if function else {}
        return find_leaks(spec.model_copy(update={**named, **changes}), specs, published, *DAYS, cuts=cuts)

    return of


@pytest.fixture
def inputs(spec):
    def of(**changes) -> dict:
        """The shipped model's inputs, some with changes."""
        return {name: one.model_copy(update=changes.get(name, {})) for name, one in spec.inputs.items()}

    return of


def of_schedule(**inputs) -> dict:
    """A model of the flights' schedule, and of other inputs."""
    return {
        "inputs": {"flights": Input(), **inputs},
        "predicted_at": START_OF_DAY,
        "predicted_ahead_minutes": 0,
        "numeric_features": ["distance", "dep_hour"],
        "categorical_features": ["carrier"],
    }


def test_the_shipped_features_know_nothing_too_early(leaks):
    assert leaks("") == Leaks([])


@pytest.mark.parametrize(
    ("function", "told", "of_flights"),
    [
        ("from_later_weather", ["temp"], {}),
        ("from_the_day_s_other_flights", ["distance"], {}),
        ("from_a_column_known_later", ["sched_minutes"], {"known_later": ["sched_arr_at"]}),
    ],
)
def test_a_feature_from_the_future_is_named(leaks, inputs, function, told, of_flights):
    assert leaks(function, inputs=inputs(flights=of_flights)) == Leaks(told)


def test_a_feature_that_looks_ahead_in_one_row_of_twenty_is_named(leaks):
    assert leaks("from_later_weather_now_and_then", CUTS) == Leaks(["temp"])


def test_what_does_not_say_when_it_happens_is_known_when_its_day_has_ended(leaks, inputs, spec):
    weather = [name for name in spec.numeric_features if name not in ("distance", "dep_hour", "sched_minutes")]
    weather = [name for name in weather if not name.startswith("plane")]
    seen = leaks("", inputs=inputs(weather={"happens_at": None})).features
    assert set(seen) <= set(weather) and {"temp", "wind_speed"} <= set(seen)


def test_at_the_start_of_the_day_its_own_rows_are_known_and_no_weather_of_it(leaks, spec):
    assert leaks("from_the_schedule", **of_schedule()) == Leaks([])
    assert leaks("from_the_schedule", **{**of_schedule(), "predicted_at": "sched_dep_at"}) == Leaks(["distance"])
    assert "temp" in leaks("", predicted_at=START_OF_DAY).features


@pytest.mark.parametrize(
    ("function", "told"),
    [("from_today_s_outcomes", True), ("from_yesterday_s_outcomes", True), ("from_older_outcomes", False)],
)
def test_outcomes_as_an_input_are_known_when_the_label_delay_is_over(leaks, function, told):
    """Of a day, on the evening after it; whatever the spec says of when its flights landed."""
    for happens_at in (None, "sched_dep_at"):
        model = of_schedule(outcomes=Input(lookback_days=3, happens_at=happens_at))
        assert leaks(function, **model) == Leaks(["distance"] if told else [])


@pytest.mark.parametrize("what", ["delays", "cancelled", "rows"])
def test_nothing_of_an_outcome_is_known_before_it_is_told(leaks, what):
    """Neither what the label function does not read, nor how many there are."""
    for predicted_at in (START_OF_DAY, "sched_dep_at"):
        model = {**of_schedule(outcomes=Input(lookback_days=3)), "predicted_at": predicted_at}
        assert leaks(f"{what}_yesterday", 4, **model) == Leaks(["distance"])
        assert leaks(f"{what}_before", 4, **model) == Leaks([])


def test_of_outcomes_that_are_not_told_nothing_is_known_but_what_is_named(leaks):
    model = of_schedule(outcomes=Input(lookback_days=3, known_before=["sched_dep_at"]))
    assert leaks("rows_yesterday", 4, **model) == Leaks([])
    assert leaks("cancelled_yesterday", 4, **model) == Leaks(["distance"])


def test_what_comes_within_the_time_ahead_is_not_known(leaks):
    assert leaks("from_weather_an_hour_before") == Leaks(["temp"])
    assert leaks("from_weather_an_hour_before", predicted_ahead_minutes=60) == Leaks([])
    assert leaks(
        "rows_before", 4, **{**of_schedule(outcomes=Input(lookback_days=3)), "predicted_ahead_minutes": 1}
    ) == (
        Leaks(["distance"])  # the day before has not ended then
    )


def test_a_feature_that_hangs_on_the_days_made_with_it_is_told_apart(leaks):
    assert leaks("from_all_weather_before") == Leaks(["temp"], range_dependent=("temp",))
    assert leaks("from_all_weather_and_later") == Leaks(["temp"])


def test_an_instant_that_the_lake_does_not_hold_yet_is_unknown(leaks, inputs, datasets):
    def new(name):
        columns = {**datasets[name].columns, "told_at": "timestamp"}
        return {**datasets, name: datasets[name].model_copy(update={"columns": columns})}

    assert leaks("", specs=new("flights"), predicted_at="told_at") == Leaks([], rows_without_instant=5 * 60)
    seen = leaks("", specs=new("weather"), inputs=inputs(weather={"happens_at": "told_at"}))
    assert {"temp", "visib"} <= set(seen.features) and seen.failure == ""


def test_what_the_label_is_made_of_is_known_later_also_in_the_scored_dataset(leaks):
    scored = {"scored_dataset": "outcomes", "inputs": {"outcomes": Input()}}
    assert leaks("from_its_own_outcome", **{**of_schedule(), **scored}) == Leaks(["distance"])
    planned = {"outcomes": Input(known_before=["arr_delay"])}
    assert leaks("from_its_own_outcome", **{**of_schedule(), **scored, "inputs": planned}) == Leaks([])


def test_rows_that_have_no_instant_are_counted(leaks, made):
    outcomes = made["outcomes"]
    lost = outcomes["landed_at"].isna() & outcomes["day"].between(*DAYS)
    scored = {"scored_dataset": "outcomes", "inputs": {"outcomes": Input()}, "predicted_at": "landed_at"}
    seen = leaks("from_its_own_outcome", **{**of_schedule(), **scored})
    assert seen == Leaks(["distance"], rows_without_instant=int(lost.sum())) and lost.any()


def test_a_feature_function_that_fails_without_the_future_is_told(leaks, inputs):
    seen = leaks("that_can_not_do_without", inputs=inputs(flights={"known_later": ["sched_arr_at"]}))
    assert seen.features == [] and "without what came after 2013-03-1" in seen.failure


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"flights": {"known_later": ["landed_at"]}}, "landed_at"),
        ({"weather": {"happens_at": "seen_at"}}, "seen_at"),
        ({"weather": {"happens_at": "temp"}}, "'temp': 'float64'"),
        ({"predicted_at": "departed_at"}, "departed_at"),
        ({"predicted_at": "distance"}, "predicted_at: start_of_day"),
    ],
)
def test_a_column_that_is_not_there_or_no_instant_is_named(leaks, inputs, changes, told):
    changed = changes if "predicted_at" in changes else {"inputs": inputs(**changes)}
    with pytest.raises(SpecError, match=told):
        leaks("", **changed)
