"""What has to hold before the champion pointer moves: each check is a function of values, and raises."""

from __future__ import annotations

from collections.abc import Collection

from ratchet.errors import ApprovalError, ConflictError
from ratchet.ledger.approvals import deciding
from ratchet.ledger.challengers import PASSED
from ratchet.ledger.decisions import Approval, BrokenGlass, Challenger, Champion, Verdict


def check_epoch(model: str, champion: Champion | None, expected_epoch: int) -> None:
    epoch = champion.epoch if champion else 0
    if epoch != expected_epoch:
        raise ConflictError(
            f"the champion of {model} has moved",
            seen=f"epoch {epoch}: " + (f"version {champion.version}" if champion else "no champion"),
            expected=f"epoch {expected_epoch}",
            hint="judge or decide again, against the champion of now",
        )


def check_basis(basis: Verdict | BrokenGlass | None, model: str, version: int, expected_epoch: int) -> None:
    said = basis.verdict if isinstance(basis, Verdict) else None
    if basis is None or (said is not None and said not in PASSED):
        raise ApprovalError(
            f"{model} version {version} has not passed the gate",
            seen=said or "no verdict",
            expected=" or ".join(PASSED),
            hint="let the promote DAG judge it",
        )
    if basis.champion_epoch != expected_epoch:
        raise ConflictError(
            f"the champion of {model} has moved since version {version} was judged",
            seen=f"a verdict against epoch {basis.champion_epoch}",
            expected=f"epoch {expected_epoch}",
            hint="judge it again",
        )


def refuse_rejected(challenger: Challenger) -> None:
    if challenger.status == "rejected":
        raise ApprovalError(
            f"{challenger.model} version {challenger.version} was rejected after it was asked about",
            seen="status rejected",
            expected="awaiting_approval",
            where="ratchet audit show",
            hint="its smoke test failed: train anew",
        )


def check_approval(
    asks: list[Approval], model: str, version: int, allowed: Collection[str], four_eyes: bool
) -> Approval:
    def refuse(seen: str, expected: str) -> ApprovalError:
        what = f"{model} version {version} has no valid approval of this verdict"
        hint = "start a fresh promote run, and have an allowed person answer it"
        return ApprovalError(what, seen=seen, expected=expected, hint=hint)

    approval = deciding(asks)
    if approval is None or approval.answer is None:
        raise refuse("no answer", "a person's answer")
    if rejected := [ask for ask in asks if ask.answer == "Reject"]:
        raise refuse(f"Reject by {rejected[-1].responded_by}", "Approve")
    if approval.answer != "Approve":
        raise refuse(approval.answer, "Approve")
    if approval.superseded_by is not None:
        raise refuse(f"a question that one about version {approval.superseded_by} took the place of", "the newest one")
    if approval.responded_by not in allowed:
        raise refuse(f"Approve by {approval.responded_by}", f"one of {sorted(allowed)}")
    askers = {name for ask in asks for name in ask.asked_by}
    if four_eyes and {approval.responded_by, approval.responded_by_id} & askers:
        raise refuse(f"Approve by {approval.responded_by}, who asked for it", "somebody else")
    if approval.responded_at >= approval.expires_at:
        raise refuse(f"an answer of {approval.responded_at}", f"one before {approval.expires_at}")
    return approval


def version_before(history: list[Champion]) -> int:
    """The version that the champion of now took over from. Raises ApprovalError when there is none."""
    champion, standing = history[-1], standing_of(history)
    if len(standing) < 2:
        raise ApprovalError(
            f"no other version of {champion.model} has been champion before version {champion.version}",
            seen=f"the champions so far: {', '.join(str(move.version) for move in history)}",
            hint="name one of those in to_version, or promote another version instead",
        )
    return standing[-2]


def check_was_champion(history: list[Champion], target: Challenger) -> None:
    once = {move.version for move in history}
    if target.version not in once:
        raise ApprovalError(
            f"version {target.version} of {target.model} never was champion",
            expected=f"one of {sorted(once)}",
            hint="it has to pass the gate and be approved: use the promote DAG",
        )


def standing_of(history: list[Champion]) -> list[int]:
    """The champions that no rollback has taken back, oldest first; the last is the champion of now."""
    standing: list[int] = []
    for move in history:
        if move.how == "rollback" and move.version in standing:
            while standing[-1] != move.version:
                standing.pop()
        elif standing[-1:] != [move.version]:
            standing.append(move.version)
    return standing
