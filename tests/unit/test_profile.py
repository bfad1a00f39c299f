"""Drafts from samples: they load, they publish the drop they were made from, and a file can't write into them."""

from __future__ import annotations

import gzip
import json
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from small_loop import deployment_in

from ratchet import cli
from ratchet.drops import DropStore
from ratchet.errors import DropError, ParameterError, RatchetError
from ratchet.expectations import load_suite
from ratchet.ingest import ingest_days
from ratchet.lake import Lake
from ratchet.ledger import open_ledger
from ratchet.privacy import open_pseudonyms
from ratchet.profile import NO_KEY, Draft, profile, write_draft
from ratchet.settings import get_settings
from ratchet.specs import load_dataset_specs
from ratchet.upstream import land_flights

DAY = "2013-01-01"
DELIVERED = datetime(2013, 1, 2, 5, tzinfo=UTC)


class World:
    """A landing zone, and a folder that takes the drafts."""

    def __init__(self, root):
        self.root, self.drops = root, DropStore(root / "landing")

    def file(self, content: str | bytes, name="things.csv"):
        path = self.root / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    def profile(self, source: str, **more) -> Draft:
        return profile(source, self.drops, **more)

    def of(self, content: str | bytes, **more) -> Draft:
        return self.profile(self.file(content), **more)

    def drop(self, frame: pd.DataFrame, day=DAY, delivered_at=DELIVERED, **more) -> Draft:
        self.drops.write("things", day, frame, delivered_at, "test")
        return self.profile(f"things/{day}", **more)

    def load(self, draft: Draft):
        """Spec and path of the suite, by the loaders that a deployment uses."""
        write_draft(draft, self.root / "specs", self.root / "suites", force=True)
        loaded = load_dataset_specs(self.root / "specs")
        load_suite(self.root / "suites" / f"{draft.name}.json")
        return loaded.get(draft.name, "dataset"), self.root / "suites" / f"{draft.name}.json"

    def ingest(self, draft: Draft, day=DAY):
        spec, suite = self.load(draft)
        folder = self.root / "ledger"
        paths = {"ledger_key_file": folder / "key", "ledger_head_file": folder / "head"}
        at = replace(get_settings(), var=folder, ledger_url=f"sqlite:///{folder / 'ledger.db'}", **paths)
        adapters = {"drops": self.drops, "lake": Lake(self.root / "lake"), "ledger": open_ledger(at)}
        return ingest_days(spec, [day], suite_path=suite, pseudonyms=open_pseudonyms(folder), **adapters)


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def spec_of(draft: Draft) -> dict:
    return yaml.safe_load(draft.spec)


def expectations_of(draft: Draft, kind="", column="") -> list[dict]:
    found = json.loads(draft.suite)["expectations"]
    return [one for one in found if kind in one["type"] and (not column or one["kwargs"].get("column") == column)]


def types_of(draft: Draft) -> dict[str, str]:
    return spec_of(draft)["columns"]


def remark_on(draft: Draft, key: str) -> str:
    (line,) = [line for line in draft.spec.splitlines() if line.strip().startswith(f"{key}: ")]
    return line.partition(" # ")[2]


def people(rows=40) -> pd.DataFrame:
    start = pd.Timestamp(DAY, tz="UTC")
    return pd.DataFrame(
        {
            "booking_id": [f"B{n:05}" for n in range(rows)],
            "passenger": [f"Smith, {n}" for n in range(rows)],
            "contact": [f"p{n}@example.org" if n % 2 else None for n in range(rows)],
            "fare": np.linspace(19.5, 740, rows),
            "bags": [n % 3 for n in range(rows)],
            "paid": [n % 2 == 0 for n in range(rows)],
            "cabin": [["first", "second"][n % 2] for n in range(rows)],
            "booked_at": start + pd.to_timedelta(range(rows), unit="min"),
            "remark": [None] * rows,
        }
    )


# --- the drafts stand ---


