"""The champion pointer: the only ways in which it moves, and all that has to hold for each."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime

from sqlalchemy import Connection, select

from ratchet.errors import UnknownNameError
from ratchet.ledger.audit import newest_told, refuse_altered, refuse_altered_past
from ratchet.ledger.broken_glass import glass_of
from ratchet.ledger.chain import Chain, Transaction, as_event
from ratchet.ledger.challengers import challenger_of, champion_of, set_status, verdict_of
from ratchet.ledger.conditions import (
    check_approval,
    check_basis,
    check_epoch,
    check_was_champion,
    refuse_rejected,
    version_before,
)
from ratchet.ledger.decisions import BrokenGlass, Challenger, Champion, Verdict
from ratchet.ledger.plain import check_words, instant
from ratchet.ledger.questions import approvals_of, retire_older
from ratchet.ledger.routings import end_with_champion
from ratchet.ledger.rows import read_all
from ratchet.ledger.tables import champions, events
from ratchet.ledger.values import Event


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
        whatever the argument. All of that as it was sealed (see ratchet.ledger.audit.refuse_altered). Challengers of
        older data are "superseded" by the move, and so is what is still asked about this one. Doing it again returns
        the champion unchanged. `now` is put down as the time of the move.

        Raises UnknownNameError; ApprovalError when verdict, glass or answer is missing, not good enough or not as it
        was sealed, or the version was rejected since (see `reject_smoked`); ConflictError when the champion has moved.
        Nothing changes then.
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
            check_epoch(model, champion, expected_epoch)
            check_basis(basis, model, version, expected_epoch)
            if glass is None:  # whoever breaks the glass knows; the smoke test is asked again
                refuse_rejected(challenger)
            asks = approvals_of(connection, model, version, basis.digest)
            approval = check_approval(asks, model, version, allowed_approvers, four_eyes or glass is not None)
            refuse_altered(self._chain, connection, model)
            set_status(transaction, challenger, "promoted")
            moved = _move(
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
            retire_older(transaction, challenger)
            return moved

    def reject_smoked(self, model: str, version: int, reason: str) -> None:
        """Reject a challenger that did not pass its smoke test, on record; one that was champion before keeps the
        status "promoted". The first reason stands: it is not told again."""
        check_words(reason=reason)
        with self._chain.write() as transaction:
            challenger = challenger_of(transaction.connection, model, version)
            subject = f"models/{model}/versions/{version}"
            known = newest_told(transaction.connection, "smoke_test_failed", subject)
            if known is None or challenger.status not in ("rejected", "promoted"):
                set_status(transaction, challenger, "rejected")
                transaction.append("smoke_test_failed", subject, {"version": version, "reason": reason})

    def record_first_scoring(self, model: str, epoch: int, passed: bool, facts: Mapping) -> bool:
        """Put on record how the first scoring after a move of the champion pointer went: a failure once, and a pass
        once, also after a failure. A pass is final. Returns what stands on record then."""
        with self._chain.write() as transaction:
            known = _first_scoring(transaction.connection, model, epoch)
            if known is None or (passed and not known):
                kind = "first_scoring_passed" if passed else "first_scoring_failed"
                transaction.append(kind, _epoch(model, epoch), {"epoch": epoch, **facts})
            return passed or known is True

    def first_scoring(self, model: str, epoch: int) -> bool | None:
        """Whether the first scoring after that move went well: True if a pass is on record, False if nothing but
        failures, None for neither."""
        with self._chain.read() as connection:
            return _first_scoring(connection, model, epoch)

    def held_days(self, model: str) -> dict[tuple[str, str, int], Event]:
        """The entries of the days that were held back on probation, by (day, inputs digest, version); the first."""
        mine = (events.c.subject == f"models/{model}/held_days", events.c.kind == "day_held")
        with self._chain.read() as connection:
            told = list(map(as_event, connection.execute(select(events).where(*mine).order_by(events.c.seq.desc()))))
        return {(one.payload["day"], one.payload["inputs_digest"], one.payload["version"]): one for one in told}

    def rollback(self, model: str, to_version: int | None, actor: str, reason: str, expected_epoch: int) -> Champion:
        """Make a version champion again that once was: `to_version`, or with None the one that the champion of now took
        over from. What was rolled back is out of the way: after versions 1, 2, 3, two rollbacks lead to 2 and to 1.

        When `to_version` is champion already, or this very call has been made before (same epoch, actor and reason),
        it returns the champion unchanged. Raises UnknownNameError when there is no champion or no such version;
        ApprovalError when the version never was champion, there is none before, or what it rests on is not as it was
        sealed (see ratchet.ledger.audit.refuse_altered_past); ConflictError when the champion has moved.
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
            check_epoch(model, champion, expected_epoch)
            refuse_altered_past(self._chain, connection, model)
            target = challenger_of(connection, model, version_before(history) if to_version is None else to_version)
            check_was_champion(history, target)
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
    kinds = connection.scalars(select(events.c.kind).where(*mine)).all()
    return "first_scoring_passed" in kinds if kinds else None


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
    end_with_champion(transaction, target.model, target.version)
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
