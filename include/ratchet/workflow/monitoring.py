"""What moved, whether it hurts, and how sure we are; and the retrain requests and alerts that may follow."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ratchet.days import check_day, shift_day
from ratchet.deployment import Deployment
from ratchet.digests import digest_of
from ratchet.errors import EmptyWindowError, ParameterError, SpecError
from ratchet.monitoring.alarms import has_calmed
from ratchet.monitoring.values import AREAS
from ratchet.specs import ModelSpec
from ratchet.workflow.check_basis import Basis, changed_days, check_key, read_basis, stands
from ratchet.workflow.check_frames import has_reference, read_frames, read_importance
from ratchet.workflow.health import data_findings
from ratchet.workflow.promotion import reconcile_alias
from ratchet.workflow.served_features import skew_findings
from ratchet.workflow.training import high_water_mark, request_retrain

if TYPE_CHECKING:
    from ratchet.ledger import Check
    from ratchet.monitoring.check import CheckResult

CHECKED = {*AREAS} - {"loop"}  # the loop is watched by the clock, not by a check: see ratchet.workflow.health
BLIND = "reference/gone"  # the alert that what a champion does can't be held against anything
BACK = "has its reference"  # how the reason ends where nobody but a check has settled it
HURTS = {
    "measured": "measured: the model is worse on outcomes that have arrived",
    "estimated": "estimated: most likely the model is worse, outcomes will tell",
    "broken": "the data are broken: what the model makes of them is not known",
    "none": "no harm is known",
}


def check_drift(deployment: Deployment, model: str, as_of: str | None = None) -> dict:
    """Look at the days that the champion scored last and at those whose outcomes came last, file a retrain request
    where the spec says so, and raise the alarms that follow.

    As of `as_of` (default: the newest data). What is looked at, and against what, says
    `ratchet.monitoring.check.check_drift`; which days, `ratchet.workflow.check_basis.read_basis`. Once per champion and
    inputs: a second call returns the first result. Once a day of it was restated, scored again or got its outcomes
    late, a call as of the same day makes the check again, and the new one `replaces` (a key, or None) the one before.
    Appends all findings to the table drift/<model>; the page goes to the registry. Where the rows that the champion was
    judged on were erased or are gone, an alert says so, and the check goes on with what needs none of them: its data,
    skew, and whether outcomes come and can be used; the rest is "not enough data". With them back it is made again.

    Returns {status, state, explanation, findings: {state: how many}, alarms, metric, performance, baseline, worse_by,
    ask_retrain, report, requests, alerts, replaces, window, as_of, version}; `requests`: see request_retrain;
    one that can't be filed is {request: None, status: "not filed", explanation}. The status is "not enough data" where
    neither movement nor performance could be told; `explanation` says why. Raises ParameterError for an as-of day that
    the data has not reached, EmptyWindowError for one without data.
    """
    spec, ledger = deployment.model(model), deployment.ledger
    read_at = deployment.lake.state(f"drift/{model}")
    reconcile_alias(deployment, model)
    champion = ledger.champion(model)
    if champion is None:
        return {"status": "no champion", "explanation": f"{model} has no champion yet: nothing to watch"}
    as_of = _checked_as_of(deployment, spec, as_of)
    basis = read_basis(deployment, spec, champion.version, as_of)
    if newest := ledger.newest_check(model, champion.version):
        _follow_up(deployment, spec, newest)  # made up for, if it was killed before that
    if not basis.scored:
        told = f"no day to {as_of} was scored by version {champion.version}"
        return {"status": "not enough data", "explanation": told}
    blind = _tell_blind(deployment, model, champion.version)
    known = ledger.newest_check(model, champion.version, as_of)
    if known and stands(spec, known, basis, bool(blind)):
        return _follow_up(deployment, spec, known) | {"status": "unchanged"}
    check = _make_check(deployment, spec, champion.version, as_of, basis, known, read_at, blind)
    return _follow_up(deployment, spec, check)


def _tell_blind(deployment: Deployment, model: str, version: int) -> str:
    """Why there is nothing to hold the version against, which raises an alert, once; "" where there is, which settles
    it. What a person has settled of a version is not raised again."""
    ledger = deployment.ledger
    if has_reference(deployment, model, version):
        ledger.settle_alert(model, BLIND, f"version {version} {BACK}")
        return ""
    told = f"the rows that version {version} was judged on were erased or are gone: nothing to compare with"
    hurts = "until there is another champion only its data are watched, and whether outcomes come"
    known = ledger.newest_alert(model, BLIND)
    if known is None or known.facts["version"] != version or (known.why or "").endswith(BACK):
        ledger.raise_alert(model, BLIND, "warn", told, {"version": version, "hurts": hurts}, runbook="data")
    return f"{told} until there is another champion"


def _make_check(
    deployment: Deployment,
    spec: ModelSpec,
    version: int,
    as_of: str,
    basis: Basis,
    known: Check | None,
    read_at: int,
    blind: str,
) -> Check:
    """Measure, and keep what was found: the page in the registry, the table's rows, and last the ledger's record.
    `known`: the check that this one takes the place of. `blind`: why there is no reference, or ""."""
    from ratchet.monitoring import check
    from ratchet.monitoring.report import write_page

    replaces, window = known and known.key, [min(basis.days), max(basis.days)]
    key = check_key(spec, version, as_of, basis, replaces, bool(blind))
    reference, current, outcomes = read_frames(deployment, spec, version, basis, as_of, bool(blind))
    challenger = deployment.ledger.challenger(spec.name, version)
    found = check.check_drift(
        spec,
        reference,
        current,
        outcomes,
        extra=[
            *data_findings(deployment, spec, basis.newest[-1], reference, current, as_of),
            *skew_findings(deployment, spec, version, {day: basis.scored[day] for day in basis.newest}, as_of),
        ],
        earlier=[one.result["findings"] for one in _checks_before(deployment, spec, version, as_of)],
        importance=read_importance(deployment, challenger),
        threshold=challenger.metrics.get("threshold"),
        waiting=basis.waiting,
    )
    found = replace(found, explanation="; ".join(filter(None, [blind, found.explanation])))
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "drift.html"
        write_page(page, spec, found, reference, current, [*filter(None, [blind]), *_told_again(known, basis)])
        report = deployment.registry.log_report(
            f"{spec.name}.drift", key, {"drift.html": page}, metrics=found.numbers()
        )
    about = {"window": window, "as_of": as_of, "version": version, "replaces": replaces, "days": basis.days}
    _append_history(deployment, spec.name, about | {"key": key}, found, read_at)
    return deployment.ledger.record_check(spec.name, as_of, version, key, about | _kept(found), report)


def _kept(found: CheckResult) -> dict:
    """For the ledger: what is usual of the many figures of data stands in the history alone. `counts`: of all, by
    state."""
    told, states = found.as_dict(), [one.state for one in found.findings]
    kept = [one for one in told["findings"] if (one["area"], one["state"]) != ("data", "usual")]
    return told | {"findings": kept, "counts": {state: states.count(state) for state in sorted(set(states))}}


def _follow_up(deployment: Deployment, spec: ModelSpec, check: Check) -> dict:
    """What follows from a check on record: requests, then alerts, which tell of them. Returns the step's answer.

    Only of the newest check: what an older day looked like, asked for once more, is no news. Done twice it changes
    nothing."""
    newest = deployment.ledger.newest_check(spec.name, check.version)
    is_news = newest is not None and newest.key == check.key
    requests = _ask_retrain(deployment, check) if is_news else []
    alerts = _tell(deployment, spec, check, requests) if is_news else []
    told = {name: value for name, value in check.result.items() if name not in ("findings", "counts", "days", "asks")}
    status = "checked" if _has_looked(check) else "not enough data"
    return told | {
        "status": status,
        "findings": check.result["counts"],
        "report": check.report_url,
        "requests": requests,
        "alerts": alerts,
    }


def _has_looked(check: Check) -> bool:
    """Whether anything could be told of movement or of performance."""
    told = (one["state"] for one in check.result["findings"] if one["area"] in ("inputs", "performance"))
    return any(state != "not enough data" for state in told)


def _tell(deployment: Deployment, spec: ModelSpec, check: Check, requests: list[dict]) -> list[str]:
    """Raise an alert for each alarm, and settle those of monitoring that have calmed. Returns the alerts' ids."""
    ledger, model = deployment.ledger, spec.name
    before = _checks_before(deployment, spec, check.version, check.as_of)
    history = [one.result["findings"] for one in [*before, check]]
    raised = [_raise(deployment, check, alarm, requests) for alarm in check.result["alarms"]]
    loud = {alarm["key"] for alarm in check.result["alarms"]}
    for alert in ledger.open_alerts(model):
        area = alert.key.split("/")[0]
        if area in CHECKED and alert.key not in loud and has_calmed(spec.watch.persistence, alert.key, history):
            ledger.settle_alert(model, alert.key, f"usual again in the last {spec.watch.persistence.of} checks")
    return raised


