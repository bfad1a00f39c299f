"""Whose rows are to be erased, and where they are: in a drop's text, among published rows, among those set aside.

Pure: files and frames in, lines and masks out. What happens to them: ratchet.erase_drops, ratchet.erase_tables.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ratchet.column_types import TEXT, read_losslessly
from ratchet.drop_lines import DropFile, Rows
from ratchet.drops import Drop
from ratchet.errors import ParameterError, UnknownNameError
from ratchet.read_drop import MAX_BYTES

if TYPE_CHECKING:
    from ratchet.privacy import Pseudonyms
    from ratchet.specs import DatasetSpec

_REST = 0  # a cut without an end goes on to the end of the file


class Person:
    """Somebody's rows: those in which each of some columns holds a value.

    `key`: the values by column, as they were delivered. A value is met as it is, as its pseudonym, or, in a column that
    isn't text, in another spelling of the same (`1545.0`). Of a row whose fields can't be told apart any field counts.
    `digests`: what may be put on record of `key`.

    Raises UnknownNameError for a column that the dataset doesn't have, ParameterError for an empty value or no column.
    """

    def __init__(self, spec: DatasetSpec, key: Mapping[str, str], pseudonyms: Pseudonyms) -> None:
        _check_key(spec, key)
        self.spec, self.key, self._pseudonyms = spec, dict(key), pseudonyms
        self.digests = {name: pseudonyms.of(f"erased {name}", value) for name, value in key.items()}
        self.seen_as = {name: [value, pseudonyms.of(name, value)] for name, value in key.items()}

    def among_texts(self, texts: Mapping[str, pa.Array]) -> np.ndarray:
        """Which rows (bool) are the person's, of text columns (large_string) that hold all columns of `key`."""
        return np.logical_and.reduce([self._is_text(name, texts[name]) for name in self.key])

    def among_published(self, rows: pa.Table) -> np.ndarray:
        """The same of published rows; none where a column of `key` is missing."""
        if set(self.key) - set(rows.column_names):
            return np.zeros(len(rows), dtype=bool)
        return np.logical_and.reduce([self._is_value(name, rows[name]) for name in self.key])

    def among_set_aside(self, rows: Sequence[str | None], odd_rows: Collection[str]) -> np.ndarray:
        """The same of quarantine's `row` (see DropRows.row_texts); `odd_rows`: digests of rows as a whole."""
        parsed = [_parsed(row) for row in rows]
        texts = {name: pa.array([_field(row, name) for row in parsed], TEXT) for name in self.key}
        odd = [self.is_odd(row) if isinstance(row, list) else _digest_in(row) in odd_rows for row in parsed]
        return self.among_texts(texts) | np.array(odd, dtype=bool)

    def is_odd(self, fields: Collection[str]) -> bool:
        """Whether a row that doesn't fit its header may be the person's."""
        return set(self.key.values()) <= set(fields)

    def odd_digest(self, fields: list[str]) -> str:
        """What quarantine of a dataset with personal columns keeps of such a row."""
        return self._pseudonyms.of("a row as a whole", json.dumps(fields))

    def mentioned(self, expectations: Iterable[str], seen: Iterable[str | None]) -> np.ndarray:
        """In which rows of the quality history a value that tells the person stands as a word: alone, or personal."""
        telling = [name for name in self.key if len(self.key) == 1 or name in self.spec.personal]
        return np.array(
            [
                any(
                    _has_word(str(text), word)
                    for name in telling
                    if _has_word(about, name)
                    for word in self.seen_as[name]
                )
                for about, text in zip(expectations, seen, strict=True)
            ],
            dtype=bool,
        )

    def _is_text(self, name: str, texts: pa.Array) -> np.ndarray:
        found = pc.is_in(texts, pa.array(self.seen_as[name], texts.type))
        if (kind := self.spec.columns[name]) != "string":
            (wanted,) = read_losslessly(kind, pa.array([self.key[name]], TEXT))
            found = pc.or_kleene(found, pc.equal(read_losslessly(kind, texts), wanted))
        return found.fill_null(False).to_numpy(zero_copy_only=False)

    def _is_value(self, name: str, values: pa.ChunkedArray) -> np.ndarray:
        if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
            return self._is_text(name, values.cast(TEXT).combine_chunks())
        (wanted,) = read_losslessly(self.spec.columns[name], pa.array([self.key[name]], TEXT))
        return pc.equal(values, wanted).fill_null(False).to_numpy()


