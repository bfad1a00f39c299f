"""The guesses: each column's type and whether it is about people; the key; the zone and column of the event day."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from itertools import combinations, islice

import pandas as pd

from ratchet.column_types import read_series
from ratchet.drops import Drop
from ratchet.profile.sample import Sample, rename
from ratchet.profile.texts import quoted, told
from ratchet.specs import ColumnType

MAX_KEY_COLUMNS = 4
KEY_CANDIDATES = 12  # at most 793 sets of columns to try
SET_SIZE = 20  # more distinct values are no set

_ZONES = (
    *("UTC", "Europe/London", "Europe/Berlin", "Europe/Helsinki", "America/New_York", "America/Chicago"),
    *("America/Denver", "America/Los_Angeles", "America/Sao_Paulo", "Asia/Dubai", "Asia/Kolkata", "Asia/Shanghai"),
    *("Asia/Tokyo", "Australia/Sydney", "Pacific/Auckland"),
)
_NULL_WORDS = {"na", "n/a", "nan", "null", "none", "nil", "-", "?", r"\n"}
_BOOL_WORDS = {"true", "false", "t", "f", "yes", "no", "y", "n"}
_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d([.,]\d+)?)?( ?(Z|UTC|[+-]\d\d:?\d\d))?")
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_PERSONAL_WORDS = {
    *("email", "mail", "phone", "mobile", "fax", "ssn", "passport", "passenger", "surname", "firstname", "lastname"),
    *("fullname", "username", "birth", "birthday", "birthdate", "dob", "iban", "address", "street"),
}
_WHOSE_NAME = {"first", "last", "full", "given", "family", "middle", "user", "customer", "patient", "employee"}
_COUNTS = {"count", "counts", "total", "share", "rate"}
_PERSONAL_VALUES = {
    "e-mail addresses": (r"[^@\s]+@[^@\s]+\.[A-Za-z]{2,}", 0.0),
    "phone numbers": (r"\+[0-9][0-9 ()/.-]{7,}", 0.5),
    "social security numbers": (r"[0-9]{3}-[0-9]{2}-[0-9]{4}", 0.5),
    "bank accounts": (r"[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}", 0.5),
}  # by the share of values that must look so


@dataclass(frozen=True, eq=False)
class Column:
    """A column as guessed. `values`: typed, as ingestion would. `remark`: what the sender could do better, "" if
    nothing. `personal`: why it looks so, "" if it doesn't; its values must not be shown."""

    name: str
    kind: ColumnType
    values: pd.Series = field(repr=False)
    nulls: int
    distinct: int
    remark: str
    personal: str

    @property
    def seen(self) -> str:
        found = self.values.dropna()
        if found.empty:
            return "no value"
        count = f"{self.distinct} distinct"
        if self.personal or self.kind == "bool":
            return count
        if self.kind == "string":
            return f"{count}: {', '.join(quoted(v) for v in sorted(found.unique()))}" if self.is_set else count
        return f"{count}, {told(found.min())} to {told(found.max())}"

    @property
    def is_set(self) -> bool:
        """Few values, each seen often: the ones there are, perhaps."""
        few = self.kind == "string" and 0 < self.distinct <= SET_SIZE
        return few and not self.personal and len(self.values) - self.nulls >= 5 * self.distinct


@dataclass(frozen=True)
class EventTime:
    """`day`: the first event day, by `column` if there is one. `fits`: all its instants are of that one local day.
    `also`: other zones in which they would be."""

    zone: str
    day: str
    column: str | None = None
    fits: bool = False
    also: tuple[str, ...] = ()


# --- the columns ---


def guess_column(name: str, given: pd.Series) -> Column:
    known = given.dropna().drop_duplicates()
    kind = _guess_kind(known)
    remark = _remark(known) if kind == "string" else ""
    if personal := _looks_personal(name, kind, known):
        kind = "string"  # as pseudonyms are
    values, _ = read_series(kind, given)
    return Column(name, kind, values, int(values.isna().sum()), int(values.nunique()), remark, personal)


def _guess_kind(known: pd.Series) -> ColumnType:
    if known.empty or known.str.contains(r"^\s*[+-]?0[0-9]").any():  # a code: as a number it would lose its zeros
        return "string"
    if _fits("int64", known):
        return "int64"
    if known.str.fullmatch(r"[+-]?[0-9]+").all():  # too long for an int64; a float64 would round it
        return "string"
    return next((kind for kind in ("bool", "timestamp", "float64") if _fits(kind, known)), "string")


def _fits(kind: ColumnType, known: pd.Series) -> bool:
    return all(read_series(kind, part)[1].all() for part in (known.head(50), known))


