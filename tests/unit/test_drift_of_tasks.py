"""A model of any task is watched: every score column, and the spec's own metric. Whole checks, on real models."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from pathlib import Path

import pytest
import task_world
from task_world import (
    BEFORE,
    CLASSES,
    LAST,
    MODEL,
    SPEC,
    SUCCESS,
    THINGS,
    go_on,
    prepare,
    publish,
    things_of,
    write_spec,
)

from ratchet.days import days_between
from ratchet.digests import frame_digest
from ratchet.workflow import monitoring, scoring
from ratchet.workflow.monitoring import check_drift

TASKS = ["multiclass", "regression"]
SCORES = {"multiclass": [f"score_{name}" for name in CLASSES], "regression": ["score"]}


@pytest.fixture(scope="module")
def worlds(tmp_path_factory) -> dict[str, Path]:
    return {task: prepare(tmp_path_factory.mktemp(task) / "world", task) for task in TASKS}


def findings(deployment, area: str) -> dict[str, dict]:
    newest = deployment.ledger.newest_check(MODEL, 1)
    return {one["name"]: one for one in newest.result["findings"] if one["area"] == area}


def moved(deployment, area: str) -> set[str]:
    return {name for name, one in findings(deployment, area).items() if one["state"] in ("moved", "broken data")}


@pytest.mark.parametrize("task", TASKS)
def test_a_world_that_stayed_the_same_harms_no_model_and_asks_for_nothing(worlds, tmp_path, task):
    deployment = go_on(worlds[task], tmp_path / "world")
    told = check_drift(deployment, MODEL)
    assert (told["status"], told["state"], told["requests"], told["alerts"]) == ("checked", "usual", [], [])
    assert [*findings(deployment, "inputs")] == ["size", "kind"]
    assert [*findings(deployment, "predictions")] == [*SCORES[task], "band"]
    assert told["metric"] == SUCCESS[task]["metric"] and told["performance"]["clusters"] == 10
    assert abs(told["worse_by"]) < 0.1


@pytest.mark.parametrize("task", TASKS)
def test_planted_harm_is_found_by_the_spec_s_metric_named_in_the_request_and_pages(worlds, tmp_path, task):
    """The larger thing is now the lighter one: sizes are as they were, and so is what the model says."""
    deployment, metric = go_on(worlds[task], tmp_path / "world", sign=-1.0), SUCCESS[task]["metric"]
    told = check_drift(deployment, MODEL)
    assert not moved(deployment, "inputs") | moved(deployment, "predictions")
    assert told["worse_by"] == pytest.approx(told["performance"]["value"] - told["baseline"]["value"])
    assert told["performance"]["low"] > told["baseline"]["value"] + 0.3
    (request,) = (one for one in deployment.ledger.requests(MODEL) if one.source == "performance")
    before, now = (f"{told[name]['value']:.4g}" for name in ("baseline", "performance"))
    assert request.reason.startswith(f"{metric} rose from {before} to {now} (")
    history = deployment.lake.read(f"drift/{MODEL}").set_index(["area", "name"])
    assert history.loc[("performance", "all"), "value"] == told["performance"]["value"]
    page = next(one for one in deployment.ledger.open_alerts(MODEL) if one.level == "page")
    assert (page.key, page.runbook) == ("performance/all", "performance")
    assert page.facts["done"] == f"retrain request {request.id}: accepted" and page.facts["hurts"].startswith(
        "measured"
    )
    assert json.dumps(told) and len(json.dumps(told)) < 5000


def test_a_spec_that_asks_for_another_metric_has_the_check_made_again(worlds, tmp_path):
    first = check_drift(go_on(worlds["regression"], tmp_path / "world"), MODEL)
    again = check_drift(write_spec(tmp_path / "world", "regression", {"metric": "rmse", "at_most": 2.0}), MODEL)
    assert (again["status"], again["metric"], again["as_of"]) == ("checked", "rmse", first["as_of"])
    assert again["replaces"] and again["performance"]["value"] > first["performance"]["value"]


@pytest.mark.parametrize("task", TASKS)
def test_what_the_model_says_is_watched_in_every_score_column(worlds, tmp_path, task):
    deployment = go_on(worlds[task], tmp_path / "world", shift=1.5)
    told = check_drift(deployment, MODEL)
    assert moved(deployment, "inputs") == {"size"}
    assert moved(deployment, "predictions") == {*SCORES[task], "band"}
    (reason,) = told["ask_retrain"]
    assert reason.startswith(f"{1 + len(SCORES[task])} of {2 + len(SCORES[task])} watched columns drifted")


def test_a_feature_that_the_champion_s_snapshot_lacks_has_no_reference(worlds, tmp_path):
    go_on(worlds["regression"], tmp_path / "world")
    deployment = write_spec(tmp_path / "world", "regression", numeric_features=["twice", "size"])
    told = check_drift(deployment, MODEL)
    assert findings(deployment, "inputs")["twice"]["state"] == "not enough data"
    assert told["status"] == "checked" and told["requests"] == [] and abs(told["worse_by"]) < 0.1


def test_a_class_that_is_new_has_a_score_of_0_in_what_was_predicted_before(worlds, tmp_path):
    go_on(worlds["multiclass"], tmp_path / "world")
    deployment = write_spec(tmp_path / "world", "multiclass", classes=[*CLASSES, "huge"])
    told = check_drift(deployment, MODEL)
    assert findings(deployment, "predictions")["score_huge"]["state"] == "usual"
    assert abs(told["worse_by"]) < 0.1 and told["requests"] == []


def test_fewer_rows_than_the_spec_asks_for_are_not_enough_and_ask_for_nothing(worlds, tmp_path):
    deployment = go_on(worlds["regression"], tmp_path / "world", sign=-1.0, shift=1.5)
    write_spec(tmp_path / "world", "regression", watch={**SPEC["watch"], "min_rows": 1000})
    told = check_drift(type(deployment)(deployment.settings), MODEL)
    assert (told["status"], told["requests"], told["alerts"]) == ("not enough data", [], [])
    assert "600 rows: 1000 are needed" in told["explanation"]
    assert "now: mae not measured: 600 rows" in told["explanation"]


def test_a_window_without_predictions_on_record_is_not_enough(worlds, tmp_path):
    """The table's rows are of other inputs than those that the ledger names: a scoring that was killed half way."""
    deployment = go_on(worlds["regression"], tmp_path / "world")
    rows = deployment.lake.read(f"predictions/{MODEL}").assign(inputs_digest="of another scoring")
    deployment.lake.publish_days(f"predictions/{MODEL}", {d: r.drop(columns="day") for d, r in rows.groupby("day")})
    told = check_drift(deployment, MODEL)
    assert (told["status"], told["requests"]) == ("not enough data", [])
    assert "0 rows" in told["explanation"]


