"""Ways round the approval, each tried on a live Airflow by accounts that may do all that Airflow lets them.

The tests of this file tell one story and run in order. Dispatch is paused: every run here was started by somebody.
"""

from __future__ import annotations

import httpx
import pytest
from live_loop import (
    ASKS,
    SELF_ANSWERING,
    answered_and_refused,
    ask_in_airflow,
    clear,
    forge_xcom_and_connections,
    mark_success,
    refusal,
    train_versions,
)
from small_loop import MODEL, SMALL, WEAK

from local_stack.errors import StackError

SPEC = {**SMALL, "candidates": WEAK}
VARIABLES = {"AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "True"}
PROMOTE = f"{MODEL}.promote"
MORE_DAGS = {"self_answering.py": SELF_ANSWERING}


@pytest.fixture(scope="module", autouse=True)
def versions(stack, ratchet) -> list[int]:
    """Three challengers, each of a day more; nobody is champion."""
    made = train_versions(ratchet, "2013-01-19", "2013-01-17", "2013-01-18", "2013-01-19")
    with stack.api("admin") as admin:
        admin.wait_for_dags([f"{MODEL}.self_answering"])
        for kind in ("promote", "break_glass", "reproduce", "self_answering"):
            admin.unpause(f"{MODEL}.{kind}")
    return made


@pytest.fixture(scope="module")
def first_run(operator, versions) -> str:
    return ask_in_airflow(operator, versions[0])


@pytest.fixture(scope="module")
def two_runs(operator, versions) -> list[str]:
    """A question about the first version, and one about the second, which takes its place."""
    return [ask_in_airflow(operator, version) for version in versions[:2]]


def test_s4_our_routes_are_those_of_one_app_which_reads_and_refuses_the_anonymous(stack):
    """Enumerated from the running API server (whatever kind of route a plugin can mount) and from the app itself."""
    from ratchet_airflow.api import app
    from ratchet_airflow.links import LINKS

    with stack.api("admin") as admin:
        ours = next(one for one in admin.get_all("/plugins", "plugins") if one["name"] == "ratchet")
    assert [(one["name"], one["url_prefix"]) for one in ours["fastapi_apps"]] == [("ratchet", "/ratchet")]
    others = ("fastapi_root_middlewares", "external_views", "react_apps", "flask_blueprints")
    others += ("appbuilder_views", "appbuilder_menu_items")
    assert {kind: ours[kind] for kind in others} == {kind: [] for kind in others}
    assert len(ours["operator_extra_links"]) == len(LINKS)

    paths = [route.path.format(model=MODEL, id="r000001") for route in app.routes]
    assert {method for route in app.routes for method in route.methods} == {"GET"} and len(paths) == 2
    forged = {"Authorization": "Bearer forged"}
    with httpx.Client(base_url=f"{stack.airflow_url}/ratchet", trust_env=False) as nobody:
        assert [nobody.get(path).status_code for path in paths] == [401, 401]
        assert [nobody.get(path, headers=forged).status_code for path in paths] == [403, 403]
        changes = [nobody.request(method, path) for path in paths for method in ("POST", "PUT", "PATCH", "DELETE")]
        assert {reply.status_code for reply in changes} == {405}
        hidden = [nobody.get(path) for path in ("/docs", "/redoc", "/openapi.json")]
        assert {reply.status_code for reply in hidden} == {404}


def test_s4_the_anonymous_can_neither_read_ask_nor_answer(stack, first_run, unmoved):
    question = f"/dags/{PROMOTE}/dagRuns/{first_run}/taskInstances/{ASKS}/-1/hitlDetails"
    tried = [
        ("GET", question, None),
        ("PATCH", question, {"chosen_options": ["Approve"], "params_input": {}}),
        ("POST", f"/dags/{PROMOTE}/dagRuns", {"logical_date": None, "conf": {"version": 1}}),
        ("POST", f"/dags/{MODEL}.rollback/dagRuns", {"logical_date": None, "conf": {"reason": "r"}}),
        ("POST", f"/dags/{PROMOTE}/clearTaskInstances", {"dry_run": False, "dag_run_id": first_run}),
        ("GET", "/plugins", None),
    ]
    with httpx.Client(base_url=f"{stack.airflow_url}/api/v2", trust_env=False) as nobody:
        replies = {(method, path): nobody.request(method, path, json=body) for method, path, body in tried}
    assert {reply.status_code for reply in replies.values()} == {401}, replies


def test_s5_an_answer_of_one_who_may_not_is_refused(operator, service, first_run, unmoved):
    for who in (operator, service):
        with pytest.raises(StackError, match="403"):
            who.answer(PROMOTE, first_run, ASKS, "Approve")


def test_s5_a_task_marked_successful_with_edited_xcom_and_connections_promotes_nothing(
    operator, first_run, unmoved, tmp_path
):
    forge_xcom_and_connections(operator, first_run, tmp_path / "ledger.db")
    mark_success(operator, first_run)
    assert "no valid approval" in refusal(operator, first_run)
    assert not (tmp_path / "ledger.db").exists()


def test_s5_a_stale_page_of_a_run_that_is_over_answers_nothing(
    operator, approver, ratchet, versions, first_run, unmoved
):
    """The page was open when the run failed; Airflow takes the answer, nothing wakes up, and the ledger has none."""
    approver.answer(PROMOTE, first_run, ASKS, "Approve")
    clear(operator, first_run, task="promote_challenger")
    assert "no valid approval" in refusal(operator, first_run)
    verdict = ratchet.ledger.verdict(MODEL, versions[0])
    assert ratchet.ledger.approval(MODEL, versions[0], verdict.digest).answer is None


def test_s5_a_cleared_question_is_not_asked_again_and_its_stale_page_answers_nothing(
    operator, approver, ratchet, versions, unmoved
):
    """Airflow leaves the first question open; an answer to it is no answer, also when the task is cleared once more."""
    run_id = ask_in_airflow(operator, versions[0])
    clear(operator, run_id)
    assert "an approval is asked once" in refusal(operator, run_id, task=ASKS)
    approver.answer(PROMOTE, run_id, ASKS, "Approve")
    clear(operator, run_id)
    assert "an approval is asked once" in refusal(operator, run_id, task=ASKS)
    assert ratchet.ledger.approval(MODEL, versions[0], ratchet.ledger.verdict(MODEL, versions[0]).digest).answer is None


def test_s5_who_asked_can_not_approve(approver, versions, unmoved):
    run_id = ask_in_airflow(approver, versions[0])
    assert "who asked for it" in answered_and_refused(approver, run_id)


def test_s5_a_task_that_answers_itself_is_nobody(operator, versions, unmoved):
    run_id = operator.trigger(f"{MODEL}.self_answering", conf={"version": versions[0]})["dag_run_id"]
    assert "nobody answered" in refusal(operator, run_id, "self_answering", task=ASKS)


def test_s5_the_second_answer_is_refused(operator, approver, ratchet, versions, unmoved):
    run_id = ask_in_airflow(operator, versions[2])
    approver.answer(PROMOTE, run_id, ASKS, "Reject")
    with pytest.raises(StackError, match="409"):
        approver.answer(PROMOTE, run_id, ASKS, "Approve")
    operator.wait_for_run(PROMOTE, run_id)
    assert operator.task_states(PROMOTE, run_id)["promote_challenger"] == "skipped"
    (refused,) = [one for one in ratchet.ledger.challengers(MODEL) if one.version == versions[2]]
    assert refused.status == "refused"


@pytest.mark.parametrize("kind", ["promote", "break_glass", "rollback"])
def test_c4_a_backfill_of_what_moves_the_champion_is_refused(operator, kind, unmoved):
    with pytest.raises(StackError, match="400"):
        operator.create_backfill(f"{MODEL}.{kind}", "2013-01-01", "2013-01-03", conf={"version": 1, "reason": "r"})
    assert operator.runs(f"{MODEL}.{kind}", run_type="backfill") == []


def test_c3_an_answer_to_a_superseded_question_promotes_nothing(approver, two_runs, unmoved):
    assert "took the place of" in answered_and_refused(approver, two_runs[0])


def test_the_approver_sees_what_he_decides_and_his_answer_promotes(operator, approver, ratchet, versions, two_runs):
    run_id = two_runs[1]
    (question,) = operator.hitl_details(PROMOTE, run_id)
    verdict = ratchet.ledger.verdict(MODEL, versions[1])
    card = ratchet.ledger.card_url(MODEL, versions[1])
    for told in (verdict.digest, ratchet.ledger.challenger(MODEL, versions[1]).model_digest, "| check |", card):
        assert told in question["body"]
    links = operator.get(f"/dags/{PROMOTE}/dagRuns/{run_id}/taskInstances/judge_challenger/links")
    assert card in links["extra_links"].values()
    approver.answer(PROMOTE, run_id, ASKS, "Approve")
    operator.wait_for_run(PROMOTE, run_id)
    assert ratchet.ledger.champion(MODEL).version == versions[1]
    assert ratchet.registry.alias_version(MODEL, "champion") == versions[1]


def test_what_the_gate_refuses_is_not_asked_about(operator, ratchet, versions, unmoved):
    run_id = operator.trigger(PROMOTE, conf={"version": versions[0]})["dag_run_id"]
    operator.wait_for_run(PROMOTE, run_id)
    assert operator.task_states(PROMOTE, run_id)[ASKS] == "skipped"
    assert ratchet.ledger.verdict(MODEL, versions[0]).verdict in ("HOLD", "REJECT")


def test_s5_who_breaks_the_glass_can_not_approve_it(approver, versions, unmoved):
    run_id = ask_in_airflow(approver, versions[0], "break_glass", reason="I want it")
    assert "who asked for it" in answered_and_refused(approver, run_id, "break_glass")


def test_s5_broken_glass_marked_successful_promotes_nothing(operator, versions, unmoved):
    run_id = ask_in_airflow(operator, versions[0], "break_glass", reason="in a hurry")
    mark_success(operator, run_id, "break_glass")
    assert "no valid approval" in refusal(operator, run_id, "break_glass")


def test_broken_glass_promotes_by_a_second_person_and_is_loud_in_the_audit(operator, approver, ratchet, versions):
    reason = "the champion harms, and nothing else can serve"
    run_id = ask_in_airflow(operator, versions[0], "break_glass", reason=reason)
    (question,) = approver.hitl_details(f"{MODEL}.break_glass", run_id)
    assert question["subject"].startswith("BREAK GLASS") and reason in question["body"]
    approver.answer(f"{MODEL}.break_glass", run_id, ASKS, "Approve")
    operator.wait_for_run(f"{MODEL}.break_glass", run_id)
    champion = ratchet.ledger.champion(MODEL)
    assert (champion.version, champion.how, champion.actor) == (versions[0], "break_glass", "approver")
    assert ratchet.registry.alias_version(MODEL, "champion") == versions[0]
    events = {event.kind: event for event in ratchet.ledger.events(subject=f"models/{MODEL}")}
    assert events["glass_broken"].actor == "operator"
    assert reason in events["champion_forced"].payload["reason"]


def test_the_champion_is_built_again_and_proven(operator, ratchet, versions):
    run = operator.run_to_end(f"{MODEL}.reproduce", conf={"version": versions[0]})
    told = operator.xcom(f"{MODEL}.reproduce", run["dag_run_id"], "reproduce_version")
    assert told["proven"] and told["rebuilt"]["to_the_last_bit"]
    assert ratchet.ledger.verify().ok
