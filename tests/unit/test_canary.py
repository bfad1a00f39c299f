"""A canary serves its share, by the row's key, and no more: what is wrong with it ends it before anybody sees it, and
nothing of it moves the champion. Killed anywhere, a day is there whole, under one routing, and the champion's rows are
right."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pandas as pd
import pytest
from field_story import (
    AS_OF,
    CANARY,
    CANARY_DAYS,
    LAST,
    MODEL,
    SERVED,
    SHARE,
    SPOILED,
    publish,
    score_next,
    spoil_labels,
)
from forks import Forks
from small_loop import deployment_in
from spoiled_models import flip_a_bit

from ratchet.days import days_between, shift_day
from ratchet.deployment import Deployment
from ratchet.errors import ApprovalError, ParameterError
from ratchet.failpoints import arm
from ratchet.field_test.routing import in_share
from ratchet.field_test.safety import LEAST_DAYS
from ratchet.score import score_frame
from ratchet.specs.watching import FieldTest
from ratchet.workflow import canary as canaries
from ratchet.workflow.canary import Canary, check_canary, start_canary, stop_canary
from ratchet.workflow.dispatch import list_due
from ratchet.workflow.lineage import explain_prediction
from ratchet.workflow.scoring import due_days, score_partitions
from ratchet.workflow.versions import load_version

FIRST_DAY = shift_day(SERVED, 1)
# Where the second day is killed, what happens then, how many days end under the canary. A day that was published and
# not recorded before it was stopped is scored again, by the champion alone.
KILLED = [
    ("lake.predictions.before_commit", "goes on", CANARY_DAYS),
    ("lake.predictions.after_commit", "goes on", CANARY_DAYS),
    ("lake.predictions.after_commit", "was stopped", 1),
    ("ledger.before_commit", "is spoiled", 0),
]


@pytest.fixture
def world(copy_of, in_the_field) -> Deployment:
    return copy_of(in_the_field)


def start(deployment: Deployment, **how: object) -> dict:
    return start_canary(deployment, MODEL, how.pop("version", 2), **{**CANARY, **how})


def rows(deployment: Deployment, day: str = FIRST_DAY) -> pd.DataFrame:
    return deployment.lake.read(f"predictions/{MODEL}", day, day)


def ends(deployment: Deployment) -> list[tuple]:
    return [(one.ended_how, one.ended_by) for one in deployment.ledger.routings(MODEL)]


def alerts(deployment: Deployment) -> list[tuple]:
    return [(one.key, one.level) for one in deployment.ledger.open_alerts(MODEL)]


def by_champion_alone(deployment: Deployment, day: str = FIRST_DAY) -> bool:
    served = rows(deployment, day)
    record = deployment.ledger.scored(MODEL, day)
    return set(served["model_version"]) == {1} and set(served["routing"]) == {""} and record.routing is None


def test_it_serves_its_share_by_the_rows_key_and_each_row_says_who_scored_it(world):
    started = start(world)
    assert (started["first_day"], started["last_day"]) == (FIRST_DAY, shift_day(FIRST_DAY, CANARY_DAYS - 1))
    assert started == start(world), "once a run"
    assert score_next(world, CANARY_DAYS + 1)["version"] == 1
    first, mine = rows(world), in_share(rows(world), ["id"], started["canary"], SHARE)
    assert 0 < mine.sum() < len(first)
    assert (first["model_version"] == 1 + mine).all() and set(first["routing"]) == {started["canary"]}
    inputs = first[["id"]].merge(world.lake.read("datasets/things"), on="id", validate="one_to_one")
    for version, served in ((1, ~mine), (2, mine)):
        digest = world.ledger.challenger(MODEL, version).model_digest
        assert set(first["model_digest"][served]) == {digest}
        said = score_frame(load_version(world, MODEL, version), inputs, world.model(MODEL))["score"]
        assert first["score"][served].tolist() == said[served].tolist()
    record = world.ledger.scored_days(MODEL)
    assert (record[FIRST_DAY].version, record[FIRST_DAY].routing) == (1, started["canary"])
    assert by_champion_alone(world, shift_day(FIRST_DAY, CANARY_DAYS)) and ends(world) == [("days over", "ratchet")]
    assert due_days(world, world.model(MODEL)) == [shift_day(FIRST_DAY, n) for n in (5, 6)]
    moves = [(one.version, one.how) for one in world.ledger.champion_history(MODEL)]
    assert moves == [(1, "promotion")] and world.registry.alias_version(MODEL, "champion") == 1
    assert world.ledger.challenger(MODEL, 2).status == "registered" and world.ledger.verify().ok


def test_the_audit_of_a_canarys_row_leads_to_the_version_that_scored_it_and_who_started_it(world):
    started = start(world)
    score_next(world)
    served = rows(world)
    told = explain_prediction(world, served["prediction_id"][served["model_version"] == 2].iloc[0])
    assert (told["version"]["version"], told["gate"]["digest"], told["approval"]) == (2, "2" * 64, None)
    assert (told["canary"]["id"], told["canary"]["started_by"]) == (started["canary"], "approver")
    assert told["champion"]["epoch"] == 1
    told = explain_prediction(world, served["prediction_id"][served["model_version"] == 1].iloc[0])
    assert (told["version"]["version"], told["canary"], told["approval"]["by"]) == (1, None, "approver")


def test_the_same_rows_are_routed_alike_wherever_they_lie_and_the_share_is_kept():
    many = pd.DataFrame({"id": range(20_000), "at": pd.date_range("2013-01-01", periods=20_000, freq="h", tz="UTC")})
    key, mine = ["id", "at"], in_share(many, ["id", "at"], "k000001", 0.05)
    assert abs(mine.mean() - 0.05) < 0.005
    there = many.assign(at=many["at"].dt.tz_convert("America/New_York"))
    assert (in_share(there.iloc[::-1], key, "k000001", 0.05)[::-1] == mine).all()
    assert (in_share(many, key, "k000001", 0.1) >= mine).all(), "a larger share keeps those it had"
    other = in_share(many, key, "k000002", 0.05)
    assert abs((other & mine).mean() - 0.0025) < 0.0015, "another routing picks other rows"


def spoil(monkeypatch, world: Deployment, how: str) -> None:
    """From here on version 2 is at fault: its file, or what it says, as no smoke test on known rows would show."""
    if how == "file":
        flip_a_bit(world, MODEL, 2)
        return
    whole = load_version(world, MODEL, 2)

    class Spoiled:
        classes_ = whole.classes_

        def predict_proba(self, features):
            if how == "raises":
                raise IndexError("no such category: 'a\x00b\ud800'")
            return whole.predict_proba(features) * (float("nan") if how == "nulls" else 3)

    monkeypatch.setattr(canaries, "load_version", lambda *_: Spoiled())


@pytest.mark.parametrize(
    ("how", "seen"),
    [("file", "registered"), ("raises", "IndexError"), ("nulls", "have no score"), ("range", "no probability")],
)
def test_what_can_not_be_right_ends_it_before_anybody_sees_it_and_the_champion_scores_the_day(
    world, monkeypatch, how, seen
):
    start(world)
    spoil(monkeypatch, world, how)
    assert score_next(world)["scored"] == [FIRST_DAY]
    assert by_champion_alone(world) and ends(world) == [("rolled back", "ratchet")]
    assert seen in world.ledger.routings(MODEL)[0].ended_why and alerts(world) == [("canary/v2", "warn")]
    assert world.ledger.challenger(MODEL, 2).status == "registered", "it rejects nothing"
    score_next(world)
    assert by_champion_alone(world, shift_day(FIRST_DAY, 1)) and world.ledger.verify().ok
    assert stop_canary(world, MODEL, actor="operator", reason="seen") == {"canary": None} and alerts(world) == []


def set_days(world: Deployment, days: int) -> None:
    spec = world.model(MODEL)
    field_test = spec.field_test.model_copy(update={"canary_days": days})
    world.models.good[MODEL] = spec.model_copy(update={"field_test": field_test})


def serve_harm(world: Deployment, days: int) -> None:
    """A canary of so many days, which are scored: what it says is the opposite, and its range doesn't show it."""
    set_days(world, days)
    start(world)
    last = shift_day(FIRST_DAY, days - 1)
    publish(world, days_between(shift_day(LAST, 1), last))
    score_next(world, days)
    by_day = {}
    for day in days_between(FIRST_DAY, last):
        served = rows(world, day)
        by_day[day] = served.assign(score=served["score"].where(served["model_version"] == 1, 1.0))
    world.lake.publish_days(f"predictions/{MODEL}", by_day)


