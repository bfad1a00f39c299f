"""The time machine on the month of flights that the other tests have, and on small planted worlds."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small_loop import MODEL, SMALL, deployment_in, make_home
from typer.testing import CliRunner

from ratchet.backtest import page, worlds
from ratchet.backtest.history import NEVER, History, read_history
from ratchet.backtest.loop import fires_on
from ratchet.backtest.policies import POLICIES, policy_of, watching
from ratchet.backtest.run import Asked, backtest
from ratchet.backtest.shelf import Shelf
from ratchet.cli import cli
from ratchet.days import days_between
from ratchet.deployment import Deployment
from ratchet.errors import EmptyWindowError, ParameterError
from ratchet.failpoints import arm
from ratchet.specs import RetrainWhen

DAYS = ("2013-04-01", "2013-06-09")  # of a world: something happens on 24 April
RULES = {
    **SMALL,
    "windows": {"validate_days": 5, "judge_days": 14},
    "watch": {"schedule": "0 7 * * 1,4"},
    "retrain_when": {"drifted_share": None, "metric_falls_by": 0.03, "cool_down_days": 10},
}


@pytest.fixture(scope="module")
def deployment(tmp_path_factory) -> Deployment:
    """One without any data."""
    root = tmp_path_factory.mktemp("rules")
    make_home(root / "home", **RULES)
    return deployment_in(root)


@pytest.fixture
def spec(deployment):
    return deployment.model(MODEL)


@pytest.fixture(scope="module")
def changed(deployment, tmp_path_factory) -> tuple[dict, Path]:
    """A concept that changes, played by two policies."""
    out = tmp_path_factory.mktemp("changed")
    return backtest(deployment, Asked(MODEL, *DAYS, ["never", "performance"], "concept_change"), out), out


def test_performance_answers_a_concept_change_and_beats_never(changed):
    told, _ = changed
    never, performance = (told["policies"][name] for name in ("never", "performance"))
    assert told["best"] == "performance"
    assert (never["retrains"], never["promotions"]) == (0, 0)
    assert performance["promotions"] >= 1
    assert never["regret"] > never["regret_half"] > 0  # surely worse
    assert performance["regret"] == 0
    promoted = [e["day"] for e in performance["events"] if e["what"] == "promotion"][1]
    asked = next(e for e in performance["events"] if e["what"] == "request" and e["source"] == "performance")
    assert "2013-04-24" < asked["day"] < promoted


def test_nobody_beats_the_truth(changed):
    told, _ = changed
    for of in told["policies"].values():
        for month, best in zip(of["months"], told["unbeatable"], strict=True):
            assert month["value"] < best["value"] + 0.005


def test_a_change_pages_and_costs_are_told(changed):
    told, _ = changed
    never, performance = (told["policies"][name] for name in ("never", "performance"))
    assert never["alarms"]["page"] >= 1
    assert performance["labels"] > never["labels"] > 0
    assert performance["cpu_seconds"] > never["cpu_seconds"] > 0


def test_result_page_and_plot_are_written_and_speak_of_each_policy(changed, tmp_path):
    told, out = changed
    assert json.loads((out / "result.json").read_text()) == json.loads(json.dumps(told))
    text = page.as_markdown(told, "plot.png")
    assert all(f"| {name} |" in text and f"**{name}**" in text for name in told["policies"])
    assert page.table(told)[0][0] == told["best"]
    assert page.picture(told).startswith(b"\x89PNG")


def test_each_policy_has_a_ledger_that_verifies(changed):
    from ratchet.backtest.run import ledger_settings
    from ratchet.ledger import open_ledger

    told, out = changed
    ledger = open_ledger(ledger_settings(out / "ledgers" / "performance"))
    assert ledger.verify().ok
    assert len(ledger.champion_history(MODEL)) == told["policies"]["performance"]["promotions"] + 1


def test_played_again_it_comes_to_the_same(changed, deployment, monkeypatch):
    told, out = changed

    def no_training(*_: object):
        raise AssertionError("trained, though it was on the shelf")

    monkeypatch.setattr("ratchet.backtest.shelf.train_candidate", no_training)
    again = backtest(deployment, Asked(MODEL, *DAYS, ["never", "performance"], "concept_change"), out)
    assert again == told


def test_growth_is_asked_again_after_a_training_that_failed(tmp_path, monkeypatch):
    make_home(tmp_path / "home", **{**RULES, "retrain_when": {"data_grows_by": 0.1, "cool_down_days": 0}})
    train, tried = Shelf.train, []

    def fails_but_first(shelf: Shelf, as_of: str, windows):
        tried.append(as_of)
        if len(tried) > 1:
            raise EmptyWindowError("no rows", hint="other days")
        return train(shelf, as_of, windows)

    monkeypatch.setattr(Shelf, "train", fails_but_first)
    days = ("2013-04-01", "2013-04-12")
    told = backtest(deployment_in(tmp_path), Asked(MODEL, *days, ["ratchet"], "steady"), tmp_path / "out")
    asked = [one for one in told["policies"]["ratchet"]["events"] if one["what"] == "request"][1:]
    assert {(one["source"], one["status"]) for one in asked} == {("volume", "accepted")}
    assert [one["as_of"] for one in asked] == tried[1:] == days_between(asked[0]["as_of"], "2013-04-12")
    assert len(asked) > 1


@pytest.mark.matrix
@pytest.mark.parametrize("skip", [0, 5])
def test_a_killed_run_goes_on_and_comes_to_the_same(changed, deployment, tmp_path, skip):
    """Killed once a model's scores are there and nothing tells of them, or in the middle of the checks."""
    told, _ = changed
    out, armed = tmp_path / "out", tmp_path / "armed"
    asked = ["backtest", MODEL, "--from", DAYS[0], "--to", DAYS[1], "--policy", "never,performance"]
    asked += ["--world", "concept_change", "--out", str(out)]
    settings = deployment.settings
    env = {**os.environ, "RATCHET_HOME": str(settings.home), "RATCHET_VAR": str(settings.var)}
    run = [sys.executable, "-c", "from ratchet.cli import app; app()", *asked]
    arm(armed, "storage.after_write", signal.SIGKILL, skip)
    killed = subprocess.run(run, env={**env, "RATCHET_FAILPOINT_FILE": str(armed)}, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not (out / "result.json").exists()
    went_on = subprocess.run(run, env=env, capture_output=True, text=True)
    assert went_on.returncode == 0, went_on.stderr
    assert without_times(json.loads((out / "result.json").read_text())) == without_times(told)


@pytest.mark.matrix
def test_one_slow_moment_of_the_machine_decides_nothing(changed, deployment, tmp_path):
    told, out = changed
    again = shutil.copytree(out, tmp_path / "again")
    for kept in (again / "models").glob("*.json"):
        facts = json.loads(kept.read_text())
        facts["batch_seconds"][4] *= 200 if facts["as_of"] < DAYS[0] else 1  # of the first champion
        kept.write_text(json.dumps(facts))
    slow = backtest(deployment, Asked(MODEL, *DAYS, ["performance"], "concept_change"), again)
    assert verdicts_of(slow) == verdicts_of(told)


def verdicts_of(told: dict) -> list[tuple]:
    events = told["policies"]["performance"]["events"]
    return [(one["day"], one["verdict"]) for one in events if one["what"] == "verdict"]


@pytest.mark.matrix
def test_nothing_is_promoted_by_poisoned_labels(deployment, tmp_path):
    told = backtest(deployment, Asked(MODEL, *DAYS, ["never", "performance"], "poisoned_labels"), tmp_path / "out")
    performance = told["policies"]["performance"]
    assert performance["requests"].get("accepted", 0) >= 1  # it did look like harm
    assert performance["promotions"] == 0
    assert performance["mean"] == told["policies"]["never"]["mean"]


@pytest.mark.matrix
def test_an_outage_is_gone_through(deployment, tmp_path):
    told = backtest(deployment, Asked(MODEL, *DAYS, ["never"], "outage"), tmp_path / "out")
    months = told["policies"]["never"]["months"]
    assert sum(month["rows"] for month in months) == worlds.ROWS_A_DAY * (len(days_between(*DAYS)) - worlds.BAD_DAYS)


def without_times(told: dict) -> dict:
    """Less the seconds that trainings and checks took."""
    policies = {
        name: {
            **{key: value for key, value in of.items() if key != "cpu_seconds"},
            "events": [{key: value for key, value in one.items() if key != "seconds"} for one in of["events"]],
        }
        for name, of in told["policies"].items()
    }
    return {**told, "policies": policies}


def test_production_is_read_and_left_as_it_was(copy_of, as_environment, taken_in, tmp_path):
    deployment = as_environment(copy_of(taken_in))
    before = digests_in(deployment.settings.var)
    asked = ["backtest", MODEL, "--from", "2013-01-17", "--to", "2013-01-29", "--policy", "never,monthly_ungated"]
    ran = CliRunner().invoke(cli, [*asked, "--out", str(tmp_path / "out")], catch_exceptions=False)
    assert ran.exit_code == 0, ran.output
    assert digests_in(deployment.settings.var) == before
    told = json.loads((tmp_path / "out" / "result.json").read_text())
    rows = deployment.lake.read("datasets/flights", "2013-01-17", "2013-01-29")
    assert told["past"]["rows"] == len(deployment.lake.read("datasets/flights", "2013-01-01", "2013-01-29"))
    assert 0.9 * len(rows) < sum(month["rows"] for month in told["policies"]["never"]["months"]) < len(rows)
    assert (tmp_path / "out" / "plot.png").exists() and (tmp_path / "out" / "page.md").exists()


def digests_in(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_history_knows_each_outcome_from_its_delivery_on(copy_of, taken_in):
    from small_loop import redeliver

    from ratchet.workflow.ingestion import ingest_partitions

    deployment = copy_of(taken_in)
    redeliver(deployment, "outcomes", "2013-01-05", lambda frame: frame.assign(arr_delay=99.0), timedelta(days=10))
    ingest_partitions(deployment, "outcomes")
    history = read_history(deployment, deployment.model(MODEL), "2013-01-11", "2013-01-30")
    assert not history.future_features
    of_tenth = history.between("2013-01-10", "2013-01-10")
    assert set(of_tenth["known_on"]) <= {"2013-01-11", NEVER}  # delivered at 23:00 on the next day
    assert history.labelled("2013-01-10", "2013-01-10", "2013-01-10").empty
    known = history.labelled("2013-01-10", "2013-01-10", "2013-01-11")
    assert len(known) == of_tenth["label"].notna().sum() > 800
    assert history.as_of("2013-01-11", 1) == "2013-01-11"
    assert history.days("2013-01-09", "2013-01-12", known_by="2013-01-11") == ["2013-01-09", "2013-01-10"]
    corrected = history.labelled("2013-01-05", "2013-01-05", "2013-01-16")
    assert (history.restated, set(corrected["label"])) == (1, {1.0})
    assert history.labelled("2013-01-05", "2013-01-05", "2013-01-15").empty  # corrected on the 16th

    patient = deployment.model(MODEL).model_copy(update={"label_delay_days": 3})
    history = read_history(deployment, patient, "2013-01-11", "2013-01-30")
    assert set(history.between("2013-01-10", "2013-01-10")["known_on"]) <= {"2013-01-13", NEVER}
    assert history.as_of("2013-01-14", 3) == "2013-01-14"  # no training speaks for a later day than the one played


def test_no_data_is_said_and_makes_nothing(deployment, tmp_path):
    with pytest.raises(EmptyWindowError, match="no past of flight_delay") as told:
        backtest(deployment, Asked(MODEL, *DAYS, ["never"]), tmp_path / "out")
    assert "ratchet ingest" in told.value.hint and "--world" in told.value.hint
    assert not Path(deployment.settings.ledger_key_file).exists()


def test_days_beyond_the_data_are_refused(copy_of, taken_in, tmp_path):
    with pytest.raises(EmptyWindowError, match="2013-01-01 to 2013-01-30"):
        backtest(copy_of(taken_in), Asked(MODEL, "2013-01-17", "2013-02-05", ["never"]), tmp_path / "out")


def test_no_first_champion_says_which_days_are_needed(tmp_path):
    make_home(tmp_path / "home", **{**RULES, "first_windows": {"validate_days": 60, "judge_days": 40}})
    with pytest.raises(EmptyWindowError, match="no champion by 2013-04-01") as told:
        backtest(deployment_in(tmp_path), Asked(MODEL, *DAYS, ["never"], "steady"), tmp_path / "out")
    assert "2013-04-13" in told.value.hint  # 60 days, 40, 1 of delay and 1 to train, from 1 January on


@pytest.mark.parametrize("names", [["sometimes"], [], ["never", "never"]])
def test_unknown_policies_are_refused(deployment, tmp_path, names):
    with pytest.raises(ParameterError, match="monthly_ungated"):
        backtest(deployment, Asked(MODEL, *DAYS, names, "steady"), tmp_path / "out")


def test_an_unknown_world_is_refused(deployment, tmp_path):
    with pytest.raises(ParameterError, match="late_labels"):
        backtest(deployment, Asked(MODEL, *DAYS, ["never"], "flood"), tmp_path / "out")


def test_a_folder_of_somebody_else_is_left_alone(deployment, tmp_path):
    (tmp_path / "ledgers").mkdir()
    with pytest.raises(ParameterError, match="holds something else"):
        backtest(deployment, Asked(MODEL, *DAYS, ["never"], "steady"), tmp_path)
    assert (tmp_path / "ledgers").exists()


def test_policies_differ_in_what_they_listen_to(spec):
    base = spec.model_copy(update={"retrain_when": RetrainWhen(data_grows_by=0.5, metric_falls_by=None)})
    when = {name: policy_of(name, base).spec.retrain_when for name in POLICIES}
    assert when["ratchet"] == base.retrain_when
    assert (when["never"].schedule, when["never"].drifted_share, when["never"].data_grows_by) == (None, None, None)
    assert (when["drift"].drifted_share, when["drift"].metric_falls_by) == (0.5, None)
    assert (when["performance"].drifted_share, when["performance"].metric_falls_by) == (None, 0.03)
    assert fires_on(when["monthly"].schedule, "2013-04-01", "2013-06-01") == {"2013-04-01", "2013-05-01", "2013-06-01"}
    assert watching(base).retrain_when.metric_falls_by == 0.03
    assert [name for name in POLICIES if not policy_of(name, base).gated] == ["monthly_ungated"]


def test_worlds_are_the_same_by_seed_and_others_by_another(spec):
    one, again, other = (worlds.make_world("season", spec, *DAYS, seed)[1].digest for seed in (1, 1, 2))
    assert one == again != other


def test_worlds_hold_what_their_names_say(spec):
    event = [*days_between(*DAYS)][len(days_between(*DAYS)) // 3]
    rows = {name: worlds.make_world(name, spec, *DAYS, 7)[1].rows for name in worlds.WORLDS}
    first = rows["steady"]["day"].iloc[0]
    assert days_between(first, DAYS[0])[-1] == DAYS[0] and len(days_between(first, DAYS[0])) == worlds.DAYS_BEFORE + 1
    wrong = rows["poisoned_labels"].query("label != truth")["day"]
    assert (wrong.min(), wrong.nunique()) == (event, worlds.BAD_DAYS)
    assert (rows["steady"]["label"] == rows["steady"]["truth"]).all()
    assert len(set(rows["steady"]["day"]) - set(rows["outage"]["day"])) == worlds.BAD_DAYS
    assert rows["stuck_input"].query("x1 == 0")["day"].nunique() == worlds.BAD_DAYS
    x1 = rows["sudden_shift"].groupby(rows["sudden_shift"]["day"] >= event)["x1"].mean()
    assert x1[True] - x1[False] == pytest.approx(-1.5, abs=0.1)
    late = rows["late_labels"]
    waits = pd.to_datetime(late["known_on"]) - pd.to_datetime(late["day"])
    assert set(waits.dt.days) == {spec.label_delay_days, spec.label_delay_days + worlds.LATE_BY}


def test_a_world_is_for_models_of_its_kind(spec):
    with pytest.raises(ParameterError, match="binary"):
        worlds.make_world("steady", spec.model_copy(update={"task": "regression"}), *DAYS, 1)


def test_outcomes_that_never_come_are_never_known():
    rows = pd.DataFrame({"day": ["2013-01-01"] * 2, "label": [1.0, np.nan], "known_on": ["2013-01-02", NEVER]})
    history = History(rows)
    assert list(history.has_outcome("2013-01-01", "2013-01-01", "2030-01-01")) == [True, False]
    assert history.as_of("2013-01-01", 1) is None
