"""Alerts reach people: through each channel, at least once, worded so that they harm nobody, and with no secret."""

from __future__ import annotations

import errno
import json
import logging
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from alert_servers import chat_server, mail_server
from ledger_story import MODEL, settings_for
from small_loop import REPO

from ratchet.alert_text import alert_text, headline, routes_of, runbook_of
from ratchet.deployment import Deployment
from ratchet.monitoring.values import AREAS
from ratchet.workflow.alerts import send_news
from ratchet_airflow.notifiers import senders

pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")  # it is all on loopback

TOKEN, PASSWORD = "T000/B000/hushhush", "hunter2-hush"
HOSTILE = "AUC fell\r\nBcc: all@x.example\n\x1b[31m <!channel> <script>alert(1)</script> {{ 7 * 191 }} \u202egnp.exe"


def deployment_with(folder: Path, alerts: str = "log,file") -> Deployment:
    settings = settings_for(f"sqlite:///{folder / 'ledger.db'}", folder)
    return Deployment(replace(settings, alerts=alerts, runbooks_url="https://books.example/"))


def raised(deployment, level="page", what="AUC fell", key="performance/all", **facts):
    return deployment.ledger.raise_alert(MODEL, key, level, what, facts, "performance-fell")


def lines(deployment) -> list[dict]:
    path = deployment.settings.var / "alerts" / "alerts.jsonl"
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []


@pytest.fixture
def mails(monkeypatch):
    with mail_server(PASSWORD) as server:
        monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", server.connection(PASSWORD))
        monkeypatch.setenv("RATCHET_ALERTS_TO", "a@ops.example, b@ops.example")
        yield server


@pytest.fixture
def chat(monkeypatch):
    with chat_server() as server:
        monkeypatch.setenv("AIRFLOW_CONN_SLACK_DEFAULT", server.connection(TOKEN))
        yield server


def sweep(deployment, after: timedelta = timedelta(0)) -> dict:
    return send_news(deployment, senders(deployment), datetime.now(UTC) + after)


def test_each_level_is_in_the_log_and_the_file_once(tmp_path, caplog):
    deployment = deployment_with(tmp_path)
    caplog.set_level(logging.INFO)
    for level in ("note", "warn", "page"):
        raised(deployment, level, key=f"inputs/{level}", hurts="0.04 AUC")
    assert {channel: len(ids) for channel, ids in sweep(deployment)["sent"].items()} == {"log": 3, "file": 3}
    told = [record for record in caplog.records if record.message.startswith("ALERT")]
    assert [record.levelname for record in told] == ["INFO", "WARNING", "ERROR"]
    assert "hurts: 0.04 AUC" in told[2].message and "https://books.example/performance-fell.md" in told[2].message
    assert [(line["level"], line["news"], line["facts"]) for line in lines(deployment)] == [
        (level, level, {"hurts": "0.04 AUC"}) for level in ("note", "warn", "page")
    ]
    assert sweep(deployment) == {"sent": {}, "failed": {}} and len(lines(deployment)) == 3
    assert deployment.ledger.verify().ok


def test_worse_and_settled_are_news(tmp_path):
    deployment = deployment_with(tmp_path)
    for level in ("warn", "page"):
        raised(deployment, level)
        sweep(deployment)
    deployment.ledger.settle_alert(MODEL, "performance/all", "retrained")
    sweep(deployment)
    assert [line["news"] for line in lines(deployment)] == ["warn", "page", "settled"]
    assert lines(deployment)[-1]["why"] == "retrained" and lines(deployment)[-1]["times"] == 2


def test_who_asks_for_pages_gets_pages_alone(tmp_path, mails, chat):
    deployment = deployment_with(tmp_path, "log,file,smtp:page,slack")
    for level in ("note", "warn", "page"):
        raised(deployment, level, what=f"a {level}", key=f"inputs/{level}")
    assert sweep(deployment)["failed"] == {}
    assert [mail["subject"] for mail in mails.got] == ["PAGE flight_delay: a page"]
    assert mails.to == [["a@ops.example", "b@ops.example"]]
    assert [body["text"] for _, body in chat.got] == ["WARN flight_delay: a warn", "PAGE flight_delay: a page"]
    assert chat.got[0][0] == f"/services/{TOKEN}"
    sweep(deployment)
    assert (len(mails.got), len(chat.got), deployment.ledger.unsent_alerts()) == (1, 2, [])


