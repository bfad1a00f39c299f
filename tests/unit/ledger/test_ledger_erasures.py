"""Erasures on record: begun once, gone on with, finished once, and never with a value."""

from __future__ import annotations

import pytest

from ratchet.errors import UnknownNameError

KEY = {"person": "c0ffee"}


def found(rows=1, day="2013-01-01", revisions=(1,), odd=()):
    return {"rows": {"datasets/things": {day: rows}}, "revisions": {day: list(revisions)}, "odd_rows": list(odd)}


def begin(ledger, **what):
    return ledger.begin_erasure("things", KEY, "asked", "outsider", found(**what))


def test_an_erasure_is_begun_and_finished_once(ledger):
    begun = begin(ledger)
    assert (begun.id, begun.key, begun.actor, begun.finished_at) == ("E000001", KEY, "outsider", None)
    assert begun.days == ["2013-01-01"] and begin(ledger) == begun
    done = ledger.finish_erasure(begun.id, {"m": ["s"]}, {"m": [1]})
    assert done.finished_at and (done.snapshots, done.versions) == ({"m": ["s"]}, {"m": [1]})
    assert ledger.finish_erasure(begun.id, {}, {}) == done
    assert ledger.erasures() == ledger.erasures("things") == [done] and ledger.erasures("others") == []
    told = ledger.events(subject="datasets/things")
    assert [(e.kind, e.actor) for e in told] == [("erasure_begun", "outsider"), ("erasure_finished", "outsider")]
    assert ledger.verify().ok


def test_one_that_is_not_finished_goes_on_and_knows_what_was_found_before(ledger):
    first = begin(ledger, rows=3, odd=["x"])
    begin(ledger, rows=1, revisions=(2,))
    again = begin(ledger, day="2013-01-02", odd=["y"])
    assert again.id == first.id and again.begun_at == first.begun_at
    assert again.found == {
        "rows": {"datasets/things": {"2013-01-01": 3, "2013-01-02": 1}},
        "revisions": {"2013-01-01": [1, 2], "2013-01-02": [1]},
        "odd_rows": ["x", "y"],
    }
    assert [e.kind for e in ledger.events(subject="datasets/things")] == ["erasure_begun"] + ["erasure_continued"] * 2


def test_after_it_is_finished_the_next_is_another(ledger):
    first = begin(ledger)
    ledger.finish_erasure(first.id, {}, {})
    assert begin(ledger).id == "E000002"
    assert ledger.begin_erasure("others", KEY, "asked", "outsider", found()).id == "E000003"
    assert ledger.begin_erasure("things", {"person": "decaf"}, "asked", "outsider", found()).id == "E000004"


def test_an_erasure_that_nobody_began_is_not_finished(ledger):
    with pytest.raises(UnknownNameError, match="no erasure 'E000009'"):
        ledger.finish_erasure("E000009", {}, {})
