"""The loop's own health: does it keep up with its data, does anything wait too long, has anything failed. Pure.

Only one thing pages: scoring that is days behind while the data are there, which is what production promises. What
waits for a person or has failed warns. Thresholds are promises of the loop, not statistics: nothing is random here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from itertools import pairwise
from statistics import median

from ratchet.days import shift_day
from ratchet.monitoring.values import Finding, Harm

BEHIND_DAYS = 3  # of scoring behind its data, beyond score_when.or_after_days: then it pages
SCORED_WITHIN = timedelta(hours=6)  # of the publication; a load of old days is scored long before
DONE_WITHIN = timedelta(hours=24)  # a training or a judgement
SENT_WITHIN = timedelta(hours=1)  # an alert
EXPIRES_WITHIN = timedelta(hours=24)  # a question: then somebody is reminded
LEAST_DELIVERIES = 7  # fewer have no rhythm
LIVE = timedelta(days=2)  # from delivery to publication; slower is a replay of old data, of which a clock says nothing


@dataclass(frozen=True)
class Waiting:
    """Something that is not done yet, since when, and until when it can be."""

    what: str
    since: datetime
    until: datetime | None = None


@dataclass(frozen=True)
class Loop:
    """How the loop of a model stands, by the ledger. Days are ISO days, instants tz-aware.

    `newest`: the newest published day of the scored dataset, `scored`: the newest scored one; None: none yet. `due`:
    days to score, since they were published. `patience_days`: the spec's score_when.or_after_days. `deliveries`: by
    dataset, (first delivered, first published) of its newest days, in order. `failures`: in words, what was given up,
    refused or held and still is, by kind. `stale`: scored days made from partitions that hold something else now.
    """

    newest: str | None
    scored: str | None
    patience_days: int = 0
    due: Sequence[Waiting] = ()
    trainings: Sequence[Waiting] = ()
    judgements: Sequence[Waiting] = ()
    questions: Sequence[Waiting] = ()
    unsent: Sequence[Waiting] = ()
    failures: Mapping[str, Sequence[str]] = field(default_factory=dict)
    stale: Sequence[str] = ()
    deliveries: Mapping[str, Sequence[tuple[datetime, datetime]]] = field(default_factory=dict)


def look_at_loop(loop: Loop, now: datetime) -> list[Finding]:
    """What the loop's state says at an instant: findings of the area "loop", the same names each time."""
    return [
        _scoring(loop, now),
        _waiting("trainings", "training", loop.trainings, now, DONE_WITHIN),
        _waiting("judgements", "judgement", loop.judgements, now, DONE_WITHIN),
        _questions(loop.questions, now),
        _waiting("alerts", "alert not sent", loop.unsent, now, SENT_WITHIN),
        *(_failures(kind, told) for kind, told in loop.failures.items()),
        _finding(
            "stale", len(loop.stale), f"{len(loop.stale)} scored days wait for corrected data{_named(loop.stale)}"
        ),
        *(_rhythm(dataset, of, now) for dataset, of in loop.deliveries.items()),
    ]


def _scoring(loop: Loop, now: datetime) -> Finding:
    if loop.newest is None or (loop.scored is None and not loop.due):
        return Finding("loop", "scoring", "not enough data", "none", "nothing has been scored yet")
    reached = loop.scored or shift_day(min(one.what for one in loop.due), -1)
    behind = max(0, (date.fromisoformat(loop.newest) - date.fromisoformat(reached)).days)
    waited = max((now - one.since for one in loop.due), default=timedelta())
    allowed = loop.patience_days + BEHIND_DAYS
    says = f"the newest scored day is {loop.scored}" if loop.scored else f"nothing has been scored, to {reached}"
    says += f", {behind} days before the newest published, {loop.newest}"
    says += f"; {len(loop.due)} days to score, the oldest for {_hours(waited)}"
    late = behind > allowed and waited > SCORED_WITHIN
    harm = "broken" if late else "estimated" if waited > DONE_WITHIN else "none"
    return _finding("scoring", behind, says, harm, threshold=float(allowed), unit="days")


def _waiting(name: str, what: str, waiting: Sequence[Waiting], now: datetime, within: timedelta) -> Finding:
    if not waiting:
        return _finding(name, 0.0, f"no {what} waits", unit="hours")
    oldest = min(waiting, key=lambda one: one.since)
    waited = now - oldest.since
    says = f"{len(waiting)} waiting ({what}), the longest is {oldest.what}, for {_hours(waited)}"
    late, hours = waited > within, waited / timedelta(hours=1)
    return _finding(name, hours, says, "estimated" if late else "none", threshold=_as_hours(within), unit="hours")


def _questions(waiting: Sequence[Waiting], now: datetime) -> Finding:
    """The value: questions that expire soon."""
    soon = [one for one in waiting if one.until is not None and one.until - now <= EXPIRES_WITHIN]
    says = f"{len(waiting)} questions wait for an approver"
    says += f"; {', '.join(f'{one.what} expires at {one.until:%Y-%m-%d %H:%M} UTC' for one in soon)}" if soon else ""
    return _finding("questions", len(soon), says, "estimated" if soon else "none", unit="questions")


def _failures(kind: str, told: Sequence[str]) -> Finding:
    says = f"{kind}: {len(told)}{_named(told)}"
    return _finding(kind.replace(" ", "_"), len(told), says, "estimated" if told else "none")


def _rhythm(dataset: str, deliveries: Sequence[tuple[datetime, datetime]], now: datetime) -> Finding:
    """By the clock: how long ago the newest delivery came, against the longest pause between two so far, half as much
    again and a day allowed."""
    name = f"delivery/{dataset}"
    delivered = sorted(first for first, _ in deliveries)
    if len(delivered) < LEAST_DELIVERIES:
        says = f"{dataset}: {len(delivered)} deliveries, {LEAST_DELIVERIES} are needed to know its rhythm"
        return Finding("loop", name, "not enough data", "none", says)
    if median([(published - first) / LIVE for first, published in deliveries]) > 1:
        says = f"{dataset}: delivered long before it was published, so that the clock says nothing of its rhythm"
        return Finding("loop", name, "not enough data", "none", says)
    longest = max(other - one for one, other in pairwise(delivered))
    age, allowed = now - delivered[-1], longest * 1.5 + timedelta(days=1)
    says = f"{dataset}: the newest delivery came {_hours(age)} ago; {_hours(longest)} was the longest pause so far"
    harm = "estimated" if age > allowed else "none"
    return _finding(name, _as_hours(age), says, harm, threshold=_as_hours(allowed), unit="hours")


def _finding(name: str, value: float, says: str, harm: Harm = "none", **numbers: object) -> Finding:
    state = {"none": "usual", "estimated": "moved", "broken": "broken data"}[harm]
    return Finding("loop", name, state, harm, says, float(value), **numbers)


def _hours(span: timedelta) -> str:
    hours = _as_hours(span)
    return f"{hours:.0f} hours" if hours < 72 else f"{hours / 24:.0f} days"


def _as_hours(span: timedelta) -> float:
    return span / timedelta(hours=1)


def _named(things: Sequence[str], most: int = 5) -> str:
    more = f" and {len(things) - most} more" if len(things) > most else ""
    return f" ({', '.join(things[:most])}{more})" if things else ""
