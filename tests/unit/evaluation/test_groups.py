import numpy as np
import pandas as pd
import pytest
from mlflow.utils.validation import _validate_metric
from sklearn.metrics import roc_auc_score

from ratchet.errors import ParameterError
from ratchet.evaluation.groups import groups_of, measure_fairness, measure_slices
from ratchet.evaluation.scored import Scored, score_rows


@pytest.fixture
def scored(spec_of):
    """Scores as they are given, on 20 days; `said` against a threshold of one half."""

    def make(label, score, place, **evaluate) -> Scored:
        days = [f"2024-05-{1 + at % 20:02d}" for at in range(len(label))]
        rows = pd.DataFrame({"label": label, "day": days, "place": place})
        return Scored(spec_of(**evaluate), rows, pd.DataFrame({"score": score}), 0.5)

    return make


def test_a_slice_has_the_metric_of_its_rows_alone(spec_of, rows_of, fitted):
    whole = score_rows(fitted(), rows_of(), spec_of(), 0.4)
    numbers, table = measure_slices(whole)
    north = whole.rows["place"] == "north"
    expected = roc_auc_score(whole.label[north], whole.scores.loc[north, "score"])
    assert numbers["slice.place.north.roc_auc"] == pytest.approx(expected)
    line = table.set_index("group").loc["north"]
    assert line["rows"] == north.sum() and line["low"] < line["value"] < line["high"]


def test_the_worst_slice_and_its_size_are_named(spec_of, rows_of, fitted):
    """In the south the labels are turned round."""
    rows = rows_of()
    south = rows["place"] == "south"
    rows["label"] = rows["label"].mask(south, 1 - rows["label"])
    numbers, table = measure_slices(score_rows(fitted(), rows, spec_of(), 0.4))
    assert list(table[table["worst"]]["group"]) == ["south"] and table[table["worst"]]["note"].item() == "worst"
    assert numbers["slice_worst_roc_auc"] == numbers["slice.place.south.roc_auc"] < 0.5
    assert numbers["slice_worst_rows"] == south.sum()


def test_of_losses_the_worst_slice_has_the_most(spec_of, rows_of, fitted):
    rows = rows_of("regression")
    rows["label"] += 9 * (rows["place"] == "south")
    _, table = measure_slices(score_rows(fitted("regression"), rows, spec_of("regression"), None))
    assert list(table[table["worst"]]["group"]) == ["south"]


def test_slices_of_one_row_or_one_class_are_shown_with_too_few(spec_of, rows_of, fitted):
    rows = rows_of()
    rows["place"] = rows["place"].mask(rows["label"] == 0, "never late").mask(rows.index == 5, "once")
    numbers, table = measure_slices(score_rows(fitted(), rows, spec_of(), 0.4))
    of = table.set_index("group")
    assert of.loc["once", "rows"] == 1 and of.loc["once", "note"] == "too few" and pd.isna(of.loc["once", "value"])
    assert of.loc["never late", "note"] == "too few"
    assert set(numbers) == set() and not table["worst"].any()


def test_a_small_slice_is_shown_and_is_not_the_worst(spec_of, rows_of, fitted):
    rows = rows_of()
    few = rows.index < 40
    rows["place"] = rows["place"].mask(few, "tiny")
    rows["label"] = rows["label"].mask(few, 1 - rows["label"])
    rows.loc[few, "day"] = [f"2024-05-{1 + at % 20:02d}" for at in range(40)]
    _, table = measure_slices(score_rows(fitted(), rows, spec_of(), 0.4))
    of = table.set_index("group")
    assert of.loc["tiny", "value"] == table["value"].min()
    assert (of.loc["tiny", "note"], of.loc["tiny", "worst"]) == ("small: decides nothing", False)


def test_groups_are_bounded_and_lose_no_row():
    column = pd.Series([str(value) for value in range(100) for _ in range(1 + value % 50)] + [None] * 60)
    groups = groups_of(column)
    assert groups.nunique() == 31 and len(groups) == len(column) and groups.notna().all()
    assert (groups == "(missing)").sum() == 60


