"""The same ways round the approval under FAB, Airflow's other auth manager, which knows users by numbers.

There Airflow itself lets every user answer; who counts is for the ledger to say. One story, in order.
"""

from __future__ import annotations

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
    until,
)
from small_loop import MODEL, SMALL, WEAK

from local_stack.errors import StackError

pytestmark = pytest.mark.matrix

SPEC = {**SMALL, "candidates": WEAK}
VARIABLES = {
    "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "True",
    "AIRFLOW__CORE__AUTH_MANAGER": "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager",
}
PROMOTE = f"{MODEL}.promote"
MORE_DAGS = {"self_answering.py": SELF_ANSWERING}


@pytest.fixture(scope="module", autouse=True)
def version(stack, ratchet) -> int:
    """A challenger; nobody is champion, and dispatch is paused."""
    (made,) = train_versions(ratchet, "2013-01-17", "2013-01-17")
    with stack.api("admin") as admin:
        admin.wait_for_dags([f"{MODEL}.self_answering"])
        for kind in ("promote", "break_glass", "self_answering"):
            admin.unpause(f"{MODEL}.{kind}")
    return made


def test_s5_marked_by_hand_nothing_is_promoted_and_a_cleared_question_is_not_asked_again(
    operator, approver, ratchet, version, unmoved, tmp_path
):
    run_id = ask_in_airflow(operator, version)
    forge_xcom_and_connections(operator, run_id, tmp_path / "ledger.db")
    mark_success(operator, run_id)
    assert "no valid approval" in refusal(operator, run_id)
    assert not (tmp_path / "ledger.db").exists()
    clear(operator, run_id)
    assert "an approval is asked once" in refusal(operator, run_id, task=ASKS)
    approver.answer(PROMOTE, run_id, ASKS, "Approve")
    verdict = ratchet.ledger.verdict(MODEL, version)
    assert ratchet.ledger.approval(MODEL, version, verdict.digest).answer is None


def test_s5_a_task_that_answers_itself_is_nobody(operator, version, unmoved):
    run_id = operator.trigger(f"{MODEL}.self_answering", conf={"version": version})["dag_run_id"]
    assert "nobody answered" in refusal(operator, run_id, "self_answering", task=ASKS)


@pytest.mark.parametrize("kind", ["promote", "break_glass", "rollback"])
def test_c4_a_backfill_of_what_moves_the_champion_is_refused(operator, kind, unmoved):
    with pytest.raises(StackError, match="400"):
        operator.create_backfill(f"{MODEL}.{kind}", "2013-01-01", "2013-01-03", conf={"version": 1, "reason": "r"})


def test_s5_who_breaks_the_glass_can_not_approve_it(approver, version, unmoved):
    run_id = ask_in_airflow(approver, version, "break_glass", reason="I want it")
    assert "who asked for it" in answered_and_refused(approver, run_id, "break_glass")


def test_s5_a_stranger_s_answer_ends_nothing_and_the_approver_is_asked_anew(
    stack, operator, approver, service, ratchet, version
):
    """Airflow takes the wrong person's Reject. It is on record and ends nothing; dispatch has a fresh run ask."""
    run_id = ask_in_airflow(operator, version)
    service.answer(PROMOTE, run_id, ASKS, "Reject")
    assert "service is no approver" in refusal(operator, run_id, task=ASKS)
    with pytest.raises(StackError, match="409"):
        approver.answer(PROMOTE, run_id, ASKS, "Approve")
    assert ratchet.ledger.champion(MODEL) is None
    assert ratchet.ledger.events()[-1].kind == "approval_disregarded"

    with stack.api("admin") as admin:
        admin.unpause("ratchet.dispatch")
    fresh = until("the question asked anew", lambda: parked_run(operator))
    approver.wait_until_parked(PROMOTE, fresh, ASKS)
    approver.answer(PROMOTE, fresh, ASKS, "Approve")
    operator.wait_for_run(PROMOTE, fresh)
    champion = ratchet.ledger.champion(MODEL)
    assert (champion.version, champion.actor) == (version, "approver")
    assert ratchet.registry.alias_version(MODEL, "champion") == version
    verdict = ratchet.ledger.verdict(MODEL, version)
    approval = ratchet.ledger.approval(MODEL, version, verdict.digest)
    assert (approval.run_id, approval.responded_by) == (fresh, "approver")
    assert approval.responded_by_id.isdigit(), "FAB knows users by numbers"
    assert ratchet.ledger.verify().ok


def parked_run(operator) -> str | None:
    """The run that waits for an answer; questions of runs that are over stay open in Airflow, too."""
    tasks = [one["task_instance"] for one in operator.hitl_details(PROMOTE, open_only=True)]
    return next((task["dag_run_id"] for task in tasks if task["state"] == "awaiting_input"), None)
