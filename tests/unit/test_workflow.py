"""The whole loop by library calls, without Airflow, on a month of real flights; and what must not move it."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from small_loop import (
    FIRST,
    FIRST_AS_OF,
    MODEL,
    SECOND_AS_OF,
    answer,
    ask,
    deployment_in,
    make_home,
    place,
    promote,
    redeliver,
    train,
)

from ratchet.errors import (
    ApprovalError,
    ConflictError,
    EmptyWindowError,
    ParameterError,
    RatchetError,
    SpecError,
    UnknownNameError,
)
from ratchet.snapshot import load_snapshot
from ratchet.workflow.approval import approval_question, ask_approval
from ratchet.workflow.dispatch import keep_house
from ratchet.workflow.ingestion import ingest_partitions
from ratchet.workflow.monitoring import check_drift
from ratchet.workflow.promotion import (
    judge_challenger,
    promote_challenger,
    rollback_champion,
)
from ratchet.workflow.scoring import due_days, score_partitions
from ratchet.workflow.training import (
    high_water_mark,
    put_forward_challenger,
    request_retrain,
    take_training_snapshot,
    train_candidate,
)


def state(deployment) -> dict:
    """All that a step may change: the chain, every file of the lake, the versions and where the alias points."""
    lake = deployment.settings.var / "lake"
    return {
        "events": [event.hash for event in deployment.ledger.events()],
        "lake": sorted(str(path.relative_to(lake)) for path in lake.rglob("*") if path.is_file()),
        "versions": deployment.registry.versions(MODEL),
        "champion": deployment.ledger.champion(MODEL),
        "alias": deployment.registry.alias_version(MODEL, "champion"),
    }


@contextmanager
def refused(deployment, error: type[RatchetError], *named: str):
    """The block raises exactly `error`, which names each of `named` and ends with a hint; nothing has changed."""
    before = state(deployment)
    with pytest.raises(RatchetError) as caught:
        yield
    assert type(caught.value) is error, caught.value
    for name in named:
        assert name in str(caught.value)
    assert str(caught.value).splitlines()[-1].startswith("  do: ")
    assert state(deployment) == before


def ask_to_retrain(deployment, model: str = MODEL, **given) -> dict:
    return request_retrain(deployment, model, **{"reason": "r", "source": "api", "actor": "system", **given})


# Ingestion and training


def test_ingesting_again_changes_nothing(copy_of, taken_in):
    deployment = copy_of(taken_in)
    before = state(deployment)
    assert ingest_partitions(deployment, "flights")["status"] == "nothing new"
    again = ingest_partitions(deployment, "flights", "2013-01-10", "2013-01-12")
    assert (again["published"], len(again["unchanged"])) == ([], 3)
    assert state(deployment) == before


def test_a_training_is_the_same_again_to_the_last_id(copy_of, trained):
    """Snapshot, candidate's run and version: each is found, none is made a second time."""
    deployment = copy_of(trained)
    (known,) = deployment.ledger.challengers(MODEL)
    before = state(deployment)
    asked = ask_to_retrain(deployment, as_of=FIRST_AS_OF)
    assert asked["status"] == "merged" and f"version {known.version}" in asked["explanation"]
    snapshot = take_training_snapshot(deployment, MODEL, asked["batch"], "another run")
    run = train_candidate(deployment, MODEL, snapshot["snapshot"], "weak")
    forward = put_forward_challenger(deployment, MODEL, asked["batch"], snapshot["snapshot"])
    assert (snapshot["snapshot"], run["run_id"]) == (known.snapshot, known.mlflow_run_id)
    assert (forward["version"], forward["metrics"]) == (known.version, known.metrics)
    assert deployment.ledger.challengers(MODEL) == [known]
    after = state(deployment)
    assert len(after.pop("events")) == len(before.pop("events")) + 1  # the request itself
    assert after == before


