"""Specs say what there is, and refuse what nobody knows; a wrong file hurts no other."""

from __future__ import annotations

import copy

import pytest
import yaml
from pydantic import ValidationError
from small_loop import REPO, deployment_in, make_home

from ratchet.errors import SpecError, UnknownNameError
from ratchet.specs import DatasetSpec, ModelSpec, load_dataset_specs, load_model_specs

INCLUDE = REPO / "include"
DATASET = {"name": "planes", **yaml.safe_load((INCLUDE / "datasets" / "planes.yaml").read_text("utf-8"))}
MODEL = {"name": "flight_delay", **yaml.safe_load((INCLUDE / "models" / "flight_delay.yaml").read_text("utf-8"))}


def changed(spec: dict, path: str, value: object) -> dict:
    """The spec with the value at a dotted path replaced; numbers in the path are places in a list."""
    spec = copy.deepcopy(spec)
    *parents, last = (int(part) if part.isdigit() else part for part in path.split("."))
    there = spec
    for part in parents:
        there = there[part]
    there[last] = value
    return spec


def test_the_shipped_specs_are_good():
    datasets, models = load_dataset_specs(INCLUDE / "datasets"), load_model_specs(INCLUDE / "models")
    assert datasets.errors == models.errors == {}
    assert set(datasets.good) == {"flights", "outcomes", "planes", "weather"} and set(models.good) == {"flight_delay"}


@pytest.mark.parametrize(
    "path",
    ["surprise", "promote_if.alfa", "problem.objectives", "problem.success.minimum", "evaluate.slice",
     "approval.approver", "candidates.0.parms", "inputs.flights.look_back",
     "windows.train_days", "watch.treshold", "retrain_when.when", "score_when.after"],
)  # fmt: skip
def test_an_unknown_key_is_refused_at_every_level(path):
    spec = changed(MODEL, "watch", {}) if path.startswith("watch") else MODEL
    with pytest.raises(ValidationError, match=path.split(".")[-1]):
        ModelSpec.model_validate(changed(spec, path, 1))
    with pytest.raises(ValidationError, match="surprise"):
        DatasetSpec.model_validate({**DATASET, "schema_policy": {"surprise": "warn"}})
    with pytest.raises(ValidationError, match="surprise"):
        DatasetSpec.model_validate({**DATASET, "surprise": 1})


@pytest.mark.parametrize(
    "name",
    ["", "Flights", "9lives", "_private", "a" * 42, "flights\n", "a/b", "../up", "a\\b", "a.b", "a-b", "a b",
     "flіghts",  # a Cyrillic letter
     "ﬂights",  # a ligature
     "flights\u200b", "flights\0"],
)  # fmt: skip
def test_a_name_is_plain_small_letters(name):
    for kind, spec in ((DatasetSpec, DATASET), (ModelSpec, MODEL)):
        with pytest.raises(ValidationError, match="name"):
            kind.model_validate({**spec, "name": name})
    with pytest.raises(ValidationError):
        ModelSpec.model_validate(changed(MODEL, "candidates.0.name", name))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("time_zone", "New York"),
        ("starts", "soon"),
        ("starts", "2013-02-30"),
        ("key", []),
        ("key", ["tailnum", "wings"]),
        ("columns", {}),
        ("columns.year", "integer"),
        ("columns.known_at", "timestamp"),
        ("max_quarantined_share", 1.5),
        ("may_be_empty", ["wings"]),
        ("may_be_empty", ["tailnum"]),  # the key
        ("personal", ["wings"]),
        ("personal", ["year"]),  # no string
        ("schema_policy", {"added": "ignore"}),
        ("schema_policy", {"reordered": "warn"}),
        ("renames", {"tail_number": "wings"}),
        ("renames", {"model": "tailnum"}),  # a column itself
    ],
)
def test_a_dataset_that_can_not_be_is_refused(path, value):
    with pytest.raises(ValidationError):
        DatasetSpec.model_validate(changed(DATASET, path, value))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("scored_dataset", "trains"),
        ("feature_function", "os.system"),
        ("feature_function", "feature_views.flight_delay:build_features\n"),
        ("label_function", "feature_views/flight_delay:build_label"),
        ("label_delay_days", -1),
        ("predicted_at", None),
        ("predicted_at", ""),
        ("predicted_ahead_minutes", -1),
        ("predicted_ahead_minutes", 10**18),
        ("inputs.weather", {"known_before": ["temp"]}),  # no outcomes
        ("windows.judge_days", 0),
        ("candidates", []),
        ("candidates.0.name", "logistic"),  # twice
        ("candidates.0.estimator", "random_forest"),
        ("problem.success.metric", "accuracy"),
        ("problem.success.metric", "mae"),  # not of a binary model
        ("problem.success", {"metric": "roc_auc", "at_least": 1.2}),
        ("problem.success", {"metric": "roc_auc", "at_most": 0.8}),
        ("problem.success", {"metric": "log_loss", "at_least": 0.3}),
        ("problem.success", {"metric": "roc_auc"}),
        ("problem.objective", ""),
        ("problem.users", []),
        ("problem.not_for", []),
        ("problem.risk_tier", "unknown"),
        ("numeric_features", ["distance", "late data"]),  # kept for what is found of a whole model
        ("task", "multiclass"),  # without classes
        ("classes", ["early", "late", "cancelled"]),  # of a binary model
        ("evaluate.costs", {"missed": 0, "false_alarm": 0}),
        ("candidates.0.search", {"space": {}, "trials": 3, "seconds": 9}),
        ("candidates.0.search", {"space": {"C": {"low": 0, "high": 1, "log": True}}, "trials": 3, "seconds": 9}),
        ("promote_if.better_by", -0.1),
        ("promote_if.alpha", 0.5),
        ("approval.approvers", []),
        ("watch", {"schedule": "daily"}),
    ],
)
def test_a_model_that_can_not_be_is_refused(path, value):
    with pytest.raises(ValidationError):
        ModelSpec.model_validate(changed(MODEL, path, value))


