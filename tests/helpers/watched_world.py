"""Frames of a model in production: what it knows, what it scored last, and what came of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from ratchet.days import days_between, shift_day
from ratchet.specs import ModelSpec, load_model_specs

SHIPPED = load_model_specs(Path(__file__).parents[2] / "include" / "models").good["flight_delay"]
FIRST, ROWS = "2013-03-01", 60
WINDOWS = {"train": 10, "validate": 20, "judge": 20}  # days


def spec_of(task: str = "binary", metric: str = "roc_auc", **changes: dict) -> ModelSpec:
    """The shipped spec with features a, b (numbers) and c (text). `changes`: keys of its parts, by part."""
    changed = SHIPPED.model_dump() | {"numeric_features": ["a", "b"], "categorical_features": ["c"], "task": task}
    changed["evaluate"] |= {"slices": ["c"], "sensitive": [], "min_group_rows": 200}
    changed["watch"] |= {"max_rows": 500}
    if task == "regression":
        changed["problem"] |= {"success": {"metric": metric, "at_most": 9.0}}
        changed["evaluate"] |= {"costs": None}
    for part, values in changes.items():
        changed[part] |= values
    return ModelSpec.model_validate(changed)


def rows(seed: int, days: list[str], shift: float = 0.0, slope: float = 1.5, flipped: float = 0.0) -> pd.DataFrame:
    """day, a (which alone matters), b, c, label and score. The score says what was so while `slope` was 1.5: how much
    `a` counts. `shift`: of `a`; `flipped`: the share of labels that are wrong."""
    draw, count = np.random.default_rng(seed), len(days) * ROWS
    a = draw.normal(size=count) + shift
    label = draw.uniform(size=count) < 1 / (1 + np.exp(-slope * a))
    label = np.where(draw.uniform(size=count) < flipped, ~label, label)
    return pd.DataFrame(
        {
            "day": np.repeat(days, ROWS),
            "a": a,
            "b": draw.normal(size=count),
            "c": draw.choice(["x", "y"], count),
            "label": label.astype(int),
            "score": 1 / (1 + np.exp(-1.5 * a)),
        }
    )


def reference(seed: int = 1) -> pd.DataFrame:
    """The rows of the three windows, with no score in train."""
    days = days_between(FIRST, shift_day(FIRST, sum(WINDOWS.values()) - 1))
    known = rows(seed, days).assign(window=np.repeat([*WINDOWS], [days * ROWS for days in WINDOWS.values()]))
    return known.assign(score=known["score"].where(known["window"] != "train"))


def current(seed: int = 2, days: int = 7, **how: float) -> pd.DataFrame:
    """The newest scored days: of unknown outcome."""
    return rows(seed, days_between("2013-05-08", shift_day("2013-05-08", days - 1)), **how).drop(columns="label")


def outcomes(seed: int = 3, days: int = 14, **how: float) -> pd.DataFrame:
    """The days before the newest one, with outcomes."""
    return rows(seed, days_between(shift_day("2013-05-13", 1 - days), "2013-05-13"), **how)
