"""A champion whose first day can't be right publishes nothing and goes back by itself; what isn't its fault is not held
against it. The models are real ones, spoiled after training in ways that a smoke test on known rows would not show."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from small_loop import MODEL, deployment_in, place, redeliver
from spoiled_models import flip_a_bit, stored_files, swap_files, without_mlflow

from ratchet import first_scoring, model_files
from ratchet.deployment import Deployment
from ratchet.errors import (
    FirstScoringError,
    HeldDayError,
    ModelFileError,
    OtherLibrariesError,
    ParameterError,
    RegistryError,
)
from ratchet.first_scoring import MIN_ROWS
from ratchet.ledger import Challenger
from ratchet.workflow import probation
from ratchet.workflow.champion_alerts import tell_of_champions
from ratchet.workflow.dispatch import list_due
from ratchet.workflow.ingestion import ingest_partitions
from ratchet.workflow.probation import Probation
from ratchet.workflow.promotion import rollback_champion, smoke_test
from ratchet.workflow.scoring import due_days, score_partitions
from ratchet.workflow.versions import load_version

NEW = "2013-01-24"  # delivered again, so that it is due; newer than what any of these champions knows
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


def make_champion(deployment: Deployment, how: str = "sound", as_of: str | None = None) -> int:
    """A version made of version 1's estimator, `how` spoiled, becomes champion: by the ledger's own rules, and past the
    smoke test."""
    ledger, registry, first = deployment.ledger, deployment.registry, deployment.ledger.challenger(MODEL, 1)
    number, champion = len(ledger.challengers(MODEL)) + 1, ledger.champion(MODEL)
    estimator = spoiled(load_version(deployment, MODEL, 1), how)
    run = registry.log_candidate(MODEL, f"made {number}", name=how, params={}, metrics={}, tags={}, estimator=estimator)
    version = registry.register(MODEL, run.run_id, f"made {number}", run.model_digest, {})
    as_of, digest, now = as_of or f"2013-01-{17 + version}", f"{version:064}", datetime.now(UTC)
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


def some_fewer(flights: pd.DataFrame) -> pd.DataFrame:
    return flights.iloc[:-5]


def all_the_same(flights: pd.DataFrame) -> pd.DataFrame:
    """A valid day, of one flight under many numbers: no model can tell its rows apart."""
    return flights.iloc[[0] * len(flights)].assign(flight=range(1, len(flights) + 1))


def deliver_again(deployment: Deployment, change=some_fewer, day: str = NEW) -> list[str]:
    """That day's flights, changed; returns the days to score."""
    redeliver(deployment, "flights", day, change)
    ingest_partitions(deployment, "flights")
    return due_days(deployment, deployment.model(MODEL))


def published(deployment: Deployment) -> dict:
    return {day: (one.version, one.table_version) for day, one in deployment.ledger.scored_days(MODEL).items()}


def open_alerts(deployment: Deployment) -> list[tuple]:
    return [(alert.key, alert.level) for alert in deployment.ledger.open_alerts(MODEL)]


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
    assert open_alerts(deployment) == [(f"rollback/v{version}", "page")]
    assert [due.conf for due in list_due(deployment) if due.dag_id == f"{MODEL}.score"] == [{"days": days}]
    assert score_partitions(deployment, MODEL, days)["version"] == 1
    assert due_days(deployment, deployment.model(MODEL)) == [] and deployment.ledger.verify().ok


