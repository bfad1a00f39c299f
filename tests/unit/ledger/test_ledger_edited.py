"""S5: what was edited in the database behind the ledger's back moves no champion."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from ledger_story import MODEL, tamper

from ratchet.errors import ApprovalError


def asked(story, asker="analyst", run="run-1"):
    return story.ask(1, story.ledger.verdict(MODEL, 1).digest, run, by=[asker])


def twice(story):
    """Refused in one run, approved in the next: a Reject stands."""
    asked(story), asked(story, run="run-2")
    story.answer(1, "Reject"), story.answer(1, run="run-2")


def smoked(story):
    asked(story), story.answer(1)
    story.ledger.reject_smoked(MODEL, 1, "scores differ")


def overtaken(story):
    """Approved after a question about newer data took its place."""
    story.now = datetime.now(UTC)
    asked(story), story.register(2)
    story.ask(2, story.judge(2).digest, run="run-2")
    story.answer(1)


def judged_anew(story):
    asked(story), story.answer(1)
    checks, window = [{"name": "success", "passed": False}], ["2013-04-01", "2013-04-05"]
    story.ledger.record_verdict(MODEL, 1, 0, None, "REJECT", checks, "verdict-later", window)


def hidden(kind: str, which: str = "max") -> str:
    """An entry of that kind, put where nobody looks who looks for the model's."""
    found = f"(SELECT {which}(seq) FROM ledger_events WHERE kind = '{kind}')"
    return f"UPDATE ledger_events SET subject = 'datasets/x' WHERE seq = {found}"


AWAITED = "UPDATE ledger_challengers SET status = 'awaiting_approval' WHERE version = 1"
NO_REJECT = "UPDATE ledger_approvals SET answer = NULL, responded_by = NULL, responded_by_id = NULL, "
NO_REJECT += "responded_at = NULL WHERE answer = 'Reject'"
FORGED = "INSERT INTO ledger_approvals SELECT 'a000009', model, version, verdict_digest, asked_by, dag_id, 'run-9', "
FORGED += "task_id, 1, asked_at, expires_at, 'Approve', 'approver', '7', '2013-04-02T13:00:00.000000+00:00', NULL "
FORGED += "FROM ledger_approvals"
FIRST_ANSWER = (
    "DELETE FROM ledger_events WHERE seq = (SELECT min(seq) FROM ledger_events WHERE kind = 'approval_answered')"
)
REJECTS = "DELETE FROM ledger_approvals WHERE answer = 'Reject'"
EDITED = {  # by what was edited: what had happened, and the edits after which everything seems to be there
    "the answer": (
        lambda story: (asked(story), story.answer(1, "Reject")),
        "UPDATE ledger_approvals SET answer = 'Approve'",
    ),
    "the answer and its entry": (
        lambda story: (asked(story), story.answer(1, "Reject")),
        "UPDATE ledger_approvals SET answer = 'Approve'",
        """UPDATE ledger_events SET payload = replace(payload, '"Reject"', '"Approve"')""",
    ),
    "who answered": (
        lambda story: (asked(story), story.answer(1, by="stranger")),
        "UPDATE ledger_approvals SET responded_by = 'approver'",
    ),
    "who asked": (
        lambda story: (asked(story, "approver"), story.answer(1)),
        "UPDATE ledger_approvals SET asked_by = '[\"analyst\"]'",
    ),
    "until when": (
        lambda story: (asked(story), story.answer(1, at=story.now + timedelta(days=9))),
        "UPDATE ledger_approvals SET expires_at = '2999-01-01T00:00:00.000000+00:00'",
    ),
    "a question put in": (asked, FORGED),
    "a refusal taken out": (twice, REJECTS),
    "a refusal and its entry taken out": (twice, REJECTS, FIRST_ANSWER),
    "a refusal, its entry hidden": (twice, hidden("approval_answered", "min"), NO_REJECT, AWAITED),
    "a later verdict, its entry hidden": (
        judged_anew,
        hidden("verdict_recorded"),
        "DELETE FROM ledger_verdicts WHERE digest = 'verdict-later'",
        AWAITED,
    ),
    "a superseding, its entry hidden": (
        overtaken,
        hidden("approval_superseded"),
        "UPDATE ledger_approvals SET superseded_by = NULL",
        AWAITED,
    ),
    "the status": (smoked, "UPDATE ledger_challengers SET status = 'awaiting_approval'"),
    "the model": (
        lambda story: (asked(story), story.answer(1)),
        "UPDATE ledger_challengers SET model_digest = 'another'",
    ),
}


