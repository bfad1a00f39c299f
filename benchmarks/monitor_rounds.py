"""The monitor's rounds: a few trials of everything, each round with seeds of its own."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.monitor_instrument import Answers, drifted_share, driftless, evidently, harmless, planted
from benchmarks.monitor_quarters import harmed, quarter
from benchmarks.monitor_worlds import NUMBERS, TEXTS, YEAR, World, draw, spec_of
from benchmarks.rounds import keep, run_rounds
from ratchet.monitoring.movement import find_movements

TRIED: dict[str, tuple[Callable[[np.random.Generator], Answers], int]] = {  # and trials a round
    "driftless": (driftless, 5),
    "evidently": (evidently, 1),
    "planted": (planted, 6),
    "harmless": (harmless, 6),
    "harmed": (harmed, 4),
    "quarter": (quarter, 2),
}
YEARLY_NUMBERS, YEARLY_TEXTS = [f"n{number}" for number in range(12)], [f"t{number}" for number in range(4)]
ROWS_A_DAY = 907  # 330,000 a year


@dataclass(frozen=True)
class Part:
    """What was asked in so many `trials`, and how often it was so, by world and question."""

    trials: int
    counts: Answers

    def of(self, world: str) -> dict[str, int]:
        return {question: count for (where, question), count in self.counts.items() if where == world}

    @property
    def worlds(self) -> list[str]:
        return list(dict.fromkeys(world for world, _ in self.counts))


@dataclass(frozen=True)
class Measured:
    """`seconds`: of a look at a year, see measure_speed."""

    parts: dict[str, Part]
    seconds: dict[str, float]


def measure(folder: Path, rounds: int, say: Callable[[str], None]) -> Measured:
    """On all cores that it may use. Rounds that `folder` holds are not tried again: they have to be of this code."""
    parts = together(run_rounds(folder, "monitor-round", rounds, try_round, say))
    speed = folder / "monitor-speed.json"
    if not speed.exists():
        keep(measure_speed(), speed)
    return Measured(parts, json.loads(speed.read_text("utf-8")))


def try_round(number: int) -> dict:
    """For JSON: by part its trials, and [world, question, count] of each question."""
    return {part: _told(try_part(part, trials, [2013, number])) for part, (_, trials) in TRIED.items()}


def try_part(part: str, trials: int, seed: Sequence[int] = (2013,), **how) -> Part:
    counts: Answers = {}
    for trial in range(trials):
        for question, answer in TRIED[part][0](np.random.default_rng([*seed, *map(ord, part), trial]), **how).items():
            counts[question] = counts.get(question, 0) + int(answer)
    return Part(trials, counts)


def _told(part: Part) -> dict:
    return {"trials": part.trials, "counts": [[*question, count] for question, count in part.counts.items()]}


def together(rounds: list[dict]) -> dict[str, Part]:
    """The sums over rounds."""
    parts = {}
    for name in rounds[0]:
        counts: Answers = {}
        for one in rounds:
            for world, question, count in one[name]["counts"]:
                counts[world, question] = counts.get((world, question), 0) + count
        parts[name] = Part(sum(one[name]["trials"] for one in rounds), counts)
    return parts


def measure_speed(days: int = YEAR, rows_a_day: int = ROWS_A_DAY) -> dict[str, float]:
    """CPU seconds of a look at 17 columns, a year against a year, by Ratchet and by Evidently: all rows, one run."""
    rng, world = np.random.default_rng(2013), World(rows_a_day, day_effect=0.2)
    frames = [_seventeen(draw(world, days, rng, after)) for after in (0, days)]
    columns = {"numeric_features": YEARLY_NUMBERS, "categorical_features": YEARLY_TEXTS}
    spec = spec_of().model_copy(update=columns)
    return {
        "rows": len(frames[0]),
        "ratchet": _cpu_seconds(lambda: find_movements(spec, *frames)),
        "evidently": _cpu_seconds(lambda: drifted_share(*frames, [*YEARLY_NUMBERS, "score"], YEARLY_TEXTS)),
    }


def _cpu_seconds(call: Callable[[], object]) -> float:
    started = time.process_time()
    call()
    return time.process_time() - started


def _seventeen(rows: pd.DataFrame) -> pd.DataFrame:
    numbers = {name: rows[NUMBERS[at % len(NUMBERS)]] + at for at, name in enumerate(YEARLY_NUMBERS)}
    texts = {name: rows[TEXTS[at % len(TEXTS)]] for at, name in enumerate(YEARLY_TEXTS)}
    return rows[["day", "score"]].assign(**numbers, **texts)
