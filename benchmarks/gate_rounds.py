"""The gate's rounds: a hundred trials of everything, each round with seeds of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from benchmarks.gate_cases import CASES
from benchmarks.gate_flights import Power, measure_power
from benchmarks.gate_instrument import NIGHTLY, NIGHTLY_WORLDS, Nights, Seen, try_case, try_nights
from benchmarks.rounds import keep, run_rounds

Tried = TypeVar("Tried", Seen, Power)
TRIALS, RUNS, DRAWS = 100, 10, 5  # a round: trials of a case in a world, runs of ninety nights, sets of days


@dataclass(frozen=True)
class Measured:
    """Of one round or of many. `nights`: by world."""

    trials: int
    seen: list[Seen]
    nights: dict[str, list[Nights]]
    power: list[Power]


def measure(folder: Path, rounds: int, say: Callable[[str], None]) -> Measured:
    """On all cores that it may use. Rounds that `folder` holds are not tried again: they have to be of this code."""
    return together([_read(told) for told in run_rounds(folder, "gate-round", rounds, _found, say)])


def _found(number: int) -> dict:
    return asdict(try_round(number))


def try_round(number: int) -> Measured:
    seed = [2013, number]
    seen = [try_case(case.name, world, TRIALS, seed=seed) for case in CASES for world in case.worlds]
    nights = {
        name: [try_nights(world, np.random.default_rng([*seed, run]), tuple(NIGHTLY)) for run in range(RUNS)]
        for name, world in NIGHTLY_WORLDS.items()
    }
    return Measured(TRIALS, seen, nights, measure_power(DRAWS, seed))


def together(rounds: list[Measured]) -> Measured:
    """The sums over rounds, of the same cases in the same order."""
    cases, powers = (zip(*(getattr(one, of) for one in rounds), strict=True) for of in ("seen", "power"))
    seen = [_total(same, ("trials",), ("promoted", "verdicts", "failed")) for same in cases]
    power = [_total(same, ("draws", "better"), ("verdicts", "held_for")) for same in powers]
    nights = {name: [run for one in rounds for run in one.nights[name]] for name in rounds[0].nights}
    return Measured(sum(one.trials for one in rounds), seen, nights, power)


def _total(same: Sequence[Tried], numbers: Sequence[str], counts: Sequence[str]) -> Tried:
    """One for all of them: each of the `numbers`, and of the `counts` by name, added up."""
    added = {name: sum(getattr(one, name) for one in same) for name in numbers}
    return replace(same[0], **added, **{name: _sum(getattr(one, name) for one in same) for name in counts})


def _sum(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: Counter = Counter()
    for one in counts:
        total.update(one)
    return dict(total)


def keep_round(measured: Measured, path: Path) -> None:
    keep(asdict(measured), path)


def _read(told: dict) -> Measured:
    return Measured(
        told["trials"],
        [Seen(**one) for one in told["seen"]],
        {name: [Nights(**one) for one in runs] for name, runs in told["nights"].items()},
        [Power(**one) for one in told["power"]],
    )