def test_the_windows_of_a_training_are_those_of_its_data_time(copy_of, trained):
    deployment = copy_of(trained)
    (first,) = deployment.ledger.challengers(MODEL)
    wanted = {"train": [FIRST, "2013-01-06"], "validate": ["2013-01-07", "2013-01-09"]}
    assert first.windows == wanted | {"judge": ["2013-01-10", "2013-01-16"]}
    promote(deployment, 1)
    batch = ask_to_retrain(deployment)["batch"]
    second = take_training_snapshot(deployment, MODEL, batch, "run")
    assert second["as_of"] == SECOND_AS_OF == high_water_mark(deployment, deployment.model(MODEL))
    assert second["windows"]["judge"] == ["2013-01-17", "2013-01-30"]


def test_a_challenger_is_put_forward_only_from_finished_candidates(copy_of, taken_in):
    deployment = copy_of(taken_in)
    batch = ask_to_retrain(deployment, as_of=FIRST_AS_OF)["batch"]
    snapshot = take_training_snapshot(deployment, MODEL, batch, "run")["snapshot"]
    with refused(deployment, UnknownNameError, "'weak'", snapshot[:12]):
        put_forward_challenger(deployment, MODEL, batch, snapshot)
    with refused(deployment, UnknownNameError, "'strong'", "weak"):
        train_candidate(deployment, MODEL, snapshot, "strong")
    with refused(deployment, UnknownNameError, "0" * 12):
        train_candidate(deployment, MODEL, "0" * 64, "weak")
    with refused(deployment, UnknownNameError, "b999999"):
        take_training_snapshot(deployment, MODEL, "b999999", "run")


def test_c6_a_snapshot_holds_nothing_that_was_not_known_in_time(copy_of, taken_in):
    """Planted: weather of the two hours before a departure, and a correction of outcomes after the as-of day."""
    deployment = copy_of(taken_in)
    noon = pd.Timestamp("2013-01-05 12:00", tz="America/New_York")
    hot = {"change": lambda frame: frame.assign(temp=frame["temp"].mask(frame["observed_at"] == noon, 99.0))}
    redeliver(deployment, "weather", "2013-01-05", **hot, later=timedelta(hours=1))
    corrected = {
        "change": lambda frame: frame.assign(arr_delay=frame["arr_delay"].mask(frame["carrier"] == "UA", 99.0))
    }
    hour_after_as_of = timedelta(days=10, hours=2)
    redeliver(deployment, "outcomes", "2013-01-06", **corrected, later=hour_after_as_of)
    for dataset in ("weather", "outcomes"):
        assert ingest_partitions(deployment, dataset)["published"]

    batch = ask_to_retrain(deployment, as_of=FIRST_AS_OF)["batch"]
    taken = take_training_snapshot(deployment, MODEL, batch, "run")
    frame = load_snapshot(deployment.lake.storage, MODEL, taken["snapshot"]).frame
    planted = frame.loc[frame["temp"] == 99.0, "sched_dep_at"]
    assert len(planted) and planted.min() >= noon + timedelta(hours=2)
    united = frame[(frame["day"] == "2013-01-06") & (frame["carrier"] == "UA")]
    assert 0 < united["label"].mean() < 1
    assert deployment.ledger.partition("outcomes", "2013-01-06").revision == 2


@pytest.mark.parametrize(
    ("given", "error", "named"),
    [
        ({"as_of": "2013-01-10"}, EmptyWindowError, ["2013-01-10", FIRST]),
        ({"as_of": "2013-06-01"}, ParameterError, ["2013-06-01", SECOND_AS_OF]),
        ({"as_of": "0001-01-01"}, RatchetError, ["0001-01-01"]),
        ({"as_of": "2013-02-30"}, ParameterError, ["2013-02-30", "as_of"]),
        ({"as_of": "2013-01-17\n"}, ParameterError, ["as_of"]),
        ({"model": "flight_deIay"}, UnknownNameError, ["flight_deIay", MODEL]),
        ({"reason": " "}, ParameterError, ["reason"]),
    ],
)
def test_a_request_that_can_not_be_served_is_not_filed(copy_of, taken_in, given, error, named):
    deployment = copy_of(taken_in)
    before = state(deployment)
    with pytest.raises(error) as caught:
        ask_to_retrain(deployment, **given)
    assert all(name in str(caught.value) for name in named)
    assert "  do: " in str(caught.value)
    assert state(deployment) == before and deployment.ledger.requests(MODEL) == []


