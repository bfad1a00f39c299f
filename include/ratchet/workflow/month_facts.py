"""What is on record of a model's month: the facts of its page (see ratchet.monthly_page). Reads only."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import groupby

from ratchet.days import days_between, shift_day
from ratchet.deployment import Deployment
from ratchet.ledger import Champion, Check, Verdict
from ratchet.monitoring.values import LEVEL_OF, LEVELS
from ratchet.specs import ModelSpec
from ratchet.windows import known_before
from ratchet.workflow.health import loop_findings
from ratchet.workflow.month_performance import measure_days, scored_rows, value_of_day, weeks_of
from ratchet.workflow.record import approval_of, promotion_of

TREND_DAYS = 120  # up to the month's end
OF_OUTCOMES = ("labels", "performance", "concept", "calibration", "estimate", "value")  # areas: windows of outcome_days
_LONG = 160  # characters of a reason in a table


class _Month:
    """The month's ends, and what belongs to it."""

    def __init__(self, first: str, last: str) -> None:
        self.first, self.last = first, last

    def has(self, *days: str | datetime | None) -> bool:
        return any(self.first <= str(day)[:10] <= self.last for day in days if day)


def month_facts(deployment: Deployment, spec: ModelSpec, month: str, first: str, last: str) -> dict:
    """The facts of `ratchet.monthly_page.monthly_page`, of the event days `first` to `last`; goes through JSON."""
    ledger, of = deployment.ledger, _Month(first, last)
    checks = _standing(deployment, spec, of)
    rows, unusable = scored_rows(deployment, spec, first, last)
    weeks = [measure_days(spec, rows, *week) for week in weeks_of(first, last)] if len(rows) else []
    facts = {
        "model": spec.name,
        "description": spec.description,
        "owner": spec.owner,
        "month": month,
        "first": first,
        "last": last,
        "metric": spec.problem.success.metric,
        "higher_is_better": spec.problem.success.higher_is_better,
        "baseline": ((checks[-1].result.get("baseline") or {}).get("value") if checks else None),
        "days_scored": len([day for day in ledger.scored_days(spec.name) if of.has(day)]),
        "champions": _champions(deployment, spec, of),
        "moves": [
            _move(deployment, one) for one in ledger.champion_history(spec.name) if of.has(one.as_of, one.moved_at)
        ],
        "weeks": weeks,
        "days": [{"day": day, "value": value_of_day(spec, rows, day)} for day in days_between(first, last)],
        "value": _business_value(checks),
        "moved": _moved(deployment, spec, of, checks),
        "alarms": _alarms(deployment, spec, of),
        "requests": _requests(deployment, spec, of),
        "trainings": _trainings(deployment, spec, of),
        "data": [_data(deployment, name, of) for name in sorted({*spec.inputs, spec.outcome_dataset})],
        "loop": [*_loop_of_month(deployment, spec, of), *_loop(deployment, spec)],
        "waiting": _waiting(deployment, spec),
    }
    return facts | {"summary": _summary(facts, len(checks), unusable)}


def _standing(deployment: Deployment, spec: ModelSpec, of: _Month) -> list[Check]:
    """The checks as of the month's days that no other replaces, in order."""
    made = deployment.ledger.checks(spec.name, of.first, of.last)
    replaced = {one.result.get("replaces") for one in made}
    return [one for one in made if one.key not in replaced]


def _champions(deployment: Deployment, spec: ModelSpec, of: _Month) -> list[dict]:
    scored = [one for day, one in deployment.ledger.scored_days(spec.name).items() if of.has(day)]
    trained = {one.version: one.as_of for one in deployment.ledger.challengers(spec.name)}
    spans = [(version, list(those)) for version, those in groupby(scored, key=lambda one: one.version)]
    return [
        {
            "version": f"version {version}",
            "first_day": days[0].day,
            "last_day": days[-1].day,
            "days": len(days),
            "trained_as_of": trained.get(version),
        }
        for version, days in spans
    ]


def _move(deployment: Deployment, move: Champion) -> dict:
    told = {"at": _at(move.moved_at), "to_version": move.version, "how": move.how.replace("_", " "), "by": move.actor}
    if move.how == "rollback":
        return told | {"why": _short(move.reason)}
    promoted = promotion_of(deployment, move.model, move.version, move.epoch)
    said = {one.digest: one for one in deployment.ledger.verdicts(move.model, move.version)}.get(move.verdict_digest)
    why = [move.reason] if move.reason else [one.reason for one in _asked(deployment, move.model, move.version)]
    return told | {
        "asked_by": approval_of(deployment, promoted).asked_by,
        "gate": said and said.verdict,
        "why": _short("; ".join(dict.fromkeys(why))),
    }


