"""Somebody changes a model's files where MLflow keeps them, behind the project's back; or MLflow is away."""

from __future__ import annotations

import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path

from mlflow_server import free_port

from ratchet.deployment import Deployment
from ratchet.registry.runs import MODEL_ID


def stored_files(deployment: Deployment, model: str, version: int) -> Path:
    """The folder with the version's files, of this world alone: copies of a world share what MLflow has on disk."""
    mine = deployment.settings.var / "mlflow" / "own" / str(version)
    if not mine.exists():
        model_id, folder = _where(deployment, model, version)
        shutil.copytree(folder, mine)
        with sqlite3.connect(deployment.settings.mlflow_tracking_uri.removeprefix("sqlite:///")) as database:
            moved = (mine.as_uri(), model_id)
            database.execute("UPDATE logged_models SET artifact_location = ? WHERE model_id = ?", moved)
    return mine


def flip_a_bit(deployment: Deployment, model: str, version: int) -> None:
    file = stored_files(deployment, model, version) / "model.skops"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def swap_files(deployment: Deployment, model: str, version: int, others: int) -> None:
    """The version's files are whole, and those of another version."""
    mine = stored_files(deployment, model, version)
    _, theirs = _where(deployment, model, others)
    shutil.rmtree(mine)
    shutil.copytree(theirs, mine)


def without_mlflow(deployment: Deployment) -> Deployment:
    """The same world while nobody answers at MLflow's address."""
    return Deployment(replace(deployment.settings, mlflow_tracking_uri=f"http://127.0.0.1:{free_port()}"))


def _where(deployment: Deployment, model: str, version: int) -> tuple[str, Path]:
    client = deployment.registry._client
    run = client.get_run(deployment.ledger.challenger(model, version).mlflow_run_id)
    model_id = run.data.tags[MODEL_ID]
    return model_id, Path(client.get_logged_model(model_id).artifact_location.removeprefix("file://"))
