"""Whether the scores mean what they say."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ratchet.evaluation.scored import LOSS, SHARE, Scored, finite, interval, try_estimate
from ratchet.statistics import bins_of, calibration_error, mean

BINS = 10


def measure_calibration(scored: Scored) -> tuple[dict[str, float], pd.DataFrame]:
    """Table: bin, rows, predicted (mean score), value (mean label), low, high (95 %, over days), gap.

    Ten bins of equally many rows by score; ties stay together. binary: probability against share of positives;
    multiclass: probability of the likeliest class against the share of rows where it came true; regression: value
    predicted against mean value, in units of the label.
    Numbers: calibration_error (mean over rows of the bin's |gap|; with _low and _high but for a regression),
    calibration_largest_gap.
    """
    predicted, true = _predicted_and_true(scored)
    within = (-np.inf, np.inf) if scored.spec.task == "regression" else SHARE
    table = pd.DataFrame(_bins(predicted, true, scored.day, within))
    numbers = {
        "calibration_error": float(np.average(table["gap"].abs(), weights=table["rows"])),
        "calibration_largest_gap": float(table["gap"].abs().max()),
    }
    if scored.spec.task != "regression":
        error = interval(try_estimate(lambda: calibration_error(true.astype(int), predicted, scored.day, BINS)), *LOSS)
        numbers |= {"calibration_error_low": error["low"], "calibration_error_high": error["high"]}
    return finite(numbers), table


def _predicted_and_true(scored: Scored) -> tuple[np.ndarray, np.ndarray]:
    if scored.spec.task == "multiclass":
        return scored.scores.to_numpy().max(axis=1), (scored.likeliest() == scored.label.to_numpy()).astype(float)
    return scored.scores["score"].to_numpy(), scored.label.to_numpy(dtype=float)


def _bins(predicted: np.ndarray, true: np.ndarray, day, within: tuple[float, float]) -> list[dict]:
    bin_of, lines = bins_of(predicted, BINS), []
    for number, name in enumerate(np.unique(bin_of), start=1):
        among = bin_of == name
        found = try_estimate(lambda among=among: mean(true, day, among=among))
        said = float(predicted[among].mean())
        line = {"bin": number, "rows": int(among.sum()), "predicted": said, **interval(found, *within)}
        line["value"] = float(true[among].mean())
        lines.append(line | {"gap": line["value"] - said})
    return lines
