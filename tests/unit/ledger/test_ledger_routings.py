"""Canaries and shadows on record: who may start one, that one is open at a time, and that none moves the champion."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from ledger_story import MODEL, Story

from ratchet.errors import ApprovalError, ConflictError, ParameterError, RatchetError
from ratchet.ledger import Ledger

NOW = datetime(2013, 4, 2, 12, tzinfo=UTC)


@pytest.fixture
def story(ledger: Ledger) -> Story:
    """Version 1 is champion, version 2 has passed the gate."""
    told = Story(ledger, NOW)
    told.approved(1)
    told.promote(1, 0)
    batch = ledger.request_retrain(MODEL, "2013-04-02", "more data", "person", "analyst", "recipe").batch_id
    told.register(2, batch_id=batch)
    told.judge(2)
    return told


def refused(story: Story, error: type[RatchetError], match: str, version: int = 2, **how: object) -> None:
    before = [event.hash for event in story.ledger.events()]
    with pytest.raises(error, match=match) as caught:
        story.start_canary(version, **how)
    assert type(caught.value) is error and "do: " in str(caught.value)
    assert [event.hash for event in story.ledger.events()] == before and story.ledger.open_canary(MODEL) is None


def test_a_canary_is_on_record_and_its_run_starts_it_once(story):
    ledger = story.ledger
    canary = story.start_canary(2)
    assert (canary.version, canary.share, canary.actor, canary.verdict_digest) == (2, 0.1, "approver", "verdict-2-1")
    assert (canary.first_day, canary.last_day, canary.champion_epoch) == ("2013-05-01", "2013-05-07", 1)
    assert story.start_canary(2) == canary == ledger.open_canary(MODEL)
    with pytest.raises(ConflictError, match="is open"):
        story.start_canary(2, run_id="another")
    ended = ledger.end_canary(MODEL, canary.id, "stopped", "seen enough", "carl")
    assert (ended.ended_how, ended.ended_by) == ("stopped", "carl") and ledger.open_canary(MODEL) is None
    again = ledger.end_canary(MODEL, canary.id, "rolled back", "nulls", "ratchet")
    assert again == ended, "the first reason stands"
    assert story.start_canary(2) == ended, "a run that is told again starts no second one"
    assert ledger.champion(MODEL).version == 1 and ledger.verify().ok


@pytest.mark.parametrize(
    ("error", "match", "how"),
    [
        (ParameterError, "can't serve that share", {"share": 0.3}),
        (ParameterError, "can't serve that share", {"share": 0.0}),
        (ParameterError, "reason is empty", {"reason": " "}),
        (ApprovalError, "was not started", {"actor": "carl"}),
        (ApprovalError, "who asked for its training", {"actor": "analyst", "allowed": ["analyst", "approver"]}),
    ],
)
def test_s5_who_may_not_or_asks_for_too_much_starts_none(story, error, match, how):
    refused(story, error, match, **how)


def test_s5_only_a_verdict_that_passed_against_the_champion_of_now_will_do(story):
    ledger = story.ledger
    story.register(3)
    refused(story, ApprovalError, "has not passed the gate", version=3)
    story.judge(3, "HOLD")
    refused(story, ApprovalError, "has not passed the gate", version=3)
    ledger.reject_smoked(MODEL, 2, "says something else")
    refused(story, ApprovalError, "was rejected")
    story.approved(4)
    story.register(5)
    story.judge(5)
    story.promote(4, 1)
    refused(story, ConflictError, "has moved since", version=5)


def test_a_person_who_said_no_to_it_has_said_no_to_a_canary(story):
    story.ask(2, "verdict-2-1", "run-2")
    story.answer(2, "Reject", run="run-2")
    refused(story, ApprovalError, "status refused")


@pytest.mark.parametrize("move", ["promotion", "rollback"])
def test_it_ends_on_record_with_the_move_of_the_champion(story, move):
    ledger = story.ledger
    if move == "rollback":
        story.ask(2, "verdict-2-1", "run-2")
        story.answer(2, run="run-2")
        story.promote(2, 1)
        story.register(3)
        story.judge(3)
    canary = story.start_canary(3 if move == "rollback" else 2)
    if move == "rollback":
        story.rollback(1, 2)
    else:
        story.approved(3)
        story.promote(3, 1)
    ended = ledger.routing(MODEL, canary.id)
    assert (ended.ended_how, ended.ended_at is None) == ("champion moved", False)
    assert ledger.open_canary(MODEL) is None and ledger.verify().ok


def test_shadows_are_recorded_once_a_day_version_and_inputs(ledger):
    first = ledger.record_shadow(MODEL, 2, "2013-04-05", "a", 9, 1)
    assert ledger.record_shadow(MODEL, 2, "2013-04-05", "a", 9, 2) == first
    again = ledger.record_shadow(MODEL, 2, "2013-04-05", "b", 9, 3)
    ledger.record_shadow(MODEL, 3, "2013-04-05", "b", 9, 4)
    assert again.revision == 2 and ledger.shadow_days(MODEL, 2) == {"2013-04-05": again}
    for why in ("gone", "gone", "torn"):
        ledger.record_shadow_failure(MODEL, 2, why)
    assert [event.payload["why"] for event in ledger.events() if event.kind == "shadow_failed"] == ["gone", "torn"]
    assert ledger.shadow_failure(MODEL, 2) == "torn" and ledger.shadow_failure(MODEL, 3) is None
    ledger.record_shadow(MODEL, 2, "2013-04-06", "a", 9, 5)
    assert ledger.shadow_failure(MODEL, 2) is None
    ledger.record_shadow_failure(MODEL, 2, "torn")
    assert ledger.shadow_failure(MODEL, 2) == "torn", "what came back is told again"
