"""Event days as people write them: ISO strings, checked before they are used."""

from __future__ import annotations

import re
from datetime import date, timedelta

from ratchet.errors import ParameterError


def check_day(value: object, name: str) -> str:
    """`value` as an ISO day. Raises ParameterError when it is anything else."""
    try:
        if isinstance(value, str) and re.fullmatch(r"\d{4}-\d{2}-\d{2}", value):
            return date.fromisoformat(value).isoformat()
    except ValueError:
        pass
    raise ParameterError(
        f"{name} is not a day", seen=repr(value), expected="YYYY-MM-DD", hint=f"pass {name} as an ISO date"
    )


def check_range(first: object, last: object, names: tuple[str, str] = ("from", "to")) -> tuple[str, str]:
    """Both ends as ISO days, in order. Raises ParameterError when a day is no day or the range runs backwards."""
    if (first is None) != (last is None):
        missing = names[0] if first is None else names[1]
        raise ParameterError(
            f"{names[0]} and {names[1]} go together", seen=f"no {missing}", hint=f"pass {missing} too, or neither"
        )
    first, last = check_day(first, names[0]), check_day(last, names[1])
    if first > last:
        raise ParameterError(
            "the range runs backwards",
            seen=f"{names[0]}={first}, {names[1]}={last}",
            hint=f"swap {names[0]} and {names[1]}",
        )
    return first, last


def days_between(first: str, last: str) -> list[str]:
    """Every day from first to last, both included."""
    start, stop = date.fromisoformat(first), date.fromisoformat(last)
    return [(start + timedelta(days=n)).isoformat() for n in range((stop - start).days + 1)]


def shift_day(day: str, days: int) -> str:
    """The day `days` after `day` (before it when negative). Raises ParameterError outside the years 1 to 9999."""
    try:
        return (date.fromisoformat(day) + timedelta(days=days)).isoformat()
    except OverflowError:
        seen = f"{day} and {days} days"
        raise ParameterError("no such day", seen=seen, hint="pass a day nearer to the data") from None
