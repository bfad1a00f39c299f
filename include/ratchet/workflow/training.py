"""From a retrain request to one registered challenger."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ratchet.days import check_day, shift_day
from ratchet.deployment import Deployment
from ratchet.errors import EmptyWindowError, ParameterError, UnknownNameError
from ratchet.failpoints import failpoint
from ratchet.ledger import Rules
from ratchet.specs import CandidateSpec, ModelSpec
from ratchet.windows import TrainingWindows, training_windows
from ratchet.workflow.candidates import candidate_key, make_candidate, recorded_candidates

if TYPE_CHECKING:
    from ratchet.ledger import Batch, Candidate, Challenger, Champion


def request_retrain(
    deployment: Deployment,
    model: str,
    *,
    reason: str,
    source: str,
    actor: str,
    as_of: str | None = None,
    idempotency_key: str | None = None,
) -> dict:
    """File a retrain request in the ledger and say what became of it.

    `source` is "api", "person", "cron", "drift", "performance", "volume" or "correction". `as_of` defaults to the
    data's own high-water mark. What holds back all but a person's is in the spec's `retrain_when`. Returns {request,
    status ("accepted", "merged" or "suppressed"), batch, as_of, explanation}. Raises ParameterError for an as-of day
    that the data has not reached, EmptyWindowError when the windows don't fit the data there is.
    """
    spec = deployment.model(model)
    newest = high_water_mark(deployment, spec)
    as_of = check_day(as_of, "as_of") if as_of else newest
    if as_of > newest:
        raise ParameterError(
            f"{model} can't be trained as of a day that its data has not reached",
            seen=f"as_of={as_of}",
            expected=f"{newest} at the latest",
            hint=f"ingest newer {spec.outcome_dataset} first, or leave as_of empty",
        )
    windows_as_of(deployment, spec, as_of)
    outcome = deployment.ledger.request_retrain(
        model,
        as_of,
        reason,
        source,
        actor,
        deployment.recipe(spec),
        idempotency_key=idempotency_key,
        rules=Rules.of(spec),
    )
    return {
        "request": outcome.id,
        "status": outcome.status,
        "batch": outcome.batch_id,
        "as_of": deployment.ledger.request(outcome.id).as_of,  # the stored one, where the key was known
        "explanation": outcome.explanation,
    }


def high_water_mark(deployment: Deployment, spec: ModelSpec) -> str:
    """The day as of which every published outcome is known: the newest outcome day plus the label delay.

    Raises EmptyWindowError when no outcome has been published yet.
    """
    newest = deployment.ledger.high_water(spec.outcome_dataset)
    if newest is None:
        raise EmptyWindowError(
            f"{spec.name} has no outcomes to learn from",
            seen=f"no published partition of {spec.outcome_dataset}",
            hint=f"ingest {spec.outcome_dataset} first: trigger {spec.outcome_dataset}.ingest_validate",
        )
    return shift_day(newest, spec.label_delay_days)


def windows_as_of(deployment: Deployment, spec: ModelSpec, as_of: str) -> TrainingWindows:
    """The windows of a training as of a day: the spec's `windows`, or `first_windows` while no champion was trained on
    older data. A matter of data time, so that training again as of the same day splits the same way.

    Raises EmptyWindowError when they don't fit the data there is.
    """
    first_day = deployment.ledger.partitions(spec.outcome_dataset)[0].day
    return windows_after(spec, deployment.ledger.champion_history(spec.name), first_day, as_of)


def windows_after(spec: ModelSpec, champions: Iterable[Champion], first_day: str, as_of: str) -> TrainingWindows:
    """The same of any champions' history, and any first day with outcomes."""
    older = any(champion.as_of < as_of for champion in champions)
    return training_windows(spec.windows if older else spec.first_windows, first_day, as_of, spec.label_delay_days)


def take_training_snapshot(deployment: Deployment, model: str, batch_id: str, run_id: str) -> dict:
    """Start the batch, and keep the exact training input of its as-of day as a snapshot, known by its content.

    Returns {snapshot, as_of, windows, rows, left_out}.
    """
    from ratchet.snapshot import save_snapshot, take_snapshot

    spec = deployment.model(model)
    batch = deployment.ledger.start_batch(batch_id, run_id, model)
    windows = windows_as_of(deployment, spec, batch.as_of)
    snapshot = take_snapshot(spec, deployment.datasets.good, deployment.published, batch.as_of, windows)
    save_snapshot(snapshot, deployment.lake.storage)
    manifest = snapshot.manifest
    deployment.ledger.record_snapshot(model, snapshot.digest, batch.as_of, manifest["partitions"])
    deployment.ledger.set_batch_snapshot(batch_id, run_id, snapshot.digest)
    return {
        "snapshot": manifest["digest"],
        "as_of": batch.as_of,
        "windows": manifest["windows"],
        "rows": manifest["rows"],
        "left_out": manifest["left_out"],
    }


