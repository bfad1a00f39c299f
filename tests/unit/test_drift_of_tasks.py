"""A model of any task is watched: every score column, and the spec's own metric. Whole checks, on real models."""

from __future__ import annotations

from pathlib import Path

import pytest
from task_world import CLASSES, MODEL, SPEC, SUCCESS, go_on, prepare, write_spec

from ratchet.workflow.monitoring import check_drift

TASKS = ["multiclass", "regression"]
SCORES = {"multiclass": [f"score_{name}" for name in CLASSES], "regression": ["score"]}


@pytest.fixture(scope="module")
def worlds(tmp_path_factory) -> dict[str, Path]:
    return {task: prepare(tmp_path_factory.mktemp(task) / "world", task) for task in TASKS}


@pytest.mark.parametrize("task", TASKS)
def test_a_world_that_stayed_the_same_harms_no_model_and_asks_for_nothing(worlds, tmp_path, task):
    told = check_drift(go_on(worlds[task], tmp_path / "world"), MODEL)
    assert (told["status"], told["drifted"], told["requests"]) == ("checked", [], [])
    assert [one["column"] for one in told["columns"]] == ["size", "kind", *SCORES[task]]
    assert {one["status"] for one in told["columns"]} == {"compared"}
    assert told["metric"] == SUCCESS[task]["metric"] and told["performance"]["clusters"] == 10
    assert abs(told["worse_by"]) < 0.1


@pytest.mark.parametrize("task", TASKS)
def test_planted_harm_is_found_by_the_spec_s_metric_and_named_in_the_request(worlds, tmp_path, task):
    """The larger thing is now the lighter one: sizes are as they were, and so is what the model says."""
    deployment, metric = go_on(worlds[task], tmp_path / "world", sign=-1.0), SUCCESS[task]["metric"]
    told = check_drift(deployment, MODEL)
    assert told["drifted"] == []
    assert told["worse_by"] == pytest.approx(told["performance"]["value"] - told["baseline"]["value"])
    assert told["performance"]["low"] > told["baseline"]["value"] + 0.3
    (request,) = (one for one in deployment.ledger.requests(MODEL) if one.source == "drift")
    before, now = (f"{told[name]['value']:.4g}" for name in ("baseline", "performance"))
    assert request.reason.startswith(f"{metric} rose from {before} to {now} (")
    history = deployment.lake.read(f"drift/{MODEL}").set_index("column")
    assert history.loc["(performance)", "method"] == metric
    assert history.loc["(performance)", "statistic"] == told["performance"]["value"]


def test_a_spec_that_asks_for_another_metric_has_the_check_made_again(worlds, tmp_path):
    first = check_drift(go_on(worlds["regression"], tmp_path / "world"), MODEL)
    again = check_drift(write_spec(tmp_path / "world", "regression", {"metric": "rmse", "at_most": 2.0}), MODEL)
    assert (again["status"], again["metric"], again["as_of"]) == ("checked", "rmse", first["as_of"])
    assert again["replaces"] and again["performance"]["value"] > first["performance"]["value"]


@pytest.mark.parametrize("task", TASKS)
def test_what_the_model_says_is_watched_in_every_score_column(worlds, tmp_path, task):
    told = check_drift(go_on(worlds[task], tmp_path / "world", shift=1.5), MODEL)
    assert {"size", *SCORES[task]} <= set(told["drifted"]) and "kind" not in told["drifted"]


def test_a_feature_that_the_champion_s_snapshot_lacks_has_no_reference(worlds, tmp_path):
    go_on(worlds["regression"], tmp_path / "world")
    deployment = write_spec(tmp_path / "world", "regression", numeric_features=["twice", "size"])
    told = check_drift(deployment, MODEL)
    assert {one["column"]: one["status"] for one in told["columns"]}["twice"] == "no reference"
    assert "twice: no reference" in told["explanation"]
    assert told["status"] == "checked" and told["requests"] == [] and abs(told["worse_by"]) < 0.1


def test_a_class_that_is_new_has_a_score_of_0_in_what_was_predicted_before(worlds, tmp_path):
    go_on(worlds["multiclass"], tmp_path / "world")
    told = check_drift(write_spec(tmp_path / "world", "multiclass", classes=[*CLASSES, "huge"]), MODEL)
    huge = next(one for one in told["columns"] if one["column"] == "score_huge")
    assert (huge["status"], huge["drifted"], huge["current_null_share"]) == ("compared", False, 0.0)
    assert abs(told["worse_by"]) < 0.1 and told["requests"] == []


def test_fewer_rows_than_the_spec_asks_for_are_not_enough_and_ask_for_nothing(worlds, tmp_path):
    deployment = go_on(worlds["regression"], tmp_path / "world", sign=-1.0, shift=1.5)
    write_spec(tmp_path / "world", "regression", watch={**SPEC["watch"], "min_rows": 1000})
    told = check_drift(type(deployment)(deployment.settings), MODEL)
    assert (told["status"], told["enough_data"], told["requests"]) == ("not enough data", False, [])
    assert "1000 rows of 5 days are needed" in told["explanation"]
    assert "now: mae not measured: 600 rows" in told["explanation"]


def test_a_window_without_predictions_on_record_is_not_enough(worlds, tmp_path):
    """The table's rows are of other inputs than those that the ledger names: a scoring that was killed half way."""
    deployment = go_on(worlds["regression"], tmp_path / "world")
    rows = deployment.lake.read(f"predictions/{MODEL}").assign(inputs_digest="of another scoring")
    deployment.lake.publish_days(f"predictions/{MODEL}", {d: r.drop(columns="day") for d, r in rows.groupby("day")})
    told = check_drift(deployment, MODEL)
    assert (told["status"], told["requests"]) == ("not enough data", [])
    assert "0 rows against 600 of the reference" in told["explanation"]
