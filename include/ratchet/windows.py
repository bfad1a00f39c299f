"""The three windows of a training run, in order of time and never overlapping: train | validate | judge.

Days are event days ("YYYY-MM-DD" in the dataset's time zone). All arithmetic is on calendar dates, so no clock
change, leap day or year end can open a gap or make an overlap.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo

from ratchet.days import check_day, days_between, shift_day
from ratchet.errors import EmptyWindowError
from ratchet.specs import Windows


def known_before(as_of: str, zone: ZoneInfo) -> datetime:
    """The instant (UTC) at which the day `as_of` ends in `zone`: a run as of it uses rows with known_at before that."""
    next_day = date.fromisoformat(shift_day(check_day(as_of, "as_of"), 1))
    return datetime.combine(next_day, time(), tzinfo=zone).astimezone(UTC)


@dataclass(frozen=True)
class Window:
    """Event days from `first` to `last`, both included."""

    first: str
    last: str

    def __post_init__(self) -> None:
        if check_day(self.last, "last") < check_day(self.first, "first"):
            raise EmptyWindowError(
                "a window that ends before it begins", seen=f"{self.first} to {self.last}", hint="swap its ends"
            )

    def __contains__(self, day: str) -> bool:
        return self.first <= day <= self.last

    def __len__(self) -> int:
        return len(self.days())

    def days(self) -> list[str]:
        return days_between(self.first, self.last)


@dataclass(frozen=True)
class TrainingWindows:
    train: Window
    validate: Window
    judge: Window

    @property
    def first(self) -> str:
        return self.train.first

    @property
    def last(self) -> str:
        return self.judge.last

    def named(self) -> dict[str, Window]:
        return {"train": self.train, "validate": self.validate, "judge": self.judge}

    def as_dict(self) -> dict[str, list[str]]:
        """{"train": [first, last], "validate": [...], "judge": [...]}: goes through JSON."""
        return {name: [window.first, window.last] for name, window in self.named().items()}

    @classmethod
    def from_dict(cls, value: dict[str, list[str]]) -> TrainingWindows:
        return cls(**{name: Window(*value[name]) for name in ("train", "validate", "judge")})


def in_order(windows: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """{name: [first day, last day]} in order of time; JSON and databases keep none."""
    return dict(sorted(windows.items(), key=lambda window: window[1]))


def training_windows(lengths: Windows, first_day: str, as_of: str, label_delay_days: int) -> TrainingWindows:
    """The windows of a run as of a day.

    judge: the last `judge_days` event days whose labels are known (up to as_of - label_delay_days); validate: the
    `validate_days` before; train: everything older, from `first_day` (the first event day there is).
    Raises EmptyWindowError, naming days, if that leaves nothing to train on.
    """
    check_day(first_day, "first_day")
    judge_last = shift_day(check_day(as_of, "as_of"), -label_delay_days)
    judge_first = shift_day(judge_last, 1 - lengths.judge_days)
    validate_first = shift_day(judge_first, -lengths.validate_days)
    train_last = shift_day(validate_first, -1)
    if train_last < first_day:
        need = shift_day(first_day, lengths.validate_days + lengths.judge_days + label_delay_days)
        raise EmptyWindowError(
            f"no days left to train on as of {as_of}",
            seen=f"data begins on {first_day}; train would have to end on {train_last}",
            expected=f"validate {validate_first} to {shift_day(judge_first, -1)}, judge {judge_first} to {judge_last}",
            hint=f"run as of {need} or later, ingest older days, or shorten the windows in the model's spec",
        )
    return TrainingWindows(
        train=Window(first_day, train_last),
        validate=Window(validate_first, shift_day(judge_first, -1)),
        judge=Window(judge_first, judge_last),
    )
