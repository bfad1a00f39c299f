"""Rows to values and back: each value's fields are its table's columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy import ColumnElement, Connection, Row, Table, func, select

if TYPE_CHECKING:
    from ratchet.ledger.chain import Transaction

V = TypeVar("V")


def as_value(kind: type[V], row: Row) -> V:
    return kind(**{field.name: row._mapping[field.name] for field in fields(kind)})


def read_all(connection: Connection, kind: type[V], table: Table, *where: ColumnElement, order: tuple = ()) -> list[V]:
    """All rows that match, as values, in the order given."""
    return [as_value(kind, row) for row in connection.execute(select(table).where(*where).order_by(*order))]


def read_one(connection: Connection, kind: type[V], table: Table, *where: ColumnElement, order: tuple = ()) -> V | None:
    """The first row that matches, in the order given, as a value; or None."""
    row = connection.execute(select(table).where(*where).order_by(*order).limit(1)).first()
    return as_value(kind, row) if row else None


def keep_first(transaction: Transaction, kind: type[V], table: Table, row: Mapping, *, entry: str, subject: str) -> V:
    """The record under the row's model and key; what is there already stands, whatever else differs. If nothing is, the
    row becomes it, with an entry of that kind about `subject`."""
    mine = (table.c.model == row["model"], table.c.key == row["key"])
    if known := read_one(transaction.connection, kind, table, *mine):
        return known
    transaction.append(entry, subject, transaction.add(table, {**row, "recorded_at": transaction.now}))
    return read_one(transaction.connection, kind, table, *mine)


def next_id(connection: Connection, table: Table, letter: str) -> str:
    """A new id: the letter and a number. Safe because writers go one at a time and rows are never deleted."""
    return f"{letter}{connection.scalar(select(func.count()).select_from(table)) + 1:06d}"