def due_checks(world: Deployment) -> list[str]:
    return [one.key for one in list_due(world) if "k000001" in one.key]


def test_no_harm_leaves_it_alone_and_is_looked_for_once_per_what_there_is_to_look_at(world):
    start(world)
    score_next(world, CANARY_DAYS)
    assert len(due_checks(world)) == 1
    found = {"canary": "k000001", "days": CANARY_DAYS, "unusable_labels": 0, "harm": None}
    assert check_canary(world, MODEL) == found
    assert due_checks(world) == [] and ends(world) == [(None, None)]


def test_rows_whose_label_can_not_be_used_are_left_out_and_counted(world, monkeypatch):
    spoil_labels(monkeypatch)
    start(world)
    score_next(world, CANARY_DAYS)
    served = world.lake.read(f"predictions/{MODEL}", first=FIRST_DAY)
    without = int(((served["model_version"] == 2) & (served["id"] % 1000 < SPOILED)).sum())
    found = {"canary": "k000001", "days": CANARY_DAYS, "unusable_labels": without, "harm": None}
    assert without and check_canary(world, MODEL) == found


@pytest.mark.parametrize("days", [LEAST_DAYS - 1, LEAST_DAYS])
def test_a_canary_too_short_for_outcomes_to_show_harm_says_so_when_it_starts(world, days):
    set_days(world, days)
    assert start(world)["outcomes"].startswith("not compared: fewer than 8" if days < LEAST_DAYS else "compared")
    assert FieldTest().canary_days >= LEAST_DAYS