def _asked(deployment: Deployment, model: str, version: int) -> list:
    """The requests that led to a version."""
    batch = deployment.ledger.challenger(model, version).batch_id
    return [one for one in deployment.ledger.requests(model) if batch and one.batch_id == batch]


def _business_value(checks: Sequence[Check]) -> list[dict]:
    found = checks[-1].result.get("findings", []) if checks else []
    names = ("value", "low", "high", "reference", "unit")
    return [
        {"what": {"all": "saved by 1,000 rows"}.get(one["name"], one["name"]), **{name: one[name] for name in names}}
        for one in found
        if one["area"] == "value" and one["value"] is not None
    ]


def _moved(deployment: Deployment, spec: ModelSpec, of: _Month, checks: Sequence[Check]) -> list[dict]:
    """By finding: in how many checks it was not usual, at its loudest, and the trend of its value."""
    from ratchet.monitoring.history import table_of, trend

    seen: dict[str, list[dict]] = {}
    for one in (finding for check in checks for finding in check.result.get("findings", [])):
        if one["state"] in ("moved", "broken data"):
            seen.setdefault(f"{one['area']}/{one['name']}", []).append(one)
    table = deployment.lake.read(table_of(spec.name), shift_day(of.last, -TREND_DAYS), of.last) if seen else None
    lines = []
    for key, those in seen.items():
        loudest = max((LEVEL_OF[one["harm"]] for one in those), key=LEVELS.index)
        found = trend(table, key, apart_of(spec, key))
        told = {"finding": key, "level": loudest, "seen": f"{len(those)} of {len(checks)} checks"}
        lines.append({**told, "says": _short(those[-1]["says"]), "trend": found.told})
    return sorted(lines, key=lambda one: (-LEVELS.index(one["level"]), one["finding"]))


def apart_of(spec: ModelSpec, key: str) -> int:
    """Days between values of a finding that share none."""
    of_outcomes = key.split("/")[0] in OF_OUTCOMES
    return max(spec.watch.window_days, spec.watch.outcome_days) if of_outcomes else spec.watch.window_days


def _alarms(deployment: Deployment, spec: ModelSpec, of: _Month) -> list[dict]:
    """By the chain's entries, which tell of every alert and all that became of it."""
    told: dict[str, dict] = {}
    for event in deployment.ledger.events(subject=f"alerts/{spec.name}"):
        told.setdefault(event.payload["id"], {}).update(event.payload)
    mine = [one for one in told.values() if of.has(one["raised_at"], one["facts"].get("as_of"))]
    lines = [
        {
            "level": one["level"],
            "about": one["key"],
            "what": _short(one["what"]),
            "raised_at": _at(datetime.fromisoformat(one["raised_at"])),
            "times": one["times"],
            "done": _short(one["facts"].get("done")),
            "settled_at": _at(datetime.fromisoformat(one["settled_at"])) if one.get("settled_at") else "open",
            "why": _short(one.get("why")),
        }
        for one in mine
    ]
    return sorted(lines, key=lambda one: (-LEVELS.index(one["level"]), one["raised_at"], one["about"]))


def _requests(deployment: Deployment, spec: ModelSpec, of: _Month) -> list[dict]:
    return [
        {
            "request": one.id,
            "as_of": one.as_of,
            "source": one.source,
            "by": one.actor,
            "reason": _short(one.reason),
            "became": one.status,
            "explanation": _short(one.explanation),
        }
        for one in deployment.ledger.requests(spec.name)
        if of.has(one.as_of)
    ]


def _trainings(deployment: Deployment, spec: ModelSpec, of: _Month) -> list[dict]:
    challengers = {one.version: one for one in deployment.ledger.challengers(spec.name)}
    lines = []
    for one in deployment.ledger.batches(spec.name):
        if of.has(one.as_of):
            told = {"training": one.id, "as_of": one.as_of, "status": one.status, "attempts": one.attempts}
            version = challengers.get(one.challenger_version)
            verdict = version and deployment.ledger.verdict(spec.name, version.version)
            told |= {"version": one.challenger_version, "now": version and version.status.replace("_", " ")}
            lines.append(told | {"verdict": verdict and verdict.verdict, "not_passed": _not_passed(verdict)})
    return lines


def _not_passed(verdict: Verdict | None) -> str | None:
    failed = [one for one in verdict.checks if not one["passed"]] if verdict else []
    return _short("; ".join(f"{one['name']}: {one.get('reason', '')}" for one in failed))