def test_without_any_outcome_there_is_nothing_to_ask_for(tmp_path):
    make_home(tmp_path / "home")
    deployment = deployment_in(tmp_path)
    with refused(deployment, EmptyWindowError, MODEL, "outcomes"):
        ask_to_retrain(deployment)


def test_unknown_names_are_named_at_every_step(copy_of, taken_in):
    deployment = copy_of(taken_in)
    steps = [
        lambda: ingest_partitions(deployment, "volcanoes"),
        lambda: take_training_snapshot(deployment, "volcanoes", "b000001", "run"),
        lambda: train_candidate(deployment, "volcanoes", "0" * 64, "weak"),
        lambda: put_forward_challenger(deployment, "volcanoes", "b000001", "0" * 64),
        lambda: judge_challenger(deployment, "volcanoes", 1),
        lambda: promote_challenger(deployment, "volcanoes", 1),
        lambda: rollback_champion(deployment, "volcanoes", to_version=1, actor="a", reason="r", run_id="r"),
        lambda: score_partitions(deployment, "volcanoes", [FIRST]),
        lambda: check_drift(deployment, "volcanoes"),
    ]
    for step in steps:
        with refused(deployment, UnknownNameError, "volcanoes"):
            step()


def test_a_model_whose_spec_is_wrong_says_so(copy_of, taken_in):
    deployment = copy_of(taken_in)
    path = deployment.settings.model_specs / f"{MODEL}.yaml"
    path.write_text(path.read_text("utf-8") + "\nsurprise: 1\n", "utf-8")
    with refused(deployment, SpecError, MODEL, "surprise"):
        ask_to_retrain(deployment)


def test_a_missing_drop_stops_the_range_before_anything_is_written(copy_of, taken_in):
    deployment = copy_of(taken_in)
    with pytest.raises(RatchetError, match="2013-01-31"):
        ingest_partitions(deployment, "flights", "2013-01-30", "2013-01-31")
    with pytest.raises(ParameterError, match="backwards"):
        ingest_partitions(deployment, "flights", "2013-01-30", "2013-01-29")
    assert deployment.ledger.high_water("flights") == "2013-01-30"


# The gate, the answer, the promotion


def test_a_promotion_moves_ledger_and_alias_once(copy_of, trained):
    deployment = copy_of(trained)
    verdict = judge_challenger(deployment, MODEL, 1)
    assert verdict["verdict"] == "NO_BASELINE", verdict["checks"]
    assert judge_challenger(deployment, MODEL, 1) == verdict
    question = ask(deployment, 1)
    assert question["verdict_digest"] == verdict["digest"] and question["asked_by"] == ["trainer"]
    model_digest = deployment.ledger.challenger(MODEL, 1).model_digest
    assert all(fact in question["body"] for fact in (model_digest, verdict["digest"], FIRST_AS_OF, "a test"))
    assert answer(deployment, 1, "approver") == {"answer": "Approve", "by": "approver"}
    moved = promote_challenger(deployment, MODEL, 1)
    assert (moved["champion"], moved["epoch"]) == (1, 1)
    champion = deployment.ledger.champion(MODEL)
    assert (champion.version, champion.actor) == (1, "approver")
    assert deployment.registry.alias_version(MODEL, "champion") == 1
    before = state(deployment)
    assert promote_challenger(deployment, MODEL, 1) == moved
    assert state(deployment) == before