def test_d9_hostile_text_is_harmless_in_each_channel(tmp_path, mails, chat, caplog):
    deployment = deployment_with(tmp_path, "log,file,smtp,slack")
    caplog.set_level(logging.INFO)
    raised(deployment, what=HOSTILE, key="inputs/a\nb", done=HOSTILE, **{"to\nX-Evil": ["<@U1>\n", 1]})
    assert sweep(deployment)["failed"] == {}
    (mail,) = mails.got
    assert mail["bcc"] is None and mails.to == [["a@ops.example", "b@ops.example"]]
    body = mail.get_body().get_content()
    assert "&lt;script&gt;" in body and "<script>" not in body and "{{ 7 * 191 }}" in body, "told, not rendered"
    ((_, post),) = chat.got
    assert "&lt;!channel&gt;" in post["text"] and "<" not in post["text"]
    (block,) = post["blocks"]
    assert block["text"]["type"] == "plain_text" and "{{ 7 * 191 }}" in block["text"]["text"]
    for text in (mail["subject"], post["text"], block["text"]["text"].replace("\n  ", ""), caplog.text.strip()):
        assert not set(text) & set("\r\x1b\u202e\x00")
    (record,) = [record for record in caplog.records if record.message.startswith("ALERT")]
    assert "\n" not in record.message and len(lines(deployment)) == 1


def test_a_long_fact_is_cut(tmp_path):
    alert = raised(deployment_with(tmp_path), moved=["x" * 9000], hurts="0.04")
    text = alert_text(alert, "books")
    assert len(text) < 1000 and text.index("hurts: 0.04") < text.index("moved: ")
    assert headline(alert) == f"PAGE {MODEL}: AUC fell" and "books/performance-fell.md" in text


def test_s3_a_channel_that_fails_is_told_without_secrets_and_tried_again(tmp_path, mails, chat, monkeypatch, caplog):
    caplog.set_level(logging.DEBUG, logger="ratchet")
    monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", mails.connection("wrong-" + PASSWORD))
    chat.says = 500
    deployment = deployment_with(tmp_path, "log,file,smtp,slack")
    first = raised(deployment)
    told = sweep(deployment)
    assert told["failed"] == {"smtp": "SMTPAuthenticationError 535", "slack": "AirflowException 500"}
    assert told["sent"] == {"log": [first.id], "file": [first.id]}, "neither holds up the others"
    assert {alert.key for alert in deployment.ledger.open_alerts("ratchet")} == {"channel/smtp", "channel/slack"}

    posts = len(chat.got)
    assert sweep(deployment)["failed"] == {} and len(chat.got) == posts, "not tried again at once"
    assert {line["key"] for line in lines(deployment)} == {"performance/all", "channel/smtp", "channel/slack"}
    assert set(sweep(deployment, timedelta(seconds=61))["failed"]) == {"smtp", "slack"}
    assert sweep(deployment, timedelta(seconds=90))["failed"] == {}, "two minutes now"

    chat.says = 200
    monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", mails.connection(PASSWORD))
    assert first.id in sweep(deployment, timedelta(minutes=4))["sent"]["smtp"]
    assert mails.got[0]["subject"] == headline(first)
    assert deployment.ledger.open_alerts("ratchet") == []
    sweep(deployment, timedelta(minutes=5))
    assert deployment.ledger.unsent_alerts() == [] and deployment.ledger.verify().ok
    said = caplog.text + json.dumps(lines(deployment)) + str(deployment.ledger.events())
    assert PASSWORD not in said and "hushhush" not in said


@pytest.mark.parametrize(("setting", "told"), [("log,pager", "pager"), ("log,smtp:loud", "smtp:loud")])
def test_a_channel_that_nobody_has_is_told_through_the_others(tmp_path, setting, told):
    deployment = deployment_with(tmp_path, setting)
    raised(deployment)
    assert sweep(deployment)["failed"] == {told: "NoSuchChannelError"}
    (alert,) = deployment.ledger.open_alerts("ratchet")
    assert alert.key == f"channel/{told}" and sweep(deployment)["sent"] == {"log": [alert.id]}


def test_a_channel_that_is_taken_out_of_the_setting_is_not_waited_for(tmp_path):
    raised(deployment_with(tmp_path, "log,pager"))
    sweep(deployment_with(tmp_path, "log,pager"))
    deployment = deployment_with(tmp_path, "log")
    sweep(deployment)
    assert deployment.ledger.unsent_alerts() == []


