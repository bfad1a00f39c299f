"""A challenger scores what the champion scores, and nobody is given its scores; what that says is weighed, filed, and
promotes nothing. Killed at every point it comes by (lake.shadow.before_commit, lake.shadow.after_commit and the
ledger's), it ends as if nothing had happened."""

from __future__ import annotations

import shutil
import signal
from collections import Counter
from datetime import date
from pathlib import Path

import pytest
from field_story import AS_OF, LAST, MODEL, SERVED, SPOILED, publish, score_next, spoil_labels
from forks import Forks
from small_loop import deployment_in
from spoiled_models import flip_a_bit, stored_files

from ratchet import snapshot
from ratchet.days import days_between, shift_day
from ratchet.deployment import Deployment
from ratchet.errors import ParameterError
from ratchet.failpoints import arm
from ratchet.workflow import shadow
from ratchet.workflow.approval import approval_question
from ratchet.workflow.dispatch import list_due
from ratchet.workflow.erasure import forget_person
from ratchet.workflow.scoring import due_days, score_partitions
from ratchet.workflow.shadow import score_shadow, shadow_of
from ratchet.workflow.weighing import weigh_evidence

DAYS = days_between(shift_day(AS_OF, 1), SERVED)
POINTS = ("lake.shadow.before_commit", "lake.shadow.after_commit", "ledger.before_commit", "ledger.after_commit")


@pytest.fixture
def world(copy_of, in_the_field) -> Deployment:
    return copy_of(in_the_field)


def due(deployment: Deployment) -> list[str]:
    return [one.key for one in list_due(deployment) if one.dag_id == f"{MODEL}.shadow"]


def told(deployment: Deployment) -> Counter:
    return Counter(event.kind for event in deployment.ledger.events())


def test_it_scores_the_days_that_are_new_to_it_from_the_same_inputs_and_nobody_is_given_them(world):
    ledger, before = world.ledger, world.lake.read(f"predictions/{MODEL}")
    found = score_shadow(world, MODEL)
    assert (found["version"], found["scored"], found["failed"]) == (2, DAYS, None)
    rows = world.lake.read(f"shadow/{MODEL}")
    assert list(rows.columns) == ["id", "day", "score", "model_version", "inputs_digest"]
    record = ledger.scored_days(MODEL)
    assert {day: one.inputs_digest for day, one in ledger.shadow_days(MODEL, 2).items()} == {
        day: record[day].inputs_digest for day in DAYS
    }
    both = rows.merge(before, on=["id", "day", "inputs_digest"], suffixes=("", "_champion"), validate="one_to_one")
    assert len(both) == len(rows) == 60 * len(DAYS) and (both["score"] != both["score_champion"]).any()
    assert world.lake.read(f"predictions/{MODEL}").equals(before) and ledger.champion(MODEL).version == 1
    again = told(world), world.lake.version(f"shadow/{MODEL}")
    assert score_shadow(world, MODEL)["scored"] == []
    assert (told(world), world.lake.version(f"shadow/{MODEL}")) == again


def test_dispatch_starts_it_for_what_is_new_and_a_restated_day_waits_for_the_champion(world):
    (first,) = due(world)
    score_shadow(world, MODEL)
    weigh_evidence(world, MODEL)
    assert due(world) == []
    publish(world, [DAYS[3]], weight=0.5)
    assert score_shadow(world, MODEL)["scored"] == [], "the champion comes first"
    score_partitions(world, MODEL, [DAYS[3]])
    (second,) = due(world)
    assert second != first
    assert score_shadow(world, MODEL)["scored"] == [DAYS[3]]
    assert world.ledger.shadow_days(MODEL, 2)[DAYS[3]].revision == 2
    assert weigh_evidence(world, MODEL)["days"] == len(DAYS) and due(world) == []
    score_next(world)
    assert len(due(world)) == 1


def test_the_evidence_is_paired_by_day_filed_once_and_read_by_the_approver_and_promotes_nothing(world):
    assert weigh_evidence(world, MODEL)["state"] is None
    score_shadow(world, MODEL)
    found = weigh_evidence(world, MODEL)
    assert (found["state"], found["days"], found["rows"]) == ("better", len(DAYS), 60 * len(DAYS))
    assert found["low"] > 0 and found["since"] in DAYS
    labels = {row.id: row.heavy for row in world.lake.read("datasets/things").itertuples()}
    loss = {}
    for table in ("predictions", "shadow"):
        rows = world.lake.read(f"{table}/{MODEL}", days=DAYS)
        loss[table] = ((rows["score"] - rows["id"].map(labels)) ** 2).groupby(rows["day"]).mean().mean()
    assert found["value"] == pytest.approx(loss["predictions"] - loss["shadow"])
    before = told(world)
    assert weigh_evidence(world, MODEL) == found and told(world) == before
    body = approval_question(world, MODEL, 2)["body"]
    assert "in the field, unseen, beside version 1: surely better since" in body and found["report"] in body
    assert world.ledger.champion(MODEL).version == 1 and told(world)["champion_promoted"] == 1
    page = next(world.settings.var.rglob("evidence.html")).read_text()
    assert all(day in page for day in DAYS) and "<script" not in page and "surely better since" in page


def test_evidence_that_comes_back_to_what_it_was_takes_the_place_of_what_was_between(world):
    score_shadow(world, MODEL)
    spec, said = world.model(MODEL), []
    for alpha in (0.025, 0.1, 0.025):
        promote_if = spec.promote_if.model_copy(update={"alpha": alpha})
        world.models.good[MODEL] = spec.model_copy(update={"promote_if": promote_if})
        assert len(due(world)) == 1
        said.append(weigh_evidence(world, MODEL))
        assert due(world) == [] and weigh_evidence(world, MODEL) == said[-1]
        assert world.ledger.newest_evidence(MODEL, 2, 1).result["alpha"] == alpha
    assert said[2]["replaces"] != said[0]["replaces"] is None


