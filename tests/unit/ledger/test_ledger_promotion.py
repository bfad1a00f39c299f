"""A ratchet turns one way: the champion moves by verdict and answer, or back to where it was. S5, C5, C8, K3."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from ledger_story import MODEL

from ratchet.errors import ApprovalError, ConflictError, ParameterError, UnknownNameError
from ratchet.workflow.record import approval_of


def refused(story, error, version=1, expected_epoch=0, **how):
    """The promotion raises `error`, and champion and chain stay as they are."""
    before = story.ledger.champion(MODEL), story.ledger.verify()
    with pytest.raises(error) as caught:
        story.promote(version, expected_epoch, **how)
    assert (story.ledger.champion(MODEL), story.ledger.verify()) == before
    return str(caught.value)


def test_a_challenger_is_registered_once_per_identity(story):
    first = story.register(1)
    assert first.status == "registered" and first.windows == {"train": ["2013-01-01", "2013-02-28"]}
    assert first.metrics == {"roc_auc": 0.7, "rows": 10}
    again = story.ledger.register_challenger(
        MODEL, "identity-1", 9, "other run", "s", "2013-04-09", {}, {}, None, "other digest"
    )
    assert again == first == story.ledger.challenger(MODEL, 1)
    assert story.ledger.challenger_by_identity(MODEL, "identity-1") == first
    assert story.ledger.challenger_by_identity(MODEL, "identity-9") is None
    assert story.ledger.challengers(MODEL) == [first]
    with pytest.raises(ConflictError, match="another challenger"):
        story.ledger.register_challenger(MODEL, "identity-2", 1, "run", "s", "2013-04-09", {}, {}, None, "digest")


def test_a_challenger_comes_of_a_batch_of_its_model_or_is_not_registered(story):
    batch = story.ledger.request_retrain(MODEL, "2013-04-01", "why", "api", "stranger", "recipe").batch_id
    foreign = story.ledger.request_retrain("other", "2013-04-01", "why", "api", "stranger", "recipe").batch_id
    before = story.ledger.verify().entries
    for wrong in (foreign, "b9", ""):
        with pytest.raises(UnknownNameError, match=f"{MODEL} has no batch '{wrong}'"):
            story.register(1, batch_id=wrong)
    assert story.ledger.challengers(MODEL) == [] and story.ledger.verify().entries == before
    assert story.register(1, batch_id=batch).batch_id == batch


def test_a_verdict_is_recorded_once_per_epoch_and_moves_the_status(story):
    for version, verdict, status in [(1, "PROMOTE", "registered"), (2, "HOLD", "held"), (3, "REJECT", "rejected")]:
        story.register(version)
        kept = story.judge(version, verdict)
        assert story.judge(version, "HOLD") == kept == story.ledger.verdict(MODEL, version)
        assert story.ledger.challenger(MODEL, version).status == status
    assert kept.checks == [{"name": "minimum", "passed": True, "value": 0.7}]


def test_a_verdict_against_a_champion_of_the_past_is_a_conflict(story):
    story.two_champions()
    story.register(3)
    for epoch, version in [(1, 1), (0, None), (2, 1), (3, 2)]:
        with pytest.raises(ConflictError, match="another by now"):
            story.ledger.record_verdict(MODEL, 3, epoch, version, "PROMOTE", [], "digest")
    assert story.ledger.verdict(MODEL, 3) is None


def test_unknown_versions_and_verdicts_are_named(story):
    with pytest.raises(UnknownNameError, match="version 7"):
        story.ledger.challenger(MODEL, 7)
    with pytest.raises(UnknownNameError, match="version 7"):
        story.judge(7)
    with pytest.raises(UnknownNameError, match="version 7"):
        story.promote(7, 0)
    story.register(1)
    with pytest.raises(ParameterError, match="MAYBE"):
        story.judge(1, "MAYBE")


def test_the_first_champion_takes_a_verdict_and_an_answer(story):
    assert story.ledger.champion(MODEL) is None
    verdict = story.approved(1)
    assert story.ledger.challenger(MODEL, 1).status == "awaiting_approval"
    champion = story.promote(1, 0)
    assert (champion.version, champion.epoch, champion.how, champion.actor) == (1, 1, "promotion", "approver")
    assert (champion.as_of, champion.model_digest) == ("2013-04-01", "model-digest-1")
    assert (champion.verdict_digest, champion.moved_at) == (verdict.digest, story.now)
    assert story.ledger.champion(MODEL) == champion
    assert story.ledger.challenger(MODEL, 1).status == "promoted"


def test_k3_promoting_again_changes_nothing(story):
    story.approved(1)
    champion, entries = story.promote(1, 0), story.ledger.verify().entries
    assert story.promote(1, 0, now=story.now + timedelta(hours=1)) == champion
    assert story.ledger.verify().entries == entries


@pytest.mark.parametrize("verdict", [None, "HOLD", "REJECT"])
def test_s5_without_a_passed_gate_nothing_is_asked_and_nothing_moves(story, verdict):
    story.register(1)
    digest = story.judge(1, verdict).digest if verdict else "made up"
    with pytest.raises(ApprovalError):
        story.ask(1, digest)
    assert (verdict or "no verdict") in refused(story, ApprovalError)


def test_s5_without_an_answer_nothing_moves(story):
    story.register(1)
    verdict = story.judge(1)
    assert "no answer" in refused(story, ApprovalError)
    story.ask(1, verdict.digest)
    assert "no answer" in refused(story, ApprovalError)
    assert story.ledger.approval(MODEL, 1, verdict.digest).answer is None


@pytest.mark.parametrize("nobody", [None, "", " "])
def test_s5_an_answer_of_nobody_is_none(story, nobody):
    story.register(1)
    digest = story.judge(1).digest
    story.ask(1, digest)
    with pytest.raises(ApprovalError, match="nobody answered"):
        story.answer(1, by=nobody)
    refused(story, ApprovalError)


def test_s5_who_is_not_allowed_cannot_approve(story):
    story.approved(1)
    assert "Approve by approver" in refused(story, ApprovalError, allowed_approvers=["outsider"])
    refused(story, ApprovalError, allowed_approvers=[])


def test_s5_who_asked_cannot_approve_where_four_eyes_are_required(story):
    story.register(1)
    digest = story.judge(1).digest
    story.ask(1, digest, by=["approver"])
    story.answer(1, by="approver")
    assert "asked for it" in refused(story, ApprovalError)
    assert story.promote(1, 0, four_eyes=False).version == 1


def test_s5_having_somebody_else_ask_again_does_not_help_who_asked_first(story):
    story.register(1)
    digest = story.judge(1).digest
    story.ask(1, digest, run="run-1", by=["approver"])
    story.ask(1, digest, run="run-2", by=["analyst"])
    story.answer(1, run="run-2", by="approver")
    assert "asked for it" in refused(story, ApprovalError)


@pytest.mark.parametrize("who", [{"by": "approver"}, {"by": "analyst"}, {"by": "outsider", "by_id": "approver"}])
def test_s5_none_of_all_who_asked_can_approve(story, who):
    story.register(1)
    digest = story.judge(1).digest
    assert story.ask(1, digest, by=["analyst", "approver", "analyst"]).asked_by == ["analyst", "approver"]
    story.answer(1, **who)
    assert "asked for it" in refused(story, ApprovalError, allowed_approvers=["analyst", "approver", "outsider"])
    assert story.ledger.events(limit=2)[0].actor == "analyst, approver"


def test_s5_a_question_that_nobody_on_record_asked_for_is_not_put(story):
    story.register(1)
    digest = story.judge(1).digest
    with pytest.raises(ApprovalError, match="nobody on record asked"):
        story.ask(1, digest, by=[])
    for wrong in ("analyst", [""], ["analyst", None]):
        with pytest.raises(ParameterError, match="asked_by"):
            story.ask(1, digest, by=wrong)
    assert story.ledger.approval(MODEL, 1, digest) is None


def test_s5_a_late_answer_promotes_nothing(story):
    story.register(1)
    digest = story.judge(1).digest
    question = story.ask(1, digest)
    story.answer(1, at=question.expires_at)
    assert story.ledger.challenger(MODEL, 1).status == "expired"
    assert "one before" in refused(story, ApprovalError)


def test_s5_a_refusal_is_final_for_its_verdict(story):
    story.register(1)
    digest = story.judge(1).digest
    story.ask(1, digest)
    kept = story.answer(1, "Reject")
    assert story.ledger.challenger(MODEL, 1).status == "refused"
    assert "Reject by approver" in refused(story, ApprovalError)
    with pytest.raises(ApprovalError, match="was refused"):
        story.ask(1, digest, run="run-2")
    with pytest.raises(ConflictError, match="has been answered"):
        story.answer(1, "Approve")
    assert story.ledger.approval(MODEL, 1, digest) == kept == story.answer(1, "Reject")


@pytest.mark.parametrize("said", ["Approve", "Reject"])
def test_s5_an_answer_of_one_who_may_not_is_on_record_and_the_question_can_be_asked_anew(story, said):
    story.now = datetime.now(UTC)
    story.register(1)
    digest = story.judge(1).digest
    story.ask(1, digest)
    for _ in range(2):  # a second call adds nothing
        with pytest.raises(ApprovalError, match=f"stranger is no approver(?s:.*){said} by stranger(?s:.*)approver"):
            story.answer(1, said, by="stranger", allowed=["approver"])
    (event,) = [e for e in story.ledger.events() if e.kind == "approval_disregarded"]
    told = (event.actor, event.payload["answer"], event.payload["responded_by"], event.payload["allowed"])
    assert told == ("stranger", said, "stranger", ["approver"])
    assert story.ledger.approval(MODEL, 1, digest).answer is None
    assert story.ledger.challenger(MODEL, 1).status == "awaiting_approval" and to_judge(story) == [1]
    assert "no answer" in refused(story, ApprovalError)
    story.ask(1, digest, run="run-2")
    story.answer(1, run="run-2", allowed=["approver"])
    assert story.promote(1, 0).version == 1 and story.ledger.verify().ok


def test_s5_a_question_that_only_a_stranger_answered_expires(story):
    story.register(1)
    question = story.ask(1, story.judge(1).digest)
    with pytest.raises(ApprovalError):
        story.answer(1, "Reject", by="stranger", allowed=["approver"])
    assert story.ledger.expire_approvals(MODEL, question.expires_at) == [question]


def test_s5_an_answer_to_another_version_run_task_or_try_is_none(story):
    story.register(1)
    digest = story.judge(1).digest
    story.ask(1, digest)
    for wrong in ({"run": "run-2"}, {"try_number": 2}, {"task": "another"}):
        with pytest.raises(ApprovalError, match="nothing was asked"):
            story.answer(1, **wrong)
    story.register(2)
    with pytest.raises(ApprovalError, match=r"about flight_delay version 1\b"):
        story.answer(2)
    with pytest.raises(ParameterError, match="Perhaps"):
        story.answer(1, "Perhaps")
    refused(story, ApprovalError)


def test_s5_a_cleared_question_is_not_asked_again(story):
    story.register(1)
    digest = story.judge(1).digest
    question = story.ask(1, digest)
    assert story.ask(1, digest) == question
    with pytest.raises(ApprovalError, match="asked before"):
        story.ask(1, digest, try_number=2)
    story.register(2)
    with pytest.raises(ApprovalError, match="asked before"):
        story.ask(2, story.judge(2).digest, run="run-1")


def test_s5_an_approval_of_an_older_verdict_does_not_carry_over(story):
    story.register(2)
    old = story.judge(2)
    story.ask(2, old.digest, "run-2")
    story.answer(2, run="run-2")
    story.approved(1)
    story.promote(1, 0)  # the champion moves: version 2 has to be judged again
    new = story.judge(2)
    assert new.champion_epoch == 1 and new.digest != old.digest
    assert "no answer" in refused(story, ApprovalError, version=2, expected_epoch=1)
    refused(story, ConflictError, version=2, expected_epoch=0)


@pytest.fixture
def judged_twice(story):
    """Version 2 was asked about in "run-2", and judged again when the champion moved: its two verdicts."""
    story.register(2)
    old = story.judge(2)
    story.ask(2, old.digest, "run-2")
    story.approved(1)
    story.promote(1, 0)
    return old, story.judge(2)


@pytest.mark.parametrize("late", [False, True])
def test_s5_a_refusal_of_an_older_verdict_is_kept_under_that_verdict(story, judged_twice, late):
    old, new = judged_twice
    at = story.now + timedelta(hours=73 if late else 1)
    kept = story.answer(2, "Reject", run="run-2", at=at)
    assert (kept.verdict_digest, kept.answer) == (old.digest, "Reject")
    assert story.ledger.approval(MODEL, 2, old.digest) == kept and story.ledger.approval(MODEL, 2, new.digest) is None
    assert story.ledger.challenger(MODEL, 2).status == "refused"


def test_s5_what_is_late_for_an_older_verdict_leaves_the_newer_question_open(story, judged_twice):
    _, new = judged_twice
    story.now += timedelta(hours=80)
    assert story.ask(2, new.digest, "run-3").answer is None
    assert story.ledger.expire_approvals(MODEL, story.now) == []
    story.answer(2, run="run-2")
    assert story.ledger.challenger(MODEL, 2).status == "awaiting_approval"
    story.answer(2, run="run-3")
    assert story.promote(2, 1).version == 2


def test_c8_a_promotion_that_comes_second_is_a_conflict(story):
    story.approved(1)
    story.approved(2)
    story.promote(1, 0)
    refused(story, ConflictError, version=2, expected_epoch=0)
    refused(story, ConflictError, version=2, expected_epoch=1)
    with pytest.raises(ConflictError, match="judge it again"):
        story.ask(2, story.ledger.verdict(MODEL, 2).digest, "run-9")


def test_k6_a_promotion_that_wakes_after_a_rollback_changes_nothing(story):
    story.two_champions()
    story.rollback(None, 2)
    refused(story, ConflictError, version=2, expected_epoch=1)
    assert story.ledger.champion(MODEL).version == 1


def test_rollback_goes_back_and_by_name_forth(story):
    story.two_champions()
    back = story.rollback(None, 2)
    assert (back.version, back.epoch, back.how, back.actor) == (1, 3, "rollback", "carl")
    assert (back.reason, back.model_digest) == ("scores went wrong", "model-digest-1")
    assert story.rollback(2, 3).version == 2
    assert story.rollback(None, 4).version == 1
    assert [move.version for move in story.ledger.champion_history(MODEL)] == [1, 2, 1, 2, 1]
    assert story.ledger.verify().ok


def test_one_rollback_after_another_goes_further_back_to_the_first_champion(story):
    story.two_champions()
    story.approved(3)
    story.promote(3, 2)
    assert [story.rollback(None, epoch).version for epoch in (3, 4)] == [2, 1]
    with pytest.raises(ApprovalError, match="no other version") as caught:
        story.rollback(None, 5)
    assert "to_version" in str(caught.value) and "1, 2, 3, 2, 1" in str(caught.value)
    story.approved(4)
    story.promote(4, 5)
    assert story.rollback(None, 6).version == 1, "what was rolled back is not gone back to"


def test_a_rollback_by_name_takes_back_all_that_came_after(story):
    story.two_champions()
    story.approved(3)
    story.promote(3, 2)
    assert story.rollback(1, 3).version == 1
    with pytest.raises(ApprovalError, match="no other version"):
        story.rollback(None, 4)
    assert story.rollback(3, 4).version == 3
    assert story.rollback(None, 5).version == 1


def test_k3_rolling_back_again_with_the_same_epoch_changes_nothing(story):
    story.two_champions()
    back = story.rollback(None, 2)
    assert story.rollback(None, 2) == back == story.rollback(1, 2)
    with pytest.raises(ConflictError, match="has moved"):
        story.rollback(None, 2, actor="outsider")


def test_rollback_goes_only_to_what_was_champion(story):
    with pytest.raises(UnknownNameError, match="no champion"):
        story.rollback(None, 0)
    story.approved(1)
    story.promote(1, 0)
    with pytest.raises(ApprovalError, match="no other version"):
        story.rollback(None, 1)
    story.approved(2)
    with pytest.raises(ApprovalError, match="never was champion"):
        story.rollback(2, 1)
    with pytest.raises(UnknownNameError, match="version 9"):
        story.rollback(9, 1)
    with pytest.raises(ConflictError, match="has moved"):
        story.rollback(None, 0)
    assert story.rollback(1, 1) == story.rollback(1, 0) == story.ledger.champion(MODEL)
    assert len(story.ledger.champion_history(MODEL)) == 1


def test_models_do_not_touch_each_other(story):
    story.two_champions()
    assert story.ledger.champion("other") is None and story.ledger.champion_history("other") == []
    with pytest.raises(UnknownNameError):
        story.ledger.rollback("other", 1, "carl", "why", 0)


def to_judge(story):
    return [challenger.version for challenger in story.ledger.challengers_to_judge(MODEL)]


def test_c3_what_is_to_be_judged_is_read_from_state_alone(story):
    for version, verdict in [(1, None), (2, "HOLD"), (3, "REJECT"), (4, "PROMOTE"), (5, None)]:
        story.register(version)
        if verdict:
            story.judge(version, verdict)
    assert to_judge(story) == [5, 4, 1]
    digest = story.ledger.verdict(MODEL, 4).digest
    story.ask(4, digest)
    assert to_judge(story) == [5, 4, 1]
    story.answer(4)
    story.promote(4, 0)
    assert to_judge(story) == [5]
    assert [story.ledger.challenger(MODEL, version).status for version in (1, 2, 3)] == ["superseded"] * 2 + [
        "rejected"
    ]
    assert story.ledger.verify().ok


def test_c3_what_was_held_is_judged_again_against_a_new_champion_of_older_data(story):
    story.register(2)
    story.judge(2, "HOLD")
    assert to_judge(story) == []
    story.approved(1)
    story.promote(1, 0)
    assert to_judge(story) == [2]


def test_c5_a_challenger_of_older_data_is_superseded_on_record_when_a_newer_one_is_promoted(story):
    story.now = datetime.now(UTC)
    story.register(1)
    story.judge(1, "HOLD")
    story.approved(3)
    story.register(2)
    story.promote(3, 0)
    told = {e.subject: e.payload["by"] for e in story.ledger.events() if e.kind == "challenger_superseded"}
    assert told == {f"models/{MODEL}/versions/{version}": 3 for version in (1, 2)}
    assert [one.status for one in story.ledger.challengers(MODEL)] == ["superseded", "superseded", "promoted"]


def test_c3_a_question_about_an_older_challenger_is_superseded_by_a_promotion(story):
    story.now = datetime.now(UTC)
    story.register(1), story.register(2)
    verdict, glass = story.judge(1), break_glass(story, 2)
    story.ask(1, verdict.digest, run="run-1")
    story.ask(2, glass.digest, run="run-g")
    story.answer(2, run="run-g")
    story.promote(2, 0, glass_digest=glass.digest)
    assert story.ledger.approval(MODEL, 1, verdict.digest).superseded_by == 2
    assert story.ledger.challenger(MODEL, 1).status == "superseded" and story.ledger.verify().ok


def test_c3_asked_anew_about_the_same_version_one_question_is_open(story):
    story.now = datetime.now(UTC)
    story.register(1)
    digest = story.judge(1).digest
    story.ask(1, digest, run="run-1")
    story.ask(1, digest, run="run-2")
    story.answer(1, run="run-1")
    assert "took the place" in refused(story, ApprovalError)
    assert story.ledger.challenger(MODEL, 1).status == "awaiting_approval"
    story.answer(1, run="run-2")
    assert story.promote(1, 0).version == 1


def test_c3_a_question_about_the_gate_s_verdict_leaves_one_about_broken_glass_open(story):
    story.now = datetime.now(UTC)
    story.register(1), story.register(2)
    glass, verdict = break_glass(story, 1), story.judge(2)
    story.ask(1, glass.digest, run="run-g")
    story.ask(2, verdict.digest, run="run-2")
    story.answer(1, run="run-g")
    assert story.promote(1, 0, glass_digest=glass.digest).version == 1


def test_c3_a_question_that_nobody_answers_expires(story):
    story.register(1)
    digest = story.judge(1).digest
    question = story.ask(1, digest)
    assert story.ledger.expire_approvals(MODEL, story.now) == []
    assert story.ledger.expire_approvals(MODEL, question.expires_at) == [question]
    assert story.ledger.expire_approvals(MODEL, question.expires_at) == []
    assert story.ledger.challenger(MODEL, 1).status == "expired" and to_judge(story) == []
    assert story.ledger.verify().ok


def test_c3_a_newer_promote_supersedes_the_open_question_about_an_older_one(story):
    story.now = datetime.now(UTC)
    story.register(1), story.register(2)
    older, newer = story.judge(1), story.judge(2)
    story.ask(1, older.digest, run="run-1")
    story.ask(2, newer.digest, run="run-2")
    assert story.ledger.approval(MODEL, 1, older.digest).superseded_by == 2
    assert story.ledger.challenger(MODEL, 1).status == "superseded"
    assert [c.version for c in story.ledger.challengers_to_judge(MODEL)] == [2]
    story.answer(1, run="run-1")
    with pytest.raises(ApprovalError, match="version 2 took the place"):
        story.promote(1, 0)
    story.answer(2, run="run-2")
    assert story.promote(2, 0).version == 2
    assert story.ledger.verify().ok


def test_c5_an_older_one_is_not_asked_about_while_a_newer_question_is_open(story):
    story.now = datetime.now(UTC)
    story.register(1), story.register(2)
    older, newer = story.judge(1), story.judge(2)
    story.ask(2, newer.digest, run="run-2")
    with pytest.raises(ApprovalError, match="superseded"):
        story.ask(1, older.digest, run="run-1")
    assert story.ledger.challenger(MODEL, 1).status == "superseded"
    assert story.ledger.challenger(MODEL, 2).status == "awaiting_approval"
    assert story.ledger.approval(MODEL, 1, older.digest) is None


def test_a_question_about_newer_data_that_was_answered_or_has_expired_supersedes_nothing(story):
    story.now = datetime.now(UTC)
    story.register(1), story.register(2)
    older, newer = story.judge(1), story.judge(2)
    story.ask(2, newer.digest, run="run-2")
    story.answer(2, "Reject", run="run-2")
    assert story.ask(1, older.digest, run="run-1").superseded_by is None


def break_glass(story, version, run="run-g", actor="analyst", reason="the champion is broken"):
    return story.ledger.break_glass(MODEL, version, actor=actor, reason=reason, run_id=run)


def test_broken_glass_promotes_what_the_gate_rejected_with_a_second_person(story):
    story.register(1)
    story.judge(1, "REJECT")
    glass = break_glass(story, 1)
    assert (glass.gate_verdict, glass.actor) == ("REJECT", "analyst") and break_glass(story, 1) == glass
    story.ask(1, glass.digest, run="run-g")
    with pytest.raises(ApprovalError, match="no answer"):
        story.promote(1, 0, glass_digest=glass.digest)
    story.answer(1, run="run-g")
    with pytest.raises(ApprovalError, match="not passed the gate"):
        story.promote(1, 0)
    champion = story.promote(1, 0, glass_digest=glass.digest)
    assert (champion.how, champion.actor, champion.verdict_digest) == ("break_glass", "approver", glass.digest)
    assert "the champion is broken" in champion.reason and "analyst" in champion.reason
    assert story.promote(1, 0, glass_digest=glass.digest) == champion
    kinds = [event.kind for event in story.ledger.events()]
    assert kinds.count("glass_broken") == kinds.count("champion_forced") == 1 and story.ledger.verify().ok


def test_s5_who_broke_the_glass_can_not_approve_it_even_without_four_eyes(story):
    story.register(1)
    glass = break_glass(story, 1, actor="approver")
    story.ask(1, glass.digest, run="run-g", by=("approver",))
    story.answer(1, run="run-g")
    with pytest.raises(ApprovalError, match="who asked for it"):
        story.promote(1, 0, glass_digest=glass.digest, four_eyes=False)
    assert story.ledger.champion(MODEL) is None


def test_s5_glass_of_another_version_digest_or_epoch_promotes_nothing(story):
    story.register(1), story.register(2), story.register(3)
    one, two = break_glass(story, 1, "run-1"), break_glass(story, 2, "run-2")
    story.ask(1, one.digest, run="run-1")
    story.answer(1, run="run-1")
    for digest in (two.digest, "0" * 64):
        with pytest.raises(ApprovalError):
            story.promote(1, 0, glass_digest=digest)
        with pytest.raises(ApprovalError):
            story.ask(3, digest, run="run-3")
    story.promote(1, 0, glass_digest=one.digest)
    with pytest.raises(ConflictError):
        story.ask(2, two.digest, run="run-2")
    with pytest.raises(ConflictError, match="before"):
        break_glass(story, 3, "run-1")
    with pytest.raises(ConflictError, match="champion already"):
        break_glass(story, 1, "run-4")


@pytest.mark.parametrize("wrong", [{"reason": ""}, {"reason": "  "}, {"actor": ""}])
def test_glass_is_not_broken_without_a_reason_or_a_name(story, wrong):
    story.register(1)
    with pytest.raises(ParameterError):
        break_glass(story, 1, **wrong)
    assert "glass_broken" not in [event.kind for event in story.ledger.events()]


def test_a_failed_smoke_test_rejects_on_record_whatever_was_approved(story):
    story.approved(1)
    story.ledger.reject_smoked(MODEL, 1, "scores differ by 0.3")
    story.ledger.reject_smoked(MODEL, 1, "scores differ by 0.3")
    with pytest.raises(ApprovalError, match="smoke"):
        story.promote(1, 0)
    assert story.ledger.challenger(MODEL, 1).status == "rejected" and story.ledger.champion(MODEL) is None
    assert [e.payload["reason"] for e in story.ledger.events() if e.kind == "smoke_test_failed"] == [
        "scores differ by 0.3"
    ]


def test_a_smoke_test_failed_is_told_once_also_of_a_version_that_was_champion(story):
    story.two_champions()
    for _ in range(3):
        story.ledger.reject_smoked(MODEL, 1, "scores differ by 0.3")
    assert [event.kind for event in story.ledger.events()].count("smoke_test_failed") == 1
    assert story.ledger.challenger(MODEL, 1).status == "promoted"


def test_what_a_promotion_rests_on_is_the_answer_it_was_made_with_whatever_is_said_later(story):
    story.approved(1)
    story.ask(1, "verdict-1-0", run="asked again")
    champion, deployment = story.promote(1, 0), SimpleNamespace(ledger=story.ledger)
    after = {"run": "asked again", "at": story.now + timedelta(hours=1)}
    story.answer(1, "Reject", by="carl", by_id="9", **after)
    said = approval_of(deployment, champion)
    assert (said.answer, said.responded_by, said.run_id) == ("Approve", "approver", "run-1")


def test_a_promotion_leaves_no_question_about_its_version_open(story):
    story.now = datetime.now(UTC)
    story.register(1)
    verdict = story.judge(1)
    story.ask(1, verdict.digest), story.answer(1)
    story.ask(1, verdict.digest, run="asked again")
    story.promote(1, 0)
    asked = story.ledger.questions(MODEL, 1, verdict.digest)
    assert [(one.answer, one.superseded_by) for one in asked] == [("Approve", None), (None, 1)]
    assert story.ledger.challenger(MODEL, 1).status == "promoted" and story.ledger.verify().ok


def test_a_first_scoring_that_failed_may_pass_later_and_a_pass_is_final(story):
    """What failed with nothing to go back to is tried again: its day may have been mended."""
    story.two_champions()
    ledger, stood = story.ledger, []
    assert ledger.first_scoring(MODEL, 2) is None
    for passed in (False, False, True, True, False):
        said = ledger.record_first_scoring(MODEL, 2, passed, {"why": ["constant"]})
        stood.append((said, ledger.first_scoring(MODEL, 2)))
    assert stood == [(False, False)] * 2 + [(True, True)] * 3 and ledger.first_scoring(MODEL, 1) is None
    told = [event.kind for event in ledger.events(subject=f"models/{MODEL}/epochs/2")]
    assert told == ["first_scoring_failed", "first_scoring_passed"]


def test_broken_glass_is_not_undone_by_what_the_gate_says_meanwhile(story):
    story.now = datetime.now(UTC)
    story.register(1)
    glass = break_glass(story, 1)
    story.ask(1, glass.digest, run="run-g")
    story.judge(1, "REJECT")
    story.answer(1, run="run-g")
    assert story.promote(1, 0, glass_digest=glass.digest).version == 1


def test_broken_glass_leaves_the_question_about_another_challenger_standing(story):
    story.now = datetime.now(UTC)
    story.register(1), story.register(2)
    verdict, glass = story.judge(2), break_glass(story, 1)
    story.ask(2, verdict.digest, run="run-2")
    story.ask(1, glass.digest, run="run-g")
    story.answer(1, "Reject", run="run-g")
    assert story.ledger.challenger(MODEL, 1).status == "registered"
    story.answer(2, run="run-2")
    assert story.promote(2, 0).version == 2


def test_k6_a_first_scoring_on_record_as_passed_stays_so(story):
    story.two_champions()
    assert story.ledger.record_first_scoring(MODEL, 2, True, {}) is True
    assert story.ledger.record_first_scoring(MODEL, 2, False, {"why": ["woken late"]}) is True


def test_two_challengers_judged_on_the_same_days_at_once_can_not_both_have_the_first_look(story):
    """Each reckons with the looks that it saw; the one that is recorded second is judged again."""
    story.register(1), story.register(2)
    measured = [{"name": "enough_days", "passed": True}, {"name": "success", "passed": True}]

    def judged(version, looks, first="2013-05-01", checks=measured):
        window, digest = [first, "2013-05-30"], f"digest-{version}-{looks}"
        given = (MODEL, version, 0, None, "REJECT", checks, digest, window, looks)
        return story.ledger.record_verdict(*given)

    assert judged(1, 0).verdict == "REJECT"
    with pytest.raises(ConflictError, match="judged on these days"):
        judged(2, 0)
    assert judged(2, 1).verdict == "REJECT"


def test_a_verdict_that_could_not_have_passed_is_no_look(story):
    from ratchet.ledger.challengers import looks_at

    story.register(1), story.register(2), story.register(3)
    held = [{"name": "enough_days", "passed": False}, {"name": "success", "passed": True}]
    never_measured = [{"name": "labels_usable", "passed": False}]
    for version, checks in ((1, held), (2, never_measured)):
        given = (MODEL, version, 0, None, "HOLD", checks, f"digest-{version}", ["2013-05-01", "2013-05-30"], 0)
        story.ledger.record_verdict(*given)
    measured = [{"name": "success", "passed": False}]
    story.ledger.record_verdict(MODEL, 3, 0, None, "REJECT", measured, "digest-3", ["2013-04-01", "2013-05-01"], 0)
    verdicts = story.ledger.verdicts(MODEL)
    assert looks_at(verdicts, ["2013-05-01", "2013-05-30"]) == 1
    assert looks_at(verdicts, ["2013-05-02", "2013-05-30"]) == 0
