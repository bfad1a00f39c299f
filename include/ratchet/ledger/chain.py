"""The append-only chain of events, and the transactions in which tables and chain move together."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime

from sqlalchemy import Connection, Row, Table, insert, inspect, select, update

from ratchet.digests import canonical_json
from ratchet.errors import LedgerError
from ratchet.failpoints import failpoint
from ratchet.ledger.database import Database
from ratchet.ledger.head import Head, HeadFile, lock_beside, make_key, read_key
from ratchet.ledger.plain import instant_text, plain
from ratchet.ledger.sealed import with_rows
from ratchet.ledger.tables import SCHEMA_VERSION, events, metadata, schema_versions
from ratchet.ledger.values import Event
from ratchet.settings import Settings

BEFORE_ALL = Head(0, "0" * 64)
FIELDS = ("seq", "at", "kind", "actor", "subject", "payload")


class Transaction:
    """An open write: `connection` to read by, `add`, `change` and `append` to write by. `now` is one instant for all of
    it. Each entry tells of the rows that were written since the one before."""

    def __init__(self, connection: Connection, key: bytes, head: Head, actor: str) -> None:
        self.connection, self.head, self.actor = connection, head, actor
        self.now = datetime.now(UTC)
        self._key = key
        self._wrote: list[tuple[Table, dict]] = []

    def add(self, table: Table, row: Mapping) -> dict:
        """Insert a row, made plain; returns it so."""
        row = {name: plain(value, name) for name, value in row.items()}
        self.connection.execute(insert(table).values(row))
        self._wrote.append((table, row))
        return row

    def change(self, table: Table, key: Mapping, **values: object) -> None:
        """Change a row, known by its primary key."""
        mine = [table.c[column.name] == key[column.name] for column in table.primary_key]
        values = {name: plain(value, name) for name, value in values.items()}
        self.connection.execute(update(table).where(*mine).values(values))
        self._wrote.append((table, {**key, **values}))

    def append(self, kind: str, subject: str, payload: Mapping, actor: str | None = None) -> None:
        """Put one entry at the end of the chain."""
        entry = {
            "seq": self.head.seq + 1,
            "at": instant_text(self.now, "at"),
            "kind": kind,
            "actor": plain(str(actor or self.actor), "actor"),
            "subject": subject,
            "payload": canonical_json(with_rows(kind, plain(payload, kind), self._wrote)),
        }
        sealed = seal(self._key, self.head.hash, entry)
        self.connection.execute(insert(events).values(**entry, prev_hash=self.head.hash, hash=sealed))
        self.head = Head(entry["seq"], sealed)
        self._wrote = []

    def refuse_untold(self) -> None:
        """Raises LedgerError when a row was written that no entry tells of."""
        if self._wrote:
            names = ", ".join(sorted({table.name for table, _ in self._wrote}))
            hint = "a fault of this library: nothing was written"
            raise LedgerError("rows were written without an entry that tells of them", seen=names, hint=hint)


class Chain:
    """The chain of one ledger: its database, its key, its head file. `actor` signs what names nobody else."""

    def __init__(self, database: Database, head_file: HeadFile, key: bytes, actor: str) -> None:
        self.database, self.head_file, self.actor = database, head_file, actor
        self._key = key

    @contextmanager
    def write(self, actor: str | None = None) -> Iterator[Transaction]:
        """One transaction over tables and chain; once it is committed, the head file follows.

        Raises LedgerError when the chain no longer holds the entry that the head file names: nothing is written to a
        ledger that was cut. An exception inside rolls everything back.
        """
        with self.database.write() as connection:
            before = self._head(connection)
            transaction = Transaction(connection, self._key, before, actor or self.actor)
            yield transaction
            transaction.refuse_untold()
            if transaction.head != before:
                failpoint("ledger.before_commit")
        if transaction.head != before:
            failpoint("ledger.after_commit")
        self.head_file.advance(transaction.head)  # past the last entry, too, of one that was killed before it did

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One read transaction: all its reads see the same state."""
        with self.database.read() as connection:
            yield connection

    def sealed_rightly(self, row: Row) -> bool:
        """Whether an entry's hash is that of its own fields and the key; a blob in one of them is never."""
        if {str} != set(map(type, row[1:])):  # all but seq
            return False
        entry = {name: getattr(row, name) for name in FIELDS}
        return hmac.compare_digest(seal(self._key, row.prev_hash, entry).encode(), row.hash.encode())

    def _head(self, connection: Connection) -> Head:
        known = self.head_file.read()
        newest = newest_head(connection)
        if known is None or not holds(connection, known):
            raise LedgerError(
                "the ledger does not hold what its head file names: nothing is written to it",
                seen=f"{newest.seq} entries",
                expected="a head file" if known is None else f"entry {known.seq} with hash {known.hash[:12]}...",
                where=self.head_file.path,
                hint="run `ratchet audit verify`; restore ledger and head file together from one backup. "
                "A new host gets the files of key and head together",
            )
        return newest


