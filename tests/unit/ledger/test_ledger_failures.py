"""A PostgreSQL that goes away at the worst moments: what was written is found again, and nothing is half there."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from ledger_story import MODEL, Story, settings_for

from ratchet.errors import LedgerError
from ratchet.ledger import Rules, open_ledger


class Line:
    """A Unix socket before PostgreSQL's. Armed, it cuts the line once, at the next COMMIT: before PostgreSQL has heard
    it ("unsaid"), or after it has done it, with the answer lost ("done"). "down": it takes no call."""

    def __init__(self, folder: Path, behind: Path) -> None:
        self._behind, self.cut = behind, None
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(folder / behind.name))
        self._server.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._server.close()

    def _serve(self) -> None:
        while True:
            try:
                caller, _ = self._server.accept()
            except OSError:
                return
            if self.cut == "down":
                caller.close()
                continue
            there = socket.socket(socket.AF_UNIX)
            there.connect(str(self._behind))
            deaf = threading.Event()
            threading.Thread(target=self._forth, args=(caller, there, deaf), daemon=True).start()
            threading.Thread(target=self._back, args=(caller, there, deaf), daemon=True).start()

    def _forth(self, caller: socket.socket, there: socket.socket, deaf: threading.Event) -> None:
        while said := _received(caller):
            if self.cut and b"COMMIT\0" in said:
                how, self.cut = self.cut, None
                if how == "unsaid":
                    break
                deaf.set()
            there.sendall(said)
        _hang_up(caller, there)

    def _back(self, caller: socket.socket, there: socket.socket, deaf: threading.Event) -> None:
        while said := _received(there):
            if deaf.is_set():  # it is the answer to the COMMIT
                break
            caller.sendall(said)
        _hang_up(caller, there)


def _hang_up(*ends: socket.socket) -> None:
    for end in ends:
        with suppress(OSError):  # hung up already
            end.shutdown(socket.SHUT_RDWR)
        end.close()


def _received(end: socket.socket) -> bytes:
    try:
        return end.recv(65536)
    except OSError:
        return b""


@pytest.fixture
def line(postgres, story, tmp_path_factory):
    """The line to the story's PostgreSQL."""
    folder = Path(parse_qs(urlsplit(postgres).query)["host"][0])
    behind = next(folder.glob(".s.PGSQL.*[0-9]"))
    line = Line(tmp_path_factory.mktemp("l"), behind)
    yield line
    line.close()


@pytest.fixture
def over_the_line(line, ledger_url, tmp_path, story, postgres):
    """The story again, told over the line."""
    folder = parse_qs(urlsplit(postgres).query)["host"][0]
    url = ledger_url.replace(folder, str(Path(line._server.getsockname()).parent))
    assert url != ledger_url
    return Story(open_ledger(settings_for(url, tmp_path)), story.now)


pytestmark = pytest.mark.parametrize("ledger_url", ["postgresql"], indirect=True)


@pytest.mark.parametrize("cut", ["unsaid", "done"])
def test_x2_a_commit_whose_answer_is_lost_is_found_and_one_that_was_not_heard_is_made(story, over_the_line, line, cut):
    story.approved(1)
    before = len(story.ledger.events())
    line.cut = cut
    with pytest.raises(LedgerError) as caught:
        over_the_line.promote(1, 0)
    assert caught.value.retryable and line.cut is None
    assert (story.ledger.champion(MODEL) is not None) == (cut == "done")
    champion = over_the_line.promote(1, 0)
    assert (champion.version, champion.epoch) == (1, 1)
    assert len(story.ledger.events()) == before + 1
    assert story.ledger.verify().ok and over_the_line.ledger.verify().ok


@pytest.mark.parametrize("cut", ["unsaid", "done"])
def test_x2_a_request_whose_answer_is_lost_is_not_filed_twice(story, over_the_line, line, cut):
    def ask():
        key = {"idempotency_key": "k", "rules": Rules(7, 4, 28, 3)}
        return over_the_line.ledger.request_retrain(MODEL, "2013-04-01", "r", "api", "system", "recipe", **key)

    line.cut = cut
    with pytest.raises(LedgerError):
        ask()
    assert ask().status == "accepted" and ask().batch_id == ask().batch_id
    assert len(story.ledger.requests(MODEL)) == len(story.ledger.batches(MODEL)) == 1
    assert story.ledger.verify().ok


def test_x1_a_database_that_is_down_is_a_retryable_error_and_then_all_is_as_it_was(story, over_the_line, line):
    story.approved(1)
    before = story.ledger.verify()
    line.cut = "down"
    for call in (lambda: over_the_line.promote(1, 0), lambda: over_the_line.ledger.champion(MODEL)):
        with pytest.raises(LedgerError) as caught:
            call()
        assert caught.value.retryable and "password" not in str(caught.value)
    line.cut = None
    assert story.ledger.verify() == before
    assert over_the_line.promote(1, 0).version == 1
