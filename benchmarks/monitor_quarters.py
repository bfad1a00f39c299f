"""The whole of a check, tried day after day: how often anybody is paged for nothing, and whether harm is found."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from benchmarks.monitor_instrument import Answers
from benchmarks.monitor_worlds import AUC, IMPORTANCE, YEAR, World, draw, spec_of
from ratchet.monitoring.alarms import warn_alpha
from ratchet.monitoring.check import CheckResult, check_drift
from ratchet.monitoring.data_quality import broken_features, feature_figures, judge_figures
from ratchet.monitoring.values import Finding
from ratchet.specs import ModelSpec

QUARTER = 91
QUARTERLY = {
    "independent rows": World(50),
    "days and a season": World(50, day_effect=0.2, neighbours=0.3, season=0.5),
}
HARMED = {"independent rows": World(500), "days of 0.2 sd": World(500, day_effect=0.2)}
TRAIN, VALIDATE = 280, 42  # days of the year that the model knows; the rest is the judge window


def quarter(rng: np.random.Generator) -> Answers:
    """Pages and warnings of a quarter of daily checks in which nothing goes wrong; a call a key while it stays open."""
    counts = {}
    for name, world in QUARTERLY.items():
        known = windowed(draw(world, YEAR, rng), TRAIN, VALIDATE)
        spec = spec_of()
        later = draw(world, QUARTER + spec.watch.outcome_days, rng, YEAR + int(rng.integers(YEAR)))
        open_before: set[tuple[str, str]] = set()
        counts |= {(name, "pages"): 0, (name, "warnings"): 0, (name, "quarters with a page"): 0}
        for result in checks(spec, known, later, range(spec.watch.outcome_days, QUARTER + spec.watch.outcome_days)):
            open_now = {(alarm.level, alarm.key) for alarm in result.alarms}
            for level, _ in open_now - open_before:
                counts[name, "pages"] += level == "page"
                counts[name, "warnings"] += level == "warn"
            open_before = open_now
        counts[name, "quarters with a page"] = int(counts[name, "pages"] > 0)
    return counts


def harmed(rng: np.random.Generator) -> Answers:
    """Is harm measured that began 14 labelled days before: is a page due at the last check of these days?"""
    answers = {}
    for name, world in HARMED.items():
        known, later = windowed(draw(world, 120, rng), 60, 30), draw(world, 15, rng, 400)
        for what, labels in {
            "20 % of the labels flipped": _flipped(later["label"], 0.2, rng),
            "a concept change that costs 0.05 AUC": _redrawn(later["label"], 0.05 / (AUC - 0.5), rng),
            "nothing: paged": later["label"],
        }.items():
            results = list(checks(spec_of(), known, later.assign(label=labels), range(12, 15)))
            answers[name, what] = any(alarm.level == "page" for alarm in results[-1].alarms)
    return answers


def windowed(rows: pd.DataFrame, train: int, validate: int) -> pd.DataFrame:
    """As a champion knows them: without scores of the days that it was trained on."""
    day = rows["day"].cat.codes
    window = np.select([day < train, day < train + validate], ["train", "validate"], "judge")
    return rows.assign(window=window, score=rows["score"].mask(day < train))


def checks(spec: ModelSpec, known: pd.DataFrame, later: pd.DataFrame, days: range) -> Iterator[CheckResult]:
    """A check at the end of each of these days (by number); outcomes are known of the days before."""
    day, earlier = later["day"].cat.codes, []
    for today in days:
        current = later[(day > today - spec.watch.window_days) & (day <= today)]
        outcomes = later[(day >= today - spec.watch.outcome_days) & (day < today)]
        waiting = sorted(set(current["day"]) - set(outcomes["day"]) - {later["day"].cat.categories[today]})
        result = check_drift(
            spec,
            known,
            current.drop(columns="label"),
            outcomes,
            extra=data_findings(spec, known, current),
            earlier=earlier[-spec.watch.persistence.of :],
            importance=IMPORTANCE,
            waiting=waiting,
        )
        earlier.append([one.as_dict() for one in result.findings])
        yield result


def data_findings(spec: ModelSpec, known: pd.DataFrame, current: pd.DataFrame) -> list[Finding]:
    """Those of features: what is delivered, and when, has no worlds here."""
    figures = feature_figures(known, current, spec.numeric_features, spec.features)
    return [
        *broken_features(known, current, spec.features, spec.watch.min_rows),
        *judge_figures(figures, warn_alpha(spec), spec.watch.smallest.share),
    ]


def _flipped(labels: pd.Series, share: float, rng: np.random.Generator) -> pd.Series:
    return labels.mask(rng.uniform(size=len(labels)) < share, 1 - labels)


def _redrawn(labels: pd.Series, share: float, rng: np.random.Generator) -> pd.Series:
    """So many drawn from all labels, whatever the row: an AUC of A becomes (1 - share) A + share / 2."""
    return labels.mask(rng.uniform(size=len(labels)) < share, rng.permutation(labels.to_numpy()))
