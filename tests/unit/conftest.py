"""A month of real flights, taken through the loop once a session, stage by stage; each test works on a copy.

A stage is a folder with a RATCHET_HOME (`home`) and its run-time state (`var`): drops, lake, ledger on SQLite, MLflow
on SQLite. `taken_in`: 30 days published. `trained`: a first challenger registered, a weak one. `reigning`: it is
champion, and has scored the last two weeks.
"""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ratchet.deployment import Deployment
from ratchet.settings import Settings

MODEL = "flight_delay"
FIRST, LAST = "2013-01-01", "2013-01-30"
FIRST_AS_OF, SECOND_AS_OF = "2013-01-17", "2013-01-31"
# Judge windows of 7 and 14 days: few, so the gate is told to be content with little.
SMALL = {
    "first_windows": {"validate_days": 3, "judge_days": 7},
    "windows": {"validate_days": 3, "judge_days": 14},
    "promote_if": {"minimum": 0.5, "alpha": 0.2, "min_days_first": 7, "min_days_comparison": 14, "resamples": 200},
}
WEAK = [{"name": "weak", "estimator": "hist_gradient_boosting", "params": {"max_iter": 5, "max_leaf_nodes": 3}}]


def deployment_in(root: Path) -> Deployment:
    var = root / "var"
    return Deployment(
        Settings(
            home=root / "home",
            var=var,
            ledger_url=f"sqlite:///{var / 'ledger' / 'ledger.db'}",
            ledger_key_file=var / "secrets" / "ledger.key",
            ledger_head_file=var / "secrets" / "ledger.head",
            mlflow_tracking_uri=f"sqlite:///{var / 'mlflow' / 'mlflow.db'}",
        )
    )


def train(deployment: Deployment, as_of: str, **request) -> dict:
    """What the train_evaluate DAG does: from a request to a challenger."""
    from ratchet.workflow import training

    request = {"reason": "a test", "source": "person", "actor": "trainer", **request}
    batch = training.request_retrain(deployment, MODEL, as_of=as_of, **request)["batch"]
    snapshot = training.take_training_snapshot(deployment, MODEL, batch, "run")["snapshot"]
    for candidate in deployment.model(MODEL).candidates:
        training.train_candidate(deployment, MODEL, snapshot, candidate.name)
    return training.put_forward_challenger(deployment, MODEL, batch, snapshot)


def ask(deployment: Deployment, version: int, run_id: str | None = None) -> dict:
    from ratchet.workflow import promotion

    place = {"dag_id": f"{MODEL}.promote", "run_id": run_id or f"promote v{version}", "task_id": "approve_promotion"}
    return promotion.ask_approval(deployment, MODEL, version, **place, try_number=1)


def answer(deployment: Deployment, version: int, question: dict, by: str | None, say: str = "Approve") -> dict:
    from ratchet.workflow import promotion

    return promotion.record_answer(
        deployment,
        MODEL,
        version,
        verdict_digest=question["verdict_digest"],
        answer=say,
        responded_by=by,
        responded_by_id=by,
        responded_at=datetime.now(UTC),
        run_id=f"promote v{version}",
        try_number=1,
    )


def promote(deployment: Deployment, version: int) -> dict:
    """What the promote DAG and its approver do."""
    from ratchet.workflow import promotion

    promotion.judge_challenger(deployment, MODEL, version)
    answer(deployment, version, ask(deployment, version), "approver")
    return promotion.promote_challenger(deployment, MODEL, version)


@pytest.fixture(scope="session")
def taken_in(tmp_path_factory, small_home) -> Path:
    from ratchet.upstream import land_flights
    from ratchet.workflow.ingestion import ingest_partitions

    root = tmp_path_factory.mktemp("taken_in")
    (root / "home").mkdir()
    small_home(root / "home", **SMALL, candidates=WEAK)
    deployment = deployment_in(root)
    land_flights(deployment.drops, FIRST, LAST)
    for dataset in deployment.datasets.good:
        ingest_partitions(deployment, dataset)
    return root


@pytest.fixture(scope="session")
def trained(tmp_path_factory, taken_in) -> Path:
    root = Path(shutil.copytree(taken_in, tmp_path_factory.mktemp("trained") / "world"))
    train(deployment_in(root), FIRST_AS_OF)
    return root


@pytest.fixture(scope="session")
def reigning(tmp_path_factory, trained) -> Path:
    from ratchet.workflow.scoring import due_days, score_partitions

    root = Path(shutil.copytree(trained, tmp_path_factory.mktemp("reigning") / "world"))
    deployment = deployment_in(root)
    promote(deployment, 1)
    score_partitions(deployment, MODEL, due_days(deployment, deployment.model(MODEL)))
    return root


@pytest.fixture
def copy_of(tmp_path):
    """A deployment on a copy of a stage."""

    def copy(stage: Path) -> Deployment:
        return deployment_in(Path(shutil.copytree(stage, tmp_path / "world")))

    return copy


@pytest.fixture(scope="session")
def loop():
    """The steps above, for tests to call (`loop.train`, `loop.promote`, ...), and the names and days of the stages."""
    from types import SimpleNamespace

    return SimpleNamespace(
        **{name: value for name, value in globals().items() if name.isupper()},
        deployment_in=deployment_in,
        train=train,
        ask=ask,
        answer=answer,
        promote=promote,
    )
