"""Expectation suites from JSON, and what they say of days.

A suite is data in GX's own format (docs.greatexpectations.io). What an expectation that fails does follows from what it
is:

- one that speaks of rows (values in a range, a unique key) sends the rows that fail it to quarantine;
- one that speaks of the table (row count, share of nulls, freshness), or has `mostly` below 1, refuses the day;
- one with `"severity": "warning"` or `"info"` does neither: it is on record.

Each day is judged by itself, so a range of days in one run gives the verdicts that single runs give. Expectations that
look at one row at a time run over all days, PIECE rows at a time; the others day by day on the rows that passed those.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from ratchet.errors import SpecError, StorageError, SuiteMisfitError
from ratchet.validator import Answer, Validator

DAY = "day"
PIECE = 500_000  # rows that GX gets at a time: some 100 MB and, besides what each row takes, 0.2 seconds
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
_OF_THE_PATH = (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError)  # not of the disk


@dataclass(frozen=True)
class Suite:
    """A suite as its file says it: `expectations` in GX's JSON form."""

    name: str
    path: Path
    expectations: tuple[dict, ...] = field(repr=False)

    def part(self, row_by_row: bool) -> _Part:
        asked = [e for e in self.expectations if _is_row_by_row(e) == row_by_row]
        return _Part(asked, Validator.of(self.name, self.path, asked))

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
    """The suite of a JSON file. Raises SpecError if GX can't make expectations of it, or it holds none; StorageError
    when the disk fails."""
    path = Path(path)
    try:
        raw = json.loads(path.read_text("utf-8"))
        suite = Suite(name=str(raw["name"]), path=path, expectations=tuple(raw["expectations"]))
        Validator.of(suite.name, path, suite.expectations)
    except Exception as error:  # GX, pydantic and JSON each have families of their own
        if isinstance(error, OSError) and not isinstance(error, _OF_THE_PATH):
            raise StorageError(
                "the disk failed while an expectation suite was loaded",
                seen=error.strerror or error,
                where=error.filename or path,
                hint="make room on the disk, that of temporary files too (TMPDIR), then run again",
            ) from error
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

    Raises SuiteMisfitError if the suite names a column that isn't there; ValidationBrokenError if GX raises, or if an
    expectation gives no clear answer.
    """
    _refuse_unknown_columns(suite, frame.columns)
    which, days = pd.factorize(frame[DAY], sort=True)
    checks: dict[str, list[Check]] = {day: [] for day in days}
    reasons = _Reasons(len(frame))
    rows_part, rest = (suite.part(row_by_row) for row_by_row in (True, False))
    for answer in rows_part.validator.run_in_pieces(rows_part.narrowed(frame), PIECE):
        at = frame.index.get_indexer(answer.failed)
        for day, failed in zip(days, np.bincount(which[at], minlength=len(days)).tolist(), strict=True):
            checks[day].append(_check_of_rows(day, answer, failed))
        reasons.note(at, answer)
    for day, rows in _by_day(rest.narrowed(frame), frame[DAY], reasons.codes == 0) if rest.asked else ():
        for answer in rest.validator.run(rows):
            checks[day].append(_check_of_day(day, answer))
            reasons.note(frame.index.get_indexer(answer.failed), answer)
    at = np.flatnonzero(reasons.codes)
    refused = pd.Series(reasons.texts_of(at), index=frame.index[at], dtype="str")
    return {day: Verdict(day, refused[which[at] == code], tuple(checks[day])) for code, day in enumerate(days)}


@dataclass(frozen=True)
class _Part:
    """Some of a suite's expectations, and what runs them."""

    asked: list[dict]
    validator: Validator

    def narrowed(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Only what the expectations may look at, or a column for GX to count rows by."""
        return frame[_read_by(self.asked, frame.columns) or [DAY]]


class _Reasons:
    """Why rows are refused: `codes` has a number for each, 0 for a row that isn't. A list of texts for each row would
    take half a kilobyte a row."""

    def __init__(self, rows: int) -> None:
        self.codes = np.zeros(rows, dtype="int32")
        self._texts = [""]

    def note(self, at: np.ndarray, answer: Answer) -> None:
        """That these rows failed, if it sends them to quarantine."""
        if not len(at) or not _quarantines(answer):
            return
        before, which = np.unique(self.codes[at], return_inverse=True)
        first = len(self._texts)
        self._texts += [f"{self._texts[code]}; {answer.expectation}" if code else answer.expectation for code in before]
        self.codes[at] = first + which

    def texts_of(self, at: np.ndarray) -> pd.api.extensions.ExtensionArray:
        return pd.array(self._texts, dtype="str").take(self.codes[at])


def _by_day(frame: pd.DataFrame, days: pd.Series, kept: np.ndarray) -> Iterator[tuple[str, pd.DataFrame]]:
    """The rows kept of each day that has any."""
    if not kept.all():
        frame, days = frame[kept], days[kept]
    if days.nunique() == 1:
        yield days.iloc[0], frame  # groupby would copy it
    else:
        yield from frame.groupby(days)


def _refuse_unknown_columns(suite: Suite, columns: Iterable[str]) -> None:
    known = set(columns)
    if unknown := sorted({name for one in suite.expectations for name in _columns_of(one)} - known):
        raise SuiteMisfitError(
            f"suite {suite.name!r} asks for columns that there aren't",
            seen=", ".join(unknown),
            expected="columns of the dataset, or those that are made for suites, such as delivered_after_hours",
            where=suite.path,
            hint="mend the names in the suite, or the columns in the dataset's spec; trying again won't help",
        )


def _columns_of(expectation: dict) -> list[str]:
    """The columns without which GX raises."""
    if expectation["type"] in _OF_ALL_COLUMNS:
        return []
    kwargs = expectation.get("kwargs", {})
    named = [kwargs.get("column"), kwargs.get("column_A"), kwargs.get("column_B"), *kwargs.get("column_list", ())]
    return [name for name in named if name]


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


def _is_row_by_row(expectation: dict) -> bool:
    return expectation["type"] in _ROW_BY_ROW and expectation.get("kwargs", {}).get("mostly", 1) == 1


def _quarantines(answer: Answer) -> bool:
    """A critical failure of which GX names the rows, unless a share of failing rows is allowed."""
    return not answer.passed and answer.severity == "critical" and answer.names_rows and not answer.allows_some


def _check_of_rows(day: str, answer: Answer, failed: int) -> Check:
    """Of one day, of an expectation that looks at one row at a time and was asked of all days at once."""
    seen = f"{failed} rows"
    return Check(day, answer.expectation, answer.severity, not failed, failed, seen, answer.expected, False)


def _check_of_day(day: str, answer: Answer) -> Check:
    failed = len(answer.failed)
    return Check(
        day=day,
        expectation=answer.expectation,
        severity=answer.severity,
        passed=answer.passed,
        failed_rows=failed,
        seen=f"{failed} rows" if answer.names_rows or answer.counts_rows else answer.seen,
        expected=answer.expected,
        refuses_day=not answer.passed and answer.severity == "critical" and not _quarantines(answer),
    )
