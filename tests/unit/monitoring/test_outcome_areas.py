"""Labels, calibration, the approved band and business value, each by itself."""

from __future__ import annotations

import numpy as np
import pytest
from watched_world import ROWS, current, outcomes, reference, rows, spec_of

from ratchet.days import days_between
from ratchet.monitoring.band import find_band
from ratchet.monitoring.business import find_value
from ratchet.monitoring.calibration import find_calibration
from ratchet.monitoring.labels import PATIENCE_DAYS, due_days, find_arrival, find_labels

KNOWN, SPEC = reference(), spec_of()
JUDGED, PROVED = KNOWN[KNOWN["window"] == "judge"], KNOWN[KNOWN["window"] != "train"]


def more_positives(frame, share: float):
    draw = np.random.default_rng(1)
    return frame.assign(label=np.where(draw.uniform(size=len(frame)) < share, 1, frame["label"]))


def test_outcomes_are_missed_once_more_days_than_patience_allows_are_due():
    days = days_between("2013-05-01", "2013-05-09")
    usual, late = find_arrival(days[:PATIENCE_DAYS]), find_arrival(days[: PATIENCE_DAYS + 1])
    assert (usual.state, late.state, late.level) == ("usual", "broken data", "page")
    assert f"{PATIENCE_DAYS + 1} scored days, 2013-05-01 to 2013-05-04" in late.says


def test_days_are_due_after_the_newest_outcome_and_older_than_the_label_delay():
    scored = current()  # 8 to 14 May; the spec's labels take a day
    assert due_days(SPEC, scored, outcomes()) == []
    assert due_days(SPEC, scored, outcomes(days=14).query("day <= '2013-05-10'")) == [
        "2013-05-11",
        "2013-05-12",
        "2013-05-13",
    ]
    assert due_days(SPEC, scored, None) == days_between("2013-05-08", "2013-05-13")
    assert due_days(SPEC, scored.head(0), None) == []


def test_a_mix_of_labels_that_changed_is_a_note():
    (_, usual), (_, moved) = (find_labels(SPEC, PROVED, more_positives(outcomes(), share)) for share in (0.0, 0.3))
    assert (usual.state, moved.state, moved.level) == ("usual", "moved", "note")
    assert moved.reference == pytest.approx(PROVED["label"].mean())


def test_one_class_alone_is_broken_only_where_the_other_was_to_be_expected():
    rare = PROVED.assign(label=(np.arange(len(PROVED)) % 100 == 0).astype(int))  # 1 %: some 8 of 840
    assert find_labels(SPEC, PROVED, outcomes().assign(label=0))[0].state == "broken data"
    assert find_labels(SPEC, rare, outcomes().assign(label=0))[0].state != "broken data"


@pytest.mark.parametrize("bad", [np.inf, np.nan, 2.0])
def test_one_label_that_can_not_be_is_broken_data_and_the_rest_is_told(bad):
    told = outcomes()
    whole, share = find_labels(SPEC, PROVED, told.assign(label=told["label"].where(told.index > 0, bad)))
    assert (whole.name, whole.state, whole.level) == ("all", "broken data", "page")
    assert f"{len(told)} rows with outcomes, of which 1 have no label" in whole.says
    assert share.state == "usual" and share.value == pytest.approx(told["label"][1:].mean())
    signs = find_labels(SPEC, PROVED, told.assign(label=2 * told["label"] - 1))
    assert [(one.name, one.state) for one in signs] == [("all", "broken data"), ("positives", "moved")]
    assert f"of which {(told['label'] == 0).sum()} have no label" in signs[0].says


def test_of_classes_each_has_its_share_and_of_a_regression_the_mean_is_told():
    numbers = spec_of("regression", "mae", retrain_when={"metric_falls_by": 0.1})
    _, mean = find_labels(numbers, PROVED, more_positives(outcomes(), 0.4))
    assert (mean.name, mean.state) == ("mean", "moved")
    _, usual = find_labels(numbers, PROVED, outcomes())
    assert usual.state == "usual" and usual.low < usual.reference < usual.high


def test_calibration_is_told_of_low_and_of_high_scores_and_its_harm_is_estimated():
    usual = find_calibration(SPEC, JUDGED, outcomes())
    assert {one.name: one.state for one in usual} == {"low scores": "usual", "high scores": "usual"}
    assert all(one.low < 0 < one.high for one in usual)
    usual_names = [one.name for one in usual]
    found = {one.name: one for one in find_calibration(SPEC, JUDGED, more_positives(outcomes(), 0.3))}
    assert (found["low scores"].state, found["low scores"].level) == ("moved", "warn")
    assert found["low scores"].value > 0.15
    none = find_calibration(SPEC, JUDGED, outcomes().head(100))
    assert {one.name: one.state for one in none} == dict.fromkeys(usual_names, "not enough data")


def test_calibration_of_few_rows_is_no_worse_than_that_of_many():
    """The expected calibration error of 240 rows is several times that of 1,200, with nothing wrong."""
    few = [find_calibration(SPEC, JUDGED, outcomes(seed, days=4)) for seed in range(20)]
    assert [one.says for found in few for one in found if one.state == "moved"] == []


def test_scores_that_leave_the_approved_band_warn():
    usual = find_band(SPEC, JUDGED, current())
    assert usual.state == "usual" and usual.reference == pytest.approx(0.98, abs=0.003)
    moved = find_band(SPEC, JUDGED, current(shift=2.0))
    assert (moved.state, moved.level) == ("moved", "warn") and moved.value < 0.9
    assert find_band(SPEC, JUDGED, current().assign(score=np.nan)).value == 0
    assert find_band(SPEC, JUDGED, current().drop(columns="score")).state == "not enough data"


def test_value_is_what_the_decisions_save_and_less_of_it_warns():
    """By the definition: a missed one costs 5, a false alarm 1; acting on all is cheaper than acting on none."""
    spec = spec_of(evaluate={"costs": {"missed": 5, "false_alarm": 1, "acted_on": 0, "unit": "hours"}})
    told, day = find_value(spec, KNOWN, outcomes(), threshold=0.4)
    now = outcomes()
    acted = now["score"] >= 0.4
    cost = 5 * (now["label"] == 1) * ~acted + 1 * (now["label"] == 0) * acted
    assert told.value == pytest.approx(1000 * ((now["label"] == 0) - cost).mean())
    assert day.value == pytest.approx(told.value / 1000 * ROWS) and told.state == "usual"
    worse, _ = find_value(spec, KNOWN, outcomes(slope=0.0), threshold=0.4)
    assert (worse.state, worse.level) == ("moved", "warn")
    assert find_value(spec_of(evaluate={"costs": None}), KNOWN, now) == []
    none = find_value(spec, KNOWN, now.head(0))
    assert {one.name: one.state for one in none} == dict.fromkeys(["all", "a day"], "not enough data")


def test_without_a_threshold_value_takes_that_of_the_training():
    from ratchet.evaluation.value import cheapest_threshold

    validate = KNOWN[KNOWN["window"] == "validate"]
    at = cheapest_threshold(validate["label"], validate["score"], SPEC.evaluate.costs)
    now = rows(9, days_between("2013-05-01", "2013-05-14"))
    assert find_value(SPEC, KNOWN, now) == find_value(SPEC, KNOWN, now, at)
