"""What is told of an alert, and through which channels. Text from outside is made harmless here: it is cut, and kept
on its line."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from ratchet.monitoring.values import LEVELS
from ratchet.plain_text import one_line

if TYPE_CHECKING:
    from ratchet.ledger import Alert

LONGEST = 300  # characters of a fact
FIRST = ("hurts", "done")  # facts told before others: what it costs, and what the loop already did about it
OF_AREA: dict[str, str] = {
    **dict.fromkeys(("data", "skew"), "data-is-broken"),
    **dict.fromkeys(("inputs", "predictions", "labels"), "inputs-moved"),
    **dict.fromkeys(("performance", "calibration", "estimate", "concept", "value"), "performance-fell"),
    "loop": "the-loop-lags",
}
QUIET = ("log", "file")  # channels that disturb nobody, and so take notes too


@dataclass(frozen=True)
class Route:
    """A channel, and the lowest level that it takes."""

    channel: str
    level: str

    def wants(self, alert: Alert) -> bool:
        """Whether it is to be told of the alert and has not its news yet."""
        loud = LEVELS.index(alert.level) >= LEVELS.index(self.level)
        return loud and alert.sent.get(self.channel) != alert.news


def routes_of(setting: str) -> list[Route]:
    """The routes that a setting such as "file,smtp:page" names; the log, which takes all, is always the first.

    Without a level `file` takes all, and others warnings and pages. What has no such form is a route to a channel of
    that name, which nobody has: its failure is told through the others.
    """
    names = dict.fromkeys(word for word in setting.replace(" ", "").split(",") if word and word != "log")
    return [Route("log", "note"), *(_route(name) for name in names)]


def _route(name: str) -> Route:
    channel, _, level = name.partition(":")
    if level in LEVELS:
        return Route(channel, level)
    return Route(name, "note" if name in QUIET else "warn")


def headline(alert: Alert) -> str:
    """One line: "PAGE flight_delay: AUC fell from 0.72 to 0.68"; a settled one says so."""
    loud = alert.level.upper() if alert.settled_at is None else f"SETTLED ({alert.level})"
    return shown(f"{loud} {alert.model}: {alert.what}")


def alert_text(alert: Alert, runbooks: str) -> str:
    """The whole alert as plain text: headline, facts, since when and how often, runbook. `runbooks`: see
    `Settings.runbooks`."""
    return "\n".join([headline(alert), *(f"  {name}: {value}" for name, value in _told(alert, runbooks))])


def alert_line(alert: Alert, runbooks: str, now: datetime) -> str:
    """The whole alert as one line of JSON."""
    told = {
        "at": now,
        "news": alert.news,
        **{name: getattr(alert, name) for name in ("id", "level", "model", "key", "what", "facts", "times", "why")},
        "since": alert.raised_at,
        "last": alert.seen_at,
        "runbook": runbook_of(alert, runbooks),
    }
    return json.dumps(told, default=str)


def summary(alerts: Sequence[Alert]) -> Alert:
    """Several as one, the loudest of them first: how many there are of each level (or settled) and model."""
    counted = Counter(f"{alert.news} of {alert.model}" for alert in alerts)
    told = ", ".join(f"{n} {which}" for which, n in counted.items())
    return replace(
        alerts[0],
        model="ratchet",
        key="alerts/more",
        what=f"{len(alerts)} more alerts, told as one",
        facts={"these": told, "each": "`ratchet alerts` shows those that are open, and the log of dispatch has all"},
        times=len(alerts),
        raised_at=min(alert.raised_at for alert in alerts),
        seen_at=max(alert.seen_at for alert in alerts),
        why=None,
    )


def runbook_of(alert: Alert, runbooks: str) -> str:
    """Where the alert's runbook is read: a page of `runbooks`, with or without folder and ending, or that of an area
    that is watched (OF_AREA); an address is itself."""
    if "://" in alert.runbook:
        return alert.runbook
    name = PurePosixPath(alert.runbook).stem
    return f"{runbooks}/{OF_AREA.get(name, name)}.md"


def shown(value: object) -> str:
    """Text of any origin on one line, cut at LONGEST."""
    text = one_line(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str))
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def _told(alert: Alert, runbooks: str) -> Iterator[tuple[str, str]]:
    if alert.why:
        yield "settled", f"{_minute(alert.settled_at)}: {shown(alert.why)}"
    yield "about", shown(alert.key)
    for name in dict.fromkeys((*(name for name in FIRST if name in alert.facts), *alert.facts)):
        yield shown(name).replace("_", " "), shown(alert.facts[name])
    times = "once" if alert.times == 1 else f"{alert.times} times, last {_minute(alert.seen_at)}"
    yield "since", f"{_minute(alert.raised_at)}, seen {times}"
    yield "runbook", shown(runbook_of(alert, runbooks))
    yield "on record", alert.id


def _minute(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
