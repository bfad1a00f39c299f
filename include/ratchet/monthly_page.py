"""The page of a model's month, from facts alone: HTML that is self-contained, has no script, and can be printed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from math import isfinite

from ratchet.pages import render, table_of

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720, 210, 52, 12, 12, 26

# (facts, title, what it says, columns shown, what to say without it)
_TABLES = (
    ("champions", "Who scored", "The version that made the predictions of record, by event day.",
     ["version", "first_day", "last_day", "days", "trained_as_of"], "no day of this month was scored"),
    ("moves", "Moves of the champion", "Each with what it rests on and who said yes.",
     ["at", "to_version", "how", "by", "asked_by", "gate", "why"], "the champion was not moved"),
    ("weeks", "Performance", "On outcomes that have arrived, with 95 % intervals over days.",
     ["from", "to", "value", "low", "high", "rows", "days", "note"], "no outcomes of this month's predictions yet"),
    ("value", "Business value", "As the newest check of the month has it.",
     ["what", "value", "low", "high", "reference", "unit"],
     "no business value on record: evaluate.costs is not in the spec, or nothing was checked"),
    ("moved", "What moved", "Findings of the month's checks that were not usual, the loudest first.",
     ["finding", "level", "seen", "says", "trend"], "nothing moved in a check of this month"),
    ("alarms", "Alarms", "As of a day of this month, or raised in it; what became of each.",
     ["level", "about", "what", "raised_at", "times", "done", "settled_at", "why"], "no alarm was raised"),
    ("requests", "Retrain requests", "Every one that was filed as of a day of this month, and what became of it.",
     ["request", "as_of", "source", "by", "reason", "became", "explanation"], "no retraining was asked for"),
    ("trainings", "Trainings and verdicts", "Trainings as of a day of this month.",
     ["training", "as_of", "status", "attempts", "version", "verdict", "not_passed", "now"], "nothing was trained"),
    ("data", "Data", "Event days of this month. Late: hours from a day's end to its first delivery.",
     ["dataset", "days", "missing", "rows", "quarantined", "refused", "restated", "usual_hours", "latest_hours"],
     "no dataset feeds this model"),
    ("loop", "Health of the loop", "What was not usual in the month; then how it stood at the newest entry on record.",
     ["what", "state", "level", "says"], "nothing is known of the loop"),
    ("waiting", "What waits for a person", "", ["what", "since", "until"], "nothing waits for a person"),
)  # fmt: skip


def monthly_page(facts: Mapping) -> str:
    """The page. facts: model, description, owner, month, first, last, metric, higher_is_better, baseline (value or
    None), days ([{day, value}], in order), and a list of lines for each of _TABLES, as `ratchet.workflow.monthly`
    gathers them. The same facts give the same page."""
    sections = [
        {"name": name, "title": title, "says": says, "table": table_of(facts[name], columns), "without": without}
        for name, title, says, columns, without in _TABLES
    ]
    chart = performance_chart(facts["days"], facts["weeks"], facts["baseline"], facts["first"], facts["last"])
    return render("monthly.html", {"facts": facts, "sections": sections, "chart": chart})


def performance_chart(
    days: Sequence[Mapping], weeks: Sequence[Mapping], baseline: float | None, first: str, last: str
) -> str | None:
    """An SVG of numbers and days alone, safe to put into a page: a dot for each day's value, a bar with its interval
    for each week, a dashed line for the judge window's. None: no value to draw."""
    known = [one["value"] for one in (*days, *weeks) if _is_number(one["value"])]
    ends = [one[end] for one in weeks for end in ("low", "high") if _is_number(one[end])]
    if not known:
        return None
    shown = [*known, *ends, *([baseline] if _is_number(baseline) else [])]
    axes = _Axes(first, last, *_padded(min(shown), max(shown)))
    parts = [*axes.grid()]
    if _is_number(baseline):
        y = axes.y(baseline)
        parts.append(f'<line class="judged" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>')
    parts += [_week(axes, one) for one in weeks if _is_number(one["value"])]
    parts += [
        f'<circle cx="{axes.x(one["day"])}" cy="{axes.y(one["value"])}" r="2.6"/>'
        for one in days
        if _is_number(one["value"])
    ]
    size = f'viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
    return f'<svg {size} role="img" aria-label="performance by day and week">{"".join(parts)}</svg>'


class _Axes:
    """Days to the right, values upwards, in pixels."""

    def __init__(self, first: str, last: str, low: float, high: float) -> None:
        self.first, self.span = date.fromisoformat(first), (date.fromisoformat(last) - date.fromisoformat(first)).days
        self.low, self.high = low, high

    def x(self, day: str) -> float:
        part = (date.fromisoformat(day) - self.first).days / max(self.span, 1)
        return round(LEFT + 8 + part * (WIDTH - LEFT - RIGHT - 16), 1)

    def y(self, value: float) -> float:
        part = (value - self.low) / (self.high - self.low)
        return round(HEIGHT - BOTTOM - part * (HEIGHT - TOP - BOTTOM), 1)

    def grid(self) -> list[str]:
        parts = []
        for step in range(5):
            value = self.low + step * (self.high - self.low) / 4
            y = self.y(value)
            parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>')
            parts.append(f'<text x="{LEFT - 6}" y="{y + 4}" text-anchor="end">{value:.3g}</text>')
        for at in range(0, self.span + 1, 7):
            day = date.fromordinal(self.first.toordinal() + at)
            label = f"{day.day} {day:%b}"
            parts.append(f'<text x="{self.x(day.isoformat())}" y="{HEIGHT - 8}" text-anchor="middle">{label}</text>')
        return parts


def _week(axes: _Axes, week: Mapping) -> str:
    x1, x2, y = axes.x(week["from"]), axes.x(week["to"]), axes.y(week["value"])
    parts = [f'<line class="week" x1="{x1}" x2="{x2}" y1="{y}" y2="{y}"/>']
    if _is_number(week["low"]) and _is_number(week["high"]):
        top, height = axes.y(week["high"]), round(axes.y(week["low"]) - axes.y(week["high"]), 1)
        parts.insert(0, f'<rect x="{x1}" y="{top}" width="{round(x2 - x1, 1)}" height="{height}"/>')
    return "".join(parts)


def _padded(low: float, high: float) -> tuple[float, float]:
    room = 0.08 * (high - low) or max(abs(high) * 0.05, 0.01)
    return low - room, high + room


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and isfinite(value)
