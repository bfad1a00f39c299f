"""Fit one candidate, measure it on the validate window, choose the best, and say who the challenger is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
from sklearn.metrics import brier_score_loss, f1_score, log_loss, precision_recall_curve, roc_auc_score
from threadpoolctl import threadpool_limits

from ratchet.candidates import make_estimator
from ratchet.digests import digest_of
from ratchet.errors import EmptyWindowError, ParameterError
from ratchet.score import score_frame

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

    metrics: roc_auc, log_loss, brier, threshold (of the score, that gives the best F1 on validate), f1, rows_train,
    rows_validate, positive_share_train. Equal snapshots give equal predictions: rows are in a fixed order, the seed
    is the spec's and the threads are pinned. Raises EmptyWindowError if a window has no rows or one class only.
    """
    train, validate = _window(snapshot, "train"), _window(snapshot, "validate")
    estimator = make_estimator(candidate, spec)
    with threadpool_limits(limits=n_threads):
        started = perf_counter()
        estimator.fit(train[spec.features], train["label"])
        seconds = perf_counter() - started
        score = score_frame(estimator, validate, spec)
    metrics = measure(validate["label"], score)
    metrics |= {"rows_train": float(len(train)), "positive_share_train": float(train["label"].mean())}
    return Fitted(candidate.name, estimator, metrics, seconds)


def measure(label: pd.Series, score: pd.Series) -> dict[str, float]:
    """roc_auc, log_loss, brier, threshold, f1 and rows_validate of probabilities for 0/1 labels."""
    precision, recall, thresholds = precision_recall_curve(label, score)
    both = precision + recall
    f1 = np.divide(2 * precision * recall, both, out=np.zeros_like(both), where=both > 0)[: len(thresholds)]
    threshold = float(thresholds[int(np.argmax(f1))])
    return {
        "roc_auc": float(roc_auc_score(label, score)),
        "log_loss": float(log_loss(label, score, labels=[0, 1])),
        "brier": float(brier_score_loss(label, score)),
        "threshold": threshold,
        "f1": float(f1_score(label, score >= threshold)),
        "rows_validate": float(len(label)),
    }


def choose_best(metrics: Mapping[str, Mapping[str, float]], metric: str = "roc_auc") -> str:
    """The name of the best candidate on validate: highest metric, then lowest log_loss, then first by name.

    Takes {candidate: its metrics}. Raises ParameterError for none, or where a metric is missing or no number.
    """
    if not metrics:
        raise ParameterError("no candidates to choose from", expected="one or more", hint="look at the training tasks")
    for name, seen in metrics.items():
        if not all(np.isfinite(seen.get(wanted, np.nan)) for wanted in (metric, "log_loss")):
            raise ParameterError(
                f"candidate {name!r} has no usable {metric}",
                seen=dict(seen),
                expected=f"finite {metric} and log_loss",
                hint="train it again: a candidate that failed must not vanish from the choice",
            )
    return min(metrics, key=lambda name: (-metrics[name][metric], metrics[name]["log_loss"], name))


def challenger_identity(snapshot_digest: str, spec: ModelSpec, source_digest: str, lock_digest: str, seed: int) -> str:
    """Who a challenger is: equal inputs, equal identity, hence one version. The git commit is not part of it, nor is
    anything in the spec that does not change what is fitted (schedule, approvers, gate)."""
    fitted_by = spec.model_dump(
        mode="json",
        include={
            "name",
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
            "spec": {**fitted_by, "metric": spec.promote_if.metric},
            "source": source_digest,
            "lock": lock_digest,
            "seed": seed,
        }
    )


def _window(snapshot: Snapshot, name: str) -> pd.DataFrame:
    rows = snapshot.frame[snapshot.frame["window"] == name]
    if rows["label"].nunique() < 2:
        raise EmptyWindowError(
            f"the {name} window can't be used",
            seen=f"{len(rows)} labelled rows of {rows['label'].nunique()} classes",
            expected="rows of both classes",
            where=f"{snapshot.manifest['windows'][name][0]} to {snapshot.manifest['windows'][name][1]}",
            hint="ingest the days of that window, or take another as_of",
        )
    return rows
