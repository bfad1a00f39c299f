"""What would become of the days of some drops: the rows to publish, those set aside, and why a day is refused.

Besides what its suite asks, and whatever that is: a row whose key is null, the same as another's or not to be seen is
set aside, and a drop with a column in which no row has a value is refused, unless the spec says `may_be_empty`.

A suite may also use the columns of ratchet.made_columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ratchet.drop_schema import SchemaChange, listed
from ratchet.drops import Drop
from ratchet.errors import ReconciliationError
from ratchet.expectations import DAY, Check, Suite, Verdict, validate_days
from ratchet.made_columns import repeated, with_made_columns
from ratchet.read_drop import LINE, DropRows
from ratchet.specs import DatasetSpec

MAX_TEXTS = 10_000  # of a refused day's quarantine: all rows of a big file as JSON take twice its size
F = TypeVar("F", pd.DataFrame, pd.Series)
_UNSEEN = r"[\p{C}\p{Zl}\p{Zp}]"  # control and formatting characters: right-to-left override, zero width, line ends


@dataclass(frozen=True)
class CheckedDay:
    """A day after validation: what would be published, what is set aside, what was found, and why it is refused.

    `landed`: rows of the drop's file; each is in `rows` or in `quarantine` (line, reason, row, known_at, drop_sha256),
    or ReconciliationError. `row` is its text as it came (see DropRows.row_texts); of a refused day only the first
    MAX_TEXTS have one. `schema_changes` are among `checks` too.
    """

    drop: Drop
    landed: int
    rows: pd.DataFrame
    quarantine: pd.DataFrame
    checks: list[Check]
    refusals: list[str]
    schema_changes: list[SchemaChange]

    def __post_init__(self) -> None:
        if self.landed != len(self.rows) + len(self.quarantine):
            raise ReconciliationError(
                f"the rows of {self.drop.dataset} for {self.drop.day} do not add up",
                seen=f"{len(self.rows)} to publish and {len(self.quarantine)} set aside",
                expected=f"{self.landed} together, as many as the file holds",
                where=self.drop.address,
                hint="nothing was written; report it with the drop",
            )

    def quality(self, recipe: str) -> pd.DataFrame:
        """A row per expectation, the first for the day as a whole: what was seen, and whether it was published."""
        whole = Check(
            day=self.drop.day,
            expectation="the day as a whole",
            severity="critical",
            passed=not self.refusals,
            failed_rows=len(self.quarantine),
            seen=f"{len(self.rows)} rows kept, {len(self.quarantine)} quarantined",
            expected="; ".join(self.refusals),
            refuses_day=bool(self.refusals),
        )
        frame = pd.DataFrame([vars(check) for check in [whole, *self.checks]])
        return frame.assign(published=not self.refusals, drop_sha256=self.drop.sha256, recipe=recipe)


def check_days(
    spec: DatasetSpec, suite: Suite, recipe: str, read: Mapping[str, tuple[Drop, DropRows]]
) -> dict[str, CheckedDay]:
    """Each day of `read` against the suite, and against what the spec allows to go to quarantine.

    A day is refused if a table-level expectation fails, no row is left, or too many rows are set aside. Raises
    ValidationBrokenError when the validator itself raises.
    """
    frame = _of_all_days(read)
    drops, sizes = [drop for drop, _ in read.values()], _sizes(read)
    verdicts = validate_days(with_made_columns(frame, spec, suite, drops, sizes), suite) if len(frame) else {}
    by_suite = pd.concat([pd.Series(dtype="str"), *(verdict.refused_rows for verdict in verdicts.values())])
    by_key = _key_problems(_without(frame[[DAY, *spec.key]], by_suite.index), spec)
    reasons = pd.concat([by_suite, by_key])
    set_aside = pd.DataFrame({LINE: frame.loc[reasons.index, LINE], "reason": reasons})
    rows = _without(frame[[*spec.columns, DAY, "known_at"]], reasons.index)
    del frame  # its columns for the suite take half as much again
    parts = zip(*(_cut_by_day(one, read) for one in (rows, set_aside, by_key)), strict=True)
    return {
        day: _checked(spec, drop, recipe, read_rows, verdicts.get(day), *part)
        for (day, (drop, read_rows)), part in zip(read.items(), parts, strict=True)
    }


def _of_all_days(read: Mapping[str, tuple[Drop, DropRows]]) -> pd.DataFrame:
    """The rows of all days, one after another, with `day` and `known_at`."""
    frame = _joined([rows.frame for _, rows in read.values()])
    sizes = _sizes(read)
    delivered = [pd.Timestamp(drop.delivered_at).as_unit("us") for drop, _ in read.values()]
    return frame.assign(
        day=repeated(read, sizes).set_axis(frame.index), known_at=repeated(delivered, sizes).set_axis(frame.index)
    )


def _sizes(read: Mapping[str, tuple[Drop, DropRows]]) -> list[int]:
    return [len(rows.frame) for _, rows in read.values()]


def _joined(frames: list[pd.DataFrame]) -> pd.DataFrame:
    """One frame, its texts in one piece each: Arrow is slow on pieces."""
    if len(frames) == 1:
        return frames[0]
    frame = pd.concat(frames, ignore_index=True)
    for name in frame.columns[[isinstance(kind, pd.StringDtype) for kind in frame.dtypes]]:
        texts = pa.array(frame[name], pa.large_string(), from_pandas=True)
        if isinstance(texts, pa.ChunkedArray):
            frame[name] = frame.dtypes[name].__from_arrow__(texts.combine_chunks())
    return frame


def _without(frame: pd.DataFrame, index: pd.Index) -> pd.DataFrame:
    return frame.drop(index=index) if len(index) else frame


def _cut_by_day(found: F, read: Mapping[str, tuple[Drop, DropRows]]) -> list[F]:
    """What belongs to each day of `read`, of something whose index is that of the rows of all days."""
    found = found.sort_index()
    cuts = found.index.searchsorted(np.cumsum([0, *_sizes(read)]))
    return [found.iloc[first:end] for first, end in pairwise(cuts)]


def _checked(
    spec: DatasetSpec,
    drop: Drop,
    recipe: str,
    read: DropRows,
    verdict: Verdict | None,
    rows: pd.DataFrame,
    set_aside: pd.DataFrame,
    by_key: pd.Series,
) -> CheckedDay:
    quarantine = pd.concat([read.refused, set_aside]).sort_values(LINE, ignore_index=True)
    checks = [*_schema_checks(drop, read), *_column_checks(spec, drop, read), *_key_checks(spec, drop, by_key)]
    checks += verdict.checks if verdict else ()
    refusals = _too_few_left(spec, rows, quarantine)
    refusals += [f"{c.expectation}: seen {c.seen}, expected {c.expected}" for c in checks if c.refuses_day]
    quarantine = quarantine.assign(
        row=_row_texts(read, quarantine[LINE], MAX_TEXTS if refusals else None),
        known_at=pd.Timestamp(drop.delivered_at).as_unit("us"),
        drop_sha256=_constant(drop.sha256, len(quarantine)),
    )
    rows = rows.assign(drop_sha256=_constant(drop.sha256, len(rows)), recipe=_constant(recipe, len(rows)))
    return CheckedDay(drop, read.landed, rows, quarantine, checks, refusals, read.schema_changes)


def _constant(text: str, length: int) -> pd.Categorical:
    """A byte for each row instead of the whole text."""
    return pd.Categorical.from_codes(np.zeros(length, "int8"), [text])


def _row_texts(read: DropRows, lines: pd.Series, most: int | None) -> pd.Series:
    texts = read.row_texts(lines.to_numpy()[:most])
    return pd.Series(texts, index=lines.index[: len(texts)], dtype="str").reindex(lines.index)


def _key_problems(frame: pd.DataFrame, spec: DatasetSpec) -> pd.Series:
    """The reason, by index, why a row's key is none; of rows that the suite has set aside nothing more is said."""
    key = frame[[DAY, *spec.key]]
    unseen = {name: _has_unseen(key[name]) for name in spec.key if spec.columns[name] == "string"}
    problems = [
        *((key[name].isna().to_numpy(), f"{name}: null in a key") for name in spec.key),
        *((found, f"{name}: a character in a key that can't be seen") for name, found in unseen.items()),
    ]
    reasons = pd.Series(None, index=frame.index, dtype="str")
    for found, reason in problems:
        if found.any():
            reasons[found & reasons.isna().to_numpy()] = reason
    whole = _without(key, reasons.dropna().index)
    reasons[whole.index[whole.duplicated(keep=False)]] = f"{', '.join(spec.key)}: a key that another row has too"
    return reasons.dropna()


