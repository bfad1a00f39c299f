"""The rows of a drop's file, as text, a few megabytes at a time: unpack, decode, split into fields.

RFC 4180, strictly, as Python's `csv` reads it. A stretch without NUL bytes, empty lines, lone carriage returns, and
quotes or line ends within fields, is split by pyarrow instead, which gives the same fields several times as fast.
Whatever is wrong with a file as a whole is a DropError, raised when that place is reached.
"""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from ratchet.drops import Drop
from ratchet.errors import DropError

PIECE = 4 * 1024 * 1024  # bytes unpacked at a time
MAX_ROW = 16 * 1024 * 1024  # bytes of one row; without it one row could hold the whole file as Python strings
TEXT = pa.large_string()
_BOM = b"\xef\xbb\xbf"
_LINE_FEED, _COMMA, _QUOTE = b'\n,"'


@dataclass(frozen=True)
class Rows:
    """Some rows of a file. `lines` (int64, 1-based) are those that `fields`, a text column per name asked for with
    null for an empty field, start on. `malformed`: (line, reason, fields) of rows that don't fit the header."""

    lines: np.ndarray
    fields: dict[str, pa.Array]
    malformed: list[tuple[int, str, list[str]]]

    @property
    def landed(self) -> int:
        return len(self.lines) + len(self.malformed)


@dataclass(frozen=True)
class _Piece:
    """Whole lines of a file, the first of them line `first`."""

    first: int
    data: bytes

    @property
    def lines(self) -> int:
        return _line_ends(self.data) + (not self.data.endswith((b"\n", b"\r")))

    def text(self) -> io.StringIO:
        """Gives line by line; a list of its lines could take forty times the memory."""
        return io.StringIO(self.data.decode(), newline="")


class DropFile:
    """A drop's file, read once from start to end: `header`, then `rows`."""

    def __init__(self, path: Path, drop: Drop, max_bytes: int) -> None:
        self._drop = drop
        self._pieces = _pieces(path, drop, max_bytes)
        self._loaded = self._done = 0  # the last line handed to csv; the rows that csv has made of them
        self._has_nul = False
        self._rest: _Piece | None = None

    def header(self) -> list[str]:
        """The first row. Raises DropError if there is none."""
        for piece in self._pieces:
            text = piece.text()
            reader = csv.reader(text, strict=True)
            for row in self._checked(reader, piece.first - 1):
                if row:
                    self._rest = _Piece(piece.first + reader.line_num, text.read().encode())
                    return row
        raise unusable(self._drop, "is empty", "no header", "a header and rows")

    def rows(self, width: int, wanted: dict[str, int]) -> Iterator[Rows]:
        """The rows after a header of `width` fields; of each the `wanted` fields (their places by name)."""
        pieces = self._after_header()
        for piece in pieces:
            plain = _split_plain(piece, width, wanted)
            if plain is not None:
                yield plain
            else:
                for lines, rows in self._csv_rows(piece, pieces):
                    yield _fields(lines, rows, width, wanted, self._has_nul)

    def _after_header(self) -> Iterator[_Piece]:
        if self._rest and self._rest.data:
            yield self._rest
        yield from self._pieces

    def _csv_rows(self, piece: _Piece, pieces: Iterator[_Piece]) -> Iterator[tuple[list[int], list[list[str]]]]:
        """Rows without the empty ones, and the lines that they start on, until a row ends where a piece does."""
        before, self._loaded = piece.first - 1, 0
        rows: list[list[str]] = []
        reader = csv.reader(self._lines_for_csv(piece, pieces), strict=True)
        starts, start, stop = [], 1, 0
        for row in self._checked(reader, before):
            stop = stop or self._loaded
            self._done += 1
            if row:
                rows.append(row)
                starts.append(before + start)
            start = reader.line_num + 1
            if start > stop:
                yield starts, rows
                if start > self._loaded:
                    return
                starts, rows, stop = [], [], self._loaded

    def _lines_for_csv(self, piece: _Piece, pieces: Iterator[_Piece]) -> Iterator[str]:
        """The lines of `piece`, and of those after it as long as a row goes on."""
        done, length = -1, 0
        while piece:
            self._loaded += piece.lines
            self._has_nul |= b"\0" in piece.data
            yield from piece.text()
            length = length + len(piece.data) if self._done == done else 0
            done = self._done
            if length > MAX_ROW:
                raise _row_too_long(self._drop, piece.first)
            piece = next(pieces, None)

    def _checked(self, reader: Iterator[list[str]], before: int) -> Iterator[list[str]]:
        try:
            yield from reader
        except csv.Error as error:
            seen = f"{error} at line {before + reader.line_num}"
            raise unusable(self._drop, "isn't CSV", seen, "RFC 4180, fields up to 128 KiB") from error


def unusable(drop: Drop, reason: str, seen: object, expected: object, hint: str | None = None) -> DropError:
    """The error that refuses a drop as a whole."""
    return DropError(
        f"the drop of {drop.dataset} for {drop.day} {reason}",
        seen=seen,
        expected=expected,
        where=drop.address,
        hint=hint or "have the sender deliver it again; nothing of it was published",
    )


def _pieces(path: Path, drop: Drop, max_bytes: int) -> Iterator[_Piece]:
    """The file's text in UTF-8, cut where lines end."""
    first, rest = 1, b""
    for data in _unpacked(path, drop, max_bytes):
        data = rest + data
        end = _last_line_end(data)
        rest = data[end:]
        if end:
            piece = _Piece(first, data[:end])
            _check_text(piece, drop)
            yield piece
            first += piece.lines
        if len(rest) > MAX_ROW:
            raise _row_too_long(drop, first)
    if rest:
        piece = _Piece(first, rest)
        _check_text(piece, drop)
        yield piece


