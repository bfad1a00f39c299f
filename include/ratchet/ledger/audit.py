"""Reading the chain, and proving that nobody has changed it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import closing
from itertools import islice

from sqlalchemy import ColumnElement, Connection, Row, Table, or_, select

from ratchet.errors import ApprovalError
from ratchet.ledger.chain import BEFORE_ALL, Chain, as_event, holds
from ratchet.ledger.head import Head
from ratchet.ledger.plain import check_words
from ratchet.ledger.sealed import AT_ONCE, ROW_IS_PAYLOAD, TABLES, Told
from ratchet.ledger.tables import approvals, broken_glass, challengers, champions, events, verdicts
from ratchet.ledger.values import Event, VerifyReport, WrongRow

NAMED = 100  # rows that a report names; all are counted
OF_VERSIONS = (challengers, verdicts, broken_glass, approvals, champions)  # told of under models/<model>/versions/
MOVES = [kind for kind, table in ROW_IS_PAYLOAD.items() if table is champions]


class Audit:
    """The ledger as its own audit log."""

    _chain: Chain

    def events(self, subject: str | None = None, limit: int | None = None) -> list[Event]:
        """Entries in order; with `limit`, the newest so many.

        `subject` picks those of a thing and of what is under it: "models/flight_delay" also gives
        "models/flight_delay/versions/2".
        """
        wanted = select(events).order_by(events.c.seq.desc())
        if subject is not None:
            under = events.c.subject.startswith(f"{subject}/", autoescape=True)
            wanted = wanted.where(or_(events.c.subject == subject, under))
        with self._chain.read() as connection:
            rows = connection.execute(wanted.limit(limit)).all()
        return [as_event(row) for row in reversed(rows)]

    def note(self, kind: str, subject: str, facts: Mapping, actor: str) -> None:
        """Put an act that changes no table on record. Facts with a `digest` are known by it: those that the newest
        entry of that kind about the subject tells already aren't told again."""
        check_words(kind=kind, subject=subject, actor=actor)
        with self._chain.write(actor) as transaction:
            known = newest_told(transaction.connection, kind, subject)
            if "digest" not in facts or known is None or known.get("digest") != facts["digest"]:
                transaction.append(kind, subject, facts)

    def card_url(self, model: str, version: int) -> str | None:
        """Where the newest model card of a version lies; None before one was filed."""
        with self._chain.read() as connection:
            told = newest_told(connection, "card_filed", f"models/{model}/versions/{version}")
        return told["url"] if told else None

    def verify(self) -> VerifyReport:
        """Walk the whole chain and compare its end with the head file, and every row of every table with what the
        entries tell of it. Names the first entry that was deleted, altered, put in another order, forged, or cut off;
        with a chain that holds, the rows that were altered, deleted or forged. Time grows with the entries and rows,
        memory doesn't."""
        known = self._chain.head_file.read()  # before the transaction: entries may be added after it
        with self._chain.read() as connection, closing(Told()) as said:
            entries, bad = self._walk(connection, said)
            bad = bad or _against_head(connection, entries, known)
            wrong, rows = (0, ()) if bad else _against_tables(connection, said)
        if wrong:
            bad = None, f"{rows[0]}" + (f"; {wrong - 1} more" if wrong > 1 else "")
        first_bad, reason = bad or (
            None,
            "every entry is as it was written, up to the head on file, and so is every row",
        )
        return VerifyReport(bad is None, entries, first_bad, reason, wrong, rows)

    def _walk(self, connection: Connection, said: Told) -> tuple[int, tuple[int, str] | None]:
        bad, entries = None, 0
        for row, fault in _looked_at(self._chain, connection):
            entries += 1
            bad = bad or fault
            if bad is None:
                said.hear(row.seq, row.kind, row.payload)
        return entries, bad


def _looked_at(chain: Chain, connection: Connection) -> Iterator[tuple[Row, tuple[int, str] | None]]:
    """Every entry in order, and the place and name of what is wrong with it; None for nothing."""
    previous = BEFORE_ALL
    for row in connection.execute(select(events).order_by(events.c.seq).execution_options(yield_per=AT_ONCE)):
        yield row, _fault(chain, row, previous)
        previous = Head(row.seq, row.hash)


