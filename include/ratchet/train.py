"""Fit one candidate, measure it on the validate window, choose the best, and say who the challenger is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
from sklearn.metrics import (
    accuracy_score,
    brier_score_loss,
    f1_score,
    log_loss,
    mean_absolute_error,
    precision_recall_curve,
    roc_auc_score,
    root_mean_squared_error,
)
from threadpoolctl import threadpool_limits

from ratchet.candidates import make_estimator
from ratchet.digests import digest_of
from ratchet.errors import EmptyWindowError, ParameterError, SpecError
from ratchet.score import score_frame
from ratchet.specs import METRICS_OF_TASK
from ratchet.specs.judging import HIGHER_IS_BETTER

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.pipeline import Pipeline

    from ratchet.snapshot import Snapshot
    from ratchet.specs import CandidateSpec, ModelSpec


@dataclass(frozen=True)
class Fitted:
    """`metrics` are plain floats of the validate window (see train_candidate); `seconds` is the fit's own time."""

    name: str
    estimator: Pipeline
    metrics: dict[str, float]
    seconds: float


def train_candidate(candidate: CandidateSpec, spec: ModelSpec, snapshot: Snapshot, n_threads: int = 1) -> Fitted:
    """Fit on the train window, measure on validate; the judge window is not looked at.

    Fits the candidate's `params` as they are: searching better ones is ratchet.tuning's. metrics: those of `measure`,
    rows_train, and positive_share_train of a binary model. Equal snapshots give equal predictions: rows are in a fixed
    order, the seed is the spec's and the threads are pinned. Raises EmptyWindowError if a window has no rows or one
    class only, SpecError when scikit-learn refuses the parameters or the data.
    """
    train, validate = _window(snapshot, "train", spec), _window(snapshot, "validate", spec)
    estimator = make_estimator(candidate, spec)
    with threadpool_limits(limits=n_threads), _refusals(candidate, spec):
        started = perf_counter()
        estimator.fit(train[spec.features], _target(train["label"], spec))
        seconds = perf_counter() - started
        scores = score_frame(estimator, validate, spec)
        if not np.isfinite(scores.to_numpy()).all():
            raise ValueError("it predicts what is no number")
    metrics = measure(validate["label"], scores, spec) | {"rows_train": float(len(train))}
    if spec.task == "binary":
        metrics["positive_share_train"] = float(train["label"].mean())
    return Fitted(candidate.name, estimator, metrics, seconds)


def measure(label: pd.Series, scores: pd.DataFrame, spec: ModelSpec) -> dict[str, float]:
    """Metrics of predictions in the spec's score columns, by its task, and rows_validate.

    binary: roc_auc, log_loss, brier, threshold (see `choose_threshold`) and its f1. multiclass: log_loss, accuracy.
    regression: mae, rmse.
    """
    measured = _MEASURES[spec.task](label, scores, spec)
    return {name: float(value) for name, value in measured.items()} | {"rows_validate": float(len(label))}


def choose_threshold(label: pd.Series, score: pd.Series, spec: ModelSpec) -> float:
    """The score at and above which a row is acted on: the cheapest by `evaluate.costs`, else that of the best F1 (the
    lowest of several)."""
    if spec.evaluate.costs:
        from ratchet.evaluation.value import cheapest_threshold

        return cheapest_threshold(label, score, spec.evaluate.costs)
    precision, recall, thresholds = precision_recall_curve(label, score)
    both = precision + recall
    f1 = np.divide(2 * precision * recall, both, out=np.zeros_like(both), where=both > 0)[: len(thresholds)]
    return float(thresholds[int(np.argmax(f1))])


def choose_best(metrics: Mapping[str, Mapping[str, float]], metric: str = "roc_auc") -> str:
    """The name of the best candidate on validate, by the metric in its direction; of equal ones that with the lowest
    log_loss (rmse, of a regression), then the first by name.

    Takes {candidate: its metrics}. Raises ParameterError for none, or where a metric is missing or no number.
    """
    if not metrics:
        raise ParameterError("no candidates to choose from", expected="one or more", hint="look at the training tasks")
    second = "rmse" if metric in METRICS_OF_TASK["regression"] else "log_loss"
    for name, seen in metrics.items():
        if not all(np.isfinite(seen.get(wanted, np.nan)) for wanted in (metric, second)):
            raise ParameterError(
                f"candidate {name!r} has no usable {metric}",
                seen=dict(seen),
                expected=f"finite {metric} and {second}",
                hint="train it again: a candidate that failed must not vanish from the choice",
            )
    sign = -1 if metric in HIGHER_IS_BETTER else 1
    return min(metrics, key=lambda name: (sign * metrics[name][metric], metrics[name][second], name))


