"""Does a feature know what was not known yet? Asked of the feature function by taking the future away from it.

A row's features, made from all that the lake holds of its day, must be the same when everything is cut off that came
after the instant for which the row is scored. One that changes has looked ahead: it is worth more on past data than it
will ever be in service. (Metamorphic testing; for the kinds of leak see Kaufman, Rosset and Perlich, "Leakage in Data
Mining", ACM TKDD 6(4), 2012.)

A row is scored `predicted_ahead_minutes` before its `predicted_at`. What is cut off at an instant, of
- the scored dataset: rows that are scored later; with `start_of_day`, rows of later days;
- another input: rows whose `happens_at` is later or empty; without `happens_at`, rows of days that have not ended then,
  in the dataset's time zone. Reference data (`latest: true`) without `happens_at` is left as it is;
- any of these: the values in `known_later`, of all rows;
- the outcome dataset, where it is one of these: of days whose outcomes are not told then by `label_delay_days`, all
  rows; with `known_before`, all values but the scored dataset's key, `predicted_at` and these. Where it is the scored
  dataset itself, its rows stay, without the values in columns that the label function reads.

How much of a leak is found: CUTS instants are drawn, those with more rows oftener, and at each all of its day's rows up
to it are compared. So CUTS rows or more meet their own instant. A feature that looks ahead in 5 % of rows goes unseen
in 0.95^60 = 5 % of cases at most, one that does in 1 % of rows in 55 %; in fewer cases where several rows share an
instant (60 cuts meet 359 flights of June at their own minute), or where it looks further ahead than to the next row.
With `known_later` or `start_of_day` all rows of the days drawn are tried.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ratchet.column_types import read_series
from ratchet.days import shift_day
from ratchet.labels import make_labels
from ratchet.snapshot import build_inputs
from ratchet.specs import START_OF_DAY, check_instants
from ratchet.windows import known_before

if TYPE_CHECKING:
    from ratchet.published import Published
    from ratchet.specs import DatasetSpec, ModelSpec

CUTS = 60
ALIKE = {"rtol": 1e-9, "atol": 1e-12, "equal_nan": True}  # the same sum over fewer rows, in another order of additions


@dataclass(frozen=True)
class Leaks:
    """`features`: those that change, in the spec's order. `rows_without_instant`: rows of the scored dataset that have
    no `predicted_at`, of which nobody can tell. `failure`: what the feature function raised when the future was taken
    away; "" where it did not. `range_dependent`: those of `features` that change because their day is made alone, and
    not by what is cut off: they read what the other days brought along, from before the lookback or after the day."""

    features: list[str]
    rows_without_instant: int = 0
    failure: str = ""
    range_dependent: tuple[str, ...] = ()


def find_leaks(
    spec: ModelSpec,
    dataset_specs: Mapping[str, DatasetSpec],
    published: Published,
    first: str,
    last: str,
    as_of: str | None = None,
    *,
    cuts: int = CUTS,
) -> Leaks:
    """What changes for rows of the days `first` to `last` when, at `cuts` instants drawn by the spec's seed, all that
    came later is cut off. Raises SpecError when the spec's instants are not there (see check_instants)."""
    check_instants(spec, dataset_specs)
    built = build_inputs(spec, dataset_specs, published, first, last, as_of)
    world = _World(spec, dataset_specs, _frames(spec, dataset_specs, published, first, last, as_of))
    instants = world.instants(built)
    found, ahead, lost = set(), set(), int(instants.isna().sum())
    for day, instant in _drawn(built["day"], instants, cuts, spec.seed):
        of_day = built["day"] == day
        due = (instants[of_day] <= instant).to_numpy()
        try:
            alone = build_inputs(spec, dataset_specs, _Until(world, day, instant), day, day, as_of)
            if changed := _changed(spec, built[of_day][due], alone):
                one_day = build_inputs(spec, dataset_specs, world, day, day, as_of)
                found, ahead = found | changed, ahead | _changed(spec, one_day[due], alone)
        except Exception as error:  # the user's own code: whatever it raises, it can't do without the future
            return Leaks([], lost, f"{type(error).__name__}: {str(error)[:300]} (without what came after {instant})")
    told = [name for name in spec.features if name in found]
    return Leaks(told, lost, range_dependent=tuple(name for name in told if name not in ahead))


def _frames(spec: ModelSpec, dataset_specs: Mapping, published: Published, first: str, last: str, as_of: str | None):
    """The inputs' rows of all the days that are tried, by dataset, with all columns of its spec: null where the lake
    has none yet."""
    frames = {}
    for name, wanted in spec.inputs.items():
        before = None if as_of is None else known_before(as_of, dataset_specs[name].zone)
        start = None if wanted.latest else shift_day(first, -wanted.lookback_days)
        frame, *_ = published.read(name, start, last, before)
        nulls = pd.Series(None, frame.index, "str")
        absent = {column: kind for column, kind in dataset_specs[name].columns.items() if column not in frame}
        frames[name] = frame.assign(**{column: read_series(kind, nulls)[0] for column, kind in absent.items()})
    return frames


