"""Shapley values of single predictions (SHAP), for any estimator that scores frames.

Not by the shap library: its TreeExplainer takes the splits of scikit-learn's boosted trees on categories for splits on
numbers, so that what it says adds up to something else than the score; its other explainers are right, and say the same
as this, but to import and compile them takes longer than all the rest of an evaluation.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from ratchet.score import score_frame
from ratchet.specs import ModelSpec


def shapley_values(estimator, rows: pd.DataFrame, spec: ModelSpec, background: pd.DataFrame) -> np.ndarray:
    """What each feature adds to each score, of shape (rows, features, score columns), in units of the score: features
    that are not (yet) added take the values of each of the `background` rows in turn, and the mean is taken.

    For each row, the features are added in an order drawn by the spec's seed, then taken away in the same order, and
    the two are averaged: exact where no more than two features interact, and always adding up exactly to the score
    less the mean score of the background (Lundberg and Lee, "A unified approach to interpreting model predictions",
    NeurIPS 2017; antithetic pairs: Mitchell et al., "Sampling permutations for Shapley value estimation", JMLR 23,
    2022). Scores rows x background x (2 features + 1) rows.
    """
    coded = _Coded(pd.concat([rows, background])[spec.features], spec)
    there, other = coded.matrix(rows), coded.matrix(background)
    (count, features), mixed = there.shape, np.repeat(other[None], len(rows), axis=0)
    order = np.random.default_rng(spec.seed).permuted(np.tile(np.arange(features), (count, 1)), axis=1)
    row = np.arange(count)
    values = np.zeros((count, features, len(spec.score_columns)))

    def mean_score() -> np.ndarray:
        scores = score_frame(estimator, coded.frame(mixed.reshape(-1, features)), spec).to_numpy()
        return scores.reshape(count, len(other), -1).mean(axis=1)

    before = mean_score()
    for step in range(2 * features):
        moved, added = order[:, step % features], step < features
        mixed[row, :, moved] = there[row, moved][:, None] if added else other[:, moved].T
        after = mean_score()
        values[row, moved] += (after - before if added else before - after) / 2
        before = after
    return values


class _Coded:
    """Features as a matrix of floats and back, so that rows can be mixed at once: categories by number."""

    def __init__(self, frame: pd.DataFrame, spec: ModelSpec) -> None:
        self._types = frame.dtypes
        self._values = {name: frame[name].dropna().unique() for name in spec.categorical_features}

    def matrix(self, frame: pd.DataFrame) -> np.ndarray:
        return np.column_stack([self._numbers(frame[name]) for name in self._types.index])

    def frame(self, matrix: np.ndarray) -> pd.DataFrame:
        return pd.DataFrame({name: self._column(name, matrix[:, at]) for at, name in enumerate(self._types.index)})

    def _numbers(self, column: pd.Series) -> np.ndarray:
        if column.name not in self._values:
            return column.to_numpy(dtype=float, na_value=np.nan)
        return pd.Categorical(column, categories=self._values[column.name]).codes.astype(float)

    def _column(self, name: str, numbers: np.ndarray) -> pd.Series | np.ndarray:
        if name not in self._values:
            return numbers
        values = np.append(np.asarray(self._values[name], dtype=object), None)  # a missing one's number is -1: the last
        return pd.Series(values[numbers.astype(int)], dtype=self._types[name])
