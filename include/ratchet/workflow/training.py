"""From a retrain request to one registered challenger."""

from __future__ import annotations

import os
import subprocess

from ratchet.days import check_day, shift_day
from ratchet.deployment import Deployment
from ratchet.digests import digest_of
from ratchet.errors import EmptyWindowError, ParameterError, UnknownNameError
from ratchet.specs import CandidateSpec, ModelSpec
from ratchet.windows import TrainingWindows, training_windows


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

    `source` is "api", "person", "cron", "drift" or "correction". `as_of` defaults to the data's own high-water mark.
    Returns {request, status ("accepted", "merged" or "suppressed"), batch, as_of, explanation}. Raises ParameterError
    for an as-of day that the data has not reached, EmptyWindowError when the windows don't fit the data there is.
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
        cool_down_days=spec.retrain_when.cool_down_days,
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
    older = [c for c in deployment.ledger.champion_history(spec.name) if c.as_of < as_of]
    first_day = deployment.ledger.partitions(spec.outcome_dataset)[0].day
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
    """Fit one candidate on the snapshot's train window, measure it on the validate window, log it as an MLflow run.

    Once per candidate, snapshot and recipe: a second call finds the first run. Returns {candidate, run_id, metrics,
    url}.
    """
    from ratchet import train
    from ratchet.snapshot import load_snapshot

    spec = deployment.model(model)
    chosen = _candidate(spec, candidate)
    key = candidate_key(deployment, spec, snapshot_digest, chosen)
    run = deployment.registry.find_candidate(model, key)
    if run is None:
        snapshot = load_snapshot(deployment.lake.storage, model, snapshot_digest)
        fitted = train.train_candidate(chosen, spec, snapshot)
        run = deployment.registry.log_candidate(
            model,
            key,
            name=candidate,
            params={**chosen.params, "estimator": chosen.estimator, "seed": spec.seed},
            metrics=fitted.metrics,
            tags={
                "snapshot": snapshot_digest,
                "as_of": snapshot.manifest["as_of"],
                "source_digest": deployment.source_digest(spec),
                "lock_digest": deployment.lock_digest,
                "git_commit": git_commit(deployment),
                "seed": str(spec.seed),
            },
            estimator=fitted.estimator,
            columns=dict.fromkeys(spec.numeric_features, "double") | dict.fromkeys(spec.categorical_features, "string"),
        )
    return {
        "candidate": candidate,
        "run_id": run.run_id,
        "metrics": run.metrics,
        "url": deployment.registry.run_url(run.run_id),
    }


def put_forward_challenger(deployment: Deployment, model: str, batch_id: str, snapshot_digest: str) -> dict:
    """Register the candidate that is best on the validate window as the challenger, and close the batch.

    The candidates are read from the registry by their keys, not from what a task said of them. The model registered is
    the model measured: no refit. The same inputs give the same version. Returns {version, candidate, metrics, ...}.
    """
    from ratchet.snapshot import load_snapshot
    from ratchet.train import challenger_identity, choose_best

    spec, registry, ledger = deployment.model(model), deployment.registry, deployment.ledger
    batch = ledger.batch(batch_id)
    if (batch.model, batch.snapshot) != (model, snapshot_digest):
        raise ParameterError(
            f"batch {batch_id} is not a training of {model} on this snapshot",
            seen=f"{batch.model}, snapshot {batch.snapshot}",
            expected=f"{model}, snapshot {snapshot_digest}",
            hint="take batch and snapshot from the ledger: the training run that took the snapshot",
        )
    runs = {}
    for candidate in spec.candidates:
        run = registry.find_candidate(model, candidate_key(deployment, spec, snapshot_digest, candidate))
        if run is None:
            raise UnknownNameError(
                f"candidate {candidate.name!r} of {model} has no finished run for this snapshot",
                where=f"snapshot {snapshot_digest[:12]}",
                hint="clear its train_candidate task and this one",
            )
        runs[candidate.name] = run
    best = choose_best({name: run.metrics for name, run in runs.items()}, spec.promote_if.metric)
    manifest = load_snapshot(deployment.lake.storage, model, snapshot_digest).manifest
    source, lock = deployment.source_digest(spec), deployment.lock_digest
    identity = challenger_identity(snapshot_digest, spec, source, lock, spec.seed)
    version = registry.register(
        model, runs[best].run_id, identity, tags={"candidate": best, "snapshot": snapshot_digest}
    )
    challenger = ledger.register_challenger(
        model,
        identity,
        version.version,
        runs[best].run_id,
        snapshot_digest,
        manifest["as_of"],
        manifest["windows"],
        runs[best].metrics,
        batch_id,
        version.model_digest,
    )
    ledger.finish_batch(batch_id, "done", challenger.version)
    registry.set_alias(model, "challenger", challenger.version)
    return {
        "version": challenger.version,
        "candidate": best,
        "as_of": challenger.as_of,
        "metrics": runs[best].metrics,
        "url": registry.version_url(model, challenger.version),
    }


def candidate_key(deployment: Deployment, spec: ModelSpec, snapshot_digest: str, candidate: CandidateSpec) -> str:
    """The identity of one candidate's training: its inputs and nothing else."""
    return digest_of(
        [
            snapshot_digest,
            candidate.model_dump(),
            spec.numeric_features,
            spec.categorical_features,
            spec.seed,
            deployment.source_digest(spec),
            deployment.lock_digest,
        ]
    )


def git_commit(deployment: Deployment) -> str:
    """The commit checked out, for the record only: "unknown" outside a checkout."""
    if commit := os.environ.get("RATCHET_GIT_COMMIT"):
        return commit
    done = subprocess.run(
        ["git", "-C", str(deployment.settings.home), "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"


def _candidate(spec: ModelSpec, name: str) -> CandidateSpec:
    for candidate in spec.candidates:
        if candidate.name == name:
            return candidate
    raise UnknownNameError(
        f"{spec.name} has no candidate {name!r}",
        expected=f"one of {[c.name for c in spec.candidates]}",
        hint="see its spec",
    )
