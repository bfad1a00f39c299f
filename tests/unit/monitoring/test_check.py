"""What a check says of a model in production: what moved, what hurts, what it asks for. Frames in, findings out."""

from __future__ import annotations

import json
import re

import numpy as np
import pandas as pd
import pytest
from watched_world import current, outcomes, reference, spec_of

from ratchet.monitoring.check import CheckResult, check_drift
from ratchet.monitoring.values import AREAS, Finding

KNOWN = reference()
STOPPED = Finding("data", "flights/stopped", "broken data", "broken", "flights: it has stopped")


def check(now=None, told=None, spec=None, **more) -> CheckResult:
    now, told = current() if now is None else now, outcomes() if told is None else told
    return check_drift(spec or spec_of(), KNOWN, now, told, **more)


def by_key(result: CheckResult) -> dict[str, Finding]:
    return {finding.key: finding for finding in result.findings}


def test_a_world_that_stayed_the_same_is_usual_in_every_area():
    result = check()
    assert (result.state, result.alarms, result.ask_retrain) == ("usual", (), ())
    assert {finding.state for finding in result.findings} == {"usual"}
    assert {finding.area for finding in result.findings} == {*AREAS} - {"data", "skew", "loop"}
    assert len(by_key(result)) == len(result.findings), "each has a key of its own"


NUMBER = spec_of("regression", "mae")
LOG_LOSS = NUMBER.problem.success.model_copy(update={"metric": "log_loss"})
CLASSES = {
    "task": "multiclass",
    "classes": ["x", "y"],
    "problem": NUMBER.problem.model_copy(update={"success": LOG_LOSS}),
}
SPECS = {"binary": spec_of(), "regression": NUMBER, "multiclass": NUMBER.model_copy(update=CLASSES)}


@pytest.mark.parametrize("task", SPECS)
def test_without_its_reference_what_needs_it_can_not_be_told_and_says_why(task):
    spec, due = SPECS[task], [f"2013-04-0{day}" for day in range(1, 6)]
    now, told = (one.assign(score_x=1 - one["score"], score_y=one["score"]) for one in (current(), outcomes()))
    if task == "multiclass":
        told["label"] = np.where(told["label"] == 1, "y", "x")
    gone = pd.DataFrame(columns=["window", "day", *spec.features, "label", *spec.score_columns])
    result = check_drift(spec, gone, now, told, waiting=due, extra=(STOPPED,))
    known = {"labels/arrival", STOPPED.key}
    assert {one.key for one in result.findings if one.state != "not enough data"} == known
    assert {alarm.key for alarm in result.alarms} == known and result.ask_retrain == ()
    assert result.performance and (result.baseline, result.worse_by) == (None, None)
    unclear = {one.key for one in result.findings if not re.search(r"\b0 (rows|days|of|in)\b|reference", one.says)}
    assert {key for key in unclear - known if not key.startswith("estimate/")} == {"concept/all"}
    assert json.dumps(result.as_dict()) and result.numbers()


def test_an_input_that_moved_is_named_and_alone_neither_pages_nor_asks():
    moved = by_key(check(current(shift=1.0)))
    assert (moved["inputs/a"].state, moved["inputs/b"].state) == ("moved", "usual")
    assert moved["inputs/a"].level == "note" and moved["predictions/score"].level == "warn"
    alarms = check(current(shift=1.0), spec=spec_of(watch={"persistence": {"seen": 1, "of": 1}})).alarms
    assert {alarm.level for alarm in alarms} <= {"note", "warn"}


def test_an_input_that_matters_warns():
    assert by_key(check(current(shift=1.0), importance={"a": 0.2, "b": 0.0}))["inputs/a"].level == "warn"


@pytest.mark.parametrize("how", [{"flipped": 0.2}, {"slope": 0.6}])
def test_harm_is_measured_and_called_a_change_of_concept_where_no_input_moved(how):
    result = check(told=outcomes(**how))
    found = by_key(result)
    assert (found["performance/all"].state, found["performance/all"].level) == ("moved", "page")
    assert (found["concept/all"].state, found["concept/all"].level) == ("moved", "note")
    assert result.worse_by > 0.05 and result.asks.keys() == {"performance"}
    assert result.ask_retrain[0].startswith("roc_auc fell from 0.")


def test_harm_where_an_input_moved_is_no_change_of_concept():
    found = by_key(check(current(shift=1.0), outcomes(slope=0.6)))
    assert found["concept/all"].state == "usual" and found["concept/all"].says.endswith("inputs moved: a")


