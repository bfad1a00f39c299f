"""The MLflow adapter: candidates as runs, challengers as model versions, reports as artifacts. Nothing is pickled.

The only module that imports MLflow. What it creates carries an idempotency key as a tag; it looks before it creates
and looks again after, so that a killed attempt, a second one beside it or a lost reply makes nothing twice. MLflow
decides nothing: which version is champion, and what its files must be, the ledger says.
"""

from __future__ import annotations

import os

# Read when MLflow is imported or at each call: no telemetry; a server that is down is given up in seconds, not minutes.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "1")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")

import logging
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version as installed
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote
from uuid import uuid4

import mlflow
import mlflow.sklearn
import requests
from mlflow.entities import LoggedModelOutput, LoggedModelStatus, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, Schema

from ratchet.errors import ModelFileError, ParameterError, RegistryError, UnknownNameError
from ratchet.model_files import TRUSTED_TYPES, check_model, model_digest

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion
    from sklearn.base import BaseEstimator

KEY, ATTEMPT, MODEL_ID, DIGEST, IDENTITY = (
    "ratchet.key",
    "ratchet.attempt",
    "ratchet.model_id",
    "ratchet.model_digest",
    "ratchet.identity",
)
REQUIREMENTS = [f"{name}=={installed(name)}" for name in ("scikit-learn", "skops", "pandas", "numpy")]
logging.getLogger("mlflow.utils.environment").setLevel(logging.ERROR)  # at each save it warns that uv's venv has no pip
RETRIES = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"
T = TypeVar("T")


@dataclass(frozen=True)
class LoggedRun:
    """A finished run: its id, and its metrics as they were logged."""

    run_id: str
    metrics: dict[str, float]


@dataclass(frozen=True)
class RegisteredVersion:
    """`model_digest` is that of the files as they were read back at registration; the ledger keeps it."""

    version: int
    model_digest: str
    run_id: str


