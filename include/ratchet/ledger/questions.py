"""What is asked of people about a challenger: one open question a model, about one verdict, by one task run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import Connection, select

from ratchet.errors import ApprovalError, ConflictError, ParameterError
from ratchet.ledger.broken_glass import glass_of
from ratchet.ledger.chain import Chain, Transaction
from ratchet.ledger.challengers import PASSED, TO_JUDGE, challenger_of, epoch_of, set_status, verdict_of
from ratchet.ledger.decisions import Approval, BrokenGlass, Challenger
from ratchet.ledger.plain import check_words, instant
from ratchet.ledger.rows import next_id, read_all, read_one
from ratchet.ledger.tables import approvals, broken_glass, challengers


class Questions:
    """Questions about verdicts and broken glass, each known by the digest of what it is about."""

    _chain: Chain

    def ask_approval(
        self,
        model: str,
        version: int,
        verdict_digest: str,
        asked_by: Sequence[str],
        dag_id: str,
        run_id: str,
        task_id: str,
        try_number: int,
        expires_at: datetime,
    ) -> Approval:
        """Record that a task run asks for an approval; the same again changes nothing. Status: "awaiting_approval".

        `verdict_digest` is that of the newest verdict, or of broken glass. `asked_by` names everybody who asked for
        this promotion: none of them may be the one who approves, where four eyes are required. One question a model is
        open: an earlier one about this version, or about older data, is superseded. A question about broken glass
        stands beside it, and leaves statuses alone. Raises ApprovalError when `asked_by` names nobody, when the newest
        verdict doesn't pass or has another digest, when a person has refused it or it failed its smoke test since, when
        a question about newer data is open, or when the same task run has asked before (in another try, or about
        something else: its first text is what the approver still sees); ConflictError when the champion is another than
        the verdict's.
        """
        asked_by = _names(asked_by, f"{model} version {version}")
        expires_at = instant(expires_at, "expires_at")
        check_words(dag_id=dag_id, run_id=run_id, task_id=task_id)
        with self._chain.write(", ".join(asked_by)) as transaction:
            connection = transaction.connection
            challenger = challenger_of(connection, model, version)
            question = {
                "model": model,
                "version": version,
                "verdict_digest": verdict_digest,
                "dag_id": dag_id,
                "run_id": run_id,
                "task_id": task_id,
                "try_number": try_number,
            }
            if known := _asked_before(connection, question):
                return known
            glass = glass_of(connection, model, version, verdict_digest)
            _refuse_without_basis(connection, model, version, verdict_digest, glass)
            _refuse_refused(approvals_of(connection, model, version, verdict_digest), challenger, glass)
            question |= {"asked_by": asked_by, "expires_at": expires_at}
            if glass:  # beside what the gate and dispatch do meanwhile: its move is what settles the others
                return _put(transaction, challenger, question)
            others = _open_questions(connection, model, transaction.now)
            newer = [one for one in others if _is_newer(connection, one, challenger)]
            if not newer:
                for other in others:
                    _supersede(transaction, other, version)
                set_status(transaction, challenger, "awaiting_approval")
                return _put(transaction, challenger, question)
            set_status(transaction, challenger, "superseded")
            told = {"version": version, "by": newer[0].version, "question": newer[0].id}
            transaction.append("challenger_superseded", f"models/{model}/versions/{version}", told)
        raise ApprovalError(
            f"{model} version {version} is superseded",
            seen=f"data as of {challenger.as_of}",
            expected=f"newer than version {newer[0].version}, about which question {newer[0].id} is open",
            hint=f"answer the question about version {newer[0].version}",
        )


def approvals_of(connection: Connection, model: str, version: int, verdict_digest: str) -> list[Approval]:
    """Every question about that verdict, oldest first."""
    mine = (
        approvals.c.model == model,
        approvals.c.version == version,
        approvals.c.verdict_digest == verdict_digest,
    )
    return read_all(connection, Approval, approvals, *mine, order=(approvals.c.id,))


def retire_older(transaction: Transaction, champion: Challenger) -> None:
    """Challengers of older data than the new champion's are out, and questions about them or about it: each
    "superseded"."""
    connection, subject = transaction.connection, f"models/{champion.model}/versions"
    for question in _open_questions(connection, champion.model, transaction.now):
        mine = question.version == champion.version
        if mine or challenger_of(connection, question.model, question.version).as_of < champion.as_of:
            _supersede(transaction, question, champion.version)
    left = (challengers.c.model == champion.model, challengers.c.status.in_(TO_JUDGE))
    older = read_all(connection, Challenger, challengers, *left, challengers.c.as_of < champion.as_of)
    for one in older:
        set_status(transaction, one, "superseded")
        told = {"version": one.version, "by": champion.version}
        transaction.append("challenger_superseded", f"{subject}/{one.version}", told)


def _open_questions(connection: Connection, model: str, now: datetime) -> list[Approval]:
    """The questions about verdicts on the model's challengers that somebody may still answer."""
    still = (approvals.c.answer.is_(None), approvals.c.superseded_by.is_(None), approvals.c.expires_at > now)
    verdicts_alone = approvals.c.verdict_digest.not_in(select(broken_glass.c.digest))
    where = (approvals.c.model == model, *still, verdicts_alone)
    return read_all(connection, Approval, approvals, *where, order=(approvals.c.id,))


