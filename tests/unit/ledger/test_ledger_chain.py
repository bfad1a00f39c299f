"""S6, K4: the chain names the first entry that is not as it was written, and nothing is lost to a crash."""

from __future__ import annotations

import dataclasses
import itertools
import json
import stat

import pytest
from ledger_story import MODEL, tamper

from ratchet.errors import LedgerError, ParameterError
from ratchet.ledger import open_ledger


@pytest.fixture
def written(story):
    """A ledger of ten entries or so: entry 1 is its beginning."""
    story.two_champions()
    assert story.ledger.verify().ok
    return story.ledger


def test_s6_a_ledger_that_nobody_changed_verifies(written):
    report = written.verify()
    assert (report.ok, report.first_bad) == (True, None)
    assert report.entries == len(written.events()) == 11


def test_events_are_chained_in_order_and_tell_who_did_what(written):
    events = written.events()
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert all(later.prev_hash == earlier.hash for earlier, later in itertools.pairwise(events))
    assert [event.kind for event in events[:6]] == [
        "ledger_begun",
        "challenger_registered",
        "verdict_recorded",
        "approval_asked",
        "approval_answered",
        "champion_promoted",
    ]
    assert [event.actor for event in events[2:6]] == ["ratchet", "analyst", "approver", "approver"]
    assert events[0].at.tzinfo is not None


def test_events_are_found_by_subject_and_limit(written):
    of_two = written.events(subject=f"models/{MODEL}/versions/2")
    assert len(of_two) == 5 and {event.subject for event in of_two} == {f"models/{MODEL}/versions/2"}
    assert len(written.events(subject=f"models/{MODEL}")) == 10
    assert written.events(subject="models/flight%") == [] == written.events(subject="models/flight")
    assert [event.seq for event in written.events(limit=2)] == [10, 11]


def test_s6_a_deleted_entry_is_named(written):
    tamper(written, "DELETE FROM ledger_events WHERE seq = 4")
    report = written.verify()
    assert (report.ok, report.first_bad) == (False, 4)
    assert "deleted" in report.reason


def test_s6_a_deleted_first_entry_is_named(written):
    tamper(written, "DELETE FROM ledger_events WHERE seq = 1")
    assert written.verify().first_bad == 1


def test_s6_entries_moved_up_over_a_deleted_one_are_named(written):
    tamper(
        written,
        "DELETE FROM ledger_events WHERE seq = 4",
        "UPDATE ledger_events SET seq = -(seq - 1) WHERE seq > 4",
        "UPDATE ledger_events SET seq = -seq WHERE seq < 0",
    )
    report = written.verify()
    assert (report.ok, report.first_bad) == (False, 4)


@pytest.mark.parametrize(
    "change",
    ["payload = '{}'", "actor = 'nobody'", "at = '2013-01-01'", "kind = 'x'", "subject = 'x'", "hash = 'x'"],
)
def test_s6_an_altered_entry_is_named(written, change):
    tamper(written, f"UPDATE ledger_events SET {change} WHERE seq = 5")
    report = written.verify()
    assert (report.ok, report.first_bad) == (False, 5)
    assert "altered" in report.reason


def test_s6_reordered_entries_are_named(written):
    tamper(
        written,
        "UPDATE ledger_events SET seq = -5 WHERE seq = 5",
        "UPDATE ledger_events SET seq = 5 WHERE seq = 6",
        "UPDATE ledger_events SET seq = 6 WHERE seq = -5",
    )
    assert (written.verify().ok, written.verify().first_bad) == (False, 5)


def test_s6_a_forged_entry_is_named(written):
    last = written.events(limit=1)[0]
    row = (last.seq + 1, last.at.isoformat(), last.kind, last.actor, last.subject, "{}", last.hash, "f" * 64)
    tamper(written, f"INSERT INTO ledger_events VALUES {row}")
    assert (written.verify().ok, written.verify().first_bad) == (False, last.seq + 1)


