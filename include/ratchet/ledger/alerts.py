"""Alerts: what somebody should know of, once, until it is settled."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from sqlalchemy import ColumnElement, Connection, and_, or_

from ratchet.errors import ParameterError, UnknownNameError
from ratchet.ledger.chain import Chain, Transaction
from ratchet.ledger.plain import check_words, plain
from ratchet.ledger.rows import next_id, read_all, read_one
from ratchet.ledger.tables import alerts
from ratchet.ledger.values import Alert
from ratchet.monitoring.values import LEVELS
from ratchet.plain_text import one_line

COUNT_AGAIN_AFTER = timedelta(hours=1)
_LONGEST = 500  # characters of `what`


class Alerts:
    """Alerts by model and key: one open at a time. Each change is on the chain."""

    _chain: Chain

    def raise_alert(self, model: str, key: str, level: str, what: str, facts: Mapping, runbook: str) -> Alert:
        """Raise an alert, or count it again while one of the same model and key is open.

        A higher level raises an open one, so that it is sent anew; a lower one leaves its level. `what` (one line, cut
        at 500 characters), `facts` and `runbook` are kept as they were the last time. The same words at the same level
        within COUNT_AGAIN_AFTER of the last count change nothing: who looks each minute does not fill the chain.

        Raises ParameterError for an unknown level, an empty model, key, what or runbook, and facts that have no plain
        form, such as NaN.
        """
        what = one_line(what)[:_LONGEST]
        check_words(model=model, key=key, what=what, runbook=runbook)
        if level not in LEVELS:
            raise ParameterError("no such level of an alert", seen=level, expected=", ".join(LEVELS), hint="pass one")
        said = {"what": what, "facts": plain(dict(facts), "facts"), "runbook": runbook}
        with self._chain.write() as transaction:
            known = read_one(transaction.connection, Alert, alerts, *_open(model, key))
            if known is None:
                return _raise(transaction, model, key, level, said)
            return _count(transaction, known, max(level, known.level, key=LEVELS.index), said)

    def settle_alert(self, model: str, key: str, why: str, *, actor: str | None = None) -> Alert | None:
        """Close the open alert of that model and key; None, and nothing written, when there is none. Cheap enough to
        be called whenever all is well. `actor`: the person who does it by hand."""
        check_words(why=why)
        with self._chain.read() as connection:
            if read_one(connection, Alert, alerts, *_open(model, key)) is None:
                return None
        with self._chain.write(actor) as transaction:
            known = read_one(transaction.connection, Alert, alerts, *_open(model, key))
            if known is None:
                return None
            return _move(transaction, known, "alert_settled", settled_at=transaction.now, why=one_line(why))

    def open_alerts(self, model: str | None = None) -> list[Alert]:
        """The alerts (of one model) that are not settled, in the order in which they were raised."""
        where = [alerts.c.settled_at.is_(None), *([alerts.c.model == model] if model else [])]
        with self._chain.read() as connection:
            return read_all(connection, Alert, alerts, *where, order=(alerts.c.id,))

    def unsent_alerts(self) -> list[Alert]:
        """The alerts with news that not every channel has (see `Alert.news`), in the order in which they were raised;
        settled ones, too."""
        with self._chain.read() as connection:
            return read_all(connection, Alert, alerts, _unsent(), order=(alerts.c.id,))

    def newest_alert(self, model: str, key: str) -> Alert | None:
        """The newest alert of that model and key, open or settled; None when there never was one."""
        mine = (alerts.c.model == model, alerts.c.key == key)
        with self._chain.read() as connection:
            return read_one(connection, Alert, alerts, *mine, order=(alerts.c.id.desc(),))

    def alerts_under(self, model: str, prefix: str) -> list[Alert]:
        """Of each key of the model that begins so the newest alert, open or settled."""
        mine = (alerts.c.model == model, alerts.c.key.startswith(prefix, autoescape=True))
        with self._chain.read() as connection:
            found = read_all(connection, Alert, alerts, *mine, order=(alerts.c.id,))
        return list({alert.key: alert for alert in found}.values())

    def mark_alert_sent(self, id: str, level: str, channel: str, *, last: bool = False) -> Alert:
        """Put on record that a channel has the news of that level (or "settled"); `last`: every channel has it now.
        The same again changes nothing. Raises UnknownNameError."""
        check_words(level=level, channel=channel)
        with self._chain.write() as transaction:
            known = _alert(transaction.connection, id)
            change = {"sent": {**known.sent, channel: level}, "told": level if last else known.told}
            if change == {"sent": known.sent, "told": known.told}:
                return known
            return _move(transaction, known, "alert_sent", **change)


def _open(model: str, key: str) -> tuple[ColumnElement, ...]:
    return alerts.c.model == model, alerts.c.key == key, alerts.c.settled_at.is_(None)


def _unsent() -> ColumnElement:
    return or_(
        alerts.c.told.is_(None),
        and_(alerts.c.settled_at.is_(None), alerts.c.told != alerts.c.level),
        and_(alerts.c.settled_at.is_not(None), alerts.c.told != "settled"),
    )


def _raise(transaction: Transaction, model: str, key: str, level: str, said: Mapping) -> Alert:
    row = {
        "id": next_id(transaction.connection, alerts, "a"),
        "model": model,
        "key": key,
        "level": level,
        **said,
        "times": 1,
        "sent": {},
        "told": None,
        "raised_at": transaction.now,
        "seen_at": transaction.now,
        "settled_at": None,
        "why": None,
    }
    row = transaction.add(alerts, row)
    transaction.append("alert_raised", _subject(model, row["id"]), row)
    return _alert(transaction.connection, row["id"])


def _count(transaction: Transaction, known: Alert, level: str, said: Mapping) -> Alert:
    same = (known.level, known.what, known.facts, known.runbook) == (level, *said.values())
    if same and transaction.now - known.seen_at < COUNT_AGAIN_AFTER:
        return known
    kind = "alert_seen_again" if level == known.level else "alert_raised_higher"
    change = {"level": level, **said, "times": known.times + 1, "seen_at": transaction.now}
    return _move(transaction, known, kind, **change)


def _move(transaction: Transaction, known: Alert, kind: str, **change: object) -> Alert:
    transaction.change(alerts, {"id": known.id}, **change)
    transaction.append(kind, _subject(known.model, known.id), {"id": known.id, **change})
    return _alert(transaction.connection, known.id)


def _subject(model: str, id: str) -> str:
    return f"alerts/{model}/{id}"


def _alert(connection: Connection, id: str) -> Alert:
    found = read_one(connection, Alert, alerts, alerts.c.id == str(id))
    if found is None:
        raise UnknownNameError(f"no alert {id!r}", hint="see Ledger.open_alerts for those there are")
    return found