def open_chain(settings: Settings, actor: str) -> Chain:
    """The chain of the settings' ledger; the first call makes schema, key file, head file and first entry.

    Raises LedgerError when the key is missing or not the one that the ledger was begun with, when the schema is of
    another version, or when the ledger is gone while its head file still names entries.
    """
    database, head_file = Database(settings.ledger_url), HeadFile(settings.ledger_head_file)
    key_file = settings.ledger_key_file
    key = read_key(key_file)
    with database.read() as connection:
        version = _schema_version(connection)
    if key is None or version is None or head_file.read() is None:
        with lock_beside(key_file):
            key = _begin(database, head_file, read_key(key_file), key_file, actor)
    chain = Chain(database, head_file, key, actor)
    _check(chain, key_file)
    return chain


def seal(key: bytes, prev_hash: str, entry: Mapping) -> str:
    """The hash of an entry: HMAC-SHA256(key, previous hash + canonical JSON of its fields), in hex."""
    text = prev_hash + canonical_json([entry[name] for name in FIELDS])
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def newest_head(connection: Connection) -> Head:
    row = connection.execute(select(events.c.seq, events.c.hash).order_by(events.c.seq.desc()).limit(1)).first()
    return Head(row.seq, row.hash) if row else BEFORE_ALL


def holds(connection: Connection, head: Head) -> bool:
    """Whether the chain has that entry with that hash."""
    return connection.scalar(select(events.c.hash).where(events.c.seq == head.seq)) == head.hash


def as_event(row: Row) -> Event:
    fields = dict(row._mapping)
    return Event(**{**fields, "at": datetime.fromisoformat(row.at), "payload": json.loads(row.payload)})


def _begin(database: Database, head_file: HeadFile, key: bytes | None, key_file, actor: str) -> bytes:
    with database.write() as connection:
        if _schema_version(connection) is None:
            _refuse_if_lost(database, head_file)
            key = key or make_key(key_file)
            metadata.create_all(connection)
            connection.execute(insert(schema_versions).values(version=SCHEMA_VERSION))
            Transaction(connection, key, BEFORE_ALL, actor).append("ledger_begun", "ledger", {"schema": SCHEMA_VERSION})
        elif key is None:
            hint = "restore the key file that the ledger was begun with"
            raise LedgerError("the ledger's key is missing", where=key_file, hint=hint)
        newest = newest_head(connection)
        failpoint("ledger.begin.before_commit")
    failpoint("ledger.begin.after_commit")
    if newest.seq == 1:  # just begun, or a crash came between that and the head file
        head_file.advance(newest)
    return key


def _refuse_if_lost(database: Database, head_file: HeadFile) -> None:
    if known := head_file.read():
        raise LedgerError(
            "the ledger is gone",
            seen=f"no ledger in {database.where}",
            expected=f"{known.seq} entries, says its head file",
            where=head_file.path,
            hint="restore the database; to begin a new ledger on purpose, remove the head file and the key file first",
        )


def _schema_version(connection: Connection) -> int | None:
    if not inspect(connection).has_table(schema_versions.name):
        return None
    return connection.scalar(select(schema_versions.c.version))


def _check(chain: Chain, key_file) -> None:
    with chain.read() as connection:
        version = _schema_version(connection)
        first = connection.execute(select(events).where(events.c.seq == 1)).first()
    if version != SCHEMA_VERSION:
        raise LedgerError(
            "the ledger's schema is of another version",
            seen=version,
            expected=SCHEMA_VERSION,
            where=chain.database.where,
            hint="run the Ratchet that wrote it; or begin anew with `make reset`, which deletes all run-time state",
        )
    if first is not None and first.prev_hash == BEFORE_ALL.hash and not chain.sealed_rightly(first):
        raise LedgerError(
            "the ledger was begun with another key, or its first entry was changed",
            where=key_file,
            hint="restore the key file that the ledger was begun with",
        )
