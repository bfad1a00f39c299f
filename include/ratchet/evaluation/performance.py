"""How good the scores are, each measure with its interval over days."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd

from ratchet.evaluation.scored import LOSS, RANGES, SHARE, TOO_FEW, Scored, finite, interval, name_of, try_estimate
from ratchet.specs import METRICS_OF_TASK
from ratchet.statistics import Jackknifed, estimate, mean, measure, rate


def measure_performance(scored: Scored) -> tuple[dict[str, float], pd.DataFrame]:
    """Table: measure, value, low, high (95 %), rows, days, note.

    binary: roc_auc, log_loss, brier, and at the threshold precision, recall and acted_on (the share of rows).
    multiclass: log_loss, accuracy, and each class against the rest: roc_auc, precision, recall. regression: mae, rmse,
    bias (mean of score less label). Numbers: <measure>, <measure>_low, <measure>_high, rows.
    Raises EmptyWindowError where the spec's own metric says nothing: one class only, or a single day.
    """
    estimate(scored.measured())
    lines = []
    for name, measured in _measures(scored):
        found = try_estimate(measured)
        rows = {"rows": found.rows if found else 0, "days": found.clusters if found else 0}
        lines.append({"measure": name, **interval(found, *_range(name)), **rows, "note": "" if found else TOO_FEW})
    table = pd.DataFrame(lines)
    numbers: dict[str, float | None] = {"rows": len(scored.rows)}
    for line in lines:
        name = name_of(*line["measure"].split("."))
        numbers |= {name: line["value"], f"{name}_low": line["low"], f"{name}_high": line["high"]}
    return finite(numbers), table


def _range(name: str) -> tuple[float, float]:
    if name == "bias":
        return (-np.inf, np.inf)
    known = {metric: RANGES.get(metric, LOSS) for metrics in METRICS_OF_TASK.values() for metric in metrics}
    return known.get(name, SHARE)


def _measures(scored: Scored) -> Iterator[tuple[str, Callable[[], Jackknifed]]]:
    for metric in METRICS_OF_TASK[scored.spec.task]:
        yield metric, lambda metric=metric: measure(metric, scored.label, scored.scores, scored.day)
    yield from {"binary": _binary, "multiclass": _multiclass, "regression": _regression}[scored.spec.task](scored)


def _binary(scored: Scored) -> Iterator[tuple[str, Callable[[], Jackknifed]]]:
    true, said = scored.decisions()["positive"]
    yield from _found("", true, said, scored.day)
    yield "acted_on", lambda: rate(said, scored.day)


def _multiclass(scored: Scored) -> Iterator[tuple[str, Callable[[], Jackknifed]]]:
    yield "accuracy", lambda: rate(scored.likeliest() == scored.label.to_numpy(), scored.day)
    for name, (true, said) in scored.decisions().items():
        score = scored.scores[f"score_{name}"]
        yield (
            f"class.{name}.roc_auc",
            lambda true=true, score=score: measure("roc_auc", true.astype(int), score, scored.day),
        )
        yield from _found(f"class.{name}.", true, said, scored.day)


def _regression(scored: Scored) -> Iterator[tuple[str, Callable[[], Jackknifed]]]:
    yield "bias", lambda: mean(scored.scores["score"].to_numpy() - scored.label.to_numpy(), scored.day)


def _found(prefix: str, true: np.ndarray, said: np.ndarray, day) -> Iterator[tuple[str, Callable[[], Jackknifed]]]:
    yield f"{prefix}precision", lambda: rate(true, day, among=said)
    yield f"{prefix}recall", lambda: rate(said, day, among=true)
