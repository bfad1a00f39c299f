"""What would become of the days of some drops: the rows to publish, those set aside, and why a day is refused.

A suite may also use these columns, made for each row. Days are those of the dataset's zone, hours are elapsed ones, so
a day has 23 to 25: `day_of_<timestamp column>`; `hours_to_<timestamp column>` and `hours_to_delivery`, from the start
of the event day; `delivered_after_hours`, from its end to the delivery.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, time

import pandas as pd

from ratchet.days import shift_day
from ratchet.drops import Drop
from ratchet.expectations import Check, Suite, Verdict, validate_days
from ratchet.read_drop import LINE, DropRows
from ratchet.specs import DatasetSpec

_OWN_COLUMNS = ["day", "known_at", "drop_sha256", "recipe"]


@dataclass(frozen=True)
class CheckedDay:
    """A day after validation: what would be published, what is set aside, what was found, and why it is refused."""

    drop: Drop
    rows: pd.DataFrame
    quarantine: pd.DataFrame
    checks: list[Check]
    refusals: list[str]

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
    parts = [_with_facts(rows.frame, drop, spec) for drop, rows in read.values()]
    frame = pd.concat(parts, ignore_index=True)
    verdicts = validate_days(frame, suite) if len(frame) else {}
    by_day = dict(list(frame.groupby("day")))
    return {
        day: _split(spec, recipe, drop, rows, by_day.get(day, frame.iloc[:0]), verdicts.get(day))
        for day, (drop, rows) in read.items()
    }


def _with_facts(frame: pd.DataFrame, drop: Drop, spec: DatasetSpec) -> pd.DataFrame:
    """The rows with `day`, `known_at`, `drop_sha256` and the columns that suites use for times."""
    start, end = (_midnight(day, spec) for day in (drop.day, shift_day(drop.day, 1)))
    delivered = pd.Timestamp(drop.delivered_at).as_unit("us")
    hour = pd.Timedelta(hours=1)
    instants = [name for name, kind in spec.columns.items() if kind == "timestamp"]
    return frame.assign(
        day=drop.day,
        known_at=delivered,
        drop_sha256=drop.sha256,
        hours_to_delivery=(delivered - start) / hour,
        delivered_after_hours=(delivered - end) / hour,
        **{f"hours_to_{name}": (frame[name] - start) / hour for name in instants},
        **{f"day_of_{name}": _day_of(frame[name], drop.day, start, end, spec) for name in instants},
    )


def _day_of(instants: pd.Series, day: str, start: pd.Timestamp, end: pd.Timestamp, spec: DatasetSpec) -> pd.Series:
    """The local day of each instant; only those outside the event day are worked out one by one."""
    found = pd.Series(day, index=instants.index, dtype="str").mask(instants.isna())
    outside = instants[(instants < start) | (instants >= end)]
    found.loc[outside.index] = outside.dt.tz_convert(spec.zone).dt.strftime("%Y-%m-%d").astype("str")
    return found


def _midnight(day: str, spec: DatasetSpec) -> pd.Timestamp:
    local = datetime.combine(datetime.fromisoformat(day), time(), tzinfo=spec.zone)
    return pd.Timestamp(local).tz_convert("UTC").as_unit("us")


def _split(
    spec: DatasetSpec, recipe: str, drop: Drop, read: DropRows, frame: pd.DataFrame, verdict: Verdict | None
) -> CheckedDay:
    reasons = verdict.refused_rows if verdict else pd.Series(dtype="str")
    failing = frame.loc[reasons.index]
    set_aside = pd.DataFrame({LINE: failing[LINE], "reason": reasons, "row": _row_texts(failing, spec)})
    quarantine = pd.concat([read.refused, set_aside]).sort_values(LINE, ignore_index=True)
    quarantine = quarantine.assign(known_at=pd.Timestamp(drop.delivered_at).as_unit("us"), drop_sha256=drop.sha256)
    rows = frame.drop(index=reasons.index).assign(recipe=recipe)[[*spec.columns, *_OWN_COLUMNS]]
    checks = list(verdict.checks) if verdict else []
    refusals = [f"{c.expectation}: seen {c.seen}, expected {c.expected}" for c in checks if c.refuses_day]
    return CheckedDay(drop, rows, quarantine, checks, _too_few_left(spec, rows, quarantine) + refusals)


def _row_texts(rows: pd.DataFrame, spec: DatasetSpec) -> list[str]:
    text = rows[list(spec.columns)].to_json(orient="records", lines=True, date_format="iso", date_unit="s")
    return text.splitlines() if len(rows) else []


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
