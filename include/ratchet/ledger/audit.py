"""Reading the chain, and proving that nobody has changed it."""

from __future__ import annotations

import json

from sqlalchemy import Connection, Row, Table, or_, select

from ratchet.digests import canonical_json
from ratchet.ledger.chain import BEFORE_ALL, Chain, as_event, holds
from ratchet.ledger.head import Head
from ratchet.ledger.plain import plain
from ratchet.ledger.tables import champions, events, verdicts
from ratchet.ledger.values import Event, VerifyReport

WRITTEN_ONCE = {  # tables whose rows stand word for word in the chain, by the kinds of event that hold them
    "champion_promoted": champions,
    "champion_rolled_back": champions,
    "verdict_recorded": verdicts,
}


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

    def verify(self) -> VerifyReport:
        """Walk the whole chain and compare its end with the head file, and the champions' moves and the verdicts with
        their entries. Names the first entry that was deleted, altered, put in another order, forged, or cut off."""
        known = self._chain.head_file.read()  # before the transaction: entries may be added after it
        with self._chain.read() as connection:
            entries, bad, said = self._walk(connection)
            bad = bad or _against_head(connection, entries, known) or _against_tables(connection, said)
        first_bad, reason = bad or (None, "every entry is as it was written, up to the head on file")
        return VerifyReport(bad is None, entries, first_bad, reason)

    def _walk(self, connection: Connection) -> tuple[int, tuple[int, str] | None, dict]:
        previous, said, bad, entries = BEFORE_ALL, {}, None, 0
        for row in connection.execute(select(events).order_by(events.c.seq)):
            entries += 1
            bad = bad or self._look(row, previous)
            previous = Head(row.seq, row.hash)
            if row.kind in WRITTEN_ONCE and bad is None:
                said[WRITTEN_ONCE[row.kind].name, canonical_json(json.loads(row.payload))] = row.seq
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


def _against_tables(connection: Connection, said: dict[tuple[str, str], int]) -> tuple[int | None, str] | None:
    there = {(table.name, text) for table in (champions, verdicts) for text in _texts(connection, table)}
    if unsaid := sorted(there - said.keys()):
        return None, f"a row of {unsaid[0][0]} stands in no entry: it was altered or forged: {unsaid[0][1]}"
    if gone := sorted((said[pair], pair[0]) for pair in said.keys() - there):
        return gone[0][0], f"the row of {gone[0][1]} that entry {gone[0][0]} tells of was deleted"
    return None


def _texts(connection: Connection, table: Table) -> list[str]:
    return [canonical_json(plain(dict(row._mapping), table.name)) for row in connection.execute(select(table))]
