"""A live Airflow and MLflow of the tests' own, on a small slice: ports, folders and specs apart from any `make up`.

It stands for one module and no longer: its environment must not reach other tests.
"""

from __future__ import annotations

import os

import pytest
from small_loop import REPO, make_home

from local_stack.servers import Stack, running_stack

SMALL = {"first_windows": {"validate_days": 5, "judge_days": 14}, "windows": {"validate_days": 5, "judge_days": 28}}


@pytest.fixture(scope="module")
def stack(tmp_path_factory) -> Stack:
    home = make_home(tmp_path_factory.mktemp("home"), **SMALL)
    extra = {"RATCHET_FAILPOINT_FILE": str(home / "failpoint")}
    with running_stack(
        tmp_path_factory.mktemp("var"), home=home, dags=REPO / "dags", plugins=REPO / "plugins", extra=extra
    ) as running:
        running.api("admin").wait_for_dags(["ratchet.dispatch", "flights.ingest_validate", "flight_delay.score"])
        yield running


@pytest.fixture(scope="module")
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


@pytest.fixture(scope="module")
def operator(stack):
    with stack.api("operator") as api:
        yield api


@pytest.fixture(scope="module")
def approver(stack):
    with stack.api("approver") as api:
        yield api
