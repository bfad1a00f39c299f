"""Corrections on a month of real flights that a champion has learned from and scored, on a folder and on S3: what is
redone, what is marked stale and by whom, and when it is a reason to retrain."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from s3_server import s3_in_matrix
from small_loop import FIRST_AS_OF, MODEL, SMALL, make_home, redeliver, train

from ratchet.errors import ConflictError, ParameterError, ValidationFailedError
from ratchet.workflow.dispatch import keep_house, list_due
from ratchet.workflow.ingestion import ingest_partitions, readmit_partitions
from ratchet.workflow.scoring import due_days, score_partitions

TRAINED, SCORED = "2013-01-06", "2013-01-20"


def all_late(frame):
    return frame.assign(arr_delay=frame["arr_delay"].where(frame["arr_delay"].isna(), 99.0))


def set_suite(deployment, dataset, expectation, **kwargs):
    """Changes the arguments of one expectation of a suite."""
    path = deployment.suite(dataset)
    suite = json.loads(path.read_text())
    for one in suite["expectations"]:
        if one["type"] == expectation and all(one["kwargs"].get(k) == v for k, v in kwargs.get("of", {}).items()):
            one["kwargs"] |= {k: v for k, v in kwargs.items() if k != "of"}
    path.write_text(json.dumps(suite))


def test_d3_corrected_inputs_are_scored_again_and_marked_stale_with_who_and_why(copy_in_storage, reigning):
    deployment = copy_in_storage(reigning)
    redeliver(deployment, "weather", SCORED, lambda frame: frame.assign(temp=frame["temp"] + 1))
    told = ingest_partitions(deployment, "weather", actor="operator")
    assert (told["published"], told["stale"]) == ([SCORED], 2)
    marks = deployment.ledger.stale(MODEL)
    following = "2013-01-21"  # its first hours see the weather of the evening before
    assert {(m.kind, m.subject) for m in marks} == {("predictions", f"{SCORED}/1"), ("predictions", f"{following}/1")}
    assert {(m.dataset, m.day, m.revision, m.actor) for m in marks} == {("weather", SCORED, 2, "operator")}
    assert all("restated" in m.reason for m in marks)
    assert due_days(deployment, deployment.model(MODEL)) == [SCORED, following]
    score_partitions(deployment, MODEL, [SCORED, following])
    keep_house(deployment)
    assert deployment.ledger.stale(MODEL) == marks and list_due(deployment) == []
    assert [e.kind for e in deployment.ledger.events(limit=10)].count("predictions_stale") == 2


@s3_in_matrix
def test_a_relabel_drop_makes_the_champion_stale_and_asks_for_a_retrain_where_the_spec_says_so(
    copy_in_storage, reigning
):
    deployment = copy_in_storage(reigning)
    snapshot = deployment.ledger.challenger(MODEL, 1).snapshot
    for day in (TRAINED, "2013-01-07"):
        redeliver(deployment, "outcomes", day, all_late, timedelta(days=10))
    ingest_partitions(deployment, "outcomes")
    marks = deployment.ledger.stale(MODEL)
    assert {(m.kind, m.subject, m.dataset) for m in marks} == {("snapshot", snapshot, "outcomes")}
    keep_house(deployment)
    assert [r.source for r in deployment.ledger.requests(MODEL)] == ["person"]

    retrain_when = {"corrected_days": 2, "cool_down_days": 0}
    make_home(deployment.settings.home, **{**SMALL, "retrain_when": retrain_when})
    deployment = type(deployment)(deployment.settings)
    for _ in range(2):
        keep_house(deployment)
    asked = [r for r in deployment.ledger.requests(MODEL) if r.source == "correction"]
    assert len(asked) == 1 and asked[0].status == "accepted" and TRAINED in asked[0].reason


@s3_in_matrix
def test_a_retrain_for_corrections_waits_until_a_training_would_know_of_them(copy_in_storage, reigning):
    deployment = copy_in_storage(reigning)
    retrain_when = {"corrected_days": 1, "cool_down_days": 0}
    make_home(deployment.settings.home, **{**SMALL, "retrain_when": retrain_when})
    redeliver(deployment, "outcomes", TRAINED, all_late)  # delivered after the newest outcomes there are
    ingest_partitions(deployment, "outcomes")
    keep_house(deployment)
    assert deployment.ledger.stale(MODEL)
    assert [r.source for r in deployment.ledger.requests(MODEL)] == ["person"]


@s3_in_matrix
def test_marks_are_complete_though_another_day_was_refused_and_scoring_came_first(copy_in_storage, reigning):
    deployment = copy_in_storage(reigning)
    redeliver(deployment, "weather", SCORED, lambda frame: frame.assign(temp=frame["temp"] + 1))
    redeliver(deployment, "weather", TRAINED, lambda frame: frame.head(1))
    with pytest.raises(ValidationFailedError, match=TRAINED):
        ingest_partitions(deployment, "weather")
    score_partitions(deployment, MODEL, due_days(deployment, deployment.model(MODEL)))
    marks = deployment.ledger.stale(MODEL)
    assert {m.subject for m in marks if m.kind == "predictions"} == {f"{SCORED}/1", "2013-01-21/1"}
    redeliver(deployment, "weather", SCORED, lambda frame: frame.assign(temp=frame["temp"] - 1), timedelta(days=5))
    ingest_partitions(deployment, "weather")
    again = {m.subject for m in deployment.ledger.stale(MODEL) if m.kind == "predictions"}
    assert again - {m.subject for m in marks} == {f"{SCORED}/2", "2013-01-21/2"}


@s3_in_matrix
def test_k6_a_scoring_that_was_overtaken_by_a_promotion_changes_nothing(copy_in_storage, succeeded, monkeypatch):
    """It has looked up the old champion; the new one scores the day; it wakes with the old one's predictions."""
    from ratchet.workflow import probation, promotion, scoring

    deployment = copy_in_storage(succeeded)
    first, newest = deployment.ledger.champion_history(MODEL)
    redeliver(deployment, "weather", SCORED, lambda frame: frame.assign(temp=frame["temp"] + 1))
    ingest_partitions(deployment, "weather")
    load, woken = probation.load_version, []

    def wakes_late(*args):
        if not woken:
            woken.append(True)
            scoring.score_partitions(deployment, MODEL, [SCORED])
        return load(*args)

    monkeypatch.setattr(probation, "load_version", wakes_late)
    monkeypatch.setattr(type(deployment.ledger), "champion", lambda *_: newest if woken else first)
    monkeypatch.setattr(promotion, "reconcile_alias", lambda *_: None)
    with pytest.raises(ConflictError, match="written by another run meanwhile"):
        scoring.score_partitions(deployment, MODEL, [SCORED])
    assert set(deployment.lake.read(f"predictions/{MODEL}", SCORED, SCORED)["model_version"]) == {2}
    assert deployment.ledger.scored(MODEL, SCORED).version == 2