def test_names_of_numbers_suit_mlflow_whatever_the_data_holds(spec_of, rows_of, fitted):
    rows = rows_of()
    odd = ["=1+1", "../../etc", "<b>x</b>", "ü" * 300]
    rows["place"] = np.array(odd)[np.arange(len(rows)) % 4]
    scored = score_rows(fitted(), rows, spec_of(), 0.4)
    numbers = measure_slices(scored)[0] | measure_fairness(scored)[0]
    assert len(numbers) == 4 + 2 + 2
    for name, value in numbers.items():
        _validate_metric(name, value, 0, 0)


def test_fairness_by_hand(scored):
    """Selected: 1/2 of a, 1/4 of b. Found: 3/4 of a's positives, 1/4 of b's."""
    label = [1] * 80 + [0] * 80 + [1] * 80 + [0] * 80
    score = ([1] * 60 + [0] * 20) + ([1] * 20 + [0] * 60) + ([1] * 20 + [0] * 60) + ([1] * 20 + [0] * 60)
    numbers, table, rates = measure_fairness(scored(label, score, ["a"] * 160 + ["b"] * 160))
    assert numbers == {
        "fairness.place.demographic_parity_ratio": pytest.approx(0.5),
        "fairness.place.equal_opportunity_difference": pytest.approx(0.5),
    }
    assert list(table["groups"]) == [2, 2]
    of = rates.set_index("group")
    assert of.loc["a", "selection_rate"] == 0.5 and of.loc["b", "true_positive_rate"] == 0.25
    assert (rates["selection_rate_low"] <= rates["selection_rate"]).all()


def test_a_small_group_and_one_without_positives_decide_nothing(scored):
    label = [1, 0] * 80 + [1, 0] * 80 + [0] * 160 + [1] * 10
    score = [1, 0] * 80 + [1, 0] * 80 + [1, 0] * 80 + [0] * 10
    place = ["a"] * 160 + ["b"] * 160 + ["no positives"] * 160 + ["small"] * 10
    numbers, table, rates = measure_fairness(scored(label, score, place))
    assert numbers["fairness.place.demographic_parity_ratio"] == 1
    assert numbers["fairness.place.equal_opportunity_difference"] == 0
    assert list(table["groups"]) == [3, 2]
    notes = rates.set_index("group")["note"]
    assert notes["no positives"] == "too few" and notes["small"] in ("too few", "small: decides nothing")


def test_fairness_of_one_group_or_when_nobody_is_selected_is_said_not_made_up(scored):
    label, place = [1, 0] * 100, ["a"] * 100 + ["b"] * 100
    numbers, table, _ = measure_fairness(scored(label, label, ["a"] * 200))
    assert numbers == {} and table["note"].str.startswith("too few").all()
    numbers, table, _ = measure_fairness(scored(label, [0] * 200, place))
    assert numbers == {} and set(table["note"]) == {"nobody was selected"}


def test_fairness_of_many_classes_is_by_class_and_of_a_regression_not_applicable(spec_of, rows_of, fitted):
    many = score_rows(fitted("multiclass"), rows_of("multiclass"), spec_of("multiclass"), None)
    assert set(measure_fairness(many)[1]["decision"]) == {"early", "late", "right"}
    assert "fairness.place.late.demographic_parity_ratio" in measure_fairness(many)[0]
    numbers, table, _ = measure_fairness(
        score_rows(fitted("regression"), rows_of("regression"), spec_of("regression"), None)
    )
    assert numbers == {} and table["note"].item().startswith("not applicable")


@pytest.mark.parametrize("key", ["slices", "sensitive"])
def test_an_unknown_column_is_refused_with_those_there_are(spec_of, rows_of, fitted, key):
    with pytest.raises(ParameterError) as caught:
        score_rows(fitted(), rows_of(), spec_of(**{key: ["plaice"]}), 0.4)
    assert "plaice" in str(caught.value) and "'place'" in str(caught.value) and key in str(caught.value)
