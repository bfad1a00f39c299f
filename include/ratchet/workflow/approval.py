"""Ask a named person about a challenger, and keep the answer."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ratchet.deployment import Deployment
from ratchet.errors import ApprovalError, LedgerError
from ratchet.ledger import BrokenGlass, Challenger, Verdict
from ratchet.ledger.challengers import PASSED
from ratchet.plain_text import one_line
from ratchet.windows import in_order

LEDGER_WAITS = (1, 2, 4, 8, 15, 30, 60, 60, 60, 60)  # seconds: five minutes, beside what each try takes
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Basis:
    """What a promotion would rest on: the newest verdict, or the glass that `glass_run` has broken."""

    challenger: Challenger
    verdict: Verdict | None
    glass: BrokenGlass | None

    @property
    def digest(self) -> str:
        return (self.glass or self.verdict).digest

    @property
    def champion_epoch(self) -> int:
        return (self.glass or self.verdict).champion_epoch

    @property
    def passed(self) -> bool:
        return self.glass is not None or self.verdict.verdict in PASSED

    @property
    def failed(self) -> list[str]:
        """The reasons of the gate's checks that failed."""
        return [check["reason"] for check in self.verdict.checks if not check["passed"]] if self.verdict else []


def basis_of(deployment: Deployment, model: str, version: int, glass_run: str | None = None) -> Basis:
    """Raises UnknownNameError for no such challenger, ApprovalError for one that was not judged, or without broken
    glass of the run named."""
    challenger, verdict = deployment.ledger.challenger(model, version), deployment.ledger.verdict(model, version)
    glass = glass_run and deployment.ledger.broken_glass_of_run(model, version, glass_run)
    if glass_run and glass is None:
        raise ApprovalError(
            f"run {glass_run} has not broken the glass for {model} version {version}",
            seen="no such demand on record",
            hint=f"start {model}.break_glass, and let its first task end",
        )
    if verdict is None and glass is None:
        raise ApprovalError(
            f"{model} version {version} has not been judged",
            seen="no verdict",
            expected=" or ".join(PASSED),
            hint=f"start {model}.promote",
        )
    return Basis(challenger, verdict, glass or None)


def break_glass(deployment: Deployment, model: str, version: int, *, actor: str, reason: str, run_id: str) -> dict:
    """Put on record that `actor` wants a version promoted whatever the gate says, once per `run_id`.

    Moves nothing. Returns {version, digest, reason, by, gate: what the gate had said}. Raises UnknownNameError,
    ConflictError (see Ledger.break_glass).
    """
    deployment.model(model)
    glass = deployment.ledger.break_glass(model, version, actor=actor, reason=reason, run_id=run_id)
    return {
        "version": version,
        "digest": glass.digest,
        "reason": glass.reason,
        "by": glass.actor,
        "gate": glass.gate_verdict or "not judged",
    }


def approval_question(deployment: Deployment, model: str, version: int, *, glass_run: str | None = None) -> dict:
    """What the approver needs to know, read from the ledger.

    {subject, body (Markdown), verdict, passed, verdict_digest, asked_by, why (reasons of the checks that failed)}.
    """
    basis, spec = basis_of(deployment, model, version, glass_run), deployment.model(model)
    requests = [r for r in deployment.ledger.requests(model) if r.batch_id == basis.challenger.batch_id]
    glass = basis.glass
    lines = [
        *_what_changes(deployment, basis),
        *(_alarm(glass) if glass else []),
        "",
        *_checks_table(basis.verdict),
        "",
        *_in_the_field(deployment, basis),
        *_origin(basis.challenger),
        *(f"- asked for by {plain(r.actor)} ({r.source}): {plain(r.reason)}" for r in requests),
        f"- may answer within {spec.approval.expires_after_hours:g} hours: {', '.join(spec.approval.approvers)}"
        + (", but none of those who asked" if spec.approval.four_eyes or glass else ""),
        f"- model digest `{basis.challenger.model_digest}`",
        f"- {'demand' if glass else 'verdict'} digest `{basis.digest}`",
        "- " + ", ".join(_links(deployment, basis)),
    ]
    return {
        "subject": f"{'BREAK GLASS: promote' if glass else 'Promote'} {model} version {version}?",
        "body": "\n".join(lines),
        "verdict": "BREAK GLASS" if glass else basis.verdict.verdict,
        "passed": basis.passed,
        "verdict_digest": basis.digest,
        "asked_by": sorted({*(r.actor for r in requests), *([glass.actor] if glass else [])}),
        "why": "; ".join(basis.failed),
    }


def ask_approval(
    deployment: Deployment,
    model: str,
    version: int,
    *,
    dag_id: str,
    run_id: str,
    task_id: str,
    try_number: int,
    started_by: str | None = None,
    glass_run: str | None = None,
) -> dict:
    """Record that the question stands, until when, and who asked for it; return the question (see approval_question).

    With four eyes, none of those who asked may answer: whoever requested the training, `started_by`, who started the
    promote run, and whoever broke the glass. Raises ApprovalError when the newest verdict doesn't pass, when a question
    about newer data is open, or on a second try of the same task: a cleared approval would show its first text, so each
    question is asked once.
    """
    question = approval_question(deployment, model, version, glass_run=glass_run)
    if not question["passed"]:
        raise ApprovalError(
            f"{model} version {version} is not to be promoted",
            seen=f"{question['verdict']}: {question['why']}",
            hint="nothing to approve; read the gate's checks",
        )
    if try_number > 1:
        raise ApprovalError(
            "an approval is asked once",
            seen=f"try {try_number}",
            hint="let dispatch start a fresh promote run instead of clearing",
        )
    hours = deployment.model(model).approval.expires_after_hours
    deployment.ledger.ask_approval(
        model,
        version,
        question["verdict_digest"],
        sorted({*question["asked_by"], *([started_by] if started_by else [])}),
        dag_id,
        run_id,
        task_id,
        try_number,
        datetime.now(UTC) + timedelta(hours=hours),
    )
    return question