@pytest.mark.parametrize("dataset", ["flights", "weather", "outcomes", "planes"])
def test_a_drafted_drop_is_published_whole(world, dataset):
    land_flights(world.drops, DAY, DAY)
    draft = world.profile(f"{dataset}/{DAY}")
    report = world.ingest(draft)
    rows = world.drops.find(dataset, DAY).rows
    assert (report.published, report.rows, report.quarantined, report.warnings) == ([DAY], rows, 0, {})
    assert draft.rows == rows


def test_made_up_frames_are_published_whole(world):
    report = world.ingest(draft := world.drop(people()))
    assert (report.rows, report.quarantined, report.warnings) == (40, 0, {})
    assert types_of(draft) == {
        "booking_id": "string",
        "passenger": "string",
        "contact": "string",
        "fare": "float64",
        "bags": "int64",
        "paid": "bool",
        "cabin": "string",
        "booked_at": "timestamp",
        "remark": "string",
    }


HOSTILE = st.text(max_size=12).filter(lambda text: "\0" not in text)  # a row with one is set aside
VALUES = st.one_of(
    HOSTILE,
    st.sampled_from(["", "1", "-7", "007", "1e9", "nan", "1e308", "-1e308", "5e-324", "true", "false", "no", "$HOME"]),
    st.sampled_from(["# x", "a: b", "2013-01-01T05:00Z", "2013-01-01 05:00", "9" * 18, "9" * 19, "{{ x }}", "\u2028"]),
)


@settings(max_examples=12, deadline=None)
@given(rows=st.lists(st.tuples(VALUES, VALUES), min_size=1, max_size=12), repeat=st.sampled_from([1, 6]))
def test_whatever_the_values_the_draft_loads_and_publishes_the_drop(tmp_path_factory, rows, repeat):
    world = World(tmp_path_factory.mktemp("made_up"))
    frame = pd.DataFrame(rows * repeat, columns=["one", "null"]).assign(id=lambda f: range(len(f)))
    draft = world.drop(frame)
    assert spec_of(draft)["key"]
    assert world.ingest(draft).quarantined == 0


def test_every_guess_is_marked_and_says_what_was_seen(world):
    draft = world.drop(people())
    lines = [line for line in draft.spec.splitlines() if not line.startswith("#") and line != "columns:"]
    assert lines and all(" # guess: " in line and "(seen " in line for line in lines)
    for one in expectations_of(draft):
        assert one["meta"]["guess"].startswith("seen ") and one["meta"]["review"] is True


def test_only_what_a_day_can_tell_refuses_rows(world):
    critical = {one["type"] for one in expectations_of(world.drop(people())) if "severity" not in one}
    assert critical == {
        "expect_table_row_count_to_be_between",
        "expect_column_values_to_not_be_null",  # of the key
        "expect_column_values_to_be_unique",
        "expect_column_pair_values_to_be_equal",  # its instants are of the event day
    }


# --- guesses ---


def test_values_that_look_like_numbers_but_are_codes_stay_strings(world):
    draft = world.of(f"zip,long,plus\n00501,{'1' * 19},+1\n10115,{'2' * 20},-2\n")
    assert types_of(draft) == {"zip": "string", "long": "string", "plus": "int64"}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (["1.5", "NA", "2"], 'would be float64 but for "NA": have the sender leave such a field empty'),
        (["2013-01-01 05:15:00", "2013-01-02T06:00"], "with an offset"),
        (["2013-01-01 05:15:00+00:00"], "ISO 8601"),
        (["2013-01-01"], "needs the time and an offset"),
        (["True", "False"], "that is true or false"),
    ],
)
def test_what_keeps_a_column_from_a_better_type_is_said(world, values, said):
    draft = world.of("\n".join(["when,id", *(f"{value},{n}" for n, value in enumerate(values))]))
    assert types_of(draft)["when"] == "string"
    assert said in remark_on(draft, "when") and any(said in note for note in draft.notes)


