"""Columns added, removed, renamed, retyped: each is allowed, warned of or refused, as the spec says, and on record."""

import gzip
import json
from datetime import UTC, datetime

import pytest

from ratchet.checked_days import check_days
from ratchet.drop_schema import SchemaChange
from ratchet.drops import Drop
from ratchet.errors import DropError
from ratchet.expectations import load_suite
from ratchet.read_drop import read_drop
from ratchet.specs import DatasetSpec

BASE = {
    "name": "things",
    "description": "things",
    "owner": "us",
    "time_zone": "UTC",
    "starts": "2013-01-01",
    "key": ["id"],
    "columns": {"id": "int64", "weight": "float64", "good": "bool", "note": "string"},
    "may_be_empty": ["note"],
}
PLAIN = "id,weight,good,note\n1,1.5,true,a\n2,2.5,false,b\n"


def spec_of(**more):
    return DatasetSpec.model_validate(BASE | more)


def drop_of(text):
    at = datetime(2013, 1, 2, tzinfo=UTC)
    return Drop("things", "2013-01-01", "things", "landing/things", "0" * 64, at, "us", text.count("\n") - 1, 0)


@pytest.fixture
def read(tmp_path):
    def read_text(text, spec):
        (tmp_path / "drop").write_bytes(gzip.compress(text.encode()))
        return read_drop(tmp_path / "drop", drop_of(text), spec)

    return read_text


@pytest.fixture
def check(tmp_path, read):
    def check_text(text, spec):
        expectation = {"type": "expect_column_values_to_be_between", "kwargs": {"column": "id", "min_value": 0}}
        (tmp_path / "suite").write_text(json.dumps({"name": "things", "expectations": [expectation]}))
        suite = load_suite(tmp_path / "suite")
        return check_days(spec, suite, "recipe", {"2013-01-01": (drop_of(text), read(text, spec))})["2013-01-01"]

    return check_text


ADDED = PLAIN.replace("\n", ",9\n").replace("note,9", "note,more")
REMOVED = "id,weight,good\n1,1.5,true\n2,2.5,false\n"
RENAMED = PLAIN.replace("weight", "Weight")
RETYPED = PLAIN.replace("\n1,", "\n1.0,").replace("\n2,", "\n2.,")
CASES = {
    "added": (ADDED, {}, "more", "left out", "'more' added, left out"),
    "removed": (REMOVED, {}, "note", "read as nulls", "missing ['note']"),
    "renamed": (RENAMED, {"renames": {"Weight": "weight"}}, "weight", "called 'Weight'", "called 'Weight'"),
    "retyped": (RETYPED, {}, "id", "float64 in the file, int64 in the spec", "float64 in the file, int64 in the spec"),
}


@pytest.mark.parametrize("kind", CASES)
def test_d6_what_the_policy_refuses_is_refused_with_its_reason(read, kind):
    text, more, _, _, reason = CASES[kind]
    with pytest.raises(DropError) as raised:
        read(text, spec_of(schema_policy={kind: "refuse"}, **more))
    assert reason in str(raised.value)


@pytest.mark.parametrize("policy", ["allow", "warn"])
@pytest.mark.parametrize("kind", CASES)
def test_d6_what_the_policy_lets_through_is_read_and_on_record(read, check, kind, policy):
    text, more, column, detail, _ = CASES[kind]
    spec = spec_of(schema_policy={kind: policy}, **more)
    found = read(text, spec)
    assert found.schema_changes == [SchemaChange(kind, column, policy, detail)] and found.refused.empty
    plain = read(PLAIN, spec).frame
    if kind == "removed":
        assert found.frame["note"].isna().all() and found.frame["note"].dtype == plain["note"].dtype
        plain = plain.assign(note=found.frame["note"])
    assert found.frame.equals(plain)
    checked = check(text, spec)
    first = checked.checks[0]
    assert checked.schema_changes == found.schema_changes and checked.refusals == [] and len(checked.rows) == 2
    assert (first.expectation, first.passed) == (f"schema: no column {kind}", policy == "allow")
    assert (first.severity, first.seen) == ("info" if policy == "allow" else "warning", f"{column!r}: {detail}")


def test_d6_defaults_warn_of_added_and_renamed_columns_and_refuse_the_rest():
    policy = spec_of().schema_policy
    assert policy.model_dump() == {"added": "warn", "removed": "refuse", "renamed": "warn", "retyped": "refuse"}


@pytest.mark.parametrize("column", ["weight", "id"])
def test_d6_a_column_that_may_not_be_empty_may_not_be_missing_either(read, column):
    with pytest.raises(DropError, match=rf"missing \['{column}'\]"):
        read(PLAIN.replace(column, "gone"), spec_of(schema_policy={"removed": "allow"}))


def test_d6_an_old_and_a_new_name_side_by_side_are_refused(read):
    text = ADDED.replace("more", "mass")
    with pytest.raises(DropError, match=r"twice \['weight'\]"):
        read(text, spec_of(renames={"mass": "weight"}))


def test_d6_a_missing_column_is_not_made_up_for_by_one_that_looks_alike(read):
    for name in ("Note", "note ", "n\u043ete", "no\u200bte"):
        with pytest.raises(DropError, match="look like the spec's"):
            read(PLAIN.replace("note", name), spec_of(schema_policy={"removed": "allow", "added": "allow"}))


def test_d6_retyped_is_a_column_not_a_value(read):
    text = PLAIN.replace("\n1,", "\n1.0,")
    found = read(text, spec_of())
    assert found.schema_changes == [] and found.refused["reason"].tolist() == ["id is not an int64: '1.0'"]


def test_d6_what_would_lose_something_is_set_aside_as_ever(read):
    spec = spec_of(schema_policy={"retyped": "allow"})
    text = PLAIN.replace("\n1,", "\n1.5,").replace("\n2,", "\n2.0,").replace("true", "1").replace("false", "2")
    found = read(text, spec)
    assert {change.column for change in found.schema_changes} == {"id", "good"}
    assert found.refused["reason"].tolist() == ["id is not an int64: '1.5'", "good is not true or false: '2'"]
    read_well = read(text.replace("1.5,1.5", "1.,1.5").replace(",2,", ",0,"), spec).frame
    assert read_well["good"].tolist() == [True, False] and read_well["id"].tolist() == [1, 2]


def test_d6_a_column_of_nulls_is_not_retyped(read):
    found = read(PLAIN.replace("1.5", "").replace("2.5", ""), spec_of())
    assert found.schema_changes == [] and found.frame["weight"].isna().all()


def test_text_where_numbers_were_is_no_other_type(read):
    found = read(PLAIN.replace("1.5", "a").replace("2.5", "b"), spec_of())
    assert found.schema_changes == [] and len(found.refused) == 2


def test_d9_the_texts_of_a_renamed_and_a_retyped_column_are_kept_as_they_came(read):
    spec = spec_of(renames={"Weight": "weight"}, schema_policy={"retyped": "allow"})
    found = read(RETYPED.replace("weight", "Weight"), spec)
    assert json.loads(found.row_texts([3])[0]) == {"id": "2.", "weight": "2.5", "good": "false", "note": "b"}
