"""The ledger's tables."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Index, Integer, MetaData, PrimaryKeyConstraint, Table, Text, UniqueConstraint

from ratchet.ledger.columns import Json, instant, text, whole

SCHEMA_VERSION = 6

metadata = MetaData()

schema_versions = Table("ledger_schema", metadata, Column("version", Integer, primary_key=True, autoincrement=False))

events = Table(
    "ledger_events",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    text("at"),
    text("kind"),
    text("actor"),
    text("subject"),
    text("payload"),
    text("prev_hash"),
    text("hash"),
    Index("ledger_events_subject", "subject"),
)

partitions = Table(
    "ledger_partitions",
    metadata,
    text("dataset"),
    text("day"),
    whole("revision"),
    text("digest"),
    text("drop_sha256"),
    text("recipe"),
    whole("table_version"),
    whole("rows"),
    whole("quarantined"),
    instant("delivered_at"),
    text("actor"),
    text("reason"),
    instant("recorded_at"),
    PrimaryKeyConstraint("dataset", "day", "revision"),
)

refusals = Table(
    "ledger_refusals",
    metadata,
    text("dataset"),
    text("day"),
    text("delivery"),
    text("recipe"),
    Column("reasons", Json, nullable=False),
    text("actor"),
    instant("recorded_at"),
    PrimaryKeyConstraint("dataset", "day", "delivery", "recipe"),
)

batches = Table(
    "ledger_batches",
    metadata,
    Column("id", Text, primary_key=True),
    text("model"),
    text("as_of"),
    text("recipe"),
    Column("forced", Boolean, nullable=False),
    text("status"),
    text("run_id", nullable=True),
    whole("attempts"),
    text("snapshot", nullable=True),
    whole("challenger_version", nullable=True),
    instant("opened_at"),
    instant("started_at", nullable=True),
    instant("finished_at", nullable=True),
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
    text("model"),
    text("as_of"),
    text("reason"),
    text("source"),
    text("actor"),
    text("recipe"),
    text("idempotency_key", nullable=True),
    Column("rules", Json, nullable=True),
    text("status"),
    text("batch_id", nullable=True),
    text("explanation"),
    instant("requested_at"),
    UniqueConstraint("model", "idempotency_key"),
)

snapshots = Table(
    "ledger_snapshots",
    metadata,
    text("model"),
    text("digest"),
    text("as_of"),
    Column("partitions", Json, nullable=False),
    instant("recorded_at"),
    PrimaryKeyConstraint("model", "digest"),
)

staleness = Table(
    "ledger_staleness",
    metadata,
    text("model"),
    text("kind"),
    text("subject"),
    text("dataset"),
    text("day"),
    whole("revision"),
    text("actor"),
    text("reason"),
    instant("recorded_at"),
    PrimaryKeyConstraint("model", "kind", "subject", "dataset", "day"),
)

candidates = Table(
    "ledger_candidates",
    metadata,
    text("model"),
    text("key"),
    text("name"),
    text("run_id"),
    text("model_digest"),
    Column("metrics", Json, nullable=False),
    Column("manifest", Json, nullable=False),
    instant("recorded_at"),
    PrimaryKeyConstraint("model", "key"),
)

challengers = Table(
    "ledger_challengers",
    metadata,
    text("model"),
    whole("version"),
    text("identity"),
    text("mlflow_run_id"),
    text("snapshot"),
    text("as_of"),
    Column("windows", Json, nullable=False),
    Column("metrics", Json, nullable=False),
    Column("manifest", Json, nullable=False),
    text("batch_id", nullable=True),
    text("model_digest"),
    text("status"),
    instant("registered_at"),
    PrimaryKeyConstraint("model", "version"),
    UniqueConstraint("model", "identity"),
)

verdicts = Table(
    "ledger_verdicts",
    metadata,
    text("model"),
    whole("version"),
    whole("champion_epoch"),
    whole("champion_version", nullable=True),
    text("judged_to"),
    text("verdict"),
    Column("checks", Json, nullable=False),
    Column("window", Json, nullable=True),
    text("digest"),
    instant("recorded_at"),
    PrimaryKeyConstraint("model", "version", "champion_epoch", "judged_to"),
)

broken_glass = Table(
    "ledger_broken_glass",
    metadata,
    Column("id", Text, primary_key=True),
    text("model"),
    whole("version"),
    whole("champion_epoch"),
    whole("champion_version", nullable=True),
    text("model_digest"),
    text("gate_verdict", nullable=True),
    text("actor"),
    text("reason"),
    text("run_id"),
    text("digest"),
    instant("recorded_at"),
    UniqueConstraint("model", "run_id"),
)

approvals = Table(
    "ledger_approvals",
    metadata,
    Column("id", Text, primary_key=True),
    text("model"),
    whole("version"),
    text("verdict_digest"),
    Column("asked_by", Json, nullable=False),
    text("dag_id"),
    text("run_id"),
    text("task_id"),
    whole("try_number"),
    instant("asked_at"),
    instant("expires_at"),
    text("answer", nullable=True),
    text("responded_by", nullable=True),
    text("responded_by_id", nullable=True),
    instant("responded_at", nullable=True),
    whole("superseded_by", nullable=True),
    UniqueConstraint("dag_id", "run_id", "task_id"),
    Index("ledger_approvals_version", "model", "version"),
)

champions = Table(
    "ledger_champions",
    metadata,
    text("model"),
    whole("epoch"),
    whole("version"),
    text("as_of"),
    text("model_digest"),
    text("how"),
    text("actor"),
    text("reason", nullable=True),
    text("verdict_digest", nullable=True),
    instant("moved_at"),
    PrimaryKeyConstraint("model", "epoch"),  # the compare-and-swap: an epoch is taken once
)

scorings = Table(
    "ledger_scorings",
    metadata,
    text("model"),
    text("day"),
    whole("revision"),
    text("inputs_digest"),
    Column("partitions", Json, nullable=False),
    whole("version"),
    text("routing", nullable=True),
    whole("rows"),
    whole("table_version"),
    instant("recorded_at"),
    PrimaryKeyConstraint("model", "day", "revision"),
)

shadows = Table(
    "ledger_shadows",
    metadata,
    text("model"),
    whole("version"),
    text("day"),
    whole("revision"),
    text("inputs_digest"),
    whole("rows"),
    whole("table_version"),
    instant("recorded_at"),
    PrimaryKeyConstraint("model", "version", "day", "revision"),
)

evidences = Table(
    "ledger_evidences",
    metadata,
    text("model"),
    text("key"),
    whole("version"),
    whole("champion_version"),
    text("as_of"),
    Column("result", Json, nullable=False),
    text("report_url", nullable=True),
    instant("recorded_at"),
    PrimaryKeyConstraint("model", "key"),
)

routings = Table(
    "ledger_routings",
    metadata,
    Column("id", Text, primary_key=True),
    text("model"),
    whole("version"),
    Column("share", Json, nullable=False),
    text("first_day"),
    text("last_day"),
    whole("champion_epoch"),
    whole("champion_version"),
    text("verdict_digest"),
    text("model_digest"),
    text("actor"),
    text("reason"),
    text("run_id"),
    instant("started_at"),
    text("ended_how", nullable=True),
    text("ended_why", nullable=True),
    text("ended_by", nullable=True),
    instant("ended_at", nullable=True),
    UniqueConstraint("model", "run_id"),
)
Index(
    "ledger_routings_one_open",
    routings.c.model,
    unique=True,
    sqlite_where=routings.c.ended_at.is_(None),
    postgresql_where=routings.c.ended_at.is_(None),
)

checks = Table(
    "ledger_checks",
    metadata,
    text("model"),
    text("key"),
    text("as_of"),
    whole("version"),
    Column("result", Json, nullable=False),
    text("report_url", nullable=True),
    instant("recorded_at"),
    PrimaryKeyConstraint("model", "key"),
)

erasures = Table(
    "ledger_erasures",
    metadata,
    Column("id", Text, primary_key=True),
    text("dataset"),
    Column("key", Json, nullable=False),
    text("reason"),
    text("actor"),
    Column("found", Json, nullable=False),
    Column("snapshots", Json, nullable=False),
    Column("versions", Json, nullable=False),
    instant("begun_at"),
    instant("finished_at", nullable=True),
)

alerts = Table(
    "ledger_alerts",
    metadata,
    Column("id", Text, primary_key=True),
    text("model"),
    text("key"),
    text("level"),
    text("what"),
    Column("facts", Json, nullable=False),
    text("runbook"),
    whole("times"),
    Column("sent", Json, nullable=False),
    text("told", nullable=True),
    instant("raised_at"),
    instant("seen_at"),
    instant("settled_at", nullable=True),
    text("why", nullable=True),
    Index("ledger_alerts_key", "model", "key"),
)
Index(
    "ledger_alerts_one_open",
    *(alerts.c.model, alerts.c.key),
    unique=True,
    sqlite_where=alerts.c.settled_at.is_(None),
    postgresql_where=alerts.c.settled_at.is_(None),
)
