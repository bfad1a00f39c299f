"""What there is to know of a model before it may serve: how good, for whom, how sure, how sturdy, why, at what cost.

Pure: a fitted estimator and labelled rows in; numbers, tables and pictures out. One module an aspect. The same call
measures every candidate on the validate window, and challenger and champion on the judge window.
"""

from __future__ import annotations

import pandas as pd
from threadpoolctl import threadpool_limits

from ratchet.evaluation.calibration import measure_calibration
from ratchet.evaluation.explanation import explain_scores, measure_importance, top_reasons
from ratchet.evaluation.groups import measure_fairness, measure_slices
from ratchet.evaluation.performance import measure_performance
from ratchet.evaluation.pictures import draw
from ratchet.evaluation.result import Evaluation
from ratchet.evaluation.robustness import measure_robustness
from ratchet.evaluation.scored import Scored, score_rows
from ratchet.evaluation.serving import measure_serving
from ratchet.evaluation.value import cheapest_threshold, measure_value
from ratchet.specs import ModelSpec

__all__ = ["Evaluation", "cheapest_threshold", "evaluate", "top_reasons"]
ONLY_DRAWN = {"effects_by_row", "value_curve"}


def evaluate(
    estimator, rows: pd.DataFrame, spec: ModelSpec, threshold: float | None, *, model_bytes: int, n_threads: int = 1
) -> Evaluation:
    """Measure a fitted estimator on labelled rows.

    rows: label (0/1, a class of the spec, or a number), day (the cluster), the spec's features and the columns of
    evaluate.slices and evaluate.sensitive. threshold: a binary model's, chosen on the validate window; None for other
    tasks. model_bytes: the size of the saved files. Equal input gives equal output, but for `serving`, which is time.
    Only samples of the rows are perturbed, shuffled, explained and timed: each module states its bounds.

    Raises ParameterError for a missing column (it names those there are) or threshold; EmptyWindowError for no rows,
    rows without a label or of one class, or of a single day.
    """
    with threadpool_limits(limits=n_threads):
        scored = score_rows(estimator, rows.reset_index(drop=True), spec, threshold)
        numbers, tables = _measure(estimator, scored, model_bytes)
    about = _about(scored)
    kept = {name: table for name, table in tables.items() if name not in ONLY_DRAWN}
    return Evaluation(numbers, kept, draw(tables, about), about)


def _measure(estimator, scored: Scored, model_bytes: int) -> tuple[dict[str, float], dict[str, pd.DataFrame]]:
    """(numbers, tables) of all aspects."""
    numbers, tables = {}, {}
    numbers["performance"], tables["performance"] = measure_performance(scored)
    numbers["slices"], tables["slices"] = measure_slices(scored)
    numbers["calibration"], tables["calibration"] = measure_calibration(scored)
    numbers["fairness"], tables["fairness"], tables["fairness_rates"] = measure_fairness(scored)
    numbers["robustness"], tables["robustness"] = measure_robustness(estimator, scored)
    numbers["importance"], tables["importance"] = measure_importance(estimator, scored)
    numbers["serving"], tables["serving"] = measure_serving(estimator, scored, model_bytes)
    numbers["value"], of_value = measure_value(scored)
    found = {name: number for of_aspect in numbers.values() for name, number in of_aspect.items()}
    return found, tables | explain_scores(estimator, scored) | of_value


def _about(scored: Scored) -> dict:
    return {
        "task": scored.spec.task,
        "metric": scored.metric,
        "threshold": scored.threshold,
        "rows": len(scored.rows),
        "days": int(scored.day.nunique()),
        "first_day": str(scored.day.min()),
        "last_day": str(scored.day.max()),
    }