def test_the_key_is_the_smallest_set_and_likely_names_win(world):
    frame = pd.DataFrame({"text": list("abcd"), "order_id": [1, 2, 3, 4], "n": [1, 1, 2, 2]})
    assert spec_of(world.drop(frame))["key"] == ["order_id"]
    pairs = pd.DataFrame({"shop": list("aabb"), "bill_no": [1, 2, 1, 2], "half": [None, "x", "y", "z"]})
    assert spec_of(world.drop(pairs))["key"] == ["shop", "bill_no"]


def test_other_keys_as_good_are_named(world):
    draft = world.drop(pd.DataFrame({"id": [1, 2, 3], "code": list("xyz")}))
    assert "so are [code]" in remark_on(draft, "key")


def test_no_key_leaves_a_placeholder_that_no_spec_loader_takes(world):
    draft = world.of("a,b\n1,2\n1,2\n")
    assert spec_of(draft)["key"] == [NO_KEY] and any(NO_KEY in note for note in draft.notes)
    write_draft(draft, world.root, world.root)
    assert NO_KEY in load_dataset_specs(world.root).errors["things"]
    load_suite(world.root / "things.json")


def test_the_zone_is_one_in_which_the_rows_are_of_the_drops_day(world):
    hours = pd.Timestamp(DAY, tz="America/New_York") + pd.to_timedelta(range(24), unit="h")
    draft = world.drop(pd.DataFrame({"seen_at": hours.tz_convert("UTC")}))
    assert spec_of(draft)["time_zone"] == "America/New_York"
    (pair,) = expectations_of(draft, "pair_values_to_be_equal")
    assert pair["kwargs"]["column_A"] == "day_of_seen_at"
    asked = world.drop(pd.DataFrame({"seen_at": hours.tz_convert("UTC")}), time_zone="Asia/Tokyo")
    assert spec_of(asked)["time_zone"] == "Asia/Tokyo" and not expectations_of(asked, "pair_values_to_be_equal")
    assert any("--time-zone" in note for note in asked.notes)


def test_freshness_comes_from_the_manifest_and_a_file_has_none(world):
    frame = pd.DataFrame({"id": [1, 2]})
    draft = world.drop(frame, delivered_at=datetime(2013, 1, 2, tzinfo=UTC) + timedelta(hours=30))
    (late,) = expectations_of(draft, column="delivered_after_hours")
    assert late["kwargs"]["max_value"] == 54 and late["severity"] == "warning"
    plain = world.of("id\n1\n2\n")
    assert not expectations_of(plain, column="delivered_after_hours")
    assert any("freshness" in note for note in plain.notes)


def test_ranges_are_generous_and_sets_are_of_values_seen_often(world):
    draft = world.drop(people())
    (fare,) = expectations_of(draft, "be_between", "fare")
    assert (fare["kwargs"]["min_value"], fare["kwargs"]["max_value"]) == (0, 1500)
    (cabin,) = expectations_of(draft, "be_in_set", "cabin")
    assert cabin["kwargs"]["value_set"] == ["first", "second"]
    assert not expectations_of(world.of("id,word\n1,a\n2,b\n3,c\n"), "be_in_set")


def test_columns_about_people_are_proposed_and_their_values_not_shown(world):
    draft = world.drop(people())
    assert spec_of(draft)["personal"] == ["passenger", "contact"]
    assert "Smith" not in draft.spec + draft.suite and "example.org" not in draft.spec + draft.suite
    free = world.of("id,note,product_name,passenger_count\n1,call a@b.de,x,2\n2,,y,3\n3,a@b.de,z,1\n")
    assert spec_of(free)["personal"] == ["note"]
    plain = world.of("id,phone,date_of_birth\n1,491701234567,1970-01-01T00:00Z\n2,491707654321,1971-01-01T00:00Z\n")
    assert types_of(plain) == {"id": "int64", "phone": "string", "date_of_birth": "string"}  # as pseudonyms are
    assert "4917" not in plain.spec + plain.suite and "1970-" not in plain.spec + plain.suite
    world.load(plain)


