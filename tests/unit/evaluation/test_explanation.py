from itertools import combinations
from math import comb

import numpy as np
import pandas as pd
import pytest

from ratchet.evaluation.explanation import BACKGROUND, explain_scores, measure_importance, top_reasons
from ratchet.evaluation.scored import sample, score_rows
from ratchet.evaluation.shapley import shapley_values
from ratchet.score import score_frame


def exact_shapley(estimator, row, spec, background) -> np.ndarray:
    """By the definition: over all subsets of the other features."""

    def mean_score(known) -> float:
        mixed = background[spec.features].assign(**{name: row[name].iloc[0] for name in known})
        mixed = mixed.astype(background[spec.features].dtypes)
        return score_frame(estimator, mixed, spec)["score"].mean()

    found = []
    for feature in spec.features:
        others = [name for name in spec.features if name != feature]
        found.append(
            sum(
                (mean_score([*known, feature]) - mean_score(known)) / len(spec.features) / comb(len(others), size)
                for size in range(len(others) + 1)
                for known in combinations(others, size)
            )
        )
    return np.array(found)


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_importance_finds_what_the_label_was_made_of(spec_of, rows_of, fitted, task):
    spec = spec_of(task)
    numbers, table = measure_importance(fitted(task), score_rows(fitted(task), rows_of(task), spec, 0.4))
    assert set(table["feature"][:2]) == {"size", "colour"}
    assert numbers["importance.size"] > 0.05 > abs(numbers["importance.noise"])
    assert ((table["low"] <= table["drop"]) & (table["drop"] <= table["high"])).all()


def test_shapley_values_add_up_to_the_score_exactly(spec_of, rows_of, fitted):
    spec, rows, background = spec_of(), rows_of().iloc[::40], rows_of(seed=5).iloc[::80]
    values = shapley_values(fitted(), rows, spec, background)
    less = score_frame(fitted(), background, spec)["score"].mean()
    assert values.sum(axis=1)[:, 0] == pytest.approx((score_frame(fitted(), rows, spec)["score"] - less).to_numpy())


def test_shapley_values_are_those_of_the_definition(spec_of, rows_of, fitted):
    """Boosted trees with splits on categories, where two features interact at most or nearly so."""
    spec, rows, background = spec_of(), rows_of().iloc[:6], rows_of(seed=5).iloc[::80]
    values = shapley_values(fitted(), rows, spec, background)[:, :, 0]
    exact = [exact_shapley(fitted(), rows.iloc[[at]], spec, background) for at in range(len(rows))]
    assert values == pytest.approx(np.array(exact), abs=0.02)


def test_shapley_values_of_a_linear_regression_are_exact(spec_of, rows_of):
    """coefficient x (value - mean of the background), as Lundberg and Lee have it."""
    from sklearn.linear_model import LinearRegression

    spec = spec_of("regression").model_copy(update={"categorical_features": []})
    rows = rows_of("regression").dropna()
    linear = LinearRegression().fit(rows[spec.features], rows["label"])
    background = rows.iloc[::50]
    values = shapley_values(linear, rows.iloc[:30], spec, background)[:, :, 0]
    mean = background[spec.features].mean().to_numpy()
    assert values == pytest.approx(linear.coef_ * (rows.iloc[:30][spec.features].to_numpy() - mean))


def test_shapley_values_are_those_of_the_shap_library(spec_of, rows_of):
    """Boosted trees on two numbers, explained by shap's exact method."""
    import shap
    from sklearn.ensemble import HistGradientBoostingClassifier

    spec = spec_of().model_copy(update={"categorical_features": []})
    rows, background = rows_of().iloc[:20], rows_of(seed=5).iloc[::80]
    boosted = HistGradientBoostingClassifier(max_iter=15).fit(rows_of()[spec.features], rows_of()["label"])

    def score(matrix):
        return score_frame(boosted, pd.DataFrame(matrix, columns=spec.features), spec).to_numpy()[:, 0]

    masker = shap.maskers.Independent(background[spec.features].to_numpy())
    expected = shap.ExactExplainer(score, masker)(rows[spec.features].to_numpy(), silent=True).values
    assert shapley_values(boosted, rows, spec, background)[:, :, 0] == pytest.approx(expected)


def test_missing_values_and_categories_get_effects_that_add_up(spec_of, rows_of, fitted):
    spec, background = spec_of(), rows_of(seed=5).iloc[::80]
    rows = rows_of().iloc[:4].assign(size=np.nan, colour=pd.array([None, "violet", "red", None], dtype="str"))
    values = shapley_values(fitted(), rows, spec, background)
    less = score_frame(fitted(), background, spec)["score"].mean()
    assert values.sum(axis=1)[:, 0] == pytest.approx((score_frame(fitted(), rows, spec)["score"] - less).to_numpy())


