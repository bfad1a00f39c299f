"""The estimators that a model's spec may name: scikit-learn pipelines from the spec's feature columns to a prediction.

Each takes a frame with the spec's features (numbers as float64, NaN where missing; categories as text, None where
missing), and meets categories it has never seen without failing. Nothing in them draws from the clock or from rows'
order: equal rows, parameters and seed give equal predictions.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from inspect import signature

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.compose import ColumnTransformer
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from ratchet.errors import SpecError
from ratchet.specs import CandidateSpec, ModelSpec

MOST_CATEGORIES = 250  # HistGradientBoosting takes 255 at most; rarer ones share a bin


def make_estimator(candidate: CandidateSpec, spec: ModelSpec) -> Pipeline:
    """An unfitted pipeline for the candidate. Raises SpecError for a parameter that its estimator does not take, and
    for an estimator that scikit-learn does not have or that is not one of the model's task."""
    make = _FACTORIES.get(candidate.estimator) or _factory_of(candidate, spec)
    try:
        return make(dict(candidate.params), spec)
    except TypeError as error:
        raise _refused(
            candidate,
            spec,
            f"has a parameter that {candidate.estimator} doesn't take",
            seen=str(error),
            hint="mend params: they are those of the scikit-learn class",
        ) from error


def _base_rate(params: dict, spec: ModelSpec) -> Pipeline:
    """The share of each class in train, or the mean, for every row: what any model must beat."""
    if spec.task == "regression":
        return Pipeline([("model", DummyRegressor(**{"strategy": "mean", **params}))])
    return Pipeline([("model", DummyClassifier(**{"strategy": "prior", **params}))])


def _logistic_regression(params: dict, spec: ModelSpec) -> Pipeline:
    if spec.task == "regression":
        raise SpecError(
            f"logistic_regression can't learn the numbers of {spec.name}",
            seen="task regression",
            expected="an estimator of numbers",
            hint="take sklearn.linear_model.Ridge, or hist_gradient_boosting",
        )
    columns = _imputed_and_scaled(params, spec)
    model = LogisticRegression(**{"max_iter": 1000, "random_state": spec.seed, **params})
    return Pipeline([("columns", columns), ("model", model)])


def _hist_gradient_boosting(params: dict, spec: ModelSpec) -> Pipeline:
    """No early stopping: it would split rows of one day across its two halves. The validate window chooses instead."""
    categorical = OrdinalEncoder(
        handle_unknown="use_encoded_value",
        unknown_value=np.nan,
        encoded_missing_value=np.nan,
        max_categories=MOST_CATEGORIES,
    )
    numbers, categories = len(spec.numeric_features), len(spec.categorical_features)
    boosting = HistGradientBoostingRegressor if spec.task == "regression" else HistGradientBoostingClassifier
    model = boosting(
        categorical_features=[False] * numbers + [True] * categories,
        **{"early_stopping": False, "random_state": spec.seed, **params},
    )
    return Pipeline([("columns", _columns(("passthrough", categorical), spec)), ("model", model)])


def _factory_of(candidate: CandidateSpec, spec: ModelSpec) -> Callable[[dict, ModelSpec], Pipeline]:
    """A factory for the scikit-learn class that the candidate names: numbers imputed and scaled, categories one-hot,
    all dense, as not every class takes sparse rows. The seed is the spec's where the class takes one."""
    found = _class_of(candidate, spec)

    def make(params: dict, spec: ModelSpec) -> Pipeline:
        columns = _imputed_and_scaled(params, spec).set_params(sparse_threshold=0)
        seed = {"random_state": spec.seed} if "random_state" in signature(found).parameters else {}
        model = found(**{**seed, **params})
        if spec.task != "regression" and not hasattr(model, "predict_proba"):
            raise _refused(
                candidate,
                spec,
                f"names {candidate.estimator}, which gives no probabilities",
                expected="an estimator with predict_proba",
                hint="take another, or sklearn.calibration.CalibratedClassifierCV",
            )
        return Pipeline([("columns", columns), ("model", model)])

    return make


def _class_of(candidate: CandidateSpec, spec: ModelSpec) -> type[BaseEstimator]:
    module, _, name = candidate.estimator.rpartition(".")
    wanted = RegressorMixin if spec.task == "regression" else ClassifierMixin
    found = None
    if module.startswith("sklearn."):
        try:
            found = getattr(import_module(module), name, None)
        except ImportError:
            found = None
    if not (isinstance(found, type) and issubclass(found, BaseEstimator) and issubclass(found, wanted)):
        raise _refused(
            candidate,
            spec,
            f"names {candidate.estimator}, which is no estimator for a {spec.task} model",
            seen=found,
            expected=f"{', '.join(sorted(_FACTORIES))}, or a scikit-learn {wanted.__name__[:-5].lower()}",
            hint="mend its estimator: see docs/add-a-model.md for those that can be saved",
        )
    return found


def _imputed_and_scaled(params: dict, spec: ModelSpec) -> ColumnTransformer:
    """Takes `min_frequency` out of the parameters: it is the encoder's."""
    min_frequency = params.pop("min_frequency", 50)
    numeric = Pipeline([("impute", SimpleImputer(strategy="median", add_indicator=True)), ("scale", StandardScaler())])
    categorical = OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=min_frequency)
    return _columns((numeric, categorical), spec)


def _columns(parts: tuple, spec: ModelSpec) -> ColumnTransformer:
    """Numbers first, then categories; every other column of the frame is dropped."""
    numeric, categorical = parts
    return ColumnTransformer(
        [
            ("numeric", numeric, list(spec.numeric_features)),
            ("categorical", categorical, list(spec.categorical_features)),
        ]
    )


def _refused(candidate: CandidateSpec, spec: ModelSpec, why: str, *, hint: str, **facts: object) -> SpecError:
    where = f"include/models/{spec.name}.yaml"
    return SpecError(f"candidate {candidate.name!r} of {spec.name!r} {why}", where=where, hint=hint, **facts)


_FACTORIES: dict[str, Callable[[dict, ModelSpec], Pipeline]] = {
    "base_rate": _base_rate,
    "logistic_regression": _logistic_regression,
    "hist_gradient_boosting": _hist_gradient_boosting,
}
