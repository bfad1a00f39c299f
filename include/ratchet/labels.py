"""What the label function says of the outcomes, and whether a model can learn it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from ratchet.errors import SpecError
from ratchet.feature_functions import load_function

if TYPE_CHECKING:
    from ratchet.specs import ModelSpec

_LABELS = {"binary": "0 or 1", "multiclass": "one of {}", "regression": "a finite number"}
LABEL_TYPES = {"binary": "int64", "multiclass": "str", "regression": "float64"}


def make_labels(spec: ModelSpec, outcomes: pd.DataFrame, key: list[str], strict: bool = True) -> pd.DataFrame:
    """Key columns and `label`: 0 or 1 (int64), one of the spec's classes (text), or a finite number (float64), by task.

    Raises SpecError where the label function gives anything else, or a key twice. Not `strict`, what is no label stays,
    for monitoring to find: null where it is no number (float64) though the task asks for one.
    """
    labels = load_function(spec.label_function)(outcomes)
    if missing := {*key, "label"} - set(labels.columns):
        raise SpecError(
            f"{spec.label_function} does not give what {spec.name} asks",
            seen=sorted(labels.columns),
            expected=f"columns {sorted(missing)} too",
            hint="mend the label function",
        )
    labels, usable = labels[[*key, "label"]], is_label(spec, labels["label"])
    if (strict and not usable.all()) or labels.duplicated(key).any():
        wrong = labels["label"][~usable].astype("object").unique()
        raise SpecError(
            f"{spec.label_function} gives labels that can't be used",
            seen=f"values {sorted(map(str, wrong))[:5]}, {int(labels.duplicated(key).sum())} keys twice",
            expected=f"{_LABELS[spec.task].format(spec.classes)}, once a key; rows without a label left out",
            hint="mend the label function",
        )
    if strict or spec.task == "multiclass":
        return labels.astype({"label": LABEL_TYPES[spec.task]}).reset_index(drop=True)
    return labels.assign(label=_as_numbers(labels["label"])).reset_index(drop=True)


def is_label(spec: ModelSpec, label: pd.Series) -> pd.Series:
    """Which of them are labels of the spec's task."""
    if spec.task == "multiclass":
        return label.isin(spec.classes)
    numbers = _as_numbers(label)
    return numbers.isin([0, 1]) if spec.task == "binary" else numbers.abs() < float("inf")


def split_usable(spec: ModelSpec, rows: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """The rows whose `label` is one of the spec's task, in the task's type; and how many others there are."""
    usable = is_label(spec, rows["label"])
    return rows[usable].astype({"label": LABEL_TYPES[spec.task]}), int((~usable).sum())


def _as_numbers(label: pd.Series) -> pd.Series:
    return pd.to_numeric(label, errors="coerce").astype("float64")
