"""Reading a drop: types, what refuses a line, what refuses the file."""

import gzip
import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ratchet import drop_lines
from ratchet.drops import Drop
from ratchet.errors import DropError
from ratchet.read_drop import read_drop
from ratchet.specs import DatasetSpec

INSTANT = "an ISO-8601 instant with offset, from 1900 to 2199"
SPEC = DatasetSpec(
    name="things",
    description="things",
    owner="us",
    time_zone="America/New_York",
    starts="2013-01-01",
    key=["id"],
    columns={"id": "int64", "name": "string", "weight": "float64", "seen_at": "timestamp", "good": "bool"},
)
HEADER = "id,name,weight,seen_at,good\n"
GOOD = "1,a,1.5,2013-01-01T10:00:00Z,true\n"


def drop_of(folder, text, rows=None, packed=None):
    data = packed if packed is not None else gzip.compress(text.encode() if isinstance(text, str) else text, mtime=0)
    path = folder / "things.csv.gz"
    path.write_bytes(data)
    if rows is None:
        rows = max(0, len(text.splitlines()) - 1) if text is not None else 0
    at, sha256 = datetime(2013, 1, 2, tzinfo=UTC), hashlib.sha256(data).hexdigest()
    return Drop("things", "2013-01-01", "things/2013-01-01/things.csv.gz", str(path), sha256, at, "us", rows, len(data))


def read(drop, spec=SPEC, **more):
    return read_drop(Path(drop.address), drop, spec, **more)


def texts(found):
    return found.row_texts(found.refused["line"])


def test_types_nulls_and_lines(tmp_path):
    text = HEADER + GOOD + "-2,,,2013-01-01T05:00:00.25-05:00,false\n" + "\n" + ",b,1e3,,\n"
    found = read(drop_of(tmp_path, text, rows=3))
    assert found.refused.empty and found.extra_columns == []
    frame = found.frame
    assert [str(kind) for kind in frame.dtypes] == [
        "int64",
        "Int64",
        "str",
        "float64",
        "datetime64[us, UTC]",
        "boolean",
    ]
    assert frame["line"].tolist() == [2, 3, 5]
    assert frame["id"].isna().tolist() == [False, False, True] and frame["id"][1] == -2
    assert frame["name"].isna().tolist() == [False, True, False]
    assert frame["weight"].tolist()[::2] == [1.5, 1000]
    assert frame["seen_at"][1] == pd.Timestamp("2013-01-01T10:00:00.25Z")
    assert frame["good"].tolist()[:2] == [True, False]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("abc,a,1,2013-01-01T10:00:00Z,true", "id is not an int64: 'abc'"),
        ("1.0,a,1,2013-01-01T10:00:00Z,true", "id is not an int64: '1.0'"),
        ("9999999999999999999999,a,1,2013-01-01T10:00:00Z,true", "id is not an int64: '9999999999999999999999'"),
        ("1,a,heavy,2013-01-01T10:00:00Z,true", "weight is not a finite float64: 'heavy'"),
        ("1,a,inf,2013-01-01T10:00:00Z,true", "weight is not a finite float64: 'inf'"),
        ("1,a,nan,2013-01-01T10:00:00Z,true", "weight is not a finite float64: 'nan'"),
        ("1,a,1,2013-01-01T10:00:00,true", f"seen_at is not {INSTANT}: '2013-01-01T10:00:00'"),
        ("1,a,1,2013-02-30T10:00:00Z,true", f"seen_at is not {INSTANT}: '2013-02-30T10:00:00Z'"),
        ("1,a,1,0001-01-01T00:00:00Z,true", f"seen_at is not {INSTANT}: '0001-01-01T00:00:00Z'"),
        ("1,a,1,9999-12-31T23:59:59-12:00,true", f"seen_at is not {INSTANT}: '9999-12-31T23:59:59-12:00'"),
        ("1,a,1,2013-01-01T10:00:00Z,yes", "good is not true or false: 'yes'"),
        ("1,a,1,2013-01-01T10:00:00Z", "4 fields where the header has 5"),
        ("1,a,1,2013-01-01T10:00:00Z,true,6", "6 fields where the header has 5"),
        ("1,a\0b,1,2013-01-01T10:00:00Z,true", "a NUL byte"),
        ("x,a,y,2013-01-01T10:00:00Z,true", "id is not an int64: 'x'; weight is not a finite float64: 'y'"),
    ],
)
def test_d2_a_line_that_cannot_be_read_is_set_aside_with_its_reason(tmp_path, line, reason):
    found = read(drop_of(tmp_path, HEADER + GOOD + line + "\n" + GOOD))
    assert found.frame["line"].tolist() == [2, 4]
    assert found.refused[["line", "reason"]].values.tolist() == [[3, reason]]
    row = json.loads(texts(found)[0])
    assert (list(row.values()) if isinstance(row, dict) else row) == line.split(",")


