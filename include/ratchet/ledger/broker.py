"""What holds a retrain request back: the rules of a model's spec, applied to what is on record."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from sqlalchemy import Connection, func, select

from ratchet.days import shift_day
from ratchet.errors import ParameterError
from ratchet.ledger.decisions import Champion
from ratchet.ledger.rows import read_one
from ratchet.ledger.tables import batches, challengers, champions, events, requests

if TYPE_CHECKING:
    from ratchet.specs import ModelSpec

_TURNED_DOWN = ("rejected", "refused")
_PROMOTED = ("champion_promoted", "champion_forced")
_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Rules:
    """What holds back the requests that no person makes; days are data time (as-of).

    `cool_down_days` have to lie between two trainings; at most `trainings` may be asked for `in_days`; and none after
    `stop_after_rejected` challengers in a row that the gate rejected or a person refused.
    """

    cool_down_days: int
    trainings: int
    in_days: int
    stop_after_rejected: int

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            least = 0 if name == "cool_down_days" else 1
            if value < least:
                raise ParameterError(f"{name} is too small", seen=value, expected=f"{least} or more", hint="mend it")

    @classmethod
    def of(cls, spec: ModelSpec) -> Rules:
        """Those of the spec's `retrain_when`."""
        when = spec.retrain_when
        return cls(when.cool_down_days, when.budget.trainings, when.budget.in_days, when.stop_after_rejected)


def held_back(connection: Connection, model: str, as_of: str, rules: Rules) -> str | None:
    """Why a request that no person makes has to wait, and until which data day, if a later one lets it through; None
    when nothing holds it back."""
    why = (
        _stopped(turned_down(connection, model), rules)
        or _overtaken(connection, model, as_of)
        or _spent(connection, model, as_of, rules)
        or _cooling_down(connection, model, as_of, rules)
    )
    return why and f"{why}. A person's request is not held back"


def turned_down(connection: Connection, model: str) -> list[int]:
    """The versions that the gate rejected or a person refused, of those registered since the newest promotion and
    since a person last asked for a training. Those on which nothing was decided (held, expired, superseded) are
    neither counted nor do they end the row."""
    since = max(_promoted_at(connection, model), _asked_by_a_person_at(connection, model))
    mine = (challengers.c.model == model, challengers.c.status.in_(_TURNED_DOWN), challengers.c.registered_at > since)
    return list(connection.scalars(select(challengers.c.version).where(*mine).order_by(challengers.c.version)))


def _stopped(versions: list[int], rules: Rules) -> str | None:
    if len(versions) < rules.stop_after_rejected:
        return None
    named = ", ".join(map(str, versions))
    return (
        f"the broker has stopped: of the last {len(versions)} challengers (versions {named}) the gate rejected or a "
        "person refused each. Held back until a person asks for a training"
    )


def _overtaken(connection: Connection, model: str, as_of: str) -> str | None:
    newest = _newest_training(connection, model)
    if newest is None or as_of >= newest:
        return None
    return f"a training as of {newest} is on record, and {as_of} is older: for older data a person has to ask"


def _spent(connection: Connection, model: str, as_of: str, rules: Rules) -> str | None:
    """Of the period that ends with the as-of day. Failed trainings count, too: each was paid for."""
    since = shift_day(as_of, -rules.in_days)
    mine = (batches.c.model == model, batches.c.forced.is_(False), batches.c.as_of > since, batches.c.as_of <= as_of)
    days = list(connection.scalars(select(batches.c.as_of).where(*mine).order_by(batches.c.as_of.desc())))
    if len(days) < rules.trainings:
        return None
    until = shift_day(days[rules.trainings - 1], rules.in_days)
    return (
        f"the budget is spent: {len(days)} trainings as of days after {since} are on record, and {rules.trainings} "
        f"may be made in {rules.in_days} days. Held back until {until}"
    )


def _cooling_down(connection: Connection, model: str, as_of: str, rules: Rules) -> str | None:
    newest = _newest_training(connection, model)
    if newest is None or _days(newest, as_of) >= rules.cool_down_days:
        return None
    return (
        f"a training as of {newest} is on record, and {rules.cool_down_days} days of data have to lie between two. "
        f"Held back until {shift_day(newest, rules.cool_down_days)}"
    )


def _newest_training(connection: Connection, model: str) -> str | None:
    """The as-of day of the newest one that no person forced and that has not failed."""
    mine = (batches.c.model == model, batches.c.forced.is_(False), batches.c.status != "failed")
    return connection.scalar(select(func.max(batches.c.as_of)).where(*mine))


def _days(first: str, last: str) -> int:
    return (date.fromisoformat(last) - date.fromisoformat(first)).days


def _promoted_at(connection: Connection, model: str) -> datetime:
    """When the newest promotion was put on record, by the chain's own clock: `moved_at` is what the caller said."""
    mine = (champions.c.model == model, champions.c.how != "rollback")
    newest = read_one(connection, Champion, champions, *mine, order=(champions.c.epoch.desc(),))
    if newest is None:
        return _NEVER
    told = (events.c.subject == f"models/{model}/versions/{newest.version}", events.c.kind.in_(_PROMOTED))
    at = connection.scalar(select(func.max(events.c.at)).where(*told))
    return datetime.fromisoformat(at) if at else _NEVER


def _asked_by_a_person_at(connection: Connection, model: str) -> datetime:
    mine = (requests.c.model == model, requests.c.source == "person")
    return connection.scalar(select(func.max(requests.c.requested_at)).where(*mine)) or _NEVER
