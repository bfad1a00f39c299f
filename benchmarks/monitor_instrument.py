"""What is watched of a model, as an instrument: how often it calls what moved, in worlds in which the truth is known.

Each function tries one thing in one trial and says, by name, of each question that it asked whether it came true.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from benchmarks.monitor_worlds import IMPORTANCE, NUMBERS, TEXTS, YEAR, World, draw, of_rows, spec_of
from ratchet.monitoring.movement import Movements, find_movements

Answers = dict[tuple[str, str], int]  # by world and question: yes or no, or how often
REFERENCE_DAYS, ROWS_A_DAY, LATER = 90, 100, 400
WORLDS = {
    "independent rows": World(ROWS_A_DAY),
    "days": World(ROWS_A_DAY, day_effect=0.3),
    "days that follow each other, 0.5": World(ROWS_A_DAY, day_effect=0.3, neighbours=0.5),
    "days that follow each other, 0.7": World(ROWS_A_DAY, day_effect=0.3, neighbours=0.7),
}
SEASON = "a year with its season"
SEASONAL = World(50, day_effect=0.2, neighbours=0.3, season=1.0)
WINDOWS = {  # rows and days
    "50 rows of 1 day": (50, 1),
    "200 rows of 1 day": (200, 1),
    "500 rows of 1 day": (500, 1),
    "1,000 rows of 1 day": (1000, 1),
    "3,000 rows of 1 day": (3000, 1),
    "10,000 rows of 1 day": (10000, 1),
    "500 rows of 7 days": (500, 7),
    "3,000 rows of 7 days": (3000, 7),
    "1,000 rows of 28 days": (1000, 28),
    "10,000 rows of 28 days": (10000, 28),
}
SHOWN = ("50 rows of 1 day", "200 rows of 1 day", "1,000 rows of 1 day", "3,000 rows of 7 days")  # to Evidently, slow
CHECKS, AT_LEAST = 3, 2  # a harm is found if it is seen in so many of so many checks


def driftless(rng: np.random.Generator, windows: Sequence[str] = tuple(WINDOWS)) -> Answers:
    """Is a window called moved in which nothing has?"""
    answers = {}
    for name, world in WORLDS.items():
        reference = draw(world, REFERENCE_DAYS, rng)
        for window in windows:
            answers[name, window] = _look(reference, _window(world, window, rng)).state != "usual"
    answers[SEASON, "a month of it, seen once"] = _season_seen_once(rng).state != "usual"
    return answers


def _season_seen_once(rng: np.random.Generator) -> Movements:
    reference = draw(SEASONAL, YEAR, rng)
    return _look(reference, draw(SEASONAL, 28, rng, YEAR + int(rng.integers(YEAR))))


def evidently(rng: np.random.Generator, windows: Sequence[str] = SHOWN) -> Answers:
    """The same of Evidently's preset with its defaults: does it call the dataset drifted, does it any column?"""
    answers = {}
    for name in ("independent rows", "days"):
        world = WORLDS[name]
        reference = draw(world, REFERENCE_DAYS, rng)
        for window in windows:
            share = drifted_share(reference, _window(world, window, rng))
            answers[name, f"{window}: dataset"] = share >= 0.5
            answers[name, f"{window}: any column"] = share > 0
    return answers


def drifted_share(
    reference: pd.DataFrame, current: pd.DataFrame, numbers: Sequence[str] = (*NUMBERS, "score"), texts=tuple(TEXTS)
) -> float:
    """The share of columns that Evidently calls drifted, by its defaults; the dataset is from 0.5 on."""
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    columns = DataDefinition(numerical_columns=[*numbers], categorical_columns=[*texts])
    told = [Dataset.from_pandas(frame[[*numbers, *texts]], data_definition=columns) for frame in (current, reference)]
    metrics = Report([DataDriftPreset()]).run(*told).dict()["metrics"]
    return next(float(one["value"]["share"]) for one in metrics if "DriftedColumnsCount" in one["metric_name"])


@dataclass(frozen=True)
class Harm:
    """A change planted in `column`."""

    name: str
    column: str
    of: Callable[[pd.DataFrame], object]


def _every(nth: int, rows: pd.DataFrame) -> np.ndarray:
    return np.arange(len(rows)) % nth == 0


