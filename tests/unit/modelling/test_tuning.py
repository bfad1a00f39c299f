"""A search: the same end however often it is interrupted; the validate window decides; time and trials are honoured."""

import json

import numpy as np
import pandas as pd
import pytest

from ratchet import tuning
from ratchet.errors import ModelFileError, ParameterError, SpecError
from ratchet.snapshot import Snapshot
from ratchet.specs import CandidateSpec, ModelSpec
from ratchet.storage import open_storage
from ratchet.train import train_candidate
from ratchet.tuning import Trial, Trials, search

SPACE = {
    "max_depth": {"low": 1, "high": 8, "whole": True},
    "min_impurity_decrease": {"low": 1e-6, "high": 0.1, "log": True},
    "criterion": ["gini", "log_loss"],
}
SPEC = ModelSpec.model_validate(
    {
        "name": "weights",
        "description": "is it heavy?",
        "owner": "us",
        "problem": {
            "objective": "to know",
            "success": {"metric": "brier", "at_most": 0.3},
            "intended_use": "to sort",
            "users": ["sorters"],
            "not_for": ["people"],
            "risk_tier": "minimal",
        },
        "scored_dataset": "things",
        "outcome_dataset": "things",
        "predicted_at": "start_of_day",
        "inputs": {"things": {}},
        "feature_function": "things:features",
        "label_function": "things:labels",
        "numeric_features": ["a", "b"],
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
    }
)


def candidate(trials=14, seconds=600.0, space=SPACE, **params):
    asked = {"space": space, "trials": trials, "seconds": seconds}
    tree = "sklearn.tree.DecisionTreeClassifier"
    return CandidateSpec.model_validate({"name": "tree", "estimator": tree, "params": params, "search": asked})


@pytest.fixture(scope="module")
def snapshot():
    draw = np.random.default_rng(4)
    frame = pd.DataFrame({"a": draw.normal(size=600), "b": draw.normal(size=600)})
    label = (frame["a"] + frame["b"] ** 2 + draw.normal(size=600) > 1).astype("int64")
    frame = frame.assign(day="2013-01-01", window=np.repeat(["train", "validate", "judge"], 200), label=label)
    windows = {name: ["2013-01-01", "2013-01-01"] for name in ("train", "validate", "judge")}
    return Snapshot(frame, {"windows": windows})


@pytest.fixture
def trials(tmp_path):
    return Trials(open_storage(tmp_path), "searches/weights/key")


def said(searched):
    """What was found, but for how long it took."""
    return searched.best, [(trial.number, trial.params, trial.metrics, trial.error) for trial in searched.trials]


