"""The monthly page: from the record alone, the same for the same record, safe to open, and worth reading."""

from __future__ import annotations

import json
import re
import sys
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote, urlsplit

import mlflow
import pytest
from field_story import MODEL as THINGS
from field_story import SPOILED, spoil_labels
from small_loop import MODEL, redeliver
from watched_world import spec_of

from ratchet import cli
from ratchet.errors import EmptyWindowError, ParameterError
from ratchet.monthly_page import monthly_page, performance_chart
from ratchet.workflow.health import watch_loop
from ratchet.workflow.ingestion import ingest_partitions
from ratchet.workflow.month_facts import apart_of, month_facts
from ratchet.workflow.month_performance import weeks_of
from ratchet.workflow.monthly import month_days, report_month
from ratchet.workflow.training import request_retrain
from ratchet_airflow.operators import ReportMonthOperator

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>"
LISTS = ("champions", "moves", "weeks", "days", "value", "moved", "alarms", "requests", "trainings", "data", "loop")
EMPTY = {
    **{"model": "m", "description": "d", "owner": "o", "month": "2013-06", "first": "2013-06-01", "last": "2013-06-30"},
    **{"metric": "roc_auc", "higher_is_better": True, "baseline": None, "summary": ["nothing"], "waiting": []},
    **{name: [] for name in LISTS},
}
WEEK = {"from": "2013-06-01", "to": "2013-06-07", "value": 0.7, "low": 0.6, "high": 0.8, "rows": 9, "days": 7}


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen, self.attributes = set(), set()

    def handle_starttag(self, tag: str, attributes: list) -> None:
        self.seen.add(tag)
        self.attributes |= {name for name, _ in attributes}


def tags_of(page: str) -> Tags:
    tags = Tags()
    tags.feed(page)
    return tags


def test_d9_hostile_text_of_the_record_is_shown_as_text():
    line = dict.fromkeys(("reason", "what", "says", "why", "finding", "explanation", "about"), HOSTILE)
    page = monthly_page(
        {**EMPTY, "model": HOSTILE, "summary": [HOSTILE]} | {name: [line] for name in ("requests", "alarms", "moved")}
    )
    tags = tags_of(page)
    assert not {"script", "img", "a", "link", "iframe"} & tags.seen
    assert not {"src", "href", "onerror"} & tags.attributes
    assert page.count("&lt;script&gt;") >= 5


def test_an_empty_month_says_so_under_every_heading():
    page = monthly_page(EMPTY)
    assert page.count("Nothing: ") == 11 and "<svg" not in page
    assert monthly_page(EMPTY) == page


def test_the_chart_draws_days_weeks_and_what_they_are_held_against():
    days = [{"day": "2013-06-02", "value": 0.65}, {"day": "2013-06-03", "value": None}]
    chart = performance_chart(days, [WEEK, {**WEEK, "value": None}], 0.72, "2013-06-01", "2013-06-30")
    assert (chart.count("<circle"), chart.count("<rect"), chart.count('class="judged"')) == (1, 1, 1)
    heights = [
        float(y)
        for y in re.findall(r'class="judged" [^/]*?y1="([\d.]+)"|<circle cx="[\d.]+" cy="([\d.]+)"', chart)[0]
        if y
    ]
    assert all(0 < y < 210 for y in heights)
    assert performance_chart([], [], 0.7, "2013-06-01", "2013-06-30") is None
    one = performance_chart([{"day": "2013-06-01", "value": 0.5}], [], None, "2013-06-01", "2013-06-01")
    assert one.count("<circle") == 1


def test_weeks_tile_the_month_and_a_short_rest_goes_with_the_last():
    assert month_days("2012-02") == ("2012-02-01", "2012-02-29")
    assert month_days("2013-12") == ("2013-12-01", "2013-12-31")
    assert [last for _, last in weeks_of(*month_days("2013-06"))] == [f"2013-06-{n}" for n in ("07", "14", "21", "30")]
    assert weeks_of(*month_days("2013-02"))[-1] == ("2013-02-22", "2013-02-28")


def text_of(report: dict) -> str:
    run_id, _, name = report["report"].removeprefix("runs:/").partition("/")
    folder = mlflow.MlflowClient().get_run(run_id).info.artifact_uri
    return Path(unquote(urlsplit(folder).path) or folder, name).read_text("utf-8")


def facts_of(deployment) -> dict:
    return month_facts(deployment, deployment.model(MODEL), "2013-01", "2013-01-01", "2013-01-31")


def test_rows_whose_label_can_not_be_used_are_left_out_of_performance_and_counted(copy_of, in_the_field, monkeypatch):
    deployment, days = copy_of(in_the_field), 24
    spoil_labels(monkeypatch)
    facts = month_facts(deployment, deployment.model(THINGS), "2013-02", *month_days("2013-02"))
    assert sum(week["rows"] for week in facts["weeks"]) == (60 - SPOILED) * days
    assert [line for line in facts["summary"] if line.endswith(f"labels can't be used: {SPOILED * days}")]


