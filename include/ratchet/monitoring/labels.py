"""The outcomes themselves: whether they come, whether they can be what they say, and whether their mix has changed."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import pandas as pd

from ratchet.labels import is_label
from ratchet.monitoring.alarms import shared, warn_alpha
from ratchet.monitoring.change import Change, held_against, interval_of, tell, try_measure
from ratchet.monitoring.values import Finding
from ratchet.statistics import mean

if TYPE_CHECKING:
    from ratchet.specs import ModelSpec

PATIENCE_DAYS = 3  # scored days whose outcomes are due; more without any, and outcomes have stopped coming
FEW = "too few labels, or of one day only, now or in the reference"
EXPECTED = 20  # so many rows of a class where there is none: it can't be chance, even where days are alike


def find_arrival(waiting: Collection[str]) -> Finding:
    """`waiting`: scored days since the newest one with outcomes, whose own are due: older than the label delay."""
    days = sorted(waiting)
    if len(days) > PATIENCE_DAYS:
        says = f"no outcomes of {len(days)} scored days, {days[0]} to {days[-1]}, that were due: {PATIENCE_DAYS} may be"
        return Finding(
            "labels", "arrival", "broken data", "broken", says, len(days), threshold=PATIENCE_DAYS, unit="days"
        )
    says = f"outcomes of {len(days)} scored days are due and have not come"
    return Finding("labels", "arrival", "usual", "none", says, len(days), threshold=PATIENCE_DAYS, unit="days")


def find_labels(spec: ModelSpec, reference: pd.DataFrame, outcomes: pd.DataFrame | None) -> list[Finding]:
    """Whether the labels can be what they say; and the share of each class (of the positive one, of two), or of a
    regression the mean, of those that can, against the reference's validate and judge windows. Both: `day`, `label`;
    rows with outcomes have a label."""
    before, now = _known(spec, reference), _known(spec, outcomes)
    enough = min(len(before), len(now)) >= spec.watch.min_rows
    few = f"{len(now)} labels, {len(before)} in the reference: {spec.watch.min_rows} are needed"
    given = 0 if outcomes is None else len(outcomes)
    alone = _told_alone(before["label"], now["label"]) if enough and spec.task != "regression" else ""
    whole = _whole(given, len(now), alone, "" if enough else few)
    sides = (spec, before, now) if enough else (spec, before.head(0), now.head(0))
    if spec.task == "regression":
        return [whole, _mean(*sides)]
    classes = spec.classes or [1]
    return [whole, *(_share(*sides, name, len(classes)) for name in classes)]


def due_days(spec: ModelSpec, current: pd.DataFrame, outcomes: pd.DataFrame | None) -> list[str]:
    """Of the scored days in `current`, those for `find_arrival`; days as "YYYY-MM-DD"."""
    from ratchet.days import shift_day

    if "day" not in current or current.empty:
        return []
    days, newest = sorted(current["day"].unique()), "" if outcomes is None or outcomes.empty else outcomes["day"].max()
    return [day for day in days if newest < day <= shift_day(days[-1], -spec.label_delay_days)]


def _known(spec: ModelSpec, frame: pd.DataFrame | None) -> pd.DataFrame:
    """The rows with a label of the spec's task."""
    if frame is None or not {"day", "label"} <= set(frame.columns):
        return pd.DataFrame(columns=["day", "label"])
    return frame.loc[is_label(spec, frame["label"]), ["day", "label"]]


def _whole(given: int, known: int, alone: str, few: str) -> Finding:
    if given > known:
        alone = f"{given} rows with outcomes, of which {given - known} have no label that can be used"
    if alone:
        return Finding("labels", "all", "broken data", "broken", alone)
    state = "not enough data" if few else "usual"
    return Finding("labels", "all", state, "none", few or f"all of {known} labels can be used")


def _told_alone(before: pd.Series, now: pd.Series) -> str:
    """Where one value is left of several, though the others should have brought EXPECTED rows."""
    missing = float((before != now.iloc[0]).mean()) * len(now) if now.nunique() == 1 else 0.0
    if missing < EXPECTED:
        return ""
    return f"all {len(now)} labels are {now.iloc[0]}: some {missing:.0f} others were to be expected"


def _share(spec: ModelSpec, before: pd.DataFrame, now: pd.DataFrame, name: object, classes: int) -> Finding:
    said = "positives" if name == 1 else str(name)
    sides = (one.assign(value=(one["label"] == name).astype(float)) for one in (before, now))
    return _compared(spec, said, *sides, spec.watch.smallest.share, classes, "share")


def _mean(spec: ModelSpec, before: pd.DataFrame, now: pd.DataFrame) -> Finding:
    sides = [one.assign(value=one["label"].astype(float)) for one in (before, now)]
    step = spec.watch.smallest.shift * float(sides[0]["value"].std())
    return _compared(spec, "mean", *sides, step, 1, "units of the label")


def _compared(
    spec: ModelSpec, name: str, before: pd.DataFrame, now: pd.DataFrame, step: float, questions: int, unit: str
) -> Finding:
    was, found = (try_measure(lambda one=one: mean(one["value"], one["day"])) for one in (before, now))
    if was is None or found is None:
        return Finding("labels", name, "not enough data", "none", FEW, unit=unit)
    change, told = Change(was, found, 1), interval_of(found)
    moved = change.is_other(step, shared(warn_alpha(spec), questions))
    says = f"labels, {name}: {tell(told)}; {was.value:.4g} in the reference"
    return held_against("labels", name, moved, "none", says, told, was.value, was.value + step, unit)
