"""The ledger's tables, and the three kinds of column that read the same from SQLite and PostgreSQL."""

from __future__ import annotations

import json
from datetime import datetime

from sqlalchemy import (
    Boolean,
    Column,
    Dialect,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)

from ratchet.digests import canonical_json
from ratchet.ledger.plain import instant_text

SCHEMA_VERSION = 4

metadata = MetaData()


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


def _text(name: str, *, nullable: bool = False) -> Column:
    return Column(name, Text, nullable=nullable)


def _whole(name: str, *, nullable: bool = False) -> Column:
    return Column(name, Integer, nullable=nullable, autoincrement=False)


def _instant(name: str, *, nullable: bool = False) -> Column:
    return Column(name, Instant, nullable=nullable)


schema_versions = Table("ledger_schema", metadata, Column("version", Integer, primary_key=True, autoincrement=False))

events = Table(
    "ledger_events",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    _text("at"),
    _text("kind"),
    _text("actor"),
    _text("subject"),
    _text("payload"),
    _text("prev_hash"),
    _text("hash"),
    Index("ledger_events_subject", "subject"),
)

partitions = Table(
    "ledger_partitions",
    metadata,
    _text("dataset"),
    _text("day"),
    _whole("revision"),
    _text("digest"),
    _text("drop_sha256"),
    _text("recipe"),
    _whole("table_version"),
    _whole("rows"),
    _whole("quarantined"),
    _instant("delivered_at"),
    _text("actor"),
    _text("reason"),
    _instant("recorded_at"),
    PrimaryKeyConstraint("dataset", "day", "revision"),
)

refusals = Table(
    "ledger_refusals",
    metadata,
    _text("dataset"),
    _text("day"),
    _text("delivery"),
    _text("recipe"),
    Column("reasons", Json, nullable=False),
    _text("actor"),
    _instant("recorded_at"),
    PrimaryKeyConstraint("dataset", "day", "delivery", "recipe"),
)

batches = Table(
    "ledger_batches",
    metadata,
    Column("id", Text, primary_key=True),
    _text("model"),
    _text("as_of"),
    _text("recipe"),
    Column("forced", Boolean, nullable=False),
    _text("status"),
    _text("run_id", nullable=True),
    _whole("attempts"),
    _text("snapshot", nullable=True),
    _whole("challenger_version", nullable=True),
    _instant("opened_at"),
    _instant("started_at", nullable=True),
    _instant("finished_at", nullable=True),
)
Index(
    "ledger_batches_one_training",
    *(batches.c.model, batches.c.as_of, batches.c.recipe),
    unique=True,
    sqlite_where=batches.c.status != "failed",
    postgresql_where=batches.c.status != "failed",
)

requests = Table(
    "ledger_requests",
    metadata,
    Column("id", Text, primary_key=True),
    _text("model"),
    _text("as_of"),
    _text("reason"),
    _text("source"),
    _text("actor"),
    _text("recipe"),
    _text("idempotency_key", nullable=True),
    _whole("cool_down_days"),
    _text("status"),
    _text("batch_id", nullable=True),
    _text("explanation"),
    _instant("requested_at"),
    UniqueConstraint("model", "idempotency_key"),
)

snapshots = Table(
    "ledger_snapshots",
    metadata,
    _text("model"),
    _text("digest"),
    _text("as_of"),
    Column("partitions", Json, nullable=False),
    _instant("recorded_at"),
    PrimaryKeyConstraint("model", "digest"),
)

staleness = Table(
    "ledger_staleness",
    metadata,
    _text("model"),
    _text("kind"),
    _text("subject"),
    _text("dataset"),
    _text("day"),
    _whole("revision"),
    _text("actor"),
    _text("reason"),
    _instant("recorded_at"),
    PrimaryKeyConstraint("model", "kind", "subject", "dataset", "day"),
)

candidates = Table(
    "ledger_candidates",
    metadata,
    _text("model"),
    _text("key"),
    _text("name"),
    _text("run_id"),
    _text("model_digest"),
    Column("metrics", Json, nullable=False),
    Column("manifest", Json, nullable=False),
    _instant("recorded_at"),
    PrimaryKeyConstraint("model", "key"),
)

