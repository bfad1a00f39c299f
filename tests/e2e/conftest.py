"""A live Airflow and MLflow of the tests' own, on a small slice: ports, folders and specs apart from any `make up`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from local_stack.servers import Stack, running_stack

REPO = Path(__file__).resolve().parents[2]
SMALL = {"first_windows": {"validate_days": 5, "judge_days": 14}, "windows": {"validate_days": 5, "judge_days": 28}}


@pytest.fixture(scope="session")
def stack(tmp_path_factory, small_home) -> Stack:
    home = small_home(tmp_path_factory.mktemp("home"), **SMALL)
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
