import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from ratchet.evaluation.robustness import UNSEEN, WAYS, measure_robustness, spoilt
from ratchet.evaluation.scored import score_rows

LARGE = 200  # rows a day


def way(kind, strength):
    return next(one for one in WAYS if (one.kind, one.strength) == (kind, strength))


def test_missing_takes_its_share_of_every_feature(spec_of, rows_of):
    rows = rows_of(a_day=LARGE)
    seen = spoilt(rows, spec_of(), way("missing", 0.3))
    for name in spec_of().features:
        assert seen[name].isna().mean() == pytest.approx(0.3 + 0.7 * rows[name].isna().mean(), abs=0.03)
    assert seen[["label", "day"]].equals(rows[["label", "day"]])


def test_noise_is_of_the_stated_size_and_leaves_missing_values_and_categories(spec_of, rows_of):
    rows = rows_of(a_day=LARGE)
    seen = spoilt(rows, spec_of(), way("noise", 0.5))
    assert (seen["size"] - rows["size"]).std() == pytest.approx(0.5 * rows["size"].std(), rel=0.05)
    assert seen["size"].isna().equals(rows["size"].isna()) and seen["colour"].equals(rows["colour"])


def test_unseen_is_a_category_that_no_row_has(spec_of, rows_of):
    rows = rows_of(a_day=LARGE)
    assert UNSEEN not in set(rows["colour"])
    assert (spoilt(rows, spec_of(), way("unseen", 1.0))["colour"] == UNSEEN).all()
    some = spoilt(rows, spec_of(), way("unseen", 0.1))["colour"]
    assert (some == UNSEEN).mean() == pytest.approx(0.1, abs=0.02)
    assert ((some == UNSEEN) | (some == rows["colour"])).all()


def test_out_of_range_lies_ten_ranges_outside_on_both_sides(spec_of, rows_of):
    rows = rows_of(a_day=LARGE)
    seen = spoilt(rows, spec_of(), way("out_of_range", 0.1))["noise"]
    least, most = rows["noise"].min(), rows["noise"].max()
    beyond = seen[(seen < least) | (seen > most)]
    assert len(beyond) / len(rows) == pytest.approx(0.1, abs=0.02)
    span = most - least
    assert set(beyond.round(6)) == {round(least - 10 * span, 6), round(most + 10 * span, 6)}


def test_every_kind_has_its_drop_with_an_interval(spec_of, rows_of, fitted):
    scored = score_rows(fitted(), rows_of(a_day=LARGE), spec_of(), 0.4)
    numbers, table = measure_robustness(fitted(), scored)
    assert list(table["kind"]) == [one.kind for one in WAYS] and table["finite"].all()
    assert ((table["low"] < table["drop"]) & (table["drop"] < table["high"])).all()
    assert numbers["robustness.missing_30.drop"] > numbers["robustness.missing_10.drop"] > 0
    assert numbers["robustness_failures"] == 0


def test_of_a_loss_worse_is_more(spec_of, rows_of, fitted):
    scored = score_rows(fitted("regression"), rows_of("regression"), spec_of("regression"), None)
    assert measure_robustness(fitted("regression"), scored)[0]["robustness.missing_30.drop"] > 0


def test_the_same_rows_are_spoilt_in_the_same_way(spec_of, rows_of, fitted):
    scored = score_rows(fitted(), rows_of(), spec_of(), 0.4)
    assert measure_robustness(fitted(), scored)[1].equals(measure_robustness(fitted(), scored)[1])


def test_a_model_that_looks_at_nothing_loses_nothing(spec_of, rows_of, fitted):
    scored = score_rows(fitted(kind="base_rate"), rows_of(), spec_of(), 0.4)
    assert set(measure_robustness(fitted(kind="base_rate"), scored)[1]["drop"]) == {0.0}


def test_an_estimator_that_can_not_take_a_missing_value_is_a_failure_on_record(spec_of, rows_of):
    rows = rows_of().assign(size=lambda frame: frame["size"].fillna(0))
    brittle = make_pipeline(FunctionTransformer(lambda frame: frame[["size", "noise"]]), LogisticRegression())
    brittle.fit(rows[spec_of().features], rows["label"])
    numbers, table = measure_robustness(brittle, score_rows(brittle, rows, spec_of(), 0.4))
    assert numbers["robustness_failures"] == 2
    failed = table[~table["finite"]]
    assert set(failed["kind"]) == {"missing"} and failed["note"].str.contains("NaN").all()


def test_scores_that_are_no_numbers_are_a_failure(spec_of, rows_of, fitted):
    class Overflows:
        classes_ = fitted().classes_

        def predict_proba(self, frame):
            found = fitted().predict_proba(frame)
            return np.where(np.abs(frame[["size"]].fillna(0).to_numpy()) > 20, np.nan, found)

    numbers, table = measure_robustness(Overflows(), score_rows(Overflows(), rows_of(), spec_of(), 0.4))
    assert set(table[~table["finite"]]["kind"]) == {"out_of_range"} and numbers["robustness_failures"] == 2


def test_kinds_that_no_feature_has_are_left_out(spec_of, rows_of, fitted):
    spec = spec_of().model_copy(update={"categorical_features": []})
    rows = rows_of()
    estimator = make_pipeline(FunctionTransformer(np.nan_to_num), LogisticRegression()).fit(
        rows[spec.features], rows["label"]
    )
    assert "unseen" not in set(measure_robustness(estimator, score_rows(estimator, rows, spec, 0.4))[1]["kind"])
