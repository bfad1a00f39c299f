"""Great Expectations, adapted: who is refused, who is only on record, and what happens when it raises."""

import errno
import json
import os
import re
from functools import lru_cache
from pathlib import Path

import great_expectations as gx
import pandas as pd
import pytest
from great_expectations.data_context.types.base import ProgressBarsConfig
from great_expectations.expectations.expectation_configuration import ExpectationConfiguration
from great_expectations.expectations.registry import list_registered_expectation_implementations

from ratchet import expectations, validator
from ratchet.errors import SpecError, StorageError, SuiteMisfitError, ValidationBrokenError
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
        between("b", 0, 1),
        expect("expect_column_max_to_be_between", column="b", max_value=1),
        expect("expect_column_values_to_match_regex", column="b", regex="("),
    ],
    ids=["rows", "table", "regex"],
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


# --- the same as Great Expectations alone on whole days ---

PLAIN = {
    "a": [1, 2, 2, None, 5, -3, 7],
    "v": [0.0, 1.0, None, 9.0, 0.5, 2.0, 1.0],
    "w": [0.0, 2.0, 1.0, 9.0, 0.0, 3.0, 1.0],
}
TEXTS = {"s": ["ab", "cd", None, "AB", "ab", "", "xyz"], "t": ["ab", "x", "y", "AB", None, "", "xyz"]}
ODD = {
    "day_text": ["2013-01-01", "x", None, "2013-01-02", "2013-01-01", "1 May", ""],
    "json": ['{"a": 1}', "{", None, "[]", "1", '"x"', "{}"],
}
WHERE = {"type": "comparison", "column": {"name": "w"}, "operator": ">", "parameter": 0.5}


def two_days():
    """Rows that fail nearly everything, on one of two days: pieces of three begin on the one and end on the other."""
    one = pd.DataFrame(PLAIN | TEXTS | ODD).astype({"a": "Int64", **dict.fromkeys([*TEXTS, *ODD], "str")})
    one["at"] = pd.to_datetime(["2013-01-01T10:00Z", None, *["2013-01-02T11:00Z"] * 5]).astype("datetime64[us, UTC]")
    good = one.iloc[[0, 0, 0, 6, 6]].assign(a=[1, 2, 3, 4, 5])
    frame = pd.concat([one.assign(day="2013-01-01"), good.assign(day="2013-01-02")], ignore_index=True)
    return frame.set_axis(range(100, 112))


