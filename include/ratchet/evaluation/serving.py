"""What it takes to serve the model: time, bytes and money, measured through the path that scoring takes."""

from __future__ import annotations

from time import perf_counter, process_time

import numpy as np
import pandas as pd

from ratchet.evaluation.scored import Scored, finite, sample
from ratchet.score import score_frame

ONE_BY_ONE, BATCH, REPEATS = 100, 20_000, 3


def measure_serving(estimator, scored: Scored, model_bytes: int) -> tuple[dict[str, float], pd.DataFrame]:
    """Table: measure, value, unit, how. Times are this machine's, as busy as it was: no part of what a model is.

    100 rows, one a call, after five to warm up, give the latency; batches of at most 20,000 rows, the best of three,
    rows a second, and CPU seconds over all threads. Times cost_per_cpu_hour that is the cost of a million predictions.
    Numbers: serving.latency_p50_ms, .latency_p95_ms, .rows_per_second, .cpu_seconds_per_million, .model_bytes, and with
    a rate .cost_per_million.
    """
    one = _seconds_of_one(estimator, scored)
    wall, cpu, rows = _seconds_of_a_batch(estimator, scored)
    per_million = cpu / rows * 1e6
    rate = scored.spec.evaluate.cost_per_cpu_hour
    lines = [
        ("latency_p50_ms", float(np.percentile(one, 50)) * 1e3, "ms", f"one row a call, {len(one)} calls"),
        ("latency_p95_ms", float(np.percentile(one, 95)) * 1e3, "ms", f"one row a call, {len(one)} calls"),
        ("rows_per_second", rows / wall, "rows/s", f"a batch of {rows:,} rows, the best of {REPEATS}"),
        ("cpu_seconds_per_million", per_million, "s", "CPU of all threads, in that batch"),
        ("model_bytes", model_bytes, "bytes", "the saved files"),
    ]
    if rate is not None:
        cost = per_million / 3600 * rate
        lines.append(("cost_per_million", cost, "cost", f"{rate:g} a CPU hour"))
    table = pd.DataFrame(lines, columns=["measure", "value", "unit", "how"])
    return finite({f"serving.{name}": value for name, value, _, _ in lines}), table


def _seconds_of_one(estimator, scored: Scored) -> list[float]:
    rows = sample(scored.rows, ONE_BY_ONE, scored.spec.seed)
    for at in range(min(5, len(rows))):
        score_frame(estimator, rows.iloc[at : at + 1], scored.spec)
    seconds = []
    for at in range(len(rows)):
        row = rows.iloc[at : at + 1]
        started = perf_counter()
        score_frame(estimator, row, scored.spec)
        seconds.append(perf_counter() - started)
    return seconds


def _seconds_of_a_batch(estimator, scored: Scored) -> tuple[float, float, int]:
    """(wall-clock seconds, CPU seconds, rows)."""
    rows, seconds = sample(scored.rows, BATCH, scored.spec.seed), []
    for _ in range(REPEATS):
        wall, cpu = perf_counter(), process_time()
        score_frame(estimator, rows, scored.spec)
        seconds.append((perf_counter() - wall, process_time() - cpu))
    best = min(seconds)
    return best[0], max(best[1], 1e-9), len(rows)