def test_columns_that_hold_next_to_nothing_may_be_empty(world):
    assert spec_of(world.drop(people()))["may_be_empty"] == ["remark"]


# --- bounds ---


def test_it_reads_no_more_rows_than_asked_and_says_so(world):
    frame = pd.DataFrame({"id": range(50)})
    draft = world.drop(frame, max_rows=20)
    assert draft.rows == 20 and "the first 20 rows of 50" in draft.spec
    assert expectations_of(draft, "row_count")[0]["kwargs"] == {"min_value": 5, "max_value": 500}
    plain = world.of("id\n1\n2\n3\n", max_rows=2)
    assert plain.rows == 2 and "the first 2 rows of more" in plain.notes[0]
    assert "max_value" not in expectations_of(plain, "row_count")[0]["kwargs"]


def test_it_unpacks_no_more_bytes_than_asked(world):
    bomb = gzip.compress(b"id,text\n" + b"1,aaaaaaaaaaaaaaaaaaaa\n" * 1_000_000)
    draft = world.of(bomb, max_bytes=1000)
    assert draft.rows == 43 and "the first 43 rows of more" in draft.spec
    quoted = 'id,text\n1,x\n2,"a\nb\nc\nd"\n'
    assert world.of(quoted, max_bytes=18).rows == 1
    with pytest.raises(DropError, match="no end of line"):
        world.of(b"x" * 2000, max_bytes=1000)


def test_gzip_is_known_by_its_bytes_not_its_name(world):
    packed = world.profile(world.file(gzip.compress(b"id\n1\n"), "packed.csv"))
    plain = world.profile(world.file(b"\xef\xbb\xbfid\n1\n", "Plain File.csv.gz"))
    assert (packed.name, plain.name) == ("packed", "plain_file")
    assert types_of(packed) == types_of(plain) == {"id": "int64"}


def test_lines_that_fit_no_header_are_left_out_and_counted(world):
    draft = world.of("id,b\n1,2\n3\n4,5,6\n7,\0\n8,9\n")
    assert draft.rows == 2 and any(note.startswith("3 lines don't fit") for note in draft.notes)


# --- hostile files ---


@pytest.mark.parametrize(
    ("content", "said", "hint"),
    [
        (b"", "is empty", "header and rows"),
        (b"\n\n", "is empty", "header and rows"),
        (b"id,name\n", "a header and no rows", "data in it"),
        (b"id,name\n1\n", "none with 2 fields", "data in it"),
        (bytes(range(256)) * 4, "isn't UTF-8", "UTF-8"),
        (b"\0" * 500, "isn't text", "UTF-8"),
        (b"PAR1 and more", "Parquet", "as CSV"),
        ("id,ä\n1,2\n".encode("utf-16"), "UTF-16", "UTF-8"),
        (gzip.compress(b"id\n1\n" * 100, mtime=0)[:-20], "can't be read", "whole file"),
        (b'id,a\n1,"x\n', "isn't CSV", "RFC 4180"),
        (b"id;name\n1;2\n", "commas", "commas"),
        (b"id,name,id\n1,2,3\n", "columns of the same name", "its own name"),
        (b"id,Id\n1,2\n", "columns of the same name", "its own name"),
    ],
)
def test_a_file_of_no_use_is_refused_with_the_way_out(world, content, said, hint):
    with pytest.raises(DropError) as refused:
        world.of(content)
    assert said in str(refused.value) and hint in refused.value.hint


def test_names_that_can_not_be_used_come_with_others_that_can(world):
    header = '"Tail Num","x\nkey: []","2013","day","tail_num","",id,seen_at,hours_to_delivery'
    with pytest.raises(DropError, match="6 of 9") as refused:
        world.of(f"{header}\n{','.join('1' * 9)}\n")
    assert refused.value.hint == (
        'have the sender rename "Tail Num" to tail_num_of_sender, "x\\nkey: []" to x_key, "2013" to c_2013, '
        '"day" to day_of_sender, "" to column_6, "hours_to_delivery" to hours_to_delivery_of_sender'
    )
    with pytest.raises(DropError, match="day_of_a to day_of_a_of_sender|day_of_a"):
        world.of("a,day_of_a\n2013-01-01T00:00Z,1\n")