@s3_in_matrix
def test_c6_a_training_as_of_then_is_the_same_challenger_after_corrections(copy_in_storage, reigning):
    deployment = copy_in_storage(reigning)
    before = deployment.ledger.challengers(MODEL)
    for dataset, change in (("outcomes", all_late), ("flights", lambda f: f.assign(distance=f["distance"] + 1))):
        redeliver(deployment, dataset, TRAINED, change)
        ingest_partitions(deployment, dataset)
    again = train(deployment, FIRST_AS_OF)
    assert again["version"] == 1
    assert deployment.ledger.challengers(MODEL) == before


@s3_in_matrix
def test_readmit_after_a_corrected_suite_rebuilds_only_what_changes(copy_in_storage, reigning):
    """A suite that was too strict set flights aside: with the right bound they come back, with marks."""
    deployment = copy_in_storage(reigning)
    far = {"expectation": "expect_column_values_to_be_between", "of": {"column": "distance"}}
    set_suite(deployment, "flights", **far, max_value=4900)
    strict = readmit_partitions(
        deployment, "flights", reason="distances are wrong", actor="op", first=TRAINED, last=SCORED
    )
    assert strict["quarantined"] > 0 and len(strict["published"]) + len(strict["confirmed"]) == 15
    rebuilt = {p.day: p for p in deployment.ledger.partitions("flights") if p.quarantined}
    assert sorted(rebuilt) == strict["published"]

    version = deployment.lake.version("datasets/flights")
    set_suite(deployment, "flights", **far, max_value=6000)
    told = readmit_partitions(deployment, "flights", reason="the bound was wrong", actor="op")
    assert (told["published"], told["confirmed"], told["quarantined"]) == (sorted(rebuilt), [], 0)
    assert deployment.lake.version("datasets/flights") == version + 1
    assert deployment.lake.days("quarantine/flights") == []
    for day in rebuilt:
        first, *_, last = deployment.ledger.partition_revisions("flights")[day]
        assert (last.digest, last.actor, last.reason) == (first.digest, "op", "the bound was wrong")
    marks = deployment.ledger.stale(MODEL)
    assert {m.reason for m in marks if m.kind == "snapshot"} == {"distances are wrong"}
    again = readmit_partitions(deployment, "flights", reason="once more", actor="op")
    assert (again["published"], again["status"]) == ([], "nothing new")


def test_readmit_after_a_corrected_drop_brings_a_refused_day_in(copy_in_storage, taken_in):
    deployment = copy_in_storage(taken_in)
    redeliver(deployment, "flights", SCORED, lambda frame: frame.head(3))
    with pytest.raises(ValidationFailedError, match=SCORED):
        ingest_partitions(deployment, "flights")
    assert ingest_partitions(deployment, "flights")["refused_before"] == [SCORED]
    redeliver(deployment, "flights", SCORED, lambda _: whole_day(deployment), timedelta(days=5))
    told = readmit_partitions(deployment, "flights", reason="delivered whole", actor="op")
    assert told["published"] == [SCORED]


def whole_day(deployment):
    """The day as the lake still holds it, with one thing corrected."""
    spec = deployment.dataset("flights")
    return deployment.lake.read("datasets/flights", SCORED, SCORED)[list(spec.columns)].assign(distance=100.0)


def test_readmit_wants_a_reason(copy_of, taken_in):
    with pytest.raises(ParameterError, match="no reason"):
        readmit_partitions(copy_of(taken_in), "flights", reason=" ", actor="op")