def _has_unseen(values: pd.Series) -> np.ndarray:
    found = pc.match_substring_regex(pa.array(values, pa.large_string(), from_pandas=True), _UNSEEN)
    return found.fill_null(False).to_numpy(zero_copy_only=False)


def _key_checks(spec: DatasetSpec, drop: Drop, reasons: pd.Series) -> list[Check]:
    return [
        Check(drop.day, reason, "critical", False, count, f"{count} rows", "none", refuses_day=False)
        for reason, count in sorted(reasons.value_counts().items())
    ]


def _column_checks(spec: DatasetSpec, drop: Drop, read: DropRows) -> list[Check]:
    """A check for each column without a value, which refuses the day."""
    wanted = [name for name in spec.columns if name not in spec.may_be_empty]
    empty = [name for name in wanted if len(read.frame) and not read.frame[name].notna().any()]
    seen, expected = f"none in {len(read.frame)} rows", "a value, or the column among may_be_empty in the spec"
    return [Check(drop.day, f"{name}: has a value", "critical", False, 0, seen, expected, True) for name in empty]


def _schema_checks(drop: Drop, read: DropRows) -> list[Check]:
    """A check for each kind of change and policy. What a policy refuses doesn't come so far."""
    kinds = dict.fromkeys((change.kind, change.policy) for change in read.schema_changes)
    return [_schema_check(drop, read, kind, policy == "allow") for kind, policy in kinds]


def _schema_check(drop: Drop, read: DropRows, kind: str, allowed: bool) -> Check:
    seen = listed(f"{change.column!r}: {change.detail}" for change in read.schema_changes if change.kind == kind)
    severity = "info" if allowed else "warning"
    return Check(drop.day, f"schema: no column {kind}", severity, allowed, 0, seen, "the spec's columns", False)


def _too_few_left(spec: DatasetSpec, rows: pd.DataFrame, quarantine: pd.DataFrame) -> list[str]:
    total = len(rows) + len(quarantine)
    if not total:
        return ["the drop holds no rows: seen 0, expected at least 1"]
    share = len(quarantine) / total
    if share <= spec.max_quarantined_share and len(rows):
        return []
    common = quarantine["reason"].value_counts().head(3)
    most = "; ".join(f"{count} x {reason}" for reason, count in common.items())
    return [
        f"too many rows for quarantine: seen {len(quarantine)} of {total} ({share:.1%}; most: {most}), "
        f"expected at most {spec.max_quarantined_share:.1%}"
    ]
