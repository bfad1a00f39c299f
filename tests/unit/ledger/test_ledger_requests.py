"""The broker: one training for many requests, and each suppressed request on record."""

from __future__ import annotations

import pytest
from ledger_story import MODEL

from ratchet.errors import ConflictError, ParameterError, UnknownNameError


def ask(ledger, as_of="2013-04-01", recipe="recipe", source="drift", **more):
    return ledger.request_retrain(MODEL, as_of, "it drifted", source, "check_drift", recipe, **more)


def test_a_request_opens_a_batch(ledger):
    outcome = ask(ledger)
    batch = ledger.batch(outcome.batch_id)
    assert outcome.status == "accepted" and ledger.open_batches() == [batch] == ledger.batches(MODEL)
    assert (batch.status, batch.as_of, batch.recipe, batch.attempts) == ("open", "2013-04-01", "recipe", 0)
    request = ledger.request(outcome.id)
    assert (request.reason, request.source, request.batch_id) == ("it drifted", "drift", batch.id)


def test_c2_the_same_key_gives_the_same_answer_and_files_nothing(ledger):
    first = ask(ledger, idempotency_key="k")
    assert ask(ledger, idempotency_key="k", as_of="2013-05-01") == first
    assert [request.id for request in ledger.requests(MODEL)] == [first.id]
    other_model = ledger.request_retrain("other", "2013-04-01", "why", "api", "stranger", "recipe", idempotency_key="k")
    assert other_model.id != first.id


def test_requests_for_the_same_training_share_one_batch_at_every_stage(ledger):
    batch = ask(ledger).batch_id
    assert "will do" in ask(ledger, source="api").explanation
    ledger.start_batch(batch, "run-1", MODEL)
    assert "run-1" in ask(ledger, source="person").explanation
    ledger.finish_batch(batch, "done", 3)
    last = ask(ledger)
    assert (last.status, last.batch_id) == ("merged", batch) and "version 3" in last.explanation
    assert len(ledger.requests(MODEL)) == 4 and len(ledger.batches(MODEL)) == 1


def test_an_open_batch_takes_in_another_recipe_of_its_day_and_a_started_one_does_not(ledger):
    batch = ask(ledger).batch_id
    assert ask(ledger, recipe="new recipe").batch_id == batch
    ledger.start_batch(batch, "run-1", MODEL)
    assert ask(ledger, recipe="new recipe").status == "accepted"


def test_a_batch_goes_from_open_to_done(ledger):
    batch = ask(ledger).batch_id
    started = ledger.start_batch(batch, "run-1", MODEL)
    assert (started.status, started.run_id, started.attempts) == ("started", "run-1", 1)
    assert ledger.start_batch(batch, "run-1", MODEL) == started
    assert ledger.open_batches() == [started]
    taken_over = ledger.start_batch(batch, "run-2", MODEL)
    assert (taken_over.run_id, taken_over.attempts) == ("run-2", 2)
    done = ledger.finish_batch(batch, "done", 4)
    assert (done.status, done.challenger_version) == ("done", 4)
    assert done == ledger.finish_batch(batch, "done", 4) == ledger.start_batch(batch, "run-3", MODEL)
    assert ledger.open_batches() == []


def test_a_batch_is_closed_once(ledger):
    batch = ask(ledger).batch_id
    with pytest.raises(ConflictError):
        ledger.finish_batch(batch, "done", 1)
    ledger.start_batch(batch, "run-1", MODEL)
    ledger.finish_batch(batch, "done", 1)
    for status, version in [("done", 2), ("failed", None)]:
        with pytest.raises(ConflictError):
            ledger.finish_batch(batch, status, version)
    assert ledger.batch(batch).challenger_version == 1


def test_a_failed_batch_can_be_started_again(ledger):
    batch = ask(ledger).batch_id
    ledger.finish_batch(batch, "failed")
    assert ledger.start_batch(batch, "run-2", MODEL).status == "started"


def test_unknown_ids_and_wrong_words_are_named(ledger):
    with pytest.raises(UnknownNameError, match="no batch 'b9'"):
        ledger.batch("b9")
    with pytest.raises(UnknownNameError, match="no retrain request 'r9'"):
        ledger.request("r9")
    with pytest.raises(ParameterError, match="as_of"):
        ask(ledger, as_of="yesterday")
    with pytest.raises(ParameterError, match="actor"):
        ledger.request_retrain(MODEL, "2013-04-01", "why", "api", "", "recipe")
    with pytest.raises(ParameterError, match="cancelled"):
        ledger.finish_batch(ask(ledger).batch_id, "cancelled")


def test_a_batch_is_started_as_a_training_of_its_own_model(ledger):
    batch = ask(ledger).batch_id
    with pytest.raises(ParameterError) as caught:
        ledger.start_batch(batch, "run-1", "other")
    assert MODEL in str(caught.value) and "other" in str(caught.value)
    assert ledger.batch(batch).status == "open"


def test_the_run_that_holds_a_batch_keeps_its_snapshot_and_no_other_run_does(ledger):
    batch = ask(ledger).batch_id
    with pytest.raises(ConflictError, match="open"):
        ledger.set_batch_snapshot(batch, "run-1", "s1")
    assert ledger.start_batch(batch, "run-1", MODEL).snapshot is None
    kept = ledger.set_batch_snapshot(batch, "run-1", "s1")
    entry = ledger.events(limit=1)[0]
    assert kept.snapshot == "s1" and (entry.kind, entry.payload["snapshot"]) == ("snapshot_taken", "s1")
    assert ledger.set_batch_snapshot(batch, "run-1", "s1") == kept and ledger.events(limit=1) == [entry]
    assert ledger.start_batch(batch, "run-1", MODEL) == kept, "a retry keeps it"
    with pytest.raises(ConflictError, match="run-1"):
        ledger.set_batch_snapshot(batch, "run-2", "s1")
    assert ledger.start_batch(batch, "run-2", MODEL).snapshot is None
    with pytest.raises(ConflictError, match="run-2"):
        ledger.set_batch_snapshot(batch, "run-1", "s1")
    assert ledger.set_batch_snapshot(batch, "run-2", "s2").snapshot == "s2"
    done = ledger.finish_batch(batch, "done", 1)
    assert ledger.set_batch_snapshot(batch, "run-3", "s2") == done
    with pytest.raises(ConflictError, match="done"):
        ledger.set_batch_snapshot(batch, "run-2", "s3")
    assert ledger.batch(batch) == done and ledger.verify().ok


def test_a_batch_is_found_by_its_newest_run(ledger):
    batch = ask(ledger).batch_id
    for run in ("run-1", "run-2"):
        ledger.start_batch(batch, run, MODEL)
        assert ledger.batch_of_run(MODEL, run) == ledger.batch(batch)
    for model, run in [(MODEL, "run-1"), ("other", "run-2")]:
        with pytest.raises(UnknownNameError, match=run):
            ledger.batch_of_run(model, run)


def test_what_was_given_up_is_noted_once_per_key(ledger):
    for key in ("k1", "k2", "k1"):
        ledger.note_given_up(MODEL, key, "train", 3)
    ledger.note_given_up("other", "k1", "train", 3)
    noted = ledger.events(subject=f"models/{MODEL}")
    assert [(event.kind, event.payload["key"]) for event in noted] == [("given_up", "k1"), ("given_up", "k2")]
    assert noted[0].payload == {"key": "k1", "dag_id": "train", "attempts": 3}
    assert len(ledger.events(subject="models/other")) == 1 and ledger.verify().ok
