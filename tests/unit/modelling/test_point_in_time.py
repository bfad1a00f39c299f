"""A feature that looks past the instant of its row is found; one that does not, is not."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ratchet.errors import SpecError
from ratchet.point_in_time import future_features

DAYS = ("2013-03-14", "2013-03-18")


@pytest.fixture(autouse=True)
def leaky(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(Path(__file__).parent), *sys.path])


def with_inputs(spec, function: str, **of_flights):
    flights = spec.inputs["flights"].model_copy(update=of_flights)
    return spec.model_copy(
        update={"feature_function": f"leaky_views:{function}", "inputs": {**spec.inputs, "flights": flights}}
    )


def test_the_shipped_features_know_nothing_too_early(spec, datasets, published):
    assert future_features(spec, datasets, published, *DAYS) == []


@pytest.mark.parametrize(
    ("function", "told", "of_flights"),
    [
        ("from_later_weather", ["temp"], {}),
        ("from_the_day_s_other_flights", ["distance"], {}),
        ("from_a_column_known_later", ["sched_minutes"], {"known_later": ["sched_arr_at"]}),
    ],
)
def test_a_feature_from_the_future_is_named(spec, datasets, published, function, told, of_flights):
    assert future_features(with_inputs(spec, function, **of_flights), datasets, published, *DAYS) == told


def test_what_the_spec_does_not_say_is_not_cut(spec, datasets, published):
    silent = with_inputs(spec, "from_a_column_known_later")
    assert future_features(silent, datasets, published, *DAYS) == []
    blind = with_inputs(spec, "from_later_weather").model_copy(update={"predicted_at": None})
    assert future_features(blind, datasets, published, *DAYS) == []


def test_a_column_that_is_not_there_is_named(spec, datasets, published):
    with pytest.raises(SpecError, match="landed_at"):
        future_features(with_inputs(spec, "from_later_weather", known_later=["landed_at"]), datasets, published, *DAYS)