def test_a_rollback_by_itself_is_a_page_until_the_next_promotion_and_once(copy_of, reigning, monkeypatch):
    """Also where the process was killed right after the move: the next sweep tells."""
    deployment = copy_of(reigning)
    ledger, version = deployment.ledger, make_champion(deployment, "constant")
    with monkeypatch.context() as killed:
        killed.setattr(probation, "tell_of_champion", lambda *_: None)
        with pytest.raises(FirstScoringError):
            score_partitions(deployment, MODEL, [NEW])
    assert open_alerts(deployment) == []
    for _ in range(2):
        tell_of_champions(deployment)
        (alert,) = ledger.open_alerts(MODEL)
        assert (alert.key, alert.level, alert.times) == (f"rollback/v{version}", "page", 1)
        assert "same score" in alert.facts["why"]
    ledger.settle_alert(MODEL, alert.key, "seen", actor="operator")
    tell_of_champions(deployment)
    assert open_alerts(deployment) == []
    next_one = make_champion(deployment, "constant")
    with pytest.raises(FirstScoringError):
        score_partitions(deployment, MODEL, [NEW])
    assert open_alerts(deployment) == [(f"rollback/v{next_one}", "page")]
    make_champion(deployment)
    tell_of_champions(deployment)
    assert open_alerts(deployment) == []


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
    first, second = deliver_again(deployment), ["2013-01-26", "2013-01-27"]
    assert score_partitions(deployment, MODEL, first)["version"] == version
    assert score_partitions(deployment, MODEL, second)["version"] == version
    assert kinds(deployment, "first_scoring_passed") == [("first_scoring_passed", 1), ("first_scoring_passed", version)]
    assert not Probation(deployment, deployment.model(MODEL), deployment.ledger.champion(MODEL)).on


def test_the_first_champion_of_all_fails_loud_and_moves_nothing(copy_of, trained):
    deployment = copy_of(trained)
    version = make_champion(deployment, "constant")
    days = [NEW, "2013-01-25"]
    for _ in range(2):
        with pytest.raises(HeldDayError, match=NEW) as caught:
            score_partitions(deployment, MODEL, days)
        assert "do: " in str(caught.value)
    assert deployment.ledger.champion(MODEL).version == version and published(deployment) == {}
    assert kinds(deployment, "first_scoring_failed", "day_held") == [("day_held", version)] * len(days)
    assert deployment.lake.version(f"predictions/{MODEL}") is None


def test_with_nothing_to_go_back_to_a_bad_day_is_held_back_alone_and_the_champion_serves(copy_of, trained):
    deployment = copy_of(trained)
    version = make_champion(deployment)
    assert NEW in deliver_again(deployment, all_the_same)
    with pytest.raises(HeldDayError, match="to tell whose fault it is"):
        score_partitions(deployment, MODEL, [NEW, "2013-01-26"])
    assert list(published(deployment)) == ["2013-01-26"]
    assert kinds(deployment, "first_scoring_failed", "first_scoring_passed") == [("first_scoring_passed", version)]


def test_a_damaged_file_with_nothing_to_go_back_to_is_not_held_against_the_champion_once_it_is_mended(
    copy_of, reigning
):
    deployment = copy_of(reigning)
    version = make_champion(deployment)
    whole = {one: (stored_files(deployment, MODEL, one) / "model.skops").read_bytes() for one in (1, version)}
    for one in whole:
        flip_a_bit(deployment, MODEL, one)
    with pytest.raises(ModelFileError, match="not those that were registered"):
        score_partitions(deployment, MODEL, [NEW])
    for one, content in whole.items():
        (stored_files(deployment, MODEL, one) / "model.skops").write_bytes(content)
    assert score_partitions(deployment, MODEL, [NEW])["version"] == version
    assert kinds(deployment, "first_scoring_failed") == []


def test_a_version_that_scored_small_days_only_has_served(copy_of, reigning, monkeypatch):
    monkeypatch.setattr(first_scoring, "MIN_ROWS", 10_000)  # more than any day of these has
    deployment = copy_of(reigning)
    flip_a_bit(deployment, MODEL, make_champion(deployment))
    with pytest.raises(FirstScoringError, match="version 1 is champion again"):
        score_partitions(deployment, MODEL, [NEW])


def test_it_goes_back_past_a_version_that_never_served(copy_of, reigning):
    """Two came one after the other: the one between has a passed gate and an approval, and nobody has seen it score."""
    deployment = copy_of(reigning)
    never_served, version = make_champion(deployment), make_champion(deployment, "constant")
    assert (never_served, version) == (2, 3)
    with pytest.raises(FirstScoringError, match="version 1 is champion again"):
        score_partitions(deployment, MODEL, [NEW])
    assert [move.version for move in deployment.ledger.champion_history(MODEL)] == [1, 2, 3, 1]


