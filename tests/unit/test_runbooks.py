"""The commands of runbooks and guides, run as they stand: each `sh` and `python` block, in order, once it came to that.

Each command is a process of its own that imports everything; so `make test` does it for one runbook and the auditor's
page only.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
from datetime import timedelta
from pathlib import Path

import pytest
from small_loop import MODEL, REPO, answer, place

from ratchet.errors import ValidationFailedError
from ratchet.workflow import approval
from ratchet.workflow.ingestion import ingest_partitions
from ratchet.workflow.promotion import promote_challenger, rollback_champion

DAY = "2013-01-20"
BLOCK = re.compile(r"^ *```(sh|python)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)


def text_of(page: str) -> str:
    return (REPO / "docs" / f"{page}.md").read_text("utf-8")


def run_blocks(page: str, deployment, **changes: str) -> list[str]:
    """What the blocks of a page of docs/ say on standard output; each has to succeed. `changes` adapt its example to
    ours, beside what all pages share."""
    blocks = BLOCK.findall(text_of(page))
    assert blocks, page
    settings = deployment.settings
    env = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(sys.path),
        "RATCHET_HOME": str(settings.home),
        "RATCHET_VAR": str(settings.var),
        "MLFLOW_TRACKING_URI": settings.mlflow_tracking_uri,
        "COLUMNS": "200",
    }
    installed = str(Path(sys.executable).with_name("ratchet"))
    changes |= {"2013-08-06": DAY, ".venv/bin/ratchet": installed, " var/": f" {settings.var}/"}
    said = []
    for language, block in blocks:
        code = textwrap.dedent(block)
        for old, new in changes.items():
            code = code.replace(old, new)
        command = ["bash", "-euc", code] if language == "sh" else [sys.executable, "-c", code]
        done = subprocess.run(command, env=env, capture_output=True, text=True, cwd=settings.home)
        assert done.returncode == 0, f"{code}\n{done.stdout}\n{done.stderr}"
        said.append(done.stdout)
    return said


def deliver(deployment, frame, later: timedelta) -> None:
    drop = deployment.drops.find("flights", DAY)
    deployment.drops.write("flights", DAY, frame, drop.delivered_at + later, "a correction")


@pytest.fixture
def flights(copy_of, reigning):
    """A deployment, and what it has published of the day."""
    deployment = copy_of(reigning)
    columns = list(deployment.dataset("flights").columns)
    return deployment, deployment.lake.read("datasets/flights", DAY, DAY)[columns]


def test_a_drop_was_refused(flights):
    deployment, frame = flights
    deliver(deployment, frame.head(100), timedelta(days=1))
    with pytest.raises(ValidationFailedError):
        ingest_partitions(deployment, "flights")
    (alert,) = deployment.ledger.open_alerts("flights")
    assert (alert.key, alert.facts["days"], alert.runbook) == ("data/flights", [DAY], "a-drop-was-refused")
    suite = deployment.suite("flights")
    suite.write_text(suite.read_text().replace('"min_value": 300', '"min_value": 50'))
    looked, ingested, readmitted = run_blocks("runbooks/a-drop-was-refused", deployment)
    assert DAY in looked and "REFUSED" in looked and "seen 100" in looked
    assert json.loads(ingested)["status"] == "published"  # by the mended suite it is another answer
    assert json.loads(readmitted)["refused"] == {}
    assert deployment.ledger.partition("flights", DAY).rows == 100 and deployment.ledger.open_alerts() == []


@pytest.mark.matrix
def test_a_drop_was_restated(flights):
    deployment, frame = flights
    deliver(deployment, frame.assign(distance=frame["distance"] + 1), timedelta(days=1))
    ingest_partitions(deployment, "flights", actor="operator")
    looked, asked, read = run_blocks("runbooks/a-drop-was-restated", deployment)
    assert "restated by the sender" in looked and "by operator" in looked
    assert json.loads(asked)["status"] in ("accepted", "merged")
    assert read == ""


@pytest.mark.matrix
def test_someone_asks_to_be_forgotten(flights):
    deployment, frame = flights
    tailnum = frame["tailnum"].value_counts().index[0]
    planes = set(deployment.lake.read("datasets/planes")["tailnum"])
    assert tailnum in planes
    erased, in_planes, asked, cleared = run_blocks("runbooks/someone-asks-to-be-forgotten", deployment, N14228=tailnum)
    told = json.loads(erased)
    assert DAY in told["days"] and told["versions"] == {MODEL: [1]} and "planes" in told["also_in"]
    assert json.loads(in_planes)["dataset"] == "planes"
    assert json.loads(asked)["status"] in ("accepted", "merged")
    assert "the chain holds" in cleared
    for table in ("datasets/flights", "datasets/planes"):
        assert tailnum not in set(deployment.lake.read(table)["tailnum"])


KEY = re.compile(r'^ *"(\w+)":', re.MULTILINE)


def test_audit_a_prediction(copy_of, reigning):
    """The page's prediction is one of 2 April; ours is of the same flight, on another day."""
    deployment, page = copy_of(reigning), text_of("audit-a-prediction")
    rows = deployment.lake.read(f"predictions/{MODEL}", DAY, DAY)
    (prediction,) = rows[(rows["carrier"] == "AA") & (rows["flight"] == 1) & (rows["origin"] == "JFK")]["prediction_id"]
    (shown,) = set(re.findall(r"flight_delay/2013-04-02/[0-9a-f]{16}", page))
    told = run_blocks("audit-a-prediction", deployment, **{shown: prediction, "2013-04-02": DAY})
    found, explained, file, events, card, whole, exported, counted, reproduced = told
    assert prediction in found
    facts = json.loads(explained)
    (flights,) = [drop for drop in facts["inputs"] if drop["dataset"] == "flights"]
    sha256, row = file.splitlines()
    assert sha256.split() == [flights["sha256"], flights["address"]] and row.startswith("AA,1,")
    assert facts["approval"]["by"] == "approver" and facts["gate"]["digest"] in events
    assert "approval_answered  by approver" in events and "champion_promoted  by approver" in events
    assert card.strip() == deployment.ledger.card_url(MODEL, 1)
    before = len(deployment.ledger.events()) - 2  # the last two say that a rebuild began, and that it was reproduced
    assert f"the chain holds: {before} entries" in whole and exported == "" and counted.startswith(f"{before} events")
    assert json.loads(reproduced)["rebuilt"]["to_the_last_bit"]
    assert deployment.ledger.events()[-1].kind == "version_reproduced"
    assert set(KEY.findall(page)) <= set(KEY.findall(explained + reproduced))


