"""The landing zone: what is delivered, what its manifest says, and which names never become a path."""

import csv
import gzip
import io
import json
from contextlib import contextmanager
from datetime import UTC, datetime

import pandas as pd
import pytest

from ratchet.drops import MANIFEST, DropStore
from ratchet.errors import DropError, ParameterError

AT = datetime(2013, 1, 2, 5, 30, tzinfo=UTC)


LIMIT = 10_000_000


@pytest.fixture
def drops(storage):
    return DropStore(storage.below("landing"))


def text_of(drops, drop):
    with drops.fetched(drop, LIMIT) as path:
        return gzip.decompress(path.read_bytes()).decode()


def change_manifest(drops, **change):
    key = f"weather/2013-01-01/{MANIFEST}"
    told = json.loads(drops.storage.read(key, LIMIT))
    drops.storage.write(key, json.dumps({**told, **change}).encode())


def frame(value=1.5):
    at = pd.to_datetime(["2013-01-01T10:15:00Z", None], utc=True)
    return pd.DataFrame({"origin": ["EWR", "JFK"], "observed_at": at, "temp": [value, None]})


def test_write_then_find(drops):
    written = drops.write("weather", "2013-01-01", frame(), AT, "station")
    found = drops.find("weather", "2013-01-01")
    assert found == written
    assert (found.rows, found.delivered_at, found.source, found.key) == (
        2,
        AT,
        "station",
        "weather/2013-01-01/weather.csv.gz",
    )
    assert found.address == drops.storage.address(found.key)
    assert text_of(drops, found) == "origin,observed_at,temp\nEWR,2013-01-01T10:15:00Z,1.5\nJFK,,\n"
    assert drops.days("weather") == ["2013-01-01"]
    assert drops.days("flights") == []


def test_writing_again_writes_nothing(drops, monkeypatch):
    first = drops.write("weather", "2013-01-01", frame(), AT, "station")
    monkeypatch.setattr(type(drops.storage), "_put", lambda *_: pytest.fail("written again"))
    assert drops.write("weather", "2013-01-01", frame(), AT, "station") == first
    assert len(list(drops.storage.list())) == 2
    with pytest.raises(pytest.fail.Exception, match="written again"):
        drops.write("weather", "2013-01-01", frame(2.5), AT, "station")


def test_d3_a_restatement_leaves_the_old_file_whole(drops):
    old = drops.write("weather", "2013-01-01", frame(), AT, "station")
    new = drops.write("weather", "2013-01-01", frame(2.5), AT, "station")
    assert drops.find("weather", "2013-01-01") == new
    assert new.sha256 != old.sha256
    assert new.key != old.key and ",1.5\n" in text_of(drops, old) and ",2.5\n" in text_of(drops, new)
    assert drops.write("weather", "2013-01-01", frame(), AT, "station") == old


def test_without_manifest_it_is_not_delivered(drops):
    drops.storage.write("weather/2013-01-01/weather.csv.gz", b"on its way")
    assert drops.days("weather") == []
    with pytest.raises(DropError, match="no drop of weather for 2013-01-01"):
        drops.find("weather", "2013-01-01")


def test_bytes_that_are_not_the_manifests_are_refused(drops):
    drop = drops.write("weather", "2013-01-01", frame(), AT, "station")
    drops.storage.write(drop.key, drops.storage.read(drop.key, LIMIT) + b"x")
    with pytest.raises(DropError, match="isn't what its manifest says"):
        drops.find("weather", "2013-01-01")
    with pytest.raises(DropError, match="isn't what its manifest says"), drops.fetched(drop, LIMIT):
        pass


def test_a_manifest_without_its_file_is_refused(drops):
    drops.write("weather", "2013-01-01", frame(), AT, "station")
    change_manifest(drops, file="elsewhere.csv.gz")
    with pytest.raises(DropError, match="a manifest but no file"):
        drops.find("weather", "2013-01-01")
    with pytest.raises(DropError, match="a manifest but no file"):
        text_of(drops, drops.announced("weather", "2013-01-01"))


@pytest.mark.parametrize(
    "change",
    [
        {"sha256": "abc"},
        {"file": "../../secret"},
        {"file": "/etc/passwd"},
        {"file": "weather.csv.gz\n"},
        {"file": ".."},
        {"delivered_at": "2013-01-02T05:30:00"},
        {"rows": -1},
        {"rows": None},
        {"day": "2013-01-02"},
        {"dataset": "flights"},
    ],
    ids=str,
)
def test_a_wrong_manifest_is_refused(drops, change):
    drops.write("weather", "2013-01-01", frame(), AT, "station")
    change_manifest(drops, **change)
    with pytest.raises(DropError, match=r"manifest of weather for 2013-01-01 (can't be read|speaks of another)"):
        drops.find("weather", "2013-01-01")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "\0", "{" + " " * 100_000 + "}"], ids=lambda text: text[:3])
def test_a_manifest_that_is_not_json_is_refused(drops, text):
    drops.storage.write(f"weather/2013-01-01/{MANIFEST}", text.encode())
    with pytest.raises(DropError, match="can't be read"):
        drops.find("weather", "2013-01-01")


