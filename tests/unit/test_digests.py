"""A digest says what a thing is: it moves with the content, and with nothing else."""

from __future__ import annotations

import hashlib
from io import BytesIO

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ratchet.digests import canonical_json, digest_of, file_digest, frame_digest, source_digest
from ratchet.errors import SpecError

CELLS = {
    "text": st.none() | st.text(max_size=5),
    "number": st.floats(allow_nan=True, width=64),
    "count": st.integers(-(2**62), 2**62),
    "flag": st.booleans(),
    "at": st.none() | st.datetimes(pd.Timestamp("1990-01-01"), pd.Timestamp("2050-01-01")),
}
ROWS = st.lists(st.fixed_dictionaries(CELLS), max_size=8)
CHANGES = [
    ("text", "other"),
    ("text", None),
    ("text", ""),
    ("number", 2.5),
    ("number", np.nan),
    ("count", 4),
    ("flag", False),
    ("at", pd.Timestamp("2013-01-01 00:00:01", tz="UTC")),
    ("at", pd.NaT),
]


def frame_of(rows: list[dict]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "text": pd.Series([row["text"] for row in rows], dtype="str"),
            "number": pd.Series([row["number"] for row in rows], dtype="float64"),
            "count": pd.Series([row["count"] for row in rows], dtype="int64"),
            "flag": pd.Series([row["flag"] for row in rows], dtype="bool"),
            "at": pd.to_datetime(pd.Series([row["at"] for row in rows], dtype="datetime64[us]"), utc=True),
        }
    )


def example() -> pd.DataFrame:
    at = pd.Timestamp("2013-01-01").to_pydatetime()
    row = {"text": "a", "number": 1.5, "count": 3, "flag": True, "at": at}
    return frame_of([row, {**row, "text": "b", "number": 0.25}])


@given(ROWS, st.randoms())
def test_neither_the_order_of_rows_nor_of_columns_nor_the_index_counts(rows, random):
    frame = frame_of(rows)
    shuffled = random.sample(rows, len(rows))
    again = frame_of(shuffled)[random.sample(list(frame.columns), len(frame.columns))]
    assert frame_digest(again.set_axis(range(100, 100 + len(rows)))) == frame_digest(frame)


def test_the_order_of_rows_counts_where_asked():
    frame = example()
    assert frame_digest(frame[::-1], ordered=True) != frame_digest(frame, ordered=True)
    assert frame_digest(frame.copy(), ordered=True) == frame_digest(frame, ordered=True)


@settings(deadline=None)
@given(rows=ROWS)
def test_a_parquet_round_trip_changes_nothing(rows):
    frame = frame_of(rows)
    assert frame_digest(pd.read_parquet(BytesIO(frame.to_parquet(index=False)))) == frame_digest(frame)


def test_not_a_number_is_the_same_whatever_its_bits():
    """0/0 gives another one than parquet does."""
    bits = np.array([0x7FF8000000000000, 0xFFF8000000000000, 0x7FF8000000000001], dtype="uint64")
    digests = {frame_digest(pd.DataFrame({"a": [1.0, value]})) for value in bits.view("float64")}
    assert len(digests) == 1 and digests != {frame_digest(pd.DataFrame({"a": [1.0, 0.0]}))}


@pytest.mark.parametrize(("column", "value"), CHANGES)
def test_one_changed_value_shows(column, value):
    frame = example()
    changed = frame.copy()
    changed.loc[0, column] = value
    assert changed.dtypes.equals(frame.dtypes)
    assert frame_digest(changed) != frame_digest(frame)


def test_a_row_more_or_a_row_twice_shows():
    frame = example()
    twice = pd.concat([frame, frame.iloc[:1]])
    assert len({frame_digest(frame), frame_digest(twice), frame_digest(frame.iloc[:1])}) == 3