def test_no_promotion_without_a_verdict(copy_of, trained):
    deployment = copy_of(trained)
    with refused(deployment, ApprovalError, MODEL, "version 1"):
        promote_challenger(deployment, MODEL, 1)
    with refused(deployment, ApprovalError, MODEL, "version 1"):
        ask(deployment, 1)


def test_no_promotion_without_an_answer(copy_of, trained):
    deployment = copy_of(trained)
    judge_challenger(deployment, MODEL, 1)
    with refused(deployment, ApprovalError, "version 1", "no answer"):
        promote_challenger(deployment, MODEL, 1)
    ask(deployment, 1)
    with refused(deployment, ApprovalError, "version 1", "no answer"):
        promote_challenger(deployment, MODEL, 1)


@pytest.mark.parametrize(
    ("by", "say", "told"),
    [("stranger", "Approve", "no answer"), ("Approver", "Approve", "no answer"), ("approver", "Reject", "Reject")],
)
def test_no_promotion_by_an_answer_that_does_not_count(copy_of, trained, by, say, told):
    deployment = copy_of(trained)
    judge_challenger(deployment, MODEL, 1)
    ask(deployment, 1)
    with nullcontext() if by == "approver" else pytest.raises(ApprovalError, match=f"{by} is no approver"):
        answer(deployment, 1, by, say)
    with refused(deployment, ApprovalError, "version 1", told):
        promote_challenger(deployment, MODEL, 1)


def test_who_asked_for_the_training_can_not_approve_it(copy_of, taken_in):
    deployment = copy_of(taken_in)
    version = train(deployment, FIRST_AS_OF, actor="approver")["version"]
    judge_challenger(deployment, MODEL, version)
    ask(deployment, version)
    answer(deployment, version, "approver")
    with refused(deployment, ApprovalError, "approver, who asked for it"):
        promote_challenger(deployment, MODEL, version)


def test_no_one_of_several_who_asked_can_approve_it(copy_of, taken_in):
    """The approver's own request came second, merged into another's."""
    deployment = copy_of(taken_in)
    for actor in ("check_drift", "approver"):
        request_retrain(deployment, MODEL, reason="r", source="api", actor=actor, as_of=FIRST_AS_OF)
    version = train(deployment, FIRST_AS_OF)["version"]
    judge_challenger(deployment, MODEL, version)
    assert ask(deployment, version)["asked_by"] == ["approver", "check_drift", "trainer"]
    answer(deployment, version, "approver")
    with refused(deployment, ApprovalError, "approver, who asked for it"):
        promote_challenger(deployment, MODEL, version)


def test_who_started_the_promote_run_can_not_answer_it(copy_of, trained):
    deployment = copy_of(trained)
    judge_challenger(deployment, MODEL, 1)
    ask_approval(deployment, MODEL, 1, **place("promote v1"), started_by="approver")
    answer(deployment, 1, "approver")
    with refused(deployment, ApprovalError, "approver, who asked for it"):
        promote_challenger(deployment, MODEL, 1)


def test_nobody_is_no_approver_and_other_words_are_no_answer(copy_of, trained):
    deployment = copy_of(trained)
    judge_challenger(deployment, MODEL, 1)
    ask(deployment, 1)
    for nobody in (None, "", " "):
        with refused(deployment, ApprovalError, "nobody answered"):
            answer(deployment, 1, nobody)
    with refused(deployment, ParameterError, "Approved"):
        answer(deployment, 1, "approver", "Approved")
    with refused(deployment, ApprovalError, "version 1"):
        answer(deployment, 1, "approver", run_id="a run that never asked")


def test_a_question_is_asked_once_by_a_run(copy_of, trained):
    from ratchet.workflow.approval import ask_approval

    deployment = copy_of(trained)
    judge_challenger(deployment, MODEL, 1)
    ask(deployment, 1)
    with refused(deployment, ApprovalError, "try 2"):
        ask_approval(deployment, MODEL, 1, **{**place("promote v1"), "try_number": 2})