@pytest.mark.matrix
def test_delivery_figures(copy_of, reigning):
    deployment = copy_of(reigning)
    people, machines = run_blocks("delivery", deployment)
    figures = set(json.loads(machines)[MODEL]) - {"model"}
    told = {line.strip("│| ").split("│")[0].strip() for line in people.splitlines() if "│" in line}
    assert told == {name.replace("_", " ") for name in figures}
    assert all(f"| {name} |" in text_of("delivery") for name in told)


@pytest.mark.matrix
def test_roll_back(copy_of, succeeded):
    deployment = copy_of(succeeded)
    rollback_champion(deployment, MODEL, to_version=None, actor="operator", reason="late share", run_id="run 1")
    looked, held = run_blocks("runbooks/roll-back", deployment)
    assert "1 (champion)" in looked and "champion_rolled_back  by operator" in looked and "late share" in looked
    assert "day_held" not in held, "no day was held back"


@pytest.mark.matrix
def test_break_the_glass(copy_of, trained):
    deployment = copy_of(trained)
    approval.break_glass(deployment, MODEL, 1, actor="operator", reason="no feed", run_id="run 9")
    approval.ask_approval(deployment, MODEL, 1, **place("run 9"), glass_run="run 9")
    answer(deployment, 1, "approver", run_id="run 9")
    promote_challenger(deployment, MODEL, 1, glass_run="run 9")
    (looked,) = run_blocks("runbooks/break-the-glass", deployment)
    kinds = ("glass_broken  by operator", "approval_answered  by approver", "champion_forced  by approver")
    assert all(kind in looked for kind in kinds) and "1 (champion)" in looked
    assert re.search(r"broken glass +│ 1 ", looked)