def test_yaml_words_as_names_stay_names(world):
    draft = world.of("null,on,true,Größe,y,id\n1,2,3,4,5,6\n")
    assert list(types_of(draft)) == ["null", "on", "true", "Größe", "y", "id"]
    world.load(draft)


def test_values_can_not_break_out_of_a_remark(world):
    ends = ["\n", "\r", "\u0085", "\u2028", "\u2029", "\u202e"]
    values = [f"v{end}owner: mallory" for end in ends] * 5
    draft = world.of("id,v\n" + "".join(f'{n},"{value}"\n' for n, value in enumerate(values)))
    assert spec_of(draft)["owner"] == "nobody"
    assert not any(end in draft.spec.replace("\n", "") or end in draft.suite.replace("\n", "") for end in ends)
    assert set(expectations_of(draft, "be_in_set", "v")[0]["kwargs"]["value_set"]) == set(values)
    world.load(draft)


@pytest.mark.parametrize("source", ["nothing.csv", "flights/2013-13-01", "../flights/2013-01-01", "flights/2013-01-01"])
def test_nothing_of_that_name(world, source):
    with pytest.raises(RatchetError) as refused:
        world.profile(source)
    assert refused.value.hint


def test_a_name_or_a_zone_of_no_use_is_refused(world):
    with pytest.raises(ParameterError, match="not a dataset's name"):
        world.of("id\n1\n", name="../../etc")
    with pytest.raises(ParameterError, match="unknown time zone"):
        world.of("id\n1\n", time_zone="Nowhere/Land")


# --- the files ---


def test_nothing_is_overwritten_without_force(world):
    draft = world.of("id\n1\n")
    spec, suite = write_draft(draft, world.root / "a", world.root / "b")
    assert (spec.read_text("utf-8"), suite.read_text("utf-8")) == (draft.spec, draft.suite)
    spec.unlink()
    with pytest.raises(ParameterError, match="there are files"):
        write_draft(draft, world.root / "a", world.root / "b")
    assert not spec.exists()
    write_draft(draft, world.root / "a", world.root / "b", force=True)
    assert spec.exists()


@pytest.fixture
def ratchet(monkeypatch, capsys, tmp_path, as_environment):
    """Runs the command in an empty home; (exit status, stdout, stderr)."""
    (tmp_path / "home").mkdir()
    as_environment(deployment_in(tmp_path))

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["ratchet", "profile", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.app()
        out, err = capsys.readouterr()
        return ended.value.code or 0, out, err

    return run


def test_the_command_writes_where_specs_and_suites_are_or_elsewhere_or_prints(ratchet, world):
    path = world.file("id\n1\n2\n")
    code, out, _ = ratchet(path, "--name", "parcels")
    answer, home = json.loads(out), world.root / "home"
    assert (code, answer["rows"]) == (0, 2) and answer["notes"]
    assert answer["spec"] == str(home / "include/datasets/parcels.yaml")
    assert answer["suite"] == str(home / "great_expectations/expectations/parcels.json")
    code, _, err = ratchet(path, "--name", "parcels")
    assert code == 1 and "--force" in err
    assert ratchet(path, "--name", "parcels", "--force")[0] == 0
    assert ratchet(path, "--out", str(world.root / "else"))[0] == 0
    assert (world.root / "else" / "things.json").exists()
    for how in (["--print"], ["--out", "-"]):
        code, out, _ = ratchet(path, *how)
        spec, _, suite = out.partition("\n\n")
        assert (code, yaml.safe_load(spec)["key"], json.loads(suite)["name"]) == (0, ["id"], "things")