# Of each expectation that GX has, what to ask. More than once where it works in several ways.
ASKED = {
    "expect_column_distinct_values_to_be_in_set": [{"column": "s", "value_set": ["ab", "cd"]}],
    "expect_column_distinct_values_to_contain_set": [{"column": "s", "value_set": ["ab", "cd"]}],
    "expect_column_distinct_values_to_equal_set": [{"column": "s", "value_set": ["ab", "xyz"]}],
    "expect_column_kl_divergence_to_be_less_than": [
        {"column": "s", "threshold": 0.1, "partition_object": {"values": ["ab", "xyz"], "weights": [0.5, 0.5]}}
    ],
    "expect_column_max_to_be_between": [{"column": "v", "max_value": 5}],
    "expect_column_mean_to_be_between": [{"column": "w", "max_value": 1}],
    "expect_column_median_to_be_between": [{"column": "w", "max_value": 0.5}],
    "expect_column_min_to_be_between": [{"column": "a", "min_value": 0}],
    "expect_column_most_common_value_to_be_in_set": [{"column": "s", "value_set": ["ab"]}],
    "expect_column_pair_values_a_to_be_greater_than_b": [
        {"column_A": "w", "column_B": "v"},
        {"column_A": "w", "column_B": "v", "or_equal": True, "ignore_row_if": "either_value_is_missing"},
        {"column_A": "w", "column_B": "v", "mostly": 0.5},
    ],
    "expect_column_pair_values_to_be_equal": [
        {"column_A": "s", "column_B": "t"},
        {"column_A": "s", "column_B": "t", "ignore_row_if": "either_value_is_missing"},
        {"column_A": "s", "column_B": "t", "ignore_row_if": "neither"},
    ],
    "expect_column_pair_values_to_be_in_set": [
        {"column_A": "s", "column_B": "t", "value_pairs_set": [["ab", "ab"], ["xyz", "xyz"]]}
    ],
    "expect_column_proportion_of_non_null_values_to_be_between": [{"column": "s", "min_value": 0.9}],
    "expect_column_proportion_of_unique_values_to_be_between": [{"column": "a", "min_value": 0.9}],
    "expect_column_quantile_values_to_be_between": [
        {"column": "w", "quantile_ranges": {"quantiles": [0.5], "value_ranges": [[0, 0.5]]}}
    ],
    "expect_column_stdev_to_be_between": [{"column": "w", "max_value": 1}],
    "expect_column_sum_to_be_between": [{"column": "w", "max_value": 5}],
    "expect_column_to_exist": [{"column": "s"}, {"column": "nope"}, {"column": "s", "column_index": 3}],
    "expect_column_type_to_be": [{"column": "s", "type_": "str"}],
    "expect_column_unique_value_count_to_be_between": [{"column": "a", "max_value": 5}],
    "expect_column_value_lengths_to_be_between": [{"column": "s", "min_value": 2, "max_value": 2}],
    "expect_column_value_lengths_to_equal": [{"column": "s", "value": 2}],
    "expect_column_value_z_scores_to_be_less_than": [{"column": "w", "threshold": 1, "double_sided": True}],
    "expect_column_values_to_be_between": [
        {"column": "v", "min_value": 0, "max_value": 1},
        {"column": "v", "max_value": 1, "strict_max": True},
        {"column": "a", "min_value": 0, "max_value": 5},
        {"column": "w", "min_value": 0.5, "row_condition": WHERE},
        {"column": "w", "max_value": 1.5, "row_condition": 'day=="2013-01-01"', "condition_parser": "pandas"},
        {"column": "w", "max_value": 1.5, "mostly": 0.5},
        {"column": "s", "min_value": 0, "max_value": 1},  # raises
    ],
    "expect_column_values_to_be_dateutil_parseable": [{"column": "day_text"}],
    "expect_column_values_to_be_decreasing": [{"column": "w"}],
    "expect_column_values_to_be_in_set": [
        {"column": "s", "value_set": ["ab", "xyz"]},
        {"column": "a", "value_set": [1, 2]},
    ],
    "expect_column_values_to_be_in_type_list": [{"column": "s", "type_list": ["str"]}],
    "expect_column_values_to_be_increasing": [{"column": "w"}],
    "expect_column_values_to_be_json_parseable": [{"column": "json"}],
    "expect_column_values_to_be_null": [{"column": "s"}, {"column": "at"}],
    "expect_column_values_to_be_of_type": [{"column": "s", "type_": "str"}, {"column": "v", "type_": "str"}],
    "expect_column_values_to_be_unique": [{"column": "s"}, {"column": "w", "mostly": 0.3}],
    "expect_column_values_to_match_json_schema": [{"column": "json", "json_schema": {"type": "object"}}],
    "expect_column_values_to_match_like_pattern": [{"column": "s", "like_pattern": "a%"}],
    "expect_column_values_to_match_like_pattern_list": [{"column": "s", "like_pattern_list": ["a%"]}],
    "expect_column_values_to_match_regex": [{"column": "s", "regex": "^[a-z]{2}$"}, {"column": "a", "regex": "^[12]$"}],
    "expect_column_values_to_match_regex_list": [
        {"column": "s", "regex_list": ["^a", "b$"], "match_on": "all"},
        {"column": "s", "regex_list": ["^a", "^x"]},
    ],
    "expect_column_values_to_match_strftime_format": [{"column": "day_text", "strftime_format": "%Y-%m-%d"}],
    "expect_column_values_to_not_be_in_set": [{"column": "s", "value_set": ["ab"]}],
    "expect_column_values_to_not_be_null": [{"column": "s"}, {"column": "a"}, {"column": "at"}, {"column": "v"}],
    "expect_column_values_to_not_be_outliers": [{"column": "w", "method": "iqr", "multiplier": 1.5}],
    "expect_column_values_to_not_match_like_pattern": [{"column": "s", "like_pattern": "a%"}],
    "expect_column_values_to_not_match_like_pattern_list": [{"column": "s", "like_pattern_list": ["a%"]}],
    "expect_column_values_to_not_match_regex": [{"column": "s", "regex": "^[A-Z]"}],
    "expect_column_values_to_not_match_regex_list": [{"column": "s", "regex_list": ["^A", "z$"]}],
    "expect_compound_columns_to_be_unique": [{"column_list": ["s", "w"]}],
    "expect_multicolumn_sum_to_equal": [{"column_list": ["v", "w"], "sum_total": 0}],
    "expect_multicolumn_values_to_be_equal": [{"column_list": ["s", "t"]}],
    "expect_query_results_to_match_comparison": [],
    "expect_select_column_values_to_be_unique_within_record": [
        {"column_list": ["v", "w"]},
        {"column_list": ["s", "t"], "ignore_row_if": "any_value_is_missing"},
    ],
    "expect_table_column_count_to_be_between": [{"min_value": 20}],
    "expect_table_column_count_to_equal": [{"value": 9}],
    "expect_table_columns_to_match_ordered_list": [{"column_list": ["a", "v"]}],
    "expect_table_columns_to_match_set": [{"column_set": ["a", "v"], "exact_match": False}],
    "expect_table_row_count_to_be_between": [{"min_value": 6}],
    "expect_table_row_count_to_equal": [{"value": 7}],
    "expect_table_row_count_to_equal_other_table": [{"other_table_name": "x"}],
    "unexpected_rows_expectation": [{"unexpected_rows_query": "SELECT * FROM {batch} WHERE w > 1"}],
}
BETWEEN_OF_TEXT = {"column": "s", "min_value": 0, "max_value": 1}
BREAKING = {
    "expect_column_values_to_match_json_schema",
    "expect_table_row_count_to_equal_other_table",
    "unexpected_rows_expectation",
    *(kind for kind in ASKED if "like_pattern" in kind),
}
UNIQUE_IN_W = expect("expect_column_values_to_be_unique", column="w")
CASES = [{"type": kind, "kwargs": kwargs} for kind, asked in ASKED.items() for kwargs in asked]