def _remark(known: pd.Series) -> str:
    """Why a column that stays a string could be something better, and what to do for it."""
    if known.empty:
        return "no value to guess the type from"
    folded = known.str.casefold()
    words, rest = known[folded.isin(_NULL_WORDS)], known[~folded.isin(_NULL_WORDS)]
    if len(words) and len(rest) and (kind := _guess_kind(rest)) != "string":
        said = ", ".join(map(quoted, words.head(3)))
        return f"would be {kind} but for {said}: have the sender leave such a field empty"
    if known.str.fullmatch(_DATE).all():
        return "a date; a timestamp needs the time and an offset, such as 2013-01-01T05:15:00-05:00"
    if known.str.fullmatch(_TIME).all():
        return (
            "looks like a time, but a timestamp is ISO 8601 with an offset: have the sender write it as "
            "2013-01-01T05:15:00-05:00, or with Z if it is UTC"
        )
    return "looks like a bool: that is true or false" if folded.isin(_BOOL_WORDS).all() else ""


def _looks_personal(name: str, kind: ColumnType, known: pd.Series) -> str:
    words = [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)]
    by_name = _PERSONAL_WORDS & set(words) or words == ["name"] or ("name" in words and _WHOSE_NAME & set(words))
    if by_name and kind not in ("bool", "float64") and words[-1] not in _COUNTS:
        return "by its name"
    for what, (pattern, share) in _PERSONAL_VALUES.items() if kind == "string" and len(known) else ():
        if (hits := int(known.str.fullmatch(pattern).sum())) and hits >= share * len(known):
            return f"{hits} of {len(known)} distinct values look like {what}"
    return ""


def refuse_made_names(source: str, columns: list[Column]) -> None:
    made = {f"{what}_{c.name}" for c in columns if c.kind == "timestamp" for what in ("hours_to", "day_of")}
    if taken := [c.name for c in columns if c.name in made]:
        raise rename(source, taken, [c.name for c in columns])


# --- key and event day ---


def find_keys(columns: list[Column], event_time: str | None) -> list[list[str]]:
    """The smallest sets of columns that are unique and without nulls, those with the likeliest names first; four at
    most, and none of more than MAX_KEY_COLUMNS."""
    usable = [c for c in columns if not c.nulls and c.kind not in ("bool", "float64")]
    rank = {c.name: 0 if c.name == event_time else key_rank(c) for c in usable}
    ranked = sorted(usable, key=lambda c: (rank[c.name], -c.distinct))[:KEY_CANDIDATES]
    frame = pd.DataFrame({c.name: pd.factorize(c.values)[0] for c in ranked})
    for size in range(1, MAX_KEY_COLUMNS + 1):
        chosen = sorted(combinations(ranked, size), key=lambda some: sum(rank[c.name] for c in some))
        if found := list(islice((some for some in chosen if _is_unique(frame, some)), 4)):
            return [[c.name for c in columns if c in some] for some in found]
    return []


def _is_unique(frame: pd.DataFrame, columns: tuple[Column, ...]) -> bool:
    """Cheapest first: are there values enough, are the first rows unique, are all?"""
    names = [c.name for c in columns]
    if math.prod(c.distinct for c in columns) < len(frame) or frame.head(2000).duplicated(names).any():
        return False
    return not frame.duplicated(names).any()


def key_rank(column: Column) -> int:
    """Small for a likely part of a key."""
    words = column.name.lower().split("_")
    if column.personal:
        return 9
    if {"id", "key", "uuid"} & set(words):
        return 0
    return 1 if column.kind == "timestamp" or words[-1] in ("at", "code", "no", "number") else 2


def guess_event_time(columns: list[Column], sample: Sample, zone: str | None) -> EventTime:
    """The zone and the timestamp column by which all rows are of one day, that of the drop if it is one."""
    instants = [c for c in columns if c.kind == "timestamp" and c.distinct and not c.personal]
    instants = sorted(instants, key=lambda c: c.nulls > 0)
    if not instants:
        return EventTime(zone or "UTC", sample.made_on)
    zones = [zone] if zone else sorted(_ZONES, key=lambda one: not _has_offset(one, sample.text[instants[0].name]))
    fits = [(one, c.name, day) for one in zones for c in instants if (day := _only_day(c, one, sample.drop))]
    if fits:
        zone, column, day = fits[0]
        also = tuple(one for one, name, _ in fits[1:] if name == column)
        return EventTime(zone, day, column, True, also)
    first = instants[0].values.min().tz_convert(zone or "UTC").date().isoformat()
    return EventTime(zone or "UTC", sample.drop.day if sample.drop else first, instants[0].name)


def _has_offset(zone: str, text: pd.Series) -> bool:
    written = pd.Timestamp(text.dropna().iloc[0])
    return written.utcoffset() == written.tz_convert(zone).utcoffset()


def _only_day(column: Column, zone: str, drop: Drop | None) -> str | None:
    first, last = (at.tz_convert(zone).date().isoformat() for at in (column.values.min(), column.values.max()))
    return first if first == last and (drop is None or drop.day == first) else None