def test_drift_asks_for_a_retrain_from_the_share_on():
    moved = current(shift=1.0)
    (reason,) = check(moved, spec=spec_of(retrain_when={"drifted_share": 0.5})).ask_retrain
    assert reason.startswith("2 of 4 watched columns drifted (share 0.50, asked for from 0.50): a, score")
    for share in (0.6, None):
        assert check(moved, spec=spec_of(retrain_when={"drifted_share": share})).ask_retrain == ()
    assert check(spec=spec_of(retrain_when={"drifted_share": 0.001})).ask_retrain == ()


def test_an_alarm_takes_as_many_checks_as_the_spec_says():
    told, earlier = outcomes(flipped=0.2), []
    alarms = []
    for _ in range(3):
        result = check(told=told, earlier=earlier)
        alarms.append({alarm.key: alarm.level for alarm in result.alarms})
        earlier.append(result.as_dict()["findings"])
    assert alarms[0] == {}
    assert alarms[1]["performance/all"] == alarms[2]["performance/all"] == "page"


def test_what_others_found_is_passed_through_and_alarms_with_the_rest():
    broken = Finding("data", "flights", "broken data", "broken", "half of the rows are gone")
    result = check(extra=[broken])
    assert result.state == "broken data" and result.findings[0] == broken
    assert [(alarm.key, alarm.level) for alarm in result.alarms] == [("data/flights", "page")]


BAD = {
    "no rows": (lambda: current().head(0), lambda: outcomes().head(0), "not enough data", {}),
    "no outcomes": (
        current,
        lambda: outcomes().head(0),
        "broken data",
        {"performance/all": "not enough data", "labels/arrival": "broken data"},
    ),
    "few rows": (lambda: current().head(90), lambda: outcomes().head(90), "not enough data", {}),
    "a column gone": (lambda: current().drop(columns="a"), outcomes, "broken data", {"inputs/a": "broken data"}),
    "all nulls": (lambda: current().assign(a=np.nan), outcomes, "broken data", {"inputs/a": "broken data"}),
    "infinities": (lambda: current().assign(a=np.inf), outcomes, "broken data", {"inputs/a": "broken data"}),
    "a constant": (lambda: current().assign(b=7.0), outcomes, "broken data", {"inputs/b": "broken data"}),
    "scores gone": (
        lambda: current().drop(columns="score"),
        lambda: outcomes().drop(columns="score"),
        "broken data",
        {"predictions/score": "broken data", "performance/all": "not enough data", "estimate/all": "not enough data"},
    ),
    "scores infinite": (
        lambda: current().assign(score=np.inf),
        lambda: outcomes().assign(score=np.inf),
        "broken data",
        {"predictions/score": "broken data", "performance/all": "not enough data"},
    ),
    "labels null": (current, lambda: outcomes().assign(label=np.nan), "broken data", {"labels/all": "broken data"}),
    "labels infinite": (current, lambda: outcomes().assign(label=np.inf), "broken data", {"labels/all": "broken data"}),
    "one class": (current, lambda: outcomes().assign(label=1), "broken data", {"labels/all": "broken data"}),
    "one day": (lambda: current().assign(day="2013-05-14"), outcomes, "usual", {"predictions/band": "not enough data"}),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_a_stated_outcome_and_never_no_drift(name):
    is_stated(name, spec_of())


@pytest.mark.parametrize("name", ["no rows", "scores infinite", "labels infinite"])
def test_bad_input_of_a_regression_is_a_stated_outcome(name):
    is_stated(name, spec_of("regression", "rmse", retrain_when={"metric_falls_by": 0.03}))


def is_stated(name: str, spec) -> None:
    now, told, state, states = BAD[name]
    result = check(now(), told(), spec)
    found = by_key(result)
    assert result.state == state
    assert {key: found[key].state for key in states} == states
    assert json.loads(json.dumps(result.as_dict(), allow_nan=False)) == result.as_dict()
    assert all(type(number) is float for number in result.numbers().values())
    assert result.ask_retrain == () or name == "scores gone"


def test_every_check_has_findings_of_the_same_names():
    names = set(by_key(check()))
    for now, told in ((current().head(0), None), (current().head(90), outcomes().head(90)), (current(), None)):
        assert set(by_key(check_drift(spec_of(), KNOWN, now, told))) == names
    one = outcomes().assign(label=lambda rows: rows["label"].where(rows.index > 0, np.inf))
    assert set(by_key(check(told=one))) == names and check(told=one).performance is not None


def test_a_reference_without_a_judge_window_says_so():
    result = check_drift(spec_of(), KNOWN[KNOWN["window"] == "train"].drop(columns="score"), current(), outcomes())
    assert result.baseline is None and "reference: roc_auc not measured: 0 rows" in result.explanation
    assert by_key(result)["performance/all"].state == "not enough data"


def test_the_same_frames_give_the_same_result():
    assert check(current(shift=0.3), outcomes(slope=1.0)) == check(current(shift=0.3), outcomes(slope=1.0))
