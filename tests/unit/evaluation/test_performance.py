import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    brier_score_loss,
    log_loss,
    mean_absolute_error,
    precision_score,
    recall_score,
    roc_auc_score,
    root_mean_squared_error,
)

from ratchet.errors import EmptyWindowError, ParameterError
from ratchet.evaluation.performance import measure_performance
from ratchet.evaluation.scored import score_rows


def test_binary_measures_are_scikit_learns_each_within_its_interval(spec_of, rows_of, fitted):
    scored = score_rows(fitted(), rows_of(), spec_of(), 0.4)
    numbers, table = measure_performance(scored)
    score, said = scored.scores["score"], scored.scores["score"] >= 0.4
    assert numbers["roc_auc"] == pytest.approx(roc_auc_score(scored.label, score))
    assert numbers["brier"] == pytest.approx(brier_score_loss(scored.label, score))
    assert numbers["precision"] == pytest.approx(precision_score(scored.label, said))
    assert numbers["recall"] == pytest.approx(recall_score(scored.label, said))
    assert numbers["acted_on"] == pytest.approx(said.mean())
    assert (table["low"] < table["value"]).all() and (table["value"] < table["high"]).all()
    assert numbers["rows"] == 800 and set(table["days"]) == {20}


def test_multiclass_measures_are_scikit_learns(spec_of, rows_of, fitted):
    scored = score_rows(fitted("multiclass"), rows_of("multiclass"), spec_of("multiclass"), None)
    numbers, _ = measure_performance(scored)
    probabilities = scored.scores.to_numpy()
    late = scored.label == "late"
    assert numbers["log_loss"] == pytest.approx(log_loss(scored.label, probabilities))
    assert numbers["accuracy"] == pytest.approx(accuracy_score(scored.label, scored.likeliest()))
    assert numbers["class.late.roc_auc"] == pytest.approx(roc_auc_score(late, scored.scores["score_late"]))
    assert numbers["class.late.recall"] == pytest.approx((scored.likeliest()[late] == "late").mean())


def test_regression_measures_are_scikit_learns_and_bias_has_a_sign(spec_of, rows_of, fitted):
    rows = rows_of("regression")
    numbers, _ = measure_performance(score_rows(fitted("regression"), rows, spec_of("regression"), None))
    score = fitted("regression").predict(rows)
    assert numbers["mae"] == pytest.approx(mean_absolute_error(rows["label"], score))
    assert numbers["rmse"] == pytest.approx(root_mean_squared_error(rows["label"], score))
    above = rows.assign(label=rows["label"] - 7)
    assert measure_performance(score_rows(fitted("regression"), above, spec_of("regression"), None))[0]["bias"] > 6


def test_what_can_not_be_measured_is_said_and_the_rest_stands(spec_of, rows_of, fitted):
    """Nobody is acted on: there is no precision, and everything else."""
    numbers, table = measure_performance(score_rows(fitted(), rows_of(), spec_of(), 2.0))
    assert "precision" not in numbers and numbers["acted_on"] == 0 and numbers["roc_auc"] > 0.6
    assert table.set_index("measure").loc["precision", "note"] == "too few"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda rows: rows.assign(label=1),
        lambda rows: rows.assign(day="2024-05-01"),
        lambda rows: rows.iloc[:0],
        lambda rows: rows.assign(label=rows["label"].astype(float).mask(rows.index == 3)),
    ],
    ids=["one class", "one day", "no rows", "a row without a label"],
)
def test_rows_that_say_nothing_are_refused(spec_of, rows_of, fitted, spoil):
    with pytest.raises(EmptyWindowError) as caught:
        measure_performance(score_rows(fitted(), spoil(rows_of()), spec_of(), 0.4))
    assert str(caught.value).splitlines()[-1].startswith("  do: ")


@pytest.mark.parametrize("threshold", [None, np.nan, np.inf])
def test_a_binary_model_needs_a_threshold_that_is_a_number(spec_of, rows_of, fitted, threshold):
    with pytest.raises(ParameterError, match="threshold"):
        score_rows(fitted(), rows_of(), spec_of(), threshold)
