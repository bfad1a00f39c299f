"""Operators are envelopes: the loop once through them on real data, their links, and what they make of errors."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from airflow.providers.standard.exceptions import HITLTimeoutError
from airflow.sdk import DAG
from airflow.sdk.api.datamodels._generated import DagRun
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException, DownstreamTasksSkipped
from small_loop import FIRST_AS_OF, MODEL, ask, place, promote

from ratchet import errors
from ratchet.errors import ApprovalError, LedgerError, RatchetError
from ratchet.workflow.approval import LEDGER_WAITS, record_answer
from ratchet.workflow.dispatch import list_due
from ratchet.workflow.promotion import judge_challenger
from ratchet.workflow.training import request_retrain
from ratchet_airflow import operators
from ratchet_airflow.links import LINKS, DataDocsLink, DriftReportLink, EvidenceLink, MlflowLink, RequestLink
from ratchet_airflow.operators import (
    ApprovePromotionOperator,
    CheckCanaryOperator,
    CheckDriftOperator,
    IngestPartitionsOperator,
    JudgeChallengerOperator,
    ListDueOperator,
    PromoteChallengerOperator,
    PutForwardChallengerOperator,
    RequestRetrainOperator,
    RollbackChampionOperator,
    ScorePartitionsOperator,
    ScoreShadowOperator,
    SetCanaryOperator,
    TakeTrainingSnapshotOperator,
    TrainCandidateOperator,
    WeighEvidenceOperator,
)
from ratchet_airflow.operators.step import StepOperator

NOW = datetime(2013, 2, 1, tzinfo=UTC)


class TaskInstance(SimpleNamespace):
    """The few facts of a task instance that operators read; what they push is kept."""

    def xcom_push(self, key, value):
        self.pushed = {key: value}


def context(params: dict, *, conf: dict | None = None, run_type: str = "manual", user: str | None = "operator") -> dict:
    dag_run = DagRun(
        dag_id=f"{MODEL}.promote", run_id="promote v1", run_type=run_type, state="running", run_after=datetime.now(UTC),
        logical_date=NOW, data_interval_start=NOW, data_interval_end=NOW, start_date=NOW, end_date=None,
        partition_key=None, consumed_asset_events=[], triggering_user_name=user, conf=conf,
    )  # fmt: skip
    place = {"dag_id": dag_run.dag_id, "run_id": "promote v1", "task_id": "approve_promotion"}
    ti = TaskInstance(**place, try_number=1, map_index=-1)
    return {
        "params": {**params, **(conf or {})},  # as Airflow merges them
        "dag": DAG(dag_id=dag_run.dag_id, schedule=None, params=params),
        "dag_run": dag_run,
        "ti": ti,
        "data_interval_start": dag_run.data_interval_start,
    }


def run(kind, params: dict, *, given: dict | None = None, **of_run):
    operator = kind(task_id="task", **(given or {"model": MODEL}))
    result = operator.execute(context(params, **of_run))
    assert json.loads(json.dumps(result, allow_nan=False)) is not None
    return operator, result


def link_of(operator, link) -> str:
    assert any(isinstance(one, link) for one in operator.operator_extra_links)
    return link().get_link(operator, ti_key=None)


def test_the_loop_through_its_operators(copy_of, as_environment, taken_in):
    """Every result is a small JSON value, and links lead to what the step made."""
    deployment = as_environment(copy_of(taken_in))
    asked = {"reason": "r", "as_of": FIRST_AS_OF, "key": None, "source": "api"}
    retrain, request = run(RequestRetrainOperator, asked)
    assert link_of(retrain, RequestLink).endswith(f"/ratchet/models/{MODEL}/requests/{request['request']}")
    assert deployment.ledger.request(request["request"]).actor == "operator"
    batch = {"batch": request["batch"], "as_of": None}
    _, snapshot = run(TakeTrainingSnapshotOperator, batch)
    assert deployment.ledger.batch(request["batch"]).snapshot == snapshot["snapshot"]
    fit, fitted = run(TrainCandidateOperator, batch, given={"model": MODEL, "candidate": "weak"})
    assert fitted["run_id"] in link_of(fit, MlflowLink)
    forward, challenger = run(PutForwardChallengerOperator, batch)
    assert link_of(forward, MlflowLink) == challenger["url"] and challenger["version"] == 1
    version = {"version": 1}
    assert run(JudgeChallengerOperator, version)[1]["verdict"] == "NO_BASELINE"
    promote(deployment, 1)
    moved, champion = run(PromoteChallengerOperator, version)
    assert champion["champion"] == 1 and link_of(moved, MlflowLink) == champion["url"]
    due = {"days": None, "from": None, "to": None}
    _, scored = run(ScorePartitionsOperator, due)
    assert (scored["scored"][0], len(scored["scored"])) == (FIRST_AS_OF, 14)
    drift, check = run(CheckDriftOperator, {"as_of": None})
    assert check["status"] == "checked" and link_of(drift, DriftReportLink) == check["report"] != ""
    results = [request, snapshot, fitted, challenger, champion, scored]
    assert max(len(json.dumps(result)) for result in results) < 2000


def test_every_link_of_an_operator_is_registered_with_the_plugin():
    used = {type(link) for name in operators.__all__ for link in getattr(operators, name).operator_extra_links}
    assert used >= set(LINKS)
    assert {link for link in used if link.__module__.startswith("ratchet")} == set(LINKS)


def test_a_step_without_a_result_has_no_link(as_environment, copy_of, taken_in):
    as_environment(copy_of(taken_in))
    never = IngestPartitionsOperator(task_id="task", dataset="flights")
    assert link_of(never, DataDocsLink) == ""
    idle, result = run(IngestPartitionsOperator, {"from": None, "to": None}, given={"dataset": "flights"})
    assert result["status"] == "nothing new" and link_of(idle, DataDocsLink) == ""


def test_a_backfill_speaks_for_the_local_day_of_its_interval(as_environment, copy_of, taken_in):
    as_environment(copy_of(taken_in))
    given = {"given": {"dataset": "flights"}, "run_type": "backfill"}  # 1 February in UTC, 31 January in New York
    with pytest.raises(AirflowFailException, match="2013-01-31"):
        run(IngestPartitionsOperator, {"from": None, "to": None}, **given)


def test_days_to_score_are_those_asked_for(as_environment, copy_of, reigning):
    as_environment(copy_of(reigning))
    days = {"days": ["2013-01-20"], "from": None, "to": None}
    assert run(ScorePartitionsOperator, days)[1]["unchanged"] == 1
    span = {"days": None, "from": "2013-01-20", "to": "2013-01-22"}
    assert run(ScorePartitionsOperator, span)[1]["unchanged"] == 3
    with pytest.raises(AirflowFailException, match="from and to go together"):
        run(ScorePartitionsOperator, {**span, "to": None})
    with pytest.raises(AirflowFailException, match="2013-01-31"):
        run(ScorePartitionsOperator, {"days": None, "from": None, "to": None}, run_type="backfill")


def test_the_same_run_or_key_asks_once_and_the_calendar_asks_in_its_own_name(as_environment, copy_of, taken_in):
    deployment = as_environment(copy_of(taken_in))
    asked = {"reason": "r", "as_of": FIRST_AS_OF, "key": None, "source": "person"}
    assert run(RequestRetrainOperator, asked)[1] == run(RequestRetrainOperator, asked)[1]
    run(RequestRetrainOperator, {**asked, "key": "ticket-7"}, run_type="scheduled", user=None)
    asked |= {"key": "ticket-8", "reason": "label rules changed", "source": "api"}
    run(RequestRetrainOperator, asked, run_type="operator_triggered", user=None)
    by_run, by_calendar, by_dag = deployment.ledger.requests(MODEL)
    of_run = f"{MODEL}.retrain/promote v1"
    assert (by_run.source, by_run.actor, by_run.idempotency_key) == ("person", "operator", of_run)
    assert (by_calendar.source, by_calendar.actor, by_calendar.idempotency_key) == ("cron", "scheduled", "key/ticket-7")
    assert (by_dag.source, by_dag.reason) == ("api", "label rules changed")


def test_a_training_started_by_hand_is_on_record_too(as_environment, copy_of, taken_in):
    deployment = as_environment(copy_of(taken_in))
    asked = {"batch": None, "as_of": FIRST_AS_OF, "source": "person"}
    _, result = run(TakeTrainingSnapshotOperator, asked, user="somebody")
    (request,) = deployment.ledger.requests(MODEL)
    assert (request.source, request.actor, request.batch_id) == ("person", "somebody", result["batch"])


@pytest.mark.parametrize(("source", "run_type"), [("api", "manual"), ("person", "operator_triggered")])
def test_a_training_that_no_person_started_is_held_back_as_any_request(
    as_environment, copy_of, taken_in, source, run_type
):
    """What another DAG starts has the name of who started that."""
    deployment = as_environment(copy_of(taken_in))
    first = request_retrain(deployment, MODEL, reason="r", source="api", actor="a", as_of=FIRST_AS_OF)
    asked = {"batch": None, "as_of": None, "source": source}  # the newest data: within the cool-down
    with pytest.raises(AirflowSkipException, match="suppressed: a training as of 2013-01-17 is on record"):
        run(TakeTrainingSnapshotOperator, asked, run_type=run_type)
    assert [one.source for one in deployment.ledger.requests(MODEL)] == ["api", "api"]
    assert deployment.ledger.batch(first["batch"]).status == "open"


def test_an_unknown_key_changes_nothing(as_environment, copy_of, taken_in):
    deployment = as_environment(copy_of(taken_in))
    asked = {"reason": "r", "as_of": FIRST_AS_OF, "key": None, "source": "api"}
    with pytest.raises(AirflowFailException, match="asof"):
        run(RequestRetrainOperator, asked, conf={"asof": FIRST_AS_OF})
    assert deployment.ledger.requests(MODEL) == []


class Raising(StepOperator):
    def __init__(self, *, error: Exception, **kwargs) -> None:
        super().__init__(**kwargs)
        self.error = error

    def step(self, deployment, params, context):
        raise self.error


FAMILY = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, RatchetError)]


@pytest.mark.parametrize("kind", FAMILY)
def test_only_an_error_that_may_pass_is_tried_again(kind):
    error = kind("the thing", seen=1, hint="mend it")
    with pytest.raises(Exception) as caught:
        run(Raising, {}, given={"error": error})
    if kind.retryable:
        assert caught.value is error
    else:
        assert type(caught.value) is AirflowFailException and str(caught.value) == str(error)


def test_an_error_that_nobody_foresaw_is_tried_again():
    with pytest.raises(ZeroDivisionError):
        run(Raising, {}, given={"error": ZeroDivisionError()})


# The approval


def approval() -> ApprovePromotionOperator:
    with DAG(dag_id="some_promote", schedule=None):
        approve = ApprovePromotionOperator(task_id="approve_promotion", model=MODEL)
        approve >> PromoteChallengerOperator(task_id="promote_challenger", model=MODEL)
    return approve


def answered(event: dict) -> dict:
    """What the task makes of an event of its trigger."""
    task = approval()
    return task.execute_complete({**context({"version": 1}), "task": task}, event)


def response(answer: str, user: str | None = "approver") -> dict:
    who = {"id": user, "name": user} if user else None
    return {"chosen_options": [answer], "params_input": {}, "responded_at": datetime.now(UTC), "responded_by_user": who}


@pytest.fixture
def asked(as_environment, copy_of, trained):
    """Version 1 waits for an answer."""
    deployment = as_environment(copy_of(trained))
    judge_challenger(deployment, MODEL, 1)
    ask(deployment, 1)
    return deployment


def test_an_approve_is_on_record_with_who_gave_it(asked):
    result = answered(response("Approve"))
    assert json.loads(json.dumps(result)) == {"answer": "Approve", "by": "approver"}
    run(PromoteChallengerOperator, {"version": 1})
    assert asked.ledger.champion(MODEL).actor == "approver"


def test_a_reject_is_on_record_and_skips_the_promotion(asked):
    with pytest.raises(DownstreamTasksSkipped):
        answered(response("Reject"))
    known = asked.ledger.approval(MODEL, 1, asked.ledger.verdict(MODEL, 1).digest)
    assert (known.answer, known.responded_by) == ("Reject", "approver")
    assert asked.ledger.challenger(MODEL, 1).status == "refused"
    with pytest.raises(AirflowFailException, match="Reject by approver"):
        run(PromoteChallengerOperator, {"version": 1})


@pytest.mark.parametrize("answer", ["Approve", "Reject"])
def test_s5_an_answer_of_one_who_may_not_fails_the_task_and_dispatch_asks_anew(asked, answer):
    """Where Airflow lets every user answer: neither a promotion nor a refusal comes of it."""
    with pytest.raises(ApprovalError, match="service is no approver"):
        answered(response(answer, "service"))
    assert asked.ledger.challenger(MODEL, 1).status == "awaiting_approval"
    assert [due.conf for due in list_due(asked) if due.dag_id == f"{MODEL}.promote"] == [{"version": 1}]
    ask(asked, 1, run_id="a fresh run")
    last = asked.ledger.events(limit=3)
    assert [one.kind for one in last] == ["approval_disregarded", "approval_superseded", "approval_asked"]
    with pytest.raises(AirflowFailException, match="no answer"):
        run(PromoteChallengerOperator, {"version": 1})


def answer_while_away(deployment, back_after: int | None) -> list[float]:
    """The approver's answer comes while the database is gone; it is back after so many waits. Returns the waits."""
    database, waits = deployment.settings.var / "ledger" / "ledger.db", []
    away = database.rename(database.with_suffix(".away"))

    def wait(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == back_after:
            os.replace(away, database)

    said = {"answer": "Approve", "responded_by": "approver", "responded_by_id": "3", "responded_at": datetime.now(UTC)}
    try:
        record_answer(deployment, MODEL, 1, wait=wait, **place("promote v1"), **said)
    finally:
        if away.exists():
            os.replace(away, database)
    return waits


def test_an_answer_waits_for_a_ledger_that_is_away_and_is_given_once(asked):
    assert answer_while_away(asked, back_after=3) == [1, 2, 4]
    run(PromoteChallengerOperator, {"version": 1})
    assert [one.kind for one in asked.ledger.events()].count("approval_answered") == 1 and asked.ledger.verify().ok


def test_an_answer_does_not_wait_for_ever(asked):
    with pytest.raises(LedgerError, match="ledger"):
        answer_while_away(asked, back_after=None)
    assert sum(LEDGER_WAITS) == 300
    assert asked.ledger.challenger(MODEL, 1).status == "awaiting_approval"


@pytest.mark.parametrize("user", [None, ""])
def test_an_answer_of_nobody_is_none(asked, user):
    with pytest.raises(RatchetError, match="nobody answered"):
        answered(response("Approve", user))
    assert asked.ledger.challenger(MODEL, 1).status == "awaiting_approval"


def test_an_answer_that_was_not_offered_is_none(asked):
    with pytest.raises(ValueError, match="Promote"):
        answered(response("Promote"))
    assert asked.ledger.challenger(MODEL, 1).status == "awaiting_approval"


def test_a_question_without_an_answer_in_time_fails(asked):
    event = {"error": "no response", "error_type": "timeout"}
    with pytest.raises(HITLTimeoutError):
        answered(event)
    assert asked.ledger.champion(MODEL) is None


def test_what_is_no_promote_is_not_asked_about(as_environment, copy_of, reigning):
    deployment = as_environment(copy_of(reigning))
    judge_challenger(deployment, MODEL, 1)  # the champion against itself
    with pytest.raises(AirflowSkipException, match="version 1: HOLD"):
        approval().execute(context({"version": 1}))


def test_a_rollback_is_in_the_name_of_who_started_the_run(as_environment, copy_of, succeeded):
    deployment = as_environment(copy_of(succeeded))
    _, result = run(RollbackChampionOperator, {"reason": "alarms", "to_version": None}, user="operator")
    assert result == {"champion": 1, "epoch": 3}
    assert deployment.ledger.champion(MODEL).actor == "operator"


def test_what_is_due_is_handed_on_as_runs_to_start(as_environment, copy_of, trained):
    as_environment(copy_of(trained))
    started = set()

    def count(dag_id, run_ids=None, states=("running",)):
        return sum(run_id in started for run_id in run_ids) if "running" in states else 0

    due = context({})
    due["ti"].get_dr_count = count
    (first,) = ListDueOperator(task_id="task").execute(due)
    assert first["trigger_dag_id"] == f"{MODEL}.promote" and json.loads(json.dumps(first)) == first
    started.add(first["trigger_run_id"])
    assert ListDueOperator(task_id="task").execute(due) == []


def test_the_field_through_its_operators_and_a_canary_in_the_name_of_who_started_the_run(
    copy_of, as_environment, in_the_field
):
    deployment, of = as_environment(copy_of(in_the_field)), {"model": "things_model"}
    wanted = {"version": 2, "share": 0.3, "reason": "is it safe?", "stop": False}
    for user in ("operator", None):
        with pytest.raises(AirflowFailException, match="was not started"):
            run(SetCanaryOperator, wanted, given=of, user=user)
    again = context(wanted, user="approver")
    again["ti"].try_number = 2
    with pytest.raises(AirflowFailException, match="asked for once"):
        SetCanaryOperator(task_id="task", **of).execute(again)
    _, started = run(SetCanaryOperator, wanted, given=of, user="approver")
    assert SetCanaryOperator(task_id="task", **of).execute(again) == started, "its own try after a crash"
    assert deployment.ledger.routing("things_model", started["canary"]).actor == "approver"
    assert run(ScoreShadowOperator, {"version": None}, given=of)[1]["version"] == 2
    weigh, found = run(WeighEvidenceOperator, {"version": None}, given=of)
    assert found["state"] == "better" and link_of(weigh, EvidenceLink) == found["report"]
    nothing = {"canary": started["canary"], "days": 0, "unusable_labels": 0, "harm": None}
    assert run(CheckCanaryOperator, {}, given=of)[1] == nothing
    assert run(SetCanaryOperator, {**wanted, "stop": True}, given=of, user="operator")[1]["ended"] == "stopped"
