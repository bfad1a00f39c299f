"""What the DAGs promise by their shape, asserted over all ancestors, and what parsing them costs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
HEAVY = ("pandas", "numpy", "sklearn", "mlflow", "evidently", "great_expectations", "deltalake", "skops", "scipy")

DESCRIBE = """
import json, sys
from airflow.dag_processing.dagbag import DagBag
bag = DagBag(sys.argv[1], bundle_name="test")
heavy = sorted({name.split(".")[0] for name in sys.modules} & set(json.loads(sys.argv[2])))
print("DESCRIBED" + json.dumps({
    "errors": {str(path): text for path, text in bag.import_errors.items()},
    "heavy": heavy,
    "dags": {
        dag_id: {
            "doc": dag.doc_md,
            "tags": sorted(dag.tags),
            "schedule": getattr(dag.timetable, "expression", None),
            "tasks": {
                task.task_id: {
                    "ancestors": sorted(task.get_flat_relative_ids(upstream=True)),
                    "type": task.task_type,
                    "retries": task.retries,
                    "trigger_rule": getattr(task.trigger_rule, "value", task.trigger_rule),
                    "owner": task.owner,
                    "defaults": getattr(task, "defaults", None),
                }
                for task in dag.tasks
            },
        }
        for dag_id, dag in bag.dags.items()
    },
}))
"""


def describe(home: Path, tmp_path: Path) -> dict:
    """Parse the DAG folder in a fresh process, with no Connection, Variable, ledger or server there is."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "RATCHET", "MLFLOW"))}
    env |= {
        "AIRFLOW_HOME": str(tmp_path / "airflow"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(REPO / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "RATCHET_HOME": str(home),
        "RATCHET_VAR": str(tmp_path / "nothing-here"),
    }
    done = subprocess.run(
        [sys.executable, "-c", DESCRIBE, str(REPO / "dags"), json.dumps(HEAVY)],
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("DESCRIBED")]
    assert lines, done.stderr[-3000:]
    assert not (tmp_path / "nothing-here").exists(), "parsing made run-time state"
    return json.loads(lines[0].removeprefix("DESCRIBED"))


@pytest.fixture(scope="module")
def described(tmp_path_factory) -> dict:
    return describe(REPO, tmp_path_factory.mktemp("parse"))


def test_every_dag_of_the_design_is_there_and_imports(described):
    assert described["errors"] == {}
    datasets = [path.stem for path in (REPO / "include" / "datasets").glob("*.yaml")]
    models = [path.stem for path in (REPO / "include" / "models").glob("*.yaml")]
    kinds = ("retrain", "train_evaluate", "promote", "rollback", "score", "check_drift")
    wanted = {f"{name}.{kind}" for name in datasets for kind in ("ingest_validate", "readmit")}
    wanted |= {f"{name}.{kind}" for name in models for kind in kinds}
    assert set(described["dags"]) == wanted | {"ratchet.dispatch", "ratchet.upkeep"}


def test_parsing_loads_no_heavy_library(described):
    assert described["heavy"] == []


def test_promotion_is_always_behind_gate_and_approval(described):
    promoting = [
        task
        for dag in described["dags"].values()
        for task in dag["tasks"].values()
        if task["type"] == "PromoteChallengerOperator"
    ]
    assert promoting
    for task in promoting:
        assert {"judge_challenger", "approve_promotion"} <= set(task["ancestors"])
        assert task["trigger_rule"] == "all_success"


def test_an_approval_has_no_default_answer_and_no_second_try(described):
    approvals = [
        task
        for dag in described["dags"].values()
        for task in dag["tasks"].values()
        if task["type"] == "ApprovePromotionOperator"
    ]
    assert approvals
    for task in approvals:
        assert task["retries"] == 0
        assert task["defaults"] is None


def test_only_promote_and_rollback_hold_the_tasks_that_move_the_champion(described):
    movers = {"PromoteChallengerOperator", "RollbackChampionOperator"}
    found = {
        dag_id.split(".")[1]
        for dag_id, dag in described["dags"].items()
        if movers & {task["type"] for task in dag["tasks"].values()}
    }
    assert found == {"promote", "rollback"}


def test_every_dag_has_a_runbook_an_owner_and_tags(described):
    for dag_id, dag in described["dags"].items():
        assert dag["doc"] and "{name}" not in dag["doc"], dag_id
        assert "ratchet" in dag["tags"], dag_id
        assert all(task["owner"] not in ("", "airflow") for task in dag["tasks"].values()), dag_id


def test_a_spec_may_ask_for_retraining_by_the_calendar(tmp_path, described):
    home = tmp_path / "home"
    shutil.copytree(REPO / "include", home / "include", ignore=shutil.ignore_patterns("__pycache__"))
    spec = home / "include" / "models" / "flight_delay.yaml"
    spec.write_text(
        spec.read_text("utf-8").replace("retrain_when: {", 'retrain_when: {schedule: "0 5 1 * *", '), "utf-8"
    )
    seen = describe(home, tmp_path)
    assert seen["errors"] == {}
    assert described["dags"]["flight_delay.retrain"]["schedule"] != "0 5 1 * *"
    assert seen["dags"]["flight_delay.retrain"]["schedule"] == "0 5 1 * *"


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("datasets/broken.yaml", "description: no columns\n"),
        ("datasets/unreadable.yaml", "key: [a\n"),
        ("models/lonely.yaml", "description: a model of nothing\nunknown_key: 1\n"),
        (
            "datasets/sometimes.yaml",
            "{description: d, owner: o, time_zone: UTC, starts: '2013-01-01', schedule: every day, key: [a], "
            "columns: {a: string}}\n",
        ),
    ],
)
def test_a_wrong_spec_hurts_nobody_else(tmp_path, described, file, text):
    home = tmp_path / "home"
    shutil.copytree(REPO / "include", home / "include", ignore=shutil.ignore_patterns("__pycache__"))
    (home / "include" / file).write_text(text, "utf-8")
    seen = describe(home, tmp_path)
    assert set(seen["dags"]) == set(described["dags"])
    ((path, error),) = seen["errors"].items()
    assert path.endswith("spec_errors.py")
    assert Path(file).name in error
