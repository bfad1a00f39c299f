"""The estimators that a model's spec may name: scikit-learn pipelines from the spec's feature columns to a probability.

Each takes a frame with the spec's features (numbers as float64, NaN where missing; categories as text, None where
missing), and meets categories it has never seen without failing. Nothing in them draws from the clock or from rows'
order: equal rows, parameters and seed give equal predictions.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from ratchet.errors import SpecError
from ratchet.specs import CandidateSpec, ModelSpec

MOST_CATEGORIES = 250  # HistGradientBoosting takes 255 at most; rarer ones share a bin


def make_estimator(candidate: CandidateSpec, spec: ModelSpec) -> Pipeline:
    """An unfitted pipeline for the candidate. Raises SpecError for a parameter that its estimator does not take."""
    try:
        return _FACTORIES[candidate.estimator](dict(candidate.params), spec)
    except TypeError as error:
        raise SpecError(
            f"candidate {candidate.name!r} of {spec.name!r} has a parameter that {candidate.estimator} doesn't take",
            seen=str(error),
            where=f"include/models/{spec.name}.yaml",
            hint="mend params: they are those of the scikit-learn class",
        ) from error


def _base_rate(params: dict, spec: ModelSpec) -> Pipeline:
    """The share of positives in train, for every row: what any model must beat."""
    return Pipeline([("model", DummyClassifier(strategy="prior", **params))])


def _logistic_regression(params: dict, spec: ModelSpec) -> Pipeline:
    min_frequency = params.pop("min_frequency", 50)
    numeric = Pipeline([("impute", SimpleImputer(strategy="median", add_indicator=True)), ("scale", StandardScaler())])
    categorical = OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=min_frequency)
    model = LogisticRegression(**{"max_iter": 1000, "random_state": spec.seed, **params})
    return Pipeline([("columns", _columns((numeric, categorical), spec)), ("model", model)])


def _hist_gradient_boosting(params: dict, spec: ModelSpec) -> Pipeline:
    """No early stopping: it would split rows of one day across its two halves. The validate window chooses instead."""
    categorical = OrdinalEncoder(
        handle_unknown="use_encoded_value",
        unknown_value=np.nan,
        encoded_missing_value=np.nan,
        max_categories=MOST_CATEGORIES,
    )
    numbers, categories = len(spec.numeric_features), len(spec.categorical_features)
    model = HistGradientBoostingClassifier(
        categorical_features=[False] * numbers + [True] * categories,
        **{"early_stopping": False, "random_state": spec.seed, **params},
    )
    return Pipeline([("columns", _columns(("passthrough", categorical), spec)), ("model", model)])


def _columns(parts: tuple, spec: ModelSpec) -> ColumnTransformer:
    """Numbers first, then categories; every other column of the frame is dropped."""
    numeric, categorical = parts
    return ColumnTransformer(
        [
            ("numeric", numeric, list(spec.numeric_features)),
            ("categorical", categorical, list(spec.categorical_features)),
        ]
    )


_FACTORIES: dict[str, Callable[[dict, ModelSpec], Pipeline]] = {
    "base_rate": _base_rate,
    "logistic_regression": _logistic_regression,
    "hist_gradient_boosting": _hist_gradient_boosting,
}
