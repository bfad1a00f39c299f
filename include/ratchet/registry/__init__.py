"""The MLflow adapter: candidates as runs, challengers as model versions, reports as artifacts. Nothing is pickled.

The only package that imports MLflow. What it creates carries an idempotency key as a tag; it looks before it creates
and looks again after, so that a lost reply makes nothing twice. MLflow decides nothing, and nothing it says is taken on
trust: which run is a candidate's, which version is champion, and what their files must be, the ledger says.
"""

from __future__ import annotations

import os

# Read when MLflow is imported or at each call: no telemetry; a server that is down is given up in seconds, not minutes.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "1")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")

from ratchet.registry.runs import LoggedRun, Runs
from ratchet.registry.versions import Versions

__all__ = ["LoggedRun", "Registry"]


class Registry(Runs, Versions):
    """`tracking_uri` is `sqlite:///<file>` or the http address of a server. `ui`, the base of links for people, is
    $RATCHET_MLFLOW_UI, or the server itself; without either, links are MLflow's own `runs:/` and `models:/` URIs.

    Artifacts go where the server puts them; with SQLite beside the database, or to `artifact_root` if given.
    Raises RegistryError when MLflow can't be reached or refuses.
    """
