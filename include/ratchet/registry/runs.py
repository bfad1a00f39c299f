"""Candidates and reports, as MLflow runs."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version as installed
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import mlflow.sklearn
from mlflow.entities import LoggedModelOutput, LoggedModelStatus, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, Schema

from ratchet.errors import ModelFileError
from ratchet.failpoints import failpoint
from ratchet.model_files import check_model
from ratchet.model_types import TRUSTED_TYPES
from ratchet.registry.client import Client, create, plain

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel, Run
    from sklearn.base import BaseEstimator

KEY, ATTEMPT, MODEL_ID, DIGEST = "ratchet.key", "ratchet.attempt", "ratchet.model_id", "ratchet.model_digest"
EVALUATED = "ratchet.evaluated"
MOST_METRICS = 1000  # that MLflow takes in one call
REQUIREMENTS = [f"{name}=={installed(name)}" for name in ("scikit-learn", "skops", "pandas", "numpy")]


@dataclass(frozen=True)
class LoggedRun:
    """A finished run: its id, its metrics as they were logged, and the digest of the model files that it saved."""

    run_id: str
    metrics: dict[str, float]
    model_digest: str


class Runs(Client):
    """What is logged, each in the experiment of its model or report."""

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
        files: Mapping[str, Path | str] | None = None,
    ) -> LoggedRun:
        """A new run with the fitted estimator saved by skops, and `files` (see log_report) beside it.

        Always one of its own: a run that is there already, whoever tagged it with this key, is not taken. The ledger
        says which run of a key counts. `columns`, for the signature: input column -> MLflow type ("double", "string").
        Raises ModelFileError if the estimator holds types that `load_model` would refuse.
        """
        with (
            self._errors(f"candidate {name!r} of {model} can't be logged"),
            self._run(model, key, name, params, metrics, tags) as run,
        ):
            self._upload(run.info.run_id, files or {})
            model_id, digest = self._save_model(run, name, estimator, columns)
            self._client.log_batch(run.info.run_id, tags=[RunTag(MODEL_ID, model_id), RunTag(DIGEST, digest)])
            failpoint("registry.model_saved")
        failpoint("registry.run_finished")
        return LoggedRun(run.info.run_id, _numbers(metrics), digest)

    def log_evaluation(self, run_id: str, numbers: Mapping[str, float], files: Mapping[str, str | bytes]) -> None:
        """Add an evaluation to a candidate's run, once: its numbers as metrics, its files below evaluation/."""
        with self._errors(f"the evaluation of run {run_id} can't be logged"):
            run = self._client.get_run(run_id)
            if EVALUATED in run.data.tags:
                return
            self._upload(run_id, files, "evaluation")
            found = [Metric(name, value, run.info.start_time, 0) for name, value in _numbers(numbers).items()]
            for at in range(0, len(found), MOST_METRICS):
                self._client.log_batch(run_id, metrics=found[at : at + MOST_METRICS])
            self._client.set_tag(run_id, EVALUATED, "yes")

    def has_evaluation(self, run_id: str) -> bool:
        with self._errors(f"run {run_id} can't be read"):
            return EVALUATED in self._client.get_run(run_id).data.tags

    def log_report(
        self, name: str, key: str, files: Mapping[str, Path | str], metrics: Mapping[str, float] | None = None
    ) -> str:
        """A run of the experiment `name` that holds these files, once per `key`; a `str` is text, a Path a file.

        Returns a link to the first file (see `artifact_url`).
        """
        with self._errors(f"report {name} can't be saved"):
            if (found := self._finished(self._experiment(name), key)) is None:
                with self._run(name, key, name, {}, metrics or {}, {}) as run:
                    self._upload(run.info.run_id, files)
                found = self._finished(self._experiment(name), key)
        return self.artifact_url(found.info.run_id, next(iter(files)))

    def _finished(self, experiment: str, key: str) -> Run | None:
        """The finished run of that key; of several (two attempts at once) the one that ended first."""
        runs = self._client.search_runs(
            [experiment], f"tags.`{KEY}` = '{plain(key)}' and attributes.status = 'FINISHED'", max_results=50
        )
        return min(runs, key=lambda run: (run.info.end_time, run.info.run_id), default=None)

    @contextmanager
    def _run(self, experiment, key, name, params, metrics, tags) -> Iterator[Run]:
        """A new run; FINISHED only after the body, so that half of one never counts. FAILED if the body raises."""
        attempt, at = uuid4().hex, self._experiment(experiment)
        run = create(
            lambda: self._client.create_run(at, run_name=name, tags={**tags, KEY: plain(key), ATTEMPT: attempt}),
            lambda: next(iter(self._client.search_runs([at], f"tags.`{ATTEMPT}` = '{attempt}'")), None),
        )
        failpoint("registry.run_created")
        run_id, at_ms = run.info.run_id, run.info.start_time
        try:
            self._client.log_batch(
                run_id,
                metrics=[Metric(k, v, at_ms, 0) for k, v in _numbers(metrics).items()],
                params=[Param(k, str(v)) for k, v in params.items()],
            )
            yield run
        except Exception:
            with suppress(Exception):  # the first error is the one to tell; an unfinished run counts for nothing
                self._client.set_terminated(run_id, "FAILED")
            raise
        self._client.set_terminated(run_id, "FINISHED")

    def _upload(self, run_id: str, files: Mapping[str, Path | str | bytes], where: str | None = None) -> None:
        if not files:
            return
        with tempfile.TemporaryDirectory() as folder:
            for name, content in files.items():
                plain_bytes = content.read_bytes() if isinstance(content, Path) else content
                data = plain_bytes.encode() if isinstance(plain_bytes, str) else plain_bytes
                (Path(folder) / name).write_bytes(data)
            self._client.log_artifacts(run_id, folder, where)

    def _save_model(
        self, run: Run, name: str, estimator: BaseEstimator, columns: Mapping[str, str] | None
    ) -> tuple[str, str]:
        """Save with skops, check as `load_model` would, attach to the run. Returns the logged model's id and digest.

        In the steps of `mlflow.sklearn.log_model`, so that the digest is of the bytes sent, and the run is not yet
        finished when they are.
        """
        experiment, run_id = run.info.experiment_id, run.info.run_id
        logged = create(
            lambda: self._client.create_logged_model(experiment, name=name, source_run_id=run_id),
            lambda: self._saved_by(experiment, run_id),
        )
        with tempfile.TemporaryDirectory() as folder:
            saved = Path(folder) / "model"
            _save(estimator, saved, Model(logged.artifact_location, run_id, model_id=logged.model_id), columns)
            digest = check_model(saved)
            self._client.log_model_artifacts(logged.model_id, str(saved))
        self._client.finalize_logged_model(logged.model_id, LoggedModelStatus.READY)
        create(
            lambda: self._client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)]),
            lambda: self._client.get_run(run_id).outputs.model_outputs or None,
        )
        return logged.model_id, digest

    def _saved_by(self, experiment: str, run_id: str) -> LoggedModel | None:
        found = self._client.search_logged_models([experiment], f"source_run_id = '{run_id}'", max_results=1)
        return next(iter(found), None)


def _save(estimator: BaseEstimator, folder: Path, described: Model, columns: Mapping[str, str] | None) -> None:
    signature = columns and ModelSignature(
        inputs=Schema([ColSpec(kind, column, required=False) for column, kind in columns.items()])
    )
    try:
        mlflow.sklearn.save_model(
            estimator,
            folder,
            mlflow_model=described,
            serialization_format="skops",
            skops_trusted_types=list(TRUSTED_TYPES),
            pip_requirements=REQUIREMENTS,
            signature=signature or None,
            pyfunc_predict_fn="predict_proba" if hasattr(estimator, "predict_proba") else "predict",
        )
    except MlflowException as error:
        raise ModelFileError(
            "an estimator that can't be saved safely",
            seen=str(error)[:500],
            expected="only types of ratchet.model_types.ALLOWED_TYPES",
            hint="take another estimator: see docs/add-a-model.md for those that can be saved",
        ) from error


def _numbers(metrics: Mapping[str, float]) -> dict[str, float]:
    return {name: float(value) for name, value in metrics.items() if isfinite(value)}
