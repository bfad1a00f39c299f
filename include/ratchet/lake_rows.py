"""Rows as pandas has them, and as a table of the lake does."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import pyarrow as pa

from ratchet.errors import ParameterError

DAY = "day"
# Whole numbers and truth values keep their type with and without nulls, whichever days are read.
_NULLABLE = {pa.int64(): pd.Int64Dtype(), pa.int32(): pd.Int32Dtype(), pa.bool_(): pd.BooleanDtype()}


def to_frame(rows: pa.Table) -> pd.DataFrame:
    return rows.to_pandas(types_mapper=_NULLABLE.get)


def to_arrow(frames: Mapping[str, pd.DataFrame]) -> pa.Table | None:
    """The rows of all days with `day`, None if there are none. Strings are plain, instants microseconds; text columns
    without a value stay text, categories of text stay coded. Each column is in one piece: deltalake would write several
    in any order."""
    filled = {day: frame for day, frame in frames.items() if len(frame)}
    if not filled:
        return None
    frame = next(iter(filled.values())) if len(filled) == 1 else pd.concat(filled.values(), ignore_index=True)
    at = frame.columns.get_loc(DAY) if DAY in frame else len(frame.columns)
    table = pa.Table.from_pandas(frame.drop(columns=DAY, errors="ignore"), preserve_index=False)
    fields = [pa.field(field.name, _plain_type(field.type)) for field in table.schema]
    days = pa.chunked_array([pa.repeat(pa.scalar(day, pa.string()), len(rows)) for day, rows in filled.items()])
    return table.cast(pa.schema(fields)).replace_schema_metadata(None).add_column(at, DAY, days).combine_chunks()


def fit(rows: pa.Table, known: pa.Schema) -> tuple[pa.Table, bool]:
    """`rows` with a table's columns, order and types, new columns last; and whether there are new ones. Raises
    ParameterError for a column that can't be cast without loss."""
    added = [field for field in rows.schema if field.name not in known.names]
    columns = [_fitted(rows, field.name, _plain_type(field.type)) for field in known]
    columns += [rows[field.name] for field in added]
    return pa.table(columns, names=[*known.names, *(field.name for field in added)]), bool(added)


def decoded(rows: pa.Table) -> pa.Table:
    """With plain strings in place of coded ones."""
    fields = [pa.field(field.name, _decoded_type(field.type)) for field in rows.schema]
    return rows.cast(pa.schema(fields))


def _plain_type(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_dictionary(kind):
        text = _plain_type(kind.value_type)
        return pa.dictionary(pa.int32(), text) if pa.types.is_string(text) else text
    if pa.types.is_timestamp(kind):
        return pa.timestamp("us", tz="UTC" if kind.tz else None)
    return pa.string() if pa.types.is_large_string(kind) or pa.types.is_null(kind) else kind


def _decoded_type(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _fitted(rows: pa.Table, name: str, kind: pa.DataType) -> pa.Array | pa.ChunkedArray:
    if name not in rows.column_names:
        return pa.nulls(len(rows), kind)
    column = rows[name]
    if _decoded_type(column.type) == kind:
        return column
    try:
        if not _is_lossless(column.type, kind):
            raise pa.ArrowInvalid("another kind of value")
        return column.cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ParameterError(
            f"column {name!r} does not fit the table",
            seen=f"{column.type} ({error})",
            expected=str(kind),
            hint="publish the type that the table has, or give the column a new name",
        ) from error


def _is_lossless(given: pa.DataType, kind: pa.DataType) -> bool:
    """Whether a cast keeps values what they are; the cast itself refuses numbers that don't fit."""
    numbers = (pa.types.is_integer, pa.types.is_floating)
    return (
        given == kind
        or pa.types.is_null(given)
        or any(is_a(given) and is_a(kind) for is_a in (*numbers, pa.types.is_timestamp, pa.types.is_string))
        or (pa.types.is_integer(given) and pa.types.is_floating(kind))
    )
