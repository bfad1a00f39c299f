"""Performance estimated from scores alone: what it is by its definition, what it sees and what it can't see."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from watched_world import current, outcomes, reference, rows, spec_of

from ratchet.days import days_between
from ratchet.monitoring.estimated import expected, find_estimate
from ratchet.monitoring.performance import measure_metric
from ratchet.statistics import measure

KNOWN, SPEC = reference(), spec_of()
BASELINE = measure_metric(SPEC, KNOWN[KNOWN["window"] == "judge"])[0]


def found(now, told, spec=SPEC):
    return {one.name: one for one in find_estimate(spec, KNOWN, now, told, BASELINE)}


def test_it_is_what_drawing_the_labels_gives_on_average():
    draw = np.random.default_rng(1)
    scores = pd.DataFrame({"score": draw.uniform(size=300).round(2)})
    day, p = pd.Series(np.repeat(["2013-05-01", "2013-05-02"], 150)), scores["score"].to_numpy()
    labels = [(draw.uniform(size=300) < p).astype(int) for _ in range(400)]
    for metric in ("roc_auc", "log_loss", "brier"):
        drawn = np.mean([measure(metric, label, scores, day).value for label in labels])
        assert expected(metric, scores, day, lambda said: said).value == pytest.approx(drawn, abs=0.004)


def test_an_auc_without_a_day_is_that_of_the_other_days():
    scores = rows(1, days_between("2013-05-01", "2013-05-03"))[["day", "score"]]
    whole = expected("roc_auc", scores, scores["day"], lambda said: said)
    rest = scores[scores["day"] != "2013-05-02"]
    assert whole.without[1] == pytest.approx(expected("roc_auc", rest, rest["day"], lambda said: said).value)


def test_of_a_multiclass_model_the_log_loss_is_the_entropy():
    scores = pd.DataFrame({"score_a": [0.5, 1.0], "score_b": [0.5, 0.0]})
    assert expected("log_loss", scores, pd.Series(["x", "y"]), lambda said: said).value == pytest.approx(np.log(2) / 2)


def test_in_a_world_that_stayed_the_same_it_is_near_what_will_be_measured():
    now = found(current(), outcomes())
    assert now["all"].low < BASELINE.value < now["all"].high and now["all"].state == "usual"
    assert abs(now["error"].value) < 0.04 and now["error"].low < 0 < now["error"].high


def test_scores_that_tell_less_are_estimated_harm_before_any_outcome():
    """All rows in the middle: nobody can order them."""
    now = found(current().assign(a=0.0, score=lambda f: 0.5 + (f["score"] - 0.5) / 20), outcomes())
    assert (now["all"].state, now["all"].level) == ("moved", "warn")
    assert now["all"].value < now["all"].threshold


def test_it_can_not_see_a_change_of_concept_but_its_error_does_and_widens_it():
    calm, changed = found(current(), outcomes()), found(current(), outcomes(slope=0.0))
    assert changed["all"].value == calm["all"].value and changed["all"].state == "usual"
    assert changed["error"].value > 0.2 > calm["error"].high
    assert changed["all"].high - changed["all"].low > calm["all"].high - calm["all"].low + 0.3


def test_without_outcomes_its_error_is_that_on_the_judge_window():
    assert found(current(), None)["error"].says.endswith("20 newest days of the judge window")
    assert found(current(), outcomes())["error"].says.endswith("14 newest days with outcomes")
    one_bad = outcomes().assign(score=lambda f: f["score"].where(f.index > 0, np.inf))
    assert found(current(), one_bad)["error"].says.endswith("14 newest days with outcomes")


def test_where_there_is_none_it_says_why():
    regression = spec_of("regression", "mae", retrain_when={"metric_falls_by": 0.1})
    assert "scores say nothing" in found(current(), outcomes(), regression)["all"].says
    assert set(found(current(), None, regression)) == {"all", "error"} == set(found(current().head(9), None))
    assert "0 rows with scores" in found(current().drop(columns="score"), outcomes())["all"].says
    assert "0 rows with scores" in found(current().assign(score=7.0), outcomes())["all"].says
    assert found(current().assign(day="2013-05-01"), outcomes())["all"].state == "not enough data"