HARMS = (
    Harm("signal, the most important feature, 0.5 sd higher", "signal", lambda rows: rows["signal"] + 0.5),
    Harm("amount, the second, 0.5 sd higher (of its logarithm)", "amount", lambda rows: rows["amount"] * np.exp(0.5)),
    Harm("kind, the third: 5 % of a new category", "kind", lambda rows: rows["kind"].mask(_every(20, rows), "k9")),
    Harm("count is stuck", "count", lambda rows: 3.0),
    Harm("signal in F, not C", "signal", lambda rows: rows["signal"] * 1.8 + 32),
    Harm("amount a thousand times as large", "amount", lambda rows: rows["amount"] * 1000),
    Harm("amount a thousandth", "amount", lambda rows: rows["amount"] / 1000),
    Harm("signal is null", "signal", lambda rows: np.nan),
    Harm("kind is gone", "kind", lambda rows: None),
)
LESS_UNLIKE = World(ROWS_A_DAY, day_effect=0.15)  # rows of a day tell a tenth; of 0.3 a week's error is 0.12 sd
FOUND_IN = {
    "independent rows": (WORLDS["independent rows"], "500 rows of 1 day"),
    "days of 0.15 sd": (LESS_UNLIKE, "3,000 rows of 7 days"),
}


def planted(rng: np.random.Generator) -> Answers:
    """Is the planted column named in AT_LEAST of CHECKS checks, a day apart?"""
    answers = {}
    for name, (world, window) in FOUND_IN.items():
        rows, days = WINDOWS[window]
        reference = draw(world, REFERENCE_DAYS, rng)
        later = draw(World(rows // days, world.day_effect), days + CHECKS - 1, rng, LATER)
        for harm in HARMS:
            seen = sum(harm.column in _look(reference, now).moved for now in _checks(_harmed(later, harm), days))
            answers[f"{name}, {window}", harm.name] = seen >= AT_LEAST
    return answers


def _harmed(rows: pd.DataFrame, harm: Harm) -> pd.DataFrame:
    values = harm.of(rows)
    return rows.drop(columns=harm.column) if values is None else rows.assign(**{harm.column: values})


def _checks(rows: pd.DataFrame, days: int) -> Iterator[pd.DataFrame]:
    """Windows of so many days, each a day later than the one before."""
    code = rows["day"].cat.codes
    for first in range(CHECKS):
        yield rows[(code >= first) & (code < first + days)]


def harmless(rng: np.random.Generator) -> Answers:
    """Would anybody be warned or paged?"""
    answers = {}
    for name in ("independent rows", "days"):
        world = WORLDS[name]
        reference, usual = draw(world, REFERENCE_DAYS, rng), draw(world, 7, rng, LATER)
        windows = {
            "a fifth of the rows": of_rows(usual, len(usual) // 5, rng),
            "five times the rows": draw(World(5 * ROWS_A_DAY, world.day_effect), 7, rng, LATER),
            "an unimportant column moves by 1 sd": usual.assign(idle=usual["idle"] + 1),
        }
        for what, window in windows.items():
            answers[name, what] = _is_loud(_look(reference, window))
        before, now = _promoted(reference, 0.08, rng), _promoted(usual, 0.3, rng)
        answers[name, "a promotion: an unimportant column is non-zero in 30 % of rows, not 8 %"] = _is_loud(
            _look(before, now)
        )
    answers[SEASON, "a month of it, seen once"] = _is_loud(_season_seen_once(rng))
    return answers


def _promoted(rows: pd.DataFrame, share: float, rng: np.random.Generator) -> pd.DataFrame:
    promoted = rng.uniform(size=len(rows)) < share
    return rows.assign(idle=np.where(promoted, rng.uniform(5, 10, len(rows)), rng.uniform(0, 0.3, len(rows))))


def _is_loud(found: Movements) -> bool:
    return any(one.harm != "none" for one in found.findings)


def _look(reference: pd.DataFrame, current: pd.DataFrame) -> Movements:
    return find_movements(spec_of(min_rows=50), reference, current, IMPORTANCE)


def _window(world: World, window: str, rng: np.random.Generator) -> pd.DataFrame:
    rows, days = WINDOWS[window]
    drawn = draw(World(-(-rows // days), world.day_effect, world.neighbours), days, rng, LATER)
    return of_rows(drawn, rows, rng)
