"""All rows of a range of days at once, and from which day on the outcome of each was known.

A day that was delivered again counts as it is now, and its outcomes as known from the newest delivery on: nothing is
used before it was there, and what was thought of these days meanwhile is not played.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ratchet.days import shift_day
from ratchet.digests import frame_digest
from ratchet.errors import EmptyWindowError
from ratchet.windows import TrainingWindows

if TYPE_CHECKING:
    from ratchet.deployment import Deployment
    from ratchet.point_in_time import Leaks
    from ratchet.specs import ModelSpec

LEAK_DAYS = 30
NEVER = "9999-12-31"  # from which day on an outcome is known that does not come


@dataclass(frozen=True)
class History:
    """`rows`, in order of day: the key, `day`, features, columns of evaluate.slices and sensitive, `label` (null where
    the outcome bears none, or none came), `known_on` (the day by whose end the outcome was known, `label_delay_days`
    after its own at the earliest, or NEVER), and `truth` (the label that performance is told by: the same, but in a
    planted world where labels are wrong).

    `future_features`, `rows_without_instant`, `leak_failure`: what the probe for leaks found (see
    ratchet.point_in_time). `restated`: days that were delivered more than once. `best`: the scores that nobody can
    beat, on the index of `rows`, where they are known."""

    rows: pd.DataFrame
    future_features: tuple[str, ...] = ()
    rows_without_instant: int = 0
    leak_failure: str = ""
    restated: int = 0
    best: pd.Series | None = None

    @cached_property
    def digest(self) -> str:
        return frame_digest(self.rows, ordered=True)

    @cached_property
    def _day(self) -> np.ndarray:
        return self.rows["day"].to_numpy("datetime64[D]")

    @cached_property
    def _known_on(self) -> np.ndarray:
        return self.rows["known_on"].to_numpy("datetime64[D]")

    @cached_property
    def first_day(self) -> str:
        """The first event day."""
        return str(self._day[0])

    @property
    def last_day(self) -> str:
        return str(self._day[-1])

    def at(self, first: str, last: str) -> slice:
        """Where the rows of these event days lie."""
        ends = np.array([first, shift_day(last, 1)], dtype="datetime64[D]")
        return slice(*np.searchsorted(self._day, ends))

    def between(self, first: str, last: str) -> pd.DataFrame:
        return self.rows.iloc[self.at(first, last)]

    def days(self, first: str, last: str, known_by: str | None = None) -> list[str]:
        """The event days that have rows; with `known_by`, those that had outcomes by the end of that day."""
        at = self.at(first, last)
        day = self._day[at] if known_by is None else self._day[at][self.has_outcome(first, last, known_by)]
        return [str(one) for one in np.unique(day)]

    def has_outcome(self, first: str, last: str, as_of: str) -> np.ndarray:
        """Of each row of these days whether its outcome was known by the end of a day, with a label or without."""
        return self._known_on[self.at(first, last)] <= np.datetime64(as_of)

    def labelled(self, first: str, last: str, as_of: str) -> pd.DataFrame:
        """The rows of these days whose label was known by the end of a day; none: no rows."""
        rows = self.between(first, last)
        return rows[self.has_outcome(first, last, as_of) & rows["label"].notna().to_numpy()]

    def as_of(self, day: str, label_delay_days: int) -> str | None:
        """The data time that a run at the end of that day speaks for (see workflow.training.high_water_mark); None
        before the first outcome."""
        known = self._day[self._known_on <= np.datetime64(day)]
        return shift_day(str(known.max()), label_delay_days) if len(known) else None

    def training_rows(self, windows: TrainingWindows, as_of: str) -> pd.DataFrame:
        """The labelled rows of the windows, with `window`."""
        rows = self.labelled(windows.first, windows.last, as_of)
        names = {day: name for name, window in windows.named().items() for day in window.days()}
        return rows.assign(window=rows["day"].map(names).astype("str"))


def read_history(deployment: Deployment, spec: ModelSpec, first: str, last: str) -> History:
    """What the lake holds of the model's datasets up to `last`, by the ledger's record; both are only read.

    Raises EmptyWindowError where it does not reach from `first` to `last`, before the ledger is opened.
    """
    lake = deployment.lake
    outcomes, scored = (sorted(lake.days(f"datasets/{name}")) for name in (spec.outcome_dataset, spec.scored_dataset))
    if not outcomes or not scored or not scored[0] <= first <= last <= scored[-1]:
        raise _no_data(spec, scored, first, last, lake.path(f"datasets/{spec.scored_dataset}"))
    rows, restated = _rows(deployment, spec, scored[0], last)
    leaks = _leaks(deployment, spec, [day for day in scored if day <= last][-LEAK_DAYS:])
    return History(rows, tuple(leaks.features), leaks.rows_without_instant, leaks.failure, restated)


def _no_data(spec: ModelSpec, scored: list[str], first: str, last: str, where: str) -> EmptyWindowError:
    there = f"{scored[0]} to {scored[-1]}" if scored else "nothing"
    return EmptyWindowError(
        f"there is no past of {spec.name} to play from {first} to {last}",
        seen=there,
        expected=f"published days of {spec.scored_dataset} and {spec.outcome_dataset}",
        where=where,
        hint="ingest them first (of the example: `ratchet land flights`, then `ratchet ingest` of each dataset), or "
        f"play a planted world: ratchet backtest {spec.name} --world concept_change",
    )


def _rows(deployment: Deployment, spec: ModelSpec, first: str, last: str) -> tuple[pd.DataFrame, int]:
    from ratchet.snapshot import build_inputs, labelled_rows

    where = (spec, deployment.datasets.good, deployment.published, first, last)
    key, day_known, restated = deployment.dataset(spec.scored_dataset).key, *_known_on(deployment, spec, first, last)
    labelled = labelled_rows(*where)
    told = deployment.published.read(spec.outcome_dataset, first, last)[0]
    told = told[[*key, "day"]].assign(known_on=told["day"].map(day_known)).drop(columns="day").drop_duplicates(key)
    inputs = build_inputs(*where)
    beside = [name for name in labelled if name not in inputs]
    rows = inputs.merge(labelled[[*key, *beside]], on=key, how="left", validate="one_to_one")
    rows = rows.merge(told, on=key, how="left", validate="one_to_one")
    rows = rows.sort_values(["day", *key], ignore_index=True)
    return rows.assign(known_on=rows["known_on"].fillna(NEVER), truth=rows["label"]), restated


def _known_on(deployment: Deployment, spec: ModelSpec, first: str, last: str) -> tuple[Mapping[str, str], int]:
    """By outcome day, the day (in the dataset's zone) on which the newest revision of it was delivered; and how many
    days have more than one. The data time of a training is `label_delay_days` after its newest outcome: one that came
    sooner waits for it here, for no day that is played may speak for a later one."""
    zone = deployment.dataset(spec.outcome_dataset).zone
    revisions = deployment.ledger.partition_revisions(spec.outcome_dataset, first, last)
    delivered = {day: all_of[-1].delivered_at.astimezone(zone).date().isoformat() for day, all_of in revisions.items()}
    known = {day: max(on, shift_day(day, spec.label_delay_days)) for day, on in delivered.items()}
    return known, sum(len({one.digest for one in all_of}) > 1 for all_of in revisions.values())


def _leaks(deployment: Deployment, spec: ModelSpec, days: list[str]) -> Leaks:
    """Asked once, of the newest days: what a feature may see does not hang on the day."""
    from ratchet.point_in_time import find_leaks

    return find_leaks(spec, deployment.datasets.good, deployment.published, days[0], days[-1])
