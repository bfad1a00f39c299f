"""Reading the chain, and proving that nobody has changed it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import closing
from itertools import islice

from sqlalchemy import Connection, Row, func, or_, select

from ratchet.errors import ApprovalError
from ratchet.ledger.chain import BEFORE_ALL, Chain, as_event, holds
from ratchet.ledger.head import Head
from ratchet.ledger.plain import check_words
from ratchet.ledger.sealed import AT_ONCE, TABLES, Told
from ratchet.ledger.tables import approvals, broken_glass, challengers, champions, events, verdicts
from ratchet.ledger.values import Event, VerifyReport, WrongRow

NAMED = 100  # rows that a report names; all are counted
OF_VERSIONS = (challengers, verdicts, broken_glass, approvals, champions)  # told of under models/<model>/versions/


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
            known = _newest(transaction.connection, kind, subject)
            if "digest" not in facts or known is None or known.get("digest") != facts["digest"]:
                transaction.append(kind, subject, facts)

    def card_url(self, model: str, version: int) -> str | None:
        """Where the newest model card of a version lies; None before one was filed."""
        with self._chain.read() as connection:
            told = _newest(connection, "card_filed", f"models/{model}/versions/{version}")
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
        previous, bad, entries = BEFORE_ALL, None, 0
        for row in connection.execute(select(events).order_by(events.c.seq).execution_options(yield_per=AT_ONCE)):
            entries += 1
            bad = bad or self._look(row, previous)
            previous = Head(row.seq, row.hash)
            if bad is None:
                said.hear(row.seq, row.kind, row.payload)
        return entries, bad

    def _look(self, row: Row, previous: Head) -> tuple[int, str] | None:
        if row.seq != previous.seq + 1:
            return previous.seq + 1, f"entry {previous.seq + 1} was deleted: entry {row.seq} follows {previous.seq}"
        if not self._chain.sealed_rightly(row):
            return (
                row.seq,
                f"entry {row.seq} was altered, put here from another place, or forged: its hash does not fit",
            )
        if row.prev_hash != previous.hash:
            return row.seq, f"entry {row.seq} does not follow entry {previous.seq}: one of the two was put in its place"
        return None


def _newest(connection: Connection, kind: str, subject: str) -> dict | None:
    """What the newest entry of that kind about the subject tells."""
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
    """Compare what a move of the model's champion rests on (its rows in OF_VERSIONS) with the sealed entries about its
    versions, and with those alone: the rest of the chain is for `Audit.verify`.

    Raises ApprovalError when a row was altered, deleted or forged, or an entry was: nothing may move on such a record.
    """
    wrong = _missing_entries(connection)
    mine = events.c.subject.startswith(f"models/{model}/versions/", autoescape=True)
    with closing(Told()) as said:
        for entry in connection.execute(select(events).where(mine).order_by(events.c.seq)).yield_per(AT_ONCE):
            if not chain.sealed_rightly(entry):
                wrong = f"entry {entry.seq} was altered or forged"
                break
            said.hear(entry.seq, entry.kind, entry.payload)
        rows = (one for table in OF_VERSIONS for one in said.wrong_rows(connection, table, table.c.model == model))
        wrong = wrong or next(map(str, rows), None)
    if wrong:
        raise ApprovalError(
            f"what is on record of {model} is not what was sealed: its champion does not move",
            seen=wrong,
            expected="rows and entries as Ratchet wrote them",
            hint="run `ratchet audit verify`, and follow docs/runbooks/the-ledger-does-not-verify.md",
        )


def _missing_entries(connection: Connection) -> str | None:
    there, newest = connection.execute(select(func.count(), func.max(events.c.seq)).select_from(events)).one()
    return None if there == newest else f"{newest - there} entries were deleted"
