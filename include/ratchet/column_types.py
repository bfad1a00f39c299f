"""Text into the types of a spec, strictly: what can't be read as its type is null in the result."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ratchet.specs import ColumnType

TEXT = pa.large_string()
ARTICLE: dict[ColumnType, str] = {
    "string": "a string",
    "int64": "an int64",
    "float64": "a finite float64",
    "bool": "true or false",
    "timestamp": "an ISO-8601 instant with offset, from 1900 to 2199",
}
_INSTANT = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]{1,6})?)?(Z|[+-][0-9]{2}:[0-9]{2})"
_INTEGER = r"[+-]?[0-9]{1,18}"
_FLOAT = r"[+-]?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][+-]?[0-9]+)?"
_UTC = pa.timestamp("us", "UTC")
# Year 1 or 9999 stands for "none" in some systems.
_FIRST, _END = (pa.scalar(pd.Timestamp(day, tz="UTC"), _UTC) for day in ("1900-01-01", "2200-01-01"))


def read_as(kind: ColumnType, text: pa.Array) -> pa.Array:
    """Text (large_string) as int64, float64, bool, timestamp[us, UTC] or itself; null where it can't be read.

    Floats are correctly rounded, may have blanks around them, and must be finite; instants are from 1900 to 2199.
    """
    return _READ[kind](text)


def read_losslessly(kind: ColumnType, text: pa.Array) -> pa.Array:
    """As `read_as`, but `12.0` is an int64 too, and `1` and `0` are bools."""
    if kind == "int64":
        text = pc.replace_substring_regex(text, r"\A([+-]?[0-9]+)[.]0*\z", r"\1")
    if kind == "bool":
        plain = read_as("bool", text)
        number = read_as("int64", text)
        return pc.if_else(pc.is_in(number, pa.array([0, 1])), pc.cast(number, pa.bool_(), safe=False), plain)
    return read_as(kind, text)


def to_series(kind: ColumnType, values: pa.ChunkedArray) -> pd.Series:
    """As pandas has it, in one piece: Int64 (so that a null stays one), float64, boolean, str, datetime64[us, UTC]."""
    if kind == "float64":
        numbers = values.to_numpy()
        return pd.Series(numbers if numbers.flags.writeable else numbers.copy())
    return pd.Series(_DTYPES[kind].__from_arrow__(values.combine_chunks() if kind == "string" else values))


def read_series(kind: ColumnType, text: pd.Series) -> tuple[pd.Series, pd.Series]:
    """A str column as its type, and which of its values could be read."""
    array = pa.chunked_array([pa.array(text, TEXT, from_pandas=True)])
    values = to_series(kind, pa.chunked_array([read_as(kind, chunk) for chunk in array.chunks]))
    values.index = text.index
    return values, values.notna() | (kind == "string")


def unread(text: pa.Array, values: pa.Array) -> pa.Array:
    """Which values of `text` (bool) came out as null though there was something to read."""
    return pc.and_(pc.is_valid(text), pc.is_null(values))


def _only(text: pa.Array, pattern: str) -> pa.Array:
    return pc.if_else(pc.match_substring_regex(text, rf"\A({pattern})\z"), text, pa.scalar(None, TEXT))


def _to_int(text: pa.Array) -> pa.Array:
    return pc.cast(pc.ascii_ltrim(_only(text, _INTEGER), "+"), pa.int64())


def _to_float(text: pa.Array) -> pa.Array:
    numbers = pc.cast(_only(pc.ascii_trim_whitespace(text), _FLOAT), pa.float64())
    return pc.if_else(pc.is_finite(numbers), numbers, pa.scalar(None, pa.float64()))


def _to_bool(text: pa.Array) -> pa.Array:
    return pc.equal(_only(text, "true|false"), "true")


def _to_timestamp(text: pa.Array) -> pa.Array:
    shaped = _only(text, _INSTANT)
    try:
        instants = pc.cast(shaped, _UTC)
    except pa.ArrowInvalid:  # a 30 February somewhere: one by one
        parsed = pd.to_datetime(shaped.to_pandas(), format="ISO8601", utc=True, errors="coerce")
        instants = pa.array(parsed.astype("datetime64[us, UTC]"), _UTC, from_pandas=True)
    credible = pc.and_(pc.greater_equal(instants, _FIRST), pc.less(instants, _END))
    return pc.if_else(credible, instants, pa.scalar(None, _UTC))


_READ: dict[ColumnType, Callable[[pa.Array], pa.Array]] = {
    "string": lambda text: text,
    "int64": _to_int,
    "float64": _to_float,
    "bool": _to_bool,
    "timestamp": _to_timestamp,
}
_DTYPES = {
    "string": pd.StringDtype(na_value=float("nan")),
    "int64": pd.Int64Dtype(),
    "bool": pd.BooleanDtype(),
    "timestamp": pd.DatetimeTZDtype("us", "UTC"),
}
