"""Reads a drop into typed rows, strictly: what can't be read as the spec says is refused with a reason.

Of a file that is damaged as a whole (not gzip, cut short, not UTF-8, unbalanced quotes, wrong header, too big) nothing
is read: DropError. Of a good file, single lines (too few fields, a NUL byte, a value that isn't of its column's type)
are set aside and the rest is read. Bytes are read once: what is hashed is what is parsed.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import logging
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ratchet.drops import Drop, digest_mismatch
from ratchet.errors import DropError
from ratchet.specs import ColumnType, DatasetSpec

log = logging.getLogger(__name__)

MAX_BYTES = 256 * 1024 * 1024  # of a drop, packed or unpacked; a bigger one is refused before it is decoded
LINE = "line"
_INSTANT = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]{1,6})?)?(Z|[+-][0-9]{2}:[0-9]{2})"
_INTEGER = r"[+-]?[0-9]{1,18}"


@dataclass(frozen=True)
class DropRows:
    """`frame`: the columns of the spec, in its order and types, and `line` (1-based, of the file; the header is 1).
    `refused`: a row per line set aside, with `line`, `reason` and `row` (its text as JSON).
    `extra_columns`: those in the file that the spec doesn't know; they aren't read."""

    frame: pd.DataFrame
    refused: pd.DataFrame
    extra_columns: list[str]


def read_drop(drop: Drop, spec: DatasetSpec, max_bytes: int = MAX_BYTES) -> DropRows:
    """The rows of a drop. Raises DropError, naming the reason, if the file as a whole can't be used.

    int64 columns come as Int64, so that a null stays one; float64, bool (as boolean), str; timestamps as
    datetime64[us, UTC]. An empty field is null.
    """
    header, rows, lines = _parse(_decode(_load(drop, max_bytes), drop, max_bytes), drop)
    extra = _check_header(header, spec, drop)
    if len(rows) != drop.rows:
        raise _unusable(drop, "holds another number of rows than its manifest says", len(rows), drop.rows)
    if extra:
        log.warning("%s %s: columns that the spec does not know are left out: %s", drop.dataset, drop.day, extra)
    return _typed(header, rows, lines, spec, extra)


def _load(drop: Drop, max_bytes: int) -> bytes:
    try:
        size = drop.path.stat().st_size
        if size > max_bytes:
            raise _unusable(drop, "is too big", f"{size} bytes", f"{max_bytes} at most")
        packed = drop.path.read_bytes()
    except OSError as error:
        raise _unusable(drop, "can't be read", error, "a readable file") from error
    if (seen := hashlib.sha256(packed).hexdigest()) != drop.sha256:
        raise digest_mismatch(drop, seen)
    return packed


def _decode(packed: bytes, drop: Drop, max_bytes: int) -> str:
    try:
        with gzip.open(io.BytesIO(packed)) as file:
            plain = file.read(max_bytes + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise _unusable(drop, "isn't a whole gzip file", error, "gzip") from error
    if len(plain) > max_bytes:
        raise _unusable(drop, "is too big unpacked", f"more than {max_bytes} bytes", f"{max_bytes} at most")
    try:
        return plain.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = plain.count(b"\n", 0, error.start) + 1
        raise _unusable(drop, "isn't UTF-8", f"byte {plain[error.start]:#x} in line {line}", "UTF-8") from error


def _parse(text: str, drop: Drop) -> tuple[list[str], list[list[str]], list[int]]:
    """Header, rows and the line that each row starts on. Empty lines are skipped."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows, lines, start = [], [], 1
    try:
        for row in reader:
            if row:
                rows.append(row)
                lines.append(start)
            start = reader.line_num + 1
    except csv.Error as error:
        raise _unusable(
            drop, "isn't CSV", f"{error} at line {reader.line_num}", "RFC 4180, fields up to 128 KiB"
        ) from error
    if not rows:
        raise _unusable(drop, "is empty", "no header", "a header and rows")
    return rows[0], rows[1:], lines[1:]


def _check_header(header: list[str], spec: DatasetSpec, drop: Drop) -> list[str]:
    """The columns that the spec doesn't know. A missing or doubled one refuses the file."""
    doubled = sorted({name for name in header if header.count(name) > 1})
    missing = [name for name in spec.columns if name not in header]
    if doubled or missing:
        seen = ", ".join(
            text for text in (f"missing {missing}" * bool(missing), f"twice {doubled}" * bool(doubled)) if text
        )
        raise _unusable(drop, "has other columns than the spec", seen, list(spec.columns))
    return [name for name in header if name not in spec.columns]