def _unpacked(path: Path, drop: Drop, max_bytes: int) -> Iterator[bytes]:
    size, mark = 0, _BOM
    try:
        packed = Path(path).stat().st_size
        if packed > max_bytes:
            raise unusable(drop, "is too big", f"{packed} bytes", f"{max_bytes} at most")
        with gzip.open(path) as file:
            while data := file.read(min(PIECE, max_bytes + 1 - size)):
                size += len(data)
                if size > max_bytes:
                    raise unusable(drop, "is too big unpacked", f"more than {max_bytes} bytes", f"{max_bytes} at most")
                yield data.removeprefix(mark)
                mark = b""
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise unusable(drop, "isn't a whole gzip file", error, "gzip") from error
    except OSError as error:
        raise unusable(drop, "can't be read", error, "a readable file") from error


def _last_line_end(data: bytes) -> int:
    """Where the last whole line ends. A carriage return at the very end may be half of a line end: it waits."""
    return max(data.rfind(b"\n"), data.rfind(b"\r", 0, len(data) - 1)) + 1


def _check_text(piece: _Piece, drop: Drop) -> None:
    data = piece.data
    try:
        data.decode()
    except UnicodeDecodeError as error:
        line = piece.first + _line_ends(data[: error.start])
        raise unusable(drop, "isn't UTF-8", f"byte {data[error.start]:#x} in line {line}", "UTF-8") from None


def _line_ends(data: bytes) -> int:
    returns = data.count(b"\r")
    return data.count(b"\n") + (returns - data.count(b"\r\n") if returns else 0)


def _row_too_long(drop: Drop, line: int) -> DropError:
    return unusable(drop, "isn't CSV", f"a row that goes on at line {line}", f"rows of {MAX_ROW} bytes at most")


def _split_plain(piece: _Piece, width: int, wanted: dict[str, int]) -> Rows | None:
    """The rows of a piece in which every line is a row of `width` fields, quoted at most as a whole; None if not."""
    data = piece.data
    if (returns := data.count(b"\r")) and returns == data.count(b"\r\n"):
        data = data.replace(b"\r\n", b"\n")
    if data.startswith(b"\n") or any(mark in data for mark in (b"\r", b"\0", b"\n\n")):
        return None
    signs = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(signs == _LINE_FEED)
    if np.diff(ends, prepend=-1, append=len(data)).max() > csv.field_size_limit() or not _is_quoted_plainly(
        signs, ends
    ):
        return None
    names = [str(place) for place in range(width)]
    asked = [names[place] for place in wanted.values()]
    try:
        table = pyarrow.csv.read_csv(
            pa.BufferReader(data),
            pyarrow.csv.ReadOptions(use_threads=False, block_size=len(data) + 1, column_names=names),
            pyarrow.csv.ParseOptions(double_quote=False, escape_char=False, ignore_empty_lines=False),
            pyarrow.csv.ConvertOptions(
                check_utf8=False,
                include_columns=asked,
                column_types=dict.fromkeys(asked, TEXT),
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=True,
            ),
        )
    except pa.ArrowInvalid:  # a line with more or fewer fields
        return None
    lines = np.arange(piece.first, piece.first + len(table))
    return Rows(lines, {name: _one(table[names[place]]) for name, place in wanted.items()}, [])


def _is_quoted_plainly(signs: np.ndarray, ends: np.ndarray) -> bool:
    """Whether quotes stand by turns where a field begins and where it ends, with no line end in between."""
    quotes = np.flatnonzero(signs == _QUOTE)
    around = np.pad(signs, 1, constant_values=_LINE_FEED)
    begins = np.isin(around[quotes], (_COMMA, _LINE_FEED))
    stops = np.isin(around[quotes + 2], (_COMMA, _LINE_FEED))
    by_turns = np.array_equal(begins, np.arange(len(quotes)) % 2 == 0) and np.array_equal(stops, ~begins)
    return by_turns and not len(quotes) % 2 and not np.any(np.searchsorted(quotes, ends) % 2)


def _one(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _fields(starts: list[int], rows: list[list[str]], width: int, wanted: dict[str, int], has_nul: bool) -> Rows:
    """Rows of another width, or with a NUL byte, are set aside."""
    malformed = []
    if has_nul or set(map(len, rows)) != {width}:
        found = [(line, row, _problem(row, width)) for line, row in zip(starts, rows, strict=True)]
        malformed = [(line, problem, row) for line, row, problem in found if problem]
        starts = [line for line, _, problem in found if not problem]
        rows = [row for _, row, problem in found if not problem]
    columns = list(zip(*rows, strict=True)) or [()] * width
    fields = {name: _text(columns[place]) for name, place in wanted.items()}
    return Rows(np.array(starts, dtype="int64"), fields, malformed)


def _problem(row: list[str], width: int) -> str:
    if len(row) != width:
        return f"{len(row)} fields where the header has {width}"
    return "a NUL byte" if any("\0" in value for value in row) else ""


def _text(values: Sequence[str]) -> pa.Array:
    array = pa.array(values, TEXT)
    return pc.if_else(pc.equal(array, ""), pa.scalar(None, TEXT), array)
