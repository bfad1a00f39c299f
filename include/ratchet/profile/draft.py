"""The draft: the guesses as YAML and JSON, each with what it was made from, and the notes for the person who asked."""

from __future__ import annotations

import json
import math
import re
from datetime import UTC, date, datetime, time, timedelta
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from zoneinfo import ZoneInfo

import pandas as pd

from ratchet.drops import Drop
from ratchet.profile.guesses import MAX_KEY_COLUMNS, Column, EventTime, key_rank
from ratchet.profile.sample import Sample
from ratchet.profile.texts import each, flow, printable, quoted, scalar, told

NO_KEY = "CHOOSE_A_KEY"  # names no column, so that the spec can't be used before somebody has chosen

_CODE = re.compile(r"[0-9A-Z]{1,12}")


# --- the spec ---


def draft_spec(
    name: str, sample: Sample, columns: list[Column], keys: list[list[str]], when: EventTime, notes: list[str]
) -> str:
    lines = [
        f"# Drafted by `ratchet profile` from {quoted(sample.source)}: {_looked_at(sample)}.",
        "# Each line with `guess` wants a look; take the remark away when you have decided.",
        *(f"# Note: {note}" for note in notes),
        f"description: {scalar(name)} # guess: say what a row is (seen only the name)",
        "owner: nobody # guess: the team that answers for it (seen nothing)",
        f"time_zone: {when.zone} # guess: {_why_zone(sample, when)}",
        f'starts: "{when.day}" # guess: the first event day (seen {_why_day(sample, when)})',
        f"key: {_key_line(keys, len(sample.text))}",
        "columns:",
        *(f"  {scalar(c.name)}: {c.kind} # guess: {_remarks(c)} (seen {c.seen}; {_nulls(c)})" for c in columns),
    ]
    if personal := {c.name: c.personal for c in columns if c.personal}:
        lines.append(f"personal: {flow(personal)} # guess: about people (seen {each(personal)})")
    if empty := {c.name: _nulls(c) for c in columns if _may_be_empty(c)}:
        lines.append(f"may_be_empty: {flow(empty)} # guess: null all day at times (seen {each(empty)})")
    return "\n".join(lines) + "\n"


def _key_line(keys: list[list[str]], rows: int) -> str:
    if not keys:
        return (
            f"[{NO_KEY}] # guess: none; name columns that make a row unique in its day "
            f"(seen no such {MAX_KEY_COLUMNS} in {rows} rows)"
        )
    also = f"; so are {', '.join(map(flow, keys[1:]))}" if keys[1:] else ""
    return f"{flow(keys[0])} # guess: makes a row unique in its day (seen unique, no nulls in {rows} rows{also})"


def _may_be_empty(column: Column) -> bool:
    return len(column.values) - column.nulls < 0.05 * len(column.values)


def _nulls(column: Column) -> str:
    return f"{column.nulls or 'none'} of {len(column.values)} null"


def _remarks(column: Column) -> str:
    nulls = "never null" if not column.nulls else "may be null" if column.distinct else "null all day"
    return "; ".join(one for one in (nulls, "personal, so a string" * bool(column.personal), column.remark) if one)


def _looked_at(sample: Sample) -> str:
    rows = f"{len(sample.text)} rows"
    return f"{rows}, all there are" if sample.whole else f"the first {rows} of {sample.rows_in_all or 'more'}"


def _why_zone(sample: Sample, when: EventTime) -> str:
    if when.fits:
        more = f"; so they would in {', '.join(when.also)}" if when.also else ""
        return f"event days are days there (seen {when.column}: all on {when.day}{more})"
    said = f"{when.column}: more than one day, or another" if when.column else "no timestamp"
    return f"event days are days in this zone (seen {said})"


def _why_day(sample: Sample, when: EventTime) -> str:
    return "the drop's day" if sample.drop else f"{when.column}" if when.column else "the file's date"


# --- the suite ---


def draft_suite(name: str, sample: Sample, columns: list[Column], key: list[str], when: EventTime) -> str:
    expectations = [_row_count(sample)]
    if sample.drop:
        late = _hours_late(sample.drop, when.zone)
        most = math.ceil(late) + 24
        kwargs = {"column": "delivered_after_hours", "max_value": most}
        expectations.append(_warn("expect_column_max_to_be_between", f"delivered after {late:g} hours", **kwargs))
    for column in columns:
        expectations += _about_nulls(column, key)
    if key:
        unique = {"column": key[0]} if len(key) == 1 else {"column_list": key}
        kind = "expect_column_values_to_be_unique" if len(key) == 1 else "expect_compound_columns_to_be_unique"
        expectations.append(_expect(kind, f"unique in {len(sample.text)} rows", **unique))
    if when.fits:
        pair = {"column_A": f"day_of_{when.column}", "column_B": "day", "ignore_row_if": "either_value_is_missing"}
        seen = f"all on {when.day} in {when.zone}"
        expectations.append(_expect("expect_column_pair_values_to_be_equal", seen, **pair))
    for column in columns:
        expectations += _about_values(column, key)
    body = ",\n".join(f"    {printable(json.dumps(one, ensure_ascii=False))}" for one in expectations)
    return f'{{\n  "name": {json.dumps(name)},\n  "expectations": [\n{body}\n  ]\n}}\n'