def _typed(header: list[str], rows: list[list[str]], lines: list[int], spec: DatasetSpec, extra: list[str]) -> DropRows:
    reasons = [_line_problem(row, len(header)) for row in rows]
    whole = [row for row, reason in zip(rows, reasons, strict=True) if not reason]
    index = [number for number, reason in enumerate(reasons) if not reason]
    text = pd.DataFrame(whole, columns=header, index=index, dtype="str")
    columns: dict[str, pd.Series] = {}
    for name, kind in spec.columns.items():
        given = text[name].mask(text[name] == "")
        columns[name], parsed = _CONVERT[kind](given)
        for number, value in given[given.notna() & ~parsed].items():
            said = f"{name} is not {_ARTICLE[kind]}: {_short(value)}"
            reasons[number] = f"{reasons[number]}; {said}" if reasons[number] else said
    bad = [number for number, reason in enumerate(reasons) if reason]
    frame = pd.DataFrame({LINE: pd.Series(lines, dtype="int64"), **columns}).loc[lambda f: ~f.index.isin(bad)]
    refused = pd.DataFrame(
        {
            LINE: pd.Series([lines[n] for n in bad], dtype="int64"),
            "reason": pd.Series([reasons[n] for n in bad], dtype="str"),
            "row": pd.Series([_row_text(header, rows[n]) for n in bad], dtype="str"),
        }
    )
    return DropRows(frame.reset_index(drop=True), refused, extra)


def _line_problem(row: list[str], width: int) -> str:
    if len(row) != width:
        return f"{len(row)} fields where the header has {width}"
    return "a NUL byte" if any("\0" in value for value in row) else ""


def _row_text(header: list[str], row: list[str]) -> str:
    """The row as JSON: an object, or, of a row that doesn't fit the header, a list."""
    value = dict(zip(header, row, strict=True)) if len(row) == len(header) else row
    return json.dumps(value)


Converted = tuple[pd.Series, pd.Series]  # the typed column, and which values could be read


def _to_string(text: pd.Series) -> Converted:
    return text, pd.Series(True, index=text.index)


def _to_int(text: pd.Series) -> Converted:
    parsed = text.str.fullmatch(_INTEGER).fillna(False).astype(bool)
    return pd.Series(
        pd.array(text.where(parsed).astype(object).map(int, na_action="ignore"), "Int64"), text.index
    ), parsed


def _to_float(text: pd.Series) -> Converted:
    numbers = pd.to_numeric(text, errors="coerce").astype("float64")
    parsed = pd.Series(np.isfinite(numbers), index=text.index)
    return numbers.where(parsed), parsed


def _to_bool(text: pd.Series) -> Converted:
    values = text.astype(object).map({"true": True, "false": False}).astype("boolean")
    return values, values.notna()


def _to_timestamp(text: pd.Series) -> Converted:
    shaped = text.where(text.str.fullmatch(_INSTANT).fillna(False).astype(bool))
    instants = pd.to_datetime(shaped, format="ISO8601", utc=True, errors="coerce").astype("datetime64[us, UTC]")
    instants = instants.where(instants.between(*_CREDIBLE))  # year 1 or 9999 stands for "none" in some systems
    return instants, instants.notna()


_CREDIBLE = (pd.Timestamp("1900-01-01", tz="UTC"), pd.Timestamp("2200-01-01", tz="UTC"))
_CONVERT: dict[ColumnType, Callable[[pd.Series], Converted]] = {
    "string": _to_string,
    "int64": _to_int,
    "float64": _to_float,
    "bool": _to_bool,
    "timestamp": _to_timestamp,
}
_ARTICLE = {
    "string": "a string",
    "int64": "an int64",
    "float64": "a finite float64",
    "bool": "true or false",
    "timestamp": "an ISO-8601 instant with offset, from 1900 to 2199",
}


def _short(value: str, length: int = 60) -> str:
    return repr(value if len(value) <= length else f"{value[:length]}…")


def _unusable(drop: Drop, reason: str, seen: object, expected: object) -> DropError:
    return DropError(
        f"the drop of {drop.dataset} for {drop.day} {reason}",
        seen=seen,
        expected=expected,
        where=drop.path,
        hint="have the sender deliver it again; nothing of it was published",
    )
