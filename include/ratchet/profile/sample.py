"""The sample: the first rows of a file or drop as text, with a header whose names a spec can use."""

from __future__ import annotations

import csv
import gzip
import io
import re
import unicodedata
import zlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from ratchet.drops import Drop, DropStore
from ratchet.errors import DropError, ParameterError
from ratchet.profile.texts import quoted
from ratchet.read_drop import MAX_BYTES as MAX_DROP_BYTES
from ratchet.specs import RESERVED_COLUMNS

_MADE = {"hours_to_delivery", "delivered_after_hours"}  # by ratchet.checked_days, for suites
_MAGIC = {b"PAR1": "Parquet", b"PK": "a zip or Excel file", b"SQLite": "SQLite", b"\xff\xfe": "UTF-16"}


@dataclass(frozen=True)
class Sample:
    """What was read. `text`: the columns as strings, null where empty. `rows_in_all`: None where not known. `odd`:
    lines left out, since they don't fit the header. `drop`: None of a plain file; `made_on`: the file's date, UTC."""

    source: str
    text: pd.DataFrame = field(repr=False)
    whole: bool
    rows_in_all: int | None
    odd: int
    drop: Drop | None
    made_on: str


def read_source(source: str, drops: DropStore, max_rows: int, max_bytes: int) -> Sample:
    path = Path(source)
    if path.is_file():
        made_on = datetime.fromtimestamp(path.stat().st_mtime, UTC).date().isoformat()
        return _read_sample(source, path, None, made_on, max_rows, max_bytes)
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,40}/\d{4}-\d\d-\d\d", source):
        hint = "name a CSV file, or a drop in the landing zone such as flights/2013-01-01"
        raise ParameterError("nothing to profile", seen=repr(source), expected="a file or <dataset>/<day>", hint=hint)
    drop = drops.announced(*source.split("/"))
    with drops.fetched(drop, MAX_DROP_BYTES) as fetched:
        return _read_sample(source, fetched, drop, drop.day, max_rows, max_bytes)


def _read_sample(source: str, path: Path, drop: Drop | None, made_on: str, max_rows: int, max_bytes: int) -> Sample:
    plain, whole = _read_bytes(source, path, max_bytes)
    lines, whole = _parse(source, _decode(source, plain), whole, max_rows)
    header, rows = lines[0], lines[1:]
    _check_header(source, header)
    fitting = [row for row in rows if len(row) == len(header) and not any("\0" in value for value in row)]
    if not fitting:
        seen = f"{len(rows)} lines below it, none with {len(header)} fields" if rows else "nothing below it"
        raise _unfit(source, "holds a header and no rows", seen, "take a sample with data in it")
    text = pd.DataFrame(fitting, columns=header, dtype="str")
    rows_in_all = len(rows) if whole else drop.rows if drop else None
    return Sample(source, text.mask(text == ""), whole, rows_in_all, len(rows) - len(fitting), drop, made_on)


def _read_bytes(source: str, path: Path, limit: int) -> tuple[bytes, bool]:
    """The first whole lines of it, unpacked, and whether that is all."""
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            with gzip.GzipFile(fileobj=raw) if packed else raw as file:
                plain = file.read(limit + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise _unfit(source, "can't be read", error, "take a whole file, plain or gzipped") from error
    if len(plain) <= limit:
        return plain, True
    if end := plain.rfind(b"\n", 0, limit) + 1:
        return plain[:end], False
    raise _unfit(source, "has no end of line", f"none in {limit} bytes", "write it as CSV, or raise --max-bytes")


def _decode(source: str, plain: bytes) -> str:
    if not plain.strip():
        raise _unfit(source, "is empty", "no line", "take a sample with a header and rows")
    kind = next((kind for magic, kind in _MAGIC.items() if plain.startswith(magic)), None)
    try:
        if kind:
            raise _unfit(source, "isn't CSV", kind, "write it as CSV in UTF-8, with a header")
        return plain.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        seen = f"byte {plain[error.start]:#x} in line {plain.count(bytes([10]), 0, error.start) + 1}"
        raise _unfit(source, "isn't UTF-8 text", seen, "write it as CSV in UTF-8, with a header") from error


def _parse(source: str, text: str, whole: bool, max_rows: int) -> tuple[list[list[str]], bool]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    lines: list[list[str]] = []
    try:
        for line in filter(None, reader):
            if len(lines) > max_rows:
                return lines, False
            lines.append(line)
    except csv.Error as error:
        if whole or not lines or "unexpected end" not in str(error):  # the limit may have cut a quoted field
            seen = f"{error} at line {reader.line_num}"
            raise _unfit(source, "isn't CSV", seen, "quote fields as RFC 4180 says, 128 KiB at most each") from error
    return lines, whole


def _check_header(source: str, header: list[str]) -> None:
    if any("\0" in name for name in header):
        raise _unfit(source, "isn't text", "NUL bytes in the first line", "write it as CSV in UTF-8, with a header")
    if len(header) == 1 and (other := next((sign for sign in ";\t|" if sign in header[0]), None)):
        raise _unfit(source, "isn't separated by commas", repr(other), "write it with commas between the fields")
    folded = [name.casefold() for name in header]
    if doubled := sorted({name for name in header if folded.count(name.casefold()) > 1}):
        said = ", ".join(map(quoted, doubled[:10]))
        raise _unfit(source, "has columns of the same name", said, "have the sender give each its own name")
    if weird := [name for name in header if not _usable(name)]:
        raise rename(source, weird, header)


def _usable(name: str) -> bool:
    return name.isidentifier() and len(name) <= 60 and name not in RESERVED_COLUMNS | _MADE


def rename(source: str, weird: list[str], header: list[str]) -> DropError:
    taken, pairs = {name.casefold() for name in header}, []
    for name in weird[:20]:
        plain = tame(name, f"column_{header.index(name) + 1}")
        free = (f"{plain}{end}" for end in ("", "_of_sender", *(f"_{n}" for n in range(2, 10_000))))
        new = next(one for one in free if _usable(one) and one not in taken)
        taken.add(new)
        pairs.append(f"{quoted(name)} to {new}")
    more = f", and {len(weird) - 20} more" if len(weird) > 20 else ""
    hint = f"have the sender rename {', '.join(pairs)}{more}"
    return _unfit(source, "has columns whose names can't be used", f"{len(weird)} of {len(header)}", hint)


def tame(name: str, otherwise: str) -> str:
    """A name in small letters, digits and _, a letter first."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    words = re.sub(r"[^a-z0-9]+", "_", plain).strip("_")[:40].rstrip("_")
    return words if re.match("[a-z]", words) else f"c_{words}" if words else otherwise


def stem(source: str) -> str:
    return re.sub(r"(\.csv)?(\.gz)?$", "", Path(source).name, flags=re.IGNORECASE)


def _unfit(source: str, reason: str, seen: object, hint: str) -> DropError:
    return DropError(f"the sample {reason}", seen=seen, expected="CSV with a header and rows", where=source, hint=hint)