@pytest.mark.parametrize("version", [2, 0, -1])
def test_a_version_that_is_not_there_is_named(copy_of, trained, version):
    deployment = copy_of(trained)
    for step in (judge_challenger, approval_question, promote_challenger):
        with refused(deployment, UnknownNameError, MODEL, f"version {version}"):
            step(deployment, MODEL, version)


def test_text_from_outside_can_not_dress_up_the_question(copy_of, taken_in):
    deployment = copy_of(taken_in)
    version = train(deployment, FIRST_AS_OF, reason="fine](http://x) | **PROMOTE**\n\n# Approved")["version"]
    judge_challenger(deployment, MODEL, version)
    body = approval_question(deployment, MODEL, version)["body"]
    assert "fine\\]\\(http://x\\) \\| \\*\\*PROMOTE\\*\\* \\# Approved" in body


# Scoring


def test_scoring_again_changes_nothing(copy_of, reigning):
    deployment = copy_of(reigning)
    spec, before = deployment.model(MODEL), state(deployment)
    assert due_days(deployment, spec) == []
    again = score_partitions(deployment, MODEL, ["2013-01-20", "2013-01-21"])
    assert again == {"version": 1, "scored": [], "unchanged": 2, "rows": 0}
    assert state(deployment) == before
    scored = deployment.ledger.scored_days(MODEL)
    assert (min(scored), max(scored)) == (FIRST_AS_OF, "2013-01-30")
    predictions = deployment.lake.read(f"predictions/{MODEL}")
    assert len(predictions) == sum(day.rows for day in scored.values())
    assert set(predictions["model_version"]) == {1} and predictions["score"].between(0, 1).all()


def test_scoring_needs_a_champion_and_a_partition(copy_of, trained, reigning):
    deployment = copy_of(trained)
    assert due_days(deployment, deployment.model(MODEL)) == []
    with refused(deployment, UnknownNameError, MODEL, "no champion"):
        score_partitions(deployment, MODEL, ["2013-01-20"])
    deployment = deployment_in(reigning)
    with refused(deployment, UnknownNameError, "flights", "2013-02-01"):
        score_partitions(deployment, MODEL, ["2013-01-20", "2013-02-01"])
    with refused(deployment, ParameterError, "2013-01-20\\n"):
        score_partitions(deployment, MODEL, ["2013-01-20\n"])


def test_the_alias_is_put_back_to_what_the_ledger_says(copy_of, reigning):
    deployment = copy_of(reigning)
    deployment.registry.delete_alias(MODEL, "champion")
    score_partitions(deployment, MODEL, ["2013-01-20"])
    assert deployment.registry.alias_version(MODEL, "champion") == 1


def test_a_champion_that_was_deleted_in_mlflow_stops_no_sweep(copy_of, reigning):
    """Its alias went with it. What is due, of this model and of others, is started all the same."""
    deployment = copy_of(reigning)
    deployment.registry._client.delete_model_version(MODEL, "1")
    keep_house(deployment)
    assert deployment.registry.alias_version(MODEL, "champion") is None
    assert deployment.ledger.champion(MODEL).version == 1


def test_an_alias_without_a_champion_counts_for_nothing(copy_of, trained):
    deployment = copy_of(trained)
    deployment.registry.set_alias(MODEL, "champion", 1)
    with pytest.raises(UnknownNameError, match="no champion"):
        score_partitions(deployment, MODEL, ["2013-01-20"])
    assert deployment.registry.alias_version(MODEL, "champion") is None


# Drift


def test_a_drift_check_is_made_once_and_its_requests_are_filed(copy_of, reigning):
    deployment = copy_of(reigning)
    first = check_drift(deployment, MODEL)
    assert first["status"] == "checked" and first["findings"]["usual"] > 20
    assert first["window"] == [FIRST_AS_OF, "2013-01-30"]
    assert len(first["requests"]) == len(first["ask_retrain"])
    history = deployment.lake.read(f"drift/{MODEL}")
    keys = set(history["area"] + "/" + history["name"])
    assert keys >= {"inputs/temp", "inputs/carrier", "predictions/score", "performance/all"}
    before = state(deployment)
    again = check_drift(deployment, MODEL)
    assert (again["status"], again["report"], again["alerts"]) == ("unchanged", first["report"], first["alerts"])
    assert state(deployment) == before
    assert len(deployment.ledger.checks(MODEL)) == 1


