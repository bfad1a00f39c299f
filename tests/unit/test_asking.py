"""What asks for a training by itself: data that has grown, again while it is held back; and who is told of a stop."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import yaml
from ledger_story import MODEL, Story
from small_loop import SMALL, deployment_in, make_home

from ratchet.days import days_between
from ratchet.deployment import Deployment
from ratchet.workflow.dispatch import keep_house
from ratchet.workflow.health import watch_loop
from ratchet.workflow.requests import AT_REST, STOPPED, ask_retrain_for_growth, tell_of_stop
from ratchet.workflow.staleness import mark_stale

NOW = datetime(2013, 4, 1, tzinfo=UTC)
USED = days_between("2013-02-20", "2013-03-31")  # 40 days


def world(folder, **retrain_when):
    """A deployment that has a ledger and a spec, and neither data nor models."""
    grows = {"data_grows_by": 0.1, "cool_down_days": 7}
    make_home(folder / "home", **{**SMALL, "retrain_when": grows | retrain_when})
    return deployment_in(folder)


@pytest.fixture(scope="module")
def empty_mlflow(tmp_path_factory):
    """A deployment, with all as it is but for an MLflow that knows no model: to make one takes longer than a test."""
    address = f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/mlflow.db"
    return lambda deployment: Deployment(replace(deployment.settings, mlflow_tracking_uri=address))


def publish(deployment, *days):
    row = {
        "dataset": "outcomes", "digest": "d", "drop_sha256": "a", "recipe": "r", "table_version": 1, "rows": 9,
        "quarantined": 0, "delivered_at": NOW, "actor": "ratchet", "reason": "delivered", "revises": 0,
    }  # fmt: skip
    deployment.ledger.record_partitions([{**row, "day": day} for day in days])


@pytest.fixture
def grown(tmp_path):
    """Version 1 is champion, made from 40 days with outcomes; three more have come."""
    deployment = world(tmp_path)
    publish(deployment, *USED, *days_between("2013-04-01", "2013-04-03"))
    deployment.ledger.record_snapshot(MODEL, "s" * 64, "2013-04-01", {"outcomes": {day: [1, "d", "a"] for day in USED}})
    story = Story(deployment.ledger, NOW)
    story.approved(1)
    story.promote(1, 0)
    return deployment


def ask(deployment) -> dict | None:
    return ask_retrain_for_growth(deployment, deployment.model(MODEL), datetime.now(UTC) + AT_REST)


def filed(deployment) -> list[tuple[str, str]]:
    return [(one.as_of, one.status) for one in deployment.ledger.requests(MODEL) if one.source == "volume"]


def test_a_training_is_asked_for_once_at_each_step_of_growth(grown):
    assert ask(grown) is None
    publish(grown, "2013-04-04")
    first = ask(grown)
    assert first["status"] == "accepted" and ask(grown) == first
    assert grown.ledger.request(first["request"]).reason == ("4 days with outcomes are newer than the 40 of version 1")
    publish(grown, *days_between("2013-04-05", "2013-04-07"))
    assert ask(grown) == first, "the second step takes four days more"
    publish(grown, *days_between("2013-04-08", "2013-04-11"))
    assert ask(grown)["status"] == "accepted"
    assert filed(grown) == [("2013-04-05", "accepted"), ("2013-04-12", "accepted")]


def test_while_outcomes_are_coming_in_nothing_is_asked(grown):
    publish(grown, *days_between("2013-04-04", "2013-04-30"))
    spec, published = grown.model(MODEL), grown.ledger.partitions("outcomes")[-1].recorded_at
    assert ask_retrain_for_growth(grown, spec, published + AT_REST - timedelta(seconds=1)) is None
    assert ask_retrain_for_growth(grown, spec, published + AT_REST)["status"] == "accepted"


def test_what_is_held_back_is_asked_again_with_each_new_day_until_it_is_let_through(grown):
    grown.ledger.request_retrain(MODEL, "2013-04-03", "it moved", "drift", "check_drift", "recipe")
    for day in days_between("2013-04-04", "2013-04-11"):
        publish(grown, day)
        for _ in range(2):
            ask(grown)
    days = days_between("2013-04-05", "2013-04-10")
    assert filed(grown) == [*((day, "suppressed") for day in days[:-1]), ("2013-04-10", "accepted")]


def test_what_was_let_through_and_failed_is_asked_again_with_the_next_day(grown):
    publish(grown, "2013-04-04")
    grown.ledger.finish_batch(ask(grown)["batch"], "failed")
    ask(grown)
    publish(grown, "2013-04-05")
    ask(grown)
    assert filed(grown) == [("2013-04-05", "accepted"), ("2013-04-06", "accepted")]


def test_a_model_whose_feature_package_is_gone_does_not_stop_the_sweep_for_the_others(
    grown, empty_mlflow, monkeypatch, caplog
):
    """Its growth asks for a training, whose recipe can't be told. An alert says so, until a sweep goes through: windows
    that don't fit the data yet are no news."""
    publish(grown, *days_between("2013-04-04", "2013-04-30"))
    monkeypatch.setattr("ratchet.workflow.requests.AT_REST", timedelta(0))
    models = grown.settings.home / "include" / "models"
    spec = yaml.safe_load((models / f"{MODEL}.yaml").read_text("utf-8"))
    (models / "later_model.yaml").write_text(yaml.safe_dump(spec), "utf-8")

    def specify(**changes):
        (models / f"{MODEL}.yaml").write_text(yaml.safe_dump({**spec, **changes}), "utf-8")
        return empty_mlflow(grown)

    deployment = specify(feature_function="gone_package:features")
    assert [*deployment.models.good] == [MODEL, "later_model"]
    deployment.ledger.raise_alert("later_model", STOPPED, "warn", "it is not trained any more", {}, "r")
    for _ in range(2):
        keep_house(deployment)
        watch_loop(deployment, deployment.model(MODEL))
    assert "no package 'gone_package'" in caplog.text and filed(grown) == []
    assert deployment.ledger.open_alerts("later_model") == []
    (alert,) = (one for one in deployment.ledger.open_alerts(MODEL) if one.key == "loop/house")
    assert (alert.level, alert.times) == ("warn", 1) and "gone_package" in alert.facts["why"]
    keep_house(specify(windows={"validate_days": 3, "judge_days": 300}))
    assert deployment.ledger.newest_alert(MODEL, "loop/house").settled_at and filed(grown) == []


