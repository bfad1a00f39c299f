"""What the DAGs promise by their shape, asserted over all ancestors, and what parsing them costs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
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
            "on_failure": type(dag.on_failure_callback).__name__,
            "schedule": getattr(dag.timetable, "expression", None),
            "run_types": sorted(kind.value for kind in dag.allowed_run_types or []),
            "tasks": {
                task.task_id: {
                    "ancestors": sorted(task.get_flat_relative_ids(upstream=True)),
                    "type": task.task_type,
                    "retries": task.retries,
                    "trigger_rule": getattr(task.trigger_rule, "value", task.trigger_rule),
                    "owner": task.owner,
                    "defaults": getattr(task, "defaults", None),
                    "times_out": getattr(task, "response_timeout", None) is not None,
                    "broken_glass": getattr(task, "broken_glass", None),
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
    kinds = ("retrain", "train_evaluate", "promote", "break_glass", "rollback", "reproduce", "score", "check_drift")
    kinds = (*kinds, "monthly_report", "shadow")
    wanted = {f"{name}.{kind}" for name in datasets for kind in ("ingest_validate", "readmit")}
    wanted |= {f"{name}.{kind}" for name in models for kind in kinds}
    assert set(described["dags"]) == wanted | {"ratchet.dispatch", "ratchet.upkeep"}


def test_k7_the_failed_runs_of_every_dag_are_looked_for(described):
    from ratchet.deployment import Deployment
    from ratchet.settings import get_settings
    from ratchet.workflow.failed_runs import watched_dags

    watched = {*watched_dags(Deployment(replace(get_settings(), home=REPO))), "ratchet.dispatch"}  # which looks
    assert {*described["dags"]} - watched == set()
    assert {dag["on_failure"] for dag in described["dags"].values()} == {"FailedRunNotifier"}


def test_parsing_loads_no_heavy_library(described):
    assert described["heavy"] == []


def tasks_of(described, type_: str) -> list[tuple[dict, dict]]:
    """(DAG, task) of every task of that operator."""
    dags = described["dags"].values()
    return [(dag, task) for dag in dags for task in dag["tasks"].values() if task["type"] == type_]


def ancestor_types(dag, task) -> set[str]:
    return {dag["tasks"][name]["type"] for name in task["ancestors"]}


def test_promotion_is_always_behind_an_approval_and_a_basis_for_it(described):
    """A promotion by the gate comes after its judgement, one round the gate after the demand; each after a person."""
    promoting = tasks_of(described, "PromoteChallengerOperator")
    assert {task["broken_glass"] for _, task in promoting} == {True, False}
    for dag, task in promoting:
        basis = "BreakGlassOperator" if task["broken_glass"] else "JudgeChallengerOperator"
        assert ancestor_types(dag, task) == {basis, "ApprovePromotionOperator"}
        around = [dag["tasks"][name] for name in task["ancestors"]] + [task]
        assert {one["trigger_rule"] for one in around} == {"all_success"}


def test_an_approval_has_no_default_answer_no_second_try_and_an_end(described):
    approvals = tasks_of(described, "ApprovePromotionOperator")
    assert len(approvals) == len(tasks_of(described, "PromoteChallengerOperator"))
    for dag, task in approvals:
        assert (task["retries"], task["defaults"], task["times_out"]) == (0, None, True)
        basis = "BreakGlassOperator" if task["broken_glass"] else "JudgeChallengerOperator"
        assert ancestor_types(dag, task) == {basis}


MOVERS = {"PromoteChallengerOperator", "RollbackChampionOperator"}


def moving_dags(described) -> dict[str, dict]:
    """The DAGs that hold a task which moves the champion, by kind."""
    dags = described["dags"].items()
    return {
        dag_id.split(".")[1]: dag for dag_id, dag in dags if MOVERS & {task["type"] for task in dag["tasks"].values()}
    }


def test_only_promote_break_glass_and_rollback_hold_the_tasks_that_move_the_champion(described):
    assert set(moving_dags(described)) == {"promote", "break_glass", "rollback"}


def test_c4_no_backfill_schedule_or_asset_can_start_a_dag_that_moves_the_champion(described):
    for kind, dag in moving_dags(described).items():
        dispatched = ["operator_triggered"] if kind == "promote" else []
        assert dag["run_types"] == ["manual", *dispatched], kind
        assert dag["schedule"] is None, kind


def test_no_challenger_is_put_forward_before_every_candidate_was_evaluated(described):
    ((dag, task),) = tasks_of(described, "PutForwardChallengerOperator")
    assert {"TrainCandidateOperator", "EvaluateCandidateOperator"} <= ancestor_types(dag, task)
    assert task["trigger_rule"] == "all_success"


def test_every_dag_has_a_runbook_an_owner_and_tags(described):
    for dag_id, dag in described["dags"].items():
        assert dag["doc"] and "{name}" not in dag["doc"], dag_id
        assert "ratchet" in dag["tags"], dag_id
        assert all(task["owner"] not in ("", "airflow") for task in dag["tasks"].values()), dag_id


def test_a_spec_may_ask_for_retraining_by_the_calendar_and_allow_canaries(tmp_path, described):
    home = tmp_path / "home"
    shutil.copytree(REPO / "include", home / "include", ignore=shutil.ignore_patterns("__pycache__"))
    spec = home / "include" / "models" / "flight_delay.yaml"
    text = spec.read_text("utf-8").replace("retrain_when: {", 'retrain_when: {schedule: "0 5 1 * *", ')
    spec.write_text(f"{text}\nfield_test: {{canary_share: 0.05}}\n", "utf-8")
    seen = describe(home, tmp_path)
    assert seen["errors"] == {}
    assert described["dags"]["flight_delay.retrain"]["schedule"] != "0 5 1 * *"
    assert seen["dags"]["flight_delay.retrain"]["schedule"] == "0 5 1 * *"
    canary = seen["dags"]["flight_delay.canary"]
    assert (canary["run_types"], canary["schedule"]) == (["manual"], None)
    assert "flight_delay.canary" not in described["dags"], "none is allowed by the shipped spec"


WRONG_SPECS = {
    "datasets/broken.yaml": "description: no columns\n",
    "datasets/unreadable.yaml": "key: [a\n",
    "datasets/sometimes.yaml": (
        "{description: d, owner: o, time_zone: UTC, starts: '2013-01-01', schedule: every day, key: [a], "
        "columns: {a: string}}\n"
    ),
    "models/lonely.yaml": "description: a model of nothing\nunknown_key: 1\n",
}


def test_wrong_specs_are_listed_together_and_hurt_nobody_else(tmp_path, described):
    home = tmp_path / "home"
    shutil.copytree(REPO / "include", home / "include", ignore=shutil.ignore_patterns("__pycache__"))
    for file, text in WRONG_SPECS.items():
        (home / "include" / file).write_text(text, "utf-8")
    seen = describe(home, tmp_path)
    assert set(seen["dags"]) == set(described["dags"])
    ((path, error),) = seen["errors"].items()
    assert path.endswith("spec_errors.py")
    assert [file for file in WRONG_SPECS if Path(file).name not in error] == []
