"""Is a challenger better than the champion on the days that have come since? A statement that may be read every day.

The unit is the day: rows of a day are alike, and a day's mean difference is one number, however many rows it has. The
null is that the mean difference is 0; days may be like the days before them (see ratchet.field_test.anytime).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from ratchet.field_test.anytime import FIRST_DAYS, running_bounds
from ratchet.field_test.losses import NAMES

if TYPE_CHECKING:
    from ratchet.specs import ModelSpec

State = Literal["better", "worse", "undecided", "not enough data"]


@dataclass(frozen=True)
class Evidence:
    """Of the difference of daily mean losses, champion less challenger: above 0 the challenger is better. `low` and
    `high` are each one-sided at `alpha`, None before FIRST_DAYS; `since`: the first day on which `state` was sure."""

    state: State
    since: str | None
    loss: str
    value: float | None
    low: float | None
    high: float | None
    champion_loss: float | None
    alpha: float
    days: int
    rows: int
    first: str | None
    last: str | None
    says: str

    def as_dict(self) -> dict:
        return asdict(self)


@dataclass(frozen=True, eq=False)
class Weighed:
    """`history`: of each day `day`, `rows`, `champion`, `challenger`, `difference`, and `mean`, `low`, `high` of all
    days so far."""

    evidence: Evidence
    history: pd.DataFrame


def weigh(spec: ModelSpec, daily: pd.DataFrame) -> Weighed:
    """What the days say. daily: see ratchet.field_test.losses.daily_losses. alpha is `promote_if.alpha`.

    What was sure once stays said: the bounds hold for all days together. Where both sides were, the first counts.
    """
    alpha, daily = spec.promote_if.alpha, daily.sort_values("day", ignore_index=True)
    difference = (daily["champion"] - daily["challenger"]).to_numpy("float64")
    mean, low, high = running_bounds(difference, alpha)
    history = daily.assign(difference=difference, mean=mean, low=low, high=high)
    state, since = _state(history)
    numbers = _numbers(history)
    says = _says(state, since, numbers, NAMES[spec.task], alpha)
    return Weighed(Evidence(state, since, NAMES[spec.task], alpha=alpha, says=says, **numbers), history)


def _state(history: pd.DataFrame) -> tuple[State, str | None]:
    sure = history[(history["low"] > 0) | (history["high"] < 0)]
    if len(sure):
        return "better" if sure["low"].iloc[0] > 0 else "worse", sure["day"].iloc[0]
    return ("undecided" if len(history) >= FIRST_DAYS else "not enough data"), None


def _numbers(history: pd.DataFrame) -> dict:
    if history.empty:
        return dict.fromkeys(("value", "low", "high", "champion_loss", "first", "last")) | {"days": 0, "rows": 0}
    newest = history.iloc[-1]
    bounds = {name: float(newest[name]) if np.isfinite(newest[name]) else None for name in ("low", "high")}
    return {
        "value": float(newest["mean"]),
        **bounds,
        "champion_loss": float(history["champion"].mean()),
        "days": len(history),
        "rows": int(history["rows"].sum()),
        "first": history["day"].iloc[0],
        "last": newest["day"],
    }


def _says(state: State, since: str | None, of: dict, loss: str, alpha: float) -> str:
    if not of["days"]:
        return "not enough data: no day has outcomes and scores of both yet"
    seen = f"{of['days']} days ({of['first']} to {of['last']}, {of['rows']} rows)"
    mean = f"mean {loss} {_told(of['value'])} than the champion's {of['champion_loss']:.4g}"
    if state == "not enough data":
        return f"not enough data: {seen}, {FIRST_DAYS} days are needed; so far a {mean}"
    bounds = f"difference {of['value']:.3g}, {of['low']:.3g} to {of['high']:.3g}, each bound sure to {1 - alpha:.4g}"
    sure = f"surely {state} since {since}" if since else "undecided"
    return f"{sure}: on {seen} a {mean} ({bounds} on all days at once)"


def _told(value: float) -> str:
    return f"lower by {value:.3g}" if value >= 0 else f"higher by {-value:.3g}"
