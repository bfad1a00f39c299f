"""The database under the ledger: engines for SQLite and PostgreSQL in which one writer at a time holds the floor.

Connections are opened for each transaction and closed after it (NullPool): Airflow forks, and a connection that crosses
a fork is shared by two processes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from ratchet.errors import LedgerError
from ratchet.ledger.locks import WAIT_SECONDS, holders, still_held

_LOCK_NOT_AVAILABLE = "55P03"  # PostgreSQL, appendix A: error codes
_LOCK = 7_172_616_337  # any number, the same for all writers of one PostgreSQL database


class Database:
    """Transactions on one database. Constructing it connects to nothing."""

    def __init__(self, url: str) -> None:
        self._engine = _make_engine(url)

    @property
    def where(self) -> str:
        """The address, without its password."""
        return self._engine.url.render_as_string(hide_password=True)

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction, alone: no other writer runs between its first read and its commit.

        Raises LedgerError, to be tried again, when the database can't be reached, or another writer holds it for
        WAIT_SECONDS.
        """
        with self._told(), self._engine.connect() as connection:
            connection = connection.execution_options(ledger_write=True)
            with connection.begin():
                if connection.dialect.name == "postgresql":
                    connection.execute(text(f"SET LOCAL lock_timeout = {int(WAIT_SECONDS * 1000)}"))
                    connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
                yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One transaction that sees the database as of its first read. Raises LedgerError when it can't be reached."""
        with self._told(), self._engine.connect() as connection:
            if connection.dialect.name == "postgresql":
                connection = connection.execution_options(isolation_level="REPEATABLE READ")
            with connection.begin():
                yield connection

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            if _is_held(error):
                raise still_held(self._holders(), WAIT_SECONDS, self.where) from error
            seen = getattr(error, "orig", None) or error
            raise LedgerError(
                "the ledger can't be read or written",
                seen=f"{type(seen).__name__}: {seen}".strip(),
                where=self.where,
                hint="see that the database of RATCHET_LEDGER_URL is up, writable and not full; then run again",
            ) from error

    def _holders(self) -> list[int]:
        """Who writes to an SQLite file locks a part of the one beside it."""
        url = self._engine.url
        return holders(Path(f"{url.database}-shm")) if url.get_backend_name() == "sqlite" else []


def _is_held(error: SQLAlchemyError) -> bool:
    """Whether it says that another writer was waited for in vain."""
    said = getattr(error, "orig", None)
    return (getattr(said, "sqlite_errorname", None) or "").startswith("SQLITE_BUSY") or (
        getattr(said, "sqlstate", None) == _LOCK_NOT_AVAILABLE
    )


def _make_engine(url: str) -> Engine:
    try:
        address = make_url(url)
    except ArgumentError as error:
        raise _unusable("text that is no URL") from error
    if address.drivername in ("postgres", "postgresql"):
        address = address.set(drivername="postgresql+psycopg")
    if address.get_backend_name() == "postgresql":
        return create_engine(
            address, poolclass=NullPool, isolation_level="READ COMMITTED", connect_args={"connect_timeout": 10}
        )
    if address.get_backend_name() == "sqlite" and address.database not in (None, "", ":memory:"):
        Path(address.database).parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(address, poolclass=NullPool)
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    raise _unusable(address.render_as_string(hide_password=True))


def _set_up_sqlite(connection, _record) -> None:
    connection.isolation_level = None  # sqlite3 shall not begin transactions by itself: _begin_sqlite does
    connection.text_factory = partial(str, encoding="utf-8", errors="replace")  # for bytes that were put in by hand
    for pragma in (f"busy_timeout = {int(WAIT_SECONDS * 1000)}", "journal_mode = WAL", "synchronous = FULL"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("ledger_write")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _unusable(seen: str) -> LedgerError:
    return LedgerError(
        "the ledger's address can't be used",
        seen=seen,
        expected="sqlite:////path/to/ledger.db or postgresql://user:password@host/database",
        hint="set RATCHET_LEDGER_URL",
    )
