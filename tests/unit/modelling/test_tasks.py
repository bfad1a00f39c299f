"""Binary, multiclass and regression: from labels to a candidate that predicts, by one path."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import log_loss, root_mean_squared_error

from ratchet.errors import EmptyWindowError, ModelFileError, SpecError
from ratchet.labels import make_labels
from ratchet.score import score_frame
from ratchet.snapshot import Snapshot, take_snapshot
from ratchet.specs import CandidateSpec, Evaluate, ModelSpec
from ratchet.train import train_candidate

CLASSES = ["low", "middle", "high"]  # not in the order of the alphabet
METRICS = {"binary": "roc_auc", "multiclass": "log_loss", "regression": "mae"}
KINDS = {
    "binary": ["base_rate", "logistic_regression", "hist_gradient_boosting", "sklearn.naive_bayes.GaussianNB"],
    "multiclass": ["base_rate", "logistic_regression", "hist_gradient_boosting", "sklearn.naive_bayes.GaussianNB"],
    "regression": ["base_rate", "hist_gradient_boosting", "sklearn.linear_model.Ridge"],
}
CASES = [(task, kind) for task, kinds in KINDS.items() for kind in kinds]


def spec_of(task, **changes):
    metric = METRICS[task]
    bound = {"at_least": 0.5} if metric == "roc_auc" else {"at_most": 9.0}
    return ModelSpec.model_validate(
        {
            "name": "heights",
            "description": "how high?",
            "owner": "us",
            "problem": {
                "objective": "to know",
                "success": {"metric": metric, **bound},
                "intended_use": "to sort",
                "users": ["sorters"],
                "not_for": ["people"],
                "risk_tier": "minimal",
            },
            "task": task,
            "classes": CLASSES if task == "multiclass" else [],
            "scored_dataset": "things",
            "outcome_dataset": "things",
            "predicted_at": "start_of_day",
            "inputs": {"things": {}},
            "feature_function": "things:features",
            "label_function": "things:labels",
            "numeric_features": ["a", "b"],
            "categorical_features": ["c"],
            "label_delay_days": 1,
            "promote_if": {
                "min_days_first": 2,
                "min_days_comparison": 2,
                "better_by": 0.01,
                "implausible_jump": None,
                "no_worse": {"metric": 0.1},
            },
            "retrain_when": {"metric_falls_by": 0.1},
            "first_windows": {"validate_days": 1, "judge_days": 1},
            "windows": {"validate_days": 1, "judge_days": 1},
            "candidates": [{"name": "base", "estimator": "base_rate"}],
            "approval": {"approvers": ["approver"]},
            "score_when": {"complete": ["things"]},
            **changes,
        }
    )


def snapshot_of(task, rows=600):
    draw = np.random.default_rng(5)
    frame = pd.DataFrame({"a": draw.normal(size=rows), "b": draw.normal(size=rows), "c": draw.choice([*"xyz"], rows)})
    value = frame["a"] + (frame["c"] == "x") + 0.1 * draw.normal(size=rows)
    label = {
        "binary": (value > 0.3).astype("int64"),
        "multiclass": pd.cut(value, [-99, -0.3, 0.7, 99], labels=CLASSES).astype("str"),
        "regression": 10 * value,
    }[task]
    frame.loc[::9, "a"], frame.loc[::11, "c"] = np.nan, None
    window = np.repeat(["train", "validate", "judge"], [rows // 2, rows // 4, rows // 4])
    frame = frame.astype({"c": "str"}).assign(day="2013-01-01", window=window, label=label)
    windows = {name: ["2013-01-01", "2013-01-01"] for name in ("train", "validate", "judge")}
    return Snapshot(frame, {"model": "heights", "windows": windows, "as_of": "2013-01-02"})


def fit(task, kind, **changes):
    return train_candidate(CandidateSpec(name="one", estimator=kind), spec_of(task, **changes), snapshot_of(task))


@pytest.mark.parametrize(("task", "kind"), CASES)
def test_each_task_is_learned_and_predicted_in_the_spec_s_columns(task, kind):
    spec, rows = spec_of(task), snapshot_of(task).frame.query("window == 'judge'")
    fitted, base = fit(task, kind), fit(task, "base_rate")
    scores = score_frame(fitted.estimator, rows, spec)
    assert list(scores.columns) == spec.score_columns and scores.index.equals(rows.index)
    assert (scores.dtypes == "float64").all() and np.isfinite(scores.to_numpy()).all()
    assert all(type(value) is float and np.isfinite(value) for value in fitted.metrics.values())
    if task == "multiclass":
        assert scores.sum(axis=1).to_numpy() == pytest.approx(1)
    if kind != "base_rate":
        metric = "rmse" if task == "regression" else "log_loss"
        assert fitted.metrics[metric] < 0.8 * base.metrics[metric]


def test_a_column_of_the_scores_is_the_class_that_it_is_named_after():
    rows = snapshot_of("multiclass").frame.query("window == 'judge'").dropna()
    scores = score_frame(fit("multiclass", "hist_gradient_boosting").estimator, rows, spec_of("multiclass"))
    said = scores.idxmax(axis=1).str.removeprefix("score_")
    assert (said == rows["label"]).mean() > 0.8


def test_multiclass_metrics_are_scikit_learn_s_on_the_validate_window():
    fitted, snapshot = fit("multiclass", "logistic_regression"), snapshot_of("multiclass")
    rows = snapshot.frame.query("window == 'validate'")
    scores = fitted.estimator.predict_proba(rows[["a", "b", "c"]])
    assert fitted.metrics["log_loss"] == pytest.approx(log_loss(rows["label"].tolist(), scores, labels=sorted(CLASSES)))
    assert fitted.metrics["accuracy"] == pytest.approx((fitted.estimator.predict(rows) == rows["label"]).mean())


def test_a_class_that_train_never_saw_gets_probability_zero():
    snapshot = snapshot_of("multiclass")
    frame = snapshot.frame[(snapshot.frame["window"] != "train") | (snapshot.frame["label"] != "middle")]
    spec = spec_of("multiclass")
    fitted = train_candidate(
        CandidateSpec(name="one", estimator="hist_gradient_boosting"), spec, Snapshot(frame, snapshot.manifest)
    )
    scores = score_frame(fitted.estimator, frame, spec)
    assert (scores["score_middle"] == 0).all() and scores[["score_low", "score_high"]].sum(axis=1).min() > 0.999
    assert np.isfinite(fitted.metrics["log_loss"])


def test_regression_metrics_are_of_the_validate_window_in_units_of_the_label():
    fitted, rows = fit("regression", "sklearn.linear_model.Ridge"), snapshot_of("regression").frame
    rows = rows.query("window == 'validate'")
    assert fitted.metrics["rmse"] == pytest.approx(
        root_mean_squared_error(rows["label"], fitted.estimator.predict(rows))
    )
    assert fitted.metrics.keys() == {"mae", "rmse", "rows_train", "rows_validate"}


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_a_window_of_one_class_is_refused(task):
    snapshot = snapshot_of(task)
    one = snapshot.frame["label"].mode()[0]
    frame = snapshot.frame[(snapshot.frame["window"] != "train") | (snapshot.frame["label"] == one)]
    with pytest.raises(EmptyWindowError, match="train window"):
        train_candidate(
            CandidateSpec(name="one", estimator="base_rate"), spec_of(task), Snapshot(frame, snapshot.manifest)
        )


def test_a_model_of_other_classes_is_refused():
    fitted = fit("multiclass", "logistic_regression")
    other = spec_of("multiclass", classes=["low", "middle", "top"])
    with pytest.raises(ModelFileError, match="one of its classes"):
        score_frame(fitted.estimator, snapshot_of("multiclass").frame, other)


@pytest.mark.parametrize(
    ("task", "kind", "told"),
    [
        ("regression", "logistic_regression", "can't learn the numbers"),
        ("regression", "sklearn.ensemble.RandomForestClassifier", "no estimator for a regression model"),
        ("binary", "sklearn.ensemble.RandomForestRegressor", "no estimator for a binary model"),
        ("binary", "sklearn.ensemble.NoSuchForest", "no estimator for a binary model"),
        ("binary", "sklearn.nowhere.LogisticRegression", "no estimator for a binary model"),
        ("binary", "sklearn.preprocessing.StandardScaler", "no estimator for a binary model"),
        ("binary", "sklearn.linear_model.RidgeClassifier", "no probabilities"),
    ],
)
def test_an_estimator_that_is_not_one_of_the_task_is_refused_by_name(task, kind, told):
    with pytest.raises(SpecError, match=told):
        fit(task, kind)


@pytest.mark.parametrize("kind", ["os.system", "sklearn.os.System2", "catboost.CatBoostClassifier", "sklearn.a.b", "x"])
def test_only_scikit_learn_s_classes_can_be_named(kind):
    with pytest.raises(ValueError, match="estimator"):
        CandidateSpec(name="one", estimator=kind)


def test_params_that_scikit_learn_refuses_are_told_with_the_candidate():
    candidate = CandidateSpec(name="wild", estimator="sklearn.linear_model.Ridge", params={"alpha": -3.0})
    with pytest.raises(SpecError, match="'wild'.*can't be fitted(.|\n)*alpha"):
        train_candidate(candidate, spec_of("regression"), snapshot_of("regression"))


def test_predictions_that_are_no_numbers_are_refused():
    snapshot = snapshot_of("regression")
    frame = snapshot.frame.assign(label=np.where(np.arange(len(snapshot.frame)) % 2, 1.7e308, -1.7e308))
    with pytest.raises(SpecError, match="can't be fitted"):
        train_candidate(
            CandidateSpec(name="one", estimator="sklearn.linear_model.LinearRegression"),
            spec_of("regression"),
            Snapshot(frame, snapshot.manifest),
        )


# Labels


def labelled(monkeypatch, task, values, strict=True):
    frame = pd.DataFrame({"id": range(len(values)), "label": values})
    monkeypatch.setattr("ratchet.labels.load_function", lambda _: lambda outcomes: outcomes)
    return make_labels(spec_of(task), frame, ["id"], strict)


@pytest.mark.parametrize(
    ("task", "values", "left"),
    [
        ("regression", [1.5, np.inf, None], [1.5, np.inf, None]),
        ("binary", [1, -1, "yes"], [1.0, -1.0, None]),
        ("multiclass", ["low", "unheard of", None], ["low", "unheard of", None]),
    ],
)
def test_monitoring_is_given_labels_that_can_not_be_used_as_well(monkeypatch, task, values, left):
    with pytest.raises(SpecError, match="can't be used"):
        labelled(monkeypatch, task, values)
    told = labelled(monkeypatch, task, values, strict=False)["label"]
    assert [None if pd.isna(one) else one for one in told] == left


@pytest.mark.parametrize(
    ("task", "values", "dtype"),
    [
        ("binary", [0, 1, 1], "int64"),
        ("binary", [True, False], "int64"),
        ("binary", [0.0, 1.0], "int64"),
        ("multiclass", ["low", "high"], "str"),
        ("regression", [1, -2.5, 3e9], "float64"),
    ],
)
def test_labels_that_a_task_can_learn(monkeypatch, task, values, dtype):
    label = labelled(monkeypatch, task, values)["label"]
    assert label.dtype == dtype and label.tolist() == values


@pytest.mark.parametrize(
    ("task", "values", "told"),
    [
        ("binary", [0, 1, 2], "0 or 1"),
        ("binary", [0, 1, None], "0 or 1"),
        ("binary", ["yes", "no"], "0 or 1"),
        ("multiclass", ["low", "High"], "one of .*middle"),
        ("multiclass", ["low", None], "one of .*middle"),
        ("regression", [1.0, float("nan")], "a finite number"),
        ("regression", [1.0, float("inf")], "a finite number"),
        ("regression", [1.0, "much"], "a finite number"),
    ],
)
def test_labels_that_it_can_not_are_a_clear_error(monkeypatch, task, values, told):
    with pytest.raises(SpecError, match=told):
        labelled(monkeypatch, task, values)


# Columns that rows are grouped by


def grouped_by(spec, *columns):
    return spec.model_copy(update={"evaluate": Evaluate(slices=["carrier"], sensitive=list(columns))})


def test_columns_to_group_by_that_are_no_features_come_along(spec, datasets, published, windows, snapshot, made):
    taken = take_snapshot(grouped_by(spec, "tailnum", "origin"), datasets, published, "2013-03-21", windows)
    assert set(taken.frame.columns) - set(snapshot.frame.columns) == {"tailnum"}
    pd.testing.assert_frame_equal(taken.frame.drop(columns="tailnum"), snapshot.frame)
    key = datasets["flights"].key
    both = taken.frame.merge(made["flights"], on=key, suffixes=("", "_delivered"), validate="one_to_one")
    assert len(both) == len(taken.frame) and (both["tailnum"] == both["tailnum_delivered"]).all()


def test_an_unknown_sensitive_column_is_an_error_that_names_those_there_are(spec, datasets, published, windows):
    with pytest.raises(SpecError, match="'religion'(.|\n)*'tailnum'"):
        take_snapshot(grouped_by(spec, "religion"), datasets, published, "2013-03-21", windows)
