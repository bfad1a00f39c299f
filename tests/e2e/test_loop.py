"""The loop on a live Airflow, over its REST API alone: a month of flights, one model, one approval, one scored day.

The tests of this file tell one story and run in order: each builds on the state that the one before has left.
"""

from __future__ import annotations

import json
import signal
from datetime import timedelta
from pathlib import Path

import httpx
import pandas as pd
import pyarrow as pa
import pytest
from deltalake import write_deltalake
from live_loop import age, kill_scheduler, until
from small_loop import MODEL, redeliver

from local_stack.errors import StackError
from ratchet.digests import frame_digest
from ratchet.errors import UnknownNameError
from ratchet.failpoints import arm
from ratchet.snapshot import take_snapshot
from ratchet.windows import TrainingWindows, Window

FIRST, LAST = "2013-01-01", "2013-01-31"
DATASETS = ("flights", "weather", "outcomes")
VARIABLES = {"AIRFLOW__CORE__MAX_TASK_RETRY_DELAY": "1"}  # second, between the tries of a task


def only_challenger(ratchet):
    return next(iter(ratchet.ledger.challengers(MODEL)), None)


def test_sign_in_is_on(stack):
    reply = httpx.get(f"{stack.airflow_url}/api/v2/dags", trust_env=False)
    assert reply.status_code == 401


