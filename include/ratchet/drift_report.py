"""The Evidently adapter: one statistic a column, by the method and threshold it is given, and a page that shows them.

The only module that imports Evidently. Its own defaults are never used: they change with a column's type and the
sample's size. The page holds its scripts and styles itself and reads nothing from the network (about 4 MB).
"""

from __future__ import annotations

import html
import os
from typing import TYPE_CHECKING

os.environ.setdefault("DO_NOT_TRACK", "1")  # read when Evidently is imported: no telemetry

import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.metrics import ValueDrift

from ratchet.digests import digest_of
from ratchet.errors import DriftBrokenError

if TYPE_CHECKING:
    from pathlib import Path

    from ratchet.drift import Pair

LONGEST = 60  # characters of a category on the page


def measure_columns(pairs: list[Pair], notes: list[str], report_path: Path | None) -> dict[str, float]:
    """The statistic of each pair, by its column; the page, headed by the notes, goes to `report_path` if given.

    Without pairs the page holds the notes alone. Raises DriftBrokenError when Evidently does.
    """
    if not pairs:
        if report_path:
            report_path.write_text(
                f"<!doctype html><meta charset='utf-8'><title>drift</title>{_heading(notes)}", "utf-8"
            )
        return {}
    try:
        found = _run(pairs)
        statistics = _statistics(found, pairs)
        if report_path:
            found.save_html(str(report_path))
    except Exception as error:  # whatever Evidently raises is "error": never "drifted", never "did not"
        raise DriftBrokenError(
            "Evidently could not measure the drift",
            seen=repr(error)[:500],
            where=[pair.column for pair in pairs],
            hint="nothing was recorded; look at these columns, then check again",
        ) from error
    if report_path:
        page = report_path.read_text("utf-8")
        report_path.write_text(page.replace("<body>", f"<body>{_heading(notes)}", 1), "utf-8")
    return statistics


def _run(pairs: list[Pair]):
    definition = DataDefinition(
        numerical_columns=[pair.column for pair in pairs if pair.kind == "numeric"],
        categorical_columns=[pair.column for pair in pairs if pair.kind == "categorical"],
    )
    sides = [
        Dataset.from_pandas(
            pd.DataFrame({pair.column: _shown(pair, getattr(pair, side)) for pair in pairs}), definition
        )
        for side in ("current", "reference")
    ]
    metrics = [ValueDrift(column=pair.column, method=pair.method, threshold=pair.threshold) for pair in pairs]
    return Report(metrics, include_tests=True).run(*sides)


def _shown(pair: Pair, values: pd.Series) -> pd.Series:
    """Text made harmless: Evidently writes categories as they are into a script of its page."""
    if pair.kind == "numeric":
        return values
    safe = {value: _safe(value) for value in values.unique()}
    return values.map(safe).astype(object)


def _safe(value: str) -> str:
    short = value if len(value) <= LONGEST else f"{value[:LONGEST]}~{digest_of(value)[:8]}"
    return html.escape(short.replace("\u2028", " ").replace("\u2029", " "))


def _statistics(found, pairs: list[Pair]) -> dict[str, float]:
    """By the column that each metric names, checked against what was asked for."""
    asked = {pair.column: (pair.method, pair.threshold) for pair in pairs}
    statistics = {}
    for metric in found.dict()["metrics"]:
        config = metric["config"]
        if asked.get(config["column"]) != (config["method"], config["threshold"]):
            raise ValueError(f"Evidently answered for another method or threshold: {config}")
        statistics[config["column"]] = float(metric["value"])
    if missing := asked.keys() - statistics.keys():
        raise ValueError(f"Evidently gave no statistic for {sorted(missing)}")
    return statistics


def _heading(notes: list[str]) -> str:
    lines = "".join(f"<li>{html.escape(note)}</li>" for note in notes)
    return f"<div style='font-family: sans-serif; padding: 1em 2em'><h2>What was checked</h2><ul>{lines}</ul></div>"