def test_drift_without_champion_or_data_is_an_answer(copy_of, trained, reigning):
    assert check_drift(copy_of(trained), MODEL)["status"] == "no champion"
    early = check_drift(deployment_in(reigning), MODEL, as_of="2013-01-16")
    assert early["status"] == "not enough data" and "no day to 2013-01-16" in early["explanation"]


def test_a_new_champion_is_not_blamed_for_the_old_one_s_predictions(copy_of, succeeded):
    deployment = copy_of(succeeded)
    answer_now = check_drift(deployment, MODEL)
    assert answer_now["status"] == "not enough data" and "version 2" in answer_now["explanation"]
    score_partitions(deployment, MODEL, [day for day in deployment.ledger.scored_days(MODEL) if day < "2013-01-28"])
    checked = check_drift(deployment, MODEL)
    assert (checked["status"], checked["version"]) == ("checked", 2)
    mixed = deployment.lake.read(f"predictions/{MODEL}")
    assert set(mixed["model_version"]) == {1, 2}
    rows = (mixed["model_version"] == 2).sum()
    assert checked["performance"] is None or checked["performance"]["rows"] <= rows


@pytest.mark.parametrize(
    ("as_of", "error", "told"),
    [("2050-01-01", ParameterError, "2013-01-31"), ("1999-01-01", EmptyWindowError, "to 1999-01-01")],
)
def test_a_drift_check_of_a_day_without_data_is_refused(copy_of, reigning, as_of, error, told):
    deployment = copy_of(reigning)
    with refused(deployment, error, told):
        check_drift(deployment, MODEL, as_of=as_of)


def test_a_killed_ingestion_is_mended_by_the_next_nightly_run(copy_of, taken_in):
    """Died between the lake's commit and the ledger's record: the run that takes what is new must find it."""
    deployment = copy_of(taken_in)
    ledger = deployment.settings.ledger_url.removeprefix("sqlite:///")
    for path in Path(ledger).parent.glob("ledger.db*"):
        path.unlink()
    deployment.settings.ledger_head_file.unlink()
    version = deployment.lake.version("datasets/weather")
    fresh = deployment_in(deployment.settings.var.parent)
    assert fresh.ledger.partitions("weather") == []
    report = ingest_partitions(fresh, "weather")
    assert report["published"] == [] and len(report["unchanged"]) == len(fresh.ledger.partitions("weather")) > 0
    assert fresh.lake.version("datasets/weather") == version
    assert ingest_partitions(fresh, "weather")["status"] == "nothing new" and not report["published"]


# A second champion, and back


def test_a_better_challenger_succeeds_by_a_paired_test(copy_of, succeeded):
    deployment = copy_of(succeeded)
    verdict = deployment.ledger.verdict(MODEL, 2)
    better = next(check for check in verdict.checks if check["name"] == "better_than_champion")
    assert better["passed"] and better["interval"][0] > 0 and verdict.champion_version == 1
    assert [move.version for move in deployment.ledger.champion_history(MODEL)] == [1, 2]
    assert deployment.registry.alias_version(MODEL, "champion") == 2


