"""The loop's own health: what is late, waits or failed is named; only scoring that falls behind pages."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from small_loop import MODEL, SECOND_AS_OF, redeliver

from ratchet.monitoring.health import Loop, Waiting, look_at_loop
from ratchet.monitoring.history import table_of
from ratchet.monitoring.values import Finding
from ratchet.snapshot import build_inputs
from ratchet.workflow import health
from ratchet.workflow.health import data_findings, loop_findings, watch_loop
from ratchet.workflow.ingestion import ingest_partitions
from ratchet.workflow.scoring import due_days, score_partitions
from ratchet.workflow.training import request_retrain

LAST_DAYS = ("2013-01-28", "2013-01-30")
NOW = datetime(2013, 3, 10, 12, tzinfo=UTC)
WELL = Loop(newest="2013-03-10", scored="2013-03-09", patience_days=2)


def ago(**span: float) -> datetime:
    return NOW - timedelta(**span)


def look(name: str, **loop: object):
    found = {one.name: one for one in look_at_loop(Loop(**{**vars(WELL), **loop}), NOW)}
    assert {one.area for one in found.values()} == {"loop"}
    return found[name]


def test_a_loop_that_keeps_up_is_usual_everywhere():
    found = look_at_loop(WELL, NOW)
    assert {(one.state, one.level) for one in found} == {("usual", "note")}
    assert [one.name for one in found] == ["scoring", "trainings", "judgements", "questions", "alerts", "stale"]


@pytest.mark.parametrize(
    ("scored", "waited", "level"),
    [("2013-03-05", 7, "note"), ("2013-03-04", 5, "note"), ("2013-03-04", 7, "page"), ("2013-03-09", 25, "warn")],
)
def test_scoring_pages_when_it_is_days_behind_data_that_are_there(scored, waited, level):
    """Behind by more than or_after_days and three days more; a load of old days has six hours to be scored."""
    one = look("scoring", scored=scored, due=[Waiting("2013-03-08", ago(hours=waited))])
    assert one.level == level and one.value == 10 - int(scored[-2:]) and one.threshold == 5
    assert look("scoring", scored=scored).level == "note"  # without data to score nothing is late


def test_nothing_scored_yet_says_nothing():
    assert look("scoring", scored=None).state == "not enough data"
    assert look("scoring", newest=None).state == "not enough data"


def test_days_that_wait_for_a_champion_that_never_scored_page():
    one = look("scoring", scored=None, due=[Waiting(f"2013-03-0{n}", ago(hours=7)) for n in (9, 3, 4)])
    assert (one.level, one.value) == ("page", 8.0) and "nothing has been scored" in one.says


@pytest.mark.parametrize(("name", "hours"), [("trainings", 24), ("judgements", 24), ("alerts", 1)])
def test_what_waits_too_long_is_named_with_how_long(name, hours):
    old, new = Waiting("the old one", ago(hours=hours + 0.5)), Waiting("the new one", ago(minutes=5))
    assert look(name, **{field(name): [new]}).level == "note"
    one = look(name, **{field(name): [new, old]})
    assert (one.state, one.level, one.value) == ("moved", "warn", hours + 0.5) and "the old one" in one.says


def field(name: str) -> str:
    return {"alerts": "unsent"}.get(name, name)


def test_a_question_about_to_expire_is_somebody_s_business():
    late = Waiting("the question about version 4", ago(days=2), NOW + timedelta(hours=5))
    assert look("questions", questions=[Waiting("another", ago(days=2), NOW + timedelta(days=3))]).level == "note"
    one = look("questions", questions=[late])
    assert (one.level, one.value) == ("warn", 1.0) and "version 4 expires at 2013-03-10 17:00 UTC" in one.says


def test_failures_are_counted_and_named():
    told = {"given up": ["score__1"], "drops refused": [], "days held": [f"2013-03-0{n}" for n in range(1, 9)]}
    assert look("given_up", failures=told).level == "warn"
    assert look("drops_refused", failures=told).level == "note"
    held = look("days_held", failures=told)
    assert held.value == 8 and "2013-03-05 and 3 more" in held.says


def delivered(lag: timedelta = timedelta(hours=1), newest_hours_ago: float = 10) -> list:
    newest = ago(hours=newest_hours_ago)
    return [(newest - timedelta(days=n), newest - timedelta(days=n) + lag) for n in range(10)]


def test_a_sender_that_has_fallen_silent_is_told_by_the_clock():
    assert look("delivery/flights", deliveries={"flights": delivered()}).level == "note"
    one = look("delivery/flights", deliveries={"flights": delivered(newest_hours_ago=61)})
    assert (one.level, one.threshold) == ("warn", 60.0)  # a day's rhythm, half as much again, and a day


def test_of_replayed_data_the_clock_says_nothing():
    replayed = delivered(timedelta(days=4000), newest_hours_ago=90000)
    assert look("delivery/flights", deliveries={"flights": replayed}).state == "not enough data"
    assert look("delivery/flights", deliveries={"flights": delivered()[:3]}).state == "not enough data"


def test_a_loop_on_record_is_looked_at_and_its_alerts_settle(copy_of, reigning, monkeypatch):
    """A training that nobody works on is told two days later, once; and is settled when it is over."""
    deployment, later = copy_of(reigning), datetime.now(UTC) + timedelta(days=2)
    spec = deployment.model(MODEL)
    assert {one.harm for one in loop_findings(deployment, spec)} == {"none"}
    scoring = next(one for one in loop_findings(deployment, spec) if one.name == "scoring")
    assert "2013-01-30" in scoring.says and scoring.value == 0

    redeliver(deployment, "weather", "2013-01-29", lambda frame: frame.assign(temp=frame["temp"] + 1))
    ingest_partitions(deployment, "weather")
    (scoring,) = (one for one in loop_findings(deployment, spec) if one.name == "scoring")
    assert "2 days to score, the oldest for 0 hours" in scoring.says  # it and the next day, since the correction came
    (scoring,) = (one for one in loop_findings(deployment, spec, later) if one.name == "scoring")
    assert (scoring.level, scoring.value) == ("warn", 0.0)
    score_partitions(deployment, MODEL, due_days(deployment, spec))

    asked = {"reason": "a test", "source": "person", "actor": "trainer", "as_of": SECOND_AS_OF}
    batch = request_retrain(deployment, MODEL, **asked)["batch"]
    for _ in range(2):
        watch_loop(deployment, spec, later)
        (alert,) = deployment.ledger.open_alerts(MODEL)
        assert (alert.key, alert.level, alert.times) == ("loop/trainings", "warn", 1) and batch in alert.what
    silent = Finding("loop", "trainings", "not enough data", "none", "nobody looked")
    with monkeypatch.context() as planted:
        planted.setattr(health, "loop_findings", lambda *_: [silent])
        watch_loop(deployment, spec, later + timedelta(days=1))
    assert deployment.ledger.open_alerts(MODEL), "what nobody could look at is not well again"
    deployment.ledger.finish_batch(batch, "failed")
    watch_loop(deployment, spec, later + timedelta(days=7))
    assert deployment.ledger.open_alerts(MODEL) == []
    kept = deployment.lake.read(table_of(MODEL)).set_index(["day", "name"])
    days = [f"{later + timedelta(days=n):%Y-%m-%d}" for n in (0, 7)]
    assert kept.loc[[(day, "trainings") for day in days], "state"].tolist() == ["moved", "usual"]
    assert kept.index.is_unique


def test_data_that_feed_the_model_are_looked_at_by_the_tables_of_the_lake(copy_of, reigning):
    deployment = copy_of(reigning)
    spec = deployment.model(MODEL)
    published = (spec, deployment.datasets.good, deployment.published)
    reference, current = (build_inputs(*published, *days) for days in (("2013-01-01", "2013-01-27"), LAST_DAYS))
    found = {one.name: one for one in data_findings(deployment, spec, "2013-01-30", reference, current, SECOND_AS_OF)}
    assert {one.harm for one in found.values()} == {"none"}
    assert {"flights/rows", "weather/nulls.temp", "features/outliers.temp", "weather/stopped"} <= set(found)
    assert {one.state for name, one in found.items() if "planes" in name} == {"usual"}  # reference data have no rhythm
    assert found["flights/rows"].state == "usual" and found["flights/rows"].reference > 800

    out = current.assign(temp=current["temp"].mask(current["day"] > "2013-01-28"))
    found = {one.name: one for one in data_findings(deployment, spec, "2013-02-08", reference, out, "2013-02-09")}
    assert {name for name, one in found.items() if one.level == "page"} == {
        "features/temp",
        "flights/stopped",
        "weather/stopped",
    }
