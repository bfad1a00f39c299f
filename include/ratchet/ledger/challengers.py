"""Challengers, and what the gate said of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import Connection

from ratchet.days import check_day
from ratchet.errors import ConflictError, ParameterError, UnknownNameError
from ratchet.ledger.chain import Chain, Transaction
from ratchet.ledger.decisions import Challenger, Champion, Verdict
from ratchet.ledger.rows import read_all, read_one
from ratchet.ledger.tables import batches, challengers, champions, verdicts
from ratchet.ledger.values import Batch

STATUS_OF_VERDICT = {"PROMOTE": "registered", "NO_BASELINE": "registered", "HOLD": "held", "REJECT": "rejected"}
MEASURED = "success"  # the gate's first question of quality
PASSED = ("PROMOTE", "NO_BASELINE")  # verdicts upon which a person may be asked
TO_JUDGE = ("registered", "held", "awaiting_approval")


def looks_at(said: Iterable[Verdict], window: Sequence[str]) -> int:
    """How many of these verdicts have measured on a window that overlaps this one, where a pass would have counted: all
    that the gate asks before its first question of quality was in order."""
    first, last = window
    return sum(one.window[0] <= last and first <= one.window[1] for one in said if one.window and _has_measured(one))


def _has_measured(verdict: Verdict) -> bool:
    names = [check["name"] for check in verdict.checks]
    before = verdict.checks[: names.index(MEASURED)] if MEASURED in names else [{"passed": False}]
    return all(check["passed"] for check in before)


class Challengers:
    """Challengers by model and version, and their verdicts."""

    _chain: Chain

    def register_challenger(
        self,
        model: str,
        identity: str,
        version: int,
        mlflow_run_id: str,
        snapshot: str,
        as_of: str,
        windows: Mapping,
        metrics: Mapping,
        batch_id: str | None,
        model_digest: str,
        manifest: Mapping | None = None,
    ) -> Challenger:
        """Put a challenger on record. The first of an identity stands: a second call returns it, whatever else differs.

        `batch_id` is the batch it came of. Raises UnknownNameError when the model has no such batch; ConflictError when
        the version is that of another identity.
        """
        as_of = check_day(as_of, "as_of")
        with self._chain.write() as transaction:
            connection, of_model = transaction.connection, challengers.c.model == model
            _refuse_foreign_batch(connection, model, batch_id)
            known = read_one(connection, Challenger, challengers, of_model, challengers.c.identity == identity)
            if known:
                return known
            if taken := read_one(connection, Challenger, challengers, of_model, challengers.c.version == version):
                raise ConflictError(
                    f"version {version} of {model} is another challenger",
                    seen=f"identity {identity}",
                    expected=f"identity {taken.identity}",
                    hint="register the model again: the registry gives a new version",
                )
            row = {
                "model": model,
                "version": version,
                "identity": identity,
                "mlflow_run_id": mlflow_run_id,
                "snapshot": snapshot,
                "as_of": as_of,
                "windows": windows,
                "metrics": metrics,
                "manifest": manifest or {},
                "batch_id": batch_id,
                "model_digest": model_digest,
                "status": "registered",
                "registered_at": transaction.now,
            }
            subject = f"models/{model}/versions/{version}"
            transaction.append("challenger_registered", subject, transaction.add(challengers, row))
            return challenger_of(connection, model, version)

    def challenger(self, model: str, version: int) -> Challenger:
        """The challenger of that version. Raises UnknownNameError."""
        with self._chain.read() as connection:
            return challenger_of(connection, model, version)

    def challenger_by_identity(self, model: str, identity: str) -> Challenger | None:
        """The challenger of that identity; None when there is none."""
        with self._chain.read() as connection:
            mine = (challengers.c.model == model, challengers.c.identity == identity)
            return read_one(connection, Challenger, challengers, *mine)

    def challengers(self, model: str) -> list[Challenger]:
        """The model's challengers, by version."""
        with self._chain.read() as connection:
            order = (challengers.c.version,)
            return read_all(connection, Challenger, challengers, challengers.c.model == model, order=order)

    def challengers_to_judge(self, model: str, held_to: str = "") -> list[Challenger]:
        """The challengers on which nothing final has been said yet, trained on the newest data first.

        That is: not rejected, refused, expired, superseded or promoted, and not held against the champion of now on a
        window that ends after `held_to` (a day; by default any). Those judged PROMOTE, and those whose approval is
        being waited for, are among them: their run may have died.
        """
        with self._chain.read() as connection:
            epoch = epoch_of(connection, model)
            held = (verdicts.c.model == model, verdicts.c.champion_epoch == epoch, verdicts.c.verdict == "HOLD")
            done = {one.version for one in read_all(connection, Verdict, verdicts, *held) if one.judged_to >= held_to}
            where = (challengers.c.model == model, challengers.c.status.in_(TO_JUDGE))
            order = (challengers.c.as_of.desc(), challengers.c.version.desc())
            found = read_all(connection, Challenger, challengers, *where, order=order)
        return [challenger for challenger in found if challenger.version not in done]

    def record_verdict(
        self,
        model: str,
        version: int,
        champion_epoch: int,
        champion_version: int | None,
        verdict: str,
        checks: Sequence[Mapping],
        digest: str,
        window: Sequence[str] | None = None,
        looks: int | None = None,
    ) -> Verdict:
        """Keep what the gate said, and move the challenger's status: HOLD to "held", REJECT to "rejected".

        The first verdict of a challenger against an epoch, on a window that ends on that day, stands: a second call
        returns it. `champion_epoch` is 0 and `champion_version` None while there is no champion. `looks`: those that
        its significance was reckoned for (see looks_at). Raises UnknownNameError; ConflictError when the champion is
        another by now, or there have been other looks meanwhile.
        """
        if verdict not in STATUS_OF_VERDICT:
            expected = f"one of {sorted(STATUS_OF_VERDICT)}"
            raise ParameterError("no such verdict", seen=verdict, expected=expected, hint="pass the gate's")
        with self._chain.write() as transaction:
            connection = transaction.connection
            challenger = challenger_of(connection, model, version)
            mine = (verdicts.c.model == model, verdicts.c.version == version)
            judged_to = window[1] if window else ""
            same = (verdicts.c.champion_epoch == champion_epoch, verdicts.c.judged_to == judged_to)
            known = read_one(connection, Verdict, verdicts, *mine, *same)
            if known:
                return known
            _refuse_old_epoch(connection, model, champion_epoch, champion_version)
            if window and looks is not None:
                said = read_all(connection, Verdict, verdicts, verdicts.c.model == model)
                _refuse_other_looks(looks_at(said, window), looks, model, version)
            row = {
                "model": model,
                "version": version,
                "champion_epoch": champion_epoch,
                "champion_version": champion_version,
                "judged_to": judged_to,
                "verdict": verdict,
                "checks": checks,
                "window": window,
                "digest": digest,
                "recorded_at": transaction.now,
            }
            kept = transaction.add(verdicts, row)
            set_status(transaction, challenger, STATUS_OF_VERDICT[verdict])
            transaction.append("verdict_recorded", f"models/{model}/versions/{version}", kept)
            return verdict_of(connection, model, version)

    def verdicts(self, model: str, version: int | None = None) -> list[Verdict]:
        """Every verdict on the model's challengers, or on one of them, in the order in which they were recorded."""
        mine = [verdicts.c.model == model, *([] if version is None else [verdicts.c.version == version])]
        with self._chain.read() as connection:
            return read_all(connection, Verdict, verdicts, *mine, order=(verdicts.c.recorded_at,))

    def verdict(self, model: str, version: int) -> Verdict | None:
        """The newest verdict on that version; None when it has not been judged."""
        with self._chain.read() as connection:
            return verdict_of(connection, model, version)


