"""The commands of the runbooks, run as they stand: every `sh` and `python` block, in order, once it came to that."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from small_loop import MODEL, REPO

from ratchet.errors import ValidationFailedError
from ratchet.workflow.ingestion import ingest_partitions

DAY = "2013-01-20"
BLOCK = re.compile(r"^ *```(sh|python)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)


def run_blocks(name: str, deployment, **changes: str) -> list[str]:
    """What the blocks of a runbook say on standard output; each has to succeed. `changes` adapt its example to ours."""
    text = (REPO / "docs" / "runbooks" / f"{name}.md").read_text("utf-8")
    blocks = BLOCK.findall(text)
    assert blocks, name
    settings = deployment.settings
    env = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(sys.path),
        "RATCHET_HOME": str(settings.home),
        "RATCHET_VAR": str(settings.var),
        "MLFLOW_TRACKING_URI": settings.mlflow_tracking_uri,
        "COLUMNS": "200",
    }
    said = []
    for language, block in blocks:
        code = "\n".join(line.strip() for line in block.splitlines()).replace("2013-08-06", DAY)
        for old, new in changes.items():
            code = code.replace(old, new)
        code = code.replace(".venv/bin/ratchet", f"{Path(sys.executable).with_name('ratchet')}")
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
    suite = deployment.suite("flights")
    suite.write_text(suite.read_text().replace('"min_value": 300', '"min_value": 50'))
    looked, ingested, readmitted = run_blocks("a-drop-was-refused", deployment)
    assert DAY in looked and "REFUSED" in looked and "seen 100" in looked
    assert json.loads(ingested)["status"] == "published"  # by the mended suite it is another answer
    assert json.loads(readmitted)["refused"] == {}
    assert deployment.ledger.partition("flights", DAY).rows == 100


def test_a_drop_was_restated(flights):
    deployment, frame = flights
    deliver(deployment, frame.assign(distance=frame["distance"] + 1), timedelta(days=1))
    ingest_partitions(deployment, "flights", actor="operator")
    looked, asked, read = run_blocks("a-drop-was-restated", deployment)
    assert "restated by the sender" in looked and "by operator" in looked
    assert json.loads(asked)["status"] in ("accepted", "merged")
    assert read == ""


def test_someone_asks_to_be_forgotten(flights):
    deployment, frame = flights
    tailnum = frame["tailnum"].value_counts().index[0]
    planes = set(deployment.lake.read("datasets/planes")["tailnum"])
    assert tailnum in planes
    erased, in_planes, asked, cleared = run_blocks("someone-asks-to-be-forgotten", deployment, N14228=tailnum)
    told = json.loads(erased)
    assert DAY in told["days"] and told["versions"] == {MODEL: [1]} and "planes" in told["also_in"]
    assert json.loads(in_planes)["dataset"] == "planes"
    assert json.loads(asked)["status"] in ("accepted", "merged")
    assert "the chain holds" in cleared
    for table in ("datasets/flights", "datasets/planes"):
        assert tailnum not in set(deployment.lake.read(table)["tailnum"])