def test_top_reasons_name_what_moves_a_score_with_its_value(spec_of, rows_of, fitted):
    rows = rows_of().iloc[:1].assign(size=3.0, colour=pd.array(["red"], dtype="str"))
    rows.index = ["flight 7"]
    reasons = top_reasons(fitted(), rows, spec_of(), k=2, background=rows_of(seed=5))
    assert list(reasons["feature"]) == ["size", "colour"] and list(reasons["value"]) == [3.0, "red"]
    assert list(reasons["rank"]) == [1, 2] and (reasons["effect"] > 0.05).all()
    assert set(reasons["row"]) == {"flight 7"} and set(reasons["method"]) == {"shap"}
    assert reasons["score"].iloc[0] == score_frame(fitted(), rows, spec_of())["score"].item()


def test_without_a_background_each_feature_is_left_out_in_turn(spec_of, rows_of, fitted):
    rows = rows_of().iloc[:1].assign(size=3.0)
    reasons = top_reasons(fitted(), rows, spec_of(), k=9)
    without = score_frame(fitted(), rows.assign(size=np.nan), spec_of())["score"].item()
    assert set(reasons["method"]) == {"left out"}
    effect = reasons.set_index("feature")["effect"]
    gone = top_reasons(fitted(), rows.assign(size=np.nan), spec_of(), 9, rows_of()).set_index("feature")["value"]
    assert gone["size"] == "(missing)"
    assert effect["size"] == pytest.approx(score_frame(fitted(), rows, spec_of())["score"].item() - without)


def test_shap_is_for_where_it_is_cheap(spec_of, rows_of, fitted, monkeypatch):
    """Rows x background x (2 features + 1) is what it scores."""
    rows = rows_of().iloc[:10]
    monkeypatch.setattr("ratchet.evaluation.explanation.MOST_SCORED", 10 * BACKGROUND * 9)
    assert set(top_reasons(fitted(), rows, spec_of(), 1, rows_of())["method"]) == {"shap"}
    monkeypatch.setattr("ratchet.evaluation.explanation.MOST_SCORED", 10 * BACKGROUND * 9 - 1)
    assert set(top_reasons(fitted(), rows, spec_of(), 1, rows_of())["method"]) == {"left out"}


def test_a_model_that_looks_at_nothing_has_no_reasons(spec_of, rows_of, fitted):
    estimator = fitted(kind="base_rate")
    assert top_reasons(estimator, rows_of().iloc[:3], spec_of(), background=rows_of()).empty
    found = explain_scores(estimator, score_rows(estimator, rows_of(), spec_of(), 0.4))
    assert found["reasons"].empty and set(found["effects"]["effect"]) == {0}


def test_of_many_classes_the_reasons_are_those_of_the_likeliest(spec_of, rows_of, fitted):
    rows = rows_of("multiclass").iloc[:1].assign(size=-4.0)
    reasons = top_reasons(fitted("multiclass"), rows, spec_of("multiclass"), 1, rows_of("multiclass"))
    assert reasons["score_column"].item() == "score_early" and reasons["feature"].item() == "size"
    assert reasons["effect"].item() > 0


def test_the_global_effects_and_three_rows_are_explained(spec_of, rows_of, fitted):
    scored = score_rows(fitted(), rows_of(), spec_of(), 0.4)
    found = explain_scores(fitted(), scored)
    assert set(found["effects"]["feature"][:2]) == {"size", "colour"}
    reasons = found["reasons"].drop_duplicates("row").set_index("row")["score"]
    assert reasons["highest score"] > reasons["middle score"] > reasons["lowest score"]
    assert found["effects_by_row"]["row"].nunique() == 100


def test_a_sample_is_bounded_seeded_and_in_order(rows_of):
    drawn = sample(rows_of(), 50, 1)
    assert len(drawn) == 50 and drawn.index.is_monotonic_increasing and drawn.index.is_unique
    assert drawn.equals(sample(rows_of(), 50, 1)) and not drawn.equals(sample(rows_of(), 50, 2))


def test_positives_too_rare_for_the_sample_leave_the_table_empty(spec_of, rows_of, fitted, monkeypatch):
    """Enough for the whole, too few among the rows drawn: an answer, no crash."""
    monkeypatch.setattr("ratchet.evaluation.explanation.MOST_ROWS", 40)
    rows = rows_of()
    rare = rows.assign(label=(rows.index % 200 == 0).astype(int))
    numbers, table = measure_importance(fitted(), score_rows(fitted(), rare, spec_of(), 0.4))
    assert numbers == {} and table.empty and list(table.columns) == ["feature", "drop", "low", "high"]
