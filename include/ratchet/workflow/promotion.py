"""Judge, promote, roll back: the steps that lead to the champion pointer. All fail closed."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

from ratchet.deployment import Deployment
from ratchet.errors import (
    ConflictError,
    ModelFileError,
    OtherLibrariesError,
    ParameterError,
    RegistryError,
    UnknownNameError,
)
from ratchet.failpoints import failpoint
from ratchet.ledger import Challenger, Champion
from ratchet.ledger.conditions import standing_of
from ratchet.workflow.approval import basis_of
from ratchet.workflow.versions import load_checked, load_to_return

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
    verdict = gate.judge(spec, facts_of(challenger), facts_of(reigning) if reigning else None, evidence)
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
    """Load the version as scoring does, and compare its scores with those recorded (see `load_checked`). One that
    differs is rejected, on record: raises ModelFileError. What is not its fault (MLflow, the libraries of this
    environment) is raised, and rejects nothing."""
    try:
        load_checked(deployment, challenger)
    except ModelFileError as error:
        deployment.ledger.reject_smoked(challenger.model, challenger.version, error.what)
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
    """Move the champion pointer back to a version that once was champion (the one before, by default), if it can be
    loaded and says what it said at its training (see `load_to_return`).

    Once per `run_id`: a retry of the same run finds its own move and makes no other. MLflow's alias follows at once, or
    at the next sweep where MLflow is down. Raises UnknownNameError, ApprovalError for a version that never was
    champion, ModelFileError or OtherLibrariesError for one that can't serve, RegistryError where nobody can tell,
    ConflictError when the champion moves meanwhile, or, with no version named, has moved since `asked_at`: whoever
    asked meant the champion that they saw. Nothing has moved then.
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
    if not done:
        _check_can_return(deployment, history, to_version)
    moved = done or ledger.rollback(
        model, to_version=to_version, actor=actor, reason=reason, expected_epoch=was.epoch if was else 0
    )
    try:
        reconcile_alias(deployment, model)
    except RegistryError as error:
        log.warning("version %s of %s is champion again; its alias follows later: %s", moved.version, model, error)
    return {"champion": moved.version, "epoch": moved.epoch}


def _check_can_return(deployment: Deployment, history: list[Champion], to_version: int | None) -> None:
    """Of the version that a rollback leads to. What the ledger refuses by itself is left to it."""
    stood, known = standing_of(history), {move.version for move in history}
    target = to_version if to_version is not None else stood[-2] if len(stood) > 1 else None
    if target not in known or target == history[-1].version:
        return
    try:
        load_to_return(deployment, deployment.ledger.challenger(history[-1].model, target))
    except (ModelFileError, OtherLibrariesError, UnknownNameError) as error:
        others = sorted(known - {target, history[-1].version})
        raise type(error)(
            f"version {target} can't come back: {error.what}",
            seen=error.seen,
            expected=error.expected,
            where=error.where,
            hint=f"name another in to_version ({others or 'there is none'}), or promote another; {error.hint}",
        ) from error


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


def facts_of(of) -> dict:
    """What the gate knows of a version; the verdict's digest covers it, and so the very files that are approved."""
    made = of.manifest.get("proof", {})
    return {
        "version": of.version,
        "as_of": of.as_of,
        "windows": of.windows,
        "model_digest": of.model_digest,
        "proof": {name: made[name] for name in ("content", "scores_digest") if name in made},
    }
