"""A live Airflow and MLflow of the tests' own, on a small slice: ports, folders and specs apart from any `make up`.

It stands for one module and no longer: its environment must not reach other tests. A module may say `SPEC` (changes of
the model's spec), `VARIABLES` (of Airflow's environment) and `MORE_DAGS` ({file name: text}, beside those of dags/).
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from live_loop import MADE_DAGS, make_fab_accounts
from small_loop import MODEL, REPO, SMALL, make_home

from local_stack.servers import Stack, running_stack

MONTH = {
    "problem": SMALL["problem"],
    "retrain_when": SMALL["retrain_when"],
    "first_windows": {"validate_days": 5, "judge_days": 14},
    "windows": {"validate_days": 5, "judge_days": 28},
}


@pytest.fixture(scope="module")
def stack(request, tmp_path_factory) -> Stack:
    of_module = vars(request.module)
    home = make_home(tmp_path_factory.mktemp("home"), **of_module.get("SPEC", MONTH))
    dags = dags_with(tmp_path_factory.mktemp("dags"), of_module.get("MORE_DAGS", {}))
    extra = {"RATCHET_FAILPOINT_FILE": str(home / "failpoint"), **of_module.get("VARIABLES", {})}
    var = tmp_path_factory.mktemp("var")
    with running_stack(var, home=home, dags=dags, plugins=REPO / "plugins", extra=extra) as running:
        if "fab" in extra.get("AIRFLOW__CORE__AUTH_MANAGER", ""):
            make_fab_accounts(running)
        running.api("admin").wait_for_dags(MADE_DAGS)
        yield running


def dags_with(folder: Path, more: dict[str, str]) -> Path:
    """The project's DAG folder, or a copy of it with more files."""
    if not more:
        return REPO / "dags"
    shutil.copytree(REPO / "dags", folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    for name, text in more.items():
        (folder / name).write_text(text, "utf-8")
    return folder


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


@pytest.fixture(scope="module")
def service(stack):
    with stack.api("service") as api:
        yield api


@pytest.fixture
def unmoved(ratchet):
    """The champion, all its moves and MLflow's alias are after the test what they were before."""

    def standing() -> tuple:
        return ratchet.ledger.champion_history(MODEL), ratchet.registry.alias_version(MODEL, "champion")

    before = standing()
    yield
    assert standing() == before