def test_a_day_that_no_version_can_score_is_held_back_alone_and_moves_nothing(copy_of, reigning):
    """Whoever sends the data can't have a champion taken back."""
    deployment = copy_of(reigning)
    before, version = published(deployment), make_champion(deployment)
    days = deliver_again(deployment, all_the_same)
    with pytest.raises(HeldDayError, match=f"neither by version {version} .* nor by version 1") as caught:
        score_partitions(deployment, MODEL, [*days, "2013-01-26"])
    assert "same score" in str(caught.value) and "delivered again" in str(caught.value)
    assert deployment.ledger.champion(MODEL).version == version and published(deployment)[NEW] == before[NEW]
    assert published(deployment)["2013-01-26"][0] == version
    assert kinds(deployment, "first_scoring_failed", "first_scoring_passed")[1:] == [("first_scoring_passed", version)]


def test_a_day_held_back_is_not_published_later_until_it_is_delivered_again(copy_of, reigning):
    """Also when a later day has ended the probation meanwhile."""
    deployment = copy_of(reigning)
    before, version, spec = published(deployment), make_champion(deployment), deployment.model(MODEL)
    sound = []

    def spoil(flights: pd.DataFrame) -> pd.DataFrame:
        sound.append(some_fewer(flights))
        return all_the_same(flights)

    with pytest.raises(HeldDayError):
        score_partitions(deployment, MODEL, [*deliver_again(deployment, spoil), "2013-01-26"])
    assert not Probation(deployment, spec, deployment.ledger.champion(MODEL)).on
    assert due_days(deployment, spec) == [] and open_alerts(deployment) == [(f"held/{NEW}", "warn")]
    with pytest.raises(HeldDayError, match=f"{NEW} is held back from version {version} .* since 20") as caught:
        score_partitions(deployment, MODEL, [NEW, "2013-01-27"])
    assert "same score" in str(caught.value) and "delivered again" in str(caught.value)
    assert published(deployment)[NEW] == before[NEW] and published(deployment)["2013-01-27"][0] == version
    assert kinds(deployment, "day_held") == [("day_held", version)]
    redeliver(deployment, "flights", NEW, lambda _: sound[0], timedelta(hours=1))
    ingest_partitions(deployment, "flights")
    assert due_days(deployment, spec) == [NEW]
    assert score_partitions(deployment, MODEL, [NEW])["scored"] == [NEW]
    tell_of_champions(deployment)
    assert open_alerts(deployment) == []


def test_a_day_held_back_from_one_version_is_tried_with_the_next(copy_of, reigning):
    deployment = copy_of(reigning)
    make_champion(deployment)
    with pytest.raises(HeldDayError):
        score_partitions(deployment, MODEL, deliver_again(deployment, all_the_same))
    make_champion(deployment)
    days = due_days(deployment, deployment.model(MODEL))
    assert days == [NEW]
    with pytest.raises(HeldDayError, match="neither by version 3 .* nor by version 1"):
        score_partitions(deployment, MODEL, days)


def test_a_day_older_than_the_champion_s_data_is_looked_at_and_says_nothing_of_it(copy_of, reigning):
    """A backfill takes no champion back, ends no probation, and makes no version one to go back to."""
    deployment = copy_of(reigning)
    before, version = published(deployment), make_champion(deployment, "constant", as_of=NEW)
    with pytest.raises(HeldDayError, match="after 2013-01-24, which its data goes up to"):
        score_partitions(deployment, MODEL, deliver_again(deployment))
    assert (deployment.ledger.champion(MODEL).version, published(deployment)) == (version, before)
    sound = make_champion(deployment, as_of=NEW)
    assert score_partitions(deployment, MODEL, [NEW])["version"] == sound
    assert kinds(deployment, "first_scoring_failed", "first_scoring_passed") == [("first_scoring_passed", 1)]
    assert Probation(deployment, deployment.model(MODEL), deployment.ledger.champion(MODEL)).on
    make_champion(deployment, "constant", as_of=NEW)
    with pytest.raises(FirstScoringError, match="version 1 is champion again"):
        score_partitions(deployment, MODEL, ["2013-01-26"])