@pytest.mark.parametrize("ended", [None, "days over"])
def test_gross_harm_is_told_once_outcomes_have_come_also_after_its_last_day(world, ended):
    serve_harm(world, 28)
    if ended:
        publish(world, [shift_day(FIRST_DAY, 28)])
        score_next(world)
        assert ends(world) == [("days over", "ratchet")]
    assert len(due_checks(world)) == 1
    assert "more than 25% worse" in check_canary(world, MODEL)["harm"]
    assert alerts(world) == [("canary/v2", "page")] and ends(world) == [(ended or "rolled back", "ratchet")]
    stop_canary(world, MODEL, actor="operator", reason="seen")
    assert due_checks(world) == [] and check_canary(world, MODEL)["harm"] is None and alerts(world) == []
    publish(world, [FIRST_DAY], weight=0.5)
    assert due_checks(world) == [], "its last day was looked at"


def test_another_canary_hides_nothing_that_is_owed_of_the_one_before(world):
    start(world)
    score_next(world, CANARY_DAYS + 1)
    assert ends(world) == [("days over", "ratchet")]
    start(world, run_id="second")
    assert len(due_checks(world)) == 1
    found = check_canary(world, MODEL)
    assert (found["canary"], found["days"]) == ("k000001", CANARY_DAYS)
    assert due_checks(world) == []
    assert check_canary(world, MODEL) == {"canary": "k000002", "days": 0, "unusable_labels": 0, "harm": None}


def test_gross_harm_of_a_canary_that_is_over_ends_a_later_one_of_the_same_version(world):
    serve_harm(world, 28)
    publish(world, [shift_day(FIRST_DAY, 28)])
    score_next(world)
    start(world, run_id="second")
    assert "more than 25% worse" in check_canary(world, MODEL)["harm"]
    assert ends(world) == [("days over", "ratchet"), ("rolled back", "ratchet")]


def test_the_question_which_routing_a_day_is_under_changes_nothing(world):
    start(world)
    before = [event.hash for event in world.ledger.events()]
    champion = world.ledger.champion(MODEL)
    asked = Canary(world, world.model(MODEL), champion, None).routing_on
    assert asked(FIRST_DAY) == "k000001" and asked(SERVED) == "" and asked(shift_day(FIRST_DAY, CANARY_DAYS)) == ""
    assert [event.hash for event in world.ledger.events()] == before


