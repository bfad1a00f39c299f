"""What the metric loses when the inputs are not what they were: the same rows, spoilt in stated ways."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ratchet.errors import RatchetError
from ratchet.evaluation.scored import TOO_FEW, Scored, finite, interval, name_of, sample, try_estimate, worse_by
from ratchet.score import score_frame
from ratchet.specs import ModelSpec
from ratchet.statistics import measure

MOST_ROWS = 5000
UNSEEN = "a value never seen"


def measure_robustness(estimator, scored: Scored) -> tuple[dict[str, float], pd.DataFrame]:
    """Table: kind, strength, what, drop, low, high (95 %, paired, over days), finite, note.

    The spec's seed draws at most 5,000 of the rows, and what is spoilt; `drop` is by how much the spec's metric gets
    worse on them, in its units. `finite`: every score of the spoilt rows is a number; False too where the estimator
    raises, and then `note` has its words. Kinds, and what strength means: missing, unseen (a category never seen) and
    out_of_range (ten of its feature's ranges outside): the share of each feature's values; noise: added to each
    number, in standard deviations of its feature.
    Numbers: robustness.<kind>_<strength in %>.drop, robustness_failures (lines that are not finite).
    """
    part = scored.only(scored.rows.index.isin(sample(scored.rows, MOST_ROWS, scored.spec.seed).index))
    lines = [_line(estimator, part, way) for way in WAYS if way.columns(scored.spec)]
    numbers = {
        name_of("robustness", f"{line['kind']}_{line['strength']:.0%}"[:-1], "drop"): line["drop"] for line in lines
    }
    numbers["robustness_failures"] = sum(not line["finite"] for line in lines)
    return finite(numbers), pd.DataFrame(lines)


@dataclass(frozen=True)
class _Way:
    """One way to spoil: `spoil(column, strength, draws)` of each of the columns that it is for."""

    kind: str
    strength: float
    what: str
    columns: Callable[[ModelSpec], list[str]]
    spoil: Callable[[pd.Series, float, np.random.Generator], pd.Series]


def _line(estimator, scored: Scored, way: _Way) -> dict:
    line = {"kind": way.kind, "strength": way.strength, "what": way.what, "drop": None, "low": None, "high": None}
    try:
        scores = score_frame(estimator, spoilt(scored.rows, scored.spec, way), scored.spec)
    except (RatchetError, ValueError, TypeError) as error:
        return line | {"finite": False, "note": f"{type(error).__name__}: {error}"[:200]}
    if not np.isfinite(scores.to_numpy()).all():
        return line | {"finite": False, "note": "scores that are no numbers"}
    found = try_estimate(lambda: _drop(scored, scores))
    value = interval(found)
    return line | {"drop": value.pop("value"), **value, "finite": True, "note": "" if found else TOO_FEW}


def spoilt(rows: pd.DataFrame, spec: ModelSpec, way: _Way) -> pd.DataFrame:
    """The rows with the features of one way spoilt, each by draws of its own from the spec's seed."""
    columns = way.columns(spec)
    draws = np.random.default_rng(spec.seed).spawn(len(columns))
    changed = {name: way.spoil(rows[name], way.strength, draw) for name, draw in zip(columns, draws, strict=True)}
    return rows.assign(**changed)


def _drop(scored: Scored, scores: pd.DataFrame):
    after = measure(scored.metric, scored.label, scores, scored.day)
    return worse_by(scored.spec.problem.success.higher_is_better, scored.measured(), after)


def _missing(column: pd.Series, strength: float, draw: np.random.Generator) -> pd.Series:
    return column.mask(draw.random(len(column)) < strength)


def _noise(column: pd.Series, strength: float, draw: np.random.Generator) -> pd.Series:
    return column.astype(float) + strength * np.nan_to_num(column.std()) * draw.normal(size=len(column))


def _unseen(column: pd.Series, strength: float, draw: np.random.Generator) -> pd.Series:
    return column.mask(draw.random(len(column)) < strength, UNSEEN)


def _out_of_range(column: pd.Series, strength: float, draw: np.random.Generator) -> pd.Series:
    least, most = np.nan_to_num([column.min(), column.max()])
    far = 10 * max(most - least, 1.0)
    beyond = np.where(draw.random(len(column)) < 0.5, least - far, most + far)
    return column.astype(float).mask(draw.random(len(column)) < strength, beyond)


def _all(spec: ModelSpec) -> list[str]:
    return spec.features


def _numeric(spec: ModelSpec) -> list[str]:
    return spec.numeric_features


def _categorical(spec: ModelSpec) -> list[str]:
    return spec.categorical_features


WAYS = (
    _Way("missing", 0.1, "10 % of values missing", _all, _missing),
    _Way("missing", 0.3, "30 % of values missing", _all, _missing),
    _Way("noise", 0.1, "noise of 0.1 sd", _numeric, _noise),
    _Way("noise", 0.5, "noise of 0.5 sd", _numeric, _noise),
    _Way("unseen", 0.1, "10 % of categories unseen", _categorical, _unseen),
    _Way("unseen", 1.0, "all categories unseen", _categorical, _unseen),
    _Way("out_of_range", 0.01, "1 % of numbers out of range", _numeric, _out_of_range),
    _Way("out_of_range", 0.1, "10 % of numbers out of range", _numeric, _out_of_range),
)