def a_regression(**changes):
    """The model's spec as one of minutes."""
    spec = changed(MODEL, "problem.success", {"metric": "mae", "at_most": 20})
    rule = {"better_by": 0.5, "implausible_jump": 10, "no_worse": {"metric": 2}}
    evaluate = {"slices": ["origin"]}
    return {
        **spec,
        "task": "regression",
        "promote_if": rule,
        "evaluate": evaluate,
        "retrain_when": {"metric_falls_by": 3},
    } | changes


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"promote_if": {}},
            r"promote_if.implausible_jump, promote_if.no_worse.metric in units of mae \(those of the label\)",
        ),
        ({"retrain_when": {}}, "retrain_when.metric_falls_by in units of mae"),
        ({"promote_if": {"better_by": 0.5, "implausible_jump": None}}, "say promote_if.no_worse.metric in units"),
        ({"promote_if": {"better_by": 10, "implausible_jump": 5, "no_worse": {"metric": 2}}}, "no improvement is both"),
    ],
)
def test_differences_of_another_metric_than_roc_auc_are_to_be_stated_in_its_units(changes, told):
    assert ModelSpec.model_validate(a_regression()).promote_if.no_worse.metric == 2
    with pytest.raises(ValidationError, match=told):
        ModelSpec.model_validate(a_regression(**changes))


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("promote_if.better_by", 1, "below 1"),
        ("promote_if.implausible_jump", 15, "below 1"),
        ("promote_if.no_worse", {"metric": 5}, "below 1"),
        ("promote_if.no_worse", {"calibration": 3}, "less than or equal to 1"),
        ("promote_if.no_worse", {"fairness": 10}, "less than or equal to 1"),
        ("promote_if.no_worse", {"latency": 1}, "greater than 1"),
        ("promote_if.no_worse", {"latency": float("inf")}, "finite"),
        ("promote_if.better_by", float("nan"), "finite"),
        ("promote_if.better_by", 0.2, "no improvement is both"),
        ("promote_if.alpha", 0, "greater than 0"),
        ("promote_if.min_days_comparison", 61, "60 days at most"),
        ("promote_if.min_days_first", 90, "60 days at most"),
        ("retrain_when.metric_falls_by", 2, "below 1"),
        ("problem.success", {"metric": "brier", "at_most": 2}, "1 at most"),
        (
            "candidates.0.search",
            {"space": {"n": {"low": 1.5, "high": 9, "whole": True}}, "trials": 3, "seconds": 9},
            "whole",
        ),
        ("candidates.0.search", {"space": {"n": {"low": 9, "high": 1}}, "trials": 3, "seconds": 9}, "no range"),
        (
            "candidates.0.search",
            {"space": {"n": {"low": 1, "high": float("inf")}}, "trials": 3, "seconds": 9},
            "finite",
        ),
        ("candidates.0.search", {"space": {"n": []}, "trials": 3, "seconds": 9}, "at least 1"),
    ],
)
def test_a_threshold_out_of_range_is_refused_with_what_is_wrong(path, value, told):
    with pytest.raises(ValidationError, match=told):
        ModelSpec.model_validate(changed(MODEL, path, value))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("promote_if.better_by", 0),
        ("promote_if.no_worse", {"calibration": 1, "fairness": 1, "metric": 0.99, "latency": 1.1}),
        ("promote_if.implausible_jump", None),
        ("promote_if.min_days_comparison", 60),
        ("retrain_when.metric_falls_by", None),
        ("candidates.0.search", {"space": {"n": {"low": 1, "high": 9.0, "whole": True}}, "trials": 3, "seconds": 9}),
    ],
)
def test_a_threshold_at_the_end_of_its_range_is_good(path, value):
    assert ModelSpec.model_validate(changed(MODEL, path, value)).name == "flight_delay"


