"""What one prediction is called: <model>/<day>/<16 hex digits of its row's key>. The same row, scored again, has it
again."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ratchet.days import check_day
from ratchet.digests import digest_of
from ratchet.errors import ParameterError

if TYPE_CHECKING:
    import pandas as pd

_LENGTH = 16


def prediction_ids(model: str, rows: pd.DataFrame, key: list[str]) -> list[str]:
    """The ids of rows with `day` and the scored dataset's key columns, in their order. Instants count as UTC."""
    values = zip(rows["day"], *key_texts(rows, key), strict=True)
    return [f"{model}/{day}/{digest_of([model, day, *of_key])[:_LENGTH]}" for day, *of_key in values]


def key_texts(rows: pd.DataFrame, key: list[str]) -> list[pd.Series]:
    """The key columns as text, the same wherever the rows lie. Instants count as UTC."""
    return [rows[name].astype("str") if rows[name].dtype.kind != "M" else _utc(rows[name]) for name in key]


def parse_prediction_id(prediction: str) -> tuple[str, str]:
    """Its model and day. Raises ParameterError for what is no prediction's id."""
    parts = prediction.split("/")
    if len(parts) != 3 or not re.fullmatch(rf"[0-9a-f]{{{_LENGTH}}}", parts[2]):
        raise ParameterError(
            "not a prediction's id",
            seen=prediction,
            expected="<model>/<day>/<16 hex digits>",
            hint="take it from the column prediction_id of predictions/<model>",
        )
    return parts[0], check_day(parts[1], "the prediction's day")


def _utc(instants: pd.Series) -> pd.Series:
    return instants.dt.tz_convert("UTC").dt.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