def test_a_renamed_an_added_and_a_retyped_column_show():
    frame = example()
    others = [frame.rename(columns={"text": "texts"}), frame.assign(more=1), frame.astype({"count": "float64"})]
    assert len({frame_digest(one) for one in [frame, *others]}) == 4


def test_values_swapped_between_columns_show():
    one = pd.DataFrame({"a": [1, 2], "b": [3, 4]})
    assert frame_digest(one) != frame_digest(one.rename(columns={"a": "b", "b": "a"}))
    assert frame_digest(one) != frame_digest(pd.DataFrame({"a": [1, 2], "b": [4, 3]}))


@pytest.mark.parametrize("absent", [None, np.nan, pd.NA, pd.NaT])
def test_text_without_a_value_is_the_same_however_it_is_said(absent):
    plain = pd.DataFrame({"a": pd.Series(["x", None], dtype="str")})
    assert frame_digest(pd.DataFrame({"a": pd.Series(["x", absent], dtype=object)})) == frame_digest(plain)
    assert frame_digest(pd.DataFrame({"a": pd.Series(["x", absent], dtype="string")})) == frame_digest(plain)
    assert frame_digest(pd.DataFrame({"a": ["x", "None"]})) != frame_digest(plain)


def test_a_category_is_its_text():
    plain = pd.DataFrame({"a": pd.Series(["x", "y", None], dtype="str")})
    assert frame_digest(plain.astype("category")) == frame_digest(plain)
    unused = plain["a"].astype(pd.CategoricalDtype(["z", "y", "x"]))
    assert frame_digest(unused.to_frame()) == frame_digest(plain)


def test_an_instant_is_the_same_in_every_zone_and_resolution():
    utc = pd.DataFrame({"at": pd.to_datetime(["2013-03-10 07:00", None], utc=True)})
    there = utc.assign(at=utc["at"].dt.tz_convert("America/New_York").astype("datetime64[ns, America/New_York]"))
    assert frame_digest(there) == frame_digest(utc)


def test_empty_frames_are_told_apart_by_their_columns():
    frame = example().iloc[:0]
    assert frame_digest(frame) == frame_digest(frame_of([]))
    assert len({frame_digest(frame), frame_digest(frame[["text"]]), frame_digest(pd.DataFrame())}) == 3


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=3), VALUES))
def test_the_order_of_keys_does_not_count(value):
    assert digest_of(dict(reversed(value.items()))) == digest_of(value)
    assert digest_of({**value, "one more": 1}) != digest_of(value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {"a": [float("-inf")]}])
def test_what_json_can_not_say_is_refused(value):
    with pytest.raises(ValueError, match="JSON"):
        canonical_json(value)


def test_a_file_is_its_bytes_and_a_tree_its_names_and_files(tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "a.py").write_bytes(b"x = 1\n")
    assert file_digest(tmp_path / "one" / "a.py") == hashlib.sha256(b"x = 1\n").hexdigest()


def test_the_source_is_that_which_an_import_would_find(tmp_path, monkeypatch):
    """Wherever it lies; what is no Python file doesn't count; other bytes or another name do."""
    monkeypatch.syspath_prepend(tmp_path)
    package = tmp_path / "some_features"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "a.py").write_text("raise SystemExit('imported')\n")
    (tmp_path / "one_file.py").write_text("x = 1\n")
    before = source_digest("some_features", "one_file")
    assert source_digest("one_file", "some_features", "one_file") == before
    (package / "notes.txt").write_text("not source")
    assert source_digest("some_features", "one_file") == before
    (package / "a.py").rename(package / "b.py")
    renamed = source_digest("some_features", "one_file")
    (tmp_path / "one_file.py").write_text("x = 2\n")
    assert len({before, renamed, source_digest("some_features", "one_file")}) == 3


def test_source_that_is_not_there_is_no_identity():
    with pytest.raises(SpecError, match="no_such_package"):
        source_digest("ratchet", "no_such_package")