def train_candidate(deployment: Deployment, model: str, snapshot_digest: str, candidate: str) -> dict:
    """Fit one candidate on the snapshot's train window, measure it on the validate window, log it as an MLflow run and
    record that run in the ledger.

    Once per candidate, snapshot and recipe, by the ledger's record: a run that MLflow alone knows, whoever made it,
    counts for nothing. A search goes on where a killed one was. Returns {candidate, run_id, metrics, trials, url}.
    """
    spec = deployment.model(model)
    chosen = _candidate(spec, candidate)
    key = candidate_key(deployment, spec, snapshot_digest, chosen)
    known = deployment.ledger.candidate(model, key) or make_candidate(deployment, spec, snapshot_digest, chosen, key)
    return {
        "candidate": candidate,
        "run_id": known.run_id,
        "metrics": known.metrics,
        "trials": known.manifest["trials"],
        "url": deployment.registry.run_url(known.run_id),
    }


def put_forward_challenger(deployment: Deployment, model: str, batch_id: str, snapshot_digest: str) -> dict:
    """Register the candidate that is best on the validate window as the challenger, and close the batch.

    The candidates, their figures and the digest of their files are the ledger's: neither what a task said of them nor
    what MLflow says counts. The model registered is the model measured: no refit. The same inputs give the same
    version. Returns {version, candidate, metrics, ...}.
    """
    from ratchet.train import challenger_identity, choose_best

    spec, ledger = deployment.model(model), deployment.ledger
    batch = ledger.batch(batch_id)
    if (batch.model, batch.snapshot) != (model, snapshot_digest):
        raise ParameterError(
            f"batch {batch_id} is not a training of {model} on this snapshot",
            seen=f"{batch.model}, snapshot {batch.snapshot}",
            expected=f"{model}, snapshot {snapshot_digest}",
            hint="take batch and snapshot from the ledger: the training run that took the snapshot",
        )
    if batch.status == "failed":  # given up, and this task alone was cleared in Airflow
        ledger.start_batch(batch_id, batch.run_id, model)
        ledger.set_batch_snapshot(batch_id, batch.run_id, snapshot_digest)
    candidates = recorded_candidates(deployment, spec, snapshot_digest)
    metrics = {name: candidate.metrics for name, candidate in candidates.items()}
    best = candidates[choose_best(metrics, spec.problem.success.metric)]
    source, lock = deployment.source_digest(spec), deployment.lock_digest
    identity = challenger_identity(snapshot_digest, spec, source, lock, spec.seed)
    challenger = _register(deployment, model, batch, identity, best)
    failpoint("training.before_alias")
    deployment.registry.set_alias(model, "challenger", challenger.version)
    ledger.finish_batch(batch_id, "done", challenger.version)
    return {
        "version": challenger.version,
        "candidate": best.name,
        "as_of": challenger.as_of,
        "metrics": challenger.metrics,
        "url": deployment.registry.version_url(model, challenger.version),
    }


def _register(deployment: Deployment, model: str, batch: Batch, identity: str, best: Candidate) -> Challenger:
    """The challenger of that identity: on record, or made now. Whoever was overtaken while making it gets the winner's;
    what a killed one left behind is cleared."""
    from ratchet.snapshot import load_snapshot

    registry, ledger = deployment.registry, deployment.ledger
    challenger = ledger.challenger_by_identity(model, identity)
    if challenger is None:
        manifest = load_snapshot(deployment.lake.storage, model, batch.snapshot).manifest
        tags = {"candidate": best.name, "snapshot": batch.snapshot}
        version = registry.register(model, best.run_id, identity, best.model_digest, tags)
        challenger = ledger.register_challenger(
            model,
            identity,
            version,
            best.run_id,
            batch.snapshot,
            manifest["as_of"],
            manifest["windows"],
            best.metrics,
            batch.id,
            best.model_digest,
            best.manifest,
        )
    known = {one.version for one in ledger.challengers(model)}
    registry.delete_doubles(model, identity, best.model_digest, keep=known)
    return challenger


def _candidate(spec: ModelSpec, name: str) -> CandidateSpec:
    for candidate in spec.candidates:
        if candidate.name == name:
            return candidate
    raise UnknownNameError(
        f"{spec.name} has no candidate {name!r}",
        expected=f"one of {[c.name for c in spec.candidates]}",
        hint="see its spec",
    )
