"""Judge, ask, promote, roll back: the only steps that lead to the champion pointer. All fail closed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from ratchet.deployment import Deployment
from ratchet.errors import ApprovalError, ParameterError


def judge_challenger(deployment: Deployment, model: str, version: int) -> dict:
    """Put the challenger through the gate on its judge window and record the verdict in the ledger.

    Both models score the same rows of the challenger's snapshot; both are loaded through the one safe loader.
    Returns {verdict, checks, digest}: PROMOTE, HOLD or REJECT, each check with value, threshold and reason.
    """
    from ratchet import gate

    spec, ledger = deployment.model(model), deployment.ledger
    reconcile_alias(deployment, model)
    challenger = ledger.challenger(model, version)
    champion = ledger.champion(model)
    judged = judge_frame(deployment, model, version, against=champion.version if champion else None)
    facts = None
    if champion:
        reigning = ledger.challenger(model, champion.version)
        facts = _facts(reigning)
    verdict = gate.judge(
        spec,
        _facts(challenger),
        facts,
        judged,
    )
    recorded = ledger.record_verdict(
        model,
        version,
        champion.epoch if champion else 0,
        champion.version if champion else None,
        verdict.verdict,
        verdict.checks,
        verdict.digest,
    )
    return {"verdict": recorded.verdict, "checks": recorded.checks, "digest": recorded.digest, "version": version}


def judge_frame(deployment: Deployment, model: str, version: int, *, against: int | None):
    """The labelled rows of a version's judge window, scored by it and by version `against`.

    Columns: day, label (0/1), challenger_score and, with `against`, champion_score (probabilities).
    """
    from ratchet.score import score_frame
    from ratchet.snapshot import load_snapshot

    spec = deployment.model(model)
    snapshot = load_snapshot(deployment.lake.storage, model, deployment.ledger.challenger(model, version).snapshot)
    rows = snapshot.frame[snapshot.frame["window"] == "judge"].reset_index(drop=True)
    scores = {"challenger_score": score_frame(load_version(deployment, model, version), rows, spec)}
    if against is not None:
        scores["champion_score"] = score_frame(load_version(deployment, model, against), rows, spec)
    return rows[["day", "label"]].assign(**scores)


def approval_question(deployment: Deployment, model: str, version: int) -> dict:
    """What the approver needs to know, read from the ledger.

    {subject, body (Markdown), verdict, verdict_digest, asked_by, why (reasons of the checks that failed)}.
    """
    ledger, registry = deployment.ledger, deployment.registry
    challenger, verdict = ledger.challenger(model, version), _verdict(deployment, model, version)
    champion = ledger.champion(model)
    requests = [r for r in ledger.requests(model) if r.batch_id == challenger.batch_id]
    hours = deployment.model(model).approval.expires_after_hours
    lines = [
        f"**{model} version {version}** wants to become champion"
        + (f", in place of version {champion.version}." if champion else ". There is no champion yet."),
        "",
        "| check | result | why |",
        "|---|---|---|",
        *(_check_row(check) for check in reversed(verdict.checks)),  # what decides comes last in the gate
        "",
        f"- trained as of {challenger.as_of}, windows: "
        + " | ".join(f"{name} {' to '.join(challenger.windows[name])}" for name in ("train", "validate", "judge")),
        *(f"- asked for by {_plain(r.actor)} ({r.source}): {_plain(r.reason)}" for r in requests),
        f"- may answer within {hours:g} hours: {', '.join(deployment.model(model).approval.approvers)}"
        + (", but none of those who asked" if deployment.model(model).approval.four_eyes else ""),
        f"- model digest `{challenger.model_digest}`",
        f"- verdict digest `{verdict.digest}`",
        f"- [the model version]({registry.version_url(model, version)}), "
        f"[its run]({registry.run_url(challenger.mlflow_run_id)})",
    ]
    return {
        "subject": f"Promote {model} version {version}?",
        "body": "\n".join(lines),
        "verdict": verdict.verdict,
        "verdict_digest": verdict.digest,
        "asked_by": sorted({r.actor for r in requests}),
        "why": "; ".join(c["reason"] for c in verdict.checks if not c["passed"]),
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
) -> dict:
    """Record that the question stands, until when, and who asked for it; return the question (see approval_question).

    With four eyes, none of those who asked may answer: whoever requested the training, and `started_by`, who started
    the promote run. Raises ApprovalError when the newest verdict isn't PROMOTE, or on a second try of the same task: a
    cleared approval would show its first text, so each question is asked once.
    """
    question = approval_question(deployment, model, version)
    if question["verdict"] != "PROMOTE":
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


def record_answer(deployment: Deployment, model: str, version: int, **answer) -> dict:
    """Keep a person's answer to the question that a task run asked, whatever has been asked since.

    `answer` as Ledger.record_answer takes it, and its errors. Returns {answer, by}.
    """
    kept = deployment.ledger.record_answer(model, version, **answer)
    return {"answer": kept.answer, "by": kept.responded_by}


def promote_challenger(deployment: Deployment, model: str, version: int) -> dict:
    """Move the champion pointer to `version` if the ledger holds everything it takes, then MLflow's alias.

    Raises ApprovalError without a PROMOTE verdict and a matching, timely answer of an allowed person, ConflictError
    when the champion has moved since the verdict. Doing it again changes nothing.
    """
    spec, ledger = deployment.model(model), deployment.ledger
    verdict = _verdict(deployment, model, version)
    champion = ledger.promote(
        model,
        version,
        expected_epoch=verdict.champion_epoch,
        allowed_approvers=spec.approval.approvers,
        four_eyes=spec.approval.four_eyes,
        now=datetime.now(UTC),
    )
    reconcile_alias(deployment, model)
    return {
        "champion": champion.version,
        "epoch": champion.epoch,
        "url": deployment.registry.version_url(model, version),
    }


def rollback_champion(
    deployment: Deployment, model: str, *, to_version: int | None, actor: str, reason: str, run_id: str
) -> dict:
    """Move the champion pointer back to a version that once was champion (the one before, by default).

    Once per `run_id`: a retry of the same run finds its own move and makes no other. Raises UnknownNameError,
    ApprovalError for a version that never was champion, ConflictError when the champion moves meanwhile.
    """
    if not reason.strip():
        raise ParameterError(f"a rollback of {model} without a reason", hint="say why, for the record")
    ledger, reason = deployment.ledger, f"{reason} (run {run_id})"
    deployment.model(model)
    history = ledger.champion_history(model)
    done = next((move for move in history if (move.how, move.reason) == ("rollback", reason)), None)
    was = history[-1] if history else None
    moved = done or ledger.rollback(
        model, to_version=to_version, actor=actor, reason=reason, expected_epoch=was.epoch if was else 0
    )
    reconcile_alias(deployment, model)
    return {"champion": moved.version, "epoch": moved.epoch}


def reconcile_alias(deployment: Deployment, model: str) -> None:
    """Make MLflow's `champion` alias say what the ledger says: the alias is a projection, never an authority.

    The ledger is read again after a change, until both agree: a promotion may have come between.
    """
    ledger, registry = deployment.ledger, deployment.registry
    while True:
        champion = ledger.champion(model)
        alias = registry.alias_version(model, "champion")
        if alias == (champion.version if champion else None):
            return
        if champion:
            registry.set_alias(model, "champion", champion.version)
        else:
            registry.delete_alias(model, "champion")


def load_version(deployment: Deployment, model: str, version: int):
    """The estimator of a registered version, by the one safe loader and the digest that the ledger holds."""
    from ratchet.model_files import load_model

    challenger = deployment.ledger.challenger(model, version)
    folder = deployment.registry.download(model, version, deployment.settings.var / "cache" / "models")
    return load_model(folder, challenger.model_digest)


def _facts(of) -> dict:
    """What the gate knows of a version; the verdict's digest covers it, and so the very files that are approved."""
    return {"version": of.version, "as_of": of.as_of, "windows": of.windows, "model_digest": of.model_digest}


def _verdict(deployment: Deployment, model: str, version: int):
    """The newest verdict on a challenger. Raises UnknownNameError for no such challenger, ApprovalError without one."""
    deployment.ledger.challenger(model, version)
    verdict = deployment.ledger.verdict(model, version)
    if verdict is None:
        raise ApprovalError(
            f"{model} version {version} has not been judged",
            seen="no verdict",
            expected="PROMOTE",
            hint=f"start {model}.promote",
        )
    return verdict


def _check_row(check: dict) -> str:
    return f"| {check['name']} | {'passed' if check['passed'] else '**failed**'} | {_plain(check['reason'])} |"


def _plain(text: str) -> str:
    """Text from outside, made safe inside a Markdown table: no markup, no links, no new cells."""
    return "".join(f"\\{c}" if c in "\\`*_{}[]()<>#|!" else c for c in text.replace("\n", " "))
