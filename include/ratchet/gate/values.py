"""What goes into the gate and what comes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Literal

from ratchet.digests import digest_of

if TYPE_CHECKING:
    import pandas as pd

Decision = Literal["PROMOTE", "NO_BASELINE", "HOLD", "REJECT"]


@dataclass(frozen=True)
class Evidence:
    """What is known of a challenger and its champion beside their facts.

    rows: one row per labelled row of the judge window: `label`, `day` (the cluster), the columns of evaluate.slices
        and evaluate.sensitive, challenger_<score column> and, with a champion, champion_<score column>.
    looks: earlier verdicts of this model on windows that overlap this one.
    late_days: days of the window that are not among the rows, as many of their outcomes are still to come.
    repeated_rows: rows whose key lies in a train or validate window of either model.
    future_features: features that change when what is known only after prediction time is taken away.
    range_dependent: those of the future features that change with how many days are made at once.
    rows_without_instant: rows that don't say for which instant they are scored.
    fails_without_future: what the feature function raised when it was taken away; "" where it did not.
    batch_seconds: {"challenger": [...], "champion": [...]}: seconds for one and the same batch, in turn.
    threshold: {"challenger": 0.31, "champion": 0.28}: a row is acted on when its score reaches it. Binary models.
    """

    rows: pd.DataFrame
    looks: int = 0
    late_days: Sequence[str] = ()
    repeated_rows: int = 0
    future_features: Sequence[str] = ()
    range_dependent: Sequence[str] = ()
    rows_without_instant: int = 0
    fails_without_future: str = ""
    batch_seconds: Mapping[str, Sequence[float]] = field(default_factory=dict)
    threshold: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Check:
    """One question. `value` was seen and `threshold` asked for; `interval` is [low, high] of the value where it is
    an estimate, each end a one-sided bound; `if_failed` is what its failing would make of the verdict; `reason` says it
    in a sentence."""

    name: str
    passed: bool
    reason: str
    if_failed: Literal["HOLD", "REJECT"] = "HOLD"
    value: float | int | str | None = None
    threshold: float | int | str | None = None
    interval: list[float] | None = None


@dataclass(frozen=True)
class GateVerdict:
    """`checks` (each a Check as a dict) are all that were made, in order. `challenger` and `champion` are the facts
    judged, model digests among them, so that the digest names who it is about."""

    verdict: Decision
    checks: list[dict]
    challenger: dict
    champion: dict | None

    @property
    def reasons(self) -> list[str]:
        """The reasons of the checks that failed; none where a person may be asked."""
        return [check["reason"] for check in self.checks if not check["passed"]]

    @property
    def digest(self) -> str:
        return digest_of(self.as_dict())

    def as_dict(self) -> dict:
        """Plain values that go through JSON (no NaN)."""
        return asdict(self)
