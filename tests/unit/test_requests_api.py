"""What became of a retrain request: told from the ledger alone, and over HTTP to those who may know."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import httpx
import pytest
from ledger_story import MODEL, Story, settings_for
from small_loop import REPO

from ratchet.errors import LedgerError, ParameterError, UnknownNameError
from ratchet.ledger import Rules, open_ledger
from ratchet.workflow.request_story import key_of, tell_request
from ratchet_airflow import api

RULES = Rules(cool_down_days=7, trainings=4, in_days=28, stop_after_rejected=3)
ASKED = f"/models/{MODEL}/requests"


@pytest.fixture
def story(tmp_path):
    return Story(open_ledger(settings_for(f"sqlite:///{tmp_path}/ledger.db", tmp_path)), datetime.now(UTC))


def ask(story, as_of="2013-04-01", **more):
    asked = {"reason": "it drifted", "source": "api", "actor": "service", "recipe": "recipe", "rules": RULES, **more}
    return story.ledger.request_retrain(MODEL, as_of, **asked)


def trained(story, version=1):
    """A request whose training is done: it has led to that version."""
    outcome = ask(story, f"2013-04-{version:02d}", source="person")
    story.ledger.start_batch(outcome.batch_id, "run-1", MODEL)
    story.register(version, batch_id=outcome.batch_id)
    story.ledger.finish_batch(outcome.batch_id, "done", version)
    return outcome


def told(story, outcome) -> str:
    return tell_request(story.ledger, MODEL, outcome.id)["told"]


def test_a_request_is_followed_from_its_batch_to_the_champion(story):
    outcome = ask(story)
    assert (
        told(story, outcome) == "accepted, batch b000001: its training as of 2013-04-01 is about to start, unless "
        "dispatch is paused"
    )
    story.ledger.start_batch("b000001", "run-1", MODEL)
    found = tell_request(story.ledger, MODEL, outcome.id)
    assert "runs, in attempt 1" in found["told"] and found["challenger"] is None
    assert found["run"] == {"dag_id": f"{MODEL}.train_evaluate", "run_id": "run-1"}
    story.register(1, batch_id="b000001")
    story.ledger.finish_batch("b000001", "done", 1)
    assert "version 1 is about to be judged" in told(story, outcome)
    verdict = story.judge(1)
    assert "version 1 passed the gate; an approver will be asked" in told(story, outcome)
    story.ask(1, verdict.digest)
    assert "an approver has until" in told(story, outcome)
    story.answer(1)
    assert "version 1 passed the gate, and approver approved it at" in told(story, outcome)
    assert "until" not in told(story, outcome), "nobody is waited for any more"
    story.promote(1, 0)
    found = tell_request(story.ledger, MODEL, outcome.id)
    assert "version 1 is champion since" in found["told"] and found["champion"] is True
    assert (found["verdict"]["verdict"], found["approval"]["responded_by"]) == ("PROMOTE", "approver")
    story.approved(2)
    story.promote(2, 1)
    found = tell_request(story.ledger, MODEL, outcome.id)
    assert "version 1 was champion; now it is version 2" in found["told"] and found["champion"] is False


def test_a_suppressed_one_says_what_holds_it_back_and_a_merged_one_what_it_joined(story):
    ask(story)
    suppressed = tell_request(story.ledger, MODEL, ask(story, "2013-04-02").id)
    assert suppressed["told"].startswith("suppressed: ") and "until 2013-04-08" in suppressed["told"]
    assert suppressed["batch"] is suppressed["run"] is suppressed["challenger"] is None
    assert suppressed["champion"] is False
    assert told(story, ask(story)).startswith("merged, batch b000001: ")


def test_a_training_that_failed_says_so(story):
    outcome = ask(story)
    story.ledger.finish_batch(outcome.batch_id, "failed")
    assert "failed; mend the cause and ask again" in told(story, outcome)


def test_each_way_in_which_a_version_can_end_is_told(story):
    said = {}
    for version, verdict in enumerate(["REJECT", "HOLD", "PROMOTE", "PROMOTE"], start=1):
        outcome = said[version] = trained(story, version)
        failed = [{"name": "harm", "passed": verdict == "PROMOTE", "value": 0.1}]
        story.ledger.record_verdict(MODEL, version, 0, None, verdict, failed, digest=f"verdict-{version}")
        if version == 3:
            story.ask(3, "verdict-3")
            story.answer(3, "Reject", by="approver")
        if version == 4:
            story.ledger.reject_smoked(MODEL, 4, "no score")
    outcome = said[5] = trained(story, 5)
    story.ask(5, story.judge(5).digest, run="run-5")
    story.ledger.expire_approvals(MODEL, story.now + timedelta(days=30))
    assert "the gate rejected version 1: harm" in told(story, said[1])
    assert "version 2 is held by the gate until more days have outcomes: harm" in told(story, said[2])
    assert "version 3 passed the gate, and approver refused it" in told(story, said[3])
    assert "version 4 failed its smoke test" in told(story, said[4])
    assert "version 5 passed the gate, and nobody answered in time" in told(story, outcome)


def test_a_refusal_of_an_older_verdict_is_a_person_s(story):
    """The newer one's question is open: nobody has answered that."""
    outcome, ledger = trained(story), story.ledger
    for number in (1, 2):
        window = ["2013-03-01", f"2013-03-2{number}"]
        ledger.record_verdict(MODEL, 1, 0, None, "PROMOTE", [], digest=f"verdict-{number}", window=window)
        story.ask(1, f"verdict-{number}", run=f"run-{number}")
    story.answer(1, "Reject", run="run-1")
    assert told(story, outcome).endswith("version 1 passed the gate, and a person refused it")


