"""Great Expectations, adapted: who is refused, who is only on record, and what happens when it raises."""

import json

import pandas as pd
import pytest

from ratchet.errors import SpecError, ValidationBrokenError
from ratchet.expectations import load_suite, validate_days


@pytest.fixture
def suite_of(tmp_path):
    def make(*expectations):
        path = tmp_path / "things.json"
        path.write_text(json.dumps({"name": "things", "expectations": list(expectations)}))
        return load_suite(path)

    return make


def expect(type_, severity=None, **kwargs):
    return {"type": type_, "kwargs": kwargs, **({"severity": severity} if severity else {})}


def between(column, low, high, severity=None, **more):
    return expect("expect_column_values_to_be_between", severity, column=column, min_value=low, max_value=high, **more)


UNIQUE = expect("expect_compound_columns_to_be_unique", column_list=["a", "b"])


def frame(days=("2013-01-01", "2013-01-02"), a=(1, 2, 3, 4)):
    parts = [
        pd.DataFrame({"day": day, "a": list(a), "b": ["x"] * len(a), "v": [0.0, 1.0, 2.0, None][: len(a)]})
        for day in days
    ]
    return pd.concat(parts, ignore_index=True)


def test_rows_that_fail_are_named_with_the_reason(suite_of):
    found = validate_days(
        frame(), suite_of(between("v", 0, 1), expect("expect_column_values_to_not_be_null", column="v"))
    )
    assert list(found) == ["2013-01-01", "2013-01-02"]
    assert found["2013-01-02"].refused_rows.to_dict() == {
        6: "v: expect_column_values_to_be_between (max_value 1.0, min_value 0.0)",
        7: "v: expect_column_values_to_not_be_null",
    }
    for verdict in found.values():
        assert verdict.table_failures == []
        assert [(c.passed, c.failed_rows, c.refuses_day) for c in verdict.checks] == [(False, 1, False)] * 2


def test_a_row_that_fails_twice_has_both_reasons(suite_of):
    found = validate_days(frame(days=("2013-01-01",)), suite_of(between("v", 0, 1), between("a", 1, 2)))
    assert found["2013-01-01"].refused_rows[2].count("expect_column_values_to_be_between") == 2


def test_a_failed_row_on_one_day_is_not_held_against_another(suite_of):
    rows = frame().assign(v=0.0)
    rows.loc[5, "v"] = 9.0
    found = validate_days(rows, suite_of(between("v", 0, 1)))
    assert [c.passed for c in found["2013-01-01"].checks] == [True]
    assert [c.passed for c in found["2013-01-02"].checks] == [False]
    assert found["2013-01-01"].refused_rows.empty


def test_c6_a_key_is_unique_within_a_day_however_many_days_a_run_has(suite_of):
    suite = suite_of(UNIQUE)
    assert all(v.refused_rows.empty for v in validate_days(frame(), suite).values())
    doubled = validate_days(frame(a=(1, 2, 2, 3)), suite)
    assert [sorted(v.refused_rows.index) for v in doubled.values()] == [[1, 2], [5, 6]]
    alone = validate_days(frame(days=("2013-01-01",), a=(1, 2, 2, 3)), suite)
    assert alone["2013-01-01"].checks == doubled["2013-01-01"].checks


def test_the_table_is_judged_by_day_on_the_rows_that_passed(suite_of):
    rows = frame().iloc[:6]
    rows.loc[4, "v"] = 99.0
    suite = suite_of(
        between("v", 0, 10),
        expect("expect_table_row_count_to_be_between", min_value=2, max_value=4),
        expect("expect_column_max_to_be_between", column="v", max_value=5),
    )
    found = validate_days(rows, suite)
    assert found["2013-01-01"].table_failures == []
    (failure,) = found["2013-01-02"].table_failures
    assert (failure.expectation.split(" ")[0], failure.seen) == ("expect_table_row_count_to_be_between", "1")
    assert failure.expected == "max_value 4, min_value 2"


def test_with_mostly_the_day_is_judged_and_no_row_is_refused(suite_of):
    rows = frame(days=("2013-01-01",))
    found = validate_days(rows, suite_of(between("v", 0, 1, mostly=0.6), between("v", 0, 1, mostly=0.9)))["2013-01-01"]
    assert found.refused_rows.empty
    assert [check.passed for check in found.checks] == [True, False]
    assert [check.expected.split(", ")[-1] for check in found.table_failures] == ["mostly 0.9"]


@pytest.mark.parametrize("severity", ["warning", "info"])
def test_below_critical_it_is_on_record_only(suite_of, severity):
    suite = suite_of(
        between("v", 0, 1, severity), expect("expect_column_max_to_be_between", severity, column="v", max_value=1)
    )
    found = validate_days(frame(days=("2013-01-01",)), suite)["2013-01-01"]
    assert found.refused_rows.empty and found.table_failures == []
    assert [(c.passed, c.severity) for c in found.checks] == [(False, severity)] * 2


def test_a_condition_limits_the_rows(suite_of):
    when = {"type": "comparison", "column": {"name": "a"}, "operator": ">", "parameter": 2}
    suite = suite_of(expect("expect_column_values_to_not_be_null", column="v", row_condition=when))
    found = validate_days(frame(days=("2013-01-01",)), suite)
    assert found["2013-01-01"].refused_rows.to_dict() == {3: "v: expect_column_values_to_not_be_null (where a > 2)"}


@pytest.mark.parametrize(
    "expectation",
    [
        expect("expect_column_values_to_not_be_null", column="nope"),
        expect("expect_column_max_to_be_between", column="nope", max_value=1),
        between("b", 0, 1),
        expect("expect_column_values_to_match_regex", column="b", regex="("),
    ],
    ids=["rows", "table", "type", "regex"],
)
def test_x4_a_validator_that_raises_is_neither_failed_nor_passed(suite_of, expectation):
    with pytest.raises(ValidationBrokenError, match="the validator raised"):
        validate_days(frame(), suite_of(expectation))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        '{"name": "x", "expectations": []}',
        '{"name": "x", "expectations": [{"type": "expect_the_moon", "kwargs": {}}]}',
        '{"name": "x", "expectations": [{"type": "expect_column_max_to_be_between", "kwargs": {"colum": "v"}}]}',
        '{"name": "x", "expectations": [{"kwargs": {}}]}',
    ],
)
def test_a_suite_that_cannot_be_used_is_a_spec_error(tmp_path, text):
    path = tmp_path / "things.json"
    path.write_text(text)
    with pytest.raises(SpecError, match="an expectation suite"):
        load_suite(path)


def test_a_suite_that_is_not_there_is_a_spec_error(tmp_path):
    with pytest.raises(SpecError, match=r"FileNotFoundError"):
        load_suite(tmp_path / "nope.json")
