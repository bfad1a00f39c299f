"""The loop on a live Airflow, over its REST API alone: a month of flights, one model, one approval, one scored day.

The tests of this file tell one story and run in order: each builds on the state that the one before has left.
"""

from __future__ import annotations

import time

import httpx
import pytest

from local_stack.errors import StackError

MODEL = "flight_delay"
FIRST, LAST = "2013-01-01", "2013-01-31"
DATASETS = ("flights", "weather", "outcomes")


def until(what: str, ready, timeout: float = 300):
    """The first true answer of `ready`. The wait is on a named state; the pause only spares the machine."""
    deadline = time.monotonic() + timeout
    while not (answer := ready()):
        assert time.monotonic() < deadline, f"waited {timeout:.0f} s for {what}"
        time.sleep(0.3)
    return answer


def only_challenger(ratchet):
    return next(iter(ratchet.ledger.challengers(MODEL)), None)


def test_sign_in_is_on(stack):
    reply = httpx.get(f"{stack.airflow_url}/api/v2/dags", trust_env=False)
    assert reply.status_code == 401


@pytest.mark.parametrize(
    ("conf", "told"),
    [
        ({"from": "2013-01-05", "to": "2013-01-04"}, "the range runs backwards"),
        ({"from": "2013-01-05"}, "to is not a day"),
        ({"from": "2013-01-05", "to": "2013-01-05", "form": "x"}, "unknown parameter"),
        ({"from": "2013-02-30", "to": "2013-03-01"}, "from is not a day"),
        ({"from": "2013-01-05", "to": "2013-01-05\n"}, "to is not a day"),
        ({"from": "2012-06-01", "to": "2012-06-01"}, "2012-06-01"),  # no such drop
    ],
)
def test_bad_input_fails_with_the_facts_and_changes_nothing(operator, ratchet, conf, told):
    before = ratchet.ledger.partitions("flights")
    run = operator.trigger("flights.ingest_validate", conf=conf)
    operator.wait_for_run("flights.ingest_validate", run["dag_run_id"], until={"failed"})
    log = operator.task_log("flights.ingest_validate", run["dag_run_id"], "ingest_partitions")
    assert told in log
    assert ratchet.ledger.partitions("flights") == before


@pytest.mark.parametrize("conf", [{"from": 5, "to": "2013-01-05"}, {"from": "January", "to": "2013-01-05"}])
def test_a_wrong_type_is_refused_by_the_api(operator, conf):
    with pytest.raises(StackError, match="40"):
        operator.trigger("flights.ingest_validate", conf=conf)


def test_a_month_is_taken_in_by_one_run(operator, ratchet):
    from ratchet.upstream import land_flights

    land_flights(ratchet.drops, FIRST, LAST)
    spans = {name: (FIRST, LAST) for name in DATASETS} | {"planes": (FIRST, FIRST)}
    runs = {
        name: operator.trigger(f"{name}.ingest_validate", conf={"from": first, "to": last})["dag_run_id"]
        for name, (first, last) in spans.items()
    }
    for name, run_id in runs.items():
        operator.wait_for_run(f"{name}.ingest_validate", run_id)
        partitions = ratchet.ledger.partitions(name)
        assert [p.day for p in partitions] == ratchet.lake.days(f"datasets/{name}")
        frame = ratchet.lake.read(f"datasets/{name}")
        assert len(frame) == sum(p.rows for p in partitions)
        assert {"known_at", "drop_sha256"} <= set(frame.columns)
    assert len(ratchet.ledger.partitions("flights")) == 31


def test_running_again_changes_nothing(operator, ratchet):
    version = ratchet.lake.version("datasets/flights")
    run = operator.run_to_end("flights.ingest_validate", conf={"from": FIRST, "to": LAST})
    result = operator.xcom("flights.ingest_validate", run["dag_run_id"], "ingest_partitions")
    assert (result["published"], len(result["unchanged"])) == ([], 31)
    assert ratchet.lake.version("datasets/flights") == version


def test_requests_at_once_make_one_training(operator, ratchet, stack):
    with stack.api("service") as service:
        conf = {"reason": "first model", "as_of": "2013-02-01"}
        runs = [api.trigger(f"{MODEL}.retrain", conf=conf)["dag_run_id"] for api in (operator, service)]
    for run_id in runs:
        operator.wait_for_run(f"{MODEL}.retrain", run_id)
    answers = [operator.xcom(f"{MODEL}.retrain", run_id, "request_retrain") for run_id in runs]
    assert len({answer["batch"] for answer in answers}) == 1
    assert len({answer["request"] for answer in answers}) == 2
    challenger = until("a challenger", lambda: only_challenger(ratchet))
    until("the training run's end", lambda: training_runs(operator, answers[0]["batch"])[0]["state"] == "success")
    assert len(training_runs(operator, answers[0]["batch"])) == 1
    assert [c.version for c in ratchet.ledger.challengers(MODEL)] == [challenger.version]
    assert ratchet.registry.versions(MODEL) == [challenger.version]


def training_runs(operator, batch: str) -> list[dict]:
    return [run for run in operator.runs(f"{MODEL}.train_evaluate") if run["conf"].get("batch") == batch]


def test_nothing_is_promoted_without_an_allowed_answer(operator, ratchet):
    question = until("the question", lambda: next(iter(operator.hitl_details(f"{MODEL}.promote", open_only=True)), None))
    run_id, task = question["task_instance"]["dag_run_id"], question["task_instance"]["task_id"]
    with pytest.raises(StackError, match="403"):
        operator.answer(f"{MODEL}.promote", run_id, task, "Approve")
    assert ratchet.ledger.champion(MODEL) is None
    assert only_challenger(ratchet).model_digest in question["body"]


def test_the_approver_s_answer_promotes(operator, approver, ratchet):
    (question,) = approver.hitl_details(f"{MODEL}.promote", open_only=True)
    run_id, task = question["task_instance"]["dag_run_id"], question["task_instance"]["task_id"]
    approver.answer(f"{MODEL}.promote", run_id, task, "Approve")
    operator.wait_for_run(f"{MODEL}.promote", run_id)
    champion = ratchet.ledger.champion(MODEL)
    assert champion.version == only_challenger(ratchet).version
    assert ratchet.registry.alias_version(MODEL, "champion") == champion.version
    approval = ratchet.ledger.approval(MODEL, champion.version, ratchet.ledger.verdict(MODEL, champion.version).digest)
    assert (approval.answer, approval.responded_by) == ("Approve", "approver")


def test_a_backfilled_day_is_scored_by_the_champion(operator, ratchet):
    from ratchet.upstream import land_flights

    land_flights(ratchet.drops, "2013-02-01", "2013-02-01")
    for name in ("flights", "weather"):
        backfill = operator.create_backfill(f"{name}.ingest_validate", "2013-02-01", "2013-02-01T23:59:59Z")
        operator.wait_for_backfill(f"{name}.ingest_validate", backfill["id"])
    scored = until("the scored day", lambda: ratchet.ledger.scored(MODEL, "2013-02-01"))
    predictions = ratchet.lake.read(f"predictions/{MODEL}", "2013-02-01", "2013-02-01")
    assert len(predictions) == scored.rows == len(ratchet.lake.read("datasets/flights", "2013-02-01", "2013-02-01"))
    assert set(predictions["model_version"]) == {ratchet.ledger.champion(MODEL).version}
    assert predictions["score"].between(0, 1).all()


def test_the_chain_verifies_and_no_import_error_is_left(operator, ratchet):
    report = ratchet.ledger.verify()
    assert report.ok, report.reason
    assert operator.import_errors() == []