def test_it_ends_when_the_champion_moves_when_a_person_says_so_and_when_the_version_is_refused(world):
    ledger = world.ledger
    start(world)
    assert stop_canary(world, MODEL, actor="operator", reason="seen enough")["ended"] == "stopped"
    start(world, run_id="second")
    place = {"dag_id": "d", "run_id": "r2", "task_id": "t", "try_number": 1}
    asked = (MODEL, 2, "2" * 64, ["trainer"])
    ledger.ask_approval(*asked, *place.values(), "2099-01-01T00:00:00+00:00")
    said = {"responded_by": "approver", "responded_by_id": None, "responded_at": "2013-03-01T00:00:00+00:00"}
    ledger.record_answer(MODEL, 2, **place, answer="Reject", **said)
    score_next(world)
    assert by_champion_alone(world) and ends(world) == [("stopped", "operator"), ("stopped", "ratchet")]
    with pytest.raises(ApprovalError, match="refused"):
        start(world, run_id="third")


def test_c4_nobody_else_starts_one_and_no_more_than_the_spec_allows(world):
    for error, match, how in (
        (ApprovalError, "was not started", {"actor": "operator"}),
        (ApprovalError, "was not started", {"actor": "backfill"}),
        (ParameterError, "can't serve that share", {"share": SHARE * 2}),
        (ParameterError, "no version", {"version": None}),
    ):
        with pytest.raises(error, match=match):
            start(world, **how)
    assert world.ledger.routings(MODEL) == [] and world.ledger.open_canary(MODEL) is None


def test_a_restated_day_of_a_canary_is_the_champions_once_it_is_over_and_older_days_always(world):
    start(world)
    score_next(world)
    publish(world, [AS_OF, FIRST_DAY], weight=0.5)
    assert score_partitions(world, MODEL, [AS_OF, FIRST_DAY])["scored"] == [AS_OF, FIRST_DAY]
    assert by_champion_alone(world, AS_OF) and not by_champion_alone(world)
    stop_canary(world, MODEL, actor="operator", reason="seen enough")
    assert FIRST_DAY not in due_days(world, world.model(MODEL)), "what was published stays"
    publish(world, [FIRST_DAY], weight=1.0)
    score_partitions(world, MODEL, [FIRST_DAY])
    assert by_champion_alone(world)


def one_routing_a_day(deployment: Deployment) -> dict[str, str]:
    """Each day is whole, under one routing, as the ledger has it. {day: routing}."""
    served = deployment.lake.read(f"predictions/{MODEL}", first=FIRST_DAY)
    found = {}
    for day, of_day in served.groupby("day"):
        (found[day],) = set(of_day["routing"])
        assert len(of_day) == 60 and set(of_day["model_version"]) == ({1, 2} if found[day] else {1})
        assert (deployment.ledger.scored(MODEL, day).routing or "") == found[day]
    return found


@pytest.mark.matrix
def test_k1_killed_anywhere_a_day_is_whole_under_one_routing_and_the_champions_rows_are_right(in_the_field, tmp_path):
    with Forks("field_story") as forks:
        for number, (point, then, routed) in enumerate(KILLED):
            root = Path(shutil.copytree(in_the_field, tmp_path / str(number)))
            deployment = deployment_in(root)
            start(deployment)
            if then == "is spoiled":
                flip_a_bit(deployment, MODEL, 2)
            arm(root / "armed", point, signal.SIGKILL, 1)
            run = forks.start(str(root), "score", env={"RATCHET_FAILPOINT_FILE": str(root / "armed")})
            assert run.wait() == -signal.SIGKILL, (point, run.said)
            if then == "was stopped":
                stop_canary(deployment, MODEL, actor="operator", reason="seen enough")
            run = forks.start(str(root), "score", env={})
            assert run.wait() == 0, (point, run.said)
            found = one_routing_a_day(deployment)
            assert len(found) == 7 and len([day for day in found if found[day]]) == routed, (point, then, found)
            assert due_days(deployment, deployment.model(MODEL)) == []
            check_rows_of_the_champion(deployment)
            assert deployment.ledger.champion(MODEL).epoch == 1 and deployment.ledger.verify().ok


def check_rows_of_the_champion(deployment: Deployment) -> None:
    served = deployment.lake.read(f"predictions/{MODEL}", first=FIRST_DAY)
    inputs = served[["id"]].merge(deployment.lake.read("datasets/things"), on="id", validate="one_to_one")
    said = score_frame(load_version(deployment, MODEL, 1), inputs, deployment.model(MODEL))["score"]
    mine = served["model_version"] == 1
    assert served["score"][mine].tolist() == said[mine].tolist()