@lru_cache(maxsize=1)
def whole_frames():
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    asset = context.data_sources.add_pandas("p").add_dataframe_asset("a")
    return asset.add_batch_definition_whole_dataframe("b")


def by_great_expectations(expectation, rows):
    """What its documentation says to do: a batch of the rows, the suite in one call. None if it raised."""
    definition = whole_frames()
    made = gx.ExpectationSuite("s", expectations=[ExpectationConfiguration(**expectation).to_domain_obj()])
    batch = definition.get_batch({"dataframe": rows})
    (result,) = batch.validate(made, result_format={"result_format": "COMPLETE"}).results
    return None if re.search(r"raised_exception\W+true", str(result.exception_info), re.IGNORECASE) else result


def test_every_expectation_there_is_has_a_case_here():
    assert set(list_registered_expectation_implementations()) <= set(ASKED)


@pytest.mark.parametrize("severity", ["critical", "warning"])
@pytest.mark.parametrize("asked", CASES, ids=lambda asked: f"{asked['type']} {asked['kwargs']}"[:90])
def test_verdicts_are_those_of_great_expectations_on_whole_days(suite_of, asked, severity, monkeypatch):
    monkeypatch.setattr(expectations, "PIECE", 3)
    frame, suite = two_days(), suite_of({**asked, "severity": severity})
    alone = {day: by_great_expectations(asked, rows) for day, rows in frame.groupby("day")}
    if any(result is None for result in alone.values()):
        with pytest.raises(ValidationBrokenError, match="the validator raised"):
            validate_days(frame, suite)
        return
    found = validate_days(frame, suite)
    for day, result in alone.items():
        (check,), success, said = found[day].checks, bool(result.success), result.result or {}
        failed = said.get("unexpected_index_list") or []
        assert (check.passed, check.failed_rows, check.severity) == (success, len(failed), severity)
        if "unexpected_count" in said:
            assert check.seen == f"{len(failed)} rows"
        sent_off = not success and "unexpected_index_list" in said and asked["kwargs"].get("mostly", 1) == 1
        critical = severity == "critical"
        assert sorted(found[day].refused_rows.index) == (sorted(failed) if sent_off and critical else [])
        assert set(found[day].refused_rows) <= {check.expectation}
        assert check.refuses_day is (not success and not sent_off and critical)