def test_a_model_that_does_not_say_when_it_predicts_is_told_how():
    for silent in (
        {name: value for name, value in MODEL.items() if name != "predicted_at"},
        changed(MODEL, "predicted_at", ""),
    ):
        with pytest.raises(ValidationError, match="start_of_day"):
            ModelSpec.model_validate(silent)


def test_a_spec_does_not_change():
    spec = ModelSpec.model_validate(MODEL)
    with pytest.raises(ValidationError, match="frozen"):
        spec.seed = 1
    with pytest.raises(ValidationError, match="frozen"):
        spec.promote_if.alpha = 0.1


BAD = {
    "syntax": "key: [a\n",
    "a_list": "- 1\n- 2\n",
    "nothing": "",
    "an_object": "!!python/object/apply:os.getcwd []\n",
    "another_name": yaml.safe_dump({**DATASET, "name": "planets"}),
    "half": "description: no columns\n",
    "Shouting": yaml.safe_dump({k: v for k, v in DATASET.items() if k != "name"}),
}


@pytest.fixture
def folder(tmp_path):
    for stem, text in BAD.items():
        (tmp_path / f"{stem}.yaml").write_text(text, "utf-8")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00description")
    (tmp_path / "planes.yaml").write_text(yaml.safe_dump(DATASET), "utf-8")
    (tmp_path / "notes.txt").write_text("no spec", "utf-8")
    return tmp_path


def test_each_wrong_file_has_its_error_and_the_good_one_stands(folder):
    loaded = load_dataset_specs(folder)
    assert list(loaded.good) == ["planes"] and set(loaded.errors) == {*BAD, "bytes"}
    for stem, error in loaded.errors.items():
        assert error.startswith(f"{stem}.yaml: ") and len(error) > len(stem) + 10
    assert "planets" in loaded.errors["another_name"]


def test_asking_for_a_wrong_or_an_unknown_one_says_which(folder):
    loaded = load_dataset_specs(folder)
    with pytest.raises(SpecError, match="half") as caught:
        loaded.get("half", "dataset")
    assert "columns" in str(caught.value)
    with pytest.raises(UnknownNameError, match="'trains'") as caught:
        loaded.get("trains", "dataset")
    assert "planes" in str(caught.value) and "include/datasets/trains.yaml" in str(caught.value)
    assert load_dataset_specs(folder / "nowhere").good == {}


def test_a_model_on_a_wrong_dataset_is_wrong_itself(tmp_path):
    make_home(tmp_path / "home")
    (tmp_path / "home" / "include" / "datasets" / "weather.yaml").write_text("key: [\n", "utf-8")
    deployment = deployment_in(tmp_path)
    assert set(deployment.datasets.good) == {"flights", "outcomes", "planes"}
    with pytest.raises(SpecError, match="flight_delay") as caught:
        deployment.model("flight_delay")
    assert "weather" in str(caught.value)


def test_a_model_that_speaks_of_a_column_which_its_dataset_lacks_is_wrong(tmp_path):
    make_home(tmp_path / "home", predicted_at="departs_at")
    deployment = deployment_in(tmp_path)
    assert set(deployment.datasets.good) == {"flights", "outcomes", "planes", "weather"}
    with pytest.raises(SpecError, match="departs_at"):
        deployment.model("flight_delay")
