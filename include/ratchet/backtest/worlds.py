"""Planted worlds: a past in which we know what happened, to try policies and thresholds in before they are trusted.

All are of one kind: rows of a day share a day's luck (in an input, and in the outcome, which nobody can see), and the
outcome depends on three of five numbers and on the site. Something happens a third of the way through the days played.
Deterministic by seed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy.special import expit

from ratchet.backtest.history import History
from ratchet.days import days_between, shift_day
from ratchet.errors import ParameterError
from ratchet.specs import CandidateSpec, Evaluate, ModelSpec

ROWS_A_DAY, DAYS_BEFORE = 300, 90
NUMBERS = ["x1", "x2", "x3", "x4", "x5"]
SITES = {"north": 0.3, "south": 0.0, "island": -0.6}
WEIGHTS, CHANGED = np.array([1.0, 0.6, -0.5, 0.0, 0.0]), np.array([0.2, 0.6, -1.1, 0.0, 0.5])
INTERCEPT, DAY_EFFECT, DAY_SHIFT = -1.3, 0.25, 0.4
LATE_BY = 28  # days that outcomes take longer in late_labels
BAD_DAYS = 14  # of outage, poisoned labels and a stuck input
BEND = 0.9  # how much more x1 counts below -1: where few rows are, until a shift brings many there


@dataclass
class _World:
    """What a world's story may change, each of shape (days,) or (days, numbers). `weights`: of the numbers in the
    outcome; `mean`: of the numbers; `intercept`; `flipped`: share of labels that are wrong; `late`: days that outcomes
    take longer; `stuck`: whether x1 says 0; `there`: whether the day has rows."""

    days: list[str]
    weights: np.ndarray = field(init=False)
    mean: np.ndarray = field(init=False)
    intercept: np.ndarray = field(init=False)
    flipped: np.ndarray = field(init=False)
    late: np.ndarray = field(init=False)
    stuck: np.ndarray = field(init=False)
    there: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        count = len(self.days)
        self.weights, self.mean = np.tile(WEIGHTS, (count, 1)), np.zeros((count, len(NUMBERS)))
        self.intercept, self.flipped = np.full(count, INTERCEPT), np.zeros(count)
        self.late, self.stuck, self.there = np.zeros(count, int), np.zeros(count, bool), np.ones(count, bool)


def make_world(name: str, spec: ModelSpec, first: str, last: str, seed: int) -> tuple[ModelSpec, History]:
    """A world to play from `first` to `last`, with DAYS_BEFORE days before; and the model's spec, its windows, gate,
    watching and policies as they are, on that world's columns. Raises ParameterError for an unknown world, or a model
    of another task or metric."""
    if name not in WORLDS:
        raise ParameterError("no such world", seen=name, expected=f"one of {', '.join(WORLDS)}", hint="mend --world")
    if (spec.task, spec.problem.success.metric) != ("binary", "roc_auc"):
        seen = f"{spec.name}: {spec.task}, {spec.problem.success.metric}"
        hint = "play the model's own past: leave --world out"
        raise ParameterError("the planted worlds are binary, told by roc_auc", seen=seen, hint=hint)
    world = _World(days_between(shift_day(first, -DAYS_BEFORE), last))
    event = DAYS_BEFORE + len(days_between(first, last)) // 3
    WORLDS[name](world, event)
    return _spec_of(spec), _history(world, spec, np.random.default_rng([seed, *name.encode()]))


def _steady(world: _World, event: int) -> None:
    """Nothing happens."""


def _season(world: _World, event: int) -> None:
    """Inputs and the share of positives move with the seasons; what makes an outcome does not."""
    wave = np.sin(2 * np.pi * np.arange(len(world.days)) / 365)
    world.mean[:, 1] = wave
    world.mean[:, 3] = -2 * wave
    world.intercept += 0.4 * wave


def _sudden_shift(world: _World, event: int) -> None:
    """The most important input moves for good, to where few rows were before."""
    world.mean[event:, 0] = -1.5


def _concept_change(world: _World, event: int) -> None:
    """From one day to the next other things make an outcome; the inputs are as they were."""
    world.weights[event:] = CHANGED


def _slow_change(world: _World, event: int) -> None:
    """The same, little by little over all days."""
    part = np.linspace(0, 1, len(world.days))[:, None]
    world.weights = (1 - part) * WEIGHTS + part * CHANGED


def _outage(world: _World, event: int) -> None:
    """No data for a fortnight, while things change slowly."""
    _slow_change(world, event)
    world.there[event : event + BAD_DAYS] = False


def _poisoned_labels(world: _World, event: int) -> None:
    """For a fortnight half of the labels are by lot, and nobody corrects them."""
    world.flipped[event : event + BAD_DAYS] = 0.5


def _stuck_input(world: _World, event: int) -> None:
    """For a fortnight the most important input says 0."""
    world.stuck[event : event + BAD_DAYS] = True


def _late_labels(world: _World, event: int) -> None:
    """Outcomes come four weeks later than they should, from a fortnight before the concept changes."""
    _concept_change(world, event)
    world.late[event - BAD_DAYS :] = LATE_BY


WORLDS: dict[str, Callable[[_World, int], None]] = {
    "steady": _steady,
    "season": _season,
    "sudden_shift": _sudden_shift,
    "concept_change": _concept_change,
    "slow_change": _slow_change,
    "outage": _outage,
    "poisoned_labels": _poisoned_labels,
    "stuck_input": _stuck_input,
    "late_labels": _late_labels,
}


def _history(world: _World, spec: ModelSpec, rng: np.random.Generator) -> History:
    day = np.repeat(np.flatnonzero(world.there), ROWS_A_DAY)
    rows = len(day)
    numbers = rng.normal(size=(rows, len(NUMBERS))) + world.mean[day]
    numbers[:, 1] += DAY_SHIFT * rng.normal(size=len(world.days))[day]
    site = rng.choice(list(SITES), p=[0.4, 0.4, 0.2], size=rows)
    seen = (numbers * world.weights[day]).sum(axis=1) + world.intercept[day] + pd.Series(site).map(SITES).to_numpy()
    seen -= BEND * np.minimum(numbers[:, 0] + 1, 0)
    truth = rng.uniform(size=rows) < expit(seen + DAY_EFFECT * rng.normal(size=len(world.days))[day])
    by_lot = rng.uniform(size=rows) < world.flipped[day]
    label = np.where(by_lot, rng.uniform(size=rows) < truth.mean(), truth)
    numbers[world.stuck[day], 0] = 0.0
    days = np.array(world.days, dtype=object)
    delays = spec.label_delay_days + world.late
    known = [shift_day(name, int(delay)) for name, delay in zip(world.days, delays, strict=True)]
    frame = {"row": np.arange(rows), "day": days[day], **dict(zip(NUMBERS, numbers.T, strict=True)), "site": site}
    told = {"label": label.astype(float), "known_on": np.array(known, dtype=object)[day], "truth": truth.astype(float)}
    table = pd.DataFrame({**frame, **told}).astype({"day": "str", "site": "str", "known_on": "str"})
    return History(table, best=pd.Series(expit(seen), table.index))


def _spec_of(spec: ModelSpec) -> ModelSpec:
    candidates = [
        CandidateSpec(name="logistic", estimator="logistic_regression"),
        CandidateSpec(
            name="boosting",
            estimator="hist_gradient_boosting",
            params={"max_iter": 60, "learning_rate": 0.1, "max_leaf_nodes": 8, "min_samples_leaf": 100},
        ),
    ]
    evaluate = Evaluate(slices=["site"], min_group_rows=spec.evaluate.min_group_rows)
    columns = {"numeric_features": NUMBERS, "categorical_features": ["site"]}
    return spec.model_copy(update={**columns, "candidates": candidates, "evaluate": evaluate})
