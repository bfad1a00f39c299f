import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from ratchet.candidates import make_estimator
from ratchet.errors import EmptyWindowError, ParameterError, SpecError
from ratchet.score import score_frame
from ratchet.snapshot import Snapshot
from ratchet.specs import CandidateSpec, Costs, Evaluate
from ratchet.train import challenger_identity, choose_best, measure, train_candidate

KINDS = ["base_rate", "logistic", "boosting_small", "boosting_large"]


def candidate(spec, name):
    return next(c for c in spec.candidates if c.name == name)


@pytest.mark.parametrize("name", KINDS)
def test_training_twice_gives_the_same_predictions_and_metrics(spec, snapshot, name):
    one, two = (train_candidate(candidate(spec, name), spec, snapshot) for _ in range(2))
    judged = snapshot.frame[snapshot.frame["window"] == "judge"]
    assert score_frame(one.estimator, judged, spec).equals(score_frame(two.estimator, judged, spec))
    assert one.metrics == two.metrics


@pytest.mark.parametrize("name", KINDS)
def test_a_row_gets_its_score_whatever_rows_come_with_it(spec, snapshot, name):
    fitted = train_candidate(candidate(spec, name), spec, snapshot)
    rows = snapshot.frame.iloc[::7]
    whole = score_frame(fitted.estimator, rows, spec)["score"]
    alone = score_frame(fitted.estimator, rows.iloc[3:4], spec)["score"]
    assert alone.iloc[0] == pytest.approx(whole.iloc[3], rel=1e-12) and alone.index[0] == whole.index[3]


def test_the_judge_window_is_not_looked_at(spec, snapshot):
    """Other judge rows, same model; and the train window decides what is fitted."""
    frame = snapshot.frame.copy()
    judged = frame["window"] == "judge"
    frame.loc[judged, "label"] = 1 - frame.loc[judged, "label"]
    frame.loc[judged, "temp"] = -999.0
    one = train_candidate(candidate(spec, "logistic"), spec, snapshot)
    two = train_candidate(candidate(spec, "logistic"), spec, Snapshot(frame, snapshot.manifest))
    rows = snapshot.frame[snapshot.frame["window"] == "validate"]
    assert score_frame(one.estimator, rows, spec).equals(score_frame(two.estimator, rows, spec))
    assert one.metrics == two.metrics


def test_the_scaler_and_the_imputer_see_the_train_window_only(spec, snapshot):
    fitted = train_candidate(candidate(spec, "logistic"), spec, snapshot).estimator
    train = snapshot.frame[snapshot.frame["window"] == "train"]
    imputer = fitted.named_steps["columns"].named_transformers_["numeric"].named_steps["impute"]
    assert imputer.statistics_ == pytest.approx(train[spec.numeric_features].median().to_numpy())


@pytest.mark.parametrize("name", KINDS)
def test_unseen_categories_and_missing_values_get_a_probability(spec, snapshot, name):
    fitted = train_candidate(candidate(spec, name), spec, snapshot)
    rows = snapshot.frame.head(3).copy()
    rows["carrier"], rows["dest"] = "ZZ", None
    rows[["temp", "plane_age", "wind_gust"]] = np.nan
    assert score_frame(fitted.estimator, rows, spec)["score"].between(0, 1).all()


def test_metrics_are_those_of_the_validate_window(spec, snapshot):
    fitted = train_candidate(candidate(spec, "boosting_small"), spec, snapshot)
    rows = snapshot.frame[snapshot.frame["window"] == "validate"]
    score = score_frame(fitted.estimator, rows, spec)
    assert fitted.metrics["roc_auc"] == pytest.approx(roc_auc_score(rows["label"], score))
    assert fitted.metrics["rows_validate"] == len(rows)
    assert all(type(value) is float and np.isfinite(value) for value in fitted.metrics.values())
    assert 0 <= fitted.metrics["threshold"] <= 1


def test_the_base_rate_says_the_share_of_train_and_can_not_tell_rows_apart(spec, snapshot):
    fitted = train_candidate(candidate(spec, "base_rate"), spec, snapshot)
    share = snapshot.frame.query("window == 'train'")["label"].mean()
    score = score_frame(fitted.estimator, snapshot.frame, spec)["score"]
    assert score.tolist() == pytest.approx([share] * len(snapshot.frame))
    assert fitted.metrics["roc_auc"] == 0.5


@pytest.mark.parametrize("window", ["train", "validate"])
def test_a_window_of_one_class_is_an_error_that_names_it(spec, snapshot, window):
    frame = snapshot.frame[(snapshot.frame["window"] != window) | (snapshot.frame["label"] == 0)]
    with pytest.raises(EmptyWindowError, match=f"{window} window"):
        train_candidate(candidate(spec, "base_rate"), spec, Snapshot(frame, snapshot.manifest))


