"""Canaries on record: which version serves which share of which days' rows, who started it, and how it ended."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection

from ratchet.days import check_day, shift_day
from ratchet.errors import ApprovalError, ConflictError, ParameterError, UnknownNameError
from ratchet.ledger.audit import refuse_altered
from ratchet.ledger.chain import Chain, Transaction
from ratchet.ledger.challengers import challenger_of, champion_of, verdict_of
from ratchet.ledger.conditions import check_basis, refuse_rejected
from ratchet.ledger.decisions import Challenger
from ratchet.ledger.field_values import Routing
from ratchet.ledger.plain import check_words
from ratchet.ledger.rows import next_id, read_all, read_one
from ratchet.ledger.tables import requests, routings
from ratchet.ledger.values import Request

MAY_SERVE = ("registered", "awaiting_approval", "expired")


class Routings:
    """Routings by model: one open at a time. None of them moves the champion pointer."""

    _chain: Chain

    def start_canary(
        self,
        model: str,
        version: int,
        *,
        share: float,
        most: float,
        first_day: str,
        days: int,
        actor: str,
        reason: str,
        run_id: str,
        allowed: Collection[str],
        four_eyes: bool,
    ) -> Routing:
        """Let `version` serve a `share` of the rows of so many event days from `first_day` on; once per `run_id`: a
        second call returns what it has started, whatever has become of it.

        It takes: a newest verdict PROMOTE, made against the champion of now; a version that nobody has refused or
        rejected since; an `actor` among the `allowed` who, with `four_eyes`, has not asked for its training; and all of
        that as it was sealed. Raises ParameterError for a share that is not above 0 and `most` at most; ApprovalError,
        UnknownNameError; ConflictError when the champion has moved since the verdict, another routing is open, or the
        run has started something else.
        """
        check_words(actor=actor, reason=reason, run_id=run_id)
        first_day = check_day(first_day, "first_day")
        with self._chain.write(actor) as transaction:
            connection = transaction.connection
            if known := _of_run(connection, model, run_id):
                return _same(known, version, actor, reason)
            challenger, champion = challenger_of(connection, model, version), champion_of(connection, model)
            _check_share(share, most)
            if champion is None:
                raise ApprovalError(f"{model} has no champion", hint="a canary serves beside one: promote a version")
            verdict = verdict_of(connection, model, version)
            check_basis(verdict, model, version, champion.epoch)
            refuse_rejected(challenger)
            _check_status(challenger)
            _check_actor(connection, challenger, actor, allowed, four_eyes)
            if standing := _open(connection, model):
                raise ConflictError(
                    f"a canary of {model} is open",
                    seen=f"version {standing.version}, {standing.share:.0%}, since {standing.first_day}",
                    hint="stop it first",
                )
            refuse_altered(self._chain, connection, model)
            row = {
                "id": next_id(connection, routings, "k"),
                "model": model,
                "version": version,
                "share": share,
                "first_day": first_day,
                "last_day": shift_day(first_day, days - 1),
                "champion_epoch": champion.epoch,
                "champion_version": champion.version,
                "verdict_digest": verdict.digest,
                "model_digest": challenger.model_digest,
                "actor": actor,
                "reason": reason,
                "run_id": run_id,
                "started_at": transaction.now,
                **dict.fromkeys(("ended_how", "ended_why", "ended_by", "ended_at")),
            }
            transaction.append("canary_started", _subject(model, row["id"]), transaction.add(routings, row))
            return _of_run(connection, model, run_id)

    def end_canary(self, model: str, id: str, how: str, why: str, actor: str) -> Routing:
        """End a routing, on record: from now on the champion alone serves. One that has ended stays as it is: the first
        reason stands. Raises UnknownNameError."""
        check_words(how=how, why=why, actor=actor)
        with self._chain.write(actor) as transaction:
            known = _routing(transaction.connection, model, id)
            if known.ended_at is None:
                _end(transaction, known, how, why, actor)
            return _routing(transaction.connection, model, id)

    def open_canary(self, model: str) -> Routing | None:
        """The routing that stands; None for none, and for one whose champion has moved."""
        with self._chain.read() as connection:
            found, champion = _open(connection, model), champion_of(connection, model)
        return found if found and champion and found.champion_epoch == champion.epoch else None

    def routing(self, model: str, id: str) -> Routing:
        """The routing of that id. Raises UnknownNameError."""
        with self._chain.read() as connection:
            return _routing(connection, model, id)

    def routings(self, model: str) -> list[Routing]:
        """Every routing of the model, in the order in which they were started."""
        with self._chain.read() as connection:
            return read_all(connection, Routing, routings, routings.c.model == model, order=(routings.c.id,))


def end_with_champion(transaction: Transaction, model: str, moved_to: int) -> None:
    """The champion has moved: whatever was to be tried beside the one before is over."""
    if standing := _open(transaction.connection, model):
        _end(transaction, standing, "champion moved", f"version {moved_to} is champion now", transaction.actor)


def _open(connection: Connection, model: str) -> Routing | None:
    return read_one(connection, Routing, routings, routings.c.model == model, routings.c.ended_at.is_(None))


def _of_run(connection: Connection, model: str, run_id: str) -> Routing | None:
    return read_one(connection, Routing, routings, routings.c.model == model, routings.c.run_id == run_id)


def _routing(connection: Connection, model: str, id: str) -> Routing:
    found = read_one(connection, Routing, routings, routings.c.model == model, routings.c.id == id)
    if found is None:
        raise UnknownNameError(f"no routing {id!r} of {model}", hint="see `ratchet audit show` for canary_started")
    return found


def _end(transaction: Transaction, routing: Routing, how: str, why: str, actor: str) -> None:
    ended = {"ended_how": how, "ended_why": why, "ended_by": actor, "ended_at": transaction.now}
    transaction.change(routings, {"id": routing.id}, **ended)
    told = {"id": routing.id, "version": routing.version, **ended}
    transaction.append("canary_ended", _subject(routing.model, routing.id), told, actor)


def _subject(model: str, id: str) -> str:
    return f"models/{model}/routings/{id}"


def _same(known: Routing, version: int, actor: str, reason: str) -> Routing:
    if (known.version, known.actor, known.reason) == (version, actor, reason):
        return known
    raise ConflictError(
        f"this run has started a canary of version {known.version} before",
        seen=f"version {version} by {actor}: {reason}",
        expected=f"by {known.actor}: {known.reason}",
        hint="start a fresh run",
    )


def _check_share(share: float, most: float) -> None:
    if not 0 < share <= most:
        raise ParameterError(
            "a canary can't serve that share",
            seen=share,
            expected=f"above 0, and {most:g} at most (field_test.canary_share)",
            hint="ask for less, or change the spec",
        )


def _check_status(challenger: Challenger) -> None:
    if challenger.status not in MAY_SERVE:
        raise ApprovalError(
            f"{challenger.model} version {challenger.version} can't serve as a canary",
            seen=f"status {challenger.status}",
            expected=" or ".join(MAY_SERVE),
            hint="take a version whose gate is passed, and that nobody has refused since",
        )


def _check_actor(
    connection: Connection, challenger: Challenger, actor: str, allowed: Collection[str], four_eyes: bool
) -> None:
    asked = read_all(connection, Request, requests, requests.c.batch_id == challenger.batch_id)
    if actor not in allowed:
        seen, expected = actor, f"one of {sorted(allowed)}"
    elif four_eyes and actor in {one.actor for one in asked if one.model == challenger.model}:
        seen, expected = f"{actor}, who asked for its training", "somebody else (approval.four_eyes)"
    else:
        return
    raise ApprovalError(
        f"a canary of {challenger.model} version {challenger.version} was not started",
        seen=seen,
        expected=expected,
        hint="have an approver start it",
    )
