"""How many days the gate needs on the real flights: a challenger that is known to be better, judged on few and many."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.gate_worlds import failed_checks, verdict_on
from ratchet.candidates import make_estimator
from ratchet.drops import DropStore
from ratchet.read_drop import MAX_BYTES, read_drop
from ratchet.score import score_frame
from ratchet.specs import ModelSpec, load_dataset_specs, load_model_specs
from ratchet.upstream import land_flights

SPECS = Path(__file__).parents[1] / "include"
FIRST, LAST = "2013-01-01", "2013-08-31"
CHAMPION_TO, CHALLENGER_TO, JUDGED_FROM = "2013-02-28", "2013-04-30", "2013-06-01"
CHAMPION, CHALLENGERS = "logistic", ("logistic", "boosting_small")  # the spec's candidates
DAYS = (14, 21, 28, 35, 42, 56, 70)


@dataclass(frozen=True)
class Power:
    """Of `draws` sets of `days` days: how many were promoted, and in how many the challenger was surely better; and the
    other verdicts."""

    challenger: str
    days: int
    draws: int
    better: int
    verdicts: dict[str, int]
    held_for: dict[str, int]


def flight_rows(folder: Path, spec: ModelSpec) -> pd.DataFrame:
    """day, label and features of the flights from FIRST to LAST, from the drops that upstream delivers."""
    store = DropStore(folder / "landing")
    land_flights(store, FIRST, LAST)
    flights, weather, planes, outcomes = (_read(store, name) for name in ("flights", "weather", "planes", "outcomes"))
    build, label = (_function(name) for name in (spec.feature_function, spec.label_function))
    features = build(flights, weather, planes)
    key = ["carrier", "flight", "origin", "sched_dep_at"]
    beside = [name for name in key if name not in features]
    rows = pd.concat([flights[["day", *beside]], features], axis="columns")
    rows[spec.categorical_features] = rows[spec.categorical_features].astype("str")
    return rows.merge(label(outcomes), on=key, how="inner").drop(columns=["flight", "sched_dep_at"])


def _function(named: str) -> Callable:
    module, _, name = named.partition(":")
    return getattr(import_module(module), name)


def _read(store: DropStore, dataset: str) -> pd.DataFrame:
    spec, parts = load_dataset_specs(SPECS / "datasets").good[dataset], []
    for day in store.days(dataset):
        drop = store.find(dataset, day)
        with store.fetched(drop, MAX_BYTES) as path:
            parts.append(read_drop(path, drop, spec).frame.assign(day=drop.day))
    return pd.concat(parts, ignore_index=True)


def score_flights(rows: pd.DataFrame, spec: ModelSpec) -> tuple[pd.DataFrame, dict[str, pd.Series]]:
    """The rows from JUDGED_FROM on with `champion_score`, and each challenger's scores of them."""
    judged = rows[rows["day"] >= JUDGED_FROM].reset_index(drop=True)
    candidates = {candidate.name: candidate for candidate in spec.candidates}

    def scores(name: str, last: str) -> pd.Series:
        train = rows[rows["day"] <= last]
        fitted = make_estimator(candidates[name], spec).fit(train[spec.features], train["label"])
        return score_frame(fitted, judged, spec)["score"]

    challengers = {name: scores(name, CHALLENGER_TO) for name in CHALLENGERS}
    return judged.assign(champion_score=scores(CHAMPION, CHAMPION_TO)), challengers


def measure_power(draws: int, seed: Sequence[int]) -> list[Power]:
    """Days are drawn without replacement from June to August, `draws` times for each number of days."""
    spec, judged, challengers = _scored_flights()
    return [
        _power(judged.assign(challenger_score=scores), name, days, draws, spec, seed)
        for name, scores in challengers.items()
        for days in DAYS
    ]


@lru_cache
def _scored_flights() -> tuple[ModelSpec, pd.DataFrame, dict[str, pd.Series]]:
    """Once a process."""
    shipped = load_model_specs(SPECS / "models").good["flight_delay"]
    rule = shipped.promote_if.model_copy(update={"min_days_comparison": min(DAYS)})
    spec = shipped.model_copy(update={"promote_if": rule})
    with tempfile.TemporaryDirectory(prefix="ratchet-bench-") as folder:
        rows = flight_rows(Path(folder), spec)
    return spec, *score_flights(rows, spec)


def _power(rows: pd.DataFrame, name: str, days: int, draws: int, spec: ModelSpec, seed: Sequence[int]) -> Power:
    rng, known = np.random.default_rng([*seed, days]), rows["day"].unique()
    made = [verdict_on(rows[rows["day"].isin(rng.choice(known, days, replace=False))], spec) for _ in range(draws)]
    verdicts = Counter(verdict.verdict for verdict in made)
    held_for = Counter(check for verdict in made if verdict.verdict == "HOLD" for check in failed_checks(verdict))
    better = sum("better_than_champion" not in failed_checks(verdict) for verdict in made)
    return Power(name, days, draws, better, dict(verdicts), dict(held_for))