def test_s6_a_sealed_entry_of_another_ledger_is_named(written, tmp_path, settings):
    other = open_ledger(dataclasses.replace(settings, ledger_url=f"sqlite:///{tmp_path}/other.db",
                                            ledger_head_file=tmp_path / "other.head"))  # fmt: skip
    other.request_retrain(MODEL, "2013-04-01", "why not", "person", "stranger", "recipe")
    foreign = other.events()[1]
    tamper(
        written,
        f"UPDATE ledger_events SET at = '{foreign.at.isoformat(timespec='microseconds')}', kind = '{foreign.kind}', "
        f"actor = '{foreign.actor}', subject = '{foreign.subject}', prev_hash = '{foreign.prev_hash}', "
        f"payload = '{json.dumps(foreign.payload, sort_keys=True, separators=(',', ':'))}', "
        f"hash = '{foreign.hash}' WHERE seq = 2",
    )
    report = written.verify()
    assert (report.ok, report.first_bad) == (False, 2)
    assert "follow" in report.reason  # sealed with the same key, yet not at this place


def test_s6_entries_cut_off_at_the_end_show_against_the_head_file(written):
    tamper(written, "DELETE FROM ledger_events WHERE seq > 8")
    report = written.verify()
    assert (report.ok, report.first_bad) == (False, 9)
    assert "cut off" in report.reason


def test_s6_a_ledger_that_was_cut_takes_no_more_writes(written, story):
    tamper(written, "DELETE FROM ledger_events WHERE seq > 8")
    with pytest.raises(LedgerError, match="nothing is written"):
        story.register(3)
    assert written.verify().entries == 8


def test_s6_a_missing_head_file_shows_and_stops_writes(written, story, settings):
    settings.ledger_head_file.unlink()
    report = open_ledger(settings).verify()
    assert not report.ok and "head file" in report.reason
    with pytest.raises(LedgerError, match="head file"):
        story.register(3)


@pytest.mark.parametrize(
    ("change", "table"),
    [
        ("UPDATE ledger_champions SET version = 1 WHERE epoch = 2", "ledger_champions"),
        ("UPDATE ledger_verdicts SET verdict = 'HOLD' WHERE version = 2", "ledger_verdicts"),
        ("DELETE FROM ledger_champions WHERE epoch = 2", "ledger_champions"),
    ],
)
def test_s6_a_champion_or_verdict_changed_behind_the_chain_shows(written, change, table):
    tamper(written, change)
    report = written.verify()
    assert not report.ok and table in report.reason


@pytest.mark.parametrize(
    ("change", "row", "column"),
    [
        ("challengers SET identity = 'x' WHERE version = 2", "version 2", "identity"),
        ("challengers SET model_digest = 'x' WHERE version = 2", "version 2", "model_digest"),
        ("challengers SET snapshot = 'x' WHERE version = 1", "version 1", "snapshot"),
        ("challengers SET windows = '{}' WHERE version = 1", "version 1", "windows"),
        ("challengers SET metrics = 'no JSON' WHERE version = 1", "version 1", "metrics"),
        ("approvals SET asked_by = '[\"stranger\"]' WHERE version = 2", "id a000002", "asked_by"),
        ("approvals SET verdict_digest = 'x' WHERE version = 2", "id a000002", "verdict_digest"),
        ("approvals SET expires_at = 'never' WHERE version = 1", "id a000001", "expires_at"),
        ("approvals SET responded_by = 'stranger' WHERE version = 1", "id a000001", "responded_by"),
        ("approvals SET answer = NULL WHERE version = 1", "id a000001", "answer"),
    ],
)
def test_s6_an_altered_challenger_or_approval_is_named(written, change, row, column):
    tamper(written, f"UPDATE ledger_{change}")
    report = written.verify()
    assert (report.ok, report.first_bad) == (False, None)
    assert row in report.reason and f"its {column} is" in report.reason and change.split()[0] in report.reason


@pytest.mark.parametrize("table", ["challengers", "approvals"])
def test_s6_a_deleted_or_forged_challenger_or_approval_is_named(written, table):
    key = {"challengers": "version = 2", "approvals": "id = 'a000002'"}[table]
    tamper(written, f"DELETE FROM ledger_{table} WHERE {key}")
    assert "was deleted" in written.verify().reason and f"ledger_{table}" in written.verify().reason
    moved = {"challengers": "version = 9", "approvals": "id = 'a000009'"}[table]
    first = {"challengers": "version = 1", "approvals": "id = 'a000001'"}[table]
    tamper(written, f"UPDATE ledger_{table} SET {moved} WHERE {first}")
    assert "forged" in written.verify().reason and moved.split()[-1].strip("'") in written.verify().reason