def test_a_day_of_few_rows_ends_no_probation(copy_of, reigning):
    deployment = copy_of(reigning)
    make_champion(deployment)
    champion = deployment.ledger.champion(MODEL)
    probation = Probation(deployment, deployment.model(MODEL), champion)
    probation.passed(NEW, MIN_ROWS - 1)
    assert probation.on and deployment.ledger.first_scoring(MODEL, champion.epoch) is None
    probation.passed(NEW, MIN_ROWS)
    assert not probation.on and deployment.ledger.first_scoring(MODEL, champion.epoch) is True


def test_it_goes_back_past_a_version_that_served_and_can_not_be_loaded_any_more(copy_of, reigning):
    deployment = copy_of(reigning)
    between = make_champion(deployment)
    assert score_partitions(deployment, MODEL, ["2013-01-26"])["version"] == between
    make_champion(deployment, "constant")
    flip_a_bit(deployment, MODEL, between)
    with pytest.raises(FirstScoringError, match="version 1 is champion again"):
        score_partitions(deployment, MODEL, [NEW])


def test_where_no_version_could_come_back_none_does(copy_of, reigning):
    deployment = copy_of(reigning)
    before, version = published(deployment), make_champion(deployment, "constant")
    flip_a_bit(deployment, MODEL, 1)
    with pytest.raises(HeldDayError, match="could come back, to tell whose fault"):
        score_partitions(deployment, MODEL, [NEW])
    assert kinds(deployment, "first_scoring_failed") == []
    assert (deployment.ledger.champion(MODEL).version, published(deployment)) == (version, before)


def test_other_libraries_are_not_held_against_the_champion(copy_of, reigning, monkeypatch):
    deployment = copy_of(reigning)
    before, version = published(deployment), make_champion(deployment)
    with monkeypatch.context() as environment:
        environment.setattr(model_files, "installed", lambda name: "9.0.0")
        with pytest.raises(OtherLibrariesError, match="put that version into this environment"):
            score_partitions(deployment, MODEL, [NEW])
    assert (deployment.ledger.champion(MODEL).version, published(deployment)) == (version, before)
    assert kinds(deployment, "first_scoring_failed") == []
    assert score_partitions(deployment, MODEL, [NEW])["version"] == version


def test_what_other_libraries_make_of_a_version_does_not_reject_it(copy_of, trained):
    deployment = copy_of(trained)
    challenger = deployment.ledger.challenger(MODEL, 1)
    proof = challenger.manifest["proof"]
    other = {**proof, "scores_digest": "0" * 64, "scores": [[0.9]] * len(proof["scores"])}
    elsewhere = {**proof["machine"], "libraries": {**proof["machine"]["libraries"], "scikit-learn": "1.8.0"}}
    with pytest.raises(OtherLibrariesError, match="with other libraries"):
        smoke_test(deployment, with_proof(challenger, {**other, "machine": elsewhere}))
    assert kinds(deployment, "smoke_test_failed") == []
    with pytest.raises(ModelFileError, match="does not say what it said"):
        smoke_test(deployment, with_proof(challenger, other))
    assert kinds(deployment, "smoke_test_failed") == [("smoke_test_failed", 1)]


def with_proof(challenger: Challenger, proof: dict) -> Challenger:
    return replace(challenger, manifest={**challenger.manifest, "proof": proof})


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
    deployment.ledger.rollback(MODEL, never_served, "operator", "alarms", 3)  # past what its files would say
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


class Raising:
    """An estimator that raises what it is told to."""

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
        probation.score(Raising(error), pd.DataFrame(index=range(30), columns=spec.features), spec)
    with pytest.raises(ParameterError, match="lack features"):
        probation.score(probation.load(), pd.DataFrame({"id": range(30)}), spec)
    assert probation.on and deployment.ledger.champion(MODEL) == champion
    assert kinds(deployment, "first_scoring_failed") == []


def test_an_error_whose_text_no_record_takes_is_held_against_the_champion_all_the_same(copy_of, reigning, monkeypatch):
    deployment = copy_of(reigning)
    days = deliver_again(deployment)
    make_champion(deployment)
    monkeypatch.setattr(Probation, "load", lambda self: Raising(ValueError("odd category 'a\x00b\ud800'")))
    with pytest.raises(FirstScoringError, match="odd category 'a b '"):
        score_partitions(deployment, MODEL, days)
    champion = deployment.ledger.champion(MODEL)
    assert champion.version == 1 and "odd category 'a b '" in champion.reason
