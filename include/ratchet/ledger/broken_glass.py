"""The way round the gate, for emergencies: on record, with a reason, and never by one person alone."""

from __future__ import annotations

from sqlalchemy import Connection

from ratchet.digests import digest_of
from ratchet.errors import ConflictError
from ratchet.ledger.chain import Chain
from ratchet.ledger.challengers import challenger_of, champion_of, verdict_of
from ratchet.ledger.decisions import BrokenGlass
from ratchet.ledger.plain import check_words
from ratchet.ledger.rows import next_id, read_one
from ratchet.ledger.tables import broken_glass


class BreakGlass:
    """Demands to promote a version whatever the gate says. They move nothing: see `Promotion.promote`."""

    _chain: Chain

    def break_glass(self, model: str, version: int, *, actor: str, reason: str, run_id: str) -> BrokenGlass:
        """Record the demand, once per model and `run_id`: a second call returns it.

        Raises UnknownNameError without such a version; ConflictError when the version is champion already, or the run
        has demanded something else.
        """
        check_words(actor=actor, reason=reason, run_id=run_id)
        with self._chain.write(actor) as transaction:
            connection = transaction.connection
            challenger, champion = challenger_of(connection, model, version), champion_of(connection, model)
            mine = (broken_glass.c.model == model, broken_glass.c.run_id == run_id)
            if known := read_one(connection, BrokenGlass, broken_glass, *mine):
                return _same(known, version, actor, reason)
            if champion and champion.version == version:
                hint = "there is nothing to promote"
                raise ConflictError(f"{model} version {version} is the champion already", hint=hint)
            verdict = verdict_of(connection, model, version)
            demand = {
                "model": model,
                "version": version,
                "champion_epoch": champion.epoch if champion else 0,
                "champion_version": champion.version if champion else None,
                "model_digest": challenger.model_digest,
                "gate_verdict": verdict.verdict if verdict else None,
                "actor": actor,
                "reason": reason,
                "run_id": run_id,
            }
            row = {"id": next_id(connection, broken_glass, "g"), **demand, "digest": digest_of(demand)}
            row = transaction.add(broken_glass, {**row, "recorded_at": transaction.now})
            transaction.append("glass_broken", f"models/{model}/versions/{version}", row)
            return read_one(connection, BrokenGlass, broken_glass, *mine)

    def broken_glass_of_run(self, model: str, version: int, run_id: str) -> BrokenGlass | None:
        """The demand that this run has made for the version; None when there is none."""
        mine = (broken_glass.c.model == model, broken_glass.c.version == version, broken_glass.c.run_id == run_id)
        with self._chain.read() as connection:
            return read_one(connection, BrokenGlass, broken_glass, *mine)

    def broken_glass(self, model: str, version: int, digest: str) -> BrokenGlass | None:
        """The demand of that digest; None when there is none."""
        with self._chain.read() as connection:
            return glass_of(connection, model, version, digest)


def glass_of(connection: Connection, model: str, version: int, digest: str) -> BrokenGlass | None:
    mine = (broken_glass.c.model == model, broken_glass.c.version == version, broken_glass.c.digest == digest)
    return read_one(connection, BrokenGlass, broken_glass, *mine)


def _same(known: BrokenGlass, version: int, actor: str, reason: str) -> BrokenGlass:
    if (known.version, known.actor, known.reason) == (version, actor, reason):
        return known
    raise ConflictError(
        f"this run has broken the glass for version {known.version} before",
        seen=f"version {version} by {actor}: {reason}",
        expected=f"by {known.actor}: {known.reason}",
        hint="start a fresh run",
    )