challengers = Table(
    "ledger_challengers",
    metadata,
    _text("model"),
    _whole("version"),
    _text("identity"),
    _text("mlflow_run_id"),
    _text("snapshot"),
    _text("as_of"),
    Column("windows", Json, nullable=False),
    Column("metrics", Json, nullable=False),
    Column("manifest", Json, nullable=False),
    _text("batch_id", nullable=True),
    _text("model_digest"),
    _text("status"),
    _instant("registered_at"),
    PrimaryKeyConstraint("model", "version"),
    UniqueConstraint("model", "identity"),
)

verdicts = Table(
    "ledger_verdicts",
    metadata,
    _text("model"),
    _whole("version"),
    _whole("champion_epoch"),
    _whole("champion_version", nullable=True),
    _text("judged_to"),
    _text("verdict"),
    Column("checks", Json, nullable=False),
    Column("window", Json, nullable=True),
    _text("digest"),
    _instant("recorded_at"),
    PrimaryKeyConstraint("model", "version", "champion_epoch", "judged_to"),
)

broken_glass = Table(
    "ledger_broken_glass",
    metadata,
    Column("id", Text, primary_key=True),
    _text("model"),
    _whole("version"),
    _whole("champion_epoch"),
    _whole("champion_version", nullable=True),
    _text("model_digest"),
    _text("gate_verdict", nullable=True),
    _text("actor"),
    _text("reason"),
    _text("run_id"),
    _text("digest"),
    _instant("recorded_at"),
    UniqueConstraint("model", "run_id"),
)

approvals = Table(
    "ledger_approvals",
    metadata,
    Column("id", Text, primary_key=True),
    _text("model"),
    _whole("version"),
    _text("verdict_digest"),
    Column("asked_by", Json, nullable=False),
    _text("dag_id"),
    _text("run_id"),
    _text("task_id"),
    _whole("try_number"),
    _instant("asked_at"),
    _instant("expires_at"),
    _text("answer", nullable=True),
    _text("responded_by", nullable=True),
    _text("responded_by_id", nullable=True),
    _instant("responded_at", nullable=True),
    _whole("superseded_by", nullable=True),
    UniqueConstraint("dag_id", "run_id", "task_id"),
    Index("ledger_approvals_version", "model", "version"),
)

champions = Table(
    "ledger_champions",
    metadata,
    _text("model"),
    _whole("epoch"),
    _whole("version"),
    _text("as_of"),
    _text("model_digest"),
    _text("how"),
    _text("actor"),
    _text("reason", nullable=True),
    _text("verdict_digest", nullable=True),
    _instant("moved_at"),
    PrimaryKeyConstraint("model", "epoch"),  # the compare-and-swap: an epoch is taken once
)

scorings = Table(
    "ledger_scorings",
    metadata,
    _text("model"),
    _text("day"),
    _whole("revision"),
    _text("inputs_digest"),
    Column("partitions", Json, nullable=False),
    _whole("version"),
    _whole("rows"),
    _whole("table_version"),
    _instant("recorded_at"),
    PrimaryKeyConstraint("model", "day", "revision"),
)

checks = Table(
    "ledger_checks",
    metadata,
    _text("model"),
    _text("key"),
    _text("as_of"),
    _whole("version"),
    Column("result", Json, nullable=False),
    _text("report_url", nullable=True),
    _instant("recorded_at"),
    PrimaryKeyConstraint("model", "key"),
)

erasures = Table(
    "ledger_erasures",
    metadata,
    Column("id", Text, primary_key=True),
    _text("dataset"),
    Column("key", Json, nullable=False),
    _text("reason"),
    _text("actor"),
    Column("found", Json, nullable=False),
    Column("snapshots", Json, nullable=False),
    Column("versions", Json, nullable=False),
    _instant("begun_at"),
    _instant("finished_at", nullable=True),
)
