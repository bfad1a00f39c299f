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
class VerifyReport:
    """What `Ledger.verify` found. `first_bad` is the seq of the first entry that is not as it was written, or of the
    first that is missing; None when all is well, or when a table (not the chain) is what was changed."""

    ok: bool
    entries: int
    first_bad: int | None
    reason: str


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
    """A retrain request as it was filed, and what became of it (see RequestOutcome)."""

    id: str
    model: str
    as_of: str
    reason: str
    source: str
    actor: str
    recipe: str
    idempotency_key: str | None
    cool_down_days: int
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
class Candidate:
    """One fitted configuration, known by the `key` of its inputs. `run_id`: its MLflow run; `model_digest`: that of the
    files saved there; `metrics`: of the validate window. `manifest`: what, beside the snapshot, it can be made again
    from, whatever the clock says then, and the proof that it was: candidate, estimator, params (those it was fitted
    with), trials (of the search that found them, None without one), seed, threads, spec, source_digest, lock_digest,
    git_commit, proof (see ratchet.proof)."""

    model: str
    key: str
    name: str
    run_id: str
    model_digest: str
    metrics: dict
    manifest: dict
    recorded_at: datetime


@dataclass(frozen=True)
class Challenger:
    """A model that a training put forward. `manifest`: what, beside the snapshot, it can be built again from, and the
    proof that it was (see ratchet.workflow.training.put_forward_challenger); {} for one without.

    `status`: "registered" (not judged, or judged PROMOTE and not yet asked about), "held", "rejected",
    "awaiting_approval", "refused" (a person said no), "expired" (no answer in time), "superseded" (one of newer data
    was asked about meanwhile), "promoted" (is or was champion).
    """

    model: str
    version: int
    identity: str
    mlflow_run_id: str
    snapshot: str
    as_of: str
    windows: dict
    metrics: dict
    manifest: dict
    batch_id: str | None
    model_digest: str
    status: str
    registered_at: datetime


@dataclass(frozen=True)
class Verdict:
    """What the gate said of a challenger, against the champion of `champion_epoch` (0: there was none). `window`: the
    first and last day that it was judged on; `judged_to` is the last, "" where the window is not on record."""

    model: str
    version: int
    champion_epoch: int
    champion_version: int | None
    judged_to: str
    verdict: str
    checks: list[dict]
    window: list[str] | None
    digest: str
    recorded_at: datetime


@dataclass(frozen=True)
class BrokenGlass:
    """A person's demand that a version becomes champion whatever the gate says: `actor`, for `reason`. `gate_verdict`:
    what the gate had said by then, None for nothing. Only a second person's approval of its digest promotes."""

    id: str
    model: str
    version: int
    champion_epoch: int
    champion_version: int | None
    model_digest: str
    gate_verdict: str | None
    actor: str
    reason: str
    run_id: str
    digest: str
    recorded_at: datetime


@dataclass(frozen=True)
class Approval:
    """A question put to people about one verdict or broken glass, known by its digest, and the answer, if there is one
    (`answer` None: not yet). `asked_by`: everybody who asked for this promotion. `superseded_by`: the version about
    which a newer question was asked while nobody had answered this one."""

    id: str
    model: str
    version: int
    verdict_digest: str
    asked_by: list[str]
    dag_id: str
    run_id: str
    task_id: str
    try_number: int
    asked_at: datetime
    expires_at: datetime
    answer: str | None
    responded_by: str | None
    responded_by_id: str | None
    responded_at: datetime | None
    superseded_by: int | None


@dataclass(frozen=True)
class Champion:
    """One move of the champion pointer; that of the highest epoch is where it points. `how`: "promotion" or
    "break_glass" (then `verdict_digest` names what was approved, `actor` who approved it; of a broken glass `reason`
    says why), or "rollback" (`actor` did it for `reason`)."""

    model: str
    epoch: int
    version: int
    as_of: str
    model_digest: str
    how: str
    actor: str
    reason: str | None
    verdict_digest: str | None
    moved_at: datetime


@dataclass(frozen=True)
class Scored:
    """A scoring of a day: from which inputs (`partitions`: {dataset: {day: [revision, digest]}}) and by which version.
    `revision` counts scorings of the day."""

    model: str
    day: str
    revision: int
    inputs_digest: str
    partitions: dict
    version: int
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