@pytest.mark.parametrize(
    "day",
    [
        "../x",
        "2013-01-01/..",
        "2013-1-1",
        "2013-02-30",
        "2013-01-01\n",
        "2013%2e01",
        "２０１３-01-01",
        "",
        None,
        20130101,
    ],
)
def test_d8_a_day_that_is_none_is_refused_before_a_path_is_made(drops, day):
    with pytest.raises(ParameterError, match="not a day"):
        drops.find("weather", day)
    with pytest.raises(ParameterError, match="not a day"):
        drops.write("weather", day, frame(), AT, "station")
    assert not any(drops.storage.list())


@pytest.mark.parametrize("name", ["..", "a/b", "weather\n", "Weather", "we\0ather", "wеather", "", None, "%2e%2e"])
def test_d8_a_name_that_is_none_is_refused_before_a_path_is_made(drops, name):
    for ask in (drops.days, lambda n: drops.find(n, "2013-01-01")):
        with pytest.raises(ParameterError, match="not a dataset's name"):
            ask(name)
    assert not any(drops.storage.list())


def test_folders_that_are_no_days_are_left_alone(drops):
    drops.write("weather", "2013-01-01", frame(), AT, "station")
    for name in ("tmp", "2013-02-30", "9999-12-31", "0001-01-01"):
        drops.storage.write(f"weather/{name}/{MANIFEST}", b"{}")
    drops.storage.write(f"weather/2013-01-02/old/{MANIFEST}", b"{}")
    assert drops.days("weather") == ["2013-01-01"]


@pytest.mark.parametrize("at", ["9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+12:00"])
def test_d2_a_delivery_at_no_credible_time_is_refused(drops, at):
    drops.write("weather", "2013-01-01", frame(), AT, "station")
    change_manifest(drops, delivered_at=at)
    with pytest.raises(DropError, match="no credible time of delivery"):
        drops.find("weather", "2013-01-01")


def test_types_are_written_as_they_are_read(drops):
    written = pd.DataFrame({"flag": [True, False], "n": [1, 2], "x": [0.5, None], "at": pd.to_datetime([AT, None])})
    drop = drops.write("weather", "2013-01-01", written, AT, "station")
    stamp = f"{AT:%Y-%m-%dT%H:%M:%SZ}"
    assert text_of(drops, drop).splitlines() == ["flag,n,x,at", f"true,1,0.5,{stamp}", "false,2,,"]


def test_line_ends_within_values_stay_there(drops):
    values = ["a\rb", "a\nb", "a\r\nb", "\r", "\n", "\r\n", "b\r", "b\r\n", 'a"\r', "plain"]
    written = pd.DataFrame({"n": range(len(values)), "te\rxt": values})
    text = text_of(drops, drops.write("weather", "2013-01-01", written, AT, "station"))
    rows = [[str(n), value] for n, value in enumerate(values)]
    assert list(csv.reader(io.StringIO(text, newline=""), strict=True)) == [["n", "te\rxt"], *rows]
    assert text.startswith('n,"te\rxt"\n0,"a\rb"\n') and text.endswith("\n9,plain\n")


def test_d7_a_drop_that_is_too_big_is_refused_before_a_byte_is_copied(drops, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    drops.write("weather", "2013-01-01", frame(), AT, "station")
    drop = drops.announced("weather", "2013-01-01")
    with pytest.raises(DropError, match=f"is too big\n  seen: {drop.bytes} bytes"), drops.fetched(drop, drop.bytes - 1):
        pass
    change_manifest(drops, bytes=1_000_000_000)
    with pytest.raises(DropError, match="is too big\n  seen: 1000000000 bytes announced"):
        text_of(drops, drops.announced("weather", "2013-01-01"))
    change_manifest(drops, bytes=1)  # a lie, which saves nobody
    drop = drops.announced("weather", "2013-01-01")
    with pytest.raises(DropError, match="is too big"), drops.fetched(drop, 10):
        pass
    assert not list(tmp_path.glob("ratchet-drop-*"))


def test_d5_a_file_that_changes_while_it_is_copied_is_refused(drops, monkeypatch):
    """Whatever lies under the name, what is handed on is what the manifest speaks of, or nothing."""
    drop = drops.write("weather", "2013-01-01", frame(), AT, "station")
    opened = type(drops.storage)._opened

    @contextmanager
    def torn(storage, key):
        with opened(storage, key) as (size, pieces):
            first = next(pieces)
            yield size, iter([first[:10], b"X" * 5, first[15:]])

    monkeypatch.setattr(type(drops.storage), "_opened", torn)
    with pytest.raises(DropError, match="isn't what its manifest says"):
        text_of(drops, drop)


def test_a_copy_stays_as_it_was_and_goes_away(drops):
    drop = drops.write("weather", "2013-01-01", frame(), AT, "station")
    with drops.fetched(drop, LIMIT) as path:
        before = path.read_bytes()
        drops.storage.write(drop.key, b"other bytes under the same name")
        assert path.read_bytes() == before and path.name == "weather.csv.gz"
    assert not path.exists()
