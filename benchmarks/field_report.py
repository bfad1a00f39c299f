"""The field test's rounds, and the section `field` of RESULTS.md."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from os import sched_getaffinity

import numpy as np

from benchmarks.field_instrument import (
    BETTER,
    BEYOND,
    CANARY_DAYS,
    HARM_WORLDS,
    RARE,
    ROWS,
    ROWS_BETTER,
    SERIES,
    SKEWED,
    WORLDS,
    YEAR,
    Said,
    try_better,
    try_equal,
    try_harm,
    try_rare,
    try_series,
)
from benchmarks.gate_instrument import interval, share, shown
from benchmarks.results import Section, Target, table
from ratchet.field_test.anytime import FIRST_DAYS
from ratchet.field_test.safety import ALPHA, WORSE_BY

TRIALS, FEWER = 100, 10  # a round: years of equal models a world, and of each of the others
SPEC_ALPHA = 0.025
TURNED = (0.0, 0.3, 1.0)
WITHIN = (28, 91, 182, YEAR)


def measure_field(rounds: int, say: Callable[[str], None]) -> list[Said]:
    """On all cores that it may use."""
    with ProcessPoolExecutor(len(sched_getaffinity(0)), mp_context=get_context("spawn")) as pool:
        found = []
        for number, one in enumerate(pool.map(try_round, range(rounds)), 1):
            found.append(one)
            say(f"{number} of {rounds} rounds")
    return [_together(same) for same in zip(*found, strict=True)]


def try_round(number: int) -> list[Said]:
    seed = [2014, number]
    return [
        *(try_equal(world, TRIALS, seed) for world in (*WORLDS, *BEYOND)),
        *(try_series(world, TRIALS, seed) for world in (*SERIES, *SKEWED)),
        *(try_better(gain, world, FEWER, seed) for gain in BETTER for world in WORLDS),
        *(try_harm(world, turned, FEWER, seed) for turned in TURNED for world in HARM_WORLDS),
        *(try_rare(*world, TRIALS, seed) for world in RARE),
    ]


def _together(same: Iterable[Said]) -> Said:
    same = list(same)
    days = [[day for one in same for day in getattr(one, side)] for side in ("better", "worse")]
    return Said(same[0].name, same[0].world, sum(one.trials for one in same), *days)


def field_section(found: list[Said]) -> Section:
    return Section(
        "field", "what shadow and canary say of models whose truth is known", [*_targets(found)], _text(found)
    )


def _targets(found: list[Said]) -> Iterator[Target]:
    for one in found:
        if one.name == "equal" and one.world not in (*BEYOND, *SKEWED):
            for side in ("better", "worse"):
                wrong = len(getattr(one, side))
                met = shown(interval(wrong, one.trials), at_most=SPEC_ALPHA)
                what = f"equal models, {one.world}: said to be {side} on any day of a year"
                yield Target(what, share(wrong, one.trials), "", f"{SPEC_ALPHA:.1%} or less", met)
        elif one.name.startswith("canary, 0%"):
            met = shown(interval(len(one.worse), one.trials), at_most=ALPHA)
            told = share(len(one.worse), one.trials)
            yield Target(f"a canary that is as good, {one.world}: rolled back", told, "", f"{ALPHA:.0%} or less", met)


def _text(found: list[Said]) -> str:
    equal = [one for one in found if one.name == "equal"]
    better = [one for one in found if one.name.startswith("better")]
    harm = [one for one in found if one.name.startswith("canary")]
    return f"""
### Equal models

A year of {YEAR} days, looked at every day; each bound is one-sided at {SPEC_ALPHA:.1%}. Rows as in the gate's worlds,
{ROWS} a day; "days that follow each other" correlate with the day before by that much, models' errors too.

{table(["world", "years", "said to be better", "said to be worse"], map(_equal_row, equal))}

Beyond a correlation of 0.7 the bounds promise nothing, and where days are skewed to one side, that side's are somewhat
too near: the worlds without a target above say what that is worth.

### Better by so much AUC: days until it is sure

{ROWS_BETTER} rows a day. Share of years in which "better" was said within so many days, and the median day; "worse" was
never true.

{
        table(
            ["world", "better by", *(f"{days} days" for days in WITHIN), "median day", "said to be worse"],
            map(_better_row, better),
        )
    }

Nothing is said before day {FIRST_DAYS}.

### A canary's gross harm

{CANARY_DAYS} days of {ROWS} rows. A share of each score is turned round (1 - score): 0 % is a canary that is as good
as the champion. Where positives are rare each model gives every row the same score. Rolled back at a loss that is
surely more than {WORSE_BY:.0%} above the champion's, at {ALPHA:.0%}.

{table(["world", "turned round", "rolled back", "median day"], map(_harm_row, harm))}
"""


def _equal_row(one: Said) -> list[str]:
    return [one.world, f"{one.trials}", share(len(one.better), one.trials), share(len(one.worse), one.trials)]


def _better_row(one: Said) -> list[str]:
    by = [f"{sum(day <= days for day in one.better) / one.trials:.0%}" for days in WITHIN]
    return [one.world, one.name.removeprefix("better by "), *by, _median(one.better, one), f"{len(one.worse)}"]


def _harm_row(one: Said) -> list[str]:
    turned = one.name.removeprefix("canary, ").partition(" of")[0]
    return [one.world, turned, share(len(one.worse), one.trials), _median(one.worse, one)]


def _median(days: list[int], one: Said) -> str:
    """Of all trials; those in which it was never said count as later than any."""
    every = sorted([*days, *[np.inf] * (one.trials - len(days))])
    middle = every[(len(every) - 1) // 2]
    return f"{middle:.0f}" if np.isfinite(middle) else "later"
