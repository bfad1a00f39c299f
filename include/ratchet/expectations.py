"""Great Expectations, adapted: suites from JSON, verdicts by day. The only module that imports great_expectations.

A suite is data in GX's own format. What an expectation that fails does follows from what it is:

- one that speaks of rows (values in a range, a unique key) sends the rows that fail it to quarantine;
- one that speaks of the table (row count, share of nulls, freshness), or has `mostly` below 1, refuses the day;
- one with `"severity": "warning"` or `"info"` does neither: it is on record.

Each day is judged by itself, so a range of days in one run gives the verdicts that single runs give. Expectations that
look at one row at a time run once over all days, for speed; the others day by day on the rows that passed those.
GX copies and hashes whole frames, so it gets the columns that expectations name, no others.
GX that raises is ValidationBrokenError: neither "failed" nor "passed".
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import pandas as pd

os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
logging.getLogger("great_expectations").setLevel(logging.WARNING)  # its import alone says hundreds of lines at INFO

import great_expectations as gx  # noqa: E402 - it reads the switch above when imported
from great_expectations.core.expectation_suite import ExpectationSuite  # noqa: E402
from great_expectations.data_context.types.base import ProgressBarsConfig  # noqa: E402
from great_expectations.expectations.expectation_configuration import ExpectationConfiguration  # noqa: E402
from great_expectations.validator.v1_validator import Validator  # noqa: E402

from ratchet.errors import SpecError, ValidationBrokenError  # noqa: E402

DAY = "day"
# Expectations whose verdict on a row depends on that row alone. Any other that yields rows runs day by day.
_ROW_BY_ROW = frozenset(
    {
        "expect_column_values_to_be_between",
        "expect_column_values_to_be_in_set",
        "expect_column_values_to_not_be_in_set",
        "expect_column_values_to_be_null",
        "expect_column_values_to_not_be_null",
        "expect_column_values_to_match_regex",
        "expect_column_values_to_not_match_regex",
        "expect_column_values_to_match_regex_list",
        "expect_column_values_to_not_match_regex_list",
        "expect_column_value_lengths_to_be_between",
        "expect_column_value_lengths_to_equal",
        "expect_column_pair_values_a_to_be_greater_than_b",
        "expect_column_pair_values_to_be_equal",
        "expect_column_pair_values_to_be_in_set",
        "expect_multicolumn_sum_to_equal",
        "expect_select_column_values_to_be_unique_within_record",
    }
)
# Of these families the verdict depends on columns that the expectation names, and on no others.
_OF_NAMED_COLUMNS = ("expect_column_", "expect_compound_columns_", "expect_multicolumn_", "expect_select_column_")
_OF_ALL_COLUMNS = frozenset({"expect_column_to_exist"})  # it may ask for a place among them
_OF_NO_COLUMN = frozenset({"expect_table_row_count_to_be_between", "expect_table_row_count_to_equal"})
_EXACT_AS_FLOAT = 2**53
_NOT_FACTS = {"batch_id", "column", "column_A", "column_B", "column_list", "result_format", "condition_parser"}


@dataclass(frozen=True)
class Suite:
    """A suite as its file says it: `expectations` in GX's JSON form."""

    name: str
    path: Path
    expectations: tuple[dict, ...] = field(repr=False)

    def part(self, row_by_row: bool) -> list[dict]:
        return [e for e in self.expectations if _is_row_by_row(e) == row_by_row]

    def reads(self, columns: Iterable[str]) -> list[str]:
        """Those of the columns that some expectation may look at."""
        return _read_by(self.expectations, columns)


@dataclass(frozen=True)
class Check:
    """One expectation against one day. `failed_rows` is 0 where it speaks of the table; `refuses_day`: it failed,
    and the day with it."""

    day: str
    expectation: str
    severity: str
    passed: bool
    failed_rows: int
    seen: str
    expected: str
    refuses_day: bool


@dataclass(frozen=True)
class Verdict:
    """What a suite says of one day. `refused_rows`: reason by index of the frame, several joined by "; "."""

    day: str
    refused_rows: pd.Series
    checks: tuple[Check, ...]

    @property
    def table_failures(self) -> list[Check]:
        return [check for check in self.checks if check.refuses_day]


def load_suite(path: Path) -> Suite:
    """The suite of a JSON file. Raises SpecError if GX can't make expectations of it, or it holds none."""
    path = Path(path)
    try:
        raw = json.loads(path.read_text("utf-8"))
        suite = Suite(name=str(raw["name"]), path=path, expectations=tuple(raw["expectations"]))
        _gx_suite(suite, list(suite.expectations))
    except Exception as error:  # GX, pydantic and JSON each have families of their own
        raise SpecError(
            "an expectation suite that can't be used",
            seen=f"{type(error).__name__}: {error}",
            expected='{"name": ..., "expectations": [{"type": "expect_...", "kwargs": {...}}, ...]}',
            where=path,
            hint="mend the file; docs of expectations: greatexpectations.io/expectations",
        ) from error
    if not suite.expectations:
        raise SpecError("an expectation suite without expectations", where=path, hint="say what good data is")
    return suite


