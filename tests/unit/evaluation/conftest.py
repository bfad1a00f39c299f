"""Small worlds with a known truth: rows of three tasks, specs for them, and estimators fitted on other rows."""

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder
from threadpoolctl import threadpool_limits

from ratchet.specs import ModelSpec

NUMBERS, CATEGORIES = ["size", "noise"], ["colour", "place"]
METRIC = {
    "binary": {"metric": "roc_auc", "at_least": 0.6},
    "multiclass": {"metric": "log_loss", "at_most": 1.0},
    "regression": {"metric": "rmse", "at_most": 2.0},
}
BOOSTING = {"max_iter": 15, "max_leaf_nodes": 6, "random_state": 0}


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """As `evaluate` and training have it; small fits are slower with more."""
    with threadpool_limits(limits=1):
        yield


@pytest.fixture(scope="session")
def spec_of():
    """A spec of a task; `evaluate` adds to its key of that name."""

    def make(task: str = "binary", **evaluate) -> ModelSpec:
        evaluate = {"slices": ["place"], "sensitive": ["place"], "min_group_rows": 50, **evaluate}
        if task == "binary":
            evaluate = {"costs": {"missed": 5, "false_alarm": 1, "unit": "coins"}, **evaluate}
        return ModelSpec(
            name="lateness",
            description="Will it be late?",
            owner="the owner",
            problem={
                "objective": "to know",
                "success": METRIC[task],
                "intended_use": "planning",
                "users": ["planners"],
                "not_for": ["anything else"],
                "risk_tier": "minimal",
            },
            task=task,
            classes=["early", "late", "right"] if task == "multiclass" else [],
            scored_dataset="things",
            outcome_dataset="outcomes",
            inputs={"things": {}},
            feature_function="views.things:build",
            label_function="views.things:label",
            numeric_features=NUMBERS,
            categorical_features=CATEGORIES,
            label_delay_days=1,
            promote_if={
                "min_days_first": 2,
                "min_days_comparison": 2,
                "better_by": 0.01,
                "implausible_jump": None,
                "no_worse": {"metric": 0.1},
            },
            retrain_when={"metric_falls_by": 0.1},
            predicted_at="start_of_day",
            first_windows={"validate_days": 2, "judge_days": 2},
            windows={"validate_days": 2, "judge_days": 2},
            candidates=[{"name": "some", "estimator": "base_rate"}],
            evaluate=evaluate,
            approval={"approvers": ["approver"]},
            score_when={"complete": ["things"]},
        )

    return make


@pytest.fixture(scope="session")
def rows_of():
    """Rows of a task, so many a day for 20 days. `size` and `colour` say something of the label, `noise` nothing."""

    def make(task: str = "binary", a_day: int = 40, seed: int = 0) -> pd.DataFrame:
        draw = np.random.default_rng(seed)
        count = 20 * a_day
        rows = pd.DataFrame(
            {
                "day": np.repeat([f"2024-05-{day:02d}" for day in range(1, 21)], a_day),
                "size": draw.normal(size=count),
                "noise": draw.normal(size=count),
                "colour": draw.choice(["red", "green", "blue"], count),
                "place": draw.choice(["north", "south"], count, p=[0.7, 0.3]),
            }
        ).astype({"colour": "str", "place": "str"})
        truth = rows["size"] + (rows["colour"] == "red") + draw.normal(size=count)
        rows["size"] = rows["size"].mask(draw.random(count) < 0.05)
        if task == "multiclass":
            rows["label"] = np.select([truth < -0.5, truth > 1], ["early", "late"], "right")
        else:
            rows["label"] = truth if task == "regression" else (truth > 0.8).astype(int)
        return rows

    return make


@pytest.fixture(scope="session")
def fitted(rows_of):
    """An estimator of a kind, fitted on rows of a task that no test measures on."""
    made = {}

    def fit(task: str = "binary", kind: str = "boosting"):
        if (task, kind) not in made:
            rows = rows_of(task, a_day=60, seed=99)
            made[task, kind] = _pipeline(task, kind).fit(rows[NUMBERS + CATEGORIES], rows["label"])
        return made[task, kind]

    return fit


def _pipeline(task: str, kind: str):
    if kind == "base_rate":
        return make_pipeline(DummyClassifier(strategy="prior"))
    if kind == "linear":
        columns = [("n", SimpleImputer(), NUMBERS), ("c", OneHotEncoder(handle_unknown="ignore"), CATEGORIES)]
        return make_pipeline(ColumnTransformer(columns), LogisticRegression())
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan, encoded_missing_value=np.nan)
    made = HistGradientBoostingRegressor if task == "regression" else HistGradientBoostingClassifier
    columns = ColumnTransformer([("n", "passthrough", NUMBERS), ("c", codes, CATEGORIES)])
    return make_pipeline(columns, made(categorical_features=[False, False, True, True], **BOOSTING))
