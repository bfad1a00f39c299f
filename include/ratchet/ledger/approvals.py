"""What people answered to what they were asked about a challenger (see ratchet.ledger.questions)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime

from sqlalchemy import Connection, select

from ratchet.digests import canonical_json
from ratchet.errors import ApprovalError, ConflictError, ParameterError
from ratchet.ledger.broken_glass import glass_of
from ratchet.ledger.chain import Chain, Transaction
from ratchet.ledger.challengers import challenger_of, set_status, verdict_of
from ratchet.ledger.decisions import Approval
from ratchet.ledger.plain import instant, plain
from ratchet.ledger.questions import approvals_of
from ratchet.ledger.rows import read_all, read_one
from ratchet.ledger.tables import approvals, events

ANSWERS = ("Approve", "Reject")


class Approvals:
    """Answers, each to the question of one task run."""

    _chain: Chain

    def record_answer(
        self,
        model: str,
        version: int,
        *,
        dag_id: str,
        run_id: str,
        task_id: str,
        try_number: int,
        answer: str,
        responded_by: str | None,
        responded_by_id: str | None,
        responded_at: datetime,
        allowed_approvers: Collection[str] | None = None,
    ) -> Approval:
        """Keep a person's answer to the question that this task run asked; the same again changes nothing.

        It counts for the verdict that was asked about, also when there is a newer one by now. Moves the challenger to
        "refused" on Reject, to "expired" on an Approve of the newest verdict that came too late; an answer about broken
        glass leaves the status alone. What one says who is none of `allowed_approvers` (None: look at that when it
        promotes) goes on record, and leaves question and challenger as they are: a fresh run may ask. Raises
        ApprovalError then, when nobody in particular answered, or when this task run asked nothing about that version;
        ConflictError when another answer is on record.
        """
        _check_answer(answer, responded_by)
        said = {
            "answer": answer,
            "responded_by": responded_by,
            "responded_by_id": None if responded_by_id is None else str(responded_by_id),
            "responded_at": instant(responded_at, "responded_at"),
        }
        with self._chain.write(responded_by) as transaction:
            place = {"dag_id": dag_id, "run_id": run_id, "task_id": task_id, "try_number": try_number}
            question = _question(transaction.connection, model, version, place)
            challenger = challenger_of(transaction.connection, model, version)
            if question.answer is not None:
                return _same_answer(question, said)
            if allowed_approvers is None or responded_by in allowed_approvers:
                if status := _status_after(transaction.connection, question, said):
                    set_status(transaction, challenger, status)
                return _answer(transaction, question, said)
            _disregard(transaction, question, said, allowed_approvers)
        raise ApprovalError(
            f"{responded_by} is no approver of {model}: the answer about version {version} counts for nothing",
            seen=f"{answer} by {responded_by}",
            expected=f"one of {sorted(allowed_approvers)}",
            hint="it is on record; dispatch starts a fresh run, three in all per champion; then start one by hand",
        )

    def approval(self, model: str, version: int, verdict_digest: str) -> Approval | None:
        """The question about that verdict: the newest that was answered, else the newest; None when never asked."""
        with self._chain.read() as connection:
            return deciding(approvals_of(connection, model, version, verdict_digest))

    def newest_approval(self, model: str, version: int) -> Approval | None:
        """As `approval`, about what was asked of the version last: its verdict, or broken glass."""
        with self._chain.read() as connection:
            about = (approvals.c.model == model, approvals.c.version == version)
            newest = read_one(connection, Approval, approvals, *about, order=(approvals.c.id.desc(),))
            return newest and deciding(approvals_of(connection, model, version, newest.verdict_digest))

    def questions(self, model: str, version: int, verdict_digest: str) -> list[Approval]:
        """Every question about that verdict, oldest first."""
        with self._chain.read() as connection:
            return approvals_of(connection, model, version, verdict_digest)

    def expire_approvals(self, model: str, now: datetime) -> list[Approval]:
        """Give up the questions of that model that nobody answered in time: their challengers become "expired",
        unless another question about them is still open. Returns the questions given up."""
        now, given_up = instant(now, "now"), []
        with self._chain.write() as transaction:
            connection = transaction.connection
            unanswered = (approvals.c.model == model, approvals.c.answer.is_(None))
            for question in read_all(connection, Approval, approvals, *unanswered, order=(approvals.c.id,)):
                challenger = challenger_of(connection, model, question.version)
                asks = approvals_of(connection, model, question.version, question.verdict_digest)
                over = all(ask.answer is None and ask.expires_at <= now for ask in asks)
                newest = _is_newest_basis(connection, question)
                if challenger.status == "awaiting_approval" and over and newest:
                    set_status(transaction, challenger, "expired")
                    subject = f"models/{model}/versions/{question.version}"
                    told = {"id": question.id, "expires_at": question.expires_at}
                    transaction.append("approval_expired", subject, told)
                    given_up.append(question)
        return given_up


def deciding(asks: list[Approval]) -> Approval | None:
    """Of the questions about one verdict, the one that counts: the newest answered one, else the newest."""
    answered = [ask for ask in asks if ask.answer is not None]
    return (answered or asks or [None])[-1]


def _is_newest_basis(connection: Connection, question: Approval) -> bool:
    """Whether what was asked about is the newest verdict, or broken glass."""
    verdict = verdict_of(connection, question.model, question.version)
    return (verdict is not None and verdict.digest == question.verdict_digest) or glass_of(
        connection, question.model, question.version, question.verdict_digest
    ) is not None


def _check_answer(answer: str, responded_by: str | None) -> None:
    if answer not in ANSWERS:
        raise ParameterError("no such answer", seen=answer, expected=" or ".join(ANSWERS), hint="pass the person's")
    if not responded_by or not responded_by.strip():
        raise ApprovalError("nobody answered", seen="an answer without a user", hint="a named approver has to answer")


def _question(connection: Connection, model: str, version: int, place: Mapping) -> Approval:
    found = read_one(connection, Approval, approvals, *(approvals.c[name] == value for name, value in place.items()))
    if found is None or (found.model, found.version) != (model, version):
        raise ApprovalError(
            f"nothing was asked about {model} version {version} that this could answer",
            seen=f"a question about {found.model} version {found.version}" if found else "no question of this task run",
            where=f"{place['dag_id']} / {place['run_id']} / {place['task_id']}, try {place['try_number']}",
            hint="start a fresh promote run, and answer what it asks",
        )
    return found


def _same_answer(question: Approval, said: Mapping) -> Approval:
    if (question.answer, question.responded_by) == (said["answer"], said["responded_by"]):
        return question
    raise ConflictError(
        f"question {question.id} has been answered",
        seen=f"{said['answer']} by {said['responded_by']}",
        expected=f"{question.answer} by {question.responded_by}",
        hint="the first answer stands",
    )


def _status_after(connection: Connection, question: Approval, said: Mapping) -> str | None:
    """What an answer makes of the challenger; None for nothing."""
    if glass_of(connection, question.model, question.version, question.verdict_digest):
        return None
    if said["answer"] == "Reject":
        return "refused"
    late = said["responded_at"] >= question.expires_at
    return "expired" if late and _is_newest_basis(connection, question) else None


def _answer(transaction: Transaction, question: Approval, said: Mapping) -> Approval:
    transaction.change(approvals, {"id": question.id}, **said)
    transaction.append("approval_answered", _subject(question), _told(question, said))
    return read_one(transaction.connection, Approval, approvals, approvals.c.id == question.id)


def _disregard(transaction: Transaction, question: Approval, said: Mapping, allowed: Collection[str]) -> None:
    """Put an answer of one who may not on record, once; it stands in no table."""
    told = plain({**_told(question, said), "allowed": sorted(allowed)}, "answer")
    mine = (events.c.subject == _subject(question), events.c.kind == "approval_disregarded")
    known = transaction.connection.scalars(select(events.c.payload).where(*mine))
    if canonical_json(told) not in set(known):
        transaction.append("approval_disregarded", _subject(question), told)


def _told(question: Approval, said: Mapping) -> dict:
    return {"id": question.id, "verdict_digest": question.verdict_digest, "run_id": question.run_id, **said}


def _subject(question: Approval) -> str:
    return f"models/{question.model}/versions/{question.version}"
