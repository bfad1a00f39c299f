"""C1, C2, C8: many at once, from threads and processes; one wins, and the chain holds."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ledger_story import MODEL

from ratchet.errors import ConflictError
from ratchet.ledger import open_ledger

ASK = """
import sys
from pathlib import Path
from ledger_story import MODEL, settings_for
from ratchet.ledger import open_ledger

ledger = open_ledger(settings_for(sys.argv[1], Path(sys.argv[2])))
sys.stdin.readline()
for n in range(5):
    print(ledger.request_retrain(MODEL, "2013-04-01", f"reason {n}", "api", sys.argv[3], "recipe").batch_id)
"""


def at_once(work, many):
    """The results of `work(n)` of as many threads; a ConflictError is a result."""

    def caught(n):
        try:
            return work(n)
        except ConflictError as error:
            return error

    with ThreadPoolExecutor(many) as pool:
        return list(pool.map(caught, range(many)))


def test_c2_twenty_threads_ask_at_once_and_one_batch_results(ledger):
    def work(n):
        return ledger.request_retrain(MODEL, "2013-04-01", f"reason {n}", "api", f"user {n}", "recipe")

    outcomes = at_once(work, 20)
    assert sorted(outcome.status for outcome in outcomes) == ["accepted"] + ["merged"] * 19
    assert len({outcome.batch_id for outcome in outcomes}) == 1 == len(ledger.open_batches())
    assert {request.reason for request in ledger.requests(MODEL)} == {f"reason {n}" for n in range(20)}
    assert ledger.verify().ok and ledger.verify().entries == 22


def test_c2_processes_that_open_and_ask_at_once_find_one_ledger_and_one_batch(settings, ledger_url, tmp_path):
    command = [sys.executable, "-c", ASK, ledger_url, str(tmp_path)]
    path = ":".join([str(Path(__file__).parent), *(entry for entry in sys.path if entry)])
    askers = [
        subprocess.Popen(
            [*command, f"user {n}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={"PYTHONPATH": path}
        )
        for n in range(4)
    ]
    said = [asker.communicate("go\n", timeout=60)[0].split() for asker in askers]
    assert all(asker.returncode == 0 for asker in askers)
    assert {batch for one in said for batch in one} == {"b000001"}
    ledger = open_ledger(settings)
    assert len(ledger.requests(MODEL)) == 20 and ledger.verify().ok


def test_c8_of_many_promoters_one_wins(story):
    for version in range(1, 9):
        story.approved(version)
    results = at_once(lambda n: story.promote(n + 1, 0), 8)
    won = [result for result in results if not isinstance(result, ConflictError)]
    assert len(won) == 1 and story.ledger.champion_history(MODEL) == won
    assert story.ledger.verify().ok


def test_c8_a_rollback_that_meets_promotions_leaves_one_winner(story):
    story.two_champions()
    story.approved(3)
    results = at_once(lambda n: story.rollback(None, 2) if n % 2 else story.promote(3, 2), 8)
    won = {result for result in results if not isinstance(result, ConflictError)}
    assert len(won) == 1 and story.ledger.champion_history(MODEL)[2:] == list(won)
    assert story.ledger.verify().ok


def test_c1_of_many_that_register_the_same_challenger_all_get_the_first(story):
    results = at_once(lambda n: story.register(1), 8)
    assert set(map(repr, results)) == {repr(story.ledger.challenger(MODEL, 1))}
    assert len(story.ledger.events(subject=f"models/{MODEL}")) == 1


def test_reading_goes_on_while_another_writes(ledger):
    ledger.request_retrain(MODEL, "2013-04-01", "why", "api", "eve", "recipe")
    with ledger._chain.write() as transaction:
        transaction.append("held_open", "nothing", {})
        assert len(ledger.requests(MODEL)) == 1
        assert ledger.verify().ok
    assert ledger.events(limit=1)[0].kind == "held_open"
