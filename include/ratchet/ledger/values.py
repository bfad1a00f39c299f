"""What the ledger answers with: frozen values, one per kind of row. Field names are the column names of the tables.

Days (`day`, `as_of`) are ISO strings; instants are tz-aware datetimes in UTC.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Event:
    """One entry of the chain. `hash` is HMAC-SHA256(key, prev_hash + the canonical JSON of the other fields)."""

    seq: int
    at: datetime
    kind: str
    actor: str
    subject: str
    payload: dict
    prev_hash: str
    hash: str


@dataclass(frozen=True)
class WrongRow:
    """A row of a table that is not as the sealed entries tell it: its `column` is `seen`, and entry `entry` left
    `expected`. `column` None: the whole row was deleted (`seen` None), or stands in no entry (`expected` None)."""

    table: str
    row: str
    column: str | None
    seen: str | None
    expected: str | None
    entry: int | None

    def __str__(self) -> str:
        what = f"the row {self.row} of {self.table}"
        if self.expected is None:
            return f"{what} stands in no entry: it was forged"
        if self.column is None:
            return f"{what} was deleted: entry {self.entry} tells of it"
        return f"{what} was altered: its {self.column} is {self.seen}, and entry {self.entry} left {self.expected}"


@dataclass(frozen=True)
class VerifyReport:
    """What `Ledger.verify` found. `first_bad` is the seq of the first entry that is not as it was written, or of the
    first that is missing; None when all is well, or when a table (not the chain) is what was changed: then `rows` names
    the first of `wrong` places where one is not as the chain tells it."""

    ok: bool
    entries: int
    first_bad: int | None
    reason: str
    wrong: int = 0
    rows: tuple[WrongRow, ...] = ()


@dataclass(frozen=True)
class Partition:
    """A published day of a dataset. `revision` counts from 1; `digest` is of the content, so that two revisions of one
    digest hold the same. `actor` had it published, for `reason`."""

    dataset: str
    day: str
    revision: int
    digest: str
    drop_sha256: str
    recipe: str
    table_version: int
    rows: int
    quarantined: int
    delivered_at: datetime
    actor: str
    reason: str
    recorded_at: datetime


@dataclass(frozen=True)
class Refusal:
    """A drop that was refused as a whole. `delivery`: see ratchet.drops.Drop; empty for one that was not there as its
    manifest says, so that the next run looks again."""

    dataset: str
    day: str
    delivery: str
    recipe: str
    reasons: list[str]
    actor: str
    recorded_at: datetime


@dataclass(frozen=True)
class RequestOutcome:
    """What became of a retrain request. `status`: "accepted" (opened a batch), "merged" (joined one), or "suppressed"
    (no batch: `batch_id` is None and `explanation` says why)."""

    id: str
    status: str
    batch_id: str | None
    explanation: str


@dataclass(frozen=True)
class Request:
    """A retrain request as it was filed, and what became of it (see RequestOutcome). `rules`: those that it was held
    against, as a dict (see ratchet.ledger.broker.Rules); None for none."""

    id: str
    model: str
    as_of: str
    reason: str
    source: str
    actor: str
    recipe: str
    idempotency_key: str | None
    rules: dict | None
    status: str
    batch_id: str | None
    explanation: str
    requested_at: datetime


@dataclass(frozen=True)
class Batch:
    """One training to be done. `status`: "open", "started", "done" or "failed". `forced`: a person opened it, so that
    cool-downs do not count from it. `run_id` is the run that works on it, the `attempts`-th to do so; `snapshot` is the
    digest of the training input that this run took, None until it has."""

    id: str
    model: str
    as_of: str
    recipe: str
    forced: bool
    status: str
    run_id: str | None
    attempts: int
    snapshot: str | None
    challenger_version: int | None
    opened_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True)
class SnapshotRecord:
    """A training input, and the partitions it came out of: `partitions` {dataset: {day: [newest revision, its digest,
    its drop_sha256, *other revisions]}}."""

    model: str
    digest: str
    as_of: str
    partitions: dict
    recorded_at: datetime


@dataclass(frozen=True)
class Stale:
    """Something made from a partition that has another content since. `kind` "snapshot": `subject` is the snapshot's
    digest; `kind` "predictions": `subject` is the scored day and the revision of its scoring ("2013-04-01/1"). The
    partition's `revision` that made it so, the first one found, was published by `actor` for `reason`."""

    model: str
    kind: str
    subject: str
    dataset: str
    day: str
    revision: int
    actor: str
    reason: str
    recorded_at: datetime


@dataclass(frozen=True)
class Scored:
    """A scoring of a day: from which inputs (`partitions`: {dataset: {day: [revision, digest]}}) and by which version.
    `routing`: the canary that served a share of its rows, None for none. `revision` counts scorings of the day."""

    model: str
    day: str
    revision: int
    inputs_digest: str
    partitions: dict
    version: int
    routing: str | None
    rows: int
    table_version: int
    recorded_at: datetime


@dataclass(frozen=True)
class Check:
    """A drift check of a champion's predictions. `key` is the digest of what it was made from."""

    model: str
    key: str
    as_of: str
    version: int
    result: dict
    report_url: str | None
    recorded_at: datetime


@dataclass(frozen=True)
class Erasure:
    """Rows of a person that were taken out of a dataset. `key`: keyed digests of the values, by column, never the
    values. `found`: {"rows": {table or "landing": {day: count}}, "revisions": {day: [those of the partition that held
    such rows]}, "odd_rows": [keyed digests of rows that didn't fit their header]}. `snapshots` and `versions`, by
    model: training inputs deleted, and the model versions made from them, which can't be built again.
    `finished_at` None: begun, and not done yet."""

    id: str
    dataset: str
    key: dict
    reason: str
    actor: str
    found: dict
    snapshots: dict
    versions: dict
    begun_at: datetime
    finished_at: datetime | None

    @property
    def days(self) -> list[str]:
        return sorted({day for days in self.found["rows"].values() for day in days})


@dataclass(frozen=True)
class Alert:
    """Something that somebody should know of. `model`: a model's or a dataset's name, or "ratchet" for the loop itself;
    `key`: what it is about, such as "performance/all". `level`: "note", "warn" or "page". `times` it was counted,
    first at `raised_at` and last at `seen_at`, with `what` and `facts` as they were then. `sent`: by channel, the news
    that it was last given (see `news`); `told`: the news that every channel has. `why` it was settled."""

    id: str
    model: str
    key: str
    level: str
    what: str
    facts: dict
    runbook: str
    times: int
    sent: dict[str, str]
    told: str | None
    raised_at: datetime
    seen_at: datetime
    settled_at: datetime | None
    why: str | None

    @property
    def news(self) -> str:
        """What there is to be told of it: its level, or that it is "settled"."""
        return self.level if self.settled_at is None else "settled"
