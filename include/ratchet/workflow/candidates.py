"""One candidate: made once, and found again by the digest of what it is made from."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from ratchet.deployment import Deployment
from ratchet.digests import digest_of
from ratchet.errors import UnknownNameError
from ratchet.failpoints import failpoint
from ratchet.specs import CandidateSpec, ModelSpec

if TYPE_CHECKING:
    from ratchet.ledger import Candidate
    from ratchet.snapshot import Snapshot
    from ratchet.tuning import Searched


THREADS = 1  # fits of a training run beside each other, and the order of additions is part of the last bit


def make_candidate(
    deployment: Deployment, spec: ModelSpec, snapshot_digest: str, candidate: CandidateSpec, key: str
) -> Candidate:
    """Search, fit and measure the candidate, log it as an MLflow run, and record that run under `key`.

    Raises ModelFileError for an estimator that can't be saved, SpecError for one that can't be fitted: nothing is
    logged then. RegistryError when MLflow is down: before anything is fitted, if it is down by then.
    """
    from ratchet import train
    from ratchet.model_files import check_estimator
    from ratchet.snapshot import load_snapshot

    deployment.registry.make_ready(spec.name)
    snapshot = load_snapshot(deployment.lake.storage, spec.name, snapshot_digest)
    searched = _search(deployment, spec, snapshot, candidate, key)
    best = searched.best if searched else candidate
    fitted = train.train_candidate(best, spec, snapshot, THREADS)
    check_estimator(fitted.estimator)
    manifest = _manifest(deployment, spec, snapshot, best, searched, fitted)
    failpoint("training.before_log")
    run = deployment.registry.log_candidate(
        spec.name,
        key,
        name=candidate.name,
        params={**best.params, "estimator": best.estimator, "seed": spec.seed},
        metrics=fitted.metrics,
        tags={
            "snapshot": snapshot_digest,
            "as_of": snapshot.manifest["as_of"],
            **{name: str(manifest[name]) for name in ("source_digest", "lock_digest", "git_commit", "seed")},
            **({"trials": str(len(searched.trials)), "search_seconds": f"{searched.seconds:.1f}"} if searched else {}),
        },
        estimator=fitted.estimator,
        columns=dict.fromkeys(spec.numeric_features, "double") | dict.fromkeys(spec.categorical_features, "string"),
        files={"trials.csv": searched.table().to_csv(index=False)} if searched else None,
    )
    return deployment.ledger.record_candidate(
        spec.name, key, candidate.name, run.run_id, run.model_digest, run.metrics, manifest
    )


def _manifest(
    deployment: Deployment, spec: ModelSpec, snapshot: Snapshot, best: CandidateSpec, searched: Searched | None, fitted
) -> dict:
    """See ratchet.ledger.Candidate. Lock file and source are kept beside the lake."""
    from ratchet.proof import prove
    from ratchet.recipes import keep_recipe

    keep_recipe(deployment.storage, deployment.settings.lock_file, deployment.source_packages(spec))
    rows = snapshot.frame[snapshot.frame["window"] == "validate"]
    return {
        "candidate": best.name,
        "estimator": best.estimator,
        "params": best.params,
        "trials": len(searched.trials) if searched else None,
        "seed": spec.seed,
        "threads": THREADS,
        "spec": spec.model_dump(mode="json"),
        "source_digest": deployment.source_digest(spec),
        "lock_digest": deployment.lock_digest,
        "git_commit": git_commit(deployment),
        "proof": prove(fitted.estimator, rows, spec, THREADS).as_dict(),
    }


def _search(
    deployment: Deployment, spec: ModelSpec, snapshot: Snapshot, candidate: CandidateSpec, key: str
) -> Searched | None:
    """The candidate's search, done; None for one that has none."""
    if candidate.search is None:
        return None
    from ratchet import tuning

    trials = tuning.Trials(deployment.lake.storage, f"searches/{spec.name}/{key}")
    return tuning.search(candidate, spec, snapshot, trials)


def recorded_candidates(deployment: Deployment, spec: ModelSpec, snapshot_digest: str) -> dict[str, Candidate]:
    """Every candidate of the spec, by name. Raises UnknownNameError for one that the ledger has no record of."""
    found = {}
    for candidate in spec.candidates:
        key = candidate_key(deployment, spec, snapshot_digest, candidate)
        if (known := deployment.ledger.candidate(spec.name, key)) is None:
            raise UnknownNameError(
                f"candidate {candidate.name!r} of {spec.name} has no finished run for this snapshot",
                where=f"snapshot {snapshot_digest[:12]}",
                hint="clear its train_candidate task and this one",
            )
        found[candidate.name] = known
    return found


def candidate_key(deployment: Deployment, spec: ModelSpec, snapshot_digest: str, candidate: CandidateSpec) -> str:
    """The identity of one candidate's training: its inputs and nothing else."""
    from ratchet.train import costs_of

    return digest_of(
        [
            snapshot_digest,
            candidate.model_dump(),
            [spec.task, spec.classes, costs_of(spec), spec.problem.success.metric if candidate.search else None],
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
