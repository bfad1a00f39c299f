"""S6: every row of every table is as the sealed entries tell it, or `audit verify` names it."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from ledger_story import MODEL, Story, settings_for, tamper
from sqlalchemy import Boolean, Integer

from ratchet.errors import LedgerError
from ratchet.ledger import Ledger, open_ledger
from ratchet.ledger.sealed import TABLES
from ratchet.ledger.tables import metadata, staleness

NOW = datetime(2013, 4, 2, 12, tzinfo=UTC)
DAY = "2013-04-01"
PUBLISHED = {
    "dataset": "flights", "digest": "d1", "drop_sha256": "drop 1", "recipe": "r", "table_version": 1, "rows": 9,
    "quarantined": 1, "delivered_at": NOW, "actor": "ratchet", "reason": "delivered", "revises": 0,
}  # fmt: skip


def live(ledger: Ledger) -> Ledger:
    """A life that writes to every table, and changes every row that can change."""
    ledger.record_partitions([{**PUBLISHED, "day": DAY}])
    ledger.record_refusal("flights", "2013-04-02", "delivery", "r", ["empty"])
    batch = ledger.request_retrain(MODEL, DAY, "drift", "person", "analyst", "recipe").batch_id
    ledger.start_batch(batch, "run", MODEL)
    ledger.set_batch_snapshot(batch, "run", "s1")
    ledger.record_snapshot(MODEL, "s1", DAY, {"flights": {DAY: [1, "d1", "drop 1"]}})
    ledger.record_snapshot(MODEL, "s1", DAY, {"flights": {DAY: [2, "d1", "drop 2"]}})
    ledger.record_candidate(MODEL, "key", "weak", "run", "digest", {"auc": 0.7}, {"seed": 1, "trials": "t" * 999})
    ledger.finish_batch(batch, "done", 1)
    story = Story(ledger, NOW)
    story.two_champions()
    glass = ledger.break_glass(MODEL, 1, actor="analyst", reason="harm", run_id="run-g")
    story.ask(1, glass.digest, "run-g")
    ledger.record_scored(MODEL, DAY, "inputs", 2, 9, 1, {"flights": {DAY: [1, "d1"]}})
    ledger.record_check(MODEL, DAY, 2, "key", {"share": 0.25}, None)
    mark = {"kind": "snapshot", "subject": "s1", "dataset": "flights", "day": DAY, "revision": 2}
    ledger.note_stale(MODEL, [{"model": MODEL, **mark, "actor": "analyst", "reason": "restated"}])
    found = {"rows": {"flights": {DAY: 1}}, "revisions": {DAY: [1]}, "odd_rows": []}
    erasure = ledger.begin_erasure("flights", {"tailnum": "k"}, "asked", "analyst", found)
    ledger.begin_erasure("flights", {"tailnum": "k"}, "asked", "analyst", {**found, "revisions": {DAY: [2]}})
    ledger.finish_erasure(erasure.id, {MODEL: ["s1"]}, {MODEL: [1]})
    for level in ("warn", "page"):
        alert = ledger.raise_alert(MODEL, "performance/all", level, "AUC fell", {"by": 0.04}, "performance-fell")
    ledger.mark_alert_sent(alert.id, "page", "log", last=True)
    ledger.settle_alert(MODEL, "performance/all", "it rose again")
    ledger.record_shadow(MODEL, 1, DAY, "inputs", 9, 1)
    ledger.record_evidence(MODEL, "key", 1, 2, DAY, {"value": 0.01}, None)
    story.register(3)
    story.judge(3)
    canary = story.start_canary(3)
    ledger.end_canary(MODEL, canary.id, "stopped", "seen enough", "carl")
    return ledger


@pytest.fixture(scope="module")
def lived() -> Ledger:
    """One for all: each test leaves it as it was."""
    with tempfile.TemporaryDirectory() as folder:
        yield live(open_ledger(settings_for(f"sqlite:///{folder}/ledger.db", Path(folder))))


def row_of(ledger: Ledger, table) -> dict:
    with ledger._chain.database.read() as connection:
        return dict(connection.exec_driver_sql(f"SELECT * FROM {table.name} LIMIT 1").one()._mapping)


def where(table, row: dict) -> str:
    return " AND ".join(f"{column.name} = '{row[column.name]}'" for column in table.primary_key)


def other(column) -> str:
    if isinstance(column.type, Boolean):
        return f"NOT {column.name}"
    return f"COALESCE({column.name}, 0) + 100" if isinstance(column.type, Integer) else "'x'"


def test_s6_no_table_is_left_out(lived):
    assert {table.name for table in TABLES} == {*metadata.tables} - {"ledger_events", "ledger_schema"}
    assert lived.verify().ok, lived.verify()


@pytest.mark.parametrize("table", TABLES, ids=str)
def test_s6_each_altered_column_of_each_table_is_named(lived, table):
    row, key = row_of(lived, table), [column.name for column in table.primary_key]
    for column in table.c:
        before = "NULL" if row[column.name] is None else "'" + str(row[column.name]).replace("'", "''") + "'"
        tamper(lived, f"UPDATE {table.name} SET {column.name} = {other(column)} WHERE {where(table, row)}")
        report, moved = lived.verify(), {**row, column.name: row_of(lived, table)[column.name]}
        assert not report.ok and report.first_bad is None
        if column.name in key:  # another row by now
            assert [(one.expected, one.seen) for one in report.rows] == [(None, "a row"), ("a row", None)]
        else:
            (wrong,) = report.rows
            assert (wrong.table, wrong.column) == (table.name, column.name) and wrong.seen != wrong.expected
            assert all(f"{name} {row[name]}" in wrong.row for name in key) and wrong.column in report.reason
        tamper(lived, f"UPDATE {table.name} SET {column.name} = {before} WHERE {where(table, moved)}")
        assert lived.verify().ok, column.name


@pytest.mark.parametrize("table", TABLES, ids=str)
def test_s6_a_deleted_row_of_each_table_is_named(lived, table):
    row = row_of(lived, table)
    gone = f"DELETE FROM {table.name} WHERE {where(table, row)}"
    tamper(lived, f"CREATE TABLE kept AS SELECT * FROM {table.name}", gone)
    (wrong,) = lived.verify().rows
    tamper(lived, f"DELETE FROM {table.name}", f"INSERT INTO {table.name} SELECT * FROM kept", "DROP TABLE kept")
    assert (wrong.table, wrong.column, wrong.seen) == (table.name, None, None) and wrong.entry
    assert lived.verify().ok


def test_s6_a_life_untouched_is_clean_and_an_altered_row_shows_in_either_database(ledger):
    assert live(ledger).verify().ok
    tamper(ledger, "UPDATE ledger_partitions SET drop_sha256 = 'x'", "UPDATE ledger_batches SET forced = false")
    assert [(one.column, one.seen, one.expected) for one in ledger.verify().rows] == [
        ("forced", "false", "true"),
        ("drop_sha256", '"x"', '"drop 1"'),
    ]


@pytest.mark.parametrize("bytes_in", ["x'ff00'", "CAST(x'ff41' AS TEXT)"], ids=["a blob", "no UTF-8"])
@pytest.mark.parametrize("column", ["status", "model", "metrics", "registered_at", "version"])
def test_s6_bytes_that_no_text_has_are_named_like_any_other_value(lived, column, bytes_in):
    tamper(lived, "CREATE TABLE kept AS SELECT * FROM ledger_challengers")
    tamper(lived, f"UPDATE ledger_challengers SET {column} = {bytes_in} WHERE version = 1")
    report = lived.verify()
    tamper(lived, "DELETE FROM ledger_challengers", "INSERT INTO ledger_challengers SELECT * FROM kept")
    tamper(lived, "DROP TABLE kept")
    assert {one.table for one in report.rows} == {"ledger_challengers"} and report.first_bad is None
    assert report.rows[0].column == (None if column in ("model", "version") else column)
    assert lived.verify().ok


@pytest.mark.parametrize("bytes_in", ["x'ff00'", "CAST(x'ff41' AS TEXT)"], ids=["a blob", "no UTF-8"])
@pytest.mark.parametrize("column", ["at", "payload", "prev_hash", "hash"])
def test_s6_bytes_that_no_text_has_are_named_in_an_entry_too(lived, column, bytes_in):
    tamper(lived, f"CREATE TABLE kept AS SELECT {column} AS was FROM ledger_events WHERE seq = 3")
    tamper(lived, f"UPDATE ledger_events SET {column} = {bytes_in} WHERE seq = 3")
    report = lived.verify()
    tamper(lived, f"UPDATE ledger_events SET {column} = (SELECT was FROM kept) WHERE seq = 3", "DROP TABLE kept")
    assert not report.ok and report.first_bad == 3 and lived.verify().ok


def test_s6_a_text_too_long_to_be_told_is_known_by_its_digest(lived):
    row = row_of(lived, metadata.tables["ledger_candidates"])["manifest"]
    tamper(lived, """UPDATE ledger_candidates SET manifest = replace(manifest, 'ttt', 'uuu')""")
    (wrong,) = lived.verify().rows
    assert "sha256" in wrong.seen and "sha256" in wrong.expected and wrong.seen != wrong.expected
    tamper(lived, f"UPDATE ledger_candidates SET manifest = '{row}'")
    assert lived.verify().ok


def test_s6_of_many_wrong_rows_all_are_counted_and_a_hundred_named(ledger):
    days = [f"{NOW + timedelta(days=n):%Y-%m-%d}" for n in range(120)]
    ledger.record_partitions([{**PUBLISHED, "day": day} for day in days])
    tamper(ledger, "UPDATE ledger_partitions SET rows = 8")
    report = ledger.verify()
    assert (report.wrong, len(report.rows)) == (120, 100) and "119 more" in report.reason


def test_a_row_that_no_entry_tells_of_is_not_written(ledger):
    mark = {"model": MODEL, "kind": "k", "subject": "s", "dataset": "d", "day": DAY, "revision": 1, "actor": "a"}
    with pytest.raises(LedgerError, match="without an entry"), ledger._chain.write() as transaction:
        transaction.add(staleness, {**mark, "reason": "r", "recorded_at": transaction.now})
    assert ledger.stale(MODEL) == [] and ledger.verify().ok
