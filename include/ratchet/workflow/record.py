"""What the ledger has on how a version became champion, as model card and lineage tell it. Reads only."""

from __future__ import annotations

from ratchet.deployment import Deployment
from ratchet.ledger import Approval, Champion, Verdict


def promotion_of(deployment: Deployment, model: str, version: int, to_epoch: int | None = None) -> Champion | None:
    """The newest promotion (by the gate or broken glass, no rollback) of the version, up to an epoch; None for none."""
    moves = deployment.ledger.champion_history(model)
    mine = [one for one in moves if one.version == version and one.how != "rollback"]
    return next((one for one in reversed(mine) if to_epoch is None or one.epoch <= to_epoch), None)


def approval_of(deployment: Deployment, promotion: Champion) -> Approval:
    """The answer that the promotion rests on, whatever was answered since: the newest of those it could have known, or
    by clocks that differ the first."""
    asked = deployment.ledger.questions(promotion.model, promotion.version, promotion.verdict_digest)
    mine = [one for one in asked if (one.answer, one.responded_by) == ("Approve", promotion.actor)]
    return ([one for one in mine if one.responded_at <= promotion.moved_at] or mine[:1])[-1]


def gate_said(verdict: Verdict | None) -> dict | None:
    """{verdict, digest, checks}; None where the gate has said nothing."""
    return verdict and {"verdict": verdict.verdict, "digest": verdict.digest, "checks": verdict.checks}