def _raise(deployment: Deployment, check: Check, alarm: dict, requests: list[dict]) -> str:
    """Once for a check: what a person has settled since stays settled until another check finds it."""
    known = deployment.ledger.newest_alert(check.model, alarm["key"])
    if known and known.facts.get("check") == check.key:
        return known.id
    (of,) = (one for one in check.result["findings"] if f"{one['area']}/{one['name']}" == alarm["key"])
    asked = [_told_of(one) for one in requests]
    facts = {
        "hurts": HURTS[of["harm"]],
        "done": "; ".join(asked) or "nothing: no retrain is asked for by this check",
        "as_of": check.as_of,
        "version": check.version,
        "state": of["state"],
        "value": of["value"],
        "interval": [of["low"], of["high"]],
        "reference": of["reference"],
        "unit": of["unit"],
        "report": check.report_url,
        "check": check.key,
    }
    facts = {name: value for name, value in facts.items() if value not in (None, "", [None, None])}
    key, level = alarm["key"], alarm["level"]
    return deployment.ledger.raise_alert(check.model, key, level, alarm["says"], facts, runbook=of["area"]).id


def _checks_before(deployment: Deployment, spec: ModelSpec, version: int, as_of: str) -> list[Check]:
    """The version's standing checks of the days before, as many as persistence asks for, oldest first."""
    found, count = [], spec.watch.persistence.of - 1
    while len(found) < count and (one := deployment.ledger.newest_check(spec.name, version, before=as_of)):
        found, as_of = [one, *found] if "findings" in one.result else found, one.as_of
    return found


