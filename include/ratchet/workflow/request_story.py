"""What became of a retrain request: from the broker's answer to whether its version is champion. Reads only."""

from __future__ import annotations

from dataclasses import asdict

from ratchet.errors import ParameterError, UnknownNameError
from ratchet.ledger import Approval, Batch, Challenger, Champion, Ledger, Request, Verdict
from ratchet.ledger.challengers import PASSED


def key_of(model: str, *, key: str | None = None, run: str | None = None) -> str:
    """What a request is on record under that came with a caller's `key`, or else by a `run` of the retrain DAG: no
    caller can take a key under which the loop, or a run without one, files its own."""
    return f"key/{key}" if key else f"{model}.retrain/{run}"


def tell_request(
    ledger: Ledger, model: str, id: str | None = None, *, key: str | None = None, run: str | None = None
) -> dict:
    """What became of the model's request of that id, of the one that came with that key, or of the one filed without a
    key by that run of the retrain DAG.

    Returns {told: a sentence, request, batch, run: {dag_id, run_id}, challenger, verdict, approval (the newest, be it
    about broken glass): each a dict, or None where there is none yet; champion: whether its version is champion now}.
    Instants are datetimes. Raises UnknownNameError; ParameterError unless just one of `id`, `key` and `run` is given.
    """
    if sum(bool(one) for one in (id, key, run)) != 1:
        raise ParameterError("a request is known by its id, its key or its run", hint="pass one of them")
    request = ledger.request(id) if id else ledger.request_of_key(model, key_of(model, key=key, run=run))
    if request.model != model:
        raise UnknownNameError(f"no retrain request {id!r} of {model}", hint="ask under the model's own name")
    batch = ledger.batch(request.batch_id) if request.batch_id else None
    version = batch.challenger_version if batch else None
    challenger = ledger.challenger(model, version) if version else None
    verdict = ledger.verdict(model, version) if version else None
    of_verdict = ledger.approval(model, version, verdict.digest) if verdict else None
    approval = ledger.newest_approval(model, version) if version else None
    glass = approval and ledger.broken_glass(model, version, approval.verdict_digest)
    champion = ledger.champion(model)
    told = _told(request, batch, challenger, verdict, of_verdict, champion)
    return {
        "told": f"{told}; {_of_glass(approval)}" if glass else told,
        "request": asdict(request),
        "batch": batch and asdict(batch),
        "run": {"dag_id": f"{model}.train_evaluate", "run_id": batch.run_id} if batch and batch.run_id else None,
        "challenger": challenger and _short(challenger, "version", "as_of", "status", "metrics", "registered_at"),
        "verdict": verdict and {**_short(verdict, "verdict", "window", "recorded_at"), "failed": _failed(verdict)},
        "approval": approval and asdict(approval),
        "champion": bool(champion and champion.version == version),
    }


def _short(value: object, *fields: str) -> dict:
    return {name: getattr(value, name) for name in fields}


def _failed(verdict: Verdict) -> list[str]:
    return [check["name"] for check in verdict.checks if not check["passed"]]


def _told(
    request: Request,
    batch: Batch | None,
    challenger: Challenger | None,
    verdict: Verdict | None,
    approval: Approval | None,
    champion: Champion | None,
) -> str:
    if batch is None:
        return f"suppressed: {request.explanation}"
    said = _of_batch(batch) if challenger is None else _of_version(challenger, verdict, approval, champion)
    return f"{request.status}, batch {batch.id}: {said}"


def _of_batch(batch: Batch) -> str:
    if batch.status == "open":
        return f"its training as of {batch.as_of} is about to start, unless dispatch is paused"
    if batch.status == "started":
        return f"its training as of {batch.as_of} runs, in attempt {batch.attempts}"
    return f"its training as of {batch.as_of} {batch.status}; mend the cause and ask again"


def _of_version(
    challenger: Challenger, verdict: Verdict | None, approval: Approval | None, champion: Champion | None
) -> str:
    version, failed = f"version {challenger.version}", ", ".join(_failed(verdict)) if verdict else ""
    if challenger.status == "promoted":
        if champion.version == challenger.version:
            return f"{version} is champion since {champion.moved_at:%Y-%m-%d %H:%M} UTC"
        return f"{version} was champion; now it is version {champion.version}"
    if challenger.status == "rejected":
        return f"the gate rejected {version}: {failed}" if failed else f"{version} failed its smoke test"
    if challenger.status in ("refused", "awaiting_approval"):
        return f"{version} passed the gate{_of_answer(challenger.status, approval)}"
    if challenger.status == "registered":
        passed = verdict and verdict.verdict in PASSED
        return f"{version} passed the gate; an approver will be asked" if passed else f"{version} is about to be judged"
    told = _OTHERWISE.get(challenger.status, f"is {challenger.status}")
    return f"{version} {told.format(failed=failed)}"


def _of_answer(status: str, approval: Approval | None) -> str:
    """`approval`: about the newest verdict. What was refused may have been an older one."""
    if status == "refused":
        return f", and {approval.responded_by if approval and approval.answer == 'Reject' else 'a person'} refused it"
    if approval is None:
        return "; an approver will be asked"
    if approval.answer == "Approve":
        said = f"{approval.responded_by} approved it at {approval.responded_at:%Y-%m-%d %H:%M} UTC"
        return f", and {said}; it is promoted next, unless its promote run has failed"
    return f"; an approver has until {approval.expires_at:%Y-%m-%d %H:%M} UTC to answer"


def _of_glass(approval: Approval) -> str:
    if approval.answer:
        return f"of its broken glass {approval.responded_by} said {approval.answer}"
    return f"its glass was broken: an approver has until {approval.expires_at:%Y-%m-%d %H:%M} UTC to answer"


_OTHERWISE = {
    "held": "is held by the gate until more days have outcomes: {failed}",
    "expired": "passed the gate, and nobody answered in time",
    "superseded": "was superseded by one of newer data",
}