def test_a_request_is_known_by_its_id_or_its_key_under_its_own_model(story):
    outcome = ask(story, idempotency_key=key_of(MODEL, key="ticket/7"))
    assert tell_request(story.ledger, MODEL, key="ticket/7")["request"]["id"] == outcome.id
    with pytest.raises(UnknownNameError, match="of other"):
        tell_request(story.ledger, "other", outcome.id)
    with pytest.raises(UnknownNameError, match="ticket/8"):
        tell_request(story.ledger, MODEL, key="ticket/8")
    for none_or_two in ({}, {"id": outcome.id, "key": "ticket/7"}, {"key": "ticket/7", "run": "r"}):
        with pytest.raises(ParameterError, match="its id, its key or its run"):
            tell_request(story.ledger, MODEL, **none_or_two)


def test_no_caller_s_key_is_one_of_the_loop_s_own_or_a_run_s(story):
    by_run = ask(story, idempotency_key=key_of(MODEL, run="ticket-7"))
    of_loop = ask(story, idempotency_key="growth/v3/1/2013-04-01")
    for taken, first in ((f"{MODEL}.retrain/ticket-7", by_run), ("growth/v3/1/2013-04-01", of_loop)):
        assert ask(story, idempotency_key=key_of(MODEL, key=taken, run="another")).id != first.id
    assert tell_request(story.ledger, MODEL, run="ticket-7")["request"]["id"] == by_run.id


def test_broken_glass_is_told_beside_what_the_gate_said(story):
    outcome = trained(story)
    story.judge(1, "REJECT")
    glass = story.ledger.break_glass(MODEL, 1, actor="analyst", reason="now", run_id="glass-1")
    story.ask(1, glass.digest, run="glass-1")
    found = tell_request(story.ledger, MODEL, outcome.id)
    assert "its glass was broken: an approver has until" in found["told"]
    assert found["approval"]["verdict_digest"] == glass.digest
    story.answer(1, run="glass-1")
    story.promote(1, 0, glass_digest=glass.digest)
    found = tell_request(story.ledger, MODEL, outcome.id)
    assert found["told"].endswith("; of its broken glass approver said Approve") and found["champion"] is True


def call(path: str, method: str = "GET", **more) -> httpx.Response:
    """What the app answers, as it is mounted in no server."""

    async def sent() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(api.app), base_url="http://here") as client:
            return await client.request(method, path, **more)

    return asyncio.run(sent())


@pytest.fixture
def admitted(story, monkeypatch):
    """Callers are let in, to the story's ledger."""
    monkeypatch.setattr(api, "get_deployment", lambda: SimpleNamespace(ledger=story.ledger))
    monkeypatch.setitem(api.app.dependency_overrides, api.may_read, lambda: None)


def test_the_answer_over_http_is_the_library_s_with_links(story, admitted, monkeypatch):
    monkeypatch.setenv("RATCHET_MLFLOW_UI", "http://mlflow")
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "http://airflow/here/")
    outcome = trained(story)
    reply = call(f"{ASKED}/{outcome.id}")
    links = reply.json()["links"]
    assert reply.status_code == 200 and reply.json()["told"] == told(story, outcome)
    assert links["self"] == f"http://airflow/here/ratchet{ASKED}/{outcome.id}"
    assert links["training"] == f"http://airflow/here/dags/{MODEL}.train_evaluate/runs/run-1"
    assert links["version"] == f"http://mlflow/#/models/{MODEL}/versions/1" and "approval" not in links


def test_over_http_a_key_finds_a_request_and_what_is_not_there_is_404(story, admitted):
    by_run = ask(story, idempotency_key=key_of(MODEL, run="manual__1 +&"))
    by_key = ask(story, idempotency_key=key_of(MODEL, key="ticket/7 +&"))
    for asked, outcome in (({"run": "manual__1 +&"}, by_run), ({"key": "ticket/7 +&"}, by_key)):
        assert call(ASKED, params=asked).json()["request"]["id"] == outcome.id
    assert call(ASKED, params={"key": "nobody's"}).status_code == 404
    missing = call(f"{ASKED}/r999999")
    assert missing.status_code == 404 and "r999999" in missing.json()["detail"]
    assert call(ASKED).status_code == 400 and call(ASKED, params={"key": ""}).status_code == 422


def test_s3_a_ledger_that_is_away_tells_a_caller_nothing_of_where_it_is(admitted, monkeypatch, caplog):
    def away():
        raise LedgerError("the ledger can't be read", seen="no password for 'loop'", where="db.example", hint="wait")

    monkeypatch.setattr(api, "get_deployment", away)
    reply = call(f"{ASKED}/r000001")
    assert (reply.status_code, reply.json()) == (503, {"detail": "the ledger can't be read"})
    assert "db.example" in caplog.text


def test_s4_every_route_of_ours_refuses_the_anonymous_and_none_changes_anything():
    paths = {"model": MODEL, "id": "r000001"}
    assert {method for route in api.app.routes for method in route.methods} == {"GET"}
    for route in api.app.routes:
        assert call(route.path.format(**paths)).status_code == 401, route.path
        forged = {"Authorization": "Bearer nonsense"}
        assert call(route.path.format(**paths), "POST", headers=forged).status_code == 405
    assert len(api.app.routes) == 2
    for path in ("/docs", "/redoc", "/openapi.json"):
        assert call(path).status_code == 404


def test_the_plugin_imports_nothing_that_only_the_api_server_needs():
    code = (
        "import sys, json; sys.path.insert(0, 'plugins'); import airflow.plugins_manager; before = set(sys.modules);"
        "import ratchet_plugin; print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPO)
    new = json.loads(out.stdout.splitlines()[-1])
    assert "ratchet_plugin" in new and not [name for name in new if name.startswith(("fastapi", "ratchet.ledger"))]
