"""A champion whose first day can't be right publishes nothing and goes back by itself; what isn't its fault is not held
against it. The models are real ones, spoiled after training in ways that a smoke test on known rows would not show."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from small_loop import MODEL, deployment_in, place, redeliver
from spoiled_models import flip_a_bit, swap_files, without_mlflow

from ratchet.deployment import Deployment
from ratchet.errors import FirstScoringError, ParameterError, RegistryError
from ratchet.workflow.dispatch import list_due
from ratchet.workflow.ingestion import ingest_partitions
from ratchet.workflow.probation import Probation
from ratchet.workflow.promotion import load_version, rollback_champion
from ratchet.workflow.scoring import due_days, score_partitions

NEW = "2013-01-20"  # delivered again, so that it is due
PROBLEMS = {
    "constant": "same score",
    "nan": "have no score",
    "out_of_range": "its range in evaluation",
    "raises": "IndexError",
}


def spoiled(estimator, how: str):
    """The fitted pipeline, which now says what no one should publish, or nothing at all."""
    boosting = estimator[-1]
    if how == "constant":
        boosting._predictors = []
    elif how == "nan":
        boosting._baseline_prediction = boosting._baseline_prediction * np.nan
    elif how == "out_of_range":
        boosting._baseline_prediction = boosting._baseline_prediction + 4
    elif how == "raises":
        encoder = estimator[0].named_transformers_["categorical"]
        encoder.categories_ = encoder.categories_[:-1]
    return estimator


def make_champion(deployment: Deployment, how: str = "sound") -> int:
    """A version made of version 1's estimator, `how` spoiled, becomes champion: by the ledger's own rules, and past the
    smoke test."""
    ledger, registry, first = deployment.ledger, deployment.registry, deployment.ledger.challenger(MODEL, 1)
    number, champion = len(ledger.challengers(MODEL)) + 1, ledger.champion(MODEL)
    estimator = spoiled(load_version(deployment, MODEL, 1), how)
    run = registry.log_candidate(MODEL, f"made {number}", name=how, params={}, metrics={}, tags={}, estimator=estimator)
    version = registry.register(MODEL, run.run_id, f"made {number}", run.model_digest, {})
    as_of, digest, now = f"2013-02-{version:02}", f"{version:064}", datetime.now(UTC)
    ledger.register_challenger(
        MODEL, f"made {number}", version, run.run_id, first.snapshot, as_of, first.windows, first.metrics, None,
        run.model_digest, first.manifest,
    )  # fmt: skip
    epoch, reigning = (champion.epoch, champion.version) if champion else (0, None)
    ledger.record_verdict(MODEL, version, epoch, reigning, "PROMOTE", [], digest)
    asked = place(f"promote v{version}")
    ledger.ask_approval(MODEL, version, digest, ["trainer"], *asked.values(), now + timedelta(hours=1))
    ledger.record_answer(
        MODEL, version, **asked, answer="Approve", responded_by="approver", responded_by_id=None, responded_at=now
    )
    ledger.promote(MODEL, version, epoch, ["approver"], four_eyes=True, now=now)
    return version


def deliver_again(deployment: Deployment, day: str = NEW) -> list[str]:
    """That day's flights, some fewer; returns the days to score."""
    redeliver(deployment, "flights", day, lambda frame: frame.iloc[:-5])
    ingest_partitions(deployment, "flights")
    return due_days(deployment, deployment.model(MODEL))


def published(deployment: Deployment) -> dict:
    return {day: (one.version, one.table_version) for day, one in deployment.ledger.scored_days(MODEL).items()}


def kinds(deployment: Deployment, *wanted: str) -> list[tuple]:
    return [(event.kind, event.payload.get("version")) for event in deployment.ledger.events() if event.kind in wanted]


@pytest.mark.parametrize("how", PROBLEMS)
def test_a_champion_whose_first_day_can_not_be_right_goes_back_and_the_one_that_served_scores_it(
    copy_of, reigning, how
):
    deployment = copy_of(reigning)
    days = deliver_again(deployment)
    assert NEW in days
    before, version = published(deployment), make_champion(deployment, how)
    with pytest.raises(FirstScoringError, match="version 1 is champion again") as caught:
        score_partitions(deployment, MODEL, days)
    assert PROBLEMS[how] in str(caught.value)
    assert published(deployment) == before
    assert set(deployment.lake.read(f"predictions/{MODEL}")["model_version"]) == {1}
    champion = deployment.ledger.champion(MODEL)
    assert (champion.version, champion.epoch, champion.how, champion.actor) == (1, 3, "rollback", "ratchet")
    assert "first scoring failed" in champion.reason and PROBLEMS[how] in champion.reason
    assert deployment.registry.alias_version(MODEL, "champion") == 1
    assert kinds(deployment, "first_scoring_failed", "champion_rolled_back") == [
        ("first_scoring_failed", version),
        ("champion_rolled_back", 1),
    ]
    assert [due.conf for due in list_due(deployment) if due.dag_id == f"{MODEL}.score"] == [{"days": days}]
    assert score_partitions(deployment, MODEL, days)["version"] == 1
    assert due_days(deployment, deployment.model(MODEL)) == [] and deployment.ledger.verify().ok