def test_days_of_which_most_outcomes_are_still_to_come_are_left_out_as_at_the_gate(world, monkeypatch):
    score_shadow(world, MODEL)
    labels, early = snapshot.read_labels, DAYS[4]

    def some(*where):
        found = labels(*where)
        number = found["id"] // 1000 == date.fromisoformat(early).toordinal()
        return found[~number | (found["id"] % 1000 < 40)]

    monkeypatch.setattr(snapshot, "read_labels", some)
    found = weigh_evidence(world, MODEL)
    assert found["late_days"] == [early] and found["rows"] == 60 * (len(DAYS) - 1)


def test_rows_whose_label_can_not_be_used_are_left_out_and_the_approver_is_told_how_many(world, monkeypatch):
    spoil_labels(monkeypatch)
    score_shadow(world, MODEL)
    found, without = weigh_evidence(world, MODEL), SPOILED * len(DAYS)
    assert (found["days"], found["rows"], found["late_days"]) == (len(DAYS), (60 - SPOILED) * len(DAYS), [])
    assert found["unusable_labels"] == without and f"labels that can't be used: {without} rows" in found["says"]
    assert f"{without} rows</li>" in next(world.settings.var.rglob("evidence.html")).read_text()


def test_why_it_can_not_score_goes_on_record_whatever_its_text_holds(world, monkeypatch):
    class Odd:
        classes_ = (0, 1)

        def predict_proba(self, features):
            raise ValueError("odd category 'a\x00b\ud800'")

    monkeypatch.setattr(shadow, "load_version", lambda *_: Odd())
    assert "odd category 'a b '" in score_shadow(world, MODEL)["failed"]
    assert "odd category 'a b '" in world.ledger.shadow_failure(MODEL, 2)


def test_a_version_that_can_not_be_loaded_is_on_record_and_not_started_again_until_it_is_mended(world):
    whole = (stored_files(world, MODEL, 2) / "model.skops").read_bytes()
    flip_a_bit(world, MODEL, 2)
    found = score_shadow(world, MODEL)
    assert "not those that were registered" in found["failed"] and found["scored"] == []
    assert "not those that were registered" in world.ledger.shadow_failure(MODEL, 2)
    assert due(world) == [] and world.ledger.challenger(MODEL, 2).status == "registered"
    assert score_partitions(world, MODEL, due_days(world, world.model(MODEL)))["version"] == 1
    (stored_files(world, MODEL, 2) / "model.skops").write_bytes(whole)
    assert due(world) == []
    assert score_shadow(world, MODEL, 2)["scored"][-1] == LAST
    assert world.ledger.shadow_failure(MODEL, 2) is None and len(due(world)) == 1


def test_only_a_challenger_of_which_nothing_final_was_said_is_in_the_shadow(world):
    spec = world.model(MODEL)
    assert shadow_of(world, spec).version == 2
    off = spec.model_copy(update={"field_test": spec.field_test.model_copy(update={"shadow": False})})
    assert shadow_of(world, off) is None
    with pytest.raises(ParameterError, match="it is the champion"):
        score_shadow(world, MODEL, 1)
    verdict = world.ledger.verdict(MODEL, 2).digest
    place = {"dag_id": "d", "run_id": "r2", "task_id": "t", "try_number": 1}
    world.ledger.ask_approval(MODEL, 2, verdict, ["trainer"], *place.values(), "2099-01-01T00:00:00+00:00")
    assert shadow_of(world, spec).version == 2, "while its approval is waited for, too"
    world.ledger.record_answer(
        MODEL, 2, **place, answer="Reject", responded_by="approver", responded_by_id=None,
        responded_at="2013-03-01T00:00:00+00:00",
    )  # fmt: skip
    assert shadow_of(world, spec) is None and due(world) == []


def test_whoever_is_forgotten_is_forgotten_here_too(world):
    score_shadow(world, MODEL)
    gone = int(world.lake.read(f"shadow/{MODEL}")["id"].iloc[0])
    told = forget_person(world, "things", {"id": str(gone)}, "they asked", "operator")
    assert told["rows"][f"shadow/{MODEL}"] == 1
    for table in (f"shadow/{MODEL}", f"predictions/{MODEL}", "datasets/things"):
        assert gone not in set(world.lake.read(table)["id"]), table


@pytest.mark.matrix
def test_k1_k4_killed_anywhere_and_told_again_each_day_is_there_once(in_the_field, tmp_path):
    with Forks("field_story") as forks:
        for point in POINTS:
            root = Path(shutil.copytree(in_the_field, tmp_path / point))
            arm(root / "armed", point, signal.SIGKILL, 2)
            run = forks.start(str(root), "shadow", env={"RATCHET_FAILPOINT_FILE": str(root / "armed")})
            assert run.wait() == -signal.SIGKILL, (point, run.said)
            run = forks.start(str(root), "shadow", env={})
            assert run.wait() == 0 and "weighed better" in run.said, (point, run.said)
            deployment = deployment_in(root)
            rows = deployment.lake.read(f"shadow/{MODEL}")
            assert rows["day"].value_counts().to_dict() == dict.fromkeys(DAYS, 60), point
            assert told(deployment)["shadow_scored"] == len(DAYS) and told(deployment)["evidence_weighed"] == 1, point
            assert deployment.ledger.verify().ok and deployment.ledger.champion(MODEL).version == 1, point
