"""Fit a version again from what was kept of it, in a process of its own: `python -m ratchet.rebuild FOLDER`.

FOLDER holds frame.parquet (a snapshot's), recipe.json and the registered model's files; proofs.json is written to it.
Nothing else is read: no ledger, no registry, no lake. This contract between releases is kept: an older release's source
rebuilds its own versions.

recipe.json: {spec, candidate, estimator, params, threads, windows, registered, model_digest}: the model's spec as JSON,
the candidate's name, kind and final parameters, the snapshot's windows, the registered files' folder and their digest.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pandas as pd

from ratchet.model_files import load_model
from ratchet.proof import prove
from ratchet.snapshot import Snapshot
from ratchet.specs import CandidateSpec, ModelSpec
from ratchet.train import train_candidate


def rebuild(folder: Path) -> dict:
    """Proofs (see ratchet.proof), as dicts: {rebuilt: of the model fitted anew, registered: of the one in the files};
    written to proofs.json as well. Raises ModelFileError, as `load_model`."""
    recipe = json.loads((folder / "recipe.json").read_text("utf-8"))
    spec = ModelSpec.model_validate(recipe["spec"])
    chosen = CandidateSpec(name=recipe["candidate"], estimator=recipe["estimator"], params=recipe["params"])
    frame = pd.read_parquet(folder / "frame.parquet")
    fitted = train_candidate(chosen, spec, Snapshot(frame, {"windows": recipe["windows"]}), recipe["threads"])
    registered = load_model(Path(recipe["registered"]), recipe["model_digest"])
    rows = frame[frame["window"] == "validate"]
    models = {"rebuilt": fitted.estimator, "registered": registered}
    proofs = {name: prove(model, rows, spec, recipe["threads"]).as_dict() for name, model in models.items()}
    (folder / "proofs.json").write_text(json.dumps(proofs), "utf-8")
    return proofs


if __name__ == "__main__":
    rebuild(Path(sys.argv[1]))
