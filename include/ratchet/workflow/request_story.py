"""What became of a retrain request: from the broker's answer to whether its version is champion. Reads only."""

from __future__ import annotations

from dataclasses import asdict

from ratchet.errors import ParameterError, UnknownNameError
from ratchet.ledger import Approval, Batch, Challenger, Champion, Ledger, Request, Verdict
from ratchet.ledger.challengers import PASSED


def tell_request(ledger: Ledger, model: str, id: str | None = None, key: str | None = None) -> dict:
    """What became of the model's request of that id, or of the one filed under that idempotency key.

    Returns {told: a sentence, request, batch, run: {dag_id, run_id}, challenger, verdict, approval: each a dict, or
    None where there is none yet; champion: whether its version is champion now}. Instants are datetimes. Raises
    UnknownNameError; ParameterError for neither or both of `id` and `key`.
    """
    if (id is None) == (key is None):
        raise ParameterError("a request is known by its id or its key", hint="pass one of them")
    request = ledger.request(id) if key is None else ledger.request_of_key(model, key)
    if request.model != model:
        raise UnknownNameError(f"no retrain request {id!r} of {model}", hint="ask under the model's own name")
    batch = ledger.batch(request.batch_id) if request.batch_id else None
    version = batch.challenger_version if batch else None
    challenger = ledger.challenger(model, version) if version else None
    verdict = ledger.verdict(model, version) if version else None
    approval = ledger.approval(model, version, verdict.digest) if verdict else None
    champion = ledger.champion(model)
    return {
        "told": _told(request, batch, challenger, verdict, approval, champion),
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
    if challenger.status == "refused":
        return f"{version} passed the gate, and {approval.responded_by if approval else 'a person'} refused it"
    if challenger.status == "registered":
        passed = verdict and verdict.verdict in PASSED
        return f"{version} passed the gate; an approver will be asked" if passed else f"{version} is about to be judged"
    told = _OTHERWISE.get(challenger.status, f"is {challenger.status}")
    return f"{version} {told.format(failed=failed, approval=approval)}"


_OTHERWISE = {
    "held": "is held by the gate until more days have outcomes: {failed}",
    "awaiting_approval": "passed the gate; an approver has until {approval.expires_at:%Y-%m-%d %H:%M} UTC to answer",
    "expired": "passed the gate, and nobody answered in time",
    "superseded": "was superseded by one of newer data",
}