def _data(deployment: Deployment, dataset: str, of: _Month) -> dict:
    ledger, zone = deployment.ledger, deployment.dataset(dataset).zone
    revisions = ledger.partition_revisions(dataset, of.first, of.last)
    newest = [found[-1] for found in revisions.values()]
    until = min(of.last, ledger.high_water(dataset) or of.first)
    hours = sorted((found[0].delivered_at - known_before(day, zone)) / _HOUR for day, found in revisions.items())
    return {
        "dataset": dataset,
        "days": len(newest),
        "missing": len(set(days_between(of.first, until)) - set(revisions)),
        "rows": sum(one.rows for one in newest),
        "quarantined": sum(one.quarantined for one in newest),
        "refused": sum(of.has(one.day) for one in ledger.refusals(dataset)),
        "restated": sum(len({one.digest for one in found}) > 1 for found in revisions.values()),
        "usual_hours": hours[len(hours) // 2] if hours else None,
        "latest_hours": hours[-1] if hours else None,
    }


_HOUR = timedelta(hours=1)


def _loop_of_month(deployment: Deployment, spec: ModelSpec, of: _Month) -> list[dict]:
    """What was not usual on days of the month, by the looks that were kept."""
    from ratchet.monitoring.history import LOOP, table_of

    kept = deployment.lake.read(table_of(spec.name), of.first, of.last)
    kept = kept[kept["model_version"] == LOOP] if len(kept) else kept
    lines = []
    for name, rows in kept[kept["harm"] != "none"].groupby("name") if len(kept) else ():
        loudest = max((LEVEL_OF[harm] for harm in rows["harm"]), key=LEVELS.index)
        says = f"on {len(rows)} of {kept['day'].nunique()} days; on {rows['day'].iloc[-1]}: {rows['says'].iloc[-1]}"
        state = rows["state"].iloc[-1]
        lines.append({"what": f"{name}, in the month", "state": state, "level": loudest, "says": _short(says)})
    return lines


def _loop(deployment: Deployment, spec: ModelSpec) -> list[dict]:
    """At the newest instant on record, so that the same record gives the same page."""
    (newest,) = deployment.ledger.events(limit=1)
    found = loop_findings(deployment, spec, newest.at)
    told = [one for one in found if one.name == "scoring" or one.state != "usual"]
    lines = [{"what": one.name, "state": one.state, "level": one.level, "says": one.says} for one in told]
    rest = ", ".join(one.name.replace("_", " ") for one in found if one not in told)
    return [*lines, {"what": "the rest", "state": "usual", "level": "note", "says": rest}] if rest else lines


def _waiting(deployment: Deployment, spec: ModelSpec) -> list[dict]:
    """Questions, and alarms that are open."""
    ledger, lines = deployment.ledger, []
    for one in ledger.challengers(spec.name):
        verdict = ledger.verdict(spec.name, one.version) if one.status == "awaiting_approval" else None
        asked = verdict and ledger.approval(spec.name, one.version, verdict.digest)
        if asked and asked.answer is None:
            what = f"an answer: may version {one.version} become champion?"
            lines.append({"what": what, "since": _at(asked.asked_at), "until": _at(asked.expires_at)})
    for one in ledger.open_alerts(spec.name):
        if one.level != "note":
            lines.append({"what": f"{one.level} {one.key}: {_short(one.what)}", "since": _at(one.raised_at)})
    return lines


def _summary(facts: dict, checks: int, unusable: int) -> list[str]:
    """The month in a few sentences. `unusable`: rows with an outcome that performance leaves out."""

    def count(of: str, name: str, value: str) -> int:
        return sum(one[name] == value for one in facts[of])

    told = [one for one in facts["weeks"] if one["value"] is not None]
    values = f"{facts['metric']} by week: {', '.join(format(one['value'], '.3f') for one in told)}" if told else ""
    by = ", ".join(f"{count('alarms', 'level', level)} {level}" for level in reversed(LEVELS))
    versions = ", ".join(dict.fromkeys(one["version"] for one in facts["champions"]))
    became = ", ".join(f"{count('requests', 'became', how)} {how}" for how in ("accepted", "merged", "suppressed"))
    return [
        f"days scored: {facts['days_scored']}, by {versions or 'nobody'}; moves of the champion: {len(facts['moves'])}",
        values or "no outcomes of this month's predictions yet",
        *([f"rows left out of performance, for their labels can't be used: {unusable}"] if unusable else []),
        f"checks: {checks}; alarms: {by}; findings that moved: {len(facts['moved'])}",
        f"retrain requests: {became}; trainings: {len(facts['trainings'])}",
        f"waiting for a person: {len(facts['waiting']) or 'nothing'}",
    ]


def _at(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M}"  # the page says that they are UTC


def _short(text: str | None) -> str | None:
    return text if text is None or len(text) <= _LONG else f"{text[:_LONG]}…"
