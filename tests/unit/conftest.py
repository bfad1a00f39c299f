"""A month of real flights, taken through the loop once a session, stage by stage; each test works on a copy.

A stage is a folder with a RATCHET_HOME (`home`) and its run-time state (`var`): drops, lake, ledger on SQLite, MLflow
on SQLite. `taken_in`: 30 days published. `trained`: a first challenger registered, a weak one. `reigning`: it is
champion, and has scored the last two weeks. `succeeded`: version 2, the best of the shipped candidates, has taken over.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from small_loop import (
    FIRST,
    FIRST_AS_OF,
    LAST,
    MODEL,
    SECOND_AS_OF,
    SMALL,
    WEAK,
    deployment_in,
    make_home,
    promote,
    train,
)

from ratchet.deployment import Deployment


@pytest.fixture(scope="session")
def taken_in(tmp_path_factory) -> Path:
    from ratchet.upstream import land_flights
    from ratchet.workflow.ingestion import ingest_partitions

    root = tmp_path_factory.mktemp("taken_in")
    make_home(root / "home", **SMALL, candidates=WEAK)
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


@pytest.fixture(scope="session")
def succeeded(tmp_path_factory, reigning) -> Path:
    root = Path(shutil.copytree(reigning, tmp_path_factory.mktemp("succeeded") / "world"))
    make_home(root / "home", **SMALL)
    deployment = deployment_in(root)
    assert train(deployment, SECOND_AS_OF)["version"] == 2
    promote(deployment, 2)
    return root


@pytest.fixture
def copy_of(tmp_path):
    """A deployment on a copy of a stage."""

    def copy(stage: Path) -> Deployment:
        return deployment_in(Path(shutil.copytree(stage, tmp_path / "world")))

    return copy


@pytest.fixture
def as_environment(monkeypatch):
    """Makes a deployment the one that this process's environment describes, as it is for the CLI and for operators."""
    from ratchet.settings import get_settings

    def describe(deployment: Deployment) -> Deployment:
        monkeypatch.setenv("RATCHET_HOME", str(deployment.settings.home))
        monkeypatch.setenv("RATCHET_VAR", str(deployment.settings.var))
        monkeypatch.setenv("MLFLOW_TRACKING_URI", deployment.settings.mlflow_tracking_uri)  # MLflow sets it, too
        get_settings.cache_clear()
        return deployment

    yield describe
    get_settings.cache_clear()
