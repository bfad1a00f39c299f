"""A registered version, opened: its files, its estimator, and whether it still says what it said at its training."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from ratchet.deployment import Deployment
from ratchet.errors import (
    ModelFileError,
    OtherLibrariesError,
    ParameterError,
    RatchetError,
    RegistryError,
    UnknownNameError,
)
from ratchet.ledger import Challenger

if TYPE_CHECKING:
    import pandas as pd

    from ratchet.proof import Proof

log = logging.getLogger(__name__)


def load_version(deployment: Deployment, model: str, version: int):
    """The estimator of a registered version, by the one safe loader and the digest that the ledger holds."""
    challenger = deployment.ledger.challenger(model, version)
    return open_model(deployment, version_folder(deployment, model, version), challenger.model_digest)


def version_folder(deployment: Deployment, model: str, version: int) -> Path:
    """Where the files of a version lie, fetched from the registry; what they are worth, `open_model` says."""
    return deployment.registry.download(model, version, models_cache(deployment))


def open_model(deployment: Deployment, folder: Path, digest: str):
    """The estimator in `folder`, by the one safe loader and the deployment's policy on other library versions."""
    from ratchet.model_files import load_model

    return load_model(folder, digest, deployment.settings.other_model_versions)


def models_cache(deployment: Deployment) -> Path:
    """Holds a folder for each model that was fetched here, named by the digest of its files."""
    return deployment.settings.var / "cache" / "models"


def load_checked(deployment: Deployment, challenger: Challenger):
    """The estimator of a version, loaded as scoring does, after `check_scores`."""
    estimator = load_version(deployment, challenger.model, challenger.version)
    check_scores(deployment, challenger, estimator)
    return estimator


def load_to_return(deployment: Deployment, challenger: Challenger):
    """As `load_checked`, of a version that was champion before: harm is being done, so what can't be asked is not.

    While MLflow is down, the files that were fetched here before are taken, if they are whole; without any, raises
    RegistryError: nothing can be scored then either. Where its snapshot is gone (erased) or altered, it is loaded only.
    """
    try:
        estimator = load_version(deployment, challenger.model, challenger.version)
    except RegistryError:
        kept = models_cache(deployment) / challenger.model_digest
        if not kept.is_dir():
            raise
        estimator = open_model(deployment, kept, challenger.model_digest)
    try:
        check_scores(deployment, challenger, estimator)
    except (UnknownNameError, ParameterError) as error:
        log.warning("version %s of %s is not compared: %s", challenger.version, challenger.model, error)
    return estimator


def check_scores(deployment: Deployment, challenger: Challenger, estimator) -> None:
    """Compare what the estimator says of the rows on which it was chosen with what was recorded at its training.

    Raises ModelFileError where it says something else, or OtherLibrariesError if the libraries here are others than
    at its training; UnknownNameError or ParameterError where its snapshot is gone or altered.
    """
    from ratchet.proof import Proof, compare
    from ratchet.snapshot import load_snapshot

    who, made = f"{challenger.model} version {challenger.version}", challenger.manifest
    if "proof" not in made:
        raise ModelFileError(f"{who} has no recorded scores to compare with", hint="train a new one")
    frame = load_snapshot(deployment.lake.storage, challenger.model, challenger.snapshot).frame
    then = Proof(**made["proof"])
    now = _prove_again(who, made, estimator, frame[frame["window"] == "validate"])
    seen = compare(then, now)
    here = now.machine["libraries"]
    if not seen.proven and (there := then.machine.get("libraries", here)) != here:
        raise OtherLibrariesError(
            f"{who} does not say here what it said when it was trained, with other libraries",
            seen=f"scores that differ by up to {seen.difference:.3g}, with {here}",
            expected=f"equal scores, or within 1e-9, with {there}",
            hint="put those libraries into this environment, or train a new one with these",
        )
    if not seen.proven:
        raise ModelFileError(
            f"{who} does not say what it said when it was trained",
            seen=f"scores that differ by up to {seen.difference:.3g}",
            expected="equal scores, or within 1e-9 on another machine",
            hint="find out who changed it, and train a new one",
        )


def _prove_again(who: str, made: dict, estimator, rows: pd.DataFrame) -> Proof:
    from ratchet.proof import prove
    from ratchet.specs import ModelSpec

    spec = ModelSpec.model_validate(made["spec"])  # that of its training: today's may ask other features
    try:
        return prove(estimator, rows, spec, made["threads"])
    except (RatchetError, MemoryError, OSError):  # says why itself, or is the machine's fault
        raise
    except Exception as error:  # whatever an estimator raises that can't score
        raise ModelFileError(
            f"{who} can't score the rows on which it was chosen",
            seen=f"{type(error).__name__}: {error}"[:500],
            hint="find out who changed it, and train a new one",
        ) from error
