"""The landing zone: what is delivered, what its manifest says, and which names never become a path."""

import gzip
import json
from datetime import UTC, datetime

import pandas as pd
import pytest

from ratchet.drops import MANIFEST, DropStore
from ratchet.errors import DropError, ParameterError

AT = datetime(2013, 1, 2, 5, 30, tzinfo=UTC)


@pytest.fixture
def drops(tmp_path):
    return DropStore(tmp_path / "landing")


def frame(value=1.5):
    at = pd.to_datetime(["2013-01-01T10:15:00Z", None], utc=True)
    return pd.DataFrame({"origin": ["EWR", "JFK"], "observed_at": at, "temp": [value, None]})


def test_write_then_find(drops):
    written = drops.write("weather", "2013-01-01", frame(), AT, "station")
    found = drops.find("weather", "2013-01-01")
    assert found == written
    assert (found.rows, found.delivered_at, found.source, found.path.name) == (2, AT, "station", "weather.csv.gz")
    assert gzip.decompress(found.path.read_bytes()).decode() == (
        "origin,observed_at,temp\nEWR,2013-01-01T10:15:00Z,1.5\nJFK,,\n"
    )
    assert drops.days("weather") == ["2013-01-01"]
    assert drops.days("flights") == []


def test_writing_again_changes_no_byte(drops):
    first = drops.write("weather", "2013-01-01", frame(), AT, "station")
    stamps = {path.name: path.stat().st_mtime_ns for path in first.path.parent.iterdir()}
    assert drops.write("weather", "2013-01-01", frame(), AT, "station") == first
    assert {path.name: path.stat().st_mtime_ns for path in first.path.parent.iterdir()} == stamps


def test_d3_a_restatement_leaves_the_old_file_whole(drops):
    old = drops.write("weather", "2013-01-01", frame(), AT, "station")
    new = drops.write("weather", "2013-01-01", frame(2.5), AT, "station")
    assert drops.find("weather", "2013-01-01") == new
    assert new.sha256 != old.sha256
    assert new.path != old.path and old.path.is_file()
    assert drops.write("weather", "2013-01-01", frame(), AT, "station") == old


def test_without_manifest_it_is_not_delivered(drops):
    drops.write("weather", "2013-01-01", frame(), AT, "station").path.with_name(MANIFEST).unlink()
    assert drops.days("weather") == []
    with pytest.raises(DropError, match="no drop of weather for 2013-01-01"):
        drops.find("weather", "2013-01-01")


def test_bytes_that_are_not_the_manifests_are_refused(drops):
    drop = drops.write("weather", "2013-01-01", frame(), AT, "station")
    drop.path.write_bytes(drop.path.read_bytes() + b"x")
    with pytest.raises(DropError, match="isn't what its manifest says"):
        drops.find("weather", "2013-01-01")


def test_a_manifest_without_its_file_is_refused(drops):
    drops.write("weather", "2013-01-01", frame(), AT, "station").path.unlink()
    with pytest.raises(DropError, match="a manifest but no file"):
        drops.find("weather", "2013-01-01")


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
    manifest = drops.write("weather", "2013-01-01", frame(), AT, "station").path.with_name(MANIFEST)
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), **change}))
    with pytest.raises(DropError, match=r"manifest of weather for 2013-01-01 (can't be read|speaks of another)"):
        drops.find("weather", "2013-01-01")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "\0"])
def test_a_manifest_that_is_not_json_is_refused(drops, text):
    drops.write("weather", "2013-01-01", frame(), AT, "station").path.with_name(MANIFEST).write_text(text)
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
    assert not drops.root.exists()


@pytest.mark.parametrize("name", ["..", "a/b", "weather\n", "Weather", "we\0ather", "wеather", "", None, "%2e%2e"])
def test_d8_a_name_that_is_none_is_refused_before_a_path_is_made(drops, name):
    for ask in (drops.days, lambda n: drops.find(n, "2013-01-01")):
        with pytest.raises(ParameterError, match="not a dataset's name"):
            ask(name)
    assert not drops.root.exists()


def test_folders_that_are_no_days_are_left_alone(drops):
    drops.write("weather", "2013-01-01", frame(), AT, "station")
    for name in ("tmp", "2013-02-30", "9999-12-31", "0001-01-01"):
        stray = drops.root / "weather" / name
        stray.mkdir()
        (stray / MANIFEST).write_text("{}")
    assert drops.days("weather") == ["2013-01-01"]


@pytest.mark.parametrize("at", ["9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+12:00"])
def test_d2_a_delivery_at_no_credible_time_is_refused(drops, at):
    drop = drops.write("weather", "2013-01-01", frame(), AT, "station")
    manifest = drop.path.parent / MANIFEST
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "delivered_at": at}))
    with pytest.raises(DropError, match="no credible time of delivery"):
        drops.find("weather", "2013-01-01")


def test_types_are_written_as_they_are_read(drops):
    written = pd.DataFrame({"flag": [True, False], "n": [1, 2], "x": [0.5, None], "at": pd.to_datetime([AT, None])})
    drop = drops.write("weather", "2013-01-01", written, AT, "station")
    stamp = f"{AT:%Y-%m-%dT%H:%M:%SZ}"
    text = gzip.decompress(drop.path.read_bytes()).decode()
    assert text.splitlines() == ["flag,n,x,at", f"true,1,0.5,{stamp}", "false,2,,"]
