"""Retraining exactly once on a live Airflow: many callers, paused DAGs, a killed scheduler; and each caller's answer.

The tests of this file tell one story and run in order. `promote` is paused until its turn comes.
"""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import httpx
import pytest
from live_loop import ASKS, kill_scheduler, train_versions, until
from small_loop import MODEL, SMALL, WEAK, redeliver

from ratchet.days import days_between

SPEC = {**SMALL, "candidates": WEAK, "retrain_when": {"cool_down_days": 7, "drifted_share": 0.01}}
VARIABLES = {"AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "True"}
RETRAIN, TRAIN, PROMOTE, CHECK = (f"{MODEL}.{kind}" for kind in ("retrain", "train_evaluate", "promote", "check_drift"))
DISPATCH = "ratchet.dispatch"
NEWEST = "2013-02-01"  # as of which the outcomes of January are known


@pytest.fixture(scope="module", autouse=True)
def january(ratchet, operator) -> None:
    train_versions(ratchet, "2013-01-31")
    operator.wait_for_dags([RETRAIN, TRAIN])
    for dag in (RETRAIN, TRAIN, DISPATCH):
        operator.unpause(dag)


def ask(api, path: str, **params) -> httpx.Response:
    """What our route answers to this account."""
    return get(api, f"{api.url}/ratchet/models/{path}", params=params)


def get(api, url: str, **more) -> httpx.Response:
    signed = {"Authorization": f"Bearer {api.token()}"}
    return httpx.get(url, headers=signed, trust_env=False, timeout=60, **more)


def became_of(api, run_id: str) -> dict:
    """What became of the request that this run of the retrain DAG filed, to a caller who knows the run alone."""
    reply = ask(api, f"{MODEL}/requests", run=run_id)
    assert reply.status_code == 200, reply.text
    return reply.json()


def trigger_at_once(api, names: list[str], **conf) -> list[str]:
    """A run for each name, posted at the same time."""
    api.token()
    with ThreadPoolExecutor(len(names)) as pool:
        runs = pool.map(lambda name: api.trigger(RETRAIN, run_id=name, conf={"reason": f"says {name}", **conf}), names)
        return [run["dag_run_id"] for run in runs]


def swept(operator) -> None:
    """Dispatch has looked once more, from beginning to end."""
    operator.run_to_end(DISPATCH)


def test_c2_twenty_triggers_at_once_make_one_training_and_each_of_them_can_be_traced_to_it(operator, service, ratchet):
    runs = trigger_at_once(service, [f"ticket-{n}" for n in range(20)])
    for run_id in runs:
        operator.wait_for_run(RETRAIN, run_id)
    until("the challenger", lambda: became_of(service, runs[0])["challenger"])
    swept(operator)
    found = [became_of(service, run_id) for run_id in runs]

    trainings = operator.runs(TRAIN)
    assert [one["state"] for one in trainings] == ["success"]
    (training,), (batch,) = trainings, ratchet.ledger.batches(MODEL)
    assert (training["dag_run_id"], training["conf"]) == (batch.run_id, {"batch": batch.id})
    assert {one["batch"]["id"] for one in found} == {batch.id} and batch.status == "done"
    assert {one["run"]["run_id"] for one in found} == {training["dag_run_id"]}
    assert {one["challenger"]["version"] for one in found} == {1} and ratchet.registry.versions(MODEL) == [1]
    assert Counter(one["request"]["status"] for one in found) == {"accepted": 1, "merged": 19}
    assert {one["request"]["reason"] for one in found} == {f"says {run_id}" for run_id in runs}
    assert len({one["request"]["id"] for one in found}) == 20
    assert all(one["links"]["training"].endswith(f"/dags/{TRAIN}/runs/{batch.run_id}") for one in found)


def test_c2_the_same_trigger_twice_is_one_run_and_the_same_key_one_request(operator, service, ratchet):
    body = {"dag_run_id": "once", "logical_date": None, "conf": {"reason": "r", "key": "ticket/7"}}
    replies = [service.send("POST", f"/dags/{RETRAIN}/dagRuns", body=body) for _ in range(2)]
    assert [reply.status_code for reply in replies] == [200, 409]
    operator.wait_for_run(RETRAIN, "once")
    again = service.trigger(RETRAIN, conf={"reason": "another", "key": "ticket/7"})["dag_run_id"]
    answers = []
    for run_id in ("once", again):
        operator.wait_for_run(RETRAIN, run_id)
        answers.append(operator.xcom(RETRAIN, run_id, "request_retrain"))
    assert answers[0] == answers[1]
    assert [one.reason for one in ratchet.ledger.requests(MODEL) if one.idempotency_key == "key/ticket/7"] == ["r"]
    assert get(service, answers[0]["follow"]).json() == ask(service, f"{MODEL}/requests", key="ticket/7").json()


def test_what_was_never_asked_is_404(service):
    for path in (f"{MODEL}/requests/r999999", "no_model/requests/r000001"):
        assert ask(service, path).status_code == 404


def test_requests_to_paused_dags_wait_and_none_is_lost(operator, service, ratchet):
    """Two days of data: two trainings that a person wants, so that neither merges nor is held back."""
    for dag in (RETRAIN, DISPATCH):
        operator.pause(dag)
    before = ratchet.ledger.requests(MODEL)
    days = {f"day-{day}": day for day in ("2013-01-29", "2013-01-30")}
    for name, day in days.items():
        service.trigger(RETRAIN, run_id=name, conf={"reason": "r", "source": "person", "as_of": day})
    assert {service.run(RETRAIN, name)["state"] for name in days} == {"queued"}
    assert ratchet.ledger.requests(MODEL) == before
    assert ask(service, f"{MODEL}/requests", key=f"{RETRAIN}/day-2013-01-29").status_code == 404
    operator.unpause(RETRAIN)
    for name, day in days.items():
        operator.wait_for_run(RETRAIN, name)
        batch = became_of(service, name)["batch"]
        assert (batch["status"], batch["as_of"]) == ("open", day)


def test_k5_a_scheduler_killed_between_request_and_training_loses_neither(operator, service, stack, ratchet):
    kill_scheduler(stack)
    operator.unpause(DISPATCH)
    for name in ("day-2013-01-29", "day-2013-01-30"):
        until(f"the challenger of {name}", lambda name=name: became_of(service, name)["challenger"], timeout=500)
    assert len(operator.runs(TRAIN)) == 3 == len(ratchet.ledger.challengers(MODEL))


def test_c3_challengers_that_come_at_once_are_all_judged_and_one_question_stays_open(operator, service, ratchet):
    """Three were registered while `promote` was paused, and no event says so any more."""
    assert [one.status for one in ratchet.ledger.challengers(MODEL)] == ["registered"] * 3
    operator.unpause(PROMOTE)

    def settled() -> bool:
        return [one.status for one in ratchet.ledger.challengers(MODEL)] == [
            "awaiting_approval",
            "superseded",
            "superseded",
        ]

    until("one question", settled)
    assert all(ratchet.ledger.verdict(MODEL, version) for version in (1, 2, 3))
    told = became_of(service, "ticket-7")
    assert "an approver has until" in told["told"] and told["approval"]["dag_id"] == PROMOTE
    assert "superseded" in became_of(service, "day-2013-01-30")["told"]


def test_c7_drift_that_fires_at_every_check_makes_one_training_a_cool_down(operator, approver, ratchet):
    """Distances come in kilometres from February on; three days of checks, the first day's twice."""
    operator.unpause(CHECK)
    until("the check by its schedule, without a champion", lambda: operator.runs(CHECK, state="success"))
    run_id = ratchet.ledger.questions(MODEL, 1, ratchet.ledger.verdict(MODEL, 1).digest)[-1].run_id
    approver.wait_until_parked(PROMOTE, run_id, ASKS)
    approver.answer(PROMOTE, run_id, ASKS, "Approve")
    operator.wait_for_run(PROMOTE, run_id)
    days_in_kilometres(ratchet, "2013-02-01", "2013-02-09")

    days = ("2013-02-08", "2013-02-08", "2013-02-09", "2013-02-10")
    asked = [asked_by_a_check(operator, as_of)["request"] for as_of in days]
    filed = {one.id: one for one in ratchet.ledger.requests(MODEL) if one.source == "drift"}
    assert [filed[id].as_of for id in asked] == list(days) and len(filed) == 3
    assert Counter(one.status for one in filed.values()) == {"accepted": 1, "suppressed": 2}
    assert all("Held back until 2013-02-1" in one.explanation for one in filed.values() if one.status == "suppressed")
    (batch,) = (one.batch_id for one in filed.values() if one.status == "accepted")
    until("the training's end", lambda: ratchet.ledger.batch(batch).status == "done")
    swept(operator)
    assert len(operator.runs(TRAIN)) == 4


def days_in_kilometres(ratchet, first: str, last: str) -> None:
    """Days of flights taken in and scored by the champion, without Airflow; their distances are no miles any more."""
    from ratchet.upstream import land_flights
    from ratchet.workflow.ingestion import ingest_partitions
    from ratchet.workflow.scoring import due_days, score_partitions

    land_flights(ratchet.drops, first, last)
    for day in days_between(first, last):
        redeliver(ratchet, "flights", day, in_kilometres, timedelta(minutes=1))
    for name in ratchet.datasets.good:
        ingest_partitions(ratchet, name)
    score_partitions(ratchet, MODEL, due_days(ratchet, ratchet.model(MODEL)))


def in_kilometres(frame):
    return frame.assign(distance=(frame["distance"] * 1.609).clip(upper=6000))  # no flight is longer, says the suite


def asked_by_a_check(operator, as_of: str) -> dict:
    """The broker's answer to what a check as of that day asks for because inputs moved."""
    run = operator.run_to_end(CHECK, conf={"as_of": as_of})
    return operator.xcom(CHECK, run["dag_run_id"], "check_drift")["requests"][0]


def test_nothing_was_lost_or_done_twice(ratchet, operator):
    batches = ratchet.ledger.batches(MODEL)
    assert sorted(batch.as_of for batch in batches)[:3] == ["2013-01-29", "2013-01-30", NEWEST] and len(batches) == 4
    assert {(batch.status, batch.attempts) for batch in batches} == {("done", 1)}
    assert ratchet.ledger.verify().ok and operator.import_errors() == []