class Registry:
    """`tracking_uri` is `sqlite:///<file>` or the http address of a server. `ui`, the base of links for people, is
    $RATCHET_MLFLOW_UI, or the server itself; without either, links are MLflow's own `runs:/` and `models:/` URIs.

    Artifacts go where the server puts them; with SQLite beside the database, or to `artifact_root` if given.
    Raises RegistryError when MLflow can't be reached or refuses.
    """

    def __init__(self, tracking_uri: str, ui: str | None = None, artifact_root: str | None = None) -> None:
        self.tracking_uri, self.artifact_root = tracking_uri, artifact_root
        served = tracking_uri if tracking_uri.startswith("http") else None
        self.ui = _address(ui or os.environ.get("RATCHET_MLFLOW_UI") or served or "").rstrip("/")
        self._experiments: dict[str, str] = {}

    @cached_property
    def _client(self) -> mlflow.MlflowClient:
        if self.tracking_uri.startswith("sqlite:///"):
            Path(self.tracking_uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        mlflow.set_tracking_uri(self.tracking_uri)  # where MLflow itself resolves models:/<id>
        return mlflow.MlflowClient(self.tracking_uri)

    # Candidates

    def find_candidate(self, model: str, key: str) -> LoggedRun | None:
        """The finished run of that idempotency key, if there is one."""
        with _errors(f"the runs of {model} can't be read", self.tracking_uri):
            run = self._finished(self._experiment(model), key)
        return run and LoggedRun(run.info.run_id, dict(run.data.metrics))

    def log_candidate(
        self,
        model: str,
        key: str,
        *,
        name: str,
        params: Mapping[str, object],
        metrics: Mapping[str, float],
        tags: Mapping[str, str],
        estimator: BaseEstimator,
        columns: Mapping[str, str] | None = None,
    ) -> LoggedRun:
        """A run with the fitted estimator saved by skops, once per `key`. Returns the run, or the one there was.

        `columns`, for the signature: input column -> MLflow type ("double", "string"). Raises ModelFileError if the
        estimator holds types that `load_model` would refuse.
        """
        if found := self.find_candidate(model, key):
            return found
        with (
            _errors(f"candidate {name!r} of {model} can't be logged", self.tracking_uri),
            self._run(model, key, name, params, metrics, tags) as run,
        ):
            model_id, digest = self._save_model(run, name, estimator, columns)
            self._client.log_batch(run.info.run_id, tags=[RunTag(MODEL_ID, model_id), RunTag(DIGEST, digest)])
        return self.find_candidate(model, key)

    def log_report(
        self, name: str, key: str, files: Mapping[str, Path | str], metrics: Mapping[str, float] | None = None
    ) -> str:
        """A run of the experiment `name` that holds these files, once per `key`; a `str` is text, a Path a file.

        Returns a link to the first file (see `artifact_url`).
        """
        with _errors(f"report {name} can't be saved", self.tracking_uri):
            if (found := self._finished(self._experiment(name), key)) is None:
                with self._run(name, key, name, {}, metrics or {}, {}) as run:
                    self._upload(run.info.run_id, files)
                found = self._finished(self._experiment(name), key)
        return self.artifact_url(found.info.run_id, next(iter(files)))

    # Versions

    def register(self, model: str, run_id: str, identity: str, tags: Mapping[str, str]) -> RegisteredVersion:
        """The model version of that identity, made from the run's saved model if there is none yet.

        The files are read back and checked first: no version without its artifact. Of two made at the same moment
        the lower number stays. Raises ModelFileError when the files are not those that the run saved.
        """
        with _errors(f"{model} can't be registered", self.tracking_uri):
            if found := self._version_of(model, identity):
                return found
            run = self._client.get_run(run_id)
            model_id, digest = self._read_back(run)
            self._create(lambda: self._client.create_registered_model(model), lambda: self._registered(model))
            tags = {**tags, IDENTITY: identity, DIGEST: digest, ATTEMPT: uuid4().hex}
            made = self._create(
                lambda: self._client.create_model_version(
                    model, f"models:/{model_id}", run_id, tags=tags, model_id=model_id
                ),
                lambda: next(iter(self._versions(model, ATTEMPT, tags[ATTEMPT])), None),
            )
            found = self._version_of(model, identity)
            if int(made.version) != found.version:
                self._client.delete_model_version(model, made.version)
        return found

    def versions(self, model: str) -> list[int]:
        """The numbers of the model's versions, in order; [] for an unknown model."""
        with _errors(f"the versions of {model} can't be read", self.tracking_uri):
            found = self._client.search_model_versions(f"name = '{_plain(model)}'", max_results=10_000)
        return sorted(int(version.version) for version in found)

    def set_alias(self, model: str, alias: str, version: int) -> None:
        with _errors(f"alias {alias!r} of {model} can't be set", self.tracking_uri):
            self._client.set_registered_model_alias(model, alias, str(version))

    def delete_alias(self, model: str, alias: str) -> None:
        with _errors(f"alias {alias!r} of {model} can't be deleted", self.tracking_uri):
            self._client.delete_registered_model_alias(model, alias)

    def alias_version(self, model: str, alias: str) -> int | None:
        """The version that the alias names; None without such an alias or model."""
        with _errors(f"the aliases of {model} can't be read", self.tracking_uri):
            registered = self._registered(model)
        found = (registered.aliases if registered else {}).get(alias)
        return None if found is None else int(found)

    def download(self, model: str, version: int, folder: Path) -> Path:
        """The files of a version, in a folder below `folder` named by their digest. Reads, builds nothing of them.

        What they are worth, `load_model` says, with the digest that the ledger holds.
        """
        with _errors(f"version {version} of {model} can't be read", self.tracking_uri):
            source = self._client.get_model_version(model, str(version)).source
        return self._fetch(source, Path(folder))

    # Links

    def run_url(self, run_id: str) -> str:
        return f"{self.ui}/#/runs/{quote(run_id)}" if self.ui else f"runs:/{run_id}"

    def artifact_url(self, run_id: str, path: str) -> str:
        """The page of MLflow's UI that shows the file."""
        if not self.ui:
            return f"runs:/{run_id}/{path}"
        with _errors(f"run {run_id} can't be read", self.tracking_uri):
            experiment = self._client.get_run(run_id).info.experiment_id
        return f"{self.ui}/#/experiments/{experiment}/runs/{quote(run_id)}/artifacts/{quote(path)}"

    def version_url(self, model: str, version: int) -> str:
        return f"{self.ui}/#/models/{quote(model)}/versions/{version}" if self.ui else f"models:/{model}/{version}"

    # Inside

    def _experiment(self, name: str) -> str:
        """The id of the experiment, made if missing."""
        if name not in self._experiments:
            found = self._client.get_experiment_by_name(name)
            if found is None:
                self._create(
                    lambda: self._client.create_experiment(name, artifact_location=self._artifacts(name)),
                    lambda: self._client.get_experiment_by_name(name),
                )
                found = self._client.get_experiment_by_name(name)
            if found.lifecycle_stage != "active":
                raise RegistryError(
                    f"the MLflow experiment {name!r} was deleted",
                    where=_address(self.tracking_uri),
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

    def _finished(self, experiment: str, key: str) -> Run | None:
        """The finished run of that key; of several (two attempts at once) the one that ended first."""
        runs = self._client.search_runs(
            [experiment], f"tags.`{KEY}` = '{_plain(key)}' and attributes.status = 'FINISHED'", max_results=50
        )
        return min(runs, key=lambda run: (run.info.end_time, run.info.run_id), default=None)

    @contextmanager
    def _run(self, experiment, key, name, params, metrics, tags) -> Iterator[Run]:
        """A new run; FINISHED only after the body, so that half of one never counts. FAILED if the body raises."""
        attempt, at = uuid4().hex, self._experiment(experiment)
        run = self._create(
            lambda: self._client.create_run(at, run_name=name, tags={**tags, KEY: key, ATTEMPT: attempt}),
            lambda: next(iter(self._client.search_runs([at], f"tags.`{ATTEMPT}` = '{attempt}'")), None),
        )
        run_id, at_ms = run.info.run_id, run.info.start_time
        try:
            self._client.log_batch(
                run_id,
                metrics=[Metric(k, float(v), at_ms, 0) for k, v in metrics.items() if isfinite(v)],
                params=[Param(k, str(v)) for k, v in params.items()],
            )
            yield run
        except Exception:
            with suppress(Exception):  # the first error is the one to tell; an unfinished run counts for nothing
                self._client.set_terminated(run_id, "FAILED")
            raise
        self._client.set_terminated(run_id, "FINISHED")

    def _upload(self, run_id: str, files: Mapping[str, Path | str]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            for name, content in files.items():
                (Path(folder) / name).write_bytes(
                    content.encode() if isinstance(content, str) else content.read_bytes()
                )
            self._client.log_artifacts(run_id, folder)

    def _save_model(
        self, run: Run, name: str, estimator: BaseEstimator, columns: Mapping[str, str] | None
    ) -> tuple[str, str]:
        """Save with skops, check as `load_model` would, attach to the run. Returns the logged model's id and digest.

        In the steps of `mlflow.sklearn.log_model`, so that the digest is of the bytes sent, and the run is not yet
        finished when they are.
        """
        experiment, run_id = run.info.experiment_id, run.info.run_id
        logged = self._client.create_logged_model(experiment, name=name, source_run_id=run_id)
        signature = columns and ModelSignature(
            inputs=Schema([ColSpec(kind, column, required=False) for column, kind in columns.items()])
        )
        with tempfile.TemporaryDirectory() as folder:
            saved = Path(folder) / "model"
            mlflow.sklearn.save_model(
                estimator,
                saved,
                mlflow_model=Model(logged.artifact_location, run_id, model_id=logged.model_id),
                serialization_format="skops",
                skops_trusted_types=list(TRUSTED_TYPES),
                pip_requirements=REQUIREMENTS,
                signature=signature or None,
                pyfunc_predict_fn="predict_proba",
            )
            digest = check_model(saved)
            self._client.log_model_artifacts(logged.model_id, str(saved))
        self._client.finalize_logged_model(logged.model_id, LoggedModelStatus.READY)
        self._client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])
        return logged.model_id, digest

    def _read_back(self, run: Run) -> tuple[str, str]:
        """Id and digest of the model that the run saved, its files read again and found to be those saved."""
        model_id, digest = run.data.tags.get(MODEL_ID), run.data.tags.get(DIGEST)
        with tempfile.TemporaryDirectory() as folder:
            seen = check_model(self._fetch(f"models:/{model_id}", Path(folder)))
        if seen != digest:
            raise ModelFileError(
                "the run's model files are not those that it saved",
                seen=seen,
                expected=digest,
                where=f"run {run.info.run_id}",
                hint="find out who changed them, and train again",
            )
        return model_id, digest

    def _fetch(self, source: str, folder: Path) -> Path:
        """Download a logged model to `folder`/<digest>, whole or not at all."""
        if not re.fullmatch(r"models:/m-[0-9a-f]+", source):
            raise ModelFileError(
                "a model version that does not point at a logged model",
                seen=source,
                expected="models:/m-...",
                where=_address(self.tracking_uri),
                hint="train and register again; look at who made this version",
            )
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".part-") as part:
            files = Path(part) / "files"
            files.mkdir()
            with _errors(f"{source} can't be downloaded", self.tracking_uri):
                mlflow.artifacts.download_artifacts(
                    artifact_uri=source, dst_path=str(files), tracking_uri=self.tracking_uri
                )
            (files / "registered_model_meta").unlink(missing_ok=True)  # MLflow's client adds it on the way
            return _put(files, folder / model_digest(files))

    def _registered(self, model: str):
        try:
            return self._client.get_registered_model(model)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise

    def _versions(self, model: str, tag: str, value: str) -> list[ModelVersion]:
        found = self._client.search_model_versions(f"name = '{_plain(model)}' and tags.`{tag}` = '{_plain(value)}'")
        return sorted(found, key=lambda version: int(version.version))

    def _version_of(self, model: str, identity: str) -> RegisteredVersion | None:
        """The version of that identity; of several the lowest number, which is the same for all who look."""
        for found in self._versions(model, IDENTITY, identity)[:1]:
            return RegisteredVersion(int(found.version), found.tags[DIGEST], found.run_id)
        return None

    def _create(self, make: Callable[[], T], find: Callable[[], T | None]) -> T:
        """make() once, with no HTTP retries, as a repeated POST makes two. If it fails, what find() sees counts:
        the reply may have been lost, or somebody else was first. Raises make's error when there is nothing."""
        try:
            with _no_retries():
                return make()
        except (MlflowException, requests.RequestException):
            if (found := find()) is None:
                raise
            return found