@pytest.mark.parametrize("what", EDITED)
def test_s5_what_was_edited_in_the_database_promotes_nothing(story, what):
    happened, *edits = EDITED[what]
    story.register(1), story.judge(1), happened(story)
    tamper(story.ledger, *edits)
    with pytest.raises(ApprovalError, match="is not what was sealed(?s:.*)does-not-verify"):
        story.promote(1, 0)
    assert story.ledger.champion(MODEL) is None


def test_s5_an_edited_verdict_promotes_nothing_also_when_it_is_asked_about_and_approved(story):
    story.register(1), story.judge(1, "HOLD")
    tamper(story.ledger, "UPDATE ledger_verdicts SET verdict = 'PROMOTE'")
    asked(story), story.answer(1)
    with pytest.raises(ApprovalError, match="is not what was sealed(?s:.*)verdict is"):
        story.promote(1, 0)


def test_s5_edited_broken_glass_promotes_nothing(story):
    story.register(1)
    glass = story.ledger.break_glass(MODEL, 1, actor="approver", reason="harm", run_id="run-g")
    story.ask(1, glass.digest, run="run-g", by=["analyst"])
    story.answer(1, run="run-g")
    tamper(story.ledger, "UPDATE ledger_broken_glass SET actor = 'analyst'")
    with pytest.raises(ApprovalError, match="is not what was sealed"):
        story.promote(1, 0, glass_digest=glass.digest)


def test_s5_nothing_is_rolled_back_to_a_version_that_was_written_in_as_champion(story):
    story.two_champions()
    story.register(3)
    tamper(story.ledger, "UPDATE ledger_champions SET version = 3 WHERE epoch = 1")
    for to_version in (3, None):
        with pytest.raises(ApprovalError, match="is not what was sealed"):
            story.rollback(to_version, 2)
    assert story.ledger.champion(MODEL).version == 2


def test_s5_a_rollback_hidden_with_its_entry_lets_no_champion_move(story):
    story.two_champions()
    story.rollback(None, 2)
    tamper(story.ledger, "DELETE FROM ledger_champions WHERE epoch = 3", hidden("champion_rolled_back"))
    with pytest.raises(ApprovalError, match="is not what was sealed"):
        story.rollback(1, 2)
    assert len(story.ledger.champion_history(MODEL)) == 2


ROLLED_BACK = {  # whether a rollback goes ahead, by what was edited
    "UPDATE ledger_challengers SET metrics = '{}' WHERE version = 3": True,
    "UPDATE ledger_approvals SET answer = NULL": True,
    "UPDATE ledger_challengers SET model_digest = 'another' WHERE version = 1": False,
    "DELETE FROM ledger_champions WHERE epoch = 1": False,
    "UPDATE ledger_champions SET verdict_digest = NULL WHERE epoch = 2": False,
}


@pytest.mark.parametrize("edit", ROLLED_BACK)
def test_s5_a_rollback_rests_on_the_moves_and_the_versions_that_were_champion_alone(story, edit):
    story.two_champions()
    story.register(3)
    tamper(story.ledger, edit)
    if ROLLED_BACK[edit]:
        assert story.rollback(1, 2).version == 1
    else:
        with pytest.raises(ApprovalError, match="is not what was sealed"):
            story.rollback(1, 2)


def test_s5_what_was_edited_of_another_model_stops_no_promotion(story):
    story.approved(1)
    other = ("other", "identity", 1, "run", "s", "2013-04-09", {}, {}, None, "digest")
    story.ledger.register_challenger(*other)
    tamper(story.ledger, "UPDATE ledger_challengers SET status = 'held' WHERE model = 'other'")
    assert story.promote(1, 0).version == 1
