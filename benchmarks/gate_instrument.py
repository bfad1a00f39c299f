"""The gate as an instrument: how often the whole of it promotes what, in worlds in which the truth is known.

Beside it the two rules that are common elsewhere, on the same rows: a metric that is no lower, and a paired test that
takes rows for independent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import expit, logit
from scipy.stats import binomtest

from benchmarks.gate_flights import Power, measure_power
from benchmarks.gate_worlds import (
    NOISE,
    Drawn,
    World,
    facts_of,
    failed_checks,
    noise_for,
    spec_of,
    true_auc,
    verdict_on,
)
from ratchet.gate.quality import difference_of
from ratchet.statistics import estimate

INDEPENDENT = World(40, 250)
CLUSTERED = {
    "days, design effect 12": World(30, 333, day_effect=0.6, day_shift=0.3, own_day_share=0.5),
    "days, design effect 30": World(30, 333, day_effect=1.0, day_shift=0.5, own_day_share=0.8),
}
WORLDS = {"independent rows": INDEPENDENT, **CLUSTERED}
POOR = 1.0  # the noise of a champion that is easy to better
WINDOW, NIGHTS = 28, 90
NIGHTLY_WORLDS = {
    "independent rows": World(WINDOW + NIGHTS - 1, 40),
    "days": World(WINDOW + NIGHTS - 1, 40, day_effect=0.6, day_shift=0.3, own_day_share=0.5),
}
RULES = ("gate", ">=", "by rows")


@dataclass(frozen=True)
class Case:
    """A kind of challenger. `draw` gives the scores of challenger and champion, and more evidence for the gate."""

    name: str
    draw: Callable[[Drawn], tuple[np.ndarray, np.ndarray, dict]]
    at_most: float | None = None
    at_least: float | None = None
    worlds: tuple[str, ...] = tuple(WORLDS)
    sensitive: str = "group"


@dataclass(frozen=True)
class Seen:
    """How many of `trials` each rule promoted, the gate's verdicts, and the checks that failed."""

    name: str
    world: str
    trials: int
    promoted: Mapping[str, int]
    verdicts: Mapping[str, int]
    failed: Mapping[str, int]

    @property
    def case(self) -> Case:
        return case_of(self.name)

    @property
    def met(self) -> bool | None:
        share, case = self.promoted["gate"] / self.trials, self.case
        if case.at_most is None and case.at_least is None:
            return None
        return share <= case.at_most if case.at_most is not None else share >= case.at_least


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
    Case("equal", _equal, at_most=0.05),
    Case("better by 0.01", _off_by(0.01), at_least=0.90, worlds=("independent rows",)),
    Case("better by 0.01, models less alike", _better_but_less_alike, worlds=("independent rows",)),
    Case("better by 0.01, fair to each site", _off_by(0.01), worlds=("independent rows",), sensitive="site"),
    Case("better by 0.01, of rows of days", _off_by(0.01), worlds=tuple(CLUSTERED)),
    Case("worse by 0.02", _off_by(-0.02), at_most=0.01),
    Case("worse by 0.05 on a slice of 2,000, equal elsewhere", _worse_on_the_island, at_most=0.01),
    Case("worse by 0.05 on a slice of 2,000, better by 0.05 elsewhere", _better_but_worse_on_the_island, at_most=0.01),
    Case("a leaked feature", _leaked, at_most=0.01),
    Case("better, the champion saw the window", _better_with(champion=SAW_THE_WINDOW), at_most=0.01),
    Case("better, 5 % of the rows repeated from train", _better_with(repeated_rows=500), at_most=0.01),
    Case("better, a feature from the future", _better_with(future_features=["arrived_at"]), at_most=0.01),
    Case("the champion itself", _the_champion(champion=facts_of(2, "2013-05-01")), at_most=0.01),
    Case("the champion registered again", _the_champion(), at_most=0.01),
)


def case_of(name: str) -> Case:
    return next(case for case in CASES if case.name == name)


