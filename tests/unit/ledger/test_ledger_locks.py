"""K6: a process that is stopped while it holds a lock keeps nobody waiting for ever, and they learn who it is."""

from __future__ import annotations

import fcntl
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from ratchet.errors import LedgerError
from ratchet.ledger import database, locks, open_ledger
from ratchet.ledger.chain import BEFORE_ALL
from ratchet.ledger.head import Head, HeadFile
from ratchet.ledger.locks import holders, lock_beside


@pytest.fixture
def impatient(monkeypatch):
    for module in (locks, database):
        monkeypatch.setattr(module, "WAIT_SECONDS", 0.1)


def ask(ledger):
    return ledger.request_retrain("flight_delay", "2013-04-01", "why", "api", "stranger", "recipe")


def test_k6_who_waits_for_a_writer_in_vain_may_try_again_and_has_changed_nothing(ledger, ledger_url, impatient):
    entries = ledger.verify().entries
    told = pytest.raises(LedgerError, match="another process holds the lock")
    with ThreadPoolExecutor(1) as other, ledger._chain.write(), told as caught:
        other.submit(ask, ledger).result()
    error = caught.value
    assert error.retryable and "run again" in error.hint
    assert (str(os.getpid()) in error.seen) == ledger_url.startswith("sqlite")
    assert ledger.requests("flight_delay") == [] and ledger.verify().entries == entries
    assert ask(ledger).status == "accepted"


def test_who_waits_for_a_locked_file_in_vain_is_told_which_process_has_it(tmp_path, impatient):
    head = HeadFile(tmp_path / "head")
    head.advance(Head(1, "one"))
    with open(f"{head.path}.lock") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(LedgerError, match=f"held by process {os.getpid()} of this host") as caught:
            head.advance(Head(2, "two"))
        assert caught.value.retryable and head.read() == Head(1, "one")
    head.advance(Head(2, "two"))
    assert head.read() == Head(2, "two")


def test_a_ledger_that_another_process_is_beginning_is_waited_for_not_for_ever(settings, impatient):
    with lock_beside(settings.ledger_key_file), pytest.raises(LedgerError, match="another process holds the lock"):
        open_ledger(settings)
    assert open_ledger(settings).verify().entries == BEFORE_ALL.seq + 1


def test_a_lock_is_handed_on_to_who_waits_for_it(tmp_path):
    path, seen = tmp_path / "thing", []

    def second():
        with lock_beside(path):
            seen.append("second")

    with ThreadPoolExecutor(1) as other:
        with lock_beside(path):
            waiting = other.submit(second)
            seen.append("first")
        waiting.result()
    assert seen == ["first", "second"]


def test_nobody_holds_what_isn_t_locked_or_isn_t_there(tmp_path):
    with lock_beside(tmp_path / "thing"):
        assert holders(tmp_path / "thing.lock") == [os.getpid()]
    assert holders(tmp_path / "thing.lock") == holders(tmp_path / "nothing") == []