def test_a_dataset_that_an_old_training_was_made_from_and_that_is_gone_hinders_no_sweep(grown):
    """One that is still the model's is looked at as ever."""
    used = {"gone": {"2013-03-01": [1, "d", "a"]}, "outcomes": {USED[0]: [1, "what it was", "a"]}}
    grown.ledger.record_snapshot(MODEL, "t" * 64, "2013-03-02", used)
    assert [(mark.subject, mark.dataset, mark.day) for mark in mark_stale(grown)] == [("t" * 64, "outcomes", USED[0])]


def test_nothing_grows_where_the_spec_says_so_or_without_a_champion(grown, tmp_path):
    publish(grown, *days_between("2013-04-04", "2013-04-30"))
    assert ask(world(tmp_path, data_grows_by=None)) is None
    nobody = world(tmp_path / "other")
    publish(nobody, *USED)
    assert ask(nobody) is None


def test_a_person_is_asked_while_the_broker_has_stopped(tmp_path, empty_mlflow):
    deployment = empty_mlflow(world(tmp_path, stop_after_rejected=2))
    spec, ledger, story = deployment.model(MODEL), deployment.ledger, Story(deployment.ledger, NOW)
    for version in (1, 2):
        story.register(version)
        tell_of_stop(deployment, spec)
        assert ledger.open_alerts(MODEL) == []
        story.judge(version, "REJECT")
    for _ in range(2):
        keep_house(deployment)
    (alert,) = ledger.open_alerts(MODEL)
    assert (alert.key, alert.level, alert.facts["versions"]) == (STOPPED, "warn", [1, 2])
    ledger.request_retrain(MODEL, "2013-04-03", "the labels are right again", "person", "operator", "recipe")
    tell_of_stop(deployment, spec)
    assert ledger.open_alerts(MODEL) == []
