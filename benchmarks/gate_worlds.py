"""Worlds in which the truth is known, to try the gate in: rows to judge, for models whose AUC is what we say.

A row's signal is normal, `SIGNAL` higher for a positive row. A model sees the signal and an error of its own, of
variance `noise`; of that error `own_day_share` is the same for all rows of a day. A day moves the share of positives
(`day_effect`, on the probit scale) and the signal of all its rows (`day_shift`): label and score. With the three at
0 rows are independent. What is of a day, the models' errors too, correlates with the day before by `neighbours`: an
autoregression of first order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.signal import lfilter
from scipy.special import expit, logit, ndtr, ndtri

from ratchet.days import shift_day
from ratchet.gate import Evidence, GateVerdict, judge
from ratchet.specs import Evaluate, ModelSpec, PromoteIf, load_model_specs

# AUC 0.75, and scores of two models that correlate with 0.89 to 0.93 among rows of one class: as on the flights.
SIGNAL, POSITIVES, NOISE = 1.012, 0.22, 0.125
SITES = {"north": 0.4, "south": 0.4, "island": 0.2}
GROUPS = np.array(["a", "b"], dtype=object)
FIRST = "2013-06-01"
SECONDS = {"challenger": [0.10, 0.11, 0.10, 0.12, 0.10], "champion": [0.10, 0.10, 0.11, 0.10, 0.10]}


@dataclass(frozen=True)
class World:
    """`days` of `rows_a_day`; see the module for the rest."""

    days: int
    rows_a_day: int
    day_effect: float = 0.0
    day_shift: float = 0.0
    own_day_share: float = 0.0
    neighbours: float = 0.0

    @property
    def rows(self) -> int:
        return self.days * self.rows_a_day


@lru_cache
def spec_of(alpha: float = 0.025, sensitive: str = "group") -> ModelSpec:
    """The shipped model's spec with the library's own margins, to be judged by site and for fairness to two groups."""
    shipped = load_model_specs(Path(__file__).parents[1] / "include" / "models").good["flight_delay"]
    evaluate = Evaluate(slices=["site"], sensitive=[sensitive])
    return shipped.model_copy(update={"evaluate": evaluate, "promote_if": PromoteIf(alpha=alpha)})


@lru_cache
def true_auc(world: World, noise: float) -> float:
    """Over all days that could be: positives come rather from days with many of them (Gauss-Hermite, 61 nodes)."""
    node, weight = np.polynomial.hermite_e.hermegauss(61)
    share = ndtr(ndtri(POSITIVES) + world.day_effect * node)
    positive, negative = weight * share, weight * (1 - share)
    above = SIGNAL + world.day_shift * (node[:, None] - node[None, :])
    right = ndtr(above / np.sqrt(2 * (1 + noise)))
    return float(positive @ right @ negative / positive.sum() / negative.sum())


@lru_cache
def noise_for(world: World, gain: float, than: float = NOISE) -> float:
    """The noise of a model whose AUC is by `gain` above that of the noise `than`. Raises ValueError where none is."""
    wanted = true_auc(world, than) + gain
    return float(brentq(lambda noise: true_auc(world, noise) - wanted, 0, 20))


class Drawn:
    """The rows of one trial; models are drawn on top of them, each with errors of its own."""

    def __init__(self, world: World, rng: np.random.Generator) -> None:
        self.world, self.rng = world, rng
        self.day = np.repeat(np.arange(world.days), world.rows_a_day)
        of_day = self._of_days()
        share = ndtr(ndtri(POSITIVES) + world.day_effect * of_day)
        self.label = (rng.uniform(size=world.rows) < share[self.day]).astype(int)
        self.signal = SIGNAL * self.label + world.day_shift * of_day[self.day] + rng.normal(size=world.rows)
        self.site, self.of_group_b = _sites(world), np.arange(world.rows) % 2

    def scores(self, noise: float, at: Mapping[str, float] = {}) -> np.ndarray:
        """Probabilities from a model of this `noise`, and of another at some sites; right on average over all days."""
        share, world = self.world.own_day_share, self.world
        error = np.sqrt(1 - share) * self.rng.normal(size=world.rows)
        error += np.sqrt(share) * self._of_days()[self.day]
        noises = np.full(world.rows, noise)
        for name, other in at.items():
            noises[self.site == name] = other
        seen = self.signal + np.sqrt(noises) * error
        positives = ndtr(ndtri(POSITIVES) / np.sqrt(1 + world.day_effect**2))
        return expit(logit(positives) + SIGNAL * (seen - SIGNAL / 2) / (1 + noises))

    def _of_days(self) -> np.ndarray:
        """A number a day, each of variance 1."""
        new = self.rng.normal(size=self.world.days)
        new[1:] *= np.sqrt(1 - self.world.neighbours**2)
        return lfilter([1.0], [1.0, -self.world.neighbours], new)

    def frame(self, challenger: np.ndarray, champion: np.ndarray, days: slice = slice(None)) -> pd.DataFrame:
        """What the gate is given of these days."""
        span = np.arange(self.world.days)[days]
        of = slice(int(span[0]) * self.world.rows_a_day, (int(span[-1]) + 1) * self.world.rows_a_day)
        return pd.DataFrame(
            {
                "day": pd.Categorical.from_codes(self.day[of], _days(self.world.days), ordered=True),
                "label": self.label[of],
                "site": self.site[of],
                "group": GROUPS[self.of_group_b[of]],
                "challenger_score": challenger[of],
                "champion_score": champion[of],
            }
        )


def verdict_on(
    rows: pd.DataFrame, spec: ModelSpec, *, challenger: dict | None = None, champion: dict | None = None, **evidence
) -> GateVerdict:
    """The whole gate, of a challenger against a champion of older data that has seen none of the rows."""
    cheapest = {"challenger": 1 / 6, "champion": 1 / 6}  # with the costs of the shipped spec, 5 to 1
    known = Evidence(rows, **{"batch_seconds": SECONDS, "threshold": cheapest, **evidence})
    return judge(spec, challenger or facts_of(2, "2013-05-01"), champion or facts_of(1, "2013-03-01"), known)


def failed_checks(verdict: GateVerdict) -> list[str]:
    return [check["name"] for check in verdict.checks if not check["passed"]]


def facts_of(version: int, trained_to: str) -> dict:
    windows = {"train": ["2013-01-01", trained_to], "validate": [shift_day(trained_to, 1), shift_day(trained_to, 14)]}
    windows["judge"] = [shift_day(trained_to, 15), shift_day(trained_to, 29)]
    return {"version": version, "as_of": windows["judge"][1], "windows": windows, "model_digest": f"model {version}"}


@lru_cache
def _sites(world: World) -> np.ndarray:
    """Of each day the same share of rows a site."""
    ends = np.cumsum(list(SITES.values())) * world.rows_a_day
    return np.array(list(SITES), dtype=object)[
        np.searchsorted(ends, np.tile(np.arange(world.rows_a_day), world.days) + 0.5)
    ]


@lru_cache
def _days(days: int) -> pd.Index:
    return pd.Index([shift_day(FIRST, number) for number in range(days)])
