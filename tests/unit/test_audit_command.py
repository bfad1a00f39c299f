"""S6: `ratchet audit verify` names what was changed in a table, for people and for programs."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

import pytest
from typer.testing import CliRunner

from ratchet.cli.shell import cli


@pytest.fixture
def altered(as_environment, copy_of, taken_in):
    """A loop in which somebody has written another sha256 into every published partition of a day."""
    deployment = as_environment(copy_of(taken_in))
    with closing(sqlite3.connect(deployment.settings.var / "ledger" / "ledger.db")) as database, database:
        change = "UPDATE ledger_partitions SET drop_sha256 = 'x' WHERE dataset = 'flights' AND day = '2013-01-02'"
        assert database.execute(change).rowcount == 1
    return deployment


def test_s6_verify_names_table_key_column_and_both_values(altered):
    import ratchet.cli.audit  # noqa: F401 - it adds its commands

    sha256 = altered.ledger.partition("flights", "2013-01-01").drop_sha256
    told = CliRunner().invoke(cli, ["audit", "verify"])
    assert told.exit_code == 1 and "the chain holds, but not all it speaks of" in told.output
    assert "dataset flights, day 2013-01-02, revision 1 of ledger_partitions" in told.output
    assert 'its drop_sha256 is "x", and entry' in told.output
    as_json = json.loads(CliRunner().invoke(cli, ["audit", "verify", "--as", "json"]).output)
    (row,) = as_json["rows"]
    assert (as_json["ok"], as_json["wrong"], row["table"], row["column"]) == (
        False,
        1,
        "ledger_partitions",
        "drop_sha256",
    )
    assert row["seen"] == '"x"' and len(row["expected"]) == len(f'"{sha256}"')
