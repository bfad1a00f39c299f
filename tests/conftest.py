"""What all tests share. Nothing in tests reads the developer's own deployment: RATCHET_*, MLFLOW_* and AIRFLOW_* of the
shell are taken away first, and what Airflow writes when it is imported goes to a folder of its own."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

import pytest
import yaml

for name in [name for name in os.environ if name.startswith(("RATCHET_", "MLFLOW_", "AIRFLOW_"))]:
    del os.environ[name]
os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="airflow_home_")
atexit.register(shutil.rmtree, os.environ["AIRFLOW_HOME"], ignore_errors=True)

REPO = Path(__file__).resolve().parents[1]


def make_home(folder: Path, **changes: object) -> Path:
    """A RATCHET_HOME in `folder` (made if need be) with the shipped specs and suites; the model's spec with `changes`,
    top-level keys of its file. In a home that is there already, only the model's spec is written anew."""
    for part in ("include", "great_expectations"):
        if not (folder / part).exists():
            shutil.copytree(REPO / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPO / "requirements.lock", folder)
    shipped = (REPO / "include" / "models" / "flight_delay.yaml").read_text("utf-8")
    changed = yaml.safe_dump({**yaml.safe_load(shipped), **changes})
    (folder / "include" / "models" / "flight_delay.yaml").write_text(changed, "utf-8")
    return folder


@pytest.fixture(scope="session")
def small_home():
    """`make_home`, for windows that fit a few weeks of flights."""
    return make_home