def record_answer(
    deployment: Deployment, model: str, version: int, *, wait: Callable[[float], None] = time.sleep, **answer
) -> dict:
    """Keep a person's answer to the question that a task run asked, whatever has been asked since.

    It was given once and won't be given again, so a ledger that can't be reached is tried again after each of
    LEDGER_WAITS; with another process at its lock each try waits for that, too. `answer` as Ledger.record_answer takes
    it, and its errors; those who may answer are the spec's. Returns {answer, by}.
    """
    allowed = deployment.model(model).approval.approvers

    def record() -> dict:
        kept = deployment.ledger.record_answer(model, version, **answer, allowed_approvers=allowed)
        return {"answer": kept.answer, "by": kept.responded_by}

    for seconds in LEDGER_WAITS:
        try:
            return record()
        except LedgerError as error:
            log.warning("the answer is not on record yet, again in %s s: %s", seconds, error)
            wait(seconds)
    return record()


def _what_changes(deployment: Deployment, basis: Basis) -> list[str]:
    model, version = basis.challenger.model, basis.challenger.version
    champion = deployment.ledger.champion(model)
    if champion is None:
        return [f"**{model} version {version}** wants to become champion. There is no champion yet."]
    reigning = deployment.ledger.challenger(model, champion.version)
    changed = [
        f"{name} {plain(str(before))} to {plain(str(after))}"
        for name, before, after in (
            ("data as of", reigning.as_of, basis.challenger.as_of),
            *((name, reigning.manifest.get(name), basis.challenger.manifest.get(name)) for name in _COMPARED),
        )
        if before != after
    ]
    told = f"**{model} version {version}** wants to become champion, in place of version {champion.version}."
    return [told, "", f"What changes: {'; '.join(changed) or 'nothing but the fit'}."]


_COMPARED = ("candidate", "estimator", "params", "source_digest", "lock_digest", "seed")


def _alarm(glass: BrokenGlass) -> list[str]:
    return [
        "",
        f"**THE GLASS IS BROKEN: this goes round the gate.** The gate said: {glass.gate_verdict or 'nothing yet'}. "
        f"{plain(glass.actor)} demands it: {plain(glass.reason)}",
    ]


_FIRST = ("success", "better_than_champion", "plausible")  # after what failed


def _checks_table(verdict: Verdict | None) -> list[str]:
    if verdict is None:
        return ["The gate has not judged it."]
    checks = sorted(verdict.checks, key=lambda check: (check["passed"], check["name"] not in _FIRST))
    rows = [_check_row(check) for check in checks]
    return ["| check | result | seen | interval | asked | why |", "|---|---|---|---|---|---|", *rows]


def _in_the_field(deployment: Deployment, basis: Basis) -> list[str]:
    """What shadow scoring says by now. It is beside the gate's verdict: nothing is asked of it."""
    champion = deployment.ledger.champion(basis.challenger.model)
    who = basis.challenger.model, basis.challenger.version
    found = champion and deployment.ledger.newest_evidence(*who, champion.version)
    if not found:
        return []
    page = f" ([day by day]({found.report_url}))" if found.report_url else ""
    return [f"- in the field, unseen, beside version {champion.version}: {plain(found.result['says'])}{page}"]


def _origin(challenger: Challenger) -> list[str]:
    windows = " | ".join(f"{name} {' to '.join(days)}" for name, days in in_order(challenger.windows).items())
    return [f"- trained as of {challenger.as_of}, windows: {windows}", f"- snapshot `{challenger.snapshot}`"]


def _links(deployment: Deployment, basis: Basis) -> list[str]:
    challenger, registry = basis.challenger, deployment.registry
    card = deployment.ledger.card_url(challenger.model, challenger.version)
    links = {
        **({"the model card": card} if card else {}),
        "the model version": registry.version_url(challenger.model, challenger.version),
        "its run": registry.run_url(challenger.mlflow_run_id),
    }
    return [f"[{what}]({url})" for what, url in links.items()]


def _check_row(check: dict) -> str:
    result = "passed" if check["passed"] else f"**{check['if_failed']}**"
    interval = " to ".join(_number(end) for end in check["interval"]) if check["interval"] else ""
    cells = [check["name"], _number(check["value"]), interval, _number(check["threshold"]), check["reason"]]
    name, *others = (plain(str(cell)) for cell in cells)
    return "| " + " | ".join([name, result, *others]) + " |"


def _number(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def plain(text: str) -> str:
    """Text from outside, made safe inside a Markdown table: one line, no markup, no links, no new cells."""
    return "".join(f"\\{c}" if c in "\\`*_{}[]()<>#|!" else c for c in one_line(text))