def _expect(kind: str, seen: str, **kwargs) -> dict:
    return {"type": kind, "kwargs": kwargs, "meta": {"guess": f"seen {seen}", "review": True}}


def _warn(kind: str, seen: str, **kwargs) -> dict:
    return {**_expect(kind, seen, **kwargs), "severity": "warning"}


def _row_count(sample: Sample) -> dict:
    """A tenth to ten times as many: wide enough for holidays, narrow enough for half a year in one file."""
    rows = sample.rows_in_all
    most = {"max_value": 10 * rows} if rows else {}
    least = max(1, (rows or len(sample.text)) // 10)
    seen = f"{rows} rows" if rows else f"more than {len(sample.text)} rows"
    return _expect("expect_table_row_count_to_be_between", seen, min_value=least, **most)


def _about_nulls(column: Column, key: list[str]) -> list[dict]:
    if not column.nulls:
        make = _expect if column.name in key else _warn
        return [make("expect_column_values_to_not_be_null", _nulls(column), column=column.name)]
    half = math.floor(50 * (1 - column.nulls / len(column.values))) / 100
    kind = "expect_column_proportion_of_non_null_values_to_be_between"
    return [_warn(kind, _nulls(column), column=column.name, min_value=half)] if half else []


def _about_values(column: Column, key: list[str]) -> list[dict]:
    if column.personal or not column.distinct:
        return []
    about = {"column": column.name}
    found = column.values.dropna()
    if column.is_set:
        kind = "expect_column_values_to_be_in_set"
        return [_warn(kind, f"{column.distinct} values", **about, value_set=sorted(found.unique()))]
    if column.kind == "string" and found.str.fullmatch(_CODE).all():
        lengths = found.str.len()
        count = f"{lengths.min()}" if lengths.min() == lengths.max() else f"{lengths.min()},{lengths.max()}"
        regex = f"^[0-9A-Z]{{{count}}}$"
        return [_warn("expect_column_values_to_match_regex", f"{column.distinct} such values", **about, regex=regex)]
    is_id = column.name in key and key_rank(column) == 0  # grows for ever
    if column.kind in ("int64", "float64") and not is_id and (wide := _wide_range(found)):
        low, high = (float(value) if column.kind == "float64" else int(value) for value in wide)
        seen = f"{told(found.min())} to {told(found.max())}"
        return [_warn("expect_column_values_to_be_between", seen, **about, min_value=low, max_value=high)]
    return []


def _wide_range(found: pd.Series) -> tuple[Decimal, Decimal] | None:
    """The range seen and as much again on both sides, not across zero, rounded outward to two digits; None where
    that is no float."""
    low, high = Decimal(str(found.min())), Decimal(str(found.max()))
    more = high - low or abs(high) or Decimal(1)
    below = low - more if low < 0 else max(Decimal(0), low - more)
    above = high + more if high > 0 or low == 0 else min(Decimal(0), high + more)
    place = max(below.adjusted() if below else -400, above.adjusted() if above else -400) - 1
    ends = [
        edge.scaleb(-place).to_integral_value(rounding).scaleb(place)
        for edge, rounding in ((below, ROUND_FLOOR), (above, ROUND_CEILING))
    ]
    return (ends[0], ends[1]) if all(math.isfinite(float(end)) for end in ends) else None


def _hours_late(drop: Drop, zone: str) -> float:
    over = datetime.combine(date.fromisoformat(drop.day) + timedelta(days=1), time(), tzinfo=ZoneInfo(zone))
    return round((drop.delivered_at - over.astimezone(UTC)) / timedelta(hours=1), 2)


# --- the notes ---


def notes_on(sample: Sample, columns: list[Column], keys: list[list[str]], when: EventTime) -> list[str]:
    notes = [] if sample.whole else [f"looked at {_looked_at(sample)}; the rest may hold other values"]
    if sample.odd:
        notes.append(f"{sample.odd} lines don't fit the header and were left out; ingestion would quarantine them")
    if not keys:
        notes.append(f"no key of up to {MAX_KEY_COLUMNS} columns found: replace {NO_KEY}, or the spec can't be used")
    if when.column and not when.fits:
        where = f"the one day {sample.drop.day}" if sample.drop else "one day"
        notes.append(f"{when.column} isn't within {where}; a drop holds one event day (is it another --time-zone?)")
    if not when.column:
        notes.append("no timestamp column: nothing ties the rows to an event day")
    if not sample.drop:
        notes.append("a file doesn't say when it was delivered: no freshness was guessed")
    return notes + [f"{c.name} {c.remark}" for c in columns if c.remark]