def test_an_alert_is_settled_once_its_finding_is_usual_again_and_an_old_day_changes_nothing(worlds, tmp_path):
    """Checked as of two days in turn: in the first the larger thing is the lighter one, then that was corrected."""
    deployment = go_on(worlds["regression"], tmp_path / "world", sign=-1.0)
    told = check_drift(deployment, MODEL)
    assert told["alerts"] and deployment.ledger.open_alerts(MODEL)
    times = [one.times for one in deployment.ledger.open_alerts(MODEL)]
    again = check_drift(deployment, MODEL)
    assert (again["status"], again["alerts"]) == ("unchanged", told["alerts"])
    assert [one.times for one in deployment.ledger.open_alerts(MODEL)] == times
    publish(deployment, BEFORE, LAST)
    scoring.score_partitions(deployment, MODEL, days_between(BEFORE, LAST))
    mended = check_drift(deployment, MODEL)
    assert mended["replaces"] and mended["alerts"] == []
    assert deployment.ledger.open_alerts(MODEL) == []
    assert "usual again" in deployment.ledger.newest_alert(MODEL, "performance/all").why


def test_what_was_lost_after_a_check_was_recorded_is_made_up_for(worlds, tmp_path):
    """As if the process had died between the two: the record is there, the request and the alerts are not."""
    one, two = (go_on(worlds["regression"], tmp_path / name, sign=-1.0) for name in ("one", "two"))
    told = check_drift(one, MODEL)
    assert told["requests"] and told["alerts"]
    (check,) = one.ledger.checks(MODEL)
    two.ledger.record_check(MODEL, check.as_of, check.version, check.key, check.result, check.report_url)
    for _ in range(2):
        assert check_drift(two, MODEL) == {**told, "status": "unchanged"}
    assert [r.reason for r in two.ledger.requests(MODEL) if r.source == "performance"] == told["ask_retrain"]
    assert [a.key for a in two.ledger.open_alerts(MODEL)] == [a.key for a in one.ledger.open_alerts(MODEL)]