def test_a_rollback_moves_once_a_run_and_back_again(copy_of, succeeded):
    deployment = copy_of(succeeded)
    back = {"to_version": None, "actor": "operator", "reason": "alarms at night"}
    assert rollback_champion(deployment, MODEL, **back, run_id="r1") == {"champion": 1, "epoch": 3}
    assert deployment.registry.alias_version(MODEL, "champion") == 1
    before = state(deployment)
    assert rollback_champion(deployment, MODEL, **back, run_id="r1") == {"champion": 1, "epoch": 3}
    assert state(deployment) == before
    with refused(deployment, ApprovalError, "to_version"):  # the version withdrawn does not come back by default
        rollback_champion(deployment, MODEL, **back, run_id="r2")
    forth = {**back, "to_version": 2}
    assert rollback_champion(deployment, MODEL, **forth, run_id="r3") == {"champion": 2, "epoch": 4}
    move = deployment.ledger.champion(MODEL)
    assert (move.how, move.actor) == ("rollback", "operator") and "alarms at night" in move.reason
    assert deployment.registry.alias_version(MODEL, "champion") == 2
    assert deployment.ledger.verify().ok


def test_c8_a_rollback_that_was_asked_for_before_the_champion_moved_moves_nothing(copy_of, succeeded):
    """Pressed twice, or overtaken by a rollback by itself: the second was meant for a champion that is gone."""
    deployment = copy_of(succeeded)
    asked_at = datetime.now(UTC)
    back = {"to_version": None, "actor": "operator", "reason": "alarms", "asked_at": asked_at}
    assert rollback_champion(deployment, MODEL, **back, run_id="r1")["champion"] == 1
    assert rollback_champion(deployment, MODEL, **back, run_id="r1")["champion"] == 1
    with refused(deployment, ConflictError, "moved since"):
        rollback_champion(deployment, MODEL, **back, run_id="r2")
    assert rollback_champion(deployment, MODEL, **{**back, "to_version": 2}, run_id="r3")["champion"] == 2


def test_only_a_former_champion_can_come_back(copy_of, reigning, succeeded):
    back = {"actor": "operator", "reason": "r", "run_id": "r"}
    deployment = copy_of(reigning)
    with refused(deployment, ApprovalError, "no other version", MODEL):
        rollback_champion(deployment, MODEL, to_version=None, **back)
    with refused(deployment, UnknownNameError, "version 7"):
        rollback_champion(deployment, MODEL, to_version=7, **back)
    with refused(deployment, ParameterError, "reason"):
        rollback_champion(deployment, MODEL, to_version=None, actor="operator", reason=" ", run_id="r")
    train(deployment, SECOND_AS_OF)
    with refused(deployment, ApprovalError, "version 2", "never was champion"):
        rollback_champion(deployment, MODEL, to_version=2, **back)


def test_a_rollback_without_a_champion_says_so(copy_of, trained):
    deployment = copy_of(trained)
    with refused(deployment, UnknownNameError, "no champion"):
        rollback_champion(deployment, MODEL, to_version=None, actor="operator", reason="r", run_id="r")


def test_an_approval_from_before_the_champion_moved_promotes_nothing(copy_of, succeeded):
    deployment = copy_of(succeeded)
    rollback_champion(deployment, MODEL, to_version=1, actor="operator", reason="r", run_id="r")
    with refused(deployment, ConflictError, MODEL, "has moved"):
        promote_challenger(deployment, MODEL, 2)


def test_a_challenger_of_older_data_than_the_champion_s_is_superseded(copy_of, succeeded):
    deployment = copy_of(succeeded)
    version = train(deployment, "2013-01-25")["version"]
    verdict = judge_challenger(deployment, MODEL, version)
    assert verdict["verdict"] == "REJECT"
    assert "superseded" in next(c["reason"] for c in verdict["checks"] if c["name"] == "not_superseded")
    with refused(deployment, ApprovalError, f"version {version}", "REJECT"):
        ask(deployment, version)


def test_a_late_answer_does_not_count(copy_of, trained):
    deployment = copy_of(trained)
    judge_challenger(deployment, MODEL, 1)
    ask(deployment, 1)
    answer(deployment, 1, "approver", at=datetime.now(UTC) + timedelta(hours=73))
    assert deployment.ledger.challenger(MODEL, 1).status == "expired"
    with refused(deployment, ApprovalError, "version 1"):
        promote_challenger(deployment, MODEL, 1)