def _told_again(known: Check | None, basis: Basis) -> list[str]:
    if known is None:
        return []
    days = ", ".join(changed_days(known, basis)) or "none: other settings, or another reference"
    return [f"made again in place of check {known.key[:12]}; days that hold something else now: {days}"]


def _checked_as_of(deployment: Deployment, spec: ModelSpec, as_of: str | None) -> str:
    """The day asked for, or the newest: that of the outcomes (see `high_water_mark`) or, where these have stopped
    coming, of what was scored."""
    scored = deployment.ledger.scored_days(spec.name)
    newest = max(high_water_mark(deployment, spec), max(scored, default=""))
    if as_of is None:
        return newest
    if check_day(as_of, "as_of") > newest:
        raise ParameterError(
            f"{spec.name} can't be checked as of a day that its data has not reached",
            seen=f"as_of={as_of}",
            expected=f"{newest} at the latest",
            hint="leave as_of empty for the newest data",
        )
    first = shift_day(as_of, -spec.label_delay_days - spec.watch.window_days)
    if not deployment.ledger.partitions(spec.scored_dataset, first, as_of):
        raise EmptyWindowError(
            f"{spec.name} has no data to check as of {as_of}",
            seen=f"no partition of {spec.scored_dataset} from {first} to {as_of}",
            hint=f"ingest {spec.scored_dataset}, or take a later as_of",
        )
    return as_of


def _ask_retrain(deployment: Deployment, check: Check) -> list[dict]:
    """File a retrain request for each reason, once for a version and day: a check made again asks no second time.
    One that can't be filed (windows that don't fit the data yet, a feature package that is gone) stops no alert."""
    return [_ask_for(deployment, check, source, reason) for source, reason in check.result["asks"].items()]


def _ask_for(deployment: Deployment, check: Check, source: str, reason: str) -> dict:
    try:
        newest = high_water_mark(deployment, deployment.model(check.model))  # outcomes may lag behind what was scored
        return request_retrain(
            deployment,
            check.model,
            reason=reason,
            source=source,
            actor="check_drift",
            as_of=min(check.as_of, newest),
            idempotency_key=digest_of(["check", check.version, check.as_of, source]),
        )
    except (EmptyWindowError, ParameterError, SpecError) as error:
        return {"request": None, "status": "not filed", "explanation": f"{error.what}; {error.hint}"}


def _told_of(one: dict) -> str:
    if one["request"] is None:
        return f"no retrain request could be filed: {one['explanation']}"
    return f"retrain request {one['request']}: {one['status']}"


def _append_history(deployment: Deployment, model: str, about: dict, found: CheckResult, read_at: int) -> None:
    """Add the check to its history (see ratchet.monitoring.history). Partition: the as-of day. The same check again
    leaves the same rows (when it was made is for the ledger to say), and the rows of one that was killed before it was
    recorded go."""
    import pandas as pd

    from ratchet.monitoring.history import rows_of, table_of

    table, as_of, version, key = table_of(model), about["as_of"], about["version"], about["key"]
    check, there = rows_of(found.findings, about), deployment.lake.read(table, as_of, as_of)
    if len(there):
        recorded = [one.key for one in deployment.ledger.checks(model, as_of, as_of)]
        others = there[(there["model_version"] != version) | there["key"].isin(set(recorded) - {key})]
        check = pd.concat([others.drop(columns="day"), check], ignore_index=True)
    deployment.lake.publish(table, as_of, check, read_at=read_at)
