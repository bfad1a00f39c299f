"""From one stored prediction back to drops, version, gate and persons: each fact against what was really done."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from small_loop import FIRST_AS_OF, MODEL, answer, place, redeliver

from ratchet.digests import file_digest, source_digest
from ratchet.errors import ParameterError, UnknownNameError
from ratchet.workflow import approval
from ratchet.workflow.ingestion import ingest_partitions
from ratchet.workflow.lineage import explain_prediction
from ratchet.workflow.promotion import promote_challenger, rollback_champion
from ratchet.workflow.scoring import score_partitions

DAY, DAY_BEFORE = "2013-01-20", "2013-01-19"


def a_prediction(deployment, day: str = DAY) -> dict:
    """A row of the day as it stands now, always of the same flight."""
    rows = deployment.lake.read(f"predictions/{MODEL}", day, day)
    return rows.sort_values("prediction_id").iloc[0].to_dict()


def explained(deployment, day: str = DAY) -> dict:
    told = explain_prediction(deployment, a_prediction(deployment, day)["prediction_id"])
    assert json.loads(json.dumps(told, default=str))
    return told


def file_sha256(address: str) -> str:
    return hashlib.sha256(Path(address).read_bytes()).hexdigest()


def test_the_row_and_the_scoring_that_wrote_it(copy_of, reigning):
    deployment = copy_of(reigning)
    told, row = explained(deployment), a_prediction(deployment)
    assert told["prediction"] == row and row["day"] == DAY and 0 < row["score"] < 1
    scored = deployment.ledger.scored_days(MODEL)[DAY]
    assert told["scoring"] == {"revision": 1, "recorded_at": scored.recorded_at, "rows": scored.rows}
    assert scored.rows == len(deployment.lake.read(f"predictions/{MODEL}", DAY, DAY))


def test_its_inputs_are_the_files_that_were_delivered(copy_of, reigning):
    deployment = copy_of(reigning)
    inputs = explained(deployment)["inputs"]
    days = [("flights", DAY), ("planes", "2013-01-01"), ("weather", DAY_BEFORE), ("weather", DAY)]
    assert sorted((one["dataset"], one["day"]) for one in inputs) == days
    for one in inputs:
        published = deployment.lake.read(
            f"datasets/{one['dataset']}", one["day"], one["day"], version=one["table_version"]
        )
        assert one["sha256"] == file_sha256(one["address"]) and set(published["drop_sha256"]) == {one["sha256"]}
        drop = deployment.drops.find(one["dataset"], one["day"])
        assert (one["delivered_at"], one["source"]) == (drop.delivered_at, drop.source)
        assert (one["revision"], one["published_by"]) == (1, "ratchet")


def test_its_version_is_followed_to_every_drop_it_was_trained_from(copy_of, reigning):
    deployment = copy_of(reigning)
    version, known = explained(deployment)["version"], deployment.ledger.challenger(MODEL, 1)
    assert version["version"] == a_prediction(deployment)["model_version"] == 1
    assert version["model_digest"] == a_prediction(deployment)["model_digest"]
    assert (version["identity"], version["snapshot"], version["windows"]) == (
        known.identity,
        known.snapshot,
        known.windows,
    )
    assert version["trained_as_of"] == FIRST_AS_OF
    trained_from = version["trained_from"]
    assert sorted(trained_from) == ["flights", "outcomes", "planes", "weather"]
    assert [min(trained_from["flights"]), max(trained_from["flights"])] == ["2013-01-01", "2013-01-16"]
    for dataset, days in trained_from.items():
        for day, drop in days.items():
            address = deployment.drops.find(dataset, day).address
            assert drop == {"revision": 1, "sha256": file_sha256(address)}, (dataset, day)
    built_from = version["built_from"]
    assert built_from["lock_digest"] == file_digest(deployment.settings.lock_file)
    assert built_from["source_digest"] == source_digest("ratchet", "feature_views")
    assert (built_from["candidate"], built_from["seed"]) == ("weak", deployment.model(MODEL).seed)
    assert built_from["params"] == {"max_iter": 5, "max_leaf_nodes": 3}


def test_its_gate_and_the_persons_are_those_of_the_ledger(copy_of, reigning):
    deployment = copy_of(reigning)
    told, verdict = explained(deployment), deployment.ledger.verdict(MODEL, 1)
    assert told["gate"] == {"verdict": "NO_BASELINE", "digest": verdict.digest, "checks": verdict.checks}
    assert len(verdict.checks) > 5 and all(check["passed"] for check in verdict.checks)
    answered = deployment.ledger.approval(MODEL, 1, verdict.digest)
    approved = {"by": "approver", "at": answered.responded_at, "run": "promote v1", "asked_by": ["trainer"]}
    assert {name: told["approval"][name] for name in approved} == approved
    (request,) = told["approval"]["requests"]
    assert (request["by"], request["reason"], request["source"]) == ("trainer", "a test", "person")
    champion = deployment.ledger.champion(MODEL)
    moved = {"epoch": 1, "how": "promotion", "moved_at": champion.moved_at, "actor": "approver"}
    assert told["champion"] == moved


def test_a_restated_day_explains_the_scoring_that_its_row_is_of(copy_of, reigning):
    deployment = copy_of(reigning)
    before = explained(deployment)
    redeliver(deployment, "flights", DAY, lambda frame: frame.assign(distance=frame["distance"] + 100))
    ingest_partitions(deployment, "flights", actor="operator")

    def flights(told: dict) -> dict:
        (found,) = [one for one in told["inputs"] if one["dataset"] == "flights"]
        return found

    stale = explained(deployment)  # not scored again yet: the row is what the first revision gave
    others = [one for one in before["inputs"] if one["dataset"] != "flights"]
    assert flights(stale) == {**flights(before), "address": None, "source": None}
    assert stale == {**before, "inputs": [flights(stale), *others]}
    first = deployment.lake.read("datasets/flights", DAY, DAY, version=flights(stale)["table_version"])
    assert set(first["drop_sha256"]) == {flights(before)["sha256"]}

    assert score_partitions(deployment, MODEL, [DAY])["scored"] == [DAY]
    again = explained(deployment)
    assert again["prediction"]["prediction_id"] == before["prediction"]["prediction_id"]
    assert again["scoring"]["revision"] == 2 and flights(again)["revision"] == 2
    assert flights(again)["sha256"] == file_sha256(flights(again)["address"]) != flights(before)["sha256"]
    assert (flights(again)["published_by"], flights(again)["source"]) == ("operator", "a correction")
    assert again["inputs"] == [flights(again), *others]


@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_bytes(b"other bytes")], ids=["gone", "altered"])
def test_a_file_that_is_not_what_was_delivered_has_no_address(copy_of, reigning, spoil):
    deployment = copy_of(reigning)
    weather = deployment.drops.find("weather", DAY)
    spoil(Path(weather.address))
    addresses = {(one["dataset"], one["day"]): one["address"] for one in explained(deployment)["inputs"]}
    assert addresses.pop(("weather", DAY)) is None and all(addresses.values())


def test_after_a_rollback_it_names_the_rollback_and_the_approval_from_before(copy_of, succeeded):
    deployment = copy_of(succeeded)
    assert score_partitions(deployment, MODEL, [DAY])["version"] == 2
    second = explained(deployment)
    assert (second["version"]["version"], second["champion"]["epoch"]) == (2, 2)
    assert second["gate"]["verdict"] == "PROMOTE"
    moved = {"actor": "operator", "reason": "does harm", "run_id": "run 1"}
    rollback_champion(deployment, MODEL, to_version=1, **moved)
    assert score_partitions(deployment, MODEL, [DAY])["version"] == 1
    told, verdict = explained(deployment), deployment.ledger.verdict(MODEL, 1)
    assert (told["version"]["version"], told["scoring"]["revision"]) == (1, 3)
    assert [told["champion"][name] for name in ("epoch", "how", "actor")] == [3, "rollback", "operator"]
    assert (told["gate"]["verdict"], told["gate"]["digest"]) == ("NO_BASELINE", verdict.digest)
    assert (told["approval"]["by"], told["approval"]["run"]) == ("approver", "promote v1")
    other_day = explained(deployment, DAY_BEFORE)  # scored before any of that
    assert [other_day["champion"][name] for name in ("epoch", "how")] == [1, "promotion"]


def test_after_broken_glass_it_names_who_demanded_it_and_who_agreed(copy_of, trained):
    deployment = copy_of(trained)
    demand = approval.break_glass(deployment, MODEL, 1, actor="operator", reason="the old one is down", run_id="run 9")
    ask_to = {**place("run 9"), "glass_run": "run 9"}
    approval.ask_approval(deployment, MODEL, 1, **ask_to)
    answer(deployment, 1, "approver", run_id="run 9")
    promote_challenger(deployment, MODEL, 1, glass_run="run 9")
    score_partitions(deployment, MODEL, [DAY])
    told = explained(deployment)
    said = {"verdict": "BREAK GLASS", "digest": demand["digest"], "reason": "the old one is down", "by": "operator"}
    assert told["gate"] == {**said, "gate_had_said": None}
    assert (told["champion"]["how"], told["champion"]["actor"]) == ("break_glass", "approver")
    assert (told["approval"]["by"], told["approval"]["run"]) == ("approver", "run 9")
    assert told["approval"]["asked_by"] == ["operator", "trainer"]


def test_a_prediction_that_nobody_has_heard_of_is_named(copy_of, reigning):
    deployment = copy_of(reigning)
    for unknown in (f"{MODEL}/{DAY}/0123456789abcdef", f"{MODEL}/2013-02-20/0123456789abcdef"):
        with pytest.raises(UnknownNameError, match=f"no prediction {unknown}") as caught:
            explain_prediction(deployment, unknown)
        assert "prediction_id" in caught.value.hint
    with pytest.raises(UnknownNameError, match="train_delay"):
        explain_prediction(deployment, f"train_delay/{DAY}/0123456789abcdef")


def test_a_prediction_before_anything_was_scored(copy_of, trained):
    deployment = copy_of(trained)
    with pytest.raises(UnknownNameError, match="no prediction"):
        explain_prediction(deployment, f"{MODEL}/{DAY}/0123456789abcdef")


@pytest.mark.parametrize(
    "malformed",
    [
        "",
        MODEL,
        f"{MODEL}/{DAY}",
        f"{MODEL}/{DAY}/0123456789ABCDEF",
        f"{MODEL}/{DAY}/0123456789abcde",
        f"{MODEL}/{DAY}/0123456789abcdef/1",
        f"{MODEL}/2013-02-30/0123456789abcdef",
        f"../{DAY}/0123456789abcdef/..",
        f"{MODEL}/{DAY}/0123456789abcdef\n",
    ],
)
def test_what_is_no_id_is_said_to_be_none(copy_of, taken_in, malformed):
    with pytest.raises(ParameterError) as caught:
        explain_prediction(copy_of(taken_in), malformed)
    assert str(caught.value).splitlines()[-1].startswith("  do: ")


def test_a_scoring_that_is_not_on_record_is_said(copy_of, reigning):
    """As between the publishing of a day and its record: the row is there, and nothing vouches for it yet."""
    deployment = copy_of(reigning)
    rows = deployment.lake.read(f"predictions/{MODEL}", DAY, DAY).assign(inputs_digest="0" * 64)
    facts = {"model_version": 1, "inputs_digest": "0" * 64}
    deployment.lake.publish(
        f"predictions/{MODEL}", DAY, rows, facts, read_at=deployment.lake.state(f"predictions/{MODEL}")
    )
    with pytest.raises(UnknownNameError, match="is not on record yet"):
        explained(deployment)