def _put(files: Path, target: Path) -> Path:
    """Move `files` to `target`, a folder named by their digest. What lies there already stays if it is whole."""
    with suppress(ModelFileError):
        if target.exists() and model_digest(target) == target.name:
            return target
    shutil.rmtree(target, ignore_errors=True)
    try:
        files.rename(target)
    except OSError:  # somebody else put the same files there meanwhile
        if not target.exists():
            raise
    return target


@contextmanager
def _no_retries() -> Iterator[None]:
    before = os.environ.get(RETRIES)
    os.environ[RETRIES] = "0"
    try:
        yield
    finally:
        os.environ.pop(RETRIES) if before is None else os.environ.update({RETRIES: before})


@contextmanager
def _errors(what: str, address: str) -> Iterator[None]:
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
        # From None: MLflow's own text names the address with its password, and a traceback would print it.
        raise kind(what, seen=_address(str(error))[:500], where=_address(address), hint=hint) from None


def _address(uri: str) -> str:
    """An address, or a text with some, without the passwords that they may hold."""
    return re.sub(r"//[^/@\s]*@", "//", uri)


def _plain(value: str) -> str:
    """A value that can stand between quotes in an MLflow filter. Raises ParameterError."""
    if re.fullmatch(r"[\w.:/ -]+", value):
        return value
    raise ParameterError(
        "a key that MLflow can't be asked for", seen=value, expected="letters, digits, . : / -", hint="use a digest"
    )
