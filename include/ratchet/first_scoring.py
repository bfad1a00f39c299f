"""Is what a new champion says of its first days what a model like it can say? Asked before anybody sees it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

    from ratchet.specs import ModelSpec

MOST_OUTSIDE = 0.05  # share of scores beyond what it gave in evaluation, and a tenth of that range
MIN_ROWS = 20  # below it nothing is said of range or spread


def tells(day: str, rows: int, as_of: str) -> bool:
    """Whether a day that was scored says anything of a champion of data as of `as_of`: one that is newer than what it
    knows, of MIN_ROWS rows at least."""
    return day > as_of and rows >= MIN_ROWS


def wrong_scores(spec: ModelSpec, scores: pd.DataFrame, proof: Mapping) -> list[str]:
    """What is wrong with the scores (`spec.score_columns`) of a champion's first partition, as sentences; [] for none.

    proof: that of its version (see ratchet.proof): `low` and `high` of its scores in evaluation; {} for none. Asked:
    numbers for all rows, probabilities where the task has them, within the range of evaluation, not all the same.
    """
    values = scores[spec.score_columns].to_numpy("float64")
    if bad := int((~np.isfinite(values)).any(axis=1).sum()):
        return [f"{bad} of {len(values)} rows have no score"]
    found = []
    if spec.task != "regression" and (bad := int(((values < 0) | (values > 1)).any(axis=1).sum())):
        found.append(f"{bad} of {len(values)} rows have a score that is no probability")
    if len(values) >= MIN_ROWS and proof:
        low, high = proof["low"], proof["high"]
        margin = (high - low) / 10
        outside = float(((values < low - margin) | (values > high + margin)).any(axis=1).mean())
        if outside > MOST_OUTSIDE:
            found.append(f"{outside:.1%} of the scores lie outside {low:.4g} to {high:.4g}, its range in evaluation")
        if high > low and bool((values == values[0]).all()):
            found.append(f"all {len(values)} rows have the same score, {values[0].tolist()}")
    return found
