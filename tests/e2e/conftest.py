"""A live Airflow and MLflow of the tests' own, on a small slice: ports, folders and specs apart from any `make up`."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import yaml

from local_stack.servers import Stack, running_stack

REPO = Path(__file__).resolve().parents[2]
SMALL = {"first_windows": {"validate_days": 5, "judge_days": 14}, "windows": {"validate_days": 5, "judge_days": 28}}


def small_home(folder: Path) -> Path:
    """A RATCHET_HOME with the shipped specs and suites, its model on windows that fit a month."""
    for part in ("include", "great_expectations"):
        shutil.copytree(REPO / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPO / "requirements.lock", folder)
    path = folder / "include" / "models" / "flight_delay.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text("utf-8")), **SMALL}), "utf-8")
    return folder


@pytest.fixture(scope="session")
def stack(tmp_path_factory) -> Stack:
    home = small_home(tmp_path_factory.mktemp("home"))
    with running_stack(
        tmp_path_factory.mktemp("var"), home=home, dags=REPO / "dags", plugins=REPO / "plugins"
    ) as running:
        running.api("admin").wait_for_dags(["ratchet.dispatch", "flights.ingest_validate", "flight_delay.score"])
        yield running


@pytest.fixture(scope="session")
def ratchet(stack):
    """The library on the same state as the live Airflow."""
    from ratchet.deployment import Deployment
    from ratchet.settings import get_settings

    before = dict(os.environ)
    os.environ.update(stack.client)
    get_settings.cache_clear()
    try:
        yield Deployment(get_settings())
    finally:
        os.environ.clear()
        os.environ.update(before)
        get_settings.cache_clear()


@pytest.fixture(scope="session")
def operator(stack):
    with stack.api("operator") as api:
        yield api


@pytest.fixture(scope="session")
def approver(stack):
    with stack.api("approver") as api:
        yield api
