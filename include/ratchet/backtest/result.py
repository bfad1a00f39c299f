"""What a play came to: how well each policy served over time, and at what cost. Pure.

Performance is the spec's metric of all rows whose true label is known in the end, each scored by who was champion then.
It is measured by stretches: calendar months, cut where any policy's champion changed, so that no AUC mixes the scores
of two models, which are not on one scale. A month's figure is the mean of its stretches, a policy's that of all, by
rows. Of two policies the stretches' differences are paired: each has an interval over days (see ratchet.statistics),
and stretches count as independent. A stretch of one day says nothing, and is left out for all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ratchet.backtest.promotions import Played
from ratchet.errors import EmptyWindowError
from ratchet.labels import LABEL_TYPES
from ratchet.monitoring.values import LEVELS
from ratchet.statistics import Jackknifed, estimate, measure

if TYPE_CHECKING:
    from ratchet.backtest.history import History
    from ratchet.specs import ModelSpec


@dataclass(frozen=True)
class Stretches:
    """The metric of one policy by (month, number of the stretch), and each one's share of the rows."""

    measured: dict[tuple[str, int], Jackknifed]
    share: dict[tuple[str, int], float]

    @property
    def mean(self) -> float:
        return sum(self.share[at] * one.value for at, one in self.measured.items())


def figures(history: History, spec: ModelSpec, played: Sequence[Played]) -> dict:
    """{metric, higher_is_better, best (of the policies), unbeatable (the metric by month of scores that nobody can
    beat, in a planted world), policies: {name: figures}}; goes through JSON."""
    cuts = sorted({day for one in played for day in changes(one.versions)})
    months = {one.policy: measure_stretches(spec, history, scores_of(one, history), cuts) for one in played}
    higher = spec.problem.success.higher_is_better
    best = (max if higher else min)(months, key=lambda name: months[name].mean)
    return {
        "metric": spec.problem.success.metric,
        "higher_is_better": higher,
        "best": best,
        "unbeatable": history.best is not None
        and _told(measure_stretches(spec, history, _best_scores(history, played), cuts)),
        "policies": {
            one.policy: {
                "mean": months[one.policy].mean,
                **regret(months[best], months[one.policy], higher),
                "months": _told(months[one.policy]),
                **_costs(history, one),
            }
            for one in played
        },
    }


def scores_of(played: Played, history: History) -> pd.DataFrame:
    """Each row's scores by who was champion on its day."""
    day = history.rows["day"]
    by_version: dict[int, list[str]] = {}
    for name, version in played.versions.items():
        by_version.setdefault(version, []).append(name)
    parts = [
        played.models[version].scores.reindex(history.rows.index[day.isin(set(days))])
        for version, days in by_version.items()
    ]
    return pd.concat(parts).sort_index()


def changes(versions: Mapping[str, int]) -> list[str]:
    """The days from which on another version scored."""
    days = sorted(versions)
    return [day for before, day in pairwise(days) if versions[day] != versions[before]]


def measure_stretches(spec: ModelSpec, history: History, scores: pd.DataFrame, cuts: Sequence[str]) -> Stretches:
    """Those in which the metric says nothing (one class, one day) are left out."""
    rows = history.rows.loc[scores.index, ["day", "truth"]]
    rows = rows[rows["truth"].notna()].astype({"truth": LABEL_TYPES[spec.task]})
    number = np.searchsorted(np.array(cuts, dtype="datetime64[D]"), rows["day"].to_numpy("datetime64[D]"), "right")
    measured, count = {}, {}
    for (month, cut), part in rows.groupby([rows["day"].str[:7].to_numpy(), number]):
        try:
            found = measure(spec.problem.success.metric, part["truth"], scores.loc[part.index], part["day"])
        except EmptyWindowError:
            continue
        measured[month, int(cut)], count[month, int(cut)] = found, len(part)
    if not measured:
        raise EmptyWindowError(
            f"nothing can be said of {spec.name} on these days",
            seen=f"{len(rows)} rows with a label",
            hint="play more days",
        )
    return Stretches(measured, {at: rows / sum(count.values()) for at, rows in count.items()})


def regret(best: Stretches, other: Stretches, higher_is_better: bool) -> dict:
    """By how much the other is worse than the best, 0 for the best itself, and half the width of its 95 % interval."""
    worse, variance = 0.0, 0.0
    for at, one in other.measured.items():
        gap = estimate(best.measured[at].minus(one))
        worse += other.share[at] * gap.value
        variance += (other.share[at] * gap.standard_error) ** 2
    return {"regret": worse if higher_is_better else -worse, "regret_half": 1.96 * float(np.sqrt(variance))}


def _best_scores(history: History, played: Sequence[Played]) -> pd.DataFrame:
    days = history.rows["day"].isin(set(played[0].versions))
    return history.best[days].to_frame("score")


def _told(of: Stretches) -> list[dict]:
    """By month."""
    told = []
    for month in sorted({month for month, _ in of.measured}):
        parts = {at: one for at, one in of.measured.items() if at[0] == month}
        whole = sum(of.share[at] for at in parts)
        value = sum(of.share[at] * one.value for at, one in parts.items()) / whole
        errors = [of.share[at] / whole * estimate(one).standard_error for at, one in parts.items()]
        half, rows = 1.96 * float(np.hypot.reduce(errors)), sum(one.rows for one in parts.values())
        told.append({"month": month, "value": value, "low": value - half, "high": value + half, "rows": rows})
    return told


def _costs(history: History, played: Played) -> dict:
    """Counts without the first champion's training and promotion, which all policies have."""
    trainings = played.all_of("training")
    labels = history.rows["label"].notna() & history.rows["day"].isin(played.label_days)
    return {
        "retrains": len([one for one in trainings[1:] if one["version"]]),
        "failed_trainings": len([one for one in trainings if not one["version"]]),
        "promotions": len(played.all_of("promotion")) - 1,
        "verdicts": _counts(played.all_of("verdict")[1:], "verdict"),
        "requests": _counts(played.all_of("request")[1:], "status"),
        "alarms": {level: len(played.all_of("alarm", level=level)) for level in LEVELS},
        "labels": int(labels.sum()),
        "cpu_seconds": sum(one.get("seconds", 0.0) for one in trainings) + played.check_seconds,
        "events": played.events,
    }


def _counts(events: Sequence[Mapping], name: str) -> dict[str, int]:
    values = [one[name] for one in events]
    return {value: values.count(value) for value in sorted(set(values))}
