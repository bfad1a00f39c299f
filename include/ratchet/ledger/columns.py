"""Columns that read the same from SQLite and PostgreSQL."""

from __future__ import annotations

import json
from datetime import datetime

from sqlalchemy import Column, Dialect, Integer, Text, TypeDecorator

from ratchet.digests import canonical_json
from ratchet.ledger.plain import instant_text


class Instant(TypeDecorator):
    """A tz-aware datetime, kept as ISO-8601 text in UTC with microseconds, so that text order is time order."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: object, dialect: Dialect) -> str | None:
        return None if value is None else instant_text(value, "instant")

    def process_result_value(self, value: str | None, dialect: Dialect) -> datetime | None:
        return None if value is None else datetime.fromisoformat(value)


class Json(TypeDecorator):
    """A value kept as canonical JSON text: what is hashed is exactly what is stored."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: object, dialect: Dialect) -> str | None:
        return None if value is None else canonical_json(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> object:
        return None if value is None else json.loads(value)


def text(name: str, *, nullable: bool = False) -> Column:
    return Column(name, Text, nullable=nullable)


def whole(name: str, *, nullable: bool = False) -> Column:
    return Column(name, Integer, nullable=nullable, autoincrement=False)


def instant(name: str, *, nullable: bool = False) -> Column:
    return Column(name, Instant, nullable=nullable)
