"""MLflow's client, made patient and silent, and its errors in our words."""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

import mlflow
import requests
from mlflow.exceptions import MlflowException

from ratchet.errors import ParameterError, RegistryError, UnknownNameError

logging.getLogger("mlflow.utils.environment").setLevel(logging.ERROR)  # at each save it warns that uv's venv has no pip
RETRIES = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"
T = TypeVar("T")
_LOCK, _INSIDE, _BEFORE = threading.Lock(), [], [None]  # of _no_retries


class Client:
    """One MLflow: its address, its links, its experiments."""

    def __init__(self, tracking_uri: str, ui: str | None = None, artifact_root: str | None = None) -> None:
        self.tracking_uri, self.artifact_root = tracking_uri, artifact_root
        served = tracking_uri if tracking_uri.startswith("http") else None
        self.ui = without_password(ui or os.environ.get("RATCHET_MLFLOW_UI") or served or "").rstrip("/")
        self._experiments: dict[str, str] = {}

    @cached_property
    def _client(self) -> mlflow.MlflowClient:
        if self.tracking_uri.startswith("sqlite:///"):
            Path(self.tracking_uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        mlflow.set_tracking_uri(self.tracking_uri)  # where MLflow itself resolves models:/<id>
        return mlflow.MlflowClient(self.tracking_uri)

    def make_ready(self, model: str) -> None:
        """Whether MLflow answers and can take the model's runs: found out before hours are spent on fitting."""
        with self._errors(f"{model} can't be logged"):
            self._experiment(model)

    def run_url(self, run_id: str) -> str:
        return f"{self.ui}/#/runs/{quote(run_id)}" if self.ui else f"runs:/{run_id}"

    def artifact_url(self, run_id: str, path: str) -> str:
        """The page of MLflow's UI that shows the file."""
        if not self.ui:
            return f"runs:/{run_id}/{path}"
        with self._errors(f"run {run_id} can't be read"):
            experiment = self._client.get_run(run_id).info.experiment_id
        return f"{self.ui}/#/experiments/{experiment}/runs/{quote(run_id)}/artifacts/{quote(path)}"

    def version_url(self, model: str, version: int) -> str:
        return f"{self.ui}/#/models/{quote(model)}/versions/{version}" if self.ui else f"models:/{model}/{version}"

    def _experiment(self, name: str) -> str:
        """The id of the experiment, made if missing."""
        if name not in self._experiments:
            found = self._client.get_experiment_by_name(name)
            if found is None:
                create(
                    lambda: self._client.create_experiment(name, artifact_location=self._artifacts(name)),
                    lambda: self._client.get_experiment_by_name(name),
                )
                found = self._client.get_experiment_by_name(name)
            if found.lifecycle_stage != "active":
                raise RegistryError(
                    f"the MLflow experiment {name!r} was deleted",
                    where=without_password(self.tracking_uri),
                    hint=f"restore it: mlflow experiments restore --experiment-id {found.experiment_id}",
                )
            self._experiments[name] = found.experiment_id
        return self._experiments[name]

    def _artifacts(self, experiment: str) -> str | None:
        """With SQLite MLflow's own default is ./mlruns, wherever the process happens to stand."""
        if self.artifact_root:
            return f"{self.artifact_root.rstrip('/')}/{quote(experiment)}"
        if self.tracking_uri.startswith("sqlite:///"):
            root = Path(self.tracking_uri.removeprefix("sqlite:///")).resolve().parent
            return (root / "artifacts" / experiment).as_uri()
        return None

    @contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        """MLflow's errors as ours: what it does not know, and what it can't do now."""
        try:
            yield
        except (MlflowException, requests.RequestException) as error:
            unknown = getattr(error, "error_code", None) == "RESOURCE_DOES_NOT_EXIST"
            kind, hint = (
                (UnknownNameError, "look at MLflow's UI; was it deleted by hand?")
                if unknown
                else (RegistryError, "nothing was decided: try again once MLflow answers")
            )
            seen, where = without_password(str(error))[:500], without_password(self.tracking_uri)
            # From None: MLflow's own text names the address with its password, and a traceback would print it.
            raise kind(what, seen=seen, where=where, hint=hint) from None


def create(make: Callable[[], T], find: Callable[[], T | None]) -> T:
    """make() once, with no HTTP retries, as a repeated POST makes two. If it fails, what find() sees counts: the reply
    may have been lost, or somebody else was first. Raises make's error when there is nothing."""
    try:
        with _no_retries():
            return make()
    except (MlflowException, requests.RequestException):
        if (found := find()) is None:
            raise
        return found


def without_password(text: str) -> str:
    """An address, or a text with some, without the passwords that they may hold."""
    return re.sub(r"//[^/@\s]*@", "//", text)


def plain(value: str) -> str:
    """A value that can stand between quotes in an MLflow filter. Raises ParameterError."""
    if re.fullmatch(r"[\w.:/ -]+", value):
        return value
    raise ParameterError(
        "a key that MLflow can't be asked for", seen=value, expected="letters, digits, . : / -", hint="use a digest"
    )


@contextmanager
def _no_retries() -> Iterator[None]:
    """MLflow reads the number from the environment, which threads share: the first to come in keeps what was there,
    the last to leave puts it back."""
    with _LOCK:
        if not _INSIDE:
            _BEFORE[:] = [os.environ.get(RETRIES)]
        _INSIDE.append(True)
        os.environ[RETRIES] = "0"
    try:
        yield
    finally:
        with _LOCK:
            _INSIDE.pop()
            if not _INSIDE:
                _put_back(_BEFORE[0])


def _put_back(before: str | None) -> None:
    if before is None:
        os.environ.pop(RETRIES, None)
    else:
        os.environ[RETRIES] = before
