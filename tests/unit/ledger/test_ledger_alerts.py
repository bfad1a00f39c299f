"""Alerts in the ledger: one open for each key, told anew when it gets worse, and every change on the chain."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta

import pytest
from ledger_story import MODEL

from ratchet.errors import LedgerError, ParameterError, UnknownNameError
from ratchet.ledger import alerts as module

KEY, BOOK = "performance/all", "performance-fell"


def raised(ledger, level="warn", what="AUC fell", key=KEY, **facts):
    return ledger.raise_alert(MODEL, key, level, what, facts, BOOK)


def kinds(ledger) -> list[str]:
    return [event.kind for event in ledger.events(f"alerts/{MODEL}")]


def test_one_is_open_for_each_key_and_the_same_again_counts(ledger):
    first = raised(ledger, by=0.02)
    again = raised(ledger, what="AUC fell more", by=0.04)
    other = raised(ledger, key="inputs/temp")
    assert (again.id, again.times, again.what, again.facts) == (first.id, 2, "AUC fell more", {"by": 0.04})
    assert (again.raised_at, again.seen_at > first.seen_at) == (first.raised_at, True)
    assert [one.id for one in ledger.open_alerts(MODEL)] == [first.id, other.id]
    assert ledger.open_alerts("another") == [] and ledger.verify().ok
    assert kinds(ledger) == ["alert_raised", "alert_seen_again", "alert_raised"]


def test_the_same_words_fill_the_chain_once_an_hour(ledger, monkeypatch):
    first = raised(ledger, by=0.02)
    assert raised(ledger, by=0.02) == first == ledger.newest_alert(MODEL, KEY)
    monkeypatch.setattr(module, "COUNT_AGAIN_AFTER", timedelta(0))
    assert raised(ledger, by=0.02).times == 2
    assert kinds(ledger) == ["alert_raised", "alert_seen_again"]


def test_a_higher_level_is_told_anew_and_a_lower_one_does_not_quiet_it(ledger):
    alert = raised(ledger, "warn")
    ledger.mark_alert_sent(alert.id, "warn", "log")
    assert [one.id for one in ledger.unsent_alerts()] == [alert.id], "one channel of two"
    ledger.mark_alert_sent(alert.id, "warn", "file", last=True)
    assert ledger.unsent_alerts() == []
    raised(ledger, "warn", by=1)
    assert ledger.unsent_alerts() == [], "the same again is not told again"

    assert raised(ledger, "page").level == "page"
    (unsent,) = ledger.unsent_alerts()
    assert (unsent.news, unsent.sent, unsent.told) == ("page", {"log": "warn", "file": "warn"}, "warn")
    assert raised(ledger, "note", "it hurts less").level == "page"
    ledger.mark_alert_sent(alert.id, "page", "log", last=True)
    assert ledger.unsent_alerts() == [] and ledger.verify().ok


def test_what_gets_worse_while_it_is_sent_is_sent_again(ledger):
    alert = raised(ledger, "warn")
    raised(ledger, "page")
    ledger.mark_alert_sent(alert.id, "warn", "log", last=True)
    assert [one.news for one in ledger.unsent_alerts()] == ["page"]


def test_a_settled_one_is_told_of_and_makes_room(ledger):
    alert = raised(ledger)
    ledger.mark_alert_sent(alert.id, "warn", "log", last=True)
    settled = ledger.settle_alert(MODEL, KEY, "it rose again")
    assert (settled.why, settled.news, settled.settled_at >= alert.raised_at) == ("it rose again", "settled", True)
    assert ledger.open_alerts() == [] and [one.news for one in ledger.unsent_alerts()] == ["settled"]
    before = len(ledger.events())
    assert ledger.settle_alert(MODEL, KEY, "again") is None and len(ledger.events()) == before
    ledger.mark_alert_sent(alert.id, "settled", "log", last=True)
    assert ledger.unsent_alerts() == []
    assert raised(ledger).id != alert.id
    assert ledger.newest_alert(MODEL, KEY).settled_at is None and ledger.verify().ok


def test_marking_twice_writes_once(ledger):
    alert = raised(ledger)
    ledger.mark_alert_sent(alert.id, "warn", "log")
    before = len(ledger.events())
    ledger.mark_alert_sent(alert.id, "warn", "log")
    assert len(ledger.events()) == before
    with pytest.raises(UnknownNameError, match="a000099"):
        ledger.mark_alert_sent("a000099", "warn", "log")


def test_hostile_words_are_kept_on_one_line(ledger):
    alert = raised(ledger, what="AUC\nBcc: a@b.example\x00\u202e fell" + "x" * 600)
    assert alert.what.startswith("AUC Bcc: a@b.example fell") and len(alert.what) == 500


@pytest.mark.parametrize(
    ("wrong", "told"),
    [({"level": "fatal"}, "fatal"), ({"what": " \n"}, "what is empty"), ({"by": float("nan")}, "facts.by")],
)
def test_wrong_words_are_refused_and_nothing_is_raised(ledger, wrong, told):
    with pytest.raises(ParameterError, match=told):
        raised(ledger, **wrong)
    assert ledger.open_alerts() == []


def test_the_database_itself_holds_one_open_alert_for_each_key(ledger):
    """Also against a writer that doesn't look first."""
    from ratchet.ledger.tables import alerts

    alert = raised(ledger)
    twin = {**asdict(alert), "id": "a000002"}
    with pytest.raises(LedgerError, match=r"(?i)unique"), ledger._chain.database.write() as connection:
        connection.execute(alerts.insert().values(twin))
    assert ledger.open_alerts() == [alert]
