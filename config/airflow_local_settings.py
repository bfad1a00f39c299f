"""Loads the heavy libraries once, in the scheduler, before it forks LocalExecutor's workers.

Airflow imports this module by its name in each of its processes. LocalExecutor's workers are forks of the scheduler and
tasks are forks of the workers, so what the scheduler has imported costs a task nothing: 3 to 12 s less for each.
In every other process (API server, DAG processor, command line) nothing is loaded.

Only libraries: none of Ratchet's own modules, so that a task always runs the code as it is on disk. Only imports, and
what a library works out once for each process: no client, session or thread may come out of it, since a fork would
share it (`check_no_threads` says so if one does).
`RATCHET_PRELOAD=0` turns it off.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
import time
import warnings
from pathlib import Path

__all__: list[str] = []  # nothing here overrides a setting of Airflow's

# Each with what it loads late, at its first use.
PRELOADED = (
    "git",
    "pandas",
    "pyarrow.dataset",
    "pyarrow.parquet",
    "deltalake.fs",
    "sqlalchemy.dialects.sqlite",
    "sqlalchemy.orm",
    "sklearn.calibration",
    "sklearn.compose",
    "sklearn.dummy",
    "sklearn.ensemble",
    "sklearn.impute",
    "sklearn.linear_model",
    "sklearn.metrics",
    "sklearn.pipeline",
    "sklearn.preprocessing",
    "skops.io",
    "fairlearn.metrics",
    "matplotlib.backends.backend_agg",
    "optuna",
    "mlflow",
    "mlflow.pyfunc",
    "mlflow.sklearn",
    "mlflow.store.artifact.mlflow_artifacts_repo",
    "mlflow.store.model_registry.rest_store",
    "mlflow.store.tracking.rest_store",
    "great_expectations",
    "evidently",
    "evidently.presets",
    "plotly.offline",
)


def is_scheduler(argv: list[str]) -> bool:
    """Whether this process is `airflow scheduler` (`python -m airflow` has "-m" as its name at this point)."""
    return os.path.basename(argv[0]) in ("airflow", "-m", "__main__.py") and argv[1:2] == ["scheduler"]


def preload() -> None:
    """Import `PRELOADED`. A library that does not import is left to the task that needs it, which then says so."""
    log = logging.getLogger("ratchet.preload")
    began = time.monotonic()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # skops looks at every name of every module, deprecated ones of Airflow too
        for name in PRELOADED:
            try:
                importlib.import_module(name)
            except Exception:  # the scheduler must start whatever a library does
                log.warning("%s can't be loaded ahead of its tasks", name, exc_info=True)
        list_installed(log)
    log.warning("libraries loaded ahead of their tasks in %.1f s", time.monotonic() - began)
    check_no_threads(log)


def list_installed(log: logging.Logger) -> None:
    """Have MLflow make its table of installed packages, which it keeps: 0.3 s at the first save of each task."""
    try:
        from mlflow.utils.requirements_utils import warn_dependency_requirement_mismatches

        warn_dependency_requirement_mismatches(["mlflow"])  # satisfied, so it says nothing
    except Exception:  # not a public part of MLflow: without it tasks are slower, that is all
        log.warning("MLflow's table of installed packages can't be made ahead of its tasks", exc_info=True)


def check_no_threads(log: logging.Logger) -> None:
    """Warn of threads that the imports started: a lock that one holds at the fork stays locked in the workers.

    Arrow's and Delta's allocator (jemalloc) has threads of its own and sees to forks itself.
    """
    tasks = Path("/proc/self/task")
    names = [(task / "comm").read_text().strip() for task in tasks.iterdir()] if tasks.is_dir() else []
    others = sorted(name for name in names if not name.startswith("jemalloc"))[1:]
    if others:
        log.warning("threads at the fork that were not expected: %s", others)


if is_scheduler(sys.argv) and os.environ.get("RATCHET_PRELOAD", "1") != "0":
    preload()
