"""The kinds of challenger that the gate is tried on, and the worlds in which."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit

from benchmarks.gate_worlds import NOISE, Drawn, World, facts_of, noise_for, true_auc

INDEPENDENT = World(40, 250)
CLUSTERED = {
    "days, design effect 12": World(30, 333, day_effect=0.6, day_shift=0.3, own_day_share=0.5),
    "days, design effect 30": World(30, 333, day_effect=1.0, day_shift=0.5, own_day_share=0.8),
}
IN_A_ROW = {
    f"days that follow each other, {alike}": World(28, 357, 0.6, 0.3, 0.5, neighbours=alike)
    for alike in (0.3, 0.5, 0.7, 0.9)
}
MOST_ALIKE = list(IN_A_ROW)[-1]
USUAL = {"independent rows": INDEPENDENT, **CLUSTERED}
WORLDS = {**USUAL, **IN_A_ROW}
POOR = 1.0  # the noise of a champion that is easy to better


@dataclass(frozen=True)
class Case:
    """A kind of challenger. `draw` gives the scores of challenger and champion, and more evidence for the gate.
    `at_most`, `at_least`: the share that may, or should, be promoted; neither: it is only looked at."""

    name: str
    draw: Callable[[Drawn], tuple[np.ndarray, np.ndarray, dict]]
    at_most: float | None = None
    at_least: float | None = None
    worlds: tuple[str, ...] = tuple(USUAL)
    sensitive: str = "group"


def _equal(drawn: Drawn):
    return drawn.scores(NOISE), drawn.scores(NOISE), {}


def _off_by(gain: float):
    def draw(drawn: Drawn):
        return drawn.scores(noise_for(drawn.world, gain)), drawn.scores(NOISE), {}

    return draw


def _better_but_less_alike(drawn: Drawn):
    """Both have more noise, and correlate with 0.8 among rows of one class; the better one's AUC is higher by 0.01."""
    gain = true_auc(drawn.world, 2 * NOISE) - true_auc(drawn.world, NOISE) + 0.01
    return drawn.scores(noise_for(drawn.world, gain)), drawn.scores(2 * NOISE), {}


def _worse_on_the_island(drawn: Drawn):
    there = {"island": noise_for(drawn.world, -0.05)}
    return drawn.scores(NOISE, at=there), drawn.scores(NOISE), {}


def _better_but_worse_on_the_island(drawn: Drawn):
    """Over all rows the challenger is much better: nothing but the slice tells."""
    there = {"island": noise_for(drawn.world, -0.05, POOR)}
    return drawn.scores(noise_for(drawn.world, 0.05, POOR), at=there), drawn.scores(POOR), {}


def _better_but_unfair(drawn: Drawn):
    """The log-odds of one group are raised and those of the other lowered: it acts on one far more often than on the
    other, by 0.20 of parity, and over all rows it is as well calibrated as before."""
    scores = drawn.scores(noise_for(drawn.world, 0.05, POOR))
    return expit(logit(scores) + 0.15 * (1 - 2 * drawn.of_group_b)), drawn.scores(POOR), {}


def _better_but_boastful(drawn: Drawn):
    """All its probabilities are too high, by 0.1 on average; it orders rows as before."""
    scores = drawn.scores(noise_for(drawn.world, 0.05, POOR))
    return expit(logit(scores) + 0.65), drawn.scores(POOR), {}


def _better_but_slow(drawn: Drawn):
    """It takes fifteen times as long, and each time is off by a tenth."""
    off, scores = drawn.rng.lognormal(0, 0.1, (2, 9)), drawn.scores(noise_for(drawn.world, 0.05, POOR))
    return scores, drawn.scores(POOR), {"batch_seconds": {"challenger": 0.15 * off[0], "champion": 0.01 * off[1]}}


def _leaked(drawn: Drawn):
    """One feature more tells the outcome of two rows in three."""
    known = drawn.rng.uniform(size=drawn.world.rows) < 2 / 3
    return expit(logit(drawn.scores(NOISE)) + known * (6 * drawn.label - 3)), drawn.scores(NOISE), {}


def _better_with(**evidence):
    def draw(drawn: Drawn):
        return drawn.scores(noise_for(drawn.world, 0.01)), drawn.scores(NOISE), evidence

    return draw


def _the_champion(**evidence):
    def draw(drawn: Drawn):
        scores = drawn.scores(NOISE)
        return scores, scores, evidence

    return draw


SAW_THE_WINDOW = {**facts_of(1, "2013-06-05"), "as_of": "2013-03-30"}
CASES = (
    Case("equal", _equal, at_most=0.05, worlds=tuple(name for name in WORLDS if name != MOST_ALIKE)),
    Case("equal, no more is promised", _equal, worlds=(MOST_ALIKE,)),
    Case("better by 0.01", _off_by(0.01), at_least=0.90, worlds=("independent rows",)),
    Case("better by 0.01, models less alike", _better_but_less_alike, worlds=("independent rows",)),
    Case("better by 0.01, fair to each site", _off_by(0.01), worlds=("independent rows",), sensitive="site"),
    Case("better by 0.01, of rows of days", _off_by(0.01), worlds=tuple(CLUSTERED)),
    Case("worse by 0.02", _off_by(-0.02), at_most=0.01),
    Case("worse by 0.05 on a slice of 2,000, equal elsewhere", _worse_on_the_island, at_most=0.01),
    Case("worse by 0.05 on a slice of 2,000, better by 0.05 elsewhere", _better_but_worse_on_the_island, at_most=0.01),
    Case("worse by 0.05 on a slice of 2,000, no more is promised", _worse_on_the_island, worlds=tuple(IN_A_ROW)),
    Case("better, but unfair to one group", _better_but_unfair, at_most=0.01),
    Case("better, but its probabilities are too high", _better_but_boastful, at_most=0.01),
    Case("better, but slow", _better_but_slow, at_most=0.01),
    Case("a leaked feature", _leaked, at_most=0.01),
    Case("better, the champion saw the window", _better_with(champion=SAW_THE_WINDOW), at_most=0.01),
    Case("better, 5 % of the rows repeated from train", _better_with(repeated_rows=500), at_most=0.01),
    Case("better, a feature from the future", _better_with(future_features=["arrived_at"]), at_most=0.01),
    Case("the champion itself", _the_champion(champion=facts_of(2, "2013-05-01")), at_most=0.01),
    Case("the champion registered again", _the_champion(), at_most=0.01),
)


def case_of(name: str) -> Case:
    return next(case for case in CASES if case.name == name)