def try_case(name: str, world: str, trials: int, *, others: bool = True, seed: int = 2013) -> Seen:
    """Each trial draws rows and models anew. `others`: also ask the two other rules."""
    case = case_of(name)
    rng, spec = np.random.default_rng([seed, *map(ord, case.name + world)]), spec_of(sensitive=case.sensitive)
    promoted, verdicts, failed = Counter(dict.fromkeys(RULES, 0)), Counter(), Counter()
    for _ in range(trials):
        drawn = Drawn(WORLDS[world], rng)
        challenger, champion, evidence = case.draw(drawn)
        rows = drawn.frame(challenger, champion)
        verdict = verdict_on(rows, spec, **evidence)
        verdicts[verdict.verdict] += 1
        failed.update(failed_checks(verdict))
        promoted["gate"] += verdict.verdict == "PROMOTE"
        if others:
            better, surely = compare_by_rows(rows)
            promoted.update({">=": better, "by rows": surely})
    return Seen(name, world, trials, dict(promoted), dict(verdicts), dict(failed))


def compare_by_rows(rows: pd.DataFrame) -> tuple[bool, bool]:
    """Is the AUC no lower; and surely higher at 2.5 %, taking rows for independent?"""
    spec = spec_of()
    of = estimate(difference_of(spec, rows.assign(day=np.arange(len(rows)))), 2 * spec.promote_if.alpha)
    return of.value >= 0, of.low > 0


@dataclass(frozen=True)
class Nights:
    """One model's ninety nights, by rule: promotions, and by how much the last champion's score on the last window is
    above that of the model they began with, which nobody chose there. All are equally good."""

    promotions: Mapping[str, int]
    inflation: Mapping[str, float]


def try_nights(world: World, rng: np.random.Generator, rules: Sequence[str] = ("gate", ">=")) -> Nights:
    """`world.days` is WINDOW + NIGHTS - 1: the window slides by a day a night, and each night brings an equal model."""
    drawn, spec = Drawn(world, rng), spec_of()
    first = drawn.scores(NOISE)
    champion, count = dict.fromkeys(rules, first), Counter(dict.fromkeys(rules, 0))
    for night in range(world.days - WINDOW + 1):
        challenger, days = drawn.scores(NOISE), slice(night, night + WINDOW)
        for rule in rules:
            if NIGHTLY[rule](drawn.frame(challenger, champion[rule], days), min(night, WINDOW - 1)):
                champion[rule], count[rule] = challenger, count[rule] + 1
    last = slice(world.days - WINDOW, world.days)
    gain = {rule: difference_of(spec, drawn.frame(chosen, first, last)).value for rule, chosen in champion.items()}
    return Nights(dict(count), gain)


# Rules by name: (rows, earlier looks that overlap) -> promoted? Of an alpha twice as large the first look has all.
NIGHTLY: dict[str, Callable[[pd.DataFrame, int], bool]] = {
    "gate": lambda rows, looks: verdict_on(rows, spec_of(), looks=looks).verdict == "PROMOTE",
    "gate, no spending": lambda rows, looks: verdict_on(rows, spec_of(alpha=0.05)).verdict == "PROMOTE",
    "by rows": lambda rows, looks: compare_by_rows(rows)[1],
    ">=": lambda rows, looks: difference_of(spec_of(), rows).value >= 0,
}


@dataclass(frozen=True)
class Measured:
    """`nights`: by world."""

    trials: int
    seen: list[Seen]
    nights: dict[str, list[Nights]]
    power: list[Power]


def measure(folder: Path, repeat: int, say: Callable[[str], None]) -> Measured:
    """A hundred trials a repetition, a tenth as many runs of ninety nights, and a twentieth as many sets of days of
    the flights (20 or more); worlds beside each other on all cores."""
    trials = 100 * repeat
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        cases = [pool.submit(try_case, case.name, world, trials) for case in CASES for world in case.worlds]
        nights = {
            name: [pool.submit(_night, world, n) for n in range(trials // 10)] for name, world in NIGHTLY_WORLDS.items()
        }
        power = measure_power(folder, max(20, trials // 20), say)
        for one in cases:
            say(f"{one.result().name}, {one.result().world}: {one.result().verdicts}")
        return Measured(
            trials,
            [one.result() for one in cases],
            {name: [one.result() for one in runs] for name, runs in nights.items()},
            power,
        )


def _night(world: World, number: int) -> Nights:
    return try_nights(world, np.random.default_rng([2013, number]), tuple(NIGHTLY))


def share(promoted: int, trials: int) -> str:
    """In per cent, with its exact 95 % interval (Clopper and Pearson, Biometrika 26, 1934)."""
    interval = binomtest(promoted, trials).proportion_ci(method="exact")
    return f"{promoted / trials:.1%} ({interval.low:.1%} to {interval.high:.1%})"
