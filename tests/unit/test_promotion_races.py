"""What stands between an approval and the champion pointer: the smoke test, the second person, the newer challenger.

The small loop by library calls: S1 at promotion, S5 for broken glass, C3 and C5 for several challengers at once."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import mlflow
import pytest
from small_loop import MODEL, SMALL, WEAK, answer, ask, deployment_in, make_home, place, train
from spoiled_models import flip_a_bit, swap_files, without_mlflow

from ratchet import model_files
from ratchet.deployment import Deployment
from ratchet.errors import (
    ApprovalError,
    ConflictError,
    ModelFileError,
    OtherLibrariesError,
    ParameterError,
    RegistryError,
    UnknownNameError,
)
from ratchet.ledger.tables import challengers
from ratchet.workflow.approval import approval_question, ask_approval, basis_of, break_glass
from ratchet.workflow.dispatch import keep_house, list_due
from ratchet.workflow.promotion import judge_challenger, promote_challenger, rollback_champion, smoke_test
from ratchet.workflow.versions import load_version, models_cache

RUN = "glass run"
BACK = {"to_version": None, "actor": "operator", "reason": "alarms", "run_id": "night"}


def approve(deployment: Deployment, version: int = 1) -> None:
    judge_challenger(deployment, MODEL, version)
    ask(deployment, version)
    answer(deployment, version, "approver")


def ask_with_glass(deployment: Deployment, version: int = 1, run_id: str = RUN, **more: object) -> dict:
    return ask_approval(deployment, MODEL, version, **place(run_id), glass_run=run_id, **more)


def smoke_failures(deployment: Deployment) -> list[str]:
    return [event.payload["reason"] for event in deployment.ledger.events() if event.kind == "smoke_test_failed"]


def check_rejected(deployment: Deployment, reason: str) -> None:
    ledger = deployment.ledger
    assert ledger.champion(MODEL) is None and ledger.challenger(MODEL, 1).status == "rejected"
    assert deployment.registry.alias_version(MODEL, "champion") is None
    assert len(smoke_failures(deployment)) == 1 and reason in smoke_failures(deployment)[0]
    assert list_due(deployment) == []


# The smoke test


@pytest.fixture(scope="module")
def approved(tmp_path_factory, trained) -> Path:
    """Version 1 is judged and approved: all but promoted."""
    root = Path(shutil.copytree(trained, tmp_path_factory.mktemp("approved") / "world"))
    approve(deployment_in(root))
    return root


def test_s1_a_bit_flipped_between_approval_and_promotion_rejects_the_version_for_good(copy_of, approved):
    deployment = copy_of(approved)
    flip_a_bit(deployment, MODEL, 1)
    for _ in range(2):
        with pytest.raises(ModelFileError, match="not those that were registered"):
            promote_challenger(deployment, MODEL, 1)
        check_rejected(deployment, "not those that were registered")
    with pytest.raises(ApprovalError, match="smoke test"):
        ask(deployment, 1, run_id="a fresh run")
    check_rejected(deployment, "not those that were registered")


def test_s1_the_whole_file_of_another_version_is_rejected_at_promotion(copy_of, approved):
    deployment = copy_of(approved)
    make_home(deployment.settings.home, **SMALL, candidates=[{"name": "other", "estimator": "base_rate"}])
    deployment = deployment_in(deployment.settings.var.parent)
    assert train(deployment, "2013-01-18")["version"] == 2
    swap_files(deployment, MODEL, 1, others=2)
    with pytest.raises(ModelFileError, match="not those that were registered"):
        promote_challenger(deployment, MODEL, 1)
    assert deployment.ledger.champion(MODEL) is None and deployment.ledger.challenger(MODEL, 1).status == "rejected"


def rewrite_manifest(deployment: Deployment, change) -> None:
    """The recorded proof is another: as if the model spoke otherwise than when it was trained."""
    manifest = deployment.ledger.challenger(MODEL, 1).manifest
    with deployment.ledger._chain.write() as transaction:
        transaction.change(challengers, {"model": MODEL, "version": 1}, manifest=change(manifest))
        transaction.append("manifest_replaced", f"models/{MODEL}/versions/1", {})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda m: {**m, "proof": {**m["proof"], "scores_digest": "0" * 64}}, "does not say what it said"),
        (
            lambda m: {**m, "proof": {**m["proof"], "machine": {}, "scores_digest": "0", "scores": [[1.0]] * 200}},
            "does not say what it said",
        ),
        (lambda m: {name: value for name, value in m.items() if name != "proof"}, "no recorded scores"),
        (lambda m: {}, "no recorded scores"),
    ],
    ids=["another last bit", "other scores of another machine", "no proof", "no manifest"],
)
def test_s1_a_version_that_does_not_say_what_it_said_is_rejected_whatever_was_approved(
    copy_of, approved, change, reason
):
    deployment = copy_of(approved)
    rewrite_manifest(deployment, change)
    with pytest.raises(ModelFileError, match=reason):
        promote_challenger(deployment, MODEL, 1)
    check_rejected(deployment, reason)


def test_the_last_bit_of_another_machine_is_no_reason_to_reject(copy_of, approved):
    deployment = copy_of(approved)
    rewrite_manifest(
        deployment, lambda m: {**m, "proof": {**m["proof"], "machine": {"processor": "another"}, "scores_digest": "0"}}
    )
    assert promote_challenger(deployment, MODEL, 1)["champion"] == 1


def test_x2_an_mlflow_that_is_down_at_promotion_rejects_nothing_and_is_tried_again(copy_of, approved):
    deployment = copy_of(approved)
    before = [event.hash for event in deployment.ledger.events()]
    with pytest.raises(RegistryError) as caught:
        promote_challenger(without_mlflow(deployment), MODEL, 1)
    assert caught.value.retryable and "again" in str(caught.value)
    assert [event.hash for event in deployment.ledger.events()] == before
    assert promote_challenger(deployment_in(deployment.settings.var.parent), MODEL, 1)["champion"] == 1
    assert smoke_failures(deployment) == []


def test_other_libraries_at_promotion_reject_nothing(copy_of, approved, monkeypatch):
    deployment = copy_of(approved)
    with monkeypatch.context() as environment:
        environment.setattr(model_files, "installed", lambda name: "9.0.0")
        with pytest.raises(OtherLibrariesError, match="another version of scikit-learn"):
            promote_challenger(deployment, MODEL, 1)
    assert smoke_failures(deployment) == []
    assert promote_challenger(deployment, MODEL, 1)["champion"] == 1


def test_a_smoke_test_that_passes_changes_nothing(copy_of, approved):
    deployment = copy_of(approved)
    before = [event.hash for event in deployment.ledger.events()]
    smoke_test(deployment, deployment.ledger.challenger(MODEL, 1))
    assert [event.hash for event in deployment.ledger.events()] == before


def test_k4_a_card_that_several_file_at_once_is_on_record_once(copy_of, approved):
    deployment = copy_of(approved)

    def promote(_: int) -> dict:
        try:
            return promote_challenger(deployment, MODEL, 1)
        except RegistryError:  # MLflow's own race over a new alias: Airflow tries again
            return promote_challenger(deployment, MODEL, 1)

    with ThreadPoolExecutor(4) as pool:
        moved = list(pool.map(promote, range(4)))
    assert {one["epoch"] for one in moved} == {1}
    filed = [event.payload["digest"] for event in deployment.ledger.events() if event.kind == "card_filed"]
    assert len(filed) == 2 == len(set(filed)), "of the verdict, and of the promotion"


def test_a_card_tells_that_today_s_spec_says_otherwise_than_that_of_the_training(copy_of, approved, tmp_path):
    deployment = copy_of(approved)
    problem = {**SMALL["problem"], "intended_use": "anything at all"}
    make_home(deployment.settings.home, **{**SMALL, "candidates": WEAK, "problem": problem})
    deployment = deployment_in(deployment.settings.var.parent)
    address = promote_challenger(deployment, MODEL, 1)["card"].replace(".html", ".md")
    where = {"artifact_uri": address, "tracking_uri": deployment.registry.tracking_uri, "dst_path": str(tmp_path)}
    card = Path(mlflow.artifacts.download_artifacts(**where)).read_text().replace("\\", "")
    assert "changed in: problem" in card and "anything at all" not in card and "standby crews" in card


# The version that a rollback leads to


def test_a_rollback_to_a_version_that_can_not_serve_moves_nothing_and_names_the_way_out(copy_of, succeeded):
    deployment = copy_of(succeeded)
    before = [event.hash for event in deployment.ledger.events()]
    flip_a_bit(deployment, MODEL, 1)
    for named in (None, 1):
        with pytest.raises(ModelFileError, match="version 1 can't come back: .* not those that were registered") as why:
            rollback_champion(deployment, MODEL, **{**BACK, "to_version": named})
        assert "to_version" in str(why.value)
    assert [event.hash for event in deployment.ledger.events()] == before
    assert deployment.registry.alias_version(MODEL, "champion") == 2


def test_a_rollback_while_mlflow_is_down_takes_the_files_that_were_fetched_before(copy_of, succeeded, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    deployment = copy_of(succeeded)
    cache = models_cache(deployment)
    shutil.rmtree(cache, ignore_errors=True)
    with pytest.raises(RegistryError):
        rollback_champion(without_mlflow(deployment), MODEL, **BACK)
    assert deployment.ledger.champion(MODEL).version == 2, "nobody knows whether version 1 can serve"
    load_version(deployment, MODEL, 1)
    assert rollback_champion(without_mlflow(deployment), MODEL, **BACK) == {"champion": 1, "epoch": 3}
    deployment = deployment_in(deployment.settings.var.parent)
    assert deployment.registry.alias_version(MODEL, "champion") == 2
    keep_house(deployment)
    assert deployment.registry.alias_version(MODEL, "champion") == 1


def test_a_rollback_to_a_version_whose_snapshot_was_erased_asks_its_files_only(copy_of, succeeded):
    deployment = copy_of(succeeded)
    shutil.rmtree(
        deployment.settings.var / "lake" / "snapshots" / MODEL / deployment.ledger.challenger(MODEL, 1).snapshot
    )
    assert rollback_champion(deployment, MODEL, **BACK)["champion"] == 1


# Broken glass


def test_broken_glass_promotes_what_was_never_judged_with_a_second_person_on_record(copy_of, trained):
    deployment = copy_of(trained)
    demand = break_glass(deployment, MODEL, 1, actor="operator", reason="harm is being done", run_id=RUN)
    assert (demand["by"], demand["gate"]) == ("operator", "not judged")
    assert break_glass(deployment, MODEL, 1, actor="operator", reason="harm is being done", run_id=RUN) == demand
    question = ask_with_glass(deployment)
    assert (question["verdict"], question["passed"]) == ("BREAK GLASS", True)
    assert question["subject"].startswith("BREAK GLASS") and question["asked_by"] == ["operator", "trainer"]
    assert "harm is being done" in question["body"] and question["verdict_digest"] == demand["digest"]
    with pytest.raises(ApprovalError, match="no answer"):
        promote_challenger(deployment, MODEL, 1, glass_run=RUN)
    answer(deployment, 1, "approver", run_id=RUN)
    moved = promote_challenger(deployment, MODEL, 1, glass_run=RUN)
    champion = deployment.ledger.champion(MODEL)
    assert (moved["epoch"], champion.how, champion.actor) == (1, "break_glass", "approver")
    assert "harm is being done" in champion.reason and "operator" in champion.reason
    assert deployment.registry.alias_version(MODEL, "champion") == 1
    entries = len(deployment.ledger.events())
    assert promote_challenger(deployment, MODEL, 1, glass_run=RUN) == moved
    assert len(deployment.ledger.events()) == entries and deployment.ledger.verify().ok


@pytest.mark.parametrize("who", ["operator", "trainer", "starter"])
def test_s5_none_of_those_who_asked_can_approve_broken_glass_also_without_four_eyes(copy_of, trained, who):
    deployment = copy_of(trained)
    people = {"approvers": ["approver", "operator", "trainer", "starter"], "four_eyes": False}
    make_home(deployment.settings.home, **SMALL, approval=people)
    deployment = deployment_in(deployment.settings.var.parent)
    break_glass(deployment, MODEL, 1, actor="operator", reason="harm", run_id=RUN)
    ask_with_glass(deployment, started_by="starter")
    answer(deployment, 1, who, run_id=RUN)
    with pytest.raises(ApprovalError, match="who asked for it"):
        promote_challenger(deployment, MODEL, 1, glass_run=RUN)
    assert deployment.ledger.champion(MODEL) is None


def test_broken_glass_does_not_save_a_version_that_fails_its_smoke_test(copy_of, trained):
    deployment = copy_of(trained)
    break_glass(deployment, MODEL, 1, actor="operator", reason="harm", run_id=RUN)
    ask_with_glass(deployment)
    answer(deployment, 1, "approver", run_id=RUN)
    flip_a_bit(deployment, MODEL, 1)
    with pytest.raises(ModelFileError):
        promote_challenger(deployment, MODEL, 1, glass_run=RUN)
    check_rejected(deployment, "not those that were registered")


def test_glass_is_of_one_run_and_one_version(copy_of, trained):
    deployment = copy_of(trained)
    with pytest.raises(ApprovalError, match="has not broken the glass"):
        basis_of(deployment, MODEL, 1, "a run that never asked")
    break_glass(deployment, MODEL, 1, actor="operator", reason="harm", run_id=RUN)
    for other in ("another run", RUN + " "):
        with pytest.raises(ApprovalError, match="has not broken the glass"):
            ask_with_glass(deployment, run_id=other)
        with pytest.raises(ApprovalError, match="has not broken the glass"):
            promote_challenger(deployment, MODEL, 1, glass_run=other)
    with pytest.raises(ApprovalError, match="not been judged"):
        approval_question(deployment, MODEL, 1)
    with pytest.raises(ConflictError, match="before"):
        break_glass(deployment, MODEL, 1, actor="operator", reason="another", run_id=RUN)
    with pytest.raises(UnknownNameError, match="version 7"):
        break_glass(deployment, MODEL, 7, actor="operator", reason="harm", run_id="r7")
    with pytest.raises(ParameterError):
        break_glass(deployment, MODEL, 1, actor="operator", reason=" ", run_id="r8")
    assert deployment.ledger.champion(MODEL) is None


def test_an_approval_of_broken_glass_is_none_of_the_verdict_and_the_other_way_round(copy_of, trained):
    deployment = copy_of(trained)
    break_glass(deployment, MODEL, 1, actor="operator", reason="harm", run_id=RUN)
    ask_with_glass(deployment)
    judge_challenger(deployment, MODEL, 1)
    ask(deployment, 1)
    answer(deployment, 1, "approver")
    with pytest.raises(ApprovalError, match="no answer"):
        promote_challenger(deployment, MODEL, 1, glass_run=RUN)
    assert promote_challenger(deployment, MODEL, 1)["champion"] == 1
    assert deployment.ledger.champion(MODEL).how == "promotion"


# Several challengers at once


@pytest.fixture(scope="module")
def three(tmp_path_factory, trained) -> Path:
    """Three challengers of data ever newer (version 1 is of the oldest), each judged, nobody asked."""
    root = Path(shutil.copytree(trained, tmp_path_factory.mktemp("three") / "world"))
    deployment = deployment_in(root)
    for as_of in ("2013-01-18", "2013-01-19"):
        train(deployment, as_of)
    due = [one.conf["version"] for one in list_due(deployment) if one.dag_id == f"{MODEL}.promote"]
    assert due == [3, 2, 1], "one sweep starts a promote run for each, the newest data first"
    for version in due:
        assert judge_challenger(deployment, MODEL, version)["verdict"] == "NO_BASELINE"
    return root


def open_questions(deployment: Deployment) -> list[int]:
    ledger = deployment.ledger
    asked = [ledger.approval(MODEL, v, ledger.verdict(MODEL, v).digest) for v in (1, 2, 3)]
    return [one.version for one in asked if one and one.answer is None and one.superseded_by is None]


def ask_or_refused(deployment: Deployment, version: int) -> bool:
    try:
        ask(deployment, version)
    except ApprovalError as error:
        assert "superseded" in str(error)
        return False
    return True


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 2, 1), (2, 3, 1)])
def test_c3_c5_of_three_challengers_one_question_stays_open_about_the_newest_data(copy_of, three, order):
    deployment = copy_of(three)
    for version in order:
        ask_or_refused(deployment, version)
        assert open_questions(deployment) == [max(order[: order.index(version) + 1])]
    check_the_newest_is_left(deployment)


def test_c3_three_that_ask_at_once_leave_one_question_open(copy_of, three):
    deployment = copy_of(three)
    with ThreadPoolExecutor(3) as pool:
        asked = list(pool.map(lambda version: ask_or_refused(deployment, version), (1, 2, 3)))
    assert asked[2] and open_questions(deployment) == [3]
    check_the_newest_is_left(deployment)


def check_the_newest_is_left(deployment: Deployment) -> None:
    """The others are out, whatever is answered to them; it alone can become champion."""
    ledger = deployment.ledger
    assert [ledger.challenger(MODEL, version).status for version in (1, 2, 3)] == [
        "superseded",
        "superseded",
        "awaiting_approval",
    ]
    assert [one.version for one in ledger.challengers_to_judge(MODEL)] == [3]
    for version in (1, 2):
        if ledger.approval(MODEL, version, ledger.verdict(MODEL, version).digest):
            answer(deployment, version, "approver")
        with pytest.raises(ApprovalError):
            promote_challenger(deployment, MODEL, version)
    answer(deployment, 3, "approver")
    assert promote_challenger(deployment, MODEL, 3)["champion"] == 3
    assert [due for due in list_due(deployment) if due.dag_id == f"{MODEL}.promote"] == []
    assert ledger.verify().ok


def test_s1_what_its_smoke_test_rejected_stays_so_when_a_newer_one_takes_its_open_question(copy_of, three):
    deployment = copy_of(three)
    ask(deployment, 1)
    answer(deployment, 1, "approver")
    ask(deployment, 1, run_id="asked once more")
    deployment.ledger.reject_smoked(MODEL, 1, "scores differ")
    ask(deployment, 3)
    assert deployment.ledger.challenger(MODEL, 1).status == "rejected"
    with pytest.raises(ApprovalError, match="rejected"):
        promote_challenger(deployment, MODEL, 1)
    assert deployment.ledger.champion(MODEL) is None


def test_c3_a_question_that_nobody_answers_in_time_expires(copy_of, three):
    deployment = copy_of(three)
    ask(deployment, 3)
    question = deployment.ledger.approval(MODEL, 3, deployment.ledger.verdict(MODEL, 3).digest)
    assert deployment.ledger.expire_approvals(MODEL, datetime.now(UTC)) == []
    assert deployment.ledger.expire_approvals(MODEL, question.expires_at) == [question]
    assert deployment.ledger.challenger(MODEL, 3).status == "expired"
    with pytest.raises(ApprovalError):
        promote_challenger(deployment, MODEL, 3)
    assert approval_question(deployment, MODEL, 2)["passed"], "the next one may be asked about"


def test_c8_of_two_that_were_approved_one_is_promoted_and_the_other_is_judged_again(copy_of, three):
    deployment = copy_of(three)
    for version in (1, 2):
        ask(deployment, version)
        answer(deployment, version, "approver")
    with ThreadPoolExecutor(2) as pool:
        found = [pool.submit(promote_challenger, deployment, MODEL, version) for version in (1, 2)]
        errors = [one.exception() for one in found]
    (lost,) = [error for error in errors if error]
    assert isinstance(lost, ConflictError) and "judge" in str(lost)
    (won,) = [version for version, error in zip((1, 2), errors, strict=True) if error is None]
    assert deployment.ledger.champion(MODEL).version == won == deployment.registry.alias_version(MODEL, "champion")
    due = {one.conf["version"]: one.key for one in list_due(deployment) if one.dag_id == f"{MODEL}.promote"}
    assert due == {version: f"promote__v{version}__epoch1" for version in (1, 2, 3) if version > won}


def test_text_from_outside_can_not_make_lines_or_turn_the_reading():
    from ratchet.workflow.approval import plain

    told = plain("ok\r\rOVERRIDDEN\x0b===\u2028# big\u202eesrever")
    assert told == "ok OVERRIDDEN === \\# big esrever"
