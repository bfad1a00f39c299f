"""What moved in the features and the scores of a window of days, and how sure that is.

A column has moved if one of its figures (see ratchet.monitoring.columns) is further from the reference than windows of
as many days of the reference are (ratchet.monitoring.clusters), by at least the spec's `watch.smallest`. Of all columns
together a window in which nothing has moved is called moved in at most `alpha_of` of all checks: Holm's correction
(Scandinavian Journal of Statistics 6, 1979) over columns, Bonferroni's over the figures of a column.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ratchet.monitoring.alarms import warn_alpha
from ratchet.monitoring.columns import Column, Days, count_numbers, count_text, in_order_of_days, is_constant, is_stuck
from ratchet.monitoring.figures import Bar, Figure, figures_of
from ratchet.monitoring.values import Area, Finding, Harm, State

if TYPE_CHECKING:
    from ratchet.specs import ModelSpec

ALPHA = 0.005
LEAST_DAYS = 5  # of the reference: fewer don't tell how days differ
WILDLY = 10  # so many times as wide or as narrow is no movement of the world, where the mix is the same
SAME_MIX = 0.2  # how far the share of the most frequent value may move, where only the scale has
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
    names = [*spec.features, *spec.score_columns]
    if why := _too_little(spec, before, now):
        told = (_without_figures(spec, _Looked(name, "not enough data", why), False) for name in names)
        return Movements("not enough data", why, tuple(told))
    looked = [_look(spec, name, before, now) for name in names]
    top = top_features(importance or {}) + spec.score_columns
    found = []
    for one, alpha in zip(looked, _holm([one.p for one in looked], alpha_of(spec)), strict=True):
        found.append(_finding(spec, one, Bar(spec.watch.smallest, alpha, len(names)), one.name in top))
    return _together(tuple(found), f"{len(now.frame):,} rows of {len(now.days)} days")


def alpha_of(spec: ModelSpec) -> float:
    """ALPHA, or less where movement's share of the spec's budget of warnings is less."""
    return min(ALPHA, warn_alpha(spec))


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
    if is_constant(column):
        same = "are the same" if known else "are missing or unusable"
        return _Looked(name, "usual", f"all {len(now.frame):,} values {same}, as in the reference", column)
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


def _area(spec: ModelSpec, name: str) -> Area:
    return "predictions" if name in spec.score_columns else "inputs"


def _without_figures(spec: ModelSpec, looked: _Looked, matters: bool) -> Finding:
    harm = _harm(looked.state, matters)
    return Finding(_area(spec, looked.name), looked.name, looked.state, harm, f"{looked.name}: {looked.why}")


def _finding(spec: ModelSpec, looked: _Looked, bar: Bar, matters: bool) -> Finding:
    if not looked.figures:
        return _without_figures(spec, looked, matters)
    area, name = _area(spec, looked.name), looked.name
    figure, state, says = bar.decide(looked.figures)
    if state == "moved" and area == "inputs" and _is_scaled(looked.column):  # a score may rightly go to its ends
        (was, _), (became, _) = looked.column.widths
        state, says = "broken data", f"values lie {became / was:.3g} times as wide apart; {says}"
    numbers = bar.numbers(figure, len(looked.figures))
    return Finding(area, name, state, _harm(state, matters), f"{name}: {says}", **numbers)


def _harm(state: State, matters: bool) -> Harm:
    if state == "broken data":
        return "broken"
    return "estimated" if state == "moved" and matters else "none"


def _is_scaled(column: Column) -> bool:
    """Do all widths say so, and is the mix the same? Snow that melts and a promotion that begins are of the world."""
    if abs(column.tops[1] - column.tops[0]) > SAME_MIX:
        return False
    sides = list(zip(*column.widths, strict=True))
    wider, narrower = (all(0 < WILDLY * one[a] < one[b] for one in sides) for a, b in ((0, 1), (1, 0)))
    return wider or narrower


def _together(findings: tuple[Finding, ...], window: str) -> Movements:
    by_state = {state: [one for one in findings if one.state == state] for state in ("broken data", "moved", "usual")}
    moved = [one.name for one in findings if one.state in ("broken data", "moved")]
    for state, those in by_state.items():
        if those:
            told = "nothing moved" if state == "usual" else "; ".join(one.says for one in those)
            return Movements(state, f"{window}: {told}", findings, moved)
    return Movements("not enough data", f"{window}: no column can be held against the reference", findings, moved)