@pytest.fixture(scope="module")
def undisturbed(snapshot, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    return search(candidate(), SPEC, snapshot, Trials(open_storage(folder), "s"))


def test_the_best_trial_on_validate_is_the_candidate(undisturbed, snapshot):
    assert [trial.number for trial in undisturbed.trials] == list(range(14))
    best = min(undisturbed.trials, key=lambda trial: (trial.metrics["brier"], trial.metrics["log_loss"], trial.number))
    assert undisturbed.best.params == best.params and undisturbed.best.search is None
    assert train_candidate(undisturbed.best, SPEC, snapshot).metrics == best.metrics
    assert len({json.dumps(trial.params) for trial in undisturbed.trials}) > 10
    for trial in undisturbed.trials:
        assert 1 <= trial.params["max_depth"] <= 8 and 1e-6 <= trial.params["min_impurity_decrease"] <= 0.1
        assert trial.params["criterion"] in SPACE["criterion"]


def test_the_judge_window_and_the_labels_of_validate_decide_nothing_and_all(undisturbed, snapshot, trials, tmp_path):
    def with_other_labels(window):
        frame = snapshot.frame.copy()
        rows = frame["window"] == window
        frame.loc[rows, "label"] = 1 - frame.loc[rows, "label"]
        return Snapshot(frame, snapshot.manifest)

    assert said(search(candidate(), SPEC, with_other_labels("judge"), trials)) == said(undisturbed)
    other = Trials(open_storage(tmp_path / "other"), "s")
    assert said(search(candidate(), SPEC, with_other_labels("validate"), other)) != said(undisturbed)


@pytest.mark.parametrize("kept", [1, 5, 13, 14])
def test_a_search_that_was_interrupted_comes_to_the_same_end(undisturbed, snapshot, trials, kept, monkeypatch):
    for trial in undisturbed.trials[:kept]:
        trials.keep(trial)
    fitted = []
    monkeypatch.setattr(tuning, "failpoint", fitted.append)
    assert said(search(candidate(), SPEC, snapshot, trials)) == said(undisturbed)
    assert len(fitted) == 14 - kept


def test_another_seed_searches_otherwise(undisturbed, snapshot, trials):
    other = search(candidate(), SPEC.model_copy(update={"seed": 7}), snapshot, trials)
    assert [t.params for t in other.trials] != [t.params for t in undisturbed.trials]


def test_no_trial_begins_when_the_time_is_over_and_one_is_always_made(snapshot, trials, tmp_path):
    assert len(search(candidate(seconds=1e-9), SPEC, snapshot, trials).trials) == 1
    spent = Trials(open_storage(tmp_path / "spent"), "s")
    for number in range(3):
        spent.keep(Trial(number, {"max_depth": 2, "min_impurity_decrease": 0.01, "criterion": "gini"}, 200.0,
                         {"brier": 0.2, "log_loss": 0.6}))  # fmt: skip
    searched = search(candidate(seconds=600.0), SPEC, snapshot, spent)
    assert (len(searched.trials), searched.seconds) == (3, 600.0)  # of attempts before this one: they count


def test_the_candidate_s_own_parameters_hold_beneath_those_searched(snapshot, trials):
    searched = search(candidate(trials=2, min_samples_leaf=7), SPEC, snapshot, trials)
    assert searched.best.params["min_samples_leaf"] == 7 and searched.best.params.keys() > SPACE.keys()


def test_a_trial_that_can_not_be_fitted_is_one_of_them_and_never_the_best(snapshot, trials, tmp_path):
    space = {"min_samples_split": [1, 2]}  # scikit-learn takes 2 or more
    searched = search(candidate(trials=8, space=space), SPEC, snapshot, trials)
    assert len(searched.trials) == 8 and {bool(trial.error) for trial in searched.trials} == {True, False}
    assert searched.best.params == {"min_samples_split": 2}
    assert said(search(candidate(trials=8, space=space), SPEC, snapshot, trials)) == said(searched)
    with pytest.raises(SpecError, match="none of 3 trials(.|\n)*min_samples_split"):
        nothing = {"min_samples_split": [1, -1]}
        search(candidate(trials=3, space=nothing), SPEC, snapshot, Trials(open_storage(tmp_path / "no"), "s"))


def test_an_estimator_that_can_not_be_saved_is_told_before_the_first_trial(snapshot, trials):
    neighbours = candidate(space={"n_neighbors": {"low": 3, "high": 9, "whole": True}})
    neighbours = neighbours.model_copy(update={"estimator": "sklearn.neighbors.KNeighborsClassifier"})
    with pytest.raises(ModelFileError, match="can't be saved"):
        search(neighbours, SPEC, snapshot, trials)
    assert trials.read() == []


def test_the_table_has_a_row_a_trial(undisturbed):
    table = undisturbed.table()
    assert table["number"].tolist() == list(range(14)) and {*SPACE, "brier", "seconds", "error"} <= set(table.columns)


def test_progress_is_in_the_log(snapshot, trials, caplog):
    with caplog.at_level("INFO", logger="ratchet.tuning"):
        search(candidate(trials=2), SPEC, snapshot, trials)
    assert [record.message.split(":")[:2] for record in caplog.records] == [
        ["tree", " trial 1 of 2"],
        ["tree", " trial 2 of 2"],
    ]


def test_a_trial_is_kept_once_and_one_that_was_altered_is_an_error(trials, tmp_path):
    first = Trial(0, {"max_depth": 1}, 1.0, {"brier": 0.2})
    assert trials.keep(first) == trials.keep(Trial(0, {"max_depth": 9}, 2.0, {"brier": 0.9})) == first
    assert trials.read() == [first]
    (tmp_path / "searches" / "weights" / "key" / "0000.json").write_text("{")
    with pytest.raises(ParameterError, match="can't be read"):
        trials.read()