def test_a_quoted_field_may_hold_lines_and_commas(tmp_path):
    text = HEADER + '1,"a,\n""b""",1,2013-01-01T10:00:00Z,true\nx,b,1,2013-01-01T10:00:00Z,true\n'
    found = read(drop_of(tmp_path, text, rows=2))
    assert found.frame["name"].tolist() == ['a,\n"b"']
    assert found.refused["line"].tolist() == [4]


def test_d6_an_added_column_is_left_out_and_named(tmp_path):
    found = read(drop_of(tmp_path, "more," + HEADER + "9," + GOOD))
    assert found.extra_columns == ["more"]
    assert list(found.frame.columns) == ["line", *SPEC.columns]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is empty"),
        ("id,name,weight,seen_at\n1,a,1,2013-01-01T10:00:00Z\n", "has other columns than the spec"),
        ("id,id,name,weight,seen_at,good\n1," + GOOD, "has other columns than the spec"),
        (HEADER + '1,"a,1,2013-01-01T10:00:00Z,true\n', "isn't CSV"),
        (HEADER + '1,"a"b,1,2013-01-01T10:00:00Z,true\n', "isn't CSV"),
        (HEADER + "1," + "a" * 200_000 + ",1,2013-01-01T10:00:00Z,true\n", "isn't CSV"),
        ((HEADER + GOOD).encode().replace(b",a,", b",\xff\xfe,"), "isn't UTF-8"),
        ((HEADER + GOOD).encode("utf-16"), "isn't UTF-8"),
    ],
    ids=["empty", "missing", "doubled", "unbalanced", "quote", "huge field", "bytes", "utf-16"],
)
def test_d2_a_damaged_file_is_refused_as_a_whole(tmp_path, text, reason):
    with pytest.raises(DropError, match=reason):
        read(drop_of(tmp_path, text, rows=1))


def test_d1_a_header_alone_reads_as_no_rows(tmp_path):
    found = read(drop_of(tmp_path, HEADER))
    assert len(found.frame) == 0 and found.refused.empty


def test_d2_a_gzip_cut_short_or_none_is_refused(tmp_path):
    whole = gzip.compress((HEADER + GOOD * 1000).encode())
    for packed in (whole[: len(whole) // 2], whole[:-4], b"id,name\n", b""):
        with pytest.raises(DropError, match=r"isn't a whole gzip file|is empty"):
            read(drop_of(tmp_path, None, rows=1000, packed=packed))


def test_another_number_of_rows_than_announced_is_refused(tmp_path):
    with pytest.raises(DropError, match="another number of rows"):
        read(drop_of(tmp_path, HEADER + GOOD, rows=2))


def test_d7_a_file_too_big_is_refused_packed_and_unpacked(tmp_path):
    drop = drop_of(tmp_path, HEADER + GOOD * 10_000)
    with pytest.raises(DropError, match="is too big unpacked"):
        read(drop, max_bytes=50_000)
    with pytest.raises(DropError, match="is too big$|is too big\n"):
        read(drop, max_bytes=100)


@settings(max_examples=150, deadline=None)
@given(data=st.binary(max_size=300))
def test_d2_any_bytes_are_read_or_refused_by_name(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("drop")
    for packed in (data, gzip.compress(data), gzip.compress(HEADER.encode() + data)):
        try:
            found = read(drop_of(folder, None, rows=1, packed=packed))
        except DropError:
            continue
        assert found.landed == len(found.frame) + len(found.refused) == 1 == len(texts(found)) + len(found.frame)


def test_rows_set_aside_are_told_as_they_came_from_every_piece_that_was_packed(tmp_path, monkeypatch):
    monkeypatch.setattr(drop_lines, "PIECE", 4096)
    lines = [f"{n},caf\u00e9 {n},{'' if n % 3 else 'x'},2013-01-01T10:00:00Z,true\n" for n in range(1000)]
    found = read(drop_of(tmp_path, HEADER + "".join(lines)))
    assert len(found._parts) > 5 and len(found.refused) == 334 and len(found.frame) == 666
    asked = [int(line) for line in found.refused["line"]] + [int(found.frame["line"].iloc[-1])]
    for line, text in zip(asked, found.row_texts(asked), strict=True):
        assert ",".join(json.loads(text).values()) + "\n" == lines[line - 2]


def test_columns_of_a_drop_may_be_changed_in_place(tmp_path):
    frame = read(drop_of(tmp_path, HEADER + GOOD)).frame
    for name in frame.columns:
        frame.loc[0, name] = frame.loc[0, name]
    frame.loc[0, "weight"] = 9.0
    assert frame["weight"].tolist() == [9.0]
