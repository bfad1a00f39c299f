"""`ratchet` on a shell: what it shows, its exit status, and errors told without a traceback."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import mlflow
import pytest
from small_loop import FIRST_AS_OF, MODEL, deployment_in, make_home

from ratchet import cli
from ratchet.delivery import delivery


@pytest.fixture
def ratchet(monkeypatch, capsys):
    """Runs the command in this process, through its entry point; (exit status, stdout, stderr)."""
    monkeypatch.setattr(cli.console, "_width", 200)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["ratchet", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.app()
        out, err = capsys.readouterr()
        return ended.value.code or 0, out, err

    return run


@pytest.fixture
def world(copy_of, as_environment, taken_in):
    return as_environment(copy_of(taken_in))


def test_landing_and_taking_in_days(ratchet, as_environment, tmp_path):
    make_home(tmp_path / "home")
    deployment = as_environment(deployment_in(tmp_path))
    code, out, _ = ratchet("land", "flights", "--from", "2013-01-01", "--to", "2013-01-02")
    assert code == 0 and json.loads(out)
    assert deployment.drops.days("flights") == ["2013-01-01", "2013-01-02"]
    code, out, _ = ratchet("ingest", "planes")
    assert code == 0 and json.loads(out)["published"] == ["2013-01-01"]
    assert deployment.ledger.high_water("planes") == "2013-01-01"


def test_a_request_is_filed_in_the_users_name(ratchet, world, monkeypatch):
    monkeypatch.setenv("LOGNAME", "somebody")
    code, out, _ = ratchet("retrain", MODEL, "--reason", "new rules", "--as-of", FIRST_AS_OF)
    answer = json.loads(out)
    assert (code, answer["status"], answer["as_of"]) == (0, "accepted", FIRST_AS_OF)
    (request,) = world.ledger.requests(MODEL)
    assert (request.actor, request.reason, request.source) == ("somebody", "new rules", "person")
    _, out, _ = ratchet("retrain", MODEL, "--reason", "again", "--as-of", FIRST_AS_OF)
    assert json.loads(out)["status"] == "merged"
    _, out, _ = ratchet("request", MODEL, answer["request"])
    followed = json.loads(out)
    assert followed["request"]["reason"] == "new rules" and followed["batch"]["id"] == answer["batch"]
    code, _, err = ratchet("request", MODEL, "--key", "never sent")
    assert code == 1 and "never sent" in err


def test_status_shows_what_stands_and_what_is_due(ratchet, copy_of, as_environment, reigning):
    deployment = as_environment(copy_of(reigning))
    (deployment.settings.dataset_specs / "broken.yaml").write_text("description: no columns\n", "utf-8")
    code, out, _ = ratchet("status")
    assert code == 0
    rows = sum(partition.rows for partition in deployment.ledger.partitions("flights"))
    shown = [
        str(rows),
        "2013-01-30",
        "1 (champion)",
        "version 1, epoch 1",
        "NO_BASELINE",
        "scored days: 14",
        "newest retrain request: r000001 (person), accepted, batch b000001: version 1 is",
        "versions turned down in a row (3 stop the broker): none",
        "due: nothing",
    ]
    assert [text for text in shown if text not in out] == []
    assert "broken.yaml" in out and "[type=missing" in out


@pytest.fixture
def champion(copy_of, as_environment, reigning):
    return as_environment(copy_of(reigning))


def a_prediction(deployment) -> str:
    return deployment.lake.read(f"predictions/{MODEL}", "2013-01-20", "2013-01-20")["prediction_id"].iloc[0]


def test_the_champion_is_reproduced_in_the_users_name(ratchet, champion, monkeypatch):
    monkeypatch.setenv("LOGNAME", "auditor")
    code, out, _ = ratchet("reproduce", MODEL)
    told = json.loads(out)
    assert (code, told["version"], told["proven"]) == (0, 1, True)
    assert told["rebuilt"]["to_the_last_bit"] and told["registered"]["to_the_last_bit"]
    (event,) = [one for one in champion.ledger.events() if one.kind == "version_reproduced"]
    assert (event.actor, event.payload) == ("auditor", told)


def test_a_version_that_is_not_reproduced_ends_with_1(ratchet, champion):
    shutil.rmtree(champion.settings.var / "recipes")
    code, out, err = ratchet("reproduce", MODEL, "1")
    assert (code, out) == (1, "") and err.startswith("error: a recipe that was not kept") and "Traceback" not in err


def test_there_is_no_champion_to_reproduce(ratchet, world):
    code, _, err = ratchet("reproduce", MODEL)
    assert code == 1 and f"{MODEL} has no champion" in err and "name a version" in err


def test_a_prediction_is_explained(ratchet, champion):
    prediction = a_prediction(champion)
    code, out, _ = ratchet("explain-prediction", prediction)
    told = json.loads(out)
    assert code == 0 and told["prediction"]["prediction_id"] == prediction
    assert list(told) == ["prediction", "scoring", "inputs", "version", "gate", "approval", "canary", "champion"]
    assert (told["version"]["version"], told["approval"]["by"]) == (1, "approver")
    drops = {drop["sha256"] for drop in told["inputs"]}
    assert champion.drops.find("flights", "2013-01-20").sha256 in drops


def test_delivery_figures_for_people_and_for_machines(ratchet, champion):
    ratchet_said = delivery(champion.ledger, MODEL).as_dict()
    code, out, _ = ratchet("metrics", MODEL, "--as", "json")
    assert (code, json.loads(out)) == (0, {MODEL: ratchet_said})
    assert ratchet_said["promotions"] == 1 and ratchet_said["data_to_production"] > 0
    code, out, _ = ratchet("metrics")
    shown = {cells[1].strip(): cells[2].strip() for line in out.splitlines() if len(cells := line.split("│")) == 4}
    assert code == 0 and MODEL in out
    (month,) = ratchet_said["promotions_per_month"]
    assert shown == {
        "promotions": "1",
        "broken glass": "0",
        "rollbacks": "0",
        "promotions per month": f"{month}: 1",
        "failed share": "0%",
        "data to production": f"{ratchet_said['data_to_production']:g} hours",
        "drift to promotion": "none yet",
        "time to roll back": "none yet",
    }


def test_the_record_is_exported_line_by_line(ratchet, champion, tmp_path):
    code, out, _ = ratchet("audit", "export")
    events = [json.loads(line) for line in out.splitlines()]
    assert code == 0 and [event["seq"] for event in events] == list(range(1, len(champion.ledger.events()) + 1))
    assert [event["prev_hash"] for event in events[1:]] == [event["hash"] for event in events[:-1]]
    kinds = {event["kind"] for event in events}
    assert {"partition_published", "verdict_recorded", "champion_promoted"} <= kinds
    for event in events:
        assert set(event) == {"seq", "at", "kind", "actor", "subject", "payload", "prev_hash", "hash"}
        assert datetime.fromisoformat(event["at"]).utcoffset() == timedelta(0) and event["actor"]
    code, out, _ = ratchet("audit", "export", "--out", str(tmp_path / "audit.jsonl"), "--subject", f"models/{MODEL}")
    written = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text("utf-8").splitlines()]
    assert (code, out) == (0, "")
    assert written == [event for event in events if event["subject"].startswith(f"models/{MODEL}")] != []


def test_a_model_card_is_made_again_and_its_address_printed(ratchet, champion):
    filed = champion.ledger.card_url(MODEL, 1)
    code, out, _ = ratchet("card", MODEL, "1")
    assert (code, out.strip()) == (0, filed)
    spec = champion.settings.model_specs / f"{MODEL}.yaml"
    spec.write_text(spec.read_text("utf-8").replace("owner:", "owner: the night shift #"), "utf-8")
    code, out, _ = ratchet("card", MODEL, "1")
    assert code == 0 and out.strip() == champion.ledger.card_url(MODEL, 1) != filed
    folder = mlflow.artifacts.download_artifacts(out.strip(), tracking_uri=champion.settings.mlflow_tracking_uri)
    page = Path(folder).read_text("utf-8")
    version = champion.ledger.challenger(MODEL, 1)
    digests = [version.model_digest, version.snapshot, *(version.manifest[f"{of}_digest"] for of in ("source", "lock"))]
    facts = [*digests, f"{version.metrics['threshold']:.4g}", "max_iter 5", "2013-01-07", "approver", "in: owner."]
    assert [fact for fact in facts if fact not in page] == [] and "Evaluation: judge" in page
    assert page.index("<td>train<") < page.index("<td>validate<") < page.index("<td>judge<")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["reproduce", "train_delay"], ["'train_delay'", MODEL]),
        (["reproduce", MODEL, "7"], [f"{MODEL}", "7"]),
        (["explain-prediction", f"{MODEL}/2013-01-20/0123456789abcdef"], ["no prediction", "prediction_id"]),
        (["explain-prediction", "flight 1 of today"], ["not a prediction's id", "flight 1 of today"]),
        (["metrics", "train_delay"], ["'train_delay'", MODEL]),
        (["card", "train_delay", "1"], ["'train_delay'", MODEL]),
        (["card", MODEL, "7"], [f"{MODEL}", "7"]),
        (["land", "trains", "--from", "2013-01-01", "--to", "2013-01-01"], ["'trains'", "flights"]),
        (["land", "flights", "--from", "2013-01-02", "--to", "2013-01-01"], ["backwards", "2013-01-02"]),
        (["land", "flights", "--from", "2014-01-01", "--to", "2014-01-01"], ["2014-01-01", "2013"]),
        (["ingest", "trains"], ["'trains'", "planes"]),
        (["ingest", "flights", "--from", "2013-02-01", "--to", "2013-02-01"], ["2013-02-01"]),
        (["ingest", "flights", "--from", "2013-01-01"], ["from and to go together", "no to"]),
        (["retrain", "train_delay", "--reason", "r"], ["'train_delay'", MODEL]),
        (["retrain", MODEL, "--reason", "r", "--as-of", "soon"], ["as_of is not a day", "'soon'"]),
    ],
)
def test_an_error_names_the_thing_and_ends_with_what_to_do(ratchet, world, arguments, told):
    before = len(world.ledger.events())
    code, out, err = ratchet(*arguments)
    assert (code, out) == (1, "")
    assert err.startswith("error: ") and "Traceback" not in err
    assert all(word in err for word in told) and err.splitlines()[-1].startswith("  do: ")
    assert len(world.ledger.events()) == before


def test_upkeep_says_what_its_choices_do(ratchet, world):
    code, out, _ = ratchet("upkeep", "--help")
    told = " ".join(out.replace("│", " ").split())
    assert code == 0 and "days that old versions of tables stay readable" in told
    assert "say what would be cleared, and change nothing" in told


@pytest.mark.parametrize("arguments", [["retrain", MODEL], ["ingest"], ["audit", "verify", "--as", "xml"], ["promote"]])
def test_a_command_line_that_is_none_ends_with_2(ratchet, world, arguments):
    code, _, err = ratchet(*arguments)
    assert code == 2 and "Usage" in err


def test_the_audit_shows_words_of_others_as_they_are(ratchet, world):
    reason = "see [/red] and [bold] :warning:"
    ratchet("retrain", MODEL, "--reason", reason, "--as-of", FIRST_AS_OF)
    code, out, _ = ratchet("audit", "show", "--subject", f"models/{MODEL}")
    assert code == 0 and "retrain_requested" in out and "partition_published" not in out
    assert "[/red]" in out and "[bold]" in out and ":warning:" in out
    code, out, _ = ratchet("audit", "show", "--limit", "1")
    assert code == 0 and out.count(f"models/{MODEL}") == 1


def test_verify_tells_a_whole_chain_from_a_broken_one(ratchet, world):
    entries = len(world.ledger.events())
    code, out, _ = ratchet("audit", "verify")
    assert code == 0 and f"{entries} entries" in out
    with sqlite3.connect(world.settings.var / "ledger" / "ledger.db") as database:
        changed = database.execute("UPDATE ledger_events SET actor = 'nobody' WHERE seq = 7")
        assert changed.rowcount == 1
    database.close()
    code, out, _ = ratchet("audit", "verify")
    assert code == 1 and "broken at entry 7" in out
    code, out, _ = ratchet("audit", "verify", "--as", "json")
    report = json.loads(out)
    assert code == 1 and (report["ok"], report["first_bad"]) == (False, 7)


def test_verify_sees_a_cut_tail_and_a_lost_key(ratchet, world):
    database = sqlite3.connect(world.settings.var / "ledger" / "ledger.db")
    with database:
        database.execute("DELETE FROM ledger_events WHERE seq > 10")
    database.close()
    code, out, _ = ratchet("audit", "verify")
    assert code == 1 and "broken at entry 11" in out and "cut off" in out
    world.settings.ledger_key_file.unlink()
    code, out, err = ratchet("audit", "verify")
    assert code == 1 and "key" in (out + err)


def test_the_installed_command_ends_with_1_and_without_a_traceback(taken_in, tmp_path):
    var = shutil.copytree(taken_in / "var" / "ledger", tmp_path / "var" / "ledger").parent
    shutil.copytree(taken_in / "var" / "secrets", tmp_path / "var" / "secrets")
    environment = {**os.environ, "RATCHET_HOME": str(taken_in / "home"), "RATCHET_VAR": str(var)}
    command = [Path(sys.executable).with_name("ratchet"), "retrain", "train_delay", "--reason", "r"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith("error: no model named 'train_delay'") and "Traceback" not in done.stderr