def _fault(chain: Chain, row: Row, previous: Head) -> tuple[int, str] | None:
    if row.seq != previous.seq + 1:
        return previous.seq + 1, f"entry {previous.seq + 1} was deleted: entry {row.seq} follows {previous.seq}"
    if not chain.sealed_rightly(row):
        return row.seq, f"entry {row.seq} was altered, put here from another place, or forged: its hash does not fit"
    if row.prev_hash != previous.hash:
        return row.seq, f"entry {row.seq} does not follow entry {previous.seq}: one of the two was put in its place"
    return None


def newest_told(connection: Connection, kind: str, subject: str) -> dict | None:
    """What the newest entry of that kind about the subject tells; None for no such entry."""
    mine = (events.c.subject == subject, events.c.kind == kind)
    told = connection.scalar(select(events.c.payload).where(*mine).order_by(events.c.seq.desc()).limit(1))
    return json.loads(told) if told else None


def _against_head(connection: Connection, entries: int, known: Head | None) -> tuple[int | None, str] | None:
    if known is None:
        return None, "the head file is missing: entries may have been cut off the end"
    if known.seq > entries:
        return entries + 1, f"entries {entries + 1} to {known.seq} were cut off: the head file names entry {known.seq}"
    if not holds(connection, known):
        return known.seq, f"entry {known.seq} is not the one that the head file names"
    return None


def _against_tables(connection: Connection, said: Told) -> tuple[int, tuple[WrongRow, ...]]:
    found = (one for table in TABLES for one in said.wrong_rows(connection, table))
    named = tuple(islice(found, NAMED))
    return len(named) + sum(1 for _ in found), named


def refuse_altered(chain: Chain, connection: Connection, model: str) -> None:
    """Compare what a promotion rests on (the model's rows in OF_VERSIONS) with the entries about its versions. Every
    entry of the chain is looked at first: only so it shows that none about the model was taken out of the way.

    Raises ApprovalError when an entry, or such a row, was altered, deleted or forged: nothing may move on such a
    record.
    """
    rows = {table: table.c.model == model for table in OF_VERSIONS}
    _refuse(model, _bad_entry(chain, connection) or _wrong_row(connection, _of_versions(model), rows))


def refuse_altered_past(chain: Chain, connection: Connection, model: str) -> None:
    """As `refuse_altered`, of what a rollback rests on: the moves, and the challengers that were champion. What was
    edited of any other keeps no champion that does harm."""
    once = select(champions.c.version).where(champions.c.model == model)  # rightly: the moves are compared first
    subjects = [f"models/{model}/versions/{version}" for version in connection.scalars(once)]
    told_moves = _of_versions(model) & events.c.kind.in_(MOVES)
    _refuse(
        model,
        _bad_entry(chain, connection)
        or _wrong_row(connection, told_moves, {champions: champions.c.model == model})
        or _wrong_row(
            connection,
            events.c.subject.in_(subjects),
            {challengers: (challengers.c.model == model) & challengers.c.version.in_(once)},
        ),
    )


def _of_versions(model: str) -> ColumnElement:
    return events.c.subject.startswith(f"models/{model}/versions/", autoescape=True)


def _bad_entry(chain: Chain, connection: Connection) -> str | None:
    return next((fault[1] for _, fault in _looked_at(chain, connection) if fault), None)


def _wrong_row(connection: Connection, heard: ColumnElement, rows: Mapping[Table, ColumnElement]) -> str | None:
    """The first of those rows that is not as the entries that are `heard` tell it."""
    told = select(events.c.seq, events.c.kind, events.c.payload).where(heard).order_by(events.c.seq)
    with closing(Told()) as said:
        for entry in connection.execute(told.execution_options(yield_per=AT_ONCE)):
            said.hear(*entry)
        return next(
            (str(row) for table, those in rows.items() for row in said.wrong_rows(connection, table, those)), None
        )


def _refuse(model: str, wrong: str | None) -> None:
    if wrong:
        raise ApprovalError(
            f"what is on record of {model} is not what was sealed: its champion does not move",
            seen=wrong,
            expected="rows and entries as Ratchet wrote them",
            hint="run `ratchet audit verify`, and follow docs/runbooks/the-ledger-does-not-verify.md",
        )