@pytest.mark.parametrize("severity", ["critical", "warning"])
def test_a_suite_asked_in_pieces_says_what_it_says_of_the_whole(suite_of, severity, monkeypatch):
    """When they are critical hardly a row is left for the table's expectations, when they warn all are."""
    kept = [e for e in CASES if e["type"] not in BREAKING and "nope" not in str(e) and e["kwargs"] != BETWEEN_OF_TEXT]
    suite, said = suite_of(*({**one, "severity": severity} for one in kept)), []
    for size in (1, 4, 1000):
        monkeypatch.setattr(expectations, "PIECE", size)
        said.append(validate_days(two_days(), suite))
    for day in said[0]:
        assert said[0][day].checks == said[1][day].checks == said[2][day].checks != ()
        refused = [one[day].refused_rows.to_dict() for one in said]
        assert refused[0] == refused[1] == refused[2] and bool(refused[0]) is (severity == "critical")


def test_x4_a_validator_that_raises_in_one_piece_of_many_is_neither_failed_nor_passed(suite_of, monkeypatch):
    monkeypatch.setattr(expectations, "PIECE", 3)
    rows = pd.DataFrame({"day": "2013-01-01", "mixed": pd.Series([1, 2, 3, 4, 5, "x", 7], dtype=object)})
    assert by_great_expectations(between("mixed", 0, 9), rows) is None
    with pytest.raises(ValidationBrokenError, match="the validator raised"):
        validate_days(rows, suite_of(between("mixed", 0, 9)))


def test_great_expectations_gets_the_columns_that_the_suite_names_and_no_others(suite_of, monkeypatch):
    given = []
    run = validator.Validator.run

    def watched(self, frame):
        given.append(sorted(frame.columns))
        return run(self, frame)

    monkeypatch.setattr(validator.Validator, "run", watched)
    pair = expect("expect_column_pair_values_to_be_equal", column_A="s", column_B="t")
    validate_days(two_days(), suite_of(between("v", 0, 1), pair, UNIQUE_IN_W))
    assert given == [["s", "t", "v"], ["w"], ["w"]]
    given.clear()
    validate_days(two_days(), suite_of(expect("expect_table_row_count_to_equal", value=7)))
    assert given == [["day"], ["day"]]
    given.clear()
    validate_days(two_days(), suite_of(between("v", 0, 1, row_condition="w > 1", condition_parser="pandas")))
    assert given == [sorted(two_days().columns)]


@pytest.mark.parametrize(
    "expectation",
    [
        expect("expect_column_values_to_not_be_null", column="nope"),
        expect("expect_column_max_to_be_between", column="nope", max_value=1),
        expect("expect_column_pair_values_to_be_equal", column_A="a", column_B="nope"),
        expect("expect_compound_columns_to_be_unique", column_list=["a", "nope"]),
    ],
    ids=["rows", "table", "pair", "list"],
)
def test_a_suite_that_names_no_column_of_the_data_is_to_be_mended_and_not_tried_again(suite_of, expectation):
    with pytest.raises(SuiteMisfitError, match=r"aren't\n  seen: nope\n(.|\n)*mend the names") as raised:
        validate_days(frame(), suite_of(expectation))
    assert isinstance(raised.value, ValidationBrokenError) and not raised.value.retryable
    assert ValidationBrokenError.retryable


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE])
def test_x3_a_disk_that_fails_while_a_suite_is_loaded_is_not_a_suite_at_fault(suite_of, number, monkeypatch):
    def fails(*_, **__):
        raise OSError(number, os.strerror(number), "/tmp/x")

    path = suite_of(between("v", 0, 1)).path
    monkeypatch.setattr(Path, "read_text", fails)
    with pytest.raises(StorageError, match=os.strerror(number)) as raised:
        load_suite(path)
    assert raised.value.retryable