def test_many_at_once_are_ten_mails_the_loudest_first_and_one_that_counts_the_others(tmp_path, mails):
    deployment = deployment_with(tmp_path, "log,file,smtp")
    for n in range(14):
        raised(deployment, "page" if n == 13 else "warn", what=f"number {n}", key=f"inputs/{n}")
    assert {channel: len(ids) for channel, ids in sweep(deployment)["sent"].items()} == dict.fromkeys(
        ("log", "file", "smtp"), 14
    )
    subjects = [mail["subject"] for mail in mails.got]
    assert len(subjects) == 11 and subjects[0] == f"PAGE {MODEL}: number 13"
    assert subjects[-1] == "WARN ratchet: 4 more alerts, told as one"
    assert f"these: 4 warn of {MODEL}" in mails.got[-1].get_body().get_content()
    sweep(deployment)
    assert (len(mails.got), len(lines(deployment)), deployment.ledger.unsent_alerts()) == (11, 14, [])


def test_a_line_that_a_full_disk_cuts_short_is_not_sent_and_the_next_begins_anew(tmp_path, monkeypatch):
    deployment = deployment_with(tmp_path)
    alert = raised(deployment)
    with monkeypatch.context() as full:
        room = [100]

        def write(file: int, text: bytes, really=os.write) -> int:
            if not room:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return really(file, text[: room.pop()])

        full.setattr("ratchet.workflow.alerts.os.write", write)
        told = sweep(deployment)
    assert told["failed"] == {"file": "OSError No space left on device"} and "file" not in told["sent"]
    assert alert.id in sweep(deployment, timedelta(minutes=2))["sent"]["file"]
    cut, *whole = (deployment.settings.var / "alerts" / "alerts.jsonl").read_text("utf-8").splitlines()
    assert len(cut) == 100 and json.loads(whole[0])["id"] == alert.id


def test_the_file_may_be_moved_away_at_any_time_and_the_next_alert_begins_another(tmp_path):
    deployment, of = deployment_with(tmp_path), ("performance/all", "inputs/temp")
    path = deployment.settings.var / "alerts" / "alerts.jsonl"
    for key in of:
        raised(deployment, key=key)
        sweep(deployment)
        assert [line["key"] for line in lines(deployment)] == [key]
        path.rename(path.with_suffix(f".{of.index(key)}"))
    first, second = (path.with_suffix(f".{number}").read_text("utf-8").splitlines() for number in (0, 1))
    assert (len(first), len(second)) == (1, 1) and not path.exists()


def test_killed_between_sending_and_the_record_it_is_sent_again(tmp_path, monkeypatch):
    from ratchet.ledger import Ledger

    deployment = deployment_with(tmp_path)
    raised(deployment)
    with monkeypatch.context() as dying:
        dying.setattr(Ledger, "mark_alert_sent", lambda *args, **how: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            sweep(deployment)
    assert sweep(deployment)["sent"]["file"]


def test_the_setting_names_channels_and_their_lowest_levels():
    routes = {route.channel: route.level for route in routes_of("file, smtp:page,slack,slack,")}
    assert routes == {"log": "note", "file": "note", "smtp": "page", "slack": "warn"}


def test_a_person_sees_what_is_open_and_settles_it_in_their_name(tmp_path, monkeypatch, capsys, as_environment):
    from ratchet import cli

    deployment = as_environment(deployment_with(tmp_path))
    monkeypatch.setenv("LOGNAME", "analyst")
    for name in ("URL", "KEY_FILE", "HEAD_FILE"):
        monkeypatch.setenv(f"RATCHET_LEDGER_{name}", str(getattr(deployment.settings, f"ledger_{name.lower()}")))
    raised(deployment, hurts="0.04 AUC")

    def ratchet(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["ratchet", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.app()
        return ended.value.code or 0, "".join(capsys.readouterr())

    code, told = ratchet("alerts", MODEL)
    assert code == 0 and "PAGE flight_delay: AUC fell" in told and "hurts: 0.04 AUC" in told
    assert ratchet("settle-alert", MODEL, "performance/all", "--reason", "planned")[0] == 0
    assert deployment.ledger.events(f"alerts/{MODEL}")[-1].actor == "analyst"
    assert ratchet("alerts")[1] == "no open alert\n"
    assert ratchet("settle-alert", MODEL, "performance/all", "--reason", "planned")[0] == 1


@pytest.mark.parametrize("area", AREAS)
def test_each_watched_area_has_a_runbook(tmp_path, area):
    alert = deployment_with(tmp_path).ledger.raise_alert(MODEL, f"{area}/all", "note", "moved", {}, area)
    assert Path(runbook_of(alert, str(REPO / "docs" / "runbooks"))).is_file()
