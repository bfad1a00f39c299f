"""Reads a drop into typed rows, strictly: what can't be read as the spec says is refused with a reason.

Of a file that is damaged as a whole (not gzip, cut short, not UTF-8, unbalanced quotes, wrong header, too big) nothing
is read: DropError. Of a good file, single lines (too few fields, a NUL byte, a value that isn't of its column's type)
are set aside and the rest is read.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ratchet.column_types import ARTICLE, TEXT, read_as, read_losslessly, to_series, unread
from ratchet.drop_lines import DropFile, Rows, unusable
from ratchet.drop_schema import SchemaChange, layout_of, listed, refuse_changes
from ratchet.drops import Drop
from ratchet.errors import SpecError
from ratchet.privacy import Pseudonyms
from ratchet.specs import ColumnType, DatasetSpec

log = logging.getLogger(__name__)

MAX_BYTES = 256 * 1024 * 1024  # of a drop, packed or unpacked; a bigger one is refused before it is decoded
LINE = "line"


@dataclass(frozen=True)
class DropRows:
    """`frame`: the columns of the spec, in its order and types, and `line` (1-based, of the file; the header is 1).
    `refused`: a row per line set aside, with `line` and `reason`. `landed`: the file's rows, as counted when it was
    split. `extra_columns`: those in the file that the spec doesn't know; they aren't read, nor kept anywhere."""

    frame: pd.DataFrame
    refused: pd.DataFrame
    extra_columns: list[str]
    landed: int
    schema_changes: list[SchemaChange]
    _parts: list[_Part] = field(repr=False)

    def row_texts(self, lines: Sequence[int]) -> list[str]:
        """The rows that start on these lines as they came: a JSON object of the spec's columns, each with the text of
        its field; of a row that doesn't fit the header, a JSON list of its fields. Personal values as pseudonyms."""
        found: dict[int, str] = {}
        for part in self._parts:
            found |= part.row_texts(np.asarray(lines, dtype="int64"))
        return [found[int(line)] for line in lines]


def read_drop(
    path: Path,
    drop: Drop,
    spec: DatasetSpec,
    max_bytes: int = MAX_BYTES,
    *,
    pseudonyms: Pseudonyms | None = None,
) -> DropRows:
    """The rows of a drop, from `path`, a copy whose sha256 has been checked. Raises DropError, naming the reason, if
    the file as a whole can't be used; SpecError if the spec has personal columns and there are no `pseudonyms`.

    int64 columns come as Int64, so that a null stays one; float64, bool (as boolean), str; timestamps as
    datetime64[us, UTC]. An empty field is null. Columns other than the spec's are read as its `schema_policy` says.
    Read in pieces, of which the texts are kept packed: 200 MB unpacked took 0.7 to 1.0 GB of memory at the peak, 1.4 GB
    where every row was bad; MAX_BYTES would by proportion take a third more.
    """
    if spec.personal and pseudonyms is None:
        raise SpecError(
            f"dataset {spec.name} has personal columns, and no key to replace their values was given",
            seen=spec.personal,
            hint="pass pseudonyms=open_pseudonyms(settings.var)",
        )
    file = DropFile(path, drop, max_bytes)
    layout = layout_of(file.header(), spec, drop)
    pseudonyms = pseudonyms if spec.personal else None
    parts = [_Part.of(rows, spec, pseudonyms) for rows in file.rows(layout.width, layout.places)]
    landed = sum(part.landed for part in parts)
    if landed != drop.rows:
        raise unusable(drop, "holds another number of rows than its manifest says", landed, drop.rows)
    if layout.extra:
        names = listed(map(repr, layout.extra))
        log.warning("%s %s: columns that the spec does not know are left out: %s", drop.dataset, drop.day, names)
    retyped = _reread_retyped(parts, spec, drop)
    for part in parts:
        part.judge(spec, pseudonyms)
    refused, frame = _refused(parts), _frame(parts, spec)
    pa.default_memory_pool().release_unused()  # the texts' memory, for numpy and GX, which have allocators of their own
    return DropRows(frame, refused, layout.extra, landed, [*layout.changes, *retyped], parts)


