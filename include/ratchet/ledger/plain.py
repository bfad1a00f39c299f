"""Values made plain before they are stored or hashed: what JSON can hold, and nothing that a database would twist."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime

from ratchet.digests import canonical_json
from ratchet.errors import ParameterError


def plain(value: object, name: str) -> object:
    """`value` as JSON types: mappings to dict, sequences to list, instants to UTC text, numpy scalars to numbers.

    Raises ParameterError, naming `name`, for NaN, inf, a naive datetime, text that PostgreSQL can't hold (NUL, lone
    surrogates), and anything that has no plain form.
    """
    if value is None or isinstance(value, (bool, int, float)):
        return _number(value, name)
    if isinstance(value, str):
        return _text(value, name)
    if isinstance(value, datetime):
        return instant_text(value, name)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {_text(str(key), name): plain(item, f"{name}.{key}") for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item, f"{name}[{n}]") for n, item in enumerate(value)]
    if hasattr(value, "item"):  # a numpy scalar
        return plain(value.item(), name)
    raise _refused(name, repr(value)[:200], "text, numbers, instants, lists and mappings")


def instant(value: object, name: str) -> datetime:
    """A tz-aware datetime or ISO-8601 text with an offset, as a datetime in UTC. Raises ParameterError otherwise."""
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        moment = None
    if not isinstance(moment, datetime) or moment.tzinfo is None:
        raise _refused(name, repr(value), "an instant with a time zone")
    return moment.astimezone(UTC)


def instant_text(value: object, name: str) -> str:
    return instant(value, name).isoformat(timespec="microseconds")


def check_words(**words: str) -> None:
    """Raises ParameterError for the first that is not text, or empty."""
    for name, value in words.items():
        if not isinstance(value, str) or not value.strip():
            raise ParameterError(f"{name} is empty", seen=repr(value), expected="text", hint=f"say the {name}")


def _number(value: bool | int | float | None, name: str) -> object:
    try:
        canonical_json(value)
    except ValueError:
        raise _refused(name, value, "a finite number, or None where there is none") from None
    return float(value) if type(value) is not float and isinstance(value, float) else value


def _text(value: str, name: str) -> str:
    if "\x00" in value or any("\ud800" <= char <= "\udfff" for char in value):
        raise _refused(name, ascii(value)[:200], "text without NUL and lone surrogates")
    return str(value)


def _refused(name: str, seen: object, expected: str) -> ParameterError:
    return ParameterError(f"{name} can't be kept in the ledger", seen=seen, expected=expected, hint=f"mend {name}")
