import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratchet.evaluation.scored import Scored, score_rows
from ratchet.evaluation.value import cheapest_threshold, measure_value
from ratchet.specs import Costs


def paid(label, acted, costs) -> float:
    """Row by row, as the spec says it."""
    total = 0.0
    for positive, act in zip(label, acted, strict=True):
        total += costs.missed * (positive and not act) + costs.false_alarm * (act and not positive)
        total += costs.acted_on * bool(act)
    return total


ROWS = st.lists(st.tuples(st.booleans(), st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9, 1.0])), min_size=1, max_size=30)
COSTS = st.builds(Costs, missed=st.integers(0, 9), false_alarm=st.integers(1, 9), acted_on=st.integers(0, 3))


@given(ROWS, COSTS)
def test_no_threshold_is_cheaper_than_the_cheapest(rows, costs):
    label, score = (np.array(column) for column in zip(*rows, strict=True))
    cheapest = paid(label, score >= cheapest_threshold(label, score, costs), costs)
    for other in [-1, *score, 2]:
        assert cheapest <= paid(label, score >= other, costs) + 1e-9


def test_where_a_miss_costs_all_every_row_is_acted_on_and_where_it_costs_nothing_none():
    label, score = [0, 1, 0, 0], np.array([0.9, 0.1, 0.5, 1.0])
    assert (score >= cheapest_threshold(label, score, Costs(missed=100, false_alarm=1))).all()
    none = cheapest_threshold(label, score, Costs(missed=0, false_alarm=1))
    assert np.isfinite(none) and not (score >= none).any()


def test_of_equally_cheap_thresholds_the_one_that_acts_least():
    assert cheapest_threshold([1, 0, 1], [0.9, 0.5, 0.4], Costs(missed=1, false_alarm=1)) == 0.9


@pytest.fixture
def decided(spec_of):
    """10 days of: 2 found, 1 missed, 1 false alarm, 4 left alone. Missing costs 5, an alarm 1."""
    label, score = [1, 1, 1, 0, 0, 0, 0, 0] * 10, [1, 1, 0, 1, 0, 0, 0, 0] * 10
    days = [f"2024-05-{1 + at // 8:02d}" for at in range(80)]
    rows = pd.DataFrame({"label": label, "day": days})
    return Scored(spec_of(), rows, pd.DataFrame({"score": score}), 0.5)


def test_costs_are_those_of_a_thousand_rows_against_every_policy(decided):
    numbers, tables = measure_value(decided)
    of = tables["value"].set_index("policy")
    assert of["cost"].to_dict() == pytest.approx(
        {"model": 750, "none": 1875, "all": 625, "base_rate": 625, "perfect": 0}
    )
    assert of.loc["none", "saved"] == pytest.approx(1125) and of.loc["base_rate", "saved"] == pytest.approx(-125)
    assert numbers["value.cost_per_1000"] == pytest.approx(750) and set(of["unit"]) == {"coins"}
    assert numbers["value.saved_per_1000"] == pytest.approx(-125)


def test_what_is_saved_has_a_paired_interval(spec_of, rows_of, fitted):
    scored = score_rows(fitted(), rows_of(), spec_of(), 0.2)
    numbers, tables = measure_value(scored)
    assert numbers["value.saved_per_1000_low"] < numbers["value.saved_per_1000"] < numbers["value.saved_per_1000_high"]
    curve = tables["value_curve"]
    assert len(curve) <= 200 and curve["cost"].iloc[0] == pytest.approx(numbers["value.cost_per_1000_none"])
    assert curve["cost"].iloc[-1] == pytest.approx(numbers["value.cost_per_1000_all"])


def test_the_chosen_threshold_is_cheapest_on_the_rows_it_was_chosen_on(spec_of, rows_of, fitted):
    spec = spec_of()
    scores = score_rows(fitted(), rows_of(), spec, 0.5).scores["score"]
    chosen = cheapest_threshold(rows_of()["label"], scores, spec.evaluate.costs)
    of = {
        at: measure_value(score_rows(fitted(), rows_of(), spec, at))[0]["value.cost_per_1000"] for at in (chosen, 0.5)
    }
    assert of[chosen] < of[0.5]


def test_without_costs_there_is_no_value(spec_of, rows_of, fitted):
    assert measure_value(score_rows(fitted(), rows_of(), spec_of(costs=None), 0.4)) == ({}, {})
