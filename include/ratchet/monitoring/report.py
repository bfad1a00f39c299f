"""The page of a check: first what was decided, then what was found, then Evidently's drawings. The Evidently adapter.

The only module that imports Evidently. It computes and draws what the columns look like on both sides, on a bounded,
seeded sample, and is asked for no verdict: its tests answer differently by sample size and take the rows of one day for
independent. What decides stands above the drawings. The page holds its scripts and styles itself and reads nothing from
the network (about 4 MB).
"""

from __future__ import annotations

import html
import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

os.environ.setdefault("DO_NOT_TRACK", "1")  # read when Evidently is imported: no telemetry

import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.presets import ValueStats

from ratchet.digests import digest_of
from ratchet.errors import DriftBrokenError
from ratchet.evaluation.scored import sample

if TYPE_CHECKING:
    from pathlib import Path

    from ratchet.monitoring.check import CheckResult
    from ratchet.monitoring.values import Finding
    from ratchet.specs import ModelSpec

LARGEST = 1e100  # Evidently squares what it draws
LONGEST, MOST_CATEGORIES = 60, 20  # characters of a category; the reference's most frequent ones
REST = "(other)"
HOW = (
    "The alarms decide, and they come from the table below: each column is held against windows of as many days of the "
    "reference, performance against the judge window, both with their uncertainty from day to day. The drawings at the "
    "end are Evidently's; they decide nothing."
)
COLUMNS = ("finding", "state", "value", "from", "to", "reference", "threshold", "unit", "what it says")
STYLE = (
    "<style>.check {font-family: sans-serif; padding: 1em 2em; color: #222; background: #fff}"
    ".check table {border-collapse: collapse; font-size: 90%} .check th, .check td {border: 1px solid #ccc;"
    "padding: .2em .6em; text-align: left} .check .moved {background: #fff3d6} .check .broken {background: #fde0dc}"
    "</style>"
)
_LOUDEST = {"broken data": 0, "moved": 1, "usual": 2, "not enough data": 3}


def write_page(
    path: Path,
    spec: ModelSpec,
    result: CheckResult,
    reference: pd.DataFrame,
    current: pd.DataFrame,
    notes: Sequence[str] = (),
) -> None:
    """Write the check's page. reference, current: as given to `ratchet.monitoring.check.check_drift`; what is drawn are
    at most `watch.max_rows` rows of the validate and judge windows, and of the newest scored days. `notes`: what else
    the page is to say. Columns without a value on either side are not drawn. Raises DriftBrokenError when Evidently
    does: a check without its page is not recorded.
    """
    proved = reference[reference["window"].isin(["validate", "judge"])]
    was, now = (sample(one, spec.watch.max_rows, spec.seed) for one in (proved, current))
    columns = [name for name in [*spec.features, *spec.score_columns] if _values(spec, name, was, now)]
    sizes = f"{len(now)} of {len(current)} rows now, {len(was)} of {len(proved)} of the validate and judge windows"
    head = STYLE + _head(spec, result, notes) + (f"<h3>Drawn by Evidently: {sizes}</h3>" if columns else "")
    if not columns:
        title = f"<!doctype html><meta charset='utf-8'><title>check of {html.escape(spec.name)}</title>"
        path.write_text(f"{title}<div class='check'>{head}</div>", "utf-8")
        return
    try:
        _draw(spec, columns, was, now).save_html(str(path))
    except Exception as error:  # whatever Evidently raises
        raise DriftBrokenError(
            "Evidently could not draw the check's page",
            seen=repr(error)[:500],
            where=columns,
            hint="nothing was recorded; look at these columns, then check again",
        ) from error
    page = path.read_text("utf-8")
    path.write_text(page.replace("<body>", f"<body><div class='check'>{head}</div>", 1), "utf-8")


def _head(spec: ModelSpec, result: CheckResult, notes: Sequence[str]) -> str:
    alarms = [f"{alarm.level}: {alarm.key}: {alarm.says}" for alarm in result.alarms] or ["no alarm"]
    asked = [f"a retrain is asked for: {reason}" for reason in result.ask_retrain]
    title = f"<h1>{html.escape(spec.name)}: {html.escape(result.state)}</h1>"
    return f"{title}{_list([*alarms, *asked])}<p>{HOW}</p>{_table(result.findings)}{_list(notes)}"


def _list(lines: Iterable[str]) -> str:
    return f"<ul>{''.join(f'<li>{html.escape(line)}</li>' for line in lines)}</ul>"


def _table(findings: Sequence[Finding]) -> str:
    names = "".join(f"<th>{name}</th>" for name in COLUMNS)
    lines = "".join(_line(one) for one in sorted(findings, key=lambda one: _LOUDEST[one.state]))
    return f"<table><tr>{names}</tr>{lines}</table>"


def _line(of: Finding) -> str:
    numbers = ("" if one is None else f"{one:.4g}" for one in (of.value, of.low, of.high, of.reference, of.threshold))
    cells = "".join(f"<td>{html.escape(cell)}</td>" for cell in (of.key, of.state, *numbers, of.unit, of.says))
    return f"<tr class='{of.state.split()[0]}'>{cells}</tr>"


def _draw(spec: ModelSpec, columns: list[str], was: pd.DataFrame, now: pd.DataFrame):
    texts = [name for name in columns if name in spec.categorical_features]
    definition = DataDefinition(
        numerical_columns=[name for name in columns if name not in texts], categorical_columns=texts
    )
    shown = [pd.DataFrame({name: _shown(spec, name, was, side) for name in columns}) for side in (now, was)]
    sides = (Dataset.from_pandas(side, definition) for side in shown)
    return Report([ValueStats(column=name) for name in columns], include_tests=False).run(*sides)


def _values(spec: ModelSpec, name: str, was: pd.DataFrame, now: pd.DataFrame) -> bool:
    """Whether both have one, so that there is something to draw."""
    return all(name in side and _clean(spec, name, side).notna().any() for side in (was, now))


def _clean(spec: ModelSpec, name: str, frame: pd.DataFrame) -> pd.Series:
    """Numbers up to LARGEST or text, else null."""
    values = frame[name].reset_index(drop=True)
    if name in spec.categorical_features:
        return values.astype(object).where(values.notna(), None)
    numbers = pd.to_numeric(values, errors="coerce").astype("float64")
    return numbers.where(numbers.abs() <= LARGEST)


def _shown(spec: ModelSpec, name: str, was: pd.DataFrame, frame: pd.DataFrame) -> pd.Series:
    """Rare text as one, and text made harmless: Evidently writes categories as they are into a script of its page."""
    values = _clean(spec, name, frame)
    if name not in spec.categorical_features:
        return values
    kept = set(was[name].astype(str).value_counts().index[:MOST_CATEGORIES])
    safe = {value: _safe(value) if value in kept else REST for value in values.dropna().astype(str).unique()}
    return values.map(lambda value: None if value is None else safe[str(value)]).astype(object)


def _safe(value: str) -> str:
    short = value if len(value) <= LONGEST else f"{value[:LONGEST]}~{digest_of(value)[:8]}"
    return html.escape(short.replace("\u2028", " ").replace("\u2029", " "))
