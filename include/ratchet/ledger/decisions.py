"""What the ledger answers about models' versions and what was decided on them: see ratchet.ledger.values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


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