class _World:
    """The inputs' rows, and what the spec says of when they are known."""

    def __init__(self, spec: ModelSpec, dataset_specs: Mapping[str, DatasetSpec], frames: dict) -> None:
        self.spec, self.dataset_specs, self.frames = spec, dataset_specs, frames
        self.ahead = pd.Timedelta(minutes=spec.predicted_ahead_minutes)
        self.told_later = self._told_later()

    def read(self, dataset: str, first: str | None, last: str, before: datetime | None) -> tuple:
        """As Published.read; `before` is that of all frames."""
        frame = self.frames[dataset]
        if not frame.empty:
            frame = frame[(frame["day"] >= (first or "")) & (frame["day"] <= last)].reset_index(drop=True)
        return frame, [], 0

    def instants(self, built: pd.DataFrame) -> pd.Series:
        """For each row of `built` the instant for which it is scored; NaT for one that has none."""
        scored = self.dataset_specs[self.spec.scored_dataset]
        if self.spec.predicted_at == START_OF_DAY:
            starts = {day: known_before(shift_day(day, -1), scored.zone) for day in built["day"].unique()}
            return pd.to_datetime(built["day"].map(starts), utc=True) - self.ahead
        if built.empty:
            return pd.Series(pd.NaT, built.index)
        by, frame = [*dict.fromkeys([*scored.key, "day"])], self.frames[scored.name]
        known = frame[by].assign(instant=frame[self.spec.predicted_at] - self.ahead).drop_duplicates(by)
        return built[by].merge(known, on=by, how="left")["instant"].set_axis(built.index)

    @property
    def rows_stay(self) -> bool:
        """Whether it is known of which rows outcomes will come, before they are told."""
        outcome = self.spec.outcome_dataset
        return outcome == self.spec.scored_dataset or bool(self.spec.inputs[outcome].known_before)

    def _told_later(self) -> set[str]:
        """The columns of the outcome dataset that are unknown until its outcomes are told: of the scored dataset, those
        that the label function can't do without, or whose values change a label; none where no feature can see it."""
        outcome, key = self.spec.outcome_dataset, self.dataset_specs[self.spec.scored_dataset].key
        if outcome not in self.frames or self.frames[outcome].empty:
            return set()
        rows = self.frames[outcome]
        asked = {*rows} - {*key, "day", self.spec.predicted_at, *self.spec.inputs[outcome].known_before}
        if outcome != self.spec.scored_dataset:
            return asked
        return {name for name in asked if _label_depends_on(self.spec, rows, key, name)}


class _Until:
    """The published datasets as they were known at an instant of a day (see the module)."""

    def __init__(self, world: _World, day: str, instant: datetime) -> None:
        self._world, self._spec, self._day, self._instant = world, world.spec, day, instant

    def read(self, dataset: str, first: str | None, last: str, before: datetime | None) -> tuple:
        frame, *beside = self._world.read(dataset, first, last, before)
        if frame.empty:
            return frame, *beside
        there, later = self._has_happened(dataset, frame), {}
        if dataset == self._spec.outcome_dataset:
            told = frame["day"] <= shift_day(self._last_ended(dataset), -self._spec.label_delay_days)
            there, later = there & (told | self._world.rows_stay), dict.fromkeys(self._world.told_later, told)
        later |= dict.fromkeys(self._spec.inputs[dataset].known_later, False)
        blank = {name: _known(frame[name], known) for name, known in later.items() if name in frame}
        return frame.assign(**blank)[there].reset_index(drop=True), *beside

    def _has_happened(self, dataset: str, frame: pd.DataFrame) -> pd.Series:
        wanted, predicted_at = self._spec.inputs[dataset], self._spec.predicted_at
        scored = dataset == self._spec.scored_dataset
        if scored and predicted_at == START_OF_DAY:
            return frame["day"] <= self._day
        if scored:
            return frame[predicted_at] - self._world.ahead <= self._instant
        if wanted.happens_at:
            return frame[wanted.happens_at] <= self._instant
        return frame["day"] <= ("9999" if wanted.latest else self._last_ended(dataset))

    def _last_ended(self, dataset: str) -> str:
        zone = self._world.dataset_specs[dataset].zone
        return shift_day(pd.Timestamp(self._instant).tz_convert(zone).date().isoformat(), -1)


def _drawn(day: pd.Series, instants: pd.Series, cuts: int, seed: int) -> Iterator[tuple[str, datetime]]:
    """Days and instants to cut at."""
    rows = pd.DataFrame({"day": day, "instant": instants}).dropna()
    order = np.random.default_rng(seed).permutation(len(rows))
    yield from rows.iloc[order].drop_duplicates().head(cuts).itertuples(index=False, name=None)


def _label_depends_on(spec: ModelSpec, outcomes: pd.DataFrame, key: list[str], column: str) -> bool:
    labels = make_labels(spec, outcomes, key)
    without = (outcomes.drop(columns=column), outcomes.assign(**{column: _known(outcomes[column], False)}))
    try:
        return not all(make_labels(spec, given, key).equals(labels) for given in without)
    except Exception:  # the user's own code: whatever it raises, it can't do without the column
        return True


def _known(column: pd.Series, known: pd.Series | bool) -> pd.Series:
    """Its values where they are known; missing elsewhere."""
    return column.where(pd.Series(known, index=column.index))


def _changed(spec: ModelSpec, whole: pd.DataFrame, alone: pd.DataFrame) -> set[str]:
    return {name for name in spec.features if _differ(whole[name], alone[name])}


def _differ(whole: pd.Series, alone: pd.Series) -> bool:
    a, b = whole.to_numpy(), alone.to_numpy()
    if len(a) != len(b):
        return True
    if pd.api.types.is_numeric_dtype(whole) and pd.api.types.is_numeric_dtype(alone):
        return not np.isclose(a.astype("float64"), b.astype("float64"), **ALIKE).all()
    return not (pd.isna(a) & pd.isna(b) | (a == b)).all()