def challenger_of(connection: Connection, model: str, version: int) -> Challenger:
    """The challenger of that version. Raises UnknownNameError."""
    mine = (challengers.c.model == model, challengers.c.version == version)
    found = read_one(connection, Challenger, challengers, *mine)
    if found is None:
        raise UnknownNameError(
            f"{model} has no challenger of version {version}", hint="see `ratchet status` for those there are"
        )
    return found


def verdict_of(connection: Connection, model: str, version: int) -> Verdict | None:
    mine = (verdicts.c.model == model, verdicts.c.version == version)
    newest = (verdicts.c.champion_epoch.desc(), verdicts.c.judged_to.desc())
    return read_one(connection, Verdict, verdicts, *mine, order=newest)


def champion_of(connection: Connection, model: str) -> Champion | None:
    """Where the champion pointer is: its newest move."""
    return read_one(connection, Champion, champions, champions.c.model == model, order=(champions.c.epoch.desc(),))


def epoch_of(connection: Connection, model: str) -> int:
    """How often the champion pointer has moved: 0 while there is no champion."""
    champion = champion_of(connection, model)
    return champion.epoch if champion else 0


def set_status(transaction: Transaction, challenger: Challenger, status: str) -> None:
    """Move a challenger's status; "promoted" stays. The next entry tells of it: it has to be one about that version."""
    if challenger.status != "promoted":
        transaction.change(challengers, {"model": challenger.model, "version": challenger.version}, status=status)


def _refuse_foreign_batch(connection: Connection, model: str, batch_id: str | None) -> None:
    mine = (batches.c.id == batch_id, batches.c.model == model)
    if batch_id is not None and read_one(connection, Batch, batches, *mine) is None:
        raise UnknownNameError(f"{model} has no batch {batch_id!r}", hint="see `ratchet status` for those there are")


def _refuse_other_looks(seen: int, expected: int, model: str, version: int) -> None:
    if seen != expected:
        raise ConflictError(
            f"another challenger of {model} was judged on these days while version {version} was",
            seen=f"{seen} earlier looks at them",
            expected=f"{expected}, for which its significance was reckoned",
            hint="judge it again",
        )


def _refuse_old_epoch(connection: Connection, model: str, epoch: int, version: int | None) -> None:
    champion = champion_of(connection, model)
    now = (champion.epoch, champion.version) if champion else (0, None)
    if now != (epoch, version):
        raise ConflictError(
            f"{model} was judged against a champion that is another by now",
            seen=f"version {version} of epoch {epoch}",
            expected=f"version {now[1]} of epoch {now[0]}",
            hint="judge it again",
        )