@dataclass
class _Part:
    """Some rows: `texts` by column as they came, packed; `values` as read; `doubtful`: the columns in which some text
    could not be read; `odd`: the rows that don't fit the header. Once judged, `good` tells which rows are published,
    and `refused` (lines, reasons) why the others aren't."""

    lines: np.ndarray
    texts: _Packed
    values: dict[str, pa.Array]
    doubtful: list[str]
    odd_lines: np.ndarray
    odd_texts: pa.Array
    refused: tuple[np.ndarray, pa.Array]
    landed: int
    good: np.ndarray | None = None

    @classmethod
    def of(cls, rows: Rows, spec: DatasetSpec, pseudonyms: Pseudonyms | None) -> _Part:
        texts = dict(rows.fields)
        for name in set(spec.personal) & set(texts):
            texts[name] = pseudonyms.of_all(name, texts[name])
        none = pa.nulls(len(rows.lines), TEXT)
        values = {name: read_as(kind, texts.get(name, none)) for name, kind in spec.columns.items()}
        doubtful = [name for name, text in texts.items() if text.null_count != values[name].null_count]
        lines = np.array([line for line, _, _ in rows.malformed], dtype="int64")
        reasons = pa.array([reason for _, reason, _ in rows.malformed], TEXT)
        odd_texts = pa.array([_odd_text(row, pseudonyms) for _, _, row in rows.malformed], TEXT)
        return cls(rows.lines, _Packed(texts), values, doubtful, lines, odd_texts, (lines, reasons), rows.landed)

    def judge(self, spec: DatasetSpec, pseudonyms: Pseudonyms | None) -> None:
        """Of a dataset with personal columns no text that can't be read is kept or quoted: fields may have slipped."""
        said: dict[int, str] = {}
        texts = self.texts.columns() if self.doubtful else {}
        for name in self.doubtful:
            bad = unread(texts[name], self.values[name])
            if not bad.true_count:
                continue
            if pseudonyms:
                texts[name] = pc.if_else(bad, pseudonyms.of_all(name, texts[name]), texts[name])
            for at, value in zip(np.flatnonzero(bad).tolist(), texts[name].filter(bad).to_pylist(), strict=True):
                reason = f"{name} is not {ARTICLE[spec.columns[name]]}: {_short(value)}"
                said[at] = f"{said[at]}; {reason}" if at in said else reason
        if pseudonyms and said:
            self.texts = _Packed(texts)
        at = np.fromiter(said, dtype="int64")
        self.good = np.ones(len(self.lines), dtype=bool)
        self.good[at] = False
        lines, reasons = self.refused
        more = pa.array(said.values(), TEXT)
        self.refused = np.concatenate([lines, self.lines[at]]), pa.concat_arrays([reasons, more])

    def row_texts(self, lines: np.ndarray) -> dict[int, str]:
        at, odd = np.flatnonzero(np.isin(self.lines, lines)), np.flatnonzero(np.isin(self.odd_lines, lines))
        found = dict(zip(self.odd_lines[odd].tolist(), self.odd_texts.take(odd).to_pylist(), strict=True))
        if len(at):
            texts = self.texts.columns()
            columns = [text.take(pa.array(at)).fill_null("").to_pylist() for text in texts.values()]
            whole = [json.dumps(dict(zip(texts, row, strict=True))) for row in zip(*columns, strict=True)]
            found |= dict(zip(self.lines[at].tolist(), whole, strict=True))
        return found


class _Packed:
    """Text columns that few will ask for, in about a seventh of their size."""

    def __init__(self, columns: dict[str, pa.Array]) -> None:
        batch, to = pa.record_batch(columns), pa.BufferOutputStream()
        packing = pa.ipc.IpcWriteOptions(compression=pa.Codec("zstd", compression_level=1))
        with pa.ipc.new_stream(to, batch.schema, options=packing) as stream:
            stream.write_batch(batch)
        self._packed = to.getvalue()

    def columns(self) -> dict[str, pa.Array]:
        with pa.ipc.open_stream(self._packed) as stream:
            batch = stream.read_next_batch()
        return dict(zip(batch.schema.names, batch.columns, strict=True))


def _odd_text(row: list[str], pseudonyms: Pseudonyms | None) -> str:
    """Which of its fields is the personal one can't be told: of such a dataset only a keyed digest of it is kept."""
    if pseudonyms is None:
        return json.dumps(row)
    return json.dumps({"fields": len(row), "hmac_sha256": pseudonyms.of("a row as a whole", json.dumps(row))})


def _reread_retyped(parts: list[_Part], spec: DatasetSpec, drop: Drop) -> list[SchemaChange]:
    """Finds columns of which no value can be read as the spec's type, but all as another; raises DropError if the
    policy refuses them, and otherwise reads what can be read without loss."""
    changes, policy = [], spec.schema_policy.retyped
    for name in sorted({name for part in parts for name in part.doubtful}, key=list(spec.columns).index):
        kind = spec.columns[name]
        if any(len(part.lines) > part.values[name].null_count for part in parts):
            continue  # some can be read
        texts = [part.texts.columns()[name] for part in parts]
        other = _other_type(kind, [text.drop_null() for text in texts])
        if other is not None:
            changes.append(SchemaChange("retyped", name, policy, f"{other} in the file, {kind} in the spec"))
            for part, text in zip(parts, texts, strict=True):
                part.values[name] = read_losslessly(kind, text)
    refuse_changes(changes, drop)
    return changes


def _other_type(kind: ColumnType, given: list[pa.Array]) -> ColumnType | None:
    others = (other for other in ("int64", "float64", "bool", "timestamp") if other != kind)
    return next((one for one in others if not any(read_as(one, text).null_count for text in given)), None)


def _refused(parts: list[_Part]) -> pd.DataFrame:
    lines = np.concatenate([np.empty(0, "int64"), *(part.refused[0] for part in parts)])
    reasons = to_series("string", pa.chunked_array([part.refused[1] for part in parts], TEXT))
    return pd.DataFrame({LINE: lines, "reason": reasons}).sort_values(LINE, ignore_index=True)


def _frame(parts: list[_Part], spec: DatasetSpec) -> pd.DataFrame:
    columns = {LINE: np.concatenate([np.empty(0, "int64"), *(part.lines[part.good] for part in parts)])}
    for name, kind in spec.columns.items():
        # Each is let go of once it is copied: all columns at once would take twice the memory.
        values = [_only_good(part.values.pop(name), part.good) for part in parts]
        whole = pa.chunked_array(values, read_as(kind, pa.array([], TEXT)).type)
        del values
        columns[name] = to_series(kind, whole)
        del whole
    return pd.DataFrame(columns, copy=False)


def _only_good(values: pa.Array, good: np.ndarray) -> pa.Array:
    return values if good.all() else values.filter(pa.array(good))


def _short(value: str, length: int = 60) -> str:
    return repr(value if len(value) <= length else f"{value[:length]}…")
