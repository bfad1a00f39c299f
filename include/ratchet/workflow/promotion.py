"""Judge, promote, roll back: the steps that lead to the champion pointer. All fail closed."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from pathlib import Path

from ratchet.deployment import Deployment
from ratchet.errors import ConflictError, ModelFileError, ParameterError, RegistryError, UnknownNameError
from ratchet.failpoints import failpoint
from ratchet.ledger import Challenger
from ratchet.workflow.approval import basis_of

log = logging.getLogger(__name__)


def judge_challenger(deployment: Deployment, model: str, version: int) -> dict:
    """Put the challenger through the gate on the newest days it can be judged on; record the verdict in the ledger.

    Both models score the same rows (see ratchet.workflow.evidence), loaded through the one safe loader. The evaluation
    on these rows and the model card go to the registry. Returns {verdict, checks, digest, version, window, card}:
    PROMOTE, NO_BASELINE, HOLD or REJECT, each check with value, interval, threshold and reason.
    """
    from ratchet import gate
    from ratchet.workflow.card import file_card
    from ratchet.workflow.evidence import gather_evidence

    spec, ledger = deployment.model(model), deployment.ledger
    reconcile_alias(deployment, model)
    challenger, champion = ledger.challenger(model, version), ledger.champion(model)
    reigning = ledger.challenger(model, champion.version) if champion else None
    evidence, window, rows = gather_evidence(deployment, spec, challenger, reigning)
    verdict = gate.judge(spec, _facts(challenger), _facts(reigning) if reigning else None, evidence)
    recorded = ledger.record_verdict(
        model,
        version,
        champion.epoch if champion else 0,
        champion.version if champion else None,
        verdict.verdict,
        verdict.checks,
        verdict.digest,
        [window.first, window.last],
        evidence.looks,
    )
    card = file_card(deployment, spec, version, rows)
    return {
        "verdict": recorded.verdict,
        "checks": recorded.checks,
        "digest": recorded.digest,
        "version": version,
        "window": recorded.window,
        "card": card,
    }


def promote_challenger(deployment: Deployment, model: str, version: int, *, glass_run: str | None = None) -> dict:
    """Move the champion pointer to `version` if it passes its smoke test and the ledger holds everything it takes; then
    MLflow's alias.

    `glass_run`: the run that has broken the glass, which then stands in for the verdict. Raises ApprovalError without a
    verdict that passes and a matching, timely answer of an allowed person, ModelFileError for a version that fails its
    smoke test (it is rejected, on record), ConflictError when the champion has moved since. Doing it again changes
    nothing.
    """
    from ratchet.workflow.card import file_card

    spec, ledger = deployment.model(model), deployment.ledger
    basis = basis_of(deployment, model, version, glass_run)
    smoke_test(deployment, basis.challenger)
    champion = ledger.promote(
        model,
        version,
        expected_epoch=basis.champion_epoch,
        allowed_approvers=spec.approval.approvers,
        four_eyes=spec.approval.four_eyes,
        now=datetime.now(UTC),
        glass_digest=basis.glass.digest if basis.glass else None,
    )
    reconcile_alias(deployment, model)
    try:
        card = file_card(deployment, spec, version)
    except RegistryError as error:  # the champion has moved: a card that can't be filed must not undo that
        log.warning("version %s of %s is champion; its card could not be filed: %s", version, model, error)
        card = None
    url = deployment.registry.version_url(model, version)
    return {"champion": champion.version, "epoch": champion.epoch, "url": url, "card": card}


def smoke_test(deployment: Deployment, challenger: Challenger) -> None:
    """Load the version as scoring does, and compare its scores of the rows on which it was chosen with those recorded
    at its training. One that differs is rejected, on record: raises ModelFileError, and whatever the loader raises."""
    from ratchet.proof import Proof, compare, prove
    from ratchet.snapshot import load_snapshot
    from ratchet.specs import ModelSpec

    model, version = challenger.model, challenger.version
    try:
        if "proof" not in challenger.manifest:
            raise ModelFileError(
                f"{model} version {version} has no recorded scores to compare with", hint="train a new one"
            )
        frame = load_snapshot(deployment.lake.storage, model, challenger.snapshot).frame
        estimator = load_version(deployment, model, version)
        rows, made = frame[frame["window"] == "validate"], challenger.manifest
        spec = ModelSpec.model_validate(made["spec"])  # that of its training: today's may ask other features
        seen = compare(Proof(**made["proof"]), prove(estimator, rows, spec, made["threads"]))
        if not seen.proven:
            raise ModelFileError(
                f"{model} version {version} does not say what it said when it was trained",
                seen=f"scores that differ by up to {seen.difference:.3g}",
                expected="equal scores, or within 1e-9 on another machine",
                hint="it is rejected: find out who changed it, and train a new one",
            )
    except ModelFileError as error:
        deployment.ledger.reject_smoked(model, version, error.what)
        raise


def rollback_champion(
    deployment: Deployment,
    model: str,
    *,
    to_version: int | None,
    actor: str,
    reason: str,
    run_id: str,
    asked_at: datetime | None = None,
) -> dict:
    """Move the champion pointer back to a version that once was champion (the one before, by default).

    Once per `run_id`: a retry of the same run finds its own move and makes no other. Raises UnknownNameError,
    ApprovalError for a version that never was champion, ConflictError when the champion moves meanwhile, or, with no
    version named, has moved since `asked_at`: whoever asked meant the champion that they saw.
    """
    if not reason.strip():
        raise ParameterError(f"a rollback of {model} without a reason", hint="say why, for the record")
    ledger, reason = deployment.ledger, f"{reason} (run {run_id})"
    deployment.model(model)
    history = ledger.champion_history(model)
    done = next((move for move in history if (move.how, move.reason) == ("rollback", reason)), None)
    was = history[-1] if history else None
    if was and asked_at and was.moved_at > asked_at and not done and to_version is None:
        raise ConflictError(
            f"the champion of {model} has moved since this rollback was asked for",
            seen=f"version {was.version}, by a {was.how.replace('_', ' ')} at {was.moved_at:%H:%M:%S} UTC",
            expected=f"no move since {asked_at:%H:%M:%S} UTC",
            hint="look at the champion of now, and name the version to go back to",
        )
    moved = done or ledger.rollback(
        model, to_version=to_version, actor=actor, reason=reason, expected_epoch=was.epoch if was else 0
    )
    reconcile_alias(deployment, model)
    return {"champion": moved.version, "epoch": moved.epoch}


def reconcile_alias(deployment: Deployment, model: str) -> None:
    """Make MLflow's `champion` alias say what the ledger says: the alias is a projection, never an authority.

    The ledger is read again after a change, until both agree: a promotion may have come between.
    """
    ledger, registry = deployment.ledger, deployment.registry
    while True:
        champion = ledger.champion(model)
        alias = registry.alias_version(model, "champion")
        if alias == (champion.version if champion else None):
            return
        failpoint("promotion.before_alias")
        try:
            if champion:
                registry.set_alias(model, "champion", champion.version)
            else:
                registry.delete_alias(model, "champion")
        except UnknownNameError as error:  # deleted there by hand: no alias can name it
            log.warning("MLflow's alias of %s can't name the champion: %s", model, error)
            return


def load_version(deployment: Deployment, model: str, version: int):
    """The estimator of a registered version, by the one safe loader and the digest that the ledger holds."""
    from ratchet.model_files import load_model

    challenger = deployment.ledger.challenger(model, version)
    folder = version_folder(deployment, model, version)
    return load_model(folder, challenger.model_digest, deployment.settings.other_model_versions)


def version_folder(deployment: Deployment, model: str, version: int) -> Path:
    """Where the files of a version lie, fetched from the registry; what they are worth, `load_version` says."""
    return deployment.registry.download(model, version, deployment.settings.var / "cache" / "models")


def _facts(of) -> dict:
    """What the gate knows of a version; the verdict's digest covers it, and so the very files that are approved."""
    return {"version": of.version, "as_of": of.as_of, "windows": of.windows, "model_digest": of.model_digest}