def test_the_month_of_a_champion_is_told_from_its_record(copy_of, reigning):
    deployment = copy_of(reigning)
    deployment.ledger.raise_alert(MODEL, "inputs/temp", "warn", "temp moved", {"as_of": "2013-01-30"}, "inputs")
    facts = facts_of(deployment)
    assert facts["days_scored"] == 14 and facts["champions"] == [
        {
            "version": "version 1",
            "first_day": "2013-01-17",
            "last_day": "2013-01-30",
            "days": 14,
            "trained_as_of": "2013-01-17",
        }
    ]
    (move,) = facts["moves"]
    assert (move["to_version"], move["by"], move["asked_by"], move["why"]) == (1, "approver", ["trainer"], "a test")
    assert [one["became"] for one in facts["requests"]] == ["accepted"]
    assert [(one["version"], one["verdict"]) for one in facts["trainings"]] == [(1, "NO_BASELINE")]
    assert {one["dataset"]: one["days"] for one in facts["data"]}["flights"] == 30
    assert [(one["level"], one["about"], one["settled_at"]) for one in facts["alarms"]] == [
        ("warn", "inputs/temp", "open")
    ]
    assert [one["what"] for one in facts["waiting"]] == ["warn inputs/temp: temp moved"]
    measured = [one for one in facts["weeks"] if one["value"]]
    assert sum(one["rows"] for one in facts["weeks"]) > 10_000 and measured
    assert all(one["low"] < one["value"] < one["high"] for one in measured)
    assert sum(one["value"] is not None for one in facts["days"]) >= 13


def test_the_same_record_gives_the_same_page_and_a_late_correction_another(copy_of, reigning):
    deployment = copy_of(reigning)
    mlflow.set_tracking_uri(deployment.settings.mlflow_tracking_uri)
    first = report_month(deployment, MODEL, "2013-01")
    assert report_month(deployment, MODEL, "2013-01") == first
    assert tags_of(text_of(first)).seen >= {"svg", "table"}
    redeliver(deployment, "outcomes", "2013-01-20", lambda frame: frame.assign(arr_delay=-frame["arr_delay"]))
    ingest_partitions(deployment, "outcomes")
    again = report_month(deployment, MODEL, "2013-01")
    assert again["report"] != first["report"] and text_of(again) != text_of(first)


def test_a_shell_and_a_task_file_the_same_page_and_the_task_links_to_it(
    copy_of, reigning, as_environment, monkeypatch, capsys
):
    deployment = as_environment(copy_of(reigning))
    monkeypatch.setattr(sys, "argv", ["ratchet", "report", MODEL, "--month", "2013-01"])
    with pytest.raises(SystemExit) as ended:
        cli.app()
    said = json.loads(capsys.readouterr().out)
    assert not ended.value.code and said["days_scored"] == 14
    context = {
        "params": {"month": "2013-01"},
        "dag": SimpleNamespace(params=["month"]),
        "dag_run": SimpleNamespace(conf={}),
    }
    task = ReportMonthOperator(task_id="report_month", model=MODEL)
    assert task.execute(context) == report_month(deployment, MODEL, "2013-01") == said
    (link,) = task.operator_extra_links
    assert link.get_link(task, ti_key=None) == said["report"]


def test_what_the_loop_looked_like_on_days_of_the_month_is_kept(copy_of, reigning):
    deployment = copy_of(reigning)
    spec = deployment.model(MODEL)
    asked = {"reason": "a test", "source": "person", "actor": "trainer", "as_of": "2013-01-31"}
    request_retrain(deployment, MODEL, **asked)
    late = datetime.now(UTC) + timedelta(days=2)
    watch_loop(deployment, spec, late)
    facts = month_facts(deployment, spec, f"{late:%Y-%m}", *month_days(f"{late:%Y-%m}"))
    assert facts["loop"][0]["what"] == "trainings, in the month" and facts["loop"][0]["says"].startswith(
        "on 1 of 1 days"
    )


def test_a_month_that_is_none_or_has_no_data_is_said(copy_of, reigning):
    deployment = copy_of(reigning)
    for wrong in ("2013-13", "2013-1", "june", "2013-01\n", 201301):
        with pytest.raises(ParameterError, match="no month"):
            report_month(deployment, MODEL, wrong)
    for empty in ("2012-12", "2013-07"):
        with pytest.raises(EmptyWindowError, match="no data of") as caught:
            report_month(deployment, MODEL, empty)
        assert "do: " in str(caught.value)
    told = report_month(deployment, MODEL)  # by the calendar: the month before the newest data's has none
    assert "no data of" in told["explanation"] and told["report"] is None


def test_an_instant_belongs_to_its_month_too(copy_of, reigning):
    """A live deployment's moves are put on record in the month, whatever data they rest on."""
    deployment = copy_of(reigning)
    month = f"{datetime.now(UTC):%Y-%m}"
    facts = month_facts(deployment, deployment.model(MODEL), month, *month_days(month))
    assert len(facts["moves"]) == 1 and facts["champions"] == [] and facts["weeks"] == []


@pytest.mark.parametrize(
    ("key", "days"), [("inputs/a", 7), ("skew/features", 7), ("performance/all", 14), ("labels/all", 14)]
)
def test_the_values_of_a_trend_share_no_day(key, days):
    assert apart_of(spec_of(watch={"window_days": 7, "outcome_days": 14}), key) == days
