"""What the sealed entries say of every row of the ledger's tables, and the rows that say something else.

Each entry tells of the rows that were written with it: an entry of a kind in ROW_IS_PAYLOAD by its payload, any other
under WROTE in it. So the newest word on each column of each row can be found again from the chain alone.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence

from sqlalchemy import Boolean, ColumnElement, Connection, Table, Text, select, type_coerce

from ratchet.digests import canonical_json
from ratchet.ledger.columns import Json
from ratchet.ledger.tables import (
    alerts,
    approvals,
    batches,
    broken_glass,
    candidates,
    challengers,
    champions,
    checks,
    erasures,
    events,
    evidences,
    metadata,
    partitions,
    refusals,
    requests,
    routings,
    schema_versions,
    scorings,
    shadows,
    verdicts,
)
from ratchet.ledger.values import WrongRow

WROTE = "wrote"  # [[table, {column: see `told`}], ...]
AT_ONCE = 500  # rows read at a time: how long the ledger is does not show in memory
_LONGEST = 200  # characters of a value that is kept as it is
ROW_IS_PAYLOAD = {
    "alert_raised": alerts,
    "approval_asked": approvals,
    "batch_opened": batches,
    "candidate_recorded": candidates,
    "canary_started": routings,
    "challenger_registered": challengers,
    "champion_forced": champions,
    "champion_promoted": champions,
    "champion_rolled_back": champions,
    "day_scored": scorings,
    "drift_checked": checks,
    "drop_refused": refusals,
    "erasure_begun": erasures,
    "evidence_weighed": evidences,
    "glass_broken": broken_glass,
    "partition_published": partitions,
    "retrain_requested": requests,
    "shadow_scored": shadows,
    "verdict_recorded": verdicts,
}
TABLES = [table for table in metadata.sorted_tables if table not in (events, schema_versions)]


def with_rows(kind: str, payload: Mapping, wrote: Sequence[tuple[Table, Mapping]]) -> dict:
    """The payload, and under WROTE the rows written with it that it does not hold itself."""
    mine = ROW_IS_PAYLOAD.get(kind)
    others = [(table, row) for table, row in wrote if not (table is mine and row == payload)]
    return {**payload, **({WROTE: [[table.name, _told_row(table, row)] for table, row in others]} if others else {})}


def told(value: object) -> object:
    """A stored value as entries tell it: itself, or of a long text its digest."""
    if isinstance(value, str) and len(value) > _LONGEST:
        return {"sha256": hashlib.sha256(value.encode()).hexdigest(), "characters": len(value)}
    return value


class Told:
    """The newest word of the entries on each column of each row, in a scratch file that is gone with the process."""

    def __init__(self) -> None:
        self._scratch = sqlite3.connect("", isolation_level=None)
        self._scratch.execute(
            "CREATE TABLE told (place TEXT, row TEXT, seq INTEGER, columns TEXT, PRIMARY KEY (place, row)) "
            "WITHOUT ROWID"
        )
        self._scratch.execute("BEGIN")

    def hear(self, seq: int, kind: str, payload: str) -> None:
        """Take in what one entry tells; of most it is nothing, or one row."""
        said = json.loads(payload)
        rows = [(metadata.tables[name], row) for name, row in said.pop(WROTE, [])]
        if (table := ROW_IS_PAYLOAD.get(kind)) is not None:
            rows.append((table, _told_row(table, said)))
        for table, row in rows:
            key = _key(table, row)
            known = self._take(table, key) | {name: [value, seq] for name, value in row.items()}
            self._scratch.execute("INSERT INTO told VALUES (?, ?, ?, ?)", (table.name, key, seq, json.dumps(known)))

    def wrong_rows(self, connection: Connection, table: Table, *where: ColumnElement) -> Iterator[WrongRow]:
        """The rows of the table that are not as the entries tell it, then those that it has no more."""
        stored = [column if column.type.python_type is int else type_coerce(column, Text) for column in table.c]
        query, names = select(*stored).where(*where).execution_options(yield_per=AT_ONCE), table.c.keys()
        for values in connection.execute(query):
            row = _told_row(table, dict(zip(names, values, strict=True)), stored=True)
            key = _key(table, row)
            yield from _differences(table.name, _name(key), row, self._take(table, key))
        gone = "SELECT row, seq FROM told WHERE place = ?"
        for key, seq in self._scratch.execute(gone, (table.name,)):
            yield WrongRow(table.name, _name(key), None, None, "a row", seq)

    def close(self) -> None:
        self._scratch.close()

    def _take(self, table: Table, key: str) -> dict[str, list]:
        """What is told of that row: {column: [value, seq]}, {} for nothing. It is taken out."""
        taken = "DELETE FROM told WHERE place = ? AND row = ? RETURNING columns"
        found = self._scratch.execute(taken, (table.name, key)).fetchall()
        return json.loads(found[0][0]) if found else {}


def _differences(table: str, key: str, row: Mapping, expected: Mapping[str, list]) -> Iterator[WrongRow]:
    if not expected:
        yield WrongRow(table, key, None, "a row", None, None)
        return
    for name, seen in row.items():
        value, seq = expected.get(name, (None, None))
        if seen != value:
            yield WrongRow(table, key, name, _shown(seen), _shown(value), seq)


def _told_row(table: Table, row: Mapping, *, stored: bool = False) -> dict:
    """A row's columns as entries tell them; `stored`: they are as the database has them."""
    form = _same if stored else _stored
    return {name: told(form(table, name, value)) for name, value in row.items()}


def _stored(table: Table, name: str, value: object) -> object:
    return canonical_json(value) if isinstance(table.c[name].type, Json) and value is not None else value


def _same(table: Table, name: str, value: object) -> object:
    """SQLite has 0 and 1 for false and true. It also holds what no column is for, such as blobs: as their repr, which
    nothing that was written is."""
    if not isinstance(value, str | int | None):
        return {"odd": repr(value)[:_LONGEST]}
    return bool(value) if isinstance(table.c[name].type, Boolean) and value in (0, 1) else value


def _key(table: Table, row: Mapping) -> str:
    return canonical_json({column.name: row[column.name] for column in table.primary_key})


def _name(key: str) -> str:
    named = {column: _shown(value) if isinstance(value, dict) else value for column, value in json.loads(key).items()}
    return ", ".join(f"{column} {value}" for column, value in named.items())


def _shown(value: object) -> str:
    if isinstance(value, dict) and "sha256" in value:
        return f"a text of {value['characters']} characters with sha256 {value['sha256'][:12]}..."
    return value["odd"] if isinstance(value, dict) else json.dumps(value, ensure_ascii=False)
