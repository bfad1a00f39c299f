"""What was asked of people about a challenger, and what they answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import Connection, update

from ratchet.errors import ApprovalError, ConflictError, ParameterError
from ratchet.ledger.broken_glass import glass_of
from ratchet.ledger.chain import Chain, Transaction
from ratchet.ledger.challengers import PASSED, challenger_of, epoch_of, set_status, verdict_of
from ratchet.ledger.plain import check_words, instant, plain
from ratchet.ledger.rows import next_id, read_all, read_one
from ratchet.ledger.tables import approvals
from ratchet.ledger.values import Approval, BrokenGlass, Challenger

ANSWERS = ("Approve", "Reject")


class Approvals:
    """Questions and answers. A question is about one verdict, known by its digest, and is asked once by a task run."""

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
        open: one about older data is superseded. A question about broken glass stands beside it, and leaves statuses
        alone. Raises ApprovalError when `asked_by` names nobody, when the newest
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
            others = _open_questions(connection, model, version, transaction.now)
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
    ) -> Approval:
        """Keep a person's answer to the question that this task run asked; the same again changes nothing.

        It counts for the verdict that was asked about, also when there is a newer one by now. Moves the challenger to
        "refused" on Reject, to "expired" on an Approve of the newest verdict that came too late; an answer about broken
        glass leaves the status alone. Whether the person was
        allowed to answer is for `promote` to say. Raises ApprovalError when nobody in particular answered, or this task
        run asked nothing about that version; ConflictError when another answer is on record.
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
            kept = _answer(transaction, question, "approval_answered", said)
            if glass_of(transaction.connection, model, version, kept.verdict_digest):
                return kept
            if answer == "Reject":
                set_status(transaction, challenger, "refused")
            elif kept.responded_at >= kept.expires_at and _is_newest_basis(transaction.connection, kept):
                set_status(transaction, challenger, "expired")
            return kept

    def approval(self, model: str, version: int, verdict_digest: str) -> Approval | None:
        """The question about that verdict: the newest that was answered, else the newest; None when never asked."""
        with self._chain.read() as connection:
            return deciding(approvals_of(connection, model, version, verdict_digest))

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


def approvals_of(connection: Connection, model: str, version: int, verdict_digest: str) -> list[Approval]:
    """Every question about that verdict, oldest first."""
    mine = (
        approvals.c.model == model,
        approvals.c.version == version,
        approvals.c.verdict_digest == verdict_digest,
    )
    return read_all(connection, Approval, approvals, *mine, order=(approvals.c.id,))


def deciding(asks: list[Approval]) -> Approval | None:
    """Of the questions about one verdict, the one that counts: the newest answered one, else the newest."""
    answered = [ask for ask in asks if ask.answer is not None]
    return (answered or asks or [None])[-1]


def _open_questions(connection: Connection, model: str, but: int, now: datetime) -> list[Approval]:
    """The questions about other versions of the model that somebody may still answer."""
    mine = (approvals.c.model == model, approvals.c.version != but)
    still = (approvals.c.answer.is_(None), approvals.c.superseded_by.is_(None), approvals.c.expires_at > now)
    return read_all(connection, Approval, approvals, *mine, *still, order=(approvals.c.id,))


def _is_newer(connection: Connection, question: Approval, than: Challenger) -> bool:
    """Whether a question is about a challenger of newer data, or of the same and registered later."""
    other = challenger_of(connection, question.model, question.version)
    return (other.as_of, other.version) > (than.as_of, than.version)


def _supersede(transaction: Transaction, question: Approval, by: int) -> None:
    subject = f"models/{question.model}/versions/{question.version}"
    told = {"id": question.id, "superseded_by": by}
    transaction.append("approval_superseded", subject, told)
    mine = approvals.c.id == question.id
    transaction.connection.execute(update(approvals).where(mine).values(superseded_by=by))
    challenger = challenger_of(transaction.connection, question.model, question.version)
    if challenger.status == "awaiting_approval":  # what was rejected meanwhile stays so
        set_status(transaction, challenger, "superseded")


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


def _answer(transaction: Transaction, question: Approval, kind: str, said: Mapping) -> Approval:
    said = plain(said, "answer")
    subject = f"models/{question.model}/versions/{question.version}"
    told = {"id": question.id, "verdict_digest": question.verdict_digest, "run_id": question.run_id, **said}
    transaction.append(kind, subject, told)
    mine = approvals.c.id == question.id
    transaction.connection.execute(update(approvals).where(mine).values(**said))
    return read_one(transaction.connection, Approval, approvals, mine)
