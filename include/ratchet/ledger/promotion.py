"""The champion pointer: the only ways in which it moves, and all that has to hold for each."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime

from sqlalchemy import Connection, select

from ratchet.errors import ApprovalError, ConflictError, UnknownNameError
from ratchet.ledger.approvals import approvals_of, deciding
from ratchet.ledger.broken_glass import glass_of
from ratchet.ledger.chain import Chain, Transaction
from ratchet.ledger.challengers import PASSED, challenger_of, champion_of, set_status, verdict_of
from ratchet.ledger.plain import check_words, instant
from ratchet.ledger.rows import read_all
from ratchet.ledger.tables import champions, events, scorings
from ratchet.ledger.values import Approval, BrokenGlass, Challenger, Champion, Verdict


class Promotion:
    """Who is champion, by an append-only list of moves; each takes the next epoch, once."""

    _chain: Chain

    def champion(self, model: str) -> Champion | None:
        """The champion of now; None while there is none."""
        with self._chain.read() as connection:
            return champion_of(connection, model)

    def champion_history(self, model: str) -> list[Champion]:
        """Every move of the champion pointer, by epoch."""
        with self._chain.read() as connection:
            return _history(connection, model)

    def promote(
        self,
        model: str,
        version: int,
        expected_epoch: int,
        allowed_approvers: Collection[str],
        four_eyes: bool,
        now: datetime,
        glass_digest: str | None = None,
    ) -> Champion:
        """Make `version` the champion, if everything it takes is on record; everything is checked in one transaction.

        It takes: the newest verdict on it passed, made against the champion of `expected_epoch` (0: none), who is still
        champion; and one of `allowed_approvers` answered Approve to a question about exactly that verdict, in time and
        before a newer question took its place, and nobody said Reject. With `four_eyes` none of those who asked can be
        the one who answered. With `glass_digest` broken glass stands in for the verdict, and four eyes are required
        whatever the argument. Doing it again returns the champion unchanged. `now` is put down as the time of the move.

        Raises UnknownNameError; ApprovalError when verdict, glass or answer is missing or not good enough, or the
        version was rejected since (see `reject_smoked`); ConflictError when the champion has moved. Nothing changes
        then.
        """
        now = instant(now, "now")
        with self._chain.write() as transaction:
            connection = transaction.connection
            challenger, champion = challenger_of(connection, model, version), champion_of(connection, model)
            if glass_digest is None:
                glass, basis = None, verdict_of(connection, model, version)
            else:
                glass = basis = glass_of(connection, model, version, glass_digest)
            how = "promotion" if glass is None else "break_glass"
            if _is_done(champion, version, expected_epoch, how, basis):
                return champion
            _check_epoch(model, champion, expected_epoch)
            _check_basis(basis, model, version, expected_epoch)
            if glass is None:  # whoever breaks the glass knows; the smoke test is asked again
                _refuse_rejected(challenger)
            asks = approvals_of(connection, model, version, basis.digest)
            approval = _check_approval(asks, model, version, allowed_approvers, four_eyes or glass is not None)
            set_status(transaction, challenger, "promoted")
            return _move(
                transaction,
                challenger,
                "champion_promoted" if glass is None else "champion_forced",
                epoch=expected_epoch + 1,
                how=how,
                actor=approval.responded_by,
                reason=glass and f"{glass.reason} (glass broken by {glass.actor})",
                verdict_digest=basis.digest,
                moved_at=now,
            )

    def reject_smoked(self, model: str, version: int, reason: str) -> None:
        """Reject a challenger that did not pass its smoke test, on record and once; one that was champion before keeps
        the status "promoted"."""
        check_words(reason=reason)
        with self._chain.write() as transaction:
            challenger = challenger_of(transaction.connection, model, version)
            if challenger.status != "rejected":
                subject = f"models/{model}/versions/{version}"
                transaction.append("smoke_test_failed", subject, {"version": version, "reason": reason})
                set_status(transaction, challenger, "rejected")

    def record_first_scoring(self, model: str, epoch: int, passed: bool, facts: Mapping) -> bool:
        """Put on record how the first scoring after a move of the champion pointer went. The first record stands:
        returns what it says."""
        with self._chain.write() as transaction:
            known = _first_scoring(transaction.connection, model, epoch)
            if known is None:
                kind = "first_scoring_passed" if passed else "first_scoring_failed"
                transaction.append(kind, _epoch(model, epoch), {"epoch": epoch, **facts})
            return passed if known is None else known

    def first_scoring(self, model: str, epoch: int) -> bool | None:
        """Whether the first scoring after that move went well; None while it is not on record."""
        with self._chain.read() as connection:
            return _first_scoring(connection, model, epoch)

    def served(self, model: str) -> set[int]:
        """The versions that have scored a day."""
        with self._chain.read() as connection:
            return _served(connection, model)

    def last_served(self, model: str) -> int | None:
        """Of the versions that the champion of now took over from, the newest that no rollback took back and that has
        scored a day; None for none."""
        with self._chain.read() as connection:
            standing, served = _standing(_history(connection, model)), _served(connection, model)
        return next((one for one in reversed(standing) if one in served and one != standing[-1]), None)

    def rollback(self, model: str, to_version: int | None, actor: str, reason: str, expected_epoch: int) -> Champion:
        """Make a version champion again that once was: `to_version`, or with None the one that the champion of now took
        over from. What was rolled back is out of the way: after versions 1, 2, 3, two rollbacks lead to 2 and to 1.

        When `to_version` is champion already, or this very call has been made before (same epoch, actor and reason),
        it returns the champion unchanged. Raises UnknownNameError when there is no champion or no such version;
        ApprovalError when the version never was champion, or there is none before; ConflictError when the champion has
        moved.
        """
        check_words(actor=actor, reason=reason)
        with self._chain.write(actor) as transaction:
            connection = transaction.connection
            history = _history(connection, model)
            if not history:
                raise UnknownNameError(f"{model} has no champion to roll back", hint="promote a version first")
            champion = history[-1]
            if to_version == champion.version or _was_this_rollback(
                champion, to_version, actor, reason, expected_epoch
            ):
                return champion
            _check_epoch(model, champion, expected_epoch)
            target = _target(connection, history, to_version)
            return _move(
                transaction,
                target,
                "champion_rolled_back",
                epoch=expected_epoch + 1,
                how="rollback",
                actor=actor,
                reason=reason,
                verdict_digest=None,
                moved_at=transaction.now,
            )


def _history(connection: Connection, model: str) -> list[Champion]:
    return read_all(connection, Champion, champions, champions.c.model == model, order=(champions.c.epoch,))


def _first_scoring(connection: Connection, model: str, epoch: int) -> bool | None:
    mine = (events.c.subject == _epoch(model, epoch), events.c.kind.startswith("first_scoring_"))
    kind = connection.scalar(select(events.c.kind).where(*mine).order_by(events.c.seq).limit(1))
    return None if kind is None else kind == "first_scoring_passed"


def _served(connection: Connection, model: str) -> set[int]:
    return set(connection.scalars(select(scorings.c.version).where(scorings.c.model == model)))


def _move(transaction: Transaction, target: Challenger, kind: str, **move: object) -> Champion:
    row = {
        "model": target.model,
        "version": target.version,
        "as_of": target.as_of,
        "model_digest": target.model_digest,
        **move,
    }
    row = transaction.add(champions, row)
    transaction.append(kind, f"models/{target.model}/versions/{target.version}", row, actor=str(move["actor"]))
    return champion_of(transaction.connection, target.model)


def _epoch(model: str, epoch: int) -> str:
    return f"models/{model}/epochs/{epoch}"


def _is_done(
    champion: Champion | None, version: int, expected_epoch: int, how: str, basis: Verdict | BrokenGlass | None
) -> bool:
    return (
        champion is not None
        and basis is not None
        and (champion.version, champion.epoch, champion.how) == (version, expected_epoch + 1, how)
        and champion.verdict_digest == basis.digest
    )


def _was_this_rollback(
    champion: Champion, to_version: int | None, actor: str, reason: str, expected_epoch: int
) -> bool:
    mine = (champion.how, champion.epoch, champion.actor, champion.reason)
    return mine == ("rollback", expected_epoch + 1, actor, reason) and to_version in (None, champion.version)


def _check_epoch(model: str, champion: Champion | None, expected_epoch: int) -> None:
    epoch = champion.epoch if champion else 0
    if epoch != expected_epoch:
        raise ConflictError(
            f"the champion of {model} has moved",
            seen=f"epoch {epoch}: " + (f"version {champion.version}" if champion else "no champion"),
            expected=f"epoch {expected_epoch}",
            hint="judge or decide again, against the champion of now",
        )


def _check_basis(basis: Verdict | BrokenGlass | None, model: str, version: int, expected_epoch: int) -> None:
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


def _refuse_rejected(challenger: Challenger) -> None:
    if challenger.status == "rejected":
        raise ApprovalError(
            f"{challenger.model} version {challenger.version} was rejected after it was asked about",
            seen="status rejected",
            expected="awaiting_approval",
            where="ratchet audit show",
            hint="its smoke test failed: train anew",
        )


def _check_approval(
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


def _target(connection: Connection, history: list[Champion], to_version: int | None) -> Challenger:
    champion, model = history[-1], history[-1].model
    if to_version is None:
        standing = _standing(history)
        if len(standing) < 2:
            raise ApprovalError(
                f"no other version of {model} has been champion before version {champion.version}",
                seen=f"the champions so far: {', '.join(str(move.version) for move in history)}",
                hint="name one of those in to_version, or promote another version instead",
            )
        to_version = standing[-2]
    target = challenger_of(connection, model, to_version)
    if to_version not in {move.version for move in history}:
        raise ApprovalError(
            f"version {to_version} of {model} never was champion",
            expected=f"one of {sorted({move.version for move in history})}",
            hint="it has to pass the gate and be approved: use the promote DAG",
        )
    return target


def _standing(history: list[Champion]) -> list[int]:
    """The champions that no rollback has taken back, oldest first; the last is the champion of now."""
    standing: list[int] = []
    for move in history:
        if move.how == "rollback" and move.version in standing:
            while standing[-1] != move.version:
                standing.pop()
        elif standing[-1:] != [move.version]:
            standing.append(move.version)
    return standing