def _is_newer(connection: Connection, question: Approval, than: Challenger) -> bool:
    """Whether a question is about a challenger of newer data, or of the same and registered later."""
    other = challenger_of(connection, question.model, question.version)
    return (other.as_of, other.version) > (than.as_of, than.version)


def _supersede(transaction: Transaction, question: Approval, by: int) -> None:
    challenger = challenger_of(transaction.connection, question.model, question.version)
    transaction.change(approvals, {"id": question.id}, superseded_by=by)
    if challenger.status == "awaiting_approval" and by != question.version:  # what was rejected meanwhile stays so
        set_status(transaction, challenger, "superseded")
    subject = f"models/{question.model}/versions/{question.version}"
    transaction.append("approval_superseded", subject, {"id": question.id, "superseded_by": by})


def _put(transaction: Transaction, challenger: Challenger, question: Mapping) -> Approval:
    unanswered = dict.fromkeys(("answer", "responded_by", "responded_by_id", "responded_at", "superseded_by"))
    row = {"id": next_id(transaction.connection, approvals, "a"), **question, "asked_at": transaction.now, **unanswered}
    row = transaction.add(approvals, row)
    transaction.append("approval_asked", f"models/{challenger.model}/versions/{challenger.version}", row)
    return read_one(transaction.connection, Approval, approvals, approvals.c.id == row["id"])


def _names(asked_by: Sequence[str], what: str) -> list[str]:
    if isinstance(asked_by, str):
        raise ParameterError("asked_by is one text", seen=asked_by, expected="a list of names", hint="pass a list")
    for name in asked_by:
        check_words(asked_by=name)
    if not asked_by:
        raise ApprovalError(
            f"nobody on record asked for {what}",
            seen="no name",
            expected="whoever requested the training or started the promote run",
            hint="request a training under a name, or start a promote run by hand",
        )
    return list(dict.fromkeys(asked_by))


def _asked_before(connection: Connection, question: Mapping) -> Approval | None:
    names = ("dag_id", "run_id", "task_id")
    known = read_one(connection, Approval, approvals, *(approvals.c[name] == question[name] for name in names))
    if known and any(getattr(known, name) != value for name, value in question.items()):
        raise ApprovalError(
            "this run has asked before, and the approver still sees what it asked first",
            seen=f"try {question['try_number']}, verdict {question['verdict_digest'][:12]}",
            expected=f"try {known.try_number}, verdict {known.verdict_digest[:12]}",
            where=f"{known.dag_id} / {known.run_id} / {known.task_id}",
            hint="start a fresh run instead of clearing this one",
        )
    return known


def _refuse_without_basis(
    connection: Connection, model: str, version: int, verdict_digest: str, glass: BrokenGlass | None
) -> None:
    """A question needs a newest verdict of that digest that passed, or broken glass of that digest."""
    verdict = verdict_of(connection, model, version)
    if glass is None and (verdict is None or verdict.verdict not in PASSED or verdict.digest != verdict_digest):
        raise ApprovalError(
            f"{model} version {version} has no such verdict to approve",
            seen=f"digest {verdict_digest[:12]}",
            expected=f"PROMOTE; on record is {verdict.verdict} {verdict.digest[:12]}" if verdict else "a verdict",
            hint="judge it first, and ask about the newest verdict",
        )
    judged_at = (glass or verdict).champion_epoch
    if judged_at != epoch_of(connection, model):
        raise ConflictError(
            f"the champion of {model} has moved since version {version} was judged",
            seen=f"epoch {judged_at}",
            expected=f"epoch {epoch_of(connection, model)}",
            hint="judge it again",
        )


def _refuse_refused(asks: list[Approval], challenger: Challenger, glass: BrokenGlass | None) -> None:
    what = f"{challenger.model} version {challenger.version}"
    if refused := [ask for ask in asks if ask.answer == "Reject"]:
        raise ApprovalError(
            f"{what} was refused",
            seen=f"Reject by {refused[0].responded_by} at {refused[0].responded_at}",
            hint="train a new challenger; a refusal of this verdict stands",
        )
    if challenger.status == "rejected" and glass is None:
        raise ApprovalError(
            f"{what} was rejected after its verdict",
            seen="a failed smoke test",
            where="ratchet audit show",
            hint="train a new challenger",
        )
