"""What a row's prediction costs, by the model's task: a number a row, so that days can be compared by their means."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from ratchet.specs import ModelSpec

NAMES = {"binary": "Brier score", "multiclass": "Brier score", "regression": "absolute error"}


def row_losses(spec: ModelSpec, label: pd.Series, scores: pd.DataFrame) -> np.ndarray:
    """Of each row, whatever the spec's metric: an AUC is no mean of rows.

    Binary: (score - label)^2. Multiclass: half the sum of (score - 1 or 0)^2 over classes, so 0 to 1, too (Brier,
    "Verification of forecasts expressed in terms of probability", Monthly Weather Review 78, 1950). Regression:
    |score - label|. `scores`: the spec's score columns; NaN where a score or label is.
    """
    said = scores[spec.score_columns].to_numpy("float64")
    if spec.task == "multiclass":
        true = label.to_numpy(dtype=object)[:, None] == np.array(spec.classes, dtype=object)[None, :]
        return ((said - true) ** 2).sum(axis=1) / 2
    off = said[:, 0] - pd.to_numeric(label).to_numpy("float64")
    return np.abs(off) if spec.task == "regression" else off**2


def daily_losses(spec: ModelSpec, rows: pd.DataFrame) -> pd.DataFrame:
    """The mean loss of both models on each day, of the rows that both have a finite loss on.

    rows: `day`, `label`, and the score columns of both, named `champion_` and `challenger_`. Returns `day` (in order),
    `rows`, `champion`, `challenger`.
    """
    losses = {
        who: row_losses(spec, rows["label"], rows[[f"{who}_{name}" for name in spec.score_columns]].set_axis(
            spec.score_columns, axis="columns"
        ))
        for who in ("champion", "challenger")
    }  # fmt: skip
    each = pd.DataFrame({"day": rows["day"].to_numpy(), **losses})
    each = each[np.isfinite(each[["champion", "challenger"]]).all(axis="columns")]
    return each.groupby("day", as_index=False).agg(
        rows=("champion", "size"), champion=("champion", "mean"), challenger=("challenger", "mean")
    )