@dataclass
class Lines:
    """Where a file holds a person's rows: `cuts`, in order, each from a line (1-based) up to before another (_REST: the
    end); `odd`: digests of those that don't fit the header."""

    cuts: list[tuple[int, int]] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)

    def add(self, starts: np.ndarray, found: np.ndarray) -> None:
        """Takes in the next rows of the file: the lines that they start on, in order, and which are the person's."""
        if len(starts) and self.cuts and self.cuts[-1][1] == _REST:
            self.cuts[-1] = (self.cuts[-1][0], int(starts[0]))
        ends = [*starts[1:].tolist(), _REST]
        self.cuts += [(int(starts[at]), ends[at]) for at in np.flatnonzero(found)]


def find_rows(path: Path, drop: Drop, person: Person) -> Lines:
    """The person's rows in a drop's file, a few megabytes at a time. Raises DropError for a file that isn't one."""
    file, lines = DropFile(path, drop, MAX_BYTES), Lines()
    header = file.header()
    places = _places(header, person)
    wanted = places or {str(place): place for place in range(len(header))}
    for rows in file.rows(len(header), wanted):
        whole = person.among_texts(rows.fields) if places else _odd_ones(rows, person)
        odd = np.array([person.is_odd(fields) for _, _, fields in rows.malformed], dtype=bool)
        lines.odd += [person.odd_digest(row[2]) for row, found in zip(rows.malformed, odd, strict=True) if found]
        starts = np.concatenate([rows.lines, [line for line, _, _ in rows.malformed]]).astype("int64")
        order = np.argsort(starts, kind="stable")
        lines.add(starts[order], np.concatenate([whole, odd])[order])
    return lines


def write_without(path: Path, to: Path, lines: Lines) -> None:
    """Copies a drop's file without some rows; what stays is byte by byte what it was. The same rows again give the same
    file."""
    cuts = iter([*lines.cuts, (float("inf"), _REST)])
    start, end = next(cuts)
    with (
        gzip.open(path, "rt", encoding="utf-8", newline="") as source,
        open(to, "wb") as raw,
        gzip.GzipFile("", "wb", 6, raw, mtime=0) as packed,
    ):
        for number, line in enumerate(source, 1):
            while end != _REST and number >= end:
                start, end = next(cuts)
            if number < start:
                packed.write(line.encode())


def _places(header: Sequence[str], person: Person) -> dict[str, int] | None:
    """Where the columns of the key are; None if that can't be told."""
    known = [person.spec.renames.get(name, name) for name in header]
    if any(known.count(name) != 1 for name in person.key):
        return None
    return {name: known.index(name) for name in person.key}


def _odd_ones(rows: Rows, person: Person) -> np.ndarray:
    columns = [column.to_pylist() for column in rows.fields.values()]
    return np.array([person.is_odd(fields) for fields in zip(*columns, strict=True)], dtype=bool)


def _check_key(spec: DatasetSpec, key: Mapping[str, str]) -> None:
    if not key:
        raise ParameterError("nobody is named", expected="a column and its value", hint="--key <column>=<value>")
    for name, value in key.items():
        if name not in spec.columns:
            raise UnknownNameError(
                f"{spec.name} has no column {name!r}", expected=sorted(spec.columns), hint="name a column of its spec"
            )
        if not value.strip():
            raise ParameterError(f"no value for {name}", hint="give it as it was delivered; an empty one is nobody's")


def _parsed(row: str | None) -> dict | list:
    """What quarantine keeps of a row; {} for one without a text, or with one that isn't ours."""
    try:
        parsed = json.loads(row) if isinstance(row, str) else {}
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict | list) else {}


def _field(row: dict | list, name: str) -> str | None:
    value = row.get(name) if isinstance(row, dict) else None
    return value if isinstance(value, str) else None


def _digest_in(row: dict) -> str | None:
    return row["hmac_sha256"] if set(row) == {"fields", "hmac_sha256"} else None


def _has_word(text: str, word: str) -> bool:
    at = text.find(word)
    while at >= 0:
        around = text[max(at - 1, 0) : at] + text[at + len(word) : at + len(word) + 1]
        if not any(sign.isalnum() for sign in around):
            return True
        at = text.find(word, at + 1)
    return False
