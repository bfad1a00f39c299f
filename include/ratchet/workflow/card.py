"""The evaluation and the model card of a version, filed where people look."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

from ratchet.deployment import Deployment
from ratchet.digests import digest_of
from ratchet.errors import EmptyWindowError, NotStoredError, ParameterError
from ratchet.ledger import Challenger
from ratchet.specs import ModelSpec
from ratchet.windows import in_order
from ratchet.workflow.record import approval_of, gate_said, promotion_of

if TYPE_CHECKING:
    import pandas as pd

_MOST_BYTES = 64 * 2**20
log = logging.getLogger(__name__)


def file_card(deployment: Deployment, spec: ModelSpec, version: int, rows: pd.DataFrame | None = None) -> str:
    """Make the version's card from the record and file it as an MLflow artifact, in HTML and Markdown, once for equal
    content. Returns its address, which goes to the ledger too. What the version is for, and how it is evaluated, is
    that of the spec of its training; where today's says otherwise, the card tells.

    `rows`: labelled rows of its judge window, on which it is evaluated first, once a verdict; the evaluation is kept in
    the lake's storage, and used by the next card. None: the one kept, if there is one. Raises RegistryError.
    """
    from ratchet.model_card import card_facts, model_card
    from ratchet.snapshot import load_snapshot

    challenger = deployment.ledger.challenger(spec.name, version)
    made = _spec_of(challenger, spec)
    if rows is not None and len(rows):
        _keep_evaluation(deployment, made, challenger, rows)
    judged = kept_evaluation(deployment, challenger)
    manifest = load_snapshot(deployment.lake.storage, spec.name, challenger.snapshot).manifest
    facts = card_facts(
        made,
        {**manifest, "windows": in_order(manifest["windows"])},
        version=version,
        digests=_digests(challenger),
        candidate=_candidate(challenger),
        gate=gate_said(deployment.ledger.verdict(spec.name, version)),
        approval=_approval(deployment, challenger),
        today=spec,
    )
    html, markdown = model_card(facts, {"judge": judged} if judged else {})
    key = digest_of([facts, judged])
    files = {"model_card.html": html, "model_card.md": markdown}
    url = deployment.registry.log_report(f"{spec.name}.cards", key, files)
    if url != deployment.ledger.card_url(spec.name, version):
        subject = f"models/{spec.name}/versions/{version}"
        deployment.ledger.note("card_filed", subject, {"url": url, "digest": key}, "ratchet")
    return url


def _spec_of(challenger: Challenger, today: ModelSpec) -> ModelSpec:
    """That of its training; today's where this release can't read it."""
    try:
        return ModelSpec.model_validate(challenger.manifest.get("spec"))
    except ValueError:
        return today


def _candidate(challenger: Challenger) -> dict:
    """What is on record of it; `threshold`: the score at and above which a row is acted on, chosen on validate."""
    made = {
        "threshold": challenger.metrics.get("threshold"),
        "registered_at": f"{challenger.registered_at:%Y-%m-%d %H:%M} UTC",
    }
    known = {**challenger.manifest, **made}
    return {name: known[name] for name in _CANDIDATE if known.get(name) is not None}


_CANDIDATE = (
    "candidate",
    "estimator",
    "params",
    "seed",
    "threads",
    "trials",
    "threshold",
    "git_commit",
    "registered_at",
)


def _keep_evaluation(deployment: Deployment, spec: ModelSpec, challenger: Challenger, rows: pd.DataFrame) -> None:
    """Once a verdict: an evaluation of equal rows differs in the times that it measured."""
    from ratchet.evaluation import evaluate
    from ratchet.model_files import model_bytes
    from ratchet.workflow.versions import open_model, version_folder

    if kept_evaluation(deployment, challenger) is not None:
        return
    folder = version_folder(deployment, spec.name, challenger.version)
    estimator, threshold = open_model(deployment, folder, challenger.model_digest), challenger.metrics.get("threshold")
    try:
        found = evaluate(estimator, rows, spec, threshold, model_bytes=model_bytes(folder))
    except (EmptyWindowError, ParameterError) as error:  # the verdict says why; the card says that it was not evaluated
        log.warning("version %s of %s is not evaluated: %s", challenger.version, spec.name, error)
        return
    deployment.lake.storage.write(_key(deployment, challenger), json.dumps(found.as_record()).encode())


def kept_evaluation(deployment: Deployment, challenger: Challenger) -> dict | None:
    try:
        return json.loads(deployment.lake.storage.read(_key(deployment, challenger), _MOST_BYTES))
    except NotStoredError:
        return None


def _key(deployment: Deployment, challenger: Challenger) -> str:
    verdict = deployment.ledger.verdict(challenger.model, challenger.version)
    what = verdict.digest if verdict else "not-judged"
    return f"evaluations/{challenger.model}/{challenger.version}/{what}.json"


def _digests(challenger: Challenger) -> dict[str, str]:
    made = {name: challenger.manifest.get(f"{name}_digest") for name in ("source", "lock")}
    known = {"model": challenger.model_digest, "snapshot": challenger.snapshot, "identity": challenger.identity, **made}
    return {name: digest for name, digest in known.items() if digest}


def _approval(deployment: Deployment, challenger: Challenger) -> dict | None:
    """Of its newest promotion; None where nobody has approved it."""
    move = promotion_of(deployment, challenger.model, challenger.version)
    if move is None:
        return None
    approval = approval_of(deployment, move)
    return {
        "by": approval.responded_by,
        "at": f"{approval.responded_at:%Y-%m-%d %H:%M} UTC",
        "asked_by": approval.asked_by,
        "answer": approval.answer + (f" (BREAK GLASS: {move.reason})" if move.how == "break_glass" else ""),
    }