@pytest.mark.parametrize("change", ["bit", "files"])
def test_s1_a_file_changed_after_its_promotion_publishes_nothing_and_goes_back(copy_of, reigning, change):
    deployment = copy_of(reigning)
    days, before, version = deliver_again(deployment), published(deployment), make_champion(deployment)
    if change == "bit":
        flip_a_bit(deployment, MODEL, version)
    else:
        swap_files(deployment, MODEL, version, others=1)
    with pytest.raises(FirstScoringError, match="not those that were registered"):
        score_partitions(deployment, MODEL, days)
    assert published(deployment) == before and deployment.ledger.champion(MODEL).version == 1
    assert score_partitions(deployment, MODEL, days)["version"] == 1


def test_a_sound_champion_is_looked_at_on_one_day_only(copy_of, reigning):
    deployment = copy_of(reigning)
    version = make_champion(deployment)
    first, second = deliver_again(deployment), ["2013-01-22", "2013-01-23"]
    assert score_partitions(deployment, MODEL, first)["version"] == version
    assert score_partitions(deployment, MODEL, second)["version"] == version
    assert kinds(deployment, "first_scoring_passed") == [("first_scoring_passed", 1), ("first_scoring_passed", version)]
    assert not Probation(deployment, deployment.model(MODEL), deployment.ledger.champion(MODEL)).on


def test_the_first_champion_of_all_fails_loud_and_moves_nothing(copy_of, trained):
    deployment = copy_of(trained)
    version = make_champion(deployment, "constant")
    days = due_days(deployment, deployment.model(MODEL))
    for _ in range(2):
        with pytest.raises(FirstScoringError, match="no version has served before it") as caught:
            score_partitions(deployment, MODEL, days or [NEW])
        assert "do: " in str(caught.value)
    assert deployment.ledger.champion(MODEL).version == version and published(deployment) == {}
    assert kinds(deployment, "first_scoring_failed", "champion_rolled_back") == [("first_scoring_failed", version)]
    assert deployment.lake.version(f"predictions/{MODEL}") is None


def test_it_goes_back_past_a_version_that_never_served(copy_of, reigning):
    """Two came one after the other: the one between has a passed gate and an approval, and nobody has seen it score."""
    deployment = copy_of(reigning)
    never_served, version = make_champion(deployment), make_champion(deployment, "constant")
    assert (never_served, version) == (2, 3)
    with pytest.raises(FirstScoringError, match="version 1 is champion again"):
        score_partitions(deployment, MODEL, [NEW])
    assert [move.version for move in deployment.ledger.champion_history(MODEL)] == [1, 2, 3, 1]


def test_a_version_that_has_served_is_not_on_probation_again_after_a_rollback(copy_of, reigning):
    """Its known days come out as they did, and its faults of today are told and not voted on."""
    deployment = copy_of(reigning)
    make_champion(deployment)
    rollback_champion(deployment, MODEL, to_version=1, actor="operator", reason="alarms", run_id="night")
    flip_a_bit(deployment, MODEL, 1)
    with pytest.raises(Exception, match="not those that were registered") as caught:
        score_partitions(deployment, MODEL, deliver_again(deployment))
    assert not isinstance(caught.value, FirstScoringError)
    assert [move.version for move in deployment.ledger.champion_history(MODEL)] == [1, 2, 1]
    assert kinds(deployment, "first_scoring_failed") == []


def test_a_version_that_never_served_is_on_probation_also_after_a_rollback_to_it(copy_of, reigning):
    deployment = copy_of(reigning)
    never_served, _ = make_champion(deployment, "constant"), make_champion(deployment)
    rollback_champion(deployment, MODEL, to_version=never_served, actor="operator", reason="alarms", run_id="night")
    with pytest.raises(FirstScoringError, match="version 1 is champion again"):
        score_partitions(deployment, MODEL, [NEW])
    assert published(deployment) == published(deployment_in(reigning))


def test_an_mlflow_that_is_down_is_not_held_against_the_champion(copy_of, reigning):
    deployment = copy_of(reigning)
    make_champion(deployment)
    before = published(deployment)
    with pytest.raises(RegistryError) as caught:
        score_partitions(without_mlflow(deployment), MODEL, [NEW])
    assert caught.value.retryable
    with pytest.raises(RegistryError):  # it went away after the alias was looked at
        Probation(without_mlflow(deployment), deployment.model(MODEL), deployment.ledger.champion(MODEL)).load()
    assert (deployment.ledger.champion(MODEL).version, published(deployment)) == (2, before)
    assert kinds(deployment, "first_scoring_failed") == []
    assert score_partitions(deployment_in(deployment.settings.var.parent), MODEL, [NEW])["version"] == 2


class Starved:
    """An estimator on a machine that has nothing left."""

    classes_ = (0, 1)

    def __init__(self, error: Exception) -> None:
        self.error = error

    def predict_proba(self, inputs: pd.DataFrame) -> np.ndarray:
        raise self.error


@pytest.mark.parametrize("error", [MemoryError(), OSError("too many open files")])
def test_a_starved_machine_and_missing_features_are_not_held_against_the_champion(copy_of, reigning, error):
    deployment = copy_of(reigning)
    make_champion(deployment)
    spec, champion = deployment.model(MODEL), deployment.ledger.champion(MODEL)
    probation = Probation(deployment, spec, champion)
    with pytest.raises(type(error)):
        probation.score(Starved(error), pd.DataFrame(index=range(30), columns=spec.features), spec)
    with pytest.raises(ParameterError, match="lack features"):
        probation.score(probation.load(), pd.DataFrame({"id": range(30)}), spec)
    assert probation.on and deployment.ledger.champion(MODEL) == champion
    assert kinds(deployment, "first_scoring_failed") == []
