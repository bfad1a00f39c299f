"""A page that shows what the days said: a picture and a table, with no script. Everything of the record is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

    from ratchet.field_test.evidence import Weighed

WIDTH, HEIGHT, MARGIN = 900, 260, 40
_STYLE = "body{font-family:sans-serif;margin:2em}td,th{padding:.2em .8em;text-align:right;white-space:nowrap}"
_COLUMNS = ("rows", "champion", "challenger", "difference", "mean", "low", "high")


def evidence_page(title: str, weighed: Weighed, notes: Sequence[str] = ()) -> str:
    """HTML. `notes`: sentences beside what the evidence says."""
    evidence = weighed.evidence
    lines = [evidence.says, *notes, f"Loss: {evidence.loss}, mean of each day; above 0 the challenger is better."]
    told = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style><h1>{escape(title)}</h1><ul>{told}</ul>"
        f"{_picture(weighed.history)}{_table(weighed.history)}</html>"
    )


def _table(history: pd.DataFrame) -> str:
    head = "".join(f"<th>{name}</th>" for name in ("day", *_COLUMNS))
    rows = (
        f"<tr><td>{escape(str(row['day']))}</td>{''.join(f'<td>{_number(row[name])}</td>' for name in _COLUMNS)}</tr>"
        for row in reversed(history.to_dict("records"))
    )
    return f"<table><tr>{head}</tr>{''.join(rows)}</table>"


def _number(value: float) -> str:
    return "" if not np.isfinite(value) else f"{value:.5g}"


def _picture(history: pd.DataFrame) -> str:
    """Each day's difference as a dot, their mean as a line, its bounds as a band; the ends of both axes are named."""
    seen = history[["difference", "mean", "low", "high"]].to_numpy("float64")
    numbers = seen[np.isfinite(seen)]
    if len(history) < 2 or not len(numbers):
        return ""
    low, high = min(0.0, float(numbers.min())), max(0.0, float(numbers.max()))
    span = (high - low) or 1.0

    def at(day: int, value: float) -> str:
        across = MARGIN + (WIDTH - 2 * MARGIN) * day / (len(history) - 1)
        return f"{across:.1f},{MARGIN + (HEIGHT - 2 * MARGIN) * (high - value) / span:.1f}"

    def points(name: str) -> list[str]:
        return [at(day, value) for day, value in enumerate(history[name]) if np.isfinite(value)]

    dots = "".join(
        f'<circle cx="{point.split(",")[0]}" cy="{point.split(",")[1]}" r="2" fill="#999"/>'
        for point in points("difference")
    )
    band = " ".join([*points("low"), *reversed(points("high"))])
    last = len(history) - 1
    ends = at(0, 0.0), at(last, 0.0)
    named = [(0, 0.0, history["day"].iloc[0], 14), (last, 0.0, history["day"].iloc[-1], 14)]
    named += [(0, high, f"{high:+.3g} (better)", -8)] if high else []
    named += [(0, low, f"{low:+.3g} (worse)", 28)] if low else []
    words = "".join(_words(at(day, value), str(said), lower, day == last) for day, value, said, lower in named)
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="daily differences, their mean and its bounds">'
        f'<polygon points="{band}" fill="#cde"/><polyline points="{" ".join(ends)}" stroke="#000"/>'
        f'{dots}<polyline points="{" ".join(points("mean"))}" fill="none" stroke="#06c" stroke-width="2"/>{words}</svg>'
    )


def _words(point: str, said: str, lower: int, before: bool) -> str:
    """So many pixels below a point, from it on or up to it."""
    across, down = map(float, point.split(","))
    anchor = "end" if before else "start"
    return f'<text x="{across:.1f}" y="{down + lower:.1f}" font-size="12" text-anchor="{anchor}">{escape(said)}</text>'
