"""What there is to know of a candidate, measured on the validate window and shown in its MLflow run."""

from __future__ import annotations

import json

from ratchet.deployment import Deployment
from ratchet.errors import UnknownNameError
from ratchet.workflow.candidates import recorded_candidates
from ratchet.workflow.versions import models_cache, open_model


def evaluate_candidate(deployment: Deployment, model: str, snapshot_digest: str, candidate: str) -> dict:
    """Evaluate a trained candidate on the snapshot's validate window (see ratchet.evaluation), and log numbers, tables
    and pictures to its run, once.

    Returns {candidate, run_id, url}. Raises UnknownNameError for one that was not trained.
    """
    from ratchet.evaluation import evaluate
    from ratchet.model_files import model_bytes
    from ratchet.snapshot import load_snapshot

    spec, registry = deployment.model(model), deployment.registry
    known = recorded_candidates(deployment, spec, snapshot_digest).get(candidate)
    if known is None:
        raise UnknownNameError(f"{model} has no candidate {candidate!r}", hint="see its spec")
    url = registry.run_url(known.run_id)
    if registry.has_evaluation(known.run_id):
        return {"candidate": candidate, "run_id": known.run_id, "url": url}
    folder = registry.download_run(known.run_id, models_cache(deployment))
    estimator = open_model(deployment, folder, known.model_digest)
    frame = load_snapshot(deployment.lake.storage, model, snapshot_digest).frame
    rows, threshold = frame[frame["window"] == "validate"], known.metrics.get("threshold")
    found = evaluate(estimator, rows, spec, threshold, model_bytes=model_bytes(folder))
    files: dict[str, str | bytes] = {"evaluation.json": json.dumps(found.as_record(pictures={}), indent=1)}
    files |= {f"{name}.json": table.to_json(orient="split", index=False) for name, table in found.tables.items()}
    files |= {f"{name}.png": picture for name, picture in found.pictures.items()}
    registry.log_evaluation(known.run_id, found.numbers, files)
    return {"candidate": candidate, "run_id": known.run_id, "url": url}
