"""A drop's file in pieces: the same rows, lines and errors as Python's csv gives of the whole."""

import csv
import gzip
import io
from datetime import UTC, datetime

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ratchet import drop_lines
from ratchet.drop_lines import DropFile
from ratchet.drops import Drop
from ratchet.errors import DropError

HEADER = ["a", "b"]


def drop_file(path, data, max_bytes=1 << 30):
    path.write_bytes(gzip.compress(data, 1))
    drop = Drop("things", "2013-01-01", "things", str(path), "0" * 64, datetime(2013, 1, 2, tzinfo=UTC), "us", 0, 0)
    return DropFile(path, drop, max_bytes)


def in_pieces(path, data):
    """(line, fields) of each row, or the reason why there are none."""
    file, found = drop_file(path, data), []
    try:
        assert file.header() == HEADER
        for rows in file.rows(2, {"a": 0, "b": 1}):
            columns = (rows.fields["a"].fill_null("").to_pylist(), rows.fields["b"].fill_null("").to_pylist())
            found += zip(rows.lines.tolist(), map(list, zip(*columns, strict=True)), strict=True)
            found += [(line, row) for line, _, row in rows.malformed]
    except DropError as error:
        return error.what.split("2013-01-01 ")[1]
    return sorted(found)


def as_a_whole(data):
    reader, found, start = csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True), [], 1
    try:
        for row in reader:
            if row:
                found.append((start, row))
            start = reader.line_num + 1
    except csv.Error:
        return "isn't CSV"
    return found[1:]


@pytest.fixture(autouse=True)
def piece(request, monkeypatch):
    monkeypatch.setattr(drop_lines, "PIECE", getattr(request, "param", drop_lines.PIECE))


FIELD = st.one_of(st.text("aé", max_size=2), st.text('a,"\n\r', max_size=3).map(lambda text: f'"{text}"'))
ROW = st.tuples(FIELD, FIELD).map(",".join)
NEAT = st.tuples(st.lists(ROW), st.sampled_from(["\n", "\r\n"])).map(lambda given: given[1].join(given[0]))


@settings(max_examples=800, deadline=None)
@given(text=st.one_of(NEAT, st.text(alphabet='ab",\n\r\0é ', max_size=60)), size=st.integers(4, 70))
@example(text="a,b\n\n\nc,d", size=6)
@example(text='"a\n","\r\n"\r\na,b\r', size=5)
@example(text='"a","b"\r\n"",","\r\n', size=70)
@example(text='a,b\na,"b', size=70)
@example(text='"a\r\nb","c"\r\n', size=70)
@example(text='"a","b"\n"c,"d"\n"e",f"\n', size=70)
@example(text='a"b,c\n"d"e,f\n', size=7)
@example(text="a,b\0\n", size=70)
def test_d7_pieces_of_any_size_give_the_rows_of_the_whole(tmp_path_factory, text, size):
    data = b"a,b\n" + text.encode()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(drop_lines, "PIECE", size)
        assert in_pieces(tmp_path_factory.getbasetemp() / "drop.csv.gz", data) == as_a_whole(data)


@pytest.mark.parametrize("piece", [4, 5, 6, 7, 8, 11, 64], indirect=True)
def test_a_letter_of_several_bytes_may_lie_across_pieces(tmp_path, piece):
    data = "\ufeffa,b\né€😀,x\n😀,€\n".encode()
    assert in_pieces(tmp_path / "drop", data) == [(2, ["é€😀", "x"]), (3, ["😀", "€"])]


@pytest.mark.parametrize("piece", [8, 1024], indirect=True)
@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
def test_d2_what_is_not_utf_8_is_named_with_its_line(tmp_path, piece, end):
    data = end.join(["a,b", *["c,d"] * 20, "x,\xff", "e,f", ""]).encode("latin-1")
    file = drop_file(tmp_path / "drop", data)
    with pytest.raises(DropError, match=r"isn't UTF-8\n  seen: byte 0xff in line 22\n"):
        file.header()
        list(file.rows(2, {"a": 0}))


@pytest.mark.parametrize("piece", [1000], indirect=True)
@pytest.mark.parametrize(
    ("row", "line"),
    [
        (b'"' + b"x\n" * 9000 + b'",y\n', "isn't CSV"),
        (b'"x\n",' * 9000 + b"y\n", "isn't CSV"),
        (b"x," * 9000 + b"y\n", "isn't CSV"),
    ],
    ids=["a field of many lines", "many fields of two lines", "many fields"],
)
def test_d7_a_row_that_goes_on_and_on_is_refused_before_it_is_held(tmp_path, piece, row, line, monkeypatch):
    monkeypatch.setattr(drop_lines, "MAX_ROW", 10_000)
    assert in_pieces(tmp_path / "drop", b"a,b\n" + b"c,d\n" * 500 + row) == line


@pytest.mark.parametrize("piece", [1000], indirect=True)
def test_rows_across_pieces_may_follow_each_other_for_longer_than_one_may_be(tmp_path, piece, monkeypatch):
    monkeypatch.setattr(drop_lines, "MAX_ROW", 2_000)
    data = b"a,b\n" + b'"x\n\n\n\n\n\n\n",y\n' * 5000
    assert in_pieces(tmp_path / "drop", data) == as_a_whole(data)
