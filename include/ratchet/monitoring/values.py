"""What monitoring finds, and how loud it may be about it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal, get_args

Area = Literal[
    "data",  # quality and availability of what came in: nulls, outliers, freshness, missing columns
    "inputs",  # drift of a feature
    "predictions",  # drift of a score, and the share of scores inside the approved band
    "labels",  # drift of the outcomes
    "performance",  # the spec's metric, all rows and by slice
    "calibration",
    "estimate",  # of performance, before outcomes arrive
    "concept",  # performance fell where inputs did not move
    "skew",  # features at training and at serving, of the same rows
    "value",  # business value per day
    "loop",  # the loop's own health: lateness, failures, queue
]
AREAS: tuple[Area, ...] = get_args(Area)
State = Literal["usual", "moved", "not enough data", "broken data"]
Harm = Literal["none", "estimated", "measured", "broken"]
Level = Literal["note", "warn", "page"]
LEVELS: tuple[Level, ...] = get_args(Level)
LEVEL_OF: dict[Harm, Level] = {"none": "note", "estimated": "warn", "measured": "page", "broken": "page"}


@dataclass(frozen=True)
class Finding:
    """One watched figure of one check.

    `name`: what of its area, such as a column, "origin=LGA" or "all". `value` with its interval `low` to `high`, and
    the `reference` that it is held against, in `unit`; None where there is none. `threshold`: beyond it the value is
    "moved"; of the band, labels (upwards) and business value only if it is sure to differ as well, and of calibration
    it is not a value but by how much it must differ from the reference. `harm`: what a move costs, which decides how
    loud an alarm may be (see LEVEL_OF). `says`: a sentence.
    """

    area: Area
    name: str
    state: State
    harm: Harm
    says: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    reference: float | None = None
    threshold: float | None = None
    unit: str = ""

    @property
    def key(self) -> str:
        """What the finding is of, the same at each check."""
        return f"{self.area}/{self.name}"

    @property
    def level(self) -> Level:
        """How loud an alarm of it may be."""
        return LEVEL_OF[self.harm]

    def as_dict(self) -> dict:
        return asdict(self)
