"""The field test as an instrument: what it says of models whose truth is known, looked at every day for a year.

Rows are drawn as for the gate (benchmarks.gate_worlds): the losses of both models on the same rows, in daily means. A
few series of daily differences are drawn as they are, where no world of rows has such tails.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy.signal import lfilter

from benchmarks.gate_worlds import NOISE, Drawn, World, noise_for, spec_of
from ratchet.field_test.evidence import weigh
from ratchet.field_test.losses import daily_losses
from ratchet.field_test.safety import gross_harm

YEAR = 364
ROWS, ROWS_BETTER = 40, 200  # a day; false alarms do not depend on it, how soon a difference is seen does
WORLDS = {
    "independent rows": World(YEAR, ROWS),
    "days": World(YEAR, ROWS, 0.6, 0.3, 0.5),
    **{f"days that follow each other, {r}": World(YEAR, ROWS, 0.6, 0.3, 0.5, neighbours=r) for r in (0.3, 0.5, 0.7)},
}
BEYOND = {"days that follow each other, 0.9": World(YEAR, ROWS, 0.6, 0.3, 0.5, neighbours=0.9)}
# Daily differences drawn as they are: how, and how each is like the one before.
SERIES = {
    **{f"differences that follow each other, {r}": ("normal", r) for r in (0.3, 0.5, 0.7)},
    "differences with heavy tails (Student, 3 degrees), 0.3": ("t", 0.3),
}
SKEWED = {"differences skewed to one side (exponential), 0.3": ("exponential", 0.3)}
BETTER = (0.005, 0.01, 0.02)  # of AUC
HARM_WORLDS = ("days", "days that follow each other, 0.5")
CANARY_DAYS = 28
# Share of positives, and the score that champion and challenger give every row: their expected losses are the same.
RARE, RARE_ROWS = ((0.01, 0.008, 0.013), (0.001, 0.0005, 0.0015)), 50


@dataclass(frozen=True)
class Said:
    """Of `trials` years: the first days on which it was said to be better, or worse, of those in which it was."""

    name: str
    world: str
    trials: int
    better: list[int]
    worse: list[int]


def try_equal(world: str, trials: int, seed: Sequence[int]) -> Said:
    return _try("equal", world, trials, seed, gain=0.0)


def try_better(gain: float, world: str, trials: int, seed: Sequence[int]) -> Said:
    return _try(f"better by {gain}", world, trials, seed, gain, ROWS_BETTER)


def _try(name: str, world: str, trials: int, seed: Sequence[int], gain: float, rows: int = ROWS) -> Said:
    of, spec = replace({**WORLDS, **BEYOND}[world], rows_a_day=rows), spec_of()
    rng = np.random.default_rng([*seed, *map(ord, name + world)])
    noise = noise_for(of, -gain) if gain else NOISE  # the champion is the worse one
    said = [_first_days(weigh(spec, _daily(Drawn(of, rng), noise)).history) for _ in range(trials)]
    return _said(name, world, said)


def try_series(world: str, trials: int, seed: Sequence[int]) -> Said:
    """Equal models, by their daily differences alone."""
    rng, spec = np.random.default_rng([*seed, *map(ord, world)]), spec_of()
    kind, alike = {**SERIES, **SKEWED}[world]
    days = pd.date_range("2013-01-01", periods=YEAR).strftime("%Y-%m-%d")
    said = []
    for _ in range(trials):
        new = DRAWN[kind](rng)
        new[1:] *= np.sqrt(1 - alike**2)
        difference = lfilter([1.0], [1.0, -alike], new)
        daily = pd.DataFrame({"day": days, "rows": ROWS, "champion": difference, "challenger": 0.0})
        said.append(_first_days(weigh(spec, daily).history))
    return _said("equal", world, said)


DRAWN = {
    "normal": lambda rng: rng.normal(size=YEAR),
    "t": lambda rng: rng.standard_t(3, YEAR),
    "exponential": lambda rng: rng.exponential(size=YEAR) - 1,
}


def try_harm(world: str, turned: float, trials: int, seed: Sequence[int]) -> Said:
    """A canary as good as the champion but for a share of each score that is turned round (1 - score). `worse`: the day
    on which it was rolled back."""
    of, spec = replace(WORLDS[world], days=CANARY_DAYS), spec_of()
    rng, said = np.random.default_rng([*seed, *map(ord, world), int(10 * turned)]), []
    for _ in range(trials):
        drawn = Drawn(of, rng)
        ours = drawn.scores(NOISE)
        daily = _losses(drawn, drawn.scores(NOISE), (1 - turned) * ours + turned * (1 - ours), spec)
        said.append((None, _rolled_back(daily)))
    return _said(f"canary, {turned:.0%} of each score turned round", world, said)


def try_rare(prevalence: float, champion: float, challenger: float, trials: int, seed: Sequence[int]) -> Said:
    """A canary as good as the champion where positives are rare (see RARE). `worse`: the day on which it was rolled
    back."""
    rng, said = np.random.default_rng([*seed, int(1000 * prevalence)]), []
    for _ in range(trials):
        share = rng.binomial(RARE_ROWS, prevalence, CANARY_DAYS) / RARE_ROWS
        losses = {
            who: share * (1 - score) ** 2 + (1 - share) * score**2
            for who, score in (("champion", champion), ("challenger", challenger))
        }
        said.append((None, _rolled_back(pd.DataFrame(losses))))
    return _said("canary, 0% of each score turned round", f"positives {prevalence:.1%}, {RARE_ROWS} rows a day", said)


def _rolled_back(daily: pd.DataFrame) -> int | None:
    if not gross_harm(daily):  # what was sure once stays so
        return None
    return next(day for day in range(1, CANARY_DAYS + 1) if gross_harm(daily.head(day)))


def _daily(drawn: Drawn, noise: float) -> pd.DataFrame:
    return _losses(drawn, drawn.scores(noise), drawn.scores(NOISE), spec_of())


def _losses(drawn: Drawn, champion: np.ndarray, challenger: np.ndarray, spec) -> pd.DataFrame:
    rows = drawn.frame(challenger, champion)
    return daily_losses(spec, rows.assign(day=rows["day"].astype(str)))


def _first_days(history: pd.DataFrame) -> tuple[int | None, int | None]:
    """1 for the first day."""
    sure = (history["low"] > 0).to_numpy(), (history["high"] < 0).to_numpy()
    return tuple(int(found.argmax()) + 1 if found.any() else None for found in sure)


def _said(name: str, world: str, said: list[tuple]) -> Said:
    sides = [[one[side] for one in said if one[side] is not None] for side in (0, 1)]
    return Said(name, world, len(said), *sides)