def test_a_retrain_that_cannot_be_filed_yet_stops_neither_the_page_nor_later_checks(worlds, tmp_path):
    """The windows are longer than the data there is."""
    go_on(worlds["regression"], tmp_path / "world", sign=-1.0)
    deployment = write_spec(tmp_path / "world", "regression", windows={"validate_days": 10, "judge_days": 30})
    told = check_drift(deployment, MODEL)
    (asked,) = told["requests"]
    assert (asked["request"], asked["status"]) == (None, "not filed") and json.dumps(told)
    assert asked["explanation"].startswith("no days left to train on as of 2013-02-01; run as of ")
    page = next(one for one in deployment.ledger.open_alerts(MODEL) if one.key == "performance/all")
    assert page.facts["done"] == f"no retrain request could be filed: {asked['explanation']}"
    assert check_drift(deployment, MODEL) == {**told, "status": "unchanged"}
    filed = check_drift(write_spec(tmp_path / "world", "regression"), MODEL)
    assert [one["status"] for one in filed["requests"]] == ["accepted"], "once the windows fit"


def test_c7_a_check_made_again_asks_no_second_time_and_doubles_no_alert(worlds, tmp_path):
    deployment = go_on(worlds["regression"], tmp_path / "world", sign=-1.0)
    first = check_drift(deployment, MODEL)
    publish(deployment, LAST, LAST, sign=-1.0, shift=0.1)
    scoring.score_partitions(deployment, MODEL, [LAST])
    second = check_drift(deployment, MODEL)
    assert second["replaces"] and second["ask_retrain"] != first["ask_retrain"]
    assert [one["request"] for one in second["requests"]] == [one["request"] for one in first["requests"]]
    assert second["alerts"] == first["alerts"]


def test_k7_what_follows_from_a_check_that_was_killed_before_it_follows_once_the_next_day_is_there(
    worlds, tmp_path, monkeypatch
):
    small = {**SPEC["watch"], "window_days": 1, "outcome_days": 2, "min_rows": 50}
    go_on(worlds["regression"], tmp_path / "world", last="2013-01-29")
    deployment = write_spec(tmp_path / "world", "regression", watch=small)
    publish(deployment, "2013-01-30", "2013-01-30", shift=3.0)
    scoring.score_partitions(deployment, MODEL, ["2013-01-30"])
    with monkeypatch.context() as killed, pytest.raises(KeyboardInterrupt):
        killed.setattr(monitoring, "_follow_up", interrupt)
        check_drift(deployment, MODEL)
    before = deployment.ledger.newest_check(MODEL, 1)
    assert before.result["alarms"] and deployment.ledger.open_alerts(MODEL) == []
    publish(deployment, "2013-01-31", "2013-01-31")
    scoring.score_partitions(deployment, MODEL, ["2013-01-31"])
    check_drift(deployment, MODEL)
    raised = [one.payload for one in deployment.ledger.events(subject=f"alerts/{MODEL}") if one.kind == "alert_raised"]
    assert {alarm["key"] for alarm in before.result["alarms"]} <= {one["key"] for one in raised}
    assert {one["facts"]["check"] for one in raised} >= {before.key}


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_what_a_person_settled_stays_settled_and_an_older_day_asks_for_nothing(worlds, tmp_path):
    deployment = go_on(worlds["regression"], tmp_path / "world", sign=-1.0)
    check_drift(deployment, MODEL)
    for one in deployment.ledger.open_alerts(MODEL):
        deployment.ledger.settle_alert(MODEL, one.key, "known", actor="operator")
    asked = deployment.ledger.requests(MODEL)
    assert check_drift(deployment, MODEL)["status"] == "unchanged"
    assert asked and deployment.ledger.open_alerts(MODEL) == []
    told = check_drift(deployment, MODEL, "2013-01-29")
    assert told["ask_retrain"] and (told["requests"], told["alerts"]) == ([], [])
    assert deployment.ledger.requests(MODEL) == asked


def test_a_feature_taken_out_of_the_spec_hinders_no_check(worlds, tmp_path):
    go_on(worlds["regression"], tmp_path / "world")
    deployment = write_spec(tmp_path / "world", "regression", categorical_features=[])
    assert check_drift(deployment, MODEL)["status"] == "checked"
    assert {one["state"] for one in findings(deployment, "skew").values()} == {"usual"}
    deployment = write_spec(
        tmp_path / "world", "regression", categorical_features=[], feature_function="task_world:sizes"
    )
    check_drift(deployment, MODEL, "2013-01-29")
    skew = next(one for one in deployment.ledger.checks(MODEL) if one.as_of == "2013-01-29").result["findings"]
    assert [one["state"] for one in skew if one["area"] == "skew"] == ["not enough data"]