@pytest.mark.parametrize(
    ("conf", "told"),
    [
        ({"from": "2013-01-05", "to": "2013-01-04"}, "the range runs backwards"),
        ({"from": "2013-01-05"}, "from and to go together"),
        ({"from": "2013-01-05", "to": "2013-01-05", "form": "x"}, "unknown parameter"),
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


@pytest.mark.parametrize(
    ("dag", "conf"),
    [
        ("flights.ingest_validate", {"from": 5, "to": "2013-01-05"}),
        ("flights.ingest_validate", {"from": "January", "to": "2013-01-05"}),
        ("flights.ingest_validate", {"from": "2013-02-30", "to": "2013-03-01"}),
        ("flights.ingest_validate", {"from": "2013-01-05", "to": "2013-01-05\n"}),
        ("flights.readmit", {}),
        ("flight_delay.retrain", {}),
        ("flight_delay.retrain", {"reason": ""}),
        ("flight_delay.retrain", {"reason": "r", "as_of": 20130201}),
        ("flight_delay.retrain", {"reason": "r", "source": "drift"}),
        ("flight_delay.promote", {}),
        ("flight_delay.promote", {"version": "latest"}),
        ("flight_delay.rollback", {"to_version": 1}),
        ("flight_delay.rollback", {"to_version": 1, "reason": ""}),
        ("flight_delay.break_glass", {"version": 1}),
        ("flight_delay.break_glass", {"version": 1, "reason": ""}),
        ("flight_delay.reproduce", {"version": "latest"}),
        ("flight_delay.reproduce", {"version": 0}),
        ("flight_delay.score", {"days": "2013-02-01"}),
        ("ratchet.upkeep", {"keep_days": 0}),
    ],
)
def test_wrong_types_and_missing_values_are_refused_by_the_api(operator, dag, conf):
    with pytest.raises(StackError, match="40"):
        operator.trigger(dag, conf=conf)
    assert [run for run in operator.runs(dag) if run["conf"] == conf] == []


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


@pytest.mark.parametrize(("day", "killed"), [("2013-02-01", "task"), ("2013-02-02", "scheduler")])
def test_k5_work_whose_task_or_scheduler_was_killed_ends_in_success(operator, ratchet, stack, day, killed):
    """Killed with the rows at hand and nothing published: the task by itself, or held there while its scheduler is."""
    from ratchet.upstream import land_flights

    land_flights(ratchet.drops, day, day)
    armed = Path(stack.client["RATCHET_FAILPOINT_FILE"])
    arm(armed, "lake.datasets.before_commit", signal.SIGKILL if killed == "task" else signal.SIGSTOP)
    dag, version = "flights.ingest_validate", ratchet.lake.version("datasets/flights")
    run_id = operator.trigger(dag, conf={"from": day, "to": day})["dag_run_id"]
    until("the failpoint", lambda: not armed.exists())
    if killed == "scheduler":
        kill_scheduler(stack)
    operator.wait_for_run(dag, run_id)
    assert operator.task_instances(dag, run_id)[0]["try_number"] > 1
    assert ratchet.lake.version("datasets/flights") == version + 1
    assert [p.day for p in ratchet.ledger.partitions("flights", first=day)] == [day]


def alert_of(ratchet, dag: str, run_id: str):
    return ratchet.ledger.newest_alert(dag.partition(".")[0], f"run/{dag}/{run_id}")


def alert_lines(ratchet, run_id: str) -> list[dict]:
    """What the file of alerts tells of a run."""
    path = ratchet.settings.var / "alerts" / "alerts.jsonl"
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []
    return [line for line in lines if line["facts"].get("run") == run_id]


def test_k7_a_last_attempt_that_was_killed_leaves_an_alert_and_an_audit_entry(operator, ratchet, stack):
    """Of a day that was delivered with the flights above."""
    day, dag = "2013-02-01", "weather.ingest_validate"
    armed, kills = Path(stack.client["RATCHET_FAILPOINT_FILE"]), 0
    arm(armed, "lake.datasets.before_commit", signal.SIGKILL)
    run_id = operator.trigger(dag, conf={"from": day, "to": day})["dag_run_id"]
    while operator.run(dag, run_id)["state"] not in ("failed", "success"):
        if not armed.exists():
            kills += 1
            arm(armed, "lake.datasets.before_commit", signal.SIGKILL)
    kills += not armed.exists()
    armed.unlink(missing_ok=True)
    (task,) = operator.task_instances(dag, run_id)
    assert (task["try_number"], task["state"], kills) == (task["max_tries"] + 1, "failed", task["max_tries"] + 1)

    told = until("the alert in the file", lambda: alert_lines(ratchet, run_id))
    assert [(line["news"], line["key"]) for line in told] == [("warn", f"run/{dag}/{run_id}")]
    alert = alert_of(ratchet, dag, run_id)
    assert ratchet.ledger.events(f"alerts/weather/{alert.id}")[0].kind == "alert_raised"
    assert ratchet.ledger.verify().ok

    body = {"dry_run": False, "dag_run_id": run_id, "only_failed": True, "reset_dag_runs": True}
    operator.call("POST", f"/dags/{dag}/clearTaskInstances", body=body)
    operator.wait_for_run(dag, run_id)
    until("its end in the file", lambda: alert_lines(ratchet, run_id)[-1]["news"] == "settled")
    assert ratchet.ledger.partition("weather", day)


def test_k7_a_failed_run_that_no_callback_told_of_is_found(operator, ratchet):
    """Marked failed by hand, which calls nobody back; then marked successful."""
    dag = "planes.ingest_validate"
    run_id = next(run["dag_run_id"] for run in operator.runs(dag) if run["run_type"] == "manual")
    news = []
    for state, told in (("failed", "warn"), ("success", "settled")):
        news.append(told)
        operator.call("PATCH", f"/dags/{dag}/dagRuns/{run_id}", body={"state": state})
        operator.trigger("ratchet.dispatch")  # a minute sooner than by itself
        until(told, lambda: [line["news"] for line in alert_lines(ratchet, run_id)] == news)
    assert ratchet.ledger.verify().ok


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


def test_a_request_that_can_not_be_served_is_not_filed(operator, ratchet):
    before = ratchet.ledger.requests(MODEL)
    wrong = [
        ({"asof": "2013-02-01"}, "asof"),
        ({"as_of": "2013-06-01"}, "2013-06-01"),
        ({"as_of": "2013-01-10"}, "2013-01-10"),
    ]
    runs = [operator.trigger(f"{MODEL}.retrain", conf={"reason": "r", **conf})["dag_run_id"] for conf, _ in wrong]
    for run_id, (_, told) in zip(runs, wrong, strict=True):
        operator.wait_for_run(f"{MODEL}.retrain", run_id, until={"failed"})
        assert told in operator.task_log(f"{MODEL}.retrain", run_id, "request_retrain")
    assert ratchet.ledger.requests(MODEL) == before


def training_runs(operator, batch: str) -> list[dict]:
    return [run for run in operator.runs(f"{MODEL}.train_evaluate") if run["conf"].get("batch") == batch]


def question_of_another_run(operator, than: str | None = None) -> dict:
    """The open question about a promotion, once a run other than `than` asks it."""

    def asked() -> dict | None:
        found = operator.hitl_details(f"{MODEL}.promote", open_only=True)
        return next((one for one in found if one["task_instance"]["dag_run_id"] != than), None)

    return until("the question", asked)


def test_nothing_is_promoted_without_an_allowed_answer(operator, ratchet):
    question = question_of_another_run(operator)
    run_id, task = question["task_instance"]["dag_run_id"], question["task_instance"]["task_id"]
    with pytest.raises(StackError, match="403"):
        operator.answer(f"{MODEL}.promote", run_id, task, "Approve")
    assert ratchet.ledger.champion(MODEL) is None
    assert only_challenger(ratchet).model_digest in question["body"]


def test_neither_an_edited_xcom_nor_tasks_marked_by_hand_promote(operator, ratchet):
    """What decides is in the ledger: the run ends in an error, and dispatch has the question asked anew."""
    dag, run_id = f"{MODEL}.promote", question_of_another_run(operator)["task_instance"]["dag_run_id"]
    operator.wait_until_parked(dag, run_id, "approve_promotion")
    tasks = f"/dags/{dag}/dagRuns/{run_id}/taskInstances"
    said = {"verdict": "PROMOTE", "version": 1, "digest": "0" * 64, "answer": "Approve", "by": "approver"}
    operator.call("PATCH", f"{tasks}/judge_challenger/xcomEntries/return_value", body={"value": said})
    operator.call("PATCH", f"{tasks}/approve_promotion", body={"new_state": "success"})
    operator.wait_for_run(dag, run_id, until={"failed"})
    assert operator.xcom(dag, run_id, "judge_challenger") == said
    assert "no valid approval" in operator.task_log(dag, run_id, "promote_challenger")
    assert ratchet.ledger.champion(MODEL) is None
    assert ratchet.registry.alias_version(MODEL, "champion") is None

    operator.trigger("ratchet.dispatch")  # a minute sooner than by itself
    question_of_another_run(operator, than=run_id)
    assert [run["state"] for run in operator.runs(dag)] == ["running", "failed"]


def test_the_approver_s_answer_promotes(operator, approver, ratchet):
    (run_id,) = (run["dag_run_id"] for run in operator.runs(f"{MODEL}.promote") if run["state"] == "running")
    approver.wait_until_parked(f"{MODEL}.promote", run_id, "approve_promotion")
    approver.answer(f"{MODEL}.promote", run_id, "approve_promotion", "Approve")
    operator.wait_for_run(f"{MODEL}.promote", run_id)
    champion = ratchet.ledger.champion(MODEL)
    assert champion.version == only_challenger(ratchet).version
    assert ratchet.registry.alias_version(MODEL, "champion") == champion.version
    approval = ratchet.ledger.approval(MODEL, champion.version, ratchet.ledger.verdict(MODEL, champion.version).digest)
    assert (approval.answer, approval.responded_by, approval.run_id) == ("Approve", "approver", run_id)


def test_a_backfilled_day_is_scored_by_the_champion(operator, ratchet):
    from ratchet.upstream import land_flights

    day = "2013-02-03"
    land_flights(ratchet.drops, day, day)
    for name in ("flights", "weather"):
        backfill = operator.create_backfill(f"{name}.ingest_validate", day, f"{day}T23:59:59Z")
        operator.wait_for_backfill(f"{name}.ingest_validate", backfill["id"])
    scored = until("the scored day", lambda: ratchet.ledger.scored(MODEL, day))
    predictions = ratchet.lake.read(f"predictions/{MODEL}", day, day)
    assert len(predictions) == scored.rows == len(ratchet.lake.read("datasets/flights", day, day))
    assert set(predictions["model_version"]) == {ratchet.ledger.champion(MODEL).version}
    assert predictions["score"].between(0, 1).all()


def test_d3_a_restated_day_heals_by_readmission_and_is_scored_again_each_time(operator, ratchet):
    """A correction with two rows that the suite refuses; then the suite turns out to be wrong."""
    day, ledger = "2013-02-03", ratchet.ledger
    drop, whole = ratchet.drops.find("flights", day), ledger.partition("flights", day).rows
    with ratchet.drops.fetched(drop, 10**8) as path:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    frame.loc[:1, "distance"] = "7000.0"
    ratchet.drops.write("flights", day, frame, drop.delivered_at + timedelta(days=2), "a correction")
    operator.run_to_end("flights.ingest_validate")
    partition = ledger.partition("flights", day)
    assert (partition.revision, partition.rows, partition.quarantined) == (2, whole - 2, 2)
    until("the restated day scored again", lambda: ledger.scored(MODEL, day).rows == whole - 2)

    suite = ratchet.suite("flights")
    suite.write_text(suite.read_text().replace('"max_value": 6000', '"max_value": 8000'))
    run = operator.run_to_end("flights.readmit", conf={"reason": "some fly farther"})
    told = operator.xcom("flights.readmit", run["dag_run_id"], "readmit_partitions")
    assert told["published"] == [day]
    until("the readmitted day scored again", lambda: ledger.scored(MODEL, day).rows == whole)
    assert ledger.partition("flights", day).actor == "operator"
    marks = [m for m in ledger.stale(MODEL) if m.kind == "predictions"]
    assert [(m.actor, m.reason) for m in marks][-1] == ("operator", "some fly farther")


def test_a_check_of_days_without_outcomes_says_so_and_asks_for_nothing(operator, ratchet):
    run = operator.run_to_end(f"{MODEL}.check_drift")
    result = operator.xcom(f"{MODEL}.check_drift", run["dag_run_id"], "check_drift")
    assert result["status"] in ("checked", "not enough data")
    assert "now: roc_auc not measured: 0 rows" in result["explanation"] or "no day to" in result["explanation"]
    assert {"drift", "performance"}.isdisjoint(one.source for one in ratchet.ledger.requests(MODEL))


def test_a_rollback_to_what_never_was_champion_fails_and_moves_nothing(operator, ratchet):
    champion = ratchet.ledger.champion(MODEL)
    for conf, told in (
        ({}, "no other version"),
        ({"to_version": 7}, "version 7"),
        ({"version": 1}, "unknown parameter"),
    ):
        run = operator.trigger(f"{MODEL}.rollback", conf={"reason": "a try", **conf})
        operator.wait_for_run(f"{MODEL}.rollback", run["dag_run_id"], until={"failed"})
        assert told in operator.task_log(f"{MODEL}.rollback", run["dag_run_id"], "rollback_champion")
    assert ratchet.ledger.champion(MODEL) == champion


def test_d4_upkeep_clears_what_nobody_reads_and_nothing_else(operator, ratchet):
    """Forty days later: two days corrected since, a model was trained on one of them; and a day in two files."""
    lake, ledger, trained_on, restated = ratchet.lake, ratchet.ledger, "2013-01-10", "2013-02-03"
    redeliver(ratchet, "outcomes", trained_on, lambda frame: frame.assign(arr_delay=0.0))
    operator.run_to_end("outcomes.ingest_validate")
    check = f"{MODEL}.check_drift"
    operator.pause(check)  # the correction may have one made again, which writes to the lake meanwhile
    until("no check is running", lambda: all(run["state"] != "running" for run in operator.runs(check)))
    scatter(lake, "datasets/weather", "2013-01-20")
    age(lake, days=40)
    files, rows = files_of(lake), rows_of(lake)

    told = upkeep(operator, dry_run=True)
    assert files_of(lake) == files and told == upkeep(operator, dry_run=False)
    assert rows_of(lake) == rows
    left = files_of(lake)
    gone = {table: keys - left[table] for table, keys in files.items()}
    cleared = {table: done["cleared"] for table, done in told.items() if done["cleared"]}
    assert {table: len(keys) for table, keys in gone.items() if keys} == cleared
    assert (told["datasets/weather"]["compacted"], lake.compact("datasets/weather")) == (1, 0)

    *overtaken, _ = ledger.partition_revisions("flights")[restated]
    assert len(gone["datasets/flights"]) == len(overtaken) == 2
    with pytest.raises(UnknownNameError, match="cleared away"):
        lake.read("datasets/flights", restated, restated, version=overtaken[1].table_version)
    first, corrected = (one.table_version for one in ledger.partition_revisions("outcomes")[trained_on])
    assert lake.read("datasets/outcomes", trained_on, trained_on, version=first)["arr_delay"].any()
    assert not lake.read("datasets/outcomes", trained_on, trained_on, version=corrected)["arr_delay"].any()
    assert retaken(ratchet, only_challenger(ratchet)) == only_challenger(ratchet).snapshot


def upkeep(operator, dry_run: bool) -> dict:
    """What a live run says of each table."""
    run = operator.run_to_end("ratchet.upkeep", conf={"keep_days": 1, "dry_run": dry_run})
    return operator.xcom("ratchet.upkeep", run["dag_run_id"], "keep_up")["tables"]


def files_of(lake) -> dict[str, set[str]]:
    return {table: set(lake.data_files(table)) for table in lake.tables()}


def rows_of(lake) -> dict[str, str]:
    return {table: frame_digest(lake.read(table)) for table in lake.tables()}


def scatter(lake, table: str, day: str) -> None:
    """A row more in that day, in a file of its own, as a foreign writer adds it."""
    row = pa.Table.from_pandas(lake.read(table, day, day).head(1), preserve_index=False)
    write_deltalake(lake.path(table), row, mode="append")


def retaken(ratchet, challenger) -> str:
    """The digest of a challenger's training input, taken again from what the lake holds now."""
    windows = TrainingWindows(**{name: Window(*days) for name, days in challenger.windows.items()})
    spec = ratchet.model(MODEL)
    return take_snapshot(spec, ratchet.datasets.good, ratchet.published, challenger.as_of, windows).digest


def test_the_chain_verifies_and_no_import_error_is_left(operator, ratchet):
    report = ratchet.ledger.verify()
    assert report.ok, report.reason
    assert operator.import_errors() == []
