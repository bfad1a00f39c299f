"""Reading the chain, and proving that nobody has changed it."""

from __future__ import annotations

import json
from collections.abc import Mapping

from sqlalchemy import Connection, Row, Table, Text, or_, select, type_coerce

from ratchet.digests import canonical_json
from ratchet.ledger.chain import BEFORE_ALL, Chain, as_event, holds
from ratchet.ledger.head import Head
from ratchet.ledger.plain import check_words
from ratchet.ledger.tables import Json, approvals, broken_glass, candidates, challengers, champions, events, verdicts
from ratchet.ledger.values import Event, VerifyReport

IN_CHAIN = {  # tables whose rows stand word for word in the chain, by the kinds of event that write them
    "champion_promoted": champions,
    "champion_rolled_back": champions,
    "verdict_recorded": verdicts,
    "candidate_recorded": candidates,
    "challenger_registered": challengers,
    "approval_asked": approvals,
    "approval_answered": approvals,  # fills in what the question left open
    "approval_superseded": approvals,  # the same
    "glass_broken": broken_glass,
    "champion_forced": champions,
}
MOVES = {"status"}  # columns that change without an entry of their own

Said = dict[tuple, tuple[int, dict]]  # by table and primary key: the last entry that wrote the row, and the row


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
        """Put an act that changes no table on record."""
        check_words(kind=kind, subject=subject, actor=actor)
        with self._chain.write(actor) as transaction:
            transaction.append(kind, subject, facts)

    def card_url(self, model: str, version: int) -> str | None:
        """Where the newest model card of a version lies; None before one was filed."""
        mine = (events.c.subject == f"models/{model}/versions/{version}", events.c.kind == "card_filed")
        with self._chain.read() as connection:
            told = connection.scalar(select(events.c.payload).where(*mine).order_by(events.c.seq.desc()).limit(1))
        return json.loads(told)["url"] if told else None

    def verify(self) -> VerifyReport:
        """Walk the whole chain and compare its end with the head file, and challengers, verdicts, approvals and the
        champions' moves with their entries. Names the first entry that was deleted, altered, put in another order,
        forged, or cut off, or the row that is not as the chain has it."""
        known = self._chain.head_file.read()  # before the transaction: entries may be added after it
        with self._chain.read() as connection:
            entries, bad, said = self._walk(connection)
            bad = bad or _against_head(connection, entries, known) or _against_tables(connection, said)
        first_bad, reason = bad or (None, "every entry is as it was written, up to the head on file")
        return VerifyReport(bad is None, entries, first_bad, reason)

    def _walk(self, connection: Connection) -> tuple[int, tuple[int, str] | None, Said]:
        previous, said, bad, entries = BEFORE_ALL, {}, None, 0
        for row in connection.execute(select(events).order_by(events.c.seq)):
            entries += 1
            bad = bad or self._look(row, previous)
            previous = Head(row.seq, row.hash)
            if row.kind in IN_CHAIN and bad is None:
                table = IN_CHAIN[row.kind]
                told = _as_stored(table, json.loads(row.payload))
                _, before = said.get(_key(table, told), (None, {}))
                said[_key(table, told)] = row.seq, before | told
        return entries, bad, said

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


def _against_head(connection: Connection, entries: int, known: Head | None) -> tuple[int | None, str] | None:
    if known is None:
        return None, "the head file is missing: entries may have been cut off the end"
    if known.seq > entries:
        return entries + 1, f"entries {entries + 1} to {known.seq} were cut off: the head file names entry {known.seq}"
    if not holds(connection, known):
        return known.seq, f"entry {known.seq} is not the one that the head file names"
    return None


def _against_tables(connection: Connection, said: Said) -> tuple[int | None, str] | None:
    there = {_key(table, row): row for table in dict.fromkeys(IN_CHAIN.values()) for row in _rows(connection, table)}
    for key, row in there.items():
        if key not in said:
            return None, f"the row {_name(key)} stands in no entry: it was altered or forged"
        seq, told = said[key]
        if wrong := [name for name in row if name not in MOVES and row[name] != told.get(name)]:
            return None, f"the row {_name(key)} was altered: its {', '.join(wrong)} is not what entry {seq} left there"
    for key, (seq, _) in said.items():
        if key not in there:
            return seq, f"the row {_name(key)} that entry {seq} tells of was deleted"
    return None


def _rows(connection: Connection, table: Table) -> list[dict]:
    """The rows as they are stored: text that was altered need not be an instant or JSON any more."""
    stored = [column if column.type.python_type is int else type_coerce(column, Text) for column in table.c]
    return [dict(zip(table.c.keys(), row, strict=True)) for row in connection.execute(select(*stored))]


def _as_stored(table: Table, told: dict) -> dict:
    return {
        name: canonical_json(value) if isinstance(table.c[name].type, Json) and value is not None else value
        for name, value in told.items()
    }


def _key(table: Table, row: dict) -> tuple:
    return (table.name, *((column.name, row[column.name]) for column in table.primary_key))


def _name(key: tuple) -> str:
    return f"{', '.join(f'{column} {value}' for column, value in key[1:])} of {key[0]}"
