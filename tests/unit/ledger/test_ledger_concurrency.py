"""C1, C2, C8: many at once, from threads and processes; one wins, and the chain holds."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from forks import Forks
from ledger_story import MODEL, Story

from ratchet.days import days_between
from ratchet.errors import ApprovalError, ConflictError, LedgerError
from ratchet.ledger import Champion, open_ledger


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


def test_c2_twenty_processes_that_open_and_ask_at_once_find_one_ledger_and_one_batch(settings, ledger_url, tmp_path):
    with Forks("asker") as forks:
        askers = [forks.start(ledger_url, str(tmp_path), f"user {n}", env={}) for n in range(20)]
        assert [asker.wait() for asker in askers] == [0] * 20, askers[0].said
    assert {batch for asker in askers for batch in asker.said.split()} == {"b000001"}
    ledger = open_ledger(settings)
    assert {one.reason for one in ledger.requests(MODEL)} == {f"user {n} {k}" for n in range(20) for k in range(2)}
    assert len(ledger.requests(MODEL)) == 40 and ledger.verify().ok


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


def patiently(step, *args, **named):
    """step(...), again as long as the database is too busy to take it: what Airflow's retries do."""
    while True:
        try:
            return step(*args, **named)
        except LedgerError as error:
            if not error.retryable:
                raise


def prepare(story: Story, version: int, run: str) -> int:
    """Judged, asked about and approved: all but promoted. Returns the epoch that it was judged against."""
    verdict = patiently(story.judge, version)
    patiently(story.ask, version, verdict.digest, run)
    patiently(story.answer, version, run=run)
    return verdict.champion_epoch


def promoter(story: Story, version: int, epoch: int) -> Champion | str:
    """The end of a promote run that was approved, and a second run when the champion has moved: the champion that it
    made, or what it ended with."""
    try:
        return patiently(story.promote, version, epoch)
    except ConflictError:
        pass
    try:
        return patiently(story.promote, version, prepare(story, version, f"run-{version}-again"))
    except ConflictError:
        return "conflict"
    except ApprovalError as error:
        assert "superseded" in str(error) or "took the place" in str(error), error
        return "superseded"


def backfill(ledger, days: list[str]) -> None:
    """Old days, taken in and scored."""
    now = datetime.now(UTC)
    for number, day in enumerate(days):
        patiently(ledger.record_partition, "flights", day, f"d{day}", "drop", "r", 1, 10, 0, now)
        patiently(ledger.record_scored, MODEL, day, f"d{day}", 1, 10, number)


def race(story: Story, promoters: int, days: list[str]) -> dict[int, Champion | str]:
    """How each of the promoters ends, with a backfill and a rollback among them. Version 2 is champion before."""
    story.now = datetime.now(UTC)
    versions = range(3, 3 + promoters)
    for version in versions:
        story.register(version, as_of=days_between("2013-05-01", "2013-12-31")[version])
    epochs = {version: prepare(story, version, f"run-{version}") for version in versions}
    before = len(story.ledger.events())
    with ThreadPoolExecutor(promoters + 2) as pool:
        ends = {version: pool.submit(promoter, story, version, epochs[version]) for version in versions}
        filled = pool.submit(backfill, story.ledger, days)
        back = pool.submit(roll_back, story)
        filled.result(), back.result()
        ends = {version: end.result() for version, end in ends.items()}
    told = Counter(event.kind for event in story.ledger.events()[before:])
    assert (told["partition_published"], told["day_scored"]) == (len(days), len(days)), "C4: they were taken in"
    assert told["champion_promoted"] + told["champion_rolled_back"] == len(story.ledger.champion_history(MODEL)) - 2
    return ends


def roll_back(story: Story) -> Champion:
    """To version 1, against whoever is champion when it comes through."""
    while True:
        epoch = patiently(story.ledger.champion, MODEL).epoch
        try:
            return patiently(story.rollback, 1, epoch)
        except ConflictError:
            continue


@pytest.mark.parametrize("promoters", [12, pytest.param(100, marks=pytest.mark.matrix)])
def test_c8_many_promoters_a_rollback_and_a_backfill_leave_one_order_and_lose_no_decision(story, promoters):
    story.two_champions()
    ledger = story.ledger
    ends = race(story, promoters, days_between("2013-01-01", "2013-01-30"))
    history = ledger.champion_history(MODEL)
    assert [move.epoch for move in history] == list(range(1, len(history) + 1))
    assert [move.how for move in history].count("rollback") == 1
    won = {version for version, end in ends.items() if isinstance(end, Champion)}
    assert sorted(move.version for move in history[2:] if move.how == "promotion") == sorted(won)
    assert won, "the newest is never superseded, and two conflicts are two moves, of which one is the rollback"
    for move in history:  # each was judged against the champion whose place it took
        assert move.how == "rollback" or move.verdict_digest == f"verdict-{move.version}-{move.epoch - 1}"
    assert {move.epoch: move for move in history}.items() >= {end.epoch: end for end in map(ends.get, won)}.items()
    to_judge = {one.version for one in ledger.challengers_to_judge(MODEL)}
    statuses = {one.version: one.status for one in ledger.challengers(MODEL)}
    for version, end in ends.items():
        if version in won:
            assert statuses[version] == "promoted"
        else:  # it is judged again, or is out of the race for good
            assert version in to_judge or statuses[version] == "superseded", (version, end, statuses[version])
    assert ledger.verify().ok


def test_c4_a_backfill_of_old_days_moves_no_champion_and_asks_nobody(story):
    story.two_champions()
    before, entries = story.ledger.champion_history(MODEL), len(story.ledger.events())
    days = days_between("2013-01-01", "2013-01-10")
    at_once(lambda n: backfill(story.ledger, days[::2] if n else days[::-2]), 2)
    assert story.ledger.champion_history(MODEL) == before and story.ledger.challengers_to_judge(MODEL) == []
    told = Counter(event.kind for event in story.ledger.events()[entries:])
    assert told == {"partition_published": 10, "day_scored": 10} and story.ledger.verify().ok


def test_c1_of_many_that_register_the_same_challenger_all_get_the_first(story):
    results = at_once(lambda n: story.register(1), 8)
    assert set(map(repr, results)) == {repr(story.ledger.challenger(MODEL, 1))}
    assert len(story.ledger.events(subject=f"models/{MODEL}")) == 1


def test_reading_goes_on_while_another_writes(ledger):
    ledger.request_retrain(MODEL, "2013-04-01", "why", "api", "stranger", "recipe")
    with ledger._chain.write() as transaction:
        transaction.append("held_open", "nothing", {})
        assert len(ledger.requests(MODEL)) == 1
        assert ledger.verify().ok
    assert ledger.events(limit=1)[0].kind == "held_open"
