"""Worlds to watch a model in, in which the truth is known: numbers, categories, a score and outcomes, day after day.

What is of a day (`day_effect`, in standard deviations of a row) is shared by its rows, for each column a number of its
own; it correlates with the day before by `neighbours`. `season`: the amplitude of a year of 364 days in `signal`,
`amount` and the share of positives. With the three at 0 rows are independent, and every day is like every other.

Columns: signal, amount (skewed), count (whole numbers), rain (nothing on most rows, and on most days next to none where
days differ), idle (tells nothing, 5 % missing); kind (five values), place (300 values, some of them rare); score, the
probability of the label that all but `idle` tell of: an AUC of about 0.77.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.signal import lfilter
from scipy.special import expit, ndtr

from ratchet.days import days_between, shift_day
from ratchet.specs import Evaluate, ModelSpec, Watch, load_model_specs

FIRST, YEAR = "2013-01-01", 364
NUMBERS, TEXTS = ["signal", "amount", "count", "rain", "idle"], ["kind", "place"]
IMPORTANCE = {"signal": 0.16, "amount": 0.06, "kind": 0.04, "count": 0.01, "rain": 0.005, "place": 0.0, "idle": 0.0}
KINDS, KIND_TELLS = np.array(["k1", "k2", "k3", "k4", "k5"], dtype=object), np.array([0.0, 0.3, 0.6, -0.6, 0.9])
KIND_ENDS = np.array([0.4, 0.7, 0.9, 0.95])
PLACES = np.array([f"place {number}" for number in range(300)], dtype=object)
PLACE_ENDS = np.cumsum(1 / np.arange(1, 301)) / (1 / np.arange(1, 301)).sum()
INTERCEPT = -1.4
AUC = 0.77  # of the score, where no day differs


@dataclass(frozen=True)
class World:
    """See the module."""

    rows_a_day: int
    day_effect: float = 0.0
    neighbours: float = 0.0
    season: float = 0.0


@lru_cache
def spec_of(**watch) -> ModelSpec:
    """The shipped model's spec with the columns of these worlds, watched as the library does unless told otherwise."""
    shipped = load_model_specs(Path(__file__).parents[1] / "include" / "models").good["flight_delay"]
    columns = {"numeric_features": NUMBERS, "categorical_features": TEXTS, "evaluate": Evaluate(slices=["kind"])}
    return shipped.model_copy(update={**columns, "watch": Watch(**watch)})


def draw(world: World, days: int, rng: np.random.Generator, after: int = 0) -> pd.DataFrame:
    """The rows of so many days, the first of them so many days after FIRST."""
    day = np.repeat(np.arange(days), world.rows_a_day)
    rows = len(day)
    turn = world.season * np.sin(2 * np.pi * (after + np.arange(days)) / YEAR)

    def drawn(season: float = 0.0) -> np.ndarray:
        """Of variance 1 within a day."""
        return rng.normal(size=rows) + (world.day_effect * _of_days(world, days, rng) + season * turn)[day]

    unit = np.sqrt(1 + world.day_effect**2)
    signal, amount = drawn(1.0), drawn(0.5)
    rain = np.where(drawn() > 1.6 * unit, np.exp(drawn()), 0.0)
    kind, place = (np.searchsorted(ends, ndtr(drawn() / unit)) for ends in (KIND_ENDS, PLACE_ENDS[:-1]))
    count = np.floor(np.exp(0.5 * drawn() + 1))
    idle = np.where(rng.uniform(size=rows) < 0.05, np.nan, drawn())
    told = INTERCEPT + signal + 0.5 * amount + KIND_TELLS[kind] + 0.05 * count + 0.1 * np.minimum(rain, 5)
    return pd.DataFrame(
        {
            "day": pd.Categorical.from_codes(day, _names(days, after), ordered=True),
            "signal": signal,
            "amount": np.exp(amount),
            "count": count,
            "rain": rain,
            "idle": idle,
            "kind": KINDS[kind],
            "place": PLACES[place],
            "score": expit(told),
            "label": (rng.uniform(size=rows) < expit(told)).astype(int),
        }
    )


def of_rows(frame: pd.DataFrame, rows: int, rng: np.random.Generator) -> pd.DataFrame:
    """So many rows, drawn without replacement."""
    return frame.iloc[np.sort(rng.choice(len(frame), rows, replace=False))]


def _of_days(world: World, days: int, rng: np.random.Generator) -> np.ndarray:
    """A number a day, each of variance 1."""
    new = rng.normal(size=days)
    new[1:] *= np.sqrt(1 - world.neighbours**2)
    return lfilter([1.0], [1.0, -world.neighbours], new)


@lru_cache
def _names(days: int, after: int) -> pd.Index:
    first = shift_day(FIRST, after)
    return pd.Index(days_between(first, shift_day(first, days - 1)))