def challenger_identity(snapshot_digest: str, spec: ModelSpec, source_digest: str, lock_digest: str, seed: int) -> str:
    """Who a challenger is: equal inputs, equal identity, hence one version. The git commit is not part of it, nor is
    anything in the spec that changes neither what is fitted nor its threshold (schedule, approvers, gate)."""
    made_by = spec.model_dump(
        mode="json",
        include={
            "name",
            "task",
            "classes",
            "scored_dataset",
            "outcome_dataset",
            "inputs",
            "feature_function",
            "label_function",
            "numeric_features",
            "categorical_features",
            "candidates",
        },
    )
    return digest_of(
        {
            "snapshot": snapshot_digest,
            "spec": {**made_by, "metric": spec.problem.success.metric, "costs": costs_of(spec)},
            "source": source_digest,
            "lock": lock_digest,
            "seed": seed,
        }
    )


def costs_of(spec: ModelSpec) -> dict | None:
    """The costs that the threshold is chosen by, as JSON."""
    return spec.evaluate.costs and spec.evaluate.costs.model_dump(mode="json")


def _binary(label: pd.Series, scores: pd.DataFrame, spec: ModelSpec) -> dict[str, float]:
    score = scores["score"]
    threshold = choose_threshold(label, score, spec)
    return {
        "roc_auc": roc_auc_score(label, score),
        "log_loss": log_loss(label, score, labels=[0, 1]),
        "brier": brier_score_loss(label, score),
        "threshold": threshold,
        "f1": f1_score(label, score >= threshold, zero_division=0),
    }


def _multiclass(label: pd.Series, scores: pd.DataFrame, spec: ModelSpec) -> dict[str, float]:
    in_order = sorted(spec.classes)  # scikit-learn takes the columns to be so
    said = np.asarray(spec.classes)[scores.to_numpy().argmax(axis=1)]
    return {
        "log_loss": log_loss(_target(label, spec), scores[[f"score_{name}" for name in in_order]], labels=in_order),
        "accuracy": accuracy_score(_target(label, spec), said),
    }


def _regression(label: pd.Series, scores: pd.DataFrame, spec: ModelSpec) -> dict[str, float]:
    return {
        "mae": mean_absolute_error(label, scores["score"]),
        "rmse": root_mean_squared_error(label, scores["score"]),
    }


_MEASURES = {"binary": _binary, "multiclass": _multiclass, "regression": _regression}


@contextmanager
def _refusals(candidate: CandidateSpec, spec: ModelSpec) -> Iterator[None]:
    try:
        yield
    except (ValueError, TypeError) as error:
        raise SpecError(
            f"candidate {candidate.name!r} of {spec.name!r} can't be fitted",
            seen=f"{type(error).__name__}: {str(error)[:500]}",
            where=f"{candidate.estimator} with {candidate.params}",
            hint="mend its params or estimator: nothing was logged or registered",
        ) from error


def _target(label: pd.Series, spec: ModelSpec) -> np.ndarray:
    return label.to_numpy("U" if spec.task == "multiclass" else None)


def _window(snapshot: Snapshot, name: str, spec: ModelSpec) -> pd.DataFrame:
    rows = snapshot.frame[snapshot.frame["window"] == name]
    least = 1 if spec.task == "regression" else 2
    if (classes := rows["label"].nunique()) < least:
        raise EmptyWindowError(
            f"the {name} window can't be used",
            seen=f"{len(rows)} labelled rows of {classes} classes",
            expected="labelled rows" if least == 1 else "rows of both classes, or of two or more",
            where=f"{snapshot.manifest['windows'][name][0]} to {snapshot.manifest['windows'][name][1]}",
            hint="ingest the days of that window, or take another as_of",
        )
    return rows