def test_a_scoring_that_was_killed_before_its_record_is_no_skew(worlds, tmp_path):
    deployment, table = go_on(worlds["regression"], tmp_path / "world"), f"predictions/{MODEL}"
    rows = deployment.lake.read(table, LAST, LAST).drop(columns="day")
    deployment.lake.publish_days(table, {LAST: rows.assign(inputs_digest="other", score=rows["score"] + 0.5)})
    check_drift(deployment, MODEL)
    assert findings(deployment, "skew")["scores"]["state"] == "usual"


def test_c6_a_day_delivered_after_the_check_s_day_is_missing_in_it_for_good(worlds, tmp_path):
    root, late = tmp_path / "world", "2013-01-25"
    deployment = go_on(worlds["regression"], root, last="2013-01-24")
    publish(deployment, "2013-01-26", LAST)
    scoring.score_partitions(deployment, MODEL, days_between("2013-01-26", LAST))
    check_drift(deployment, MODEL, LAST)
    before = deployment.ledger.newest_check(MODEL, 1)
    assert findings(deployment, "data")[f"{THINGS}/missing"]["state"] == "moved"
    rows = things_of(late)
    version = deployment.lake.publish_days(f"datasets/{THINGS}", {late: rows})
    delivered = datetime(2013, 3, 10, tzinfo=UTC)
    deployment.ledger.record_partition(THINGS, late, frame_digest(rows), "s" * 64, "r", version, 60, 0, delivered)
    other = write_spec(root, "regression", watch={**SPEC["watch"], "max_rows": 900})
    assert check_drift(other, MODEL, LAST)["replaces"] == before.key
    assert findings(other, "data")[f"{THINGS}/missing"]["state"] == "moved"


def hide_reference(deployment, where: Path) -> tuple[Path, Path]:
    digest = deployment.ledger.challenger(MODEL, 1).snapshot
    (manifest,) = deployment.settings.var.glob(f"**/{digest}/manifest.json")
    return manifest.rename(where / "manifest.json"), manifest


@pytest.mark.parametrize("task", TASKS)
def test_without_its_reference_a_check_is_on_record_and_made_again_once_it_is_back(worlds, tmp_path, task):
    deployment = go_on(worlds[task], tmp_path / "world")
    kept, manifest = hide_reference(deployment, tmp_path)
    blind = check_drift(deployment, MODEL)
    assert blind["status"] == "not enough data" and "are gone" in blind["explanation"] and blind["report"]
    assert blind["performance"] and blind["baseline"] is None and blind["requests"] == []
    assert check_drift(deployment, MODEL) == blind | {"status": "unchanged"}
    (alert,) = deployment.ledger.open_alerts(MODEL)
    assert (alert.key, alert.level, alert.times) == ("reference/gone", "warn", 1)
    (check,) = deployment.ledger.checks(MODEL)
    kept.rename(manifest)
    seeing = check_drift(deployment, MODEL)
    assert (seeing["status"], seeing["replaces"]) == ("checked", check.key)
    assert deployment.ledger.open_alerts(MODEL) == []
    hide_reference(deployment, tmp_path)
    assert check_drift(deployment, MODEL)["status"] == "unchanged", "what it saw stands"
    assert [one.key for one in deployment.ledger.open_alerts(MODEL)] == ["reference/gone"]
    deployment.ledger.settle_alert(MODEL, "reference/gone", "a person knows")
    check_drift(deployment, MODEL)
    assert deployment.ledger.open_alerts(MODEL) == []


def test_without_its_reference_what_is_wrong_with_data_and_labels_is_told(worlds, tmp_path, monkeypatch):
    """A day was never delivered, and what is weighed has no end."""
    deployment = go_on(worlds["regression"], tmp_path / "world", last="2013-01-24")
    publish(deployment, "2013-01-26", LAST)
    scoring.score_partitions(deployment, MODEL, days_between("2013-01-26", LAST))
    hide_reference(deployment, tmp_path)
    monkeypatch.setattr(task_world, "label_regression", lambda things: things[["id"]].assign(label=math.inf))
    told = check_drift(deployment, MODEL)
    raised = {one.key: one.level for one in deployment.ledger.open_alerts(MODEL)}
    assert raised == {"reference/gone": "warn", f"data/{THINGS}/missing": "warn", "labels/all": "page"}
    assert told["state"] == "broken data" and len(told["alerts"]) == 2
