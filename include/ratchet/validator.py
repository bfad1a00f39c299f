"""Great Expectations, adapted: what it says of some rows. The only module that imports great_expectations.

GX that raises, or gives no clear answer, is ValidationBrokenError: neither "failed" nor "passed". It copies and hashes
whole frames, so hand it the columns that the expectations name, and no others.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

import pandas as pd

os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
logging.getLogger("great_expectations").setLevel(logging.WARNING)  # its import alone says hundreds of lines at INFO

import great_expectations as gx  # noqa: E402 - it reads the switch above when imported
from great_expectations.core.expectation_suite import ExpectationSuite  # noqa: E402
from great_expectations.data_context.types.base import ProgressBarsConfig  # noqa: E402
from great_expectations.expectations.expectation_configuration import ExpectationConfiguration  # noqa: E402
from great_expectations.validator.v1_validator import Validator as GxValidator  # noqa: E402

from ratchet.errors import ValidationBrokenError  # noqa: E402

_EXACT_AS_FLOAT = 2**53
_NOT_FACTS = {"batch_id", "column", "column_A", "column_B", "column_list", "result_format", "condition_parser"}


@dataclass(frozen=True)
class Answer:
    """What GX says of one expectation over some rows. `failed`: the index of those that fail it, where it `names_rows`;
    `counts_rows`: it says at least how many. `seen` and `expected` in words."""

    expectation: str
    severity: str
    passed: bool
    names_rows: bool
    counts_rows: bool
    allows_some: bool
    seen: str
    expected: str
    failed: pd.Index = field(repr=False)


@dataclass(frozen=True)
class Validator:
    """Some expectations in GX's JSON form, ready to run. `where`: the file that they come from."""

    where: Path
    expectations: Sequence[dict]
    _made: ExpectationSuite = field(repr=False)

    @classmethod
    def of(cls, name: str, where: Path, expectations: Sequence[dict]) -> Validator:
        """Raises what GX and pydantic raise of an expectation that they can't make."""
        _batch_definition()  # a suite needs a context
        # One by one: given as JSON, ExpectationSuite only logs those it can't make, and leaves them out.
        made = [ExpectationConfiguration(**one).to_domain_obj() for one in expectations]
        return cls(where, expectations, ExpectationSuite(name=name, expectations=made))

    def run(self, frame: pd.DataFrame) -> list[Answer]:
        """An answer per expectation, in the same order for any frame."""
        try:
            # What Batch.validate does, but for loading and hashing the frame a second time.
            wanted = {"result_format": "COMPLETE"}
            rows = {"dataframe": _between_as_numbers(frame, self.expectations)}
            validator = GxValidator(_batch_definition(), wanted, batch_parameters=rows)
            outcome = validator.validate_expectation_suite(self._made)
        except Exception as error:
            raise self.broken(type(error).__name__, str(error)) from error
        for result in outcome.results:
            if (raised := _raised(result.exception_info)) is not None:
                raise self.broken(_describe(result), raised)
        if len(outcome.results) != len(self.expectations):
            raise self.broken(f"{len(outcome.results)} answers", f"{len(self.expectations)} expectations asked")
        return [_answer(result) for result in outcome.results]

    def run_in_pieces(self, frame: pd.DataFrame, size: int) -> list[Answer]:
        """As `run`, some rows at a time: for expectations whose verdict on a row depends on that row alone."""
        if not self.expectations:
            return []
        pieces = [self.run(frame.iloc[first : first + size]) for first in range(0, len(frame), size)]
        answers = [_joined(answers) for answers in zip(*pieces, strict=True)]
        for one in answers:
            if not one.passed and not len(one.failed):
                raise self.broken(one.expectation, "failed without naming a row")
        return answers

    def broken(self, what: str, raised: str) -> ValidationBrokenError:
        return ValidationBrokenError(
            f"the validator raised: {what}",
            seen=raised[:500],
            expected="a verdict",
            where=self.where,
            hint="this is neither 'failed' nor 'passed': mend the suite (columns it names, types) and run again",
        )


@lru_cache(maxsize=1)
def _batch_definition():
    """An ephemeral context: it writes nothing, so tasks may run side by side."""
    # This module of GX sets a level of its own.
    logging.getLogger("great_expectations.data_context.types.base").setLevel(logging.WARNING)
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    asset = context.data_sources.add_pandas("frames").add_dataframe_asset("frame")
    return asset.add_batch_definition_whole_dataframe("whole")


def _between_as_numbers(frame: pd.DataFrame, expectations: Sequence[dict]) -> pd.DataFrame:
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


def _raised(info: object) -> str | None:
    """The message of an exception in GX's exception_info, flat or nested by metric, None if there is none."""
    if not isinstance(info, dict):
        return None
    if info.get("raised_exception"):
        return str(info.get("exception_message"))
    return next((said for value in info.values() if (said := _raised(value)) is not None), None)


def _answer(result) -> Answer:
    config, found = result.expectation_config, result.result or {}
    return Answer(
        expectation=_describe(result),
        severity=str(getattr(config.severity, "value", config.severity)),
        passed=bool(result.success),
        names_rows="unexpected_index_list" in found,
        counts_rows="unexpected_count" in found,
        allows_some=config.kwargs.get("mostly", 1) != 1,
        seen=_plain(found.get("observed_value")),
        expected=_plain(_facts(config.kwargs)),
        failed=pd.Index(found.get("unexpected_index_list") or []),
    )


def _joined(answers: Sequence[Answer]) -> Answer:
    """One answer over all rows of answers over some of them."""
    failed = [one.failed for one in answers if len(one.failed)]
    return replace(
        answers[0],
        passed=all(one.passed for one in answers),
        names_rows=any(one.names_rows for one in answers),
        counts_rows=any(one.counts_rows for one in answers),
        failed=failed[0].append(failed[1:]) if failed else answers[0].failed,
    )


def _describe(result) -> str:
    """E.g. `wind_speed: expect_column_values_to_be_between (max_value 150)`."""
    kwargs = result.expectation_config.kwargs
    named = [kwargs.get("column"), kwargs.get("column_A"), kwargs.get("column_B"), *kwargs.get("column_list", [])]
    subject = ", ".join(name for name in named if name)
    facts = _plain(_facts(kwargs))
    return f"{subject + ': ' if subject else ''}{result.expectation_config.type}{f' ({facts})' if facts else ''}"


def _facts(kwargs: dict) -> dict:
    facts = {key: value for key, value in kwargs.items() if key not in _NOT_FACTS and value is not None}
    if isinstance(where := facts.get("row_condition"), dict) and where.get("type") == "comparison":
        del facts["row_condition"]
        facts["where"] = f"{where['column']['name']} {where['operator']} {where['parameter']}"
    return facts


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain(one)}" for key, one in sorted(value.items()))
    return value if isinstance(value, str) else json.dumps(value, default=str)