def test_a_parameter_that_the_estimator_does_not_take_is_named(spec):
    wrong = CandidateSpec(name="wrong", estimator="hist_gradient_boosting", params={"depth_of_thought": 3})
    with pytest.raises(SpecError, match="depth_of_thought"):
        make_estimator(wrong, spec)


@pytest.mark.parametrize("estimator", ["base_rate", "logistic_regression", "hist_gradient_boosting"])
def test_models_without_any_category_or_number_can_be_made(spec, snapshot, estimator):
    for kept in ({"categorical_features": []}, {"numeric_features": []}):
        narrow = spec.model_copy(update=kept)
        fitted = train_candidate(CandidateSpec(name="one", estimator=estimator), narrow, snapshot)
        assert fitted.metrics["log_loss"] > 0


def test_the_best_is_best_by_metric_then_log_loss_then_name():
    metrics = {
        "b": {"roc_auc": 0.7, "log_loss": 0.5},
        "a": {"roc_auc": 0.7, "log_loss": 0.5},
        "c": {"roc_auc": 0.7, "log_loss": 0.6},
        "d": {"roc_auc": 0.6, "log_loss": 0.1},
    }
    assert choose_best(metrics) == choose_best(dict(reversed(metrics.items()))) == "a"
    assert choose_best({**metrics, "e": {"roc_auc": 0.8, "log_loss": 9.0}}) == "e"
    assert choose_best(metrics, "log_loss") == "d"
    assert choose_best({"a": {"mae": 2.0, "rmse": 3.0}, "b": {"mae": 2.0, "rmse": 2.5}}, "mae") == "b"


@pytest.mark.parametrize("bad", [{}, {"a": {"log_loss": 0.1}}, {"a": {"roc_auc": float("nan"), "log_loss": 0.1}}])
def test_a_candidate_that_failed_does_not_vanish_from_the_choice(bad):
    with pytest.raises(ParameterError):
        choose_best(bad and {"good": {"roc_auc": 0.7, "log_loss": 0.5}, **bad})


def test_the_identity_moves_with_what_makes_the_model_and_with_nothing_else(spec):
    def identity(snapshot="s", spec=spec, source="c", lock="l", seed=1):
        return challenger_identity(snapshot, spec, source, lock, seed)

    same = spec.model_copy(update={"owner": "someone else", "description": "other words", "tags": []})
    assert identity(spec=same) == identity()
    fewer = spec.model_copy(update={"candidates": spec.candidates[:2]})
    dearer = spec.model_copy(update={"evaluate": Evaluate(costs=Costs(missed=50, false_alarm=1))})
    others = [identity("t"), identity(spec=fewer), identity(source="d"), identity(lock="m"), identity(seed=2)]
    assert len({identity(), identity(spec=dearer), *others}) == 7


def test_threshold_gives_the_best_f1(spec):
    spec = spec.model_copy(update={"evaluate": Evaluate()})
    label, score = pd.Series([0, 0, 1, 0, 1, 1]), pd.DataFrame({"score": [0.1, 0.2, 0.3, 0.4, 0.6, 0.9]})
    measured = measure(label, score, spec)
    assert measured["threshold"] == 0.3 and measured["f1"] == pytest.approx(6 / 7)


@pytest.mark.parametrize(("missed", "false_alarm"), [(5, 1), (1, 5), (1, 1), (1000, 1), (1, 1000)])
def test_threshold_is_the_cheapest_where_costs_are_given(spec, missed, false_alarm):
    spec = spec.model_copy(update={"evaluate": Evaluate(costs=Costs(missed=missed, false_alarm=false_alarm))})
    draw = np.random.default_rng(6)
    score = pd.DataFrame({"score": draw.random(400)})
    label = pd.Series((draw.random(400) < score["score"]).astype(int))

    def cost(threshold):
        acted = score["score"] >= threshold
        return missed * (label[~acted] == 1).sum() + false_alarm * (label[acted] == 0).sum()

    chosen = measure(label, score, spec)["threshold"]
    assert cost(chosen) == min(cost(threshold) for threshold in [*score["score"], 2.0])


def test_the_threshold_is_chosen_on_the_validate_window(spec, snapshot):
    fitted = train_candidate(candidate(spec, "logistic"), spec, snapshot)
    rows = snapshot.frame[snapshot.frame["window"] == "validate"]
    scores = score_frame(fitted.estimator, rows, spec)
    assert fitted.metrics["threshold"] == measure(rows["label"], scores, spec)["threshold"]
    assert fitted.metrics["threshold"] in set(scores["score"])
