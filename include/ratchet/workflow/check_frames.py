"""The rows that a check looks at, and what is known of its version."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ratchet.deployment import Deployment
from ratchet.specs import ModelSpec
from ratchet.workflow.check_basis import Basis, is_reference_erased
from ratchet.workflow.scoring import rows_of_record
from ratchet.workflow.versions import load_version

if TYPE_CHECKING:
    import pandas as pd

    from ratchet.ledger import Challenger, Scored


def read_frames(deployment: Deployment, spec: ModelSpec, version: int, basis: Basis, as_of: str, blind: bool) -> tuple:
    """The reference, the newest scored rows, and the newest ones with outcomes; each with its scores. `blind`: the
    reference is gone, and has no rows."""
    from ratchet.snapshot import build_inputs, labelled_rows

    published = (spec, deployment.datasets.good, deployment.published)
    keys = deployment.dataset(spec.scored_dataset).key
    of_record = {day: basis.scored[day] for day in basis.days}
    predictions = predictions_of_record(deployment, spec, version, of_record)[[*keys, *spec.score_columns]]

    def scored(rows: pd.DataFrame, days: list[str]) -> pd.DataFrame:
        return rows[rows["day"].isin(days)].merge(predictions, on=keys, how="inner", validate="one_to_one")

    current = scored(build_inputs(*published, basis.newest[0], basis.newest[-1], as_of), basis.newest)
    told = basis.outcomes or basis.newest
    outcomes = scored(labelled_rows(*published, told[0], told[-1], as_of, strict=False), basis.outcomes)
    return _no_reference(spec) if blind else _reference(deployment, spec, version), current, outcomes


def _no_reference(spec: ModelSpec) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(columns=["window", "day", *spec.features, "label", *spec.score_columns])


def _reference(deployment: Deployment, spec: ModelSpec, version: int) -> pd.DataFrame:
    """The rows of the version's snapshot; those of its validate and judge windows scored by it from the features that
    it was trained on: the spec of now may ask for others, which its snapshot lacks."""
    from ratchet.score import score_frame
    from ratchet.snapshot import load_snapshot

    challenger = deployment.ledger.challenger(spec.name, version)
    frame = load_snapshot(deployment.lake.storage, spec.name, challenger.snapshot).frame
    rows, own = frame[frame["window"] != "train"], with_own_features(deployment, spec, version)
    return frame.join(score_frame(load_version(deployment, spec.name, version), rows, own))


def with_own_features(deployment: Deployment, spec: ModelSpec, version: int) -> ModelSpec:
    """The spec, with the features that the version was trained on."""
    made = deployment.ledger.challenger(spec.name, version).manifest.get("spec", {})
    features = {name: made[name] for name in ("numeric_features", "categorical_features") if name in made}
    return spec.model_copy(update=features)


def predictions_of_record(
    deployment: Deployment, spec: ModelSpec, version: int, scored: Mapping[str, Scored]
) -> pd.DataFrame:
    """Those of the days in `scored`: by this version, from the inputs that the ledger names. Of a class that the spec
    did not have when they were made the score is 0, as the model would say it now."""
    mine = rows_of_record(deployment, f"predictions/{spec.name}", version, scored)
    scores = mine.reindex(columns=spec.score_columns)
    scored = scores.notna().any(axis="columns")
    return mine.assign(**scores.mask(scores.isna().mul(scored, axis="index"), 0.0))


def has_reference(deployment: Deployment, model: str, version: int) -> bool:
    """Not if an erasure, or somebody who tidied up, has taken its snapshot."""
    from ratchet.snapshot import has_snapshot

    snapshot = deployment.ledger.challenger(model, version).snapshot
    return not is_reference_erased(deployment, model, version) and has_snapshot(
        deployment.lake.storage, model, snapshot
    )


def read_importance(deployment: Deployment, challenger: Challenger) -> dict[str, float] | None:
    """By feature, as the version's evaluation has it, if it was kept."""
    from ratchet.workflow.card import kept_evaluation

    kept = kept_evaluation(deployment, challenger) or {}
    lines = kept.get("tables", {}).get("importance", [])
    return {line["feature"]: line["drop"] for line in lines if line["drop"] is not None} or None
