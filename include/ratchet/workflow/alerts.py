"""Sends alerts: what the ledger has as unsent goes through each channel, at least once, and that on record."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from ratchet.alert_text import QUIET, Route, alert_line, alert_text, routes_of, summary
from ratchet.deployment import Deployment
from ratchet.ledger import Alert, Ledger
from ratchet.monitoring.values import LEVELS
from ratchet.workflow.loop_alerts import LOOP

STOPS_AFTER = 2  # failures of a channel in one sweep: who waits behind a server that is down holds up the others
MOST_TOLD = 10  # alerts that a channel is told one by one in a sweep
LONGEST_WAIT = timedelta(hours=1)
LOG_LEVELS = dict(zip(LEVELS, (logging.INFO, logging.WARNING, logging.ERROR), strict=True))
log = logging.getLogger(__name__)

Sender = Callable[[Alert], None]  # raises when the alert is not delivered


def send_news(deployment: Deployment, senders: Mapping[str, Sender], now: datetime | None = None) -> dict:
    """Tell each channel of the setting the news that it has not had; `senders` by channel, beside `log` and `file`.

    A channel that fails is an alert of its own, is tried again after 1, 2, 4 ... minutes, an hour at most, and holds up
    no other. Killed between sending and putting that on record, the next sweep sends again. Returns {"sent": {channel:
    ids}, "failed": {channel: error}}.
    """
    now = now or datetime.now(UTC)
    ledger, routes = deployment.ledger, routes_of(deployment.settings.alerts)
    senders = {"log": _to_log(deployment), "file": _to_file(deployment, now), **senders}
    sent: dict[str, list[str]] = {}
    failed: dict[str, str] = {}
    for route in routes:
        if not _waits(ledger, route, now):
            send = senders.get(route.channel, _to_nobody)
            sent[route.channel], error = _send_through(ledger, route, routes, send)
            _note_health(ledger, route, sent[route.channel], error, now)
            failed |= {route.channel: error} if error else {}
    _close_told(ledger, routes)
    return {"sent": {channel: ids for channel, ids in sent.items() if ids}, "failed": failed}


def _send_through(ledger: Ledger, route: Route, routes: list[Route], send: Sender) -> tuple[list[str], str | None]:
    """The ids of the alerts sent, and what the last failure was."""
    sent, errors = [], []
    for message, alerts in _messages(route, [alert for alert in ledger.unsent_alerts() if route.wants(alert)]):
        if len(errors) == STOPS_AFTER:
            break
        try:
            send(message)
        except Exception as error:  # of whatever library the channel is made with
            errors.append(_reason(error))
            log.error("alert %s does not go through %s: %s", message.id, route.channel, errors[-1])
            continue
        for alert in alerts:
            owed = [other for other in routes if other.wants(alert)]
            ledger.mark_alert_sent(alert.id, alert.news, route.channel, last=owed == [route])
            sent.append(alert.id)
    return sent, errors[-1] if errors else None


def _messages(route: Route, news: list[Alert]) -> list[tuple[Alert, list[Alert]]]:
    """What to send, and the alerts that each tells of. Who is disturbed gets MOST_TOLD one by one in a sweep, the
    loudest and the oldest first, and the others as one: that a backfill fails is not hundreds of mails."""
    if route.channel in QUIET or len(news) <= MOST_TOLD:
        return [(alert, [alert]) for alert in news]
    news = sorted(news, key=lambda alert: (alert.settled_at is not None, -LEVELS.index(alert.level)))
    first, others = news[:MOST_TOLD], news[MOST_TOLD:]
    return [*((alert, [alert]) for alert in first), (summary(others), others)]


def _note_health(ledger: Ledger, route: Route, sent: list[str], error: str | None, now: datetime) -> None:
    key = f"channel/{route.channel}"
    if error:
        facts = {"error": error, "tried_at": now, "done": "it is tried again, at longer and longer intervals"}
        what = f"alerts do not go through {route.channel}"
        ledger.raise_alert(LOOP, key, "warn", what, facts, "alerts-are-not-sent")
    elif sent:
        ledger.settle_alert(LOOP, key, "alerts go through again")


def _waits(ledger: Ledger, route: Route, now: datetime) -> bool:
    """Whether the channel failed, and its next try is not yet due."""
    failing = ledger.newest_alert(LOOP, f"channel/{route.channel}")
    if failing is None or failing.settled_at is not None:
        return False
    return now - failing.seen_at < min(timedelta(minutes=2 ** min(failing.times - 1, 10)), LONGEST_WAIT)


def _close_told(ledger: Ledger, routes: list[Route]) -> None:
    """Alerts that were waiting for a channel which is no longer one."""
    for alert in ledger.unsent_alerts():
        if not any(route.wants(alert) for route in routes):
            ledger.mark_alert_sent(alert.id, alert.news, "log", last=True)


def _to_log(deployment: Deployment) -> Sender:
    runbooks = deployment.settings.runbooks

    def send(alert: Alert) -> None:
        level = LOG_LEVELS[alert.level] if alert.settled_at is None else logging.INFO
        log.log(level, "ALERT %s", alert_text(alert, runbooks).replace("\n  ", "; "))

    return send


def _to_file(deployment: Deployment, now: datetime) -> Sender:
    """One line of JSON for each alert in alerts/alerts.jsonl of `var`. What was cut short is sent again, on a line of
    its own."""
    path = deployment.settings.var / "alerts" / "alerts.jsonl"

    def send(alert: Alert) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        line = alert_line(alert, deployment.settings.runbooks, now) + "\n"
        file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            _write_whole(file, line.encode())
        finally:
            os.close(file)

    return send


def _write_whole(file: int, line: bytes) -> None:
    """Append the line, after the end of one that was cut short before it. Raises OSError when it does not go in whole:
    of a disk that fills up, the first write says how far it came, and the next what is wrong."""
    size = os.fstat(file).st_size
    if size and os.pread(file, 1, size - 1) != b"\n":
        line = b"\n" + line
    while line:
        line = line[os.write(file, line) :]


class NoSuchChannelError(LookupError):
    """The setting names a channel that nobody has."""


def _to_nobody(alert: Alert) -> None:
    raise NoSuchChannelError


def _reason(error: Exception) -> str:
    """What failed, without the error's text: that may hold an address with a token, or a password."""
    codes = [getattr(error, name, None) for name in ("smtp_code", "strerror")]
    codes += re.findall(r"Status Code: (\d{3})", str(error))
    return " ".join([type(error).__name__, *(str(code) for code in codes if code)])
