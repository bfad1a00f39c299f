import numpy as np
import pandas as pd
import pytest

from ratchet.evaluation.calibration import measure_calibration
from ratchet.evaluation.scored import Scored, score_rows
from ratchet.statistics import calibration_error


def world(spec, score, label):
    days = [f"2024-05-{1 + at % 20:02d}" for at in range(len(label))]
    return Scored(spec, pd.DataFrame({"label": label, "day": days}), pd.DataFrame({"score": score}), 0.5)


def test_scores_that_mean_what_they_say_lie_on_the_line(spec_of):
    draw = np.random.default_rng(0)
    score = draw.random(20_000)
    numbers, table = measure_calibration(world(spec_of(), score, (draw.random(20_000) < score).astype(int)))
    assert numbers["calibration_error"] < 0.02 and len(table) == 10 and set(table["rows"]) == {2000}
    assert ((table["low"] < table["predicted"]) & (table["predicted"] < table["high"])).sum() >= 8


def test_overconfident_scores_show_their_gap(spec_of):
    draw = np.random.default_rng(0)
    label = (draw.random(4000) < 0.3).astype(int)
    numbers, table = measure_calibration(world(spec_of(), np.full(4000, 0.8), label))
    assert len(table) == 1 and table["gap"].item() == pytest.approx(label.mean() - 0.8)
    assert numbers["calibration_error"] == numbers["calibration_largest_gap"] == pytest.approx(0.8 - label.mean())


def test_the_error_is_the_one_that_the_gate_tests(spec_of, rows_of, fitted):
    scored = score_rows(fitted(), rows_of(), spec_of(), 0.4)
    numbers, _ = measure_calibration(scored)
    assert numbers["calibration_error"] == pytest.approx(
        calibration_error(scored.label, scored.scores["score"], scored.day).value
    )
    assert numbers["calibration_error_low"] < numbers["calibration_error"] < numbers["calibration_error_high"]


def test_of_many_classes_the_likeliest_is_asked(spec_of, rows_of, fitted):
    scored = score_rows(fitted("multiclass"), rows_of("multiclass"), spec_of("multiclass"), None)
    _, table = measure_calibration(scored)
    came_true = (scored.likeliest() == scored.label).mean()
    assert np.average(table["value"], weights=table["rows"]) == pytest.approx(came_true)
    assert table["predicted"].min() >= 1 / 3


def test_of_a_regression_the_mean_is_asked_in_units_of_the_label(spec_of):
    score = np.linspace(0, 100, 2000)
    numbers, table = measure_calibration(world(spec_of("regression"), score, score + np.where(score > 50, 4.0, 0.0)))
    assert numbers == {
        "calibration_error": pytest.approx(2.0, abs=0.01),
        "calibration_largest_gap": pytest.approx(4.0, abs=0.01),
    }
    assert list(table["gap"].round()) == [0] * 5 + [4] * 5
