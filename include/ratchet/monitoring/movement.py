"""What moved in the features and the scores of a window of days, and how sure that is.

A column has moved if one of its figures (see ratchet.monitoring.columns) is further from the reference than windows of
as many days of the reference are (ratchet.monitoring.clusters), by at least the spec's `watch.smallest`. Of all columns
together a window in which nothing has moved is called moved in at most ALPHA of all checks: Holm's correction
(Scandinavian Journal of Statistics 6, 1979) over columns, Bonferroni's over the figures of a column.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ratchet.monitoring.columns import Column, Days, count_numbers, count_text, in_order_of_days, is_stuck
from ratchet.monitoring.figures import Bar, Figure, figures_of
from ratchet.monitoring.values import Area, Finding, Harm, State

if TYPE_CHECKING:
    from ratchet.specs import ModelSpec

ALPHA, CHECKS_A_QUARTER = 0.005, 91
LEAST_DAYS = 5  # of the reference: fewer don't tell how days differ
WILDLY = 10  # so many times as wide or as narrow is no movement of the world
CARRY, LEAST_TOP = 0.8, 3  # of all importance; features


@dataclass(frozen=True)
class Movements:
    """`findings`: one for each feature and score column. `moved`: the columns that moved or whose data are broken."""

    state: State
    why: str
    findings: tuple[Finding, ...] = ()
    moved: list[str] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class _Looked:
    """A column with its figures, or with what kept it from having any."""

    name: str
    state: State = "usual"
    why: str = ""
    column: Column | None = None
    figures: Sequence[Figure] = ()

    @property
    def p(self) -> float:
        return min([1.0, *(len(self.figures) * one.p for one in self.figures)])


def find_movements(
    spec: ModelSpec, reference: pd.DataFrame, current: pd.DataFrame, importance: Mapping[str, float] | None = None
) -> Movements:
    """The columns of `current` held against the days of `reference`: frames with `day`, features and score columns, of
    which any may be missing. Rows of the reference without a score (those it was trained on) tell nothing of scores.

    `importance` by feature (see ratchet.evaluation.measure_importance): harm is estimated of a score that moved, and of
    a feature among those that carry most of it (see top_features); of other features, or without it: none. A column
    that is gone, empty, stuck or wildly scaled is broken data, and so is the window.
    """
    before, now = in_order_of_days(reference), in_order_of_days(current)
    if why := _too_little(spec, before, now):
        return Movements("not enough data", why)
    names = [*spec.features, *spec.score_columns]
    looked = [_look(spec, name, before, now) for name in names]
    top = top_features(importance or {}) + spec.score_columns
    found = []
    for one, alpha in zip(looked, _holm([one.p for one in looked], alpha_of(spec)), strict=True):
        found.append(_finding(spec, one, Bar(spec.watch.smallest, alpha, len(names)), one.name in top))
    return _together(tuple(found), f"{len(now.frame):,} rows of {len(now.days)} days")


def alpha_of(spec: ModelSpec) -> float:
    """ALPHA, or less where the spec allows fewer warnings than that makes of a check a day."""
    return min(ALPHA, spec.watch.false_alarms.warnings / CHECKS_A_QUARTER)


def top_features(importance: Mapping[str, float]) -> list[str]:
    """The fewest features that carry CARRY of all importance, LEAST_TOP at least; the most important first."""
    order = sorted((name for name, drop in importance.items() if drop > 0), key=lambda name: (-importance[name], name))
    carried = np.cumsum([importance[name] for name in order])
    fewest = int(np.searchsorted(carried, CARRY * carried[-1] * (1 - 1e-12))) + 1 if order else 0
    return order[: max(fewest, LEAST_TOP)]


def _too_little(spec: ModelSpec, before: Days, now: Days) -> str:
    if len(now.frame) < spec.watch.min_rows:
        return f"{len(now.frame)} rows: {spec.watch.min_rows} are needed"
    if len(before.days) < LEAST_DAYS:
        told = f"the reference has rows of {len(before.days)} days"
        return f"{told}: how much days differ can't be told from fewer than {LEAST_DAYS}"
    return ""


def _look(spec: ModelSpec, name: str, before: Days, now: Days) -> _Looked:
    if name in spec.score_columns and name in before.frame:
        before = before.where(before.frame[name].notna())
    if name not in before.frame or len(before.days) < LEAST_DAYS:
        why = "not in the reference" if name not in before.frame else f"in the reference on {len(before.days)} days"
        return _Looked(name, "not enough data", f"{why}: nothing to hold it against")
    if name not in now.frame:
        return _Looked(name, "broken data", "the column is gone")
    count = count_text if name in spec.categorical_features else count_numbers
    column = count(name, before, now)
    was, known = column.known
    if was and not known:
        return _Looked(name, "broken data", f"not one value that can be used in {len(now.frame):,} rows")
    if known >= spec.watch.min_rows and is_stuck(column):
        return _Looked(name, "broken data", f"stuck: all {known:,} values are the same", column)
    figures = figures_of(column, before.days, now.days)
    if not figures:
        return _Looked(name, "not enough data", f"{known} values now: too few to tell anything", column)
    return _Looked(name, column=column, figures=figures)


def _holm(ps: Sequence[float], alpha: float) -> list[float]:
    """What each p is held against; nothing passes after the first one that didn't."""
    levels, open_ = np.zeros(len(ps)), True
    for rank, at in enumerate(np.argsort(ps, kind="stable")):
        open_ = open_ and ps[at] <= alpha / (len(ps) - rank)
        levels[at] = alpha / (len(ps) - rank) if open_ else alpha / len(ps)
    return levels.tolist()


def _finding(spec: ModelSpec, looked: _Looked, bar: Bar, matters: bool) -> Finding:
    area: Area = "predictions" if looked.name in spec.score_columns else "inputs"
    name, state, why = looked.name, looked.state, looked.why
    if not looked.figures:
        return Finding(area, name, state, _harm(state, matters), f"{name}: {why}")
    figure, state, says = bar.decide(looked.figures)
    if state == "moved" and area == "inputs" and _is_scaled(looked.column):  # a score may rightly go to its ends
        was, became = looked.column.widths
        state, says = "broken data", f"values lie {became / was:.3g} times as wide apart; {says}"
    numbers = bar.numbers(figure, len(looked.figures))
    return Finding(area, name, state, _harm(state, matters), f"{name}: {says}", **numbers)


def _harm(state: State, matters: bool) -> Harm:
    if state == "broken data":
        return "broken"
    return "estimated" if state == "moved" and matters else "none"


def _is_scaled(column: Column) -> bool:
    was, became = column.widths
    return was > 0 and not was / WILDLY <= became <= was * WILDLY


def _together(findings: tuple[Finding, ...], window: str) -> Movements:
    by_state = {state: [one for one in findings if one.state == state] for state in ("broken data", "moved", "usual")}
    moved = [one.name for one in findings if one.state in ("broken data", "moved")]
    for state, those in by_state.items():
        if those:
            told = "nothing moved" if state == "usual" else "; ".join(one.says for one in those)
            return Movements(state, f"{window}: {told}", findings, moved)
    return Movements("not enough data", f"{window}: no column can be held against the reference", findings, moved)
