"""What holds a retrain request back: cool-down, budget, and a row of challengers that were turned down."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest
from ledger_story import MODEL

from ratchet.errors import ConflictError, ParameterError, UnknownNameError
from ratchet.ledger import Rules

RULES = Rules(cool_down_days=7, trainings=10, in_days=28, stop_after_rejected=3)


def ask(ledger, as_of="2013-04-01", source="drift", rules=RULES, **more):
    return ledger.request_retrain(MODEL, as_of, "it drifted", source, "check_drift", "recipe", rules=rules, **more)


def day(number: int) -> str:
    return f"2013-04-{number:02d}"


@pytest.fixture
def turned_down(story):
    """Two challengers rejected by the gate and one refused by a person."""
    for version in (1, 2):
        story.register(version)
        story.judge(version, "REJECT")
    story.register(3)
    story.ask(3, story.judge(3).digest)
    story.answer(3, "Reject")
    return story


@pytest.mark.parametrize(
    ("as_of", "status"),
    [("2013-04-07", "suppressed"), ("2013-04-08", "accepted")],
)
def test_c7_within_the_cool_down_a_request_is_suppressed_and_on_record(ledger, as_of, status):
    ask(ledger)
    outcome = ask(ledger, as_of)
    filed = ledger.request(outcome.id)
    assert outcome.status == status == filed.status and filed.rules == asdict(RULES)
    if status == "suppressed":
        assert outcome.batch_id is None
        assert "as of 2013-04-01" in filed.explanation and "until 2013-04-08" in filed.explanation
        assert ledger.events(limit=1)[0].payload["status"] == "suppressed"


def test_c7_drift_at_each_check_makes_one_training_a_cool_down(ledger):
    """A check each hour of the first day, then one a day: who asks again while it lasts is let through in time."""
    checks = [(1, hour) for hour in range(24)] + [(number, 0) for number in range(2, 16)]
    for number, hour in checks:
        ask(ledger, day(number), idempotency_key=f"drift/{number}/{hour}")
    filed = ledger.requests(MODEL)
    assert [batch.as_of for batch in ledger.batches(MODEL)] == [day(1), day(8), day(15)]
    assert len(filed) == len(checks) and all(request.explanation for request in filed)
    suppressed = {request.as_of for request in filed if request.status == "suppressed"}
    assert suppressed == {day(number) for number in range(1, 16)} - {day(1), day(8), day(15)}


def test_a_person_is_never_held_back_and_starts_no_cool_down(ledger):
    assert ask(ledger, day(1), "person").status == "accepted"
    assert ask(ledger, day(2)).status == "accepted"
    assert ask(ledger, day(3), "person").status == "accepted"
    assert ask(ledger, day(4)).status == "suppressed"


def test_a_failed_batch_starts_no_cool_down_and_makes_way(ledger):
    first = ask(ledger).batch_id
    ledger.start_batch(first, "run-1", MODEL)
    ledger.finish_batch(first, "failed")
    second = ask(ledger)
    assert second.status == "accepted" and second.batch_id != first
    with pytest.raises(ConflictError, match="in its place"):
        ledger.start_batch(first, "run-2", MODEL)


def test_a_spent_budget_holds_back_until_its_oldest_training_leaves_the_period(ledger):
    rules = replace(RULES, cool_down_days=0, trainings=2, in_days=10)
    assert ask(ledger, day(1), "person", rules).status == "accepted", "a person's training is not of the budget"
    first = ask(ledger, day(2), rules=rules).batch_id
    ledger.finish_batch(first, "failed")
    assert ask(ledger, day(5), rules=rules).status == "accepted"
    outcome = ask(ledger, day(11), rules=rules)
    assert outcome.status == "suppressed" and "budget" in outcome.explanation
    assert "until 2013-04-12" in outcome.explanation
    assert ask(ledger, day(11), "person", rules).status == "accepted"
    assert ask(ledger, day(12), rules=rules).status == "accepted"


@pytest.mark.parametrize("cool_down_days", [0, 7])
def test_data_older_than_the_newest_training_waits_for_a_person_not_for_a_day(ledger, cool_down_days):
    rules, old = replace(RULES, cool_down_days=cool_down_days, trainings=1), "2013-03-31"
    ask(ledger, rules=rules)
    outcome = ask(ledger, old, rules=rules)
    assert outcome.status == "suppressed" and "until" not in outcome.explanation
    assert "as of 2013-04-01 is on record, and 2013-03-31 is older: for older data a person" in outcome.explanation
    assert ask(ledger, old, "person", rules).status == "accepted"


def test_trainings_of_later_days_are_not_of_the_budget(ledger):
    rules = replace(RULES, cool_down_days=0, trainings=1)
    ledger.finish_batch(ask(ledger, day(5), rules=rules).batch_id, "failed")
    assert ask(ledger, day(4), rules=rules).status == "accepted"
    assert "budget" in ask(ledger, day(6), rules=rules).explanation


def test_the_budget_comes_before_the_cool_down_and_the_stop_before_both(turned_down):
    ledger, rules = turned_down.ledger, replace(RULES, trainings=1)
    assert ask(ledger, day(1), rules=replace(rules, stop_after_rejected=4)).status == "accepted"
    assert "budget" in ask(ledger, day(2), rules=replace(rules, stop_after_rejected=4)).explanation
    assert "has stopped" in ask(ledger, day(2), rules=rules).explanation


def test_challengers_turned_down_in_a_row_stop_the_broker_until_a_person_asks(turned_down):
    ledger = turned_down.ledger
    assert ledger.turned_down(MODEL) == [1, 2, 3] and ledger.turned_down("other") == []
    stopped = ask(ledger)
    assert stopped.status == "suppressed" and "versions 1, 2, 3" in stopped.explanation
    assert ask(ledger, source="person").status == "accepted"
    assert ledger.turned_down(MODEL) == [] and ask(ledger, day(2)).status == "accepted"


def test_one_fewer_does_not_stop_it_and_what_was_not_decided_is_not_counted(story):
    for version, verdict in enumerate(["REJECT", "HOLD", "PROMOTE", "REJECT"], start=1):
        story.register(version)
        story.judge(version, verdict)
    assert story.ledger.turned_down(MODEL) == [1, 4] and ask(story.ledger).status == "accepted"
    story.register(5)
    story.judge(5, "REJECT")
    assert ask(story.ledger, day(20)).status == "suppressed"


def test_a_promotion_begins_a_new_row_and_a_rollback_does_not(turned_down):
    """By the chain's clock: `moved_at` is what the caller says, here years ago."""
    turned_down.approved(4)
    turned_down.promote(4, 0)
    assert turned_down.ledger.turned_down(MODEL) == []
    turned_down.register(5)
    turned_down.judge(5, "REJECT")
    turned_down.approved(6)
    turned_down.promote(6, 1)
    turned_down.register(7)
    turned_down.judge(7, "REJECT")
    turned_down.rollback(None, 2)
    assert turned_down.ledger.turned_down(MODEL) == [7], "4 is champion again, and its promotion was before 6's"


def test_a_training_on_record_is_joined_also_by_a_request_that_would_be_held_back(turned_down):
    ledger = turned_down.ledger
    batch = ask(ledger, day(1), "person").batch_id
    for version in (7, 8, 9):
        turned_down.register(version)
        turned_down.judge(version, "REJECT")
    joined = ask(ledger, day(1))
    assert (joined.status, joined.batch_id) == ("merged", batch)
    assert ask(ledger, day(2)).status == "suppressed"


def test_a_request_is_found_by_its_key(ledger):
    first = ask(ledger, idempotency_key="k")
    assert ledger.request_of_key(MODEL, "k") == ledger.request(first.id)
    with pytest.raises(UnknownNameError, match="'k'"):
        ledger.request_of_key("other", "k")


@pytest.mark.parametrize(
    ("name", "value"), [("cool_down_days", -1), ("trainings", 0), ("in_days", 0), ("stop_after_rejected", 0)]
)
def test_rules_that_nothing_could_pass_are_refused(name, value):
    with pytest.raises(ParameterError, match=name):
        replace(RULES, **{name: value})