def validate_days(frame: pd.DataFrame, suite: Suite) -> dict[str, Verdict]:
    """The verdict on each day of `frame`, which has a `day` column and a unique index.

    Raises ValidationBrokenError if GX raises, or if an expectation gives no clear answer.
    """
    reasons: dict[object, list[str]] = {}
    checks: dict[str, list[Check]] = {day: [] for day in sorted(frame[DAY].unique())}
    days = frame[DAY]
    rows_part, rest = (_Part.of(suite, row_by_row) for row_by_row in (True, False))
    for result in rows_part.run(_between_as_numbers(rows_part.narrowed(frame), rows_part.asked)):
        failed = days.loc[_unexpected(result)].value_counts()
        for day, kept in checks.items():
            kept.append(_check(day, result, failed_rows=int(failed.get(day, 0))))
        _note(reasons, result)
    for day, rows in _by_day(rest.narrowed(frame), days, reasons) if rest.asked else ():
        for result in rest.run(rows):
            checks[day].append(_check(day, result, failed_rows=len(_unexpected(result))))
            _note(reasons, result)
    refused = pd.Series({index: "; ".join(said) for index, said in reasons.items()}, dtype="str")
    by_day = refused.groupby(days.reindex(refused.index)) if len(refused) else {}
    parts = dict(list(by_day))
    return {day: Verdict(day, parts.get(day, refused.iloc[:0]), tuple(kept)) for day, kept in checks.items()}