def test_s6_a_question_without_an_answer_and_a_status_that_moved_are_as_they_were_written(written, story):
    story.register(3)
    question = story.ask(3, story.judge(3).digest, "run-3")
    assert written.verify().ok
    written.expire_approvals(MODEL, question.expires_at)
    assert written.challenger(MODEL, 3).status == "expired" and written.verify().ok
    tamper(written, "UPDATE ledger_approvals SET answer = 'Approve', responded_by = 'approver' WHERE id = 'a000003'")
    assert "a000003" in written.verify().reason


def test_k4_a_crash_between_commit_and_head_file_loses_nothing(written, story, settings):
    before = settings.ledger_head_file.read_text()
    story.register(3)
    settings.ledger_head_file.write_text(before)  # as if the process had died before it wrote the file
    again = open_ledger(settings)
    assert again.verify().ok
    assert story.register(3).version == 3
    story.register(4)
    assert json.loads(settings.ledger_head_file.read_text())["seq"] == again.verify().entries == 13


def test_an_act_that_is_known_by_a_digest_is_put_on_record_once_in_a_row(ledger):
    for digest in ("d1", "d1", "d2", "d1"):
        ledger.note("card_filed", f"models/{MODEL}/versions/1", {"url": digest, "digest": digest}, "ratchet")
    for _ in range(2):
        ledger.note("version_reproduced", f"models/{MODEL}/versions/1", {"proven": True}, "analyst")
    kinds = [(event.kind, event.payload.get("digest")) for event in ledger.events()[1:]]
    assert kinds == [("card_filed", one) for one in ("d1", "d2", "d1")] + [("version_reproduced", None)] * 2


def test_a_write_that_fails_leaves_neither_row_nor_entry(ledger):
    before = ledger.verify().entries
    with pytest.raises(ParameterError, match="finite"):
        ledger.record_check(MODEL, "2013-04-01", 1, "key", {"share": float("nan")}, None)
    assert ledger.checks(MODEL) == [] and ledger.verify().entries == before


def test_text_from_outside_is_kept_as_it_came_or_refused(ledger):
    hostile = "<b>'; DROP TABLE ledger_events; --\u202e\n=1+1"
    outcome = ledger.request_retrain(MODEL, "2013-04-01", hostile, "api", "stranger", "recipe")
    assert ledger.request(outcome.id).reason == hostile
    with pytest.raises(ParameterError, match="NUL"):
        ledger.request_retrain(MODEL, "2013-04-02", "a\x00b", "api", "stranger", "recipe")
    assert ledger.verify().ok


def test_key_and_head_file_are_for_their_owner_alone(ledger, settings):
    for path in (settings.ledger_key_file, settings.ledger_head_file):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(settings.ledger_key_file.read_text()) == 64


def test_opening_again_makes_nothing_new(ledger, settings):
    key = settings.ledger_key_file.read_bytes()
    assert open_ledger(settings).events() == ledger.events()
    assert settings.ledger_key_file.read_bytes() == key


def test_a_lost_key_is_an_error_not_a_new_key(ledger, settings):
    settings.ledger_key_file.unlink()
    with pytest.raises(LedgerError, match="key is missing"):
        open_ledger(settings)
    assert not settings.ledger_key_file.exists()


def test_another_key_is_refused(ledger, settings):
    settings.ledger_key_file.write_text("0" * 64)
    with pytest.raises(LedgerError, match="another key"):
        open_ledger(settings)


def test_a_lost_database_is_an_error_not_a_new_ledger(ledger, settings, tmp_path):
    with pytest.raises(LedgerError, match="the ledger is gone"):
        open_ledger(dataclasses.replace(settings, ledger_url=f"sqlite:///{tmp_path}/new.db"))


def test_another_schema_version_is_refused(ledger, settings):
    tamper(ledger, "UPDATE ledger_schema SET version = 1")
    with pytest.raises(LedgerError, match="schema(?s:.*)make reset"):
        open_ledger(settings)


@pytest.mark.parametrize("url", ["nonsense", "sqlite://", "mysql://user:secret@host/db"])
def test_an_address_that_cannot_be_used_is_named_without_its_password(url, settings):
    with pytest.raises(LedgerError, match="address can't be used") as caught:
        open_ledger(dataclasses.replace(settings, ledger_url=url))
    assert "secret" not in str(caught.value)


def test_a_database_that_is_down_is_a_ledger_error_without_its_password(settings):
    url = "postgresql://user:secret@127.0.0.1:9/nothing"
    with pytest.raises(LedgerError, match="can't be read or written") as caught:
        open_ledger(dataclasses.replace(settings, ledger_url=url))
    assert "secret" not in str(caught.value)
