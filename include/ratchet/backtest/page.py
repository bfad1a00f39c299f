"""The result of a play as a page: a table, the months, a picture, and what to bear in mind. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pandas as pd

from ratchet.evaluation.pictures import png

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("#2a5d9f", "#c8621b", "#3d8b5f", "#8a5fb0", "#b03a48", "#8a93a3")
COLUMNS = (
    "policy",
    "metric",
    "below the best",
    "retrains",
    "promotions",
    "notes/warnings/pages",
    "labels",
    "CPU s",
)


def table(told: Mapping) -> list[list[str]]:
    """A line a policy, in COLUMNS; the best first."""
    policies = told["policies"]
    order = sorted(policies, key=lambda name: policies[name]["regret"])
    return [_line(name, policies[name]) for name in order]


def _line(name: str, of: Mapping) -> list[str]:
    alarms = " / ".join(str(of["alarms"][level]) for level in ("note", "warn", "page"))
    below = f"{of['regret']:.4f} ± {of['regret_half']:.4f}" if of["regret_half"] else f"{of['regret']:.4f}"
    counts = (str(of["retrains"]), str(of["promotions"]))
    return [name, f"{of['mean']:.4f}", below, *counts, alarms, f"{of['labels']:,}", f"{of['cpu_seconds']:.0f}"]


def as_markdown(told: Mapping, picture: str) -> str:
    """The page; `picture`: where the plot lies, as seen from it."""
    where = f"the planted world `{told['world']}` (seed {told['seed']})" if told["world"] else "its own past"
    lines = [
        f"# {told['model']}: policies of retraining, played on {where}",
        "",
        f"Written by `ratchet backtest {told['model']} --from {told['from']} --to {told['to']} --policy "
        f"{','.join(told['policies'])}{' --world ' + told['world'] if told['world'] else ''}`. What each word means, "
        "and how far to trust it: docs/backtest.md.",
        "",
        *_markdown_table([*COLUMNS], table(told)),
        "",
        f"`{told['metric']}` is the mean over all rows' stretches (see there); below the best: how much less than "
        f"`{told['best']}`, the best of these in hindsight, with half the 95 % interval over days. Counts are without "
        "the first champion, which all have. Labels: outcomes that the policy could not do without. CPU: of trainings "
        "and checks.",
        "",
        f"![{told['metric']} by month, and what each policy did]({picture})",
        "",
        f"## {told['metric']} by month",
        "",
        *_months(told),
        "",
        "## What happened",
        "",
        *[line for name in told["policies"] for line in _story(name, told["policies"][name])],
        "## Played with",
        "",
        f"- {told['past']['rows']:,} rows from {told['past']['first_day']} to {told['past']['last_day']}, digest "
        f"`{told['past']['digest'][:12]}`; days delivered more than once: {told['past']['restated_days']}",
        f"- `retrain_when`: {', '.join(f'{name} {value}' for name, value in told['retrain_when'].items())}",
        f"- checks: `{told['checks']}`, in UTC",
        f"- what the gate let through was approved {told['approval_days']} day(s) later",
        "",
    ]
    return "\n".join(lines)


def _months(told: Mapping) -> list[str]:
    policies = {name: {one["month"]: one for one in of["months"]} for name, of in told["policies"].items()}
    if told["unbeatable"]:
        policies["unbeatable"] = {one["month"]: one for one in told["unbeatable"]}
    months = sorted({month for of in policies.values() for month in of})
    rows = [
        [month, *(f"{of[month]['value']:.3f}" if month in of else "" for of in policies.values())] for month in months
    ]
    return _markdown_table(["month", *policies], rows)


def _story(name: str, of: Mapping) -> list[str]:
    """Trainings, verdicts and promotions, a line a day."""
    told: dict[str, list[str]] = {}
    for event in of["events"]:
        if said := _said(event):
            told.setdefault(event["day"], []).append(said)
    suppressed = of["requests"].get("suppressed", 0)
    lines = [f"- {day}: {'; '.join(said)}" for day, said in told.items()]
    return [f"**{name}** ({suppressed} requests held back)", "", *lines, ""]


def _said(event: Mapping) -> str | None:
    if event["what"] == "request" and event["status"] == "accepted":
        return f"asked ({event['source']}: {event['reason']})"
    if event["what"] == "training":
        return f"version {event['version']} ({event['candidate']})" if event["version"] else "the training failed"
    if event["what"] == "verdict":
        failed = f" ({', '.join(event['failed'])})" if event["failed"] else ""
        return f"version {event['version']}: {event['verdict']}{failed}"
    if event["what"] == "promotion":
        return f"version {event['version']} is champion"
    return None


def _markdown_table(head: list[str], rows: list[list[str]]) -> list[str]:
    lines = [f"| {' | '.join(cells)} |" for cells in [head, *rows]]
    return [lines[0], "|" + "---|" * len(head), *lines[1:]]


def picture(told: Mapping) -> bytes:
    """A PNG: the metric by month, a line a policy; below, its trainings (rings), promotions (dots) and pages."""
    return png(lambda ax: _paint(ax, told), 5.4)


def _paint(ax: Axes, told: Mapping) -> None:
    figure = ax.figure
    figure.clear()
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    for at, (name, of) in enumerate(told["policies"].items()):
        colour = COLOURS[at % len(COLOURS)]
        top.plot(_middles(of["months"]), [one["value"] for one in of["months"]], color=colour, marker=".", label=name)
        _marks(bottom, at, of["events"], colour)
    if told["unbeatable"]:
        values = [one["value"] for one in told["unbeatable"]]
        top.plot(_middles(told["unbeatable"]), values, color="#8a93a3", linestyle="--", label="unbeatable")
    top.set(ylabel=f"{told['metric']}, by month")
    where = f"planted world {told['world']}" if told["world"] else "its own past"
    top.set_title(f"{told['model']}: policies of retraining on {where}")
    top.legend(frameon=False, ncols=3, fontsize=8)
    bottom.set_yticks(range(len(told["policies"])), list(told["policies"]))
    bottom.set_ylim(len(told["policies"]) - 0.5, -0.5)
    bottom.set_xlabel("ring: trained; dot: promoted; cross: a page")
    bottom.tick_params(axis="x", labelrotation=30, labelsize=8)


def _marks(ax: Axes, at: int, events: list[Mapping], colour: str) -> None:
    for what, marker, shown, facts in (
        ("training", "o", "none", {}),
        ("promotion", "o", colour, {}),
        ("alarm", "x", "#c02020", {"level": "page"}),
    ):
        days = [one["day"] for one in events if one["what"] == what and facts.items() <= one.items()]
        edge = {} if marker == "x" else {"edgecolors": colour}
        ax.scatter(pd.to_datetime(days), [at] * len(days), marker=marker, c=shown, s=28, **edge)


def _middles(months: list[Mapping]) -> pd.DatetimeIndex:
    return pd.to_datetime([f"{one['month']}-15" for one in months])