@dataclass(frozen=True)
class _Part:
    """Some of a suite's expectations, as its file says them and as GX wants them."""

    suite: Suite
    asked: list[dict]
    made: ExpectationSuite

    @classmethod
    def of(cls, suite: Suite, row_by_row: bool) -> _Part:
        asked = suite.part(row_by_row)
        return cls(suite, asked, _gx_suite(suite, asked))

    def narrowed(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Only what the expectations may look at, or a column for GX to count rows by."""
        return frame[_read_by(self.asked, frame.columns) or [DAY]]

    def run(self, frame: pd.DataFrame) -> list:
        """GX's results, in order."""
        if not self.asked:
            return []
        try:
            # What Batch.validate does, but for loading and hashing the frame a second time.
            wanted = {"result_format": "COMPLETE"}
            validator = Validator(_batch_definition(), wanted, batch_parameters={"dataframe": frame})
            outcome = validator.validate_expectation_suite(self.made)
        except Exception as error:
            raise _broken(self.suite, type(error).__name__, str(error)) from error
        for result in outcome.results:
            if (raised := _raised(result.exception_info)) is not None:
                raise _broken(self.suite, _describe(result), raised)
            if _judged_by_rows(result) and not result.success and not _unexpected(result):
                raise _broken(self.suite, _describe(result), "failed without naming a row")
        if len(outcome.results) != len(self.asked):
            raise _broken(self.suite, f"{len(outcome.results)} answers", f"{len(self.asked)} expectations asked")
        return list(outcome.results)


def _by_day(frame: pd.DataFrame, days: pd.Series, without: Collection) -> Iterator[tuple[str, pd.DataFrame]]:
    """The rows of each day that has any, but for those whose index is in `without`."""
    if without:
        kept = ~frame.index.isin(list(without))
        frame, days = frame[kept], days[kept]
    yield from frame.groupby(days)


def _read_by(expectations: Iterable[dict], columns: Iterable[str]) -> list[str]:
    if not all(map(_says_what_it_reads, expectations)):
        return list(columns)
    named = {text for one in expectations for text in _texts(one.get("kwargs", {}))}
    return [name for name in columns if name in named]


def _says_what_it_reads(expectation: dict) -> bool:
    kind, kwargs = expectation["type"], expectation.get("kwargs", {})
    if isinstance(kwargs.get("row_condition"), str):  # an expression, over any columns
        return False
    return kind in _OF_NO_COLUMN or (kind.startswith(_OF_NAMED_COLUMNS) and kind not in _OF_ALL_COLUMNS)


def _texts(value: object) -> Iterator[str]:
    """Every text in a JSON value: the names of columns are among them."""
    if isinstance(value, str):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ():
        yield from _texts(inner)


def _between_as_numbers(frame: pd.DataFrame, expectations: list[dict]) -> pd.DataFrame:
    """With plain integers, where there are no nulls, for GX to compare with bounds: it takes others value by value."""
    between = [e["kwargs"] for e in expectations if e["type"] == "expect_column_values_to_be_between"]
    numbers = {kwargs.get("column") for kwargs in between if _has_plain_bounds(kwargs)}
    plain = {
        name: frame[name].to_numpy("int64")
        for name in numbers & set(frame.columns)
        if frame[name].dtype == "Int64" and not frame[name].hasnans and _is_exact_as_float(frame[name])
    }
    return frame.assign(**plain) if plain else frame


def _has_plain_bounds(kwargs: dict) -> bool:
    bounds = (kwargs.get("min_value"), kwargs.get("max_value"))
    return all(bound is None or type(bound) in (int, float) for bound in bounds)


def _is_exact_as_float(values: pd.Series) -> bool:
    return not len(values) or bool(values.min() > -_EXACT_AS_FLOAT and values.max() < _EXACT_AS_FLOAT)


def _is_row_by_row(expectation: dict) -> bool:
    return expectation["type"] in _ROW_BY_ROW and expectation.get("kwargs", {}).get("mostly", 1) == 1


@lru_cache(maxsize=1)
def _batch_definition():
    """An ephemeral context: it writes nothing, so tasks may run side by side."""
    # This module of GX sets a level of its own.
    logging.getLogger("great_expectations.data_context.types.base").setLevel(logging.WARNING)
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    asset = context.data_sources.add_pandas("frames").add_dataframe_asset("frame")
    return asset.add_batch_definition_whole_dataframe("whole")


def _gx_suite(suite: Suite, expectations: list[dict]) -> ExpectationSuite:
    _batch_definition()  # a suite needs a context
    # One by one: given as JSON, ExpectationSuite only logs those it can't make, and leaves them out.
    made = [ExpectationConfiguration(**one).to_domain_obj() for one in expectations]
    return ExpectationSuite(name=suite.name, expectations=made)


def _raised(info: object) -> str | None:
    """The message of an exception in GX's exception_info, flat or nested by metric, None if there is none."""
    if not isinstance(info, dict):
        return None
    if info.get("raised_exception"):
        return str(info.get("exception_message"))
    return next((said for value in info.values() if (said := _raised(value)) is not None), None)


def _broken(suite: Suite, what: str, raised: str) -> ValidationBrokenError:
    return ValidationBrokenError(
        f"the validator raised: {what}",
        seen=raised[:500],
        expected="a verdict",
        where=suite.path,
        hint="this is neither 'failed' nor 'passed': mend the suite (columns it names, types) and run again",
    )


def _unexpected(result) -> list:
    """The index of the rows that failed. Empty for an expectation that speaks of the table."""
    return list((result.result or {}).get("unexpected_index_list") or [])


def _quarantines(result) -> bool:
    """A critical failure of which GX names the rows, unless a share of failing rows is allowed."""
    return (
        not result.success
        and _severity(result) == "critical"
        and "unexpected_index_list" in (result.result or {})
        and result.expectation_config.kwargs.get("mostly", 1) == 1
    )


def _note(reasons: dict[object, list[str]], result) -> None:
    if _quarantines(result):
        said = _describe(result)
        for index in _unexpected(result):
            reasons.setdefault(index, []).append(said)


def _check(day: str, result, failed_rows: int) -> Check:
    by_row = "unexpected_index_list" in (result.result or {}) or "unexpected_count" in (result.result or {})
    passed = failed_rows == 0 if _judged_by_rows(result) else bool(result.success)
    return Check(
        day=day,
        expectation=_describe(result),
        severity=_severity(result),
        passed=passed,
        failed_rows=failed_rows,
        seen=f"{failed_rows} rows" if by_row else _plain((result.result or {}).get("observed_value")),
        expected=_plain(_facts(result)),
        refuses_day=not passed and _severity(result) == "critical" and not _quarantines(result),
    )


def _judged_by_rows(result) -> bool:
    return _is_row_by_row({"type": result.expectation_config.type, "kwargs": result.expectation_config.kwargs})


def _severity(result) -> str:
    return str(getattr(result.expectation_config.severity, "value", result.expectation_config.severity))


def _describe(result) -> str:
    """E.g. `wind_speed: expect_column_values_to_be_between (max_value 150)`."""
    config = result.expectation_config
    kwargs = config.kwargs
    named = [kwargs.get("column"), kwargs.get("column_A"), kwargs.get("column_B"), *kwargs.get("column_list", [])]
    subject = ", ".join(name for name in named if name)
    facts = _plain(_facts(result))
    return f"{subject + ': ' if subject else ''}{config.type}{f' ({facts})' if facts else ''}"


def _facts(result) -> dict:
    kwargs = result.expectation_config.kwargs
    facts = {key: value for key, value in kwargs.items() if key not in _NOT_FACTS and value is not None}
    if isinstance(where := facts.get("row_condition"), dict) and where.get("type") == "comparison":
        del facts["row_condition"]
        facts["where"] = f"{where['column']['name']} {where['operator']} {where['parameter']}"
    return facts


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain(one)}" for key, one in sorted(value.items()))
    return value if isinstance(value, str) else json.dumps(value, default=str)
