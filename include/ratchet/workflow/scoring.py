"""Score what is new with the champion, once per partition and version."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from ratchet.days import check_day, shift_day
from ratchet.deployment import Deployment
from ratchet.digests import digest_of
from ratchet.errors import HeldDayError, UnknownNameError
from ratchet.ledger import Champion, Event, Scored
from ratchet.specs import Input, ModelSpec

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)


def score_partitions(deployment: Deployment, model: str, days: list[str]) -> dict:
    """Score the given event days with the champion and publish one predictions partition a day.

    A day whose inputs and champion are those of its last scoring is left as it is. While a canary stands, it serves its
    share of the rows (see ratchet.workflow.canary). Raises UnknownNameError when there
    is no champion, or when a day has no published partition of the scored dataset; FirstScoringError when a new
    champion's first day can't be right: it has been rolled back then (see ratchet.workflow.probation); HeldDayError,
    after the other days, for one that is held back, now or since an earlier run. Returns {version, scored, unchanged,
    rows}.
    """
    from ratchet.workflow.promotion import reconcile_alias

    spec, ledger = deployment.model(model), deployment.ledger
    if not days:
        return {"version": None, "scored": [], "unchanged": 0, "rows": 0}
    read_at = deployment.lake.state(f"predictions/{model}")
    reconcile_alias(deployment, model)
    champion = ledger.champion(model)
    if champion is None:
        raise UnknownNameError(f"{model} has no champion", hint=f"train and promote one first: {model}.retrain")
    used = inputs_partitions(deployment, spec, [check_day(day, "days") for day in days])
    digests = {day: inputs_digest(partitions) for day, partitions in used.items()}
    if missing := [day for day in days if day not in digests]:
        raise UnknownNameError(
            f"{spec.scored_dataset} has no published partition for some of the days",
            seen=", ".join(missing),
            hint=f"ingest them first: {spec.scored_dataset}.ingest_validate",
        )
    done = ledger.scored_days(model)
    todo = {
        day: digest
        for day, digest in digests.items()
        if not (day in done and done[day].inputs_digest == digest and done[day].version == champion.version)
    }
    held = ledger.held_days(model)
    free = {day: digest for day, digest in todo.items() if (day, digest, champion.version) not in held}
    rows = _score(deployment, spec, champion, free, used, read_at) if free else 0
    if waiting := sorted(set(todo) - set(free)):
        raise _held_since(model, held[waiting[0], todo[waiting[0]], champion.version])
    return {"version": champion.version, "scored": sorted(todo), "unchanged": len(digests) - len(todo), "rows": rows}


def _score(
    deployment: Deployment,
    spec: ModelSpec,
    champion: Champion,
    todo: dict[str, str],
    used: dict[str, dict[str, dict[str, list]]],
    read_at: int,
) -> int:
    """Score the days of `todo` ({day: inputs digest}), publish and record each. Returns how many rows that were. A day
    held back on probation goes on record and does not stop the others: it is raised when they are done."""
    from ratchet.score import score_days
    from ratchet.workflow.canary import Canary
    from ratchet.workflow.champion_alerts import tell_of_champion
    from ratchet.workflow.probation import Probation

    probation = Probation(deployment, spec, champion)
    canary = Canary(deployment, spec, champion, probation)
    how = {"read_at": read_at, "score": canary.score, "routing_on": canary.routing_on}
    who = (spec, deployment.datasets.good, deployment.published, probation.load(), champion)
    rows, left, held = 0, dict(todo), []
    while left:
        try:
            for scored in score_days(*who, dict(left), **how):
                digest = left.pop(scored.day)
                deployment.ledger.record_scored(
                    spec.name,
                    scored.day,
                    digest,
                    champion.version,
                    scored.rows,
                    scored.table_version,
                    used[scored.day],
                    scored.routing or None,
                )
                probation.passed(scored.day, scored.rows)
                rows += scored.rows
        except HeldDayError as error:
            log.warning("%s", error)
            held.append(error)
            day = min(left)  # they are scored in order
            facts = {"day": day, "inputs_digest": left.pop(day), "version": champion.version}
            facts["why"] = f"{error.what}: {error.seen}"
            deployment.ledger.note("day_held", f"models/{spec.name}/held_days", facts, "ratchet")
    if held:
        tell_of_champion(deployment, spec.name)
        raise held[0]
    return rows


def _held_since(model: str, entry: Event) -> HeldDayError:
    day, version = entry.payload["day"], entry.payload["version"]
    return HeldDayError(
        f"{day} is held back from version {version} of {model} since {entry.at:%Y-%m-%d %H:%M} UTC",
        seen=entry.payload["why"],
        expected="other rows of that day, or another champion",
        hint="look at what was delivered for that day, and have it delivered again: then it is scored by itself",
    )


def due_days(deployment: Deployment, spec: ModelSpec) -> list[str]:
    """The event days to score now: published since the first champion's as-of, complete enough, not yet scored from
    these inputs, and not held back with them from the champion of now. [] without a champion."""
    ledger = deployment.ledger
    history = ledger.champion_history(spec.name)
    if not history:
        return []
    first = min(champion.as_of for champion in history)
    newest = ledger.high_water(spec.scored_dataset)
    if newest is None or newest < first:
        return []
    published = {name: {p.day for p in ledger.partitions(name, first=first)} for name in spec.score_when.complete}
    patience = shift_day(newest, -spec.score_when.or_after_days)
    ready = [
        partition.day
        for partition in ledger.partitions(spec.scored_dataset, first=first)
        if partition.day <= patience or all(partition.day in days for days in published.values())
    ]
    done, digests = ledger.scored_days(spec.name), inputs_digests(deployment, spec, ready)
    held, version = ledger.held_days(spec.name), history[-1].version
    return [
        day
        for day, digest in sorted(digests.items())
        if (day not in done or done[day].inputs_digest != digest) and (day, digest, version) not in held
    ]


def rows_of_record(deployment: Deployment, table: str, version: int, scored: Mapping[str, Scored]) -> pd.DataFrame:
    """The rows of a table of scores on the days of `scored`, by this version and from the inputs that the ledger
    names there: others are those of a scoring that was killed before its record, or has been overtaken."""
    rows = deployment.lake.read(table, days=[*scored])
    of_record = rows["day"].map({day: one.inputs_digest for day, one in scored.items()})
    return rows[(rows["model_version"] == version) & (rows["inputs_digest"] == of_record)]


def inputs_digests(deployment: Deployment, spec: ModelSpec, days: list[str]) -> dict[str, str]:
    """For each day that has a scored partition, a digest of all partitions its features are made from."""
    return {day: inputs_digest(used) for day, used in inputs_partitions(deployment, spec, days).items()}


def inputs_digest(partitions: dict[str, dict[str, list]]) -> str:
    return digest_of({name: [digest for _, digest in of_day.values()] for name, of_day in partitions.items()})


def inputs_partitions(
    deployment: Deployment, spec: ModelSpec, days: list[str]
) -> dict[str, dict[str, dict[str, list]]]:
    """For each day that has a scored partition, the partitions that its features are made from: {day: {dataset: {day:
    [revision, digest]}}}, in order."""
    if not days:
        return {}
    by_dataset = {}
    for name, wanted in spec.inputs.items():
        first = None if wanted.latest else shift_day(min(days), -wanted.lookback_days)
        last = None if wanted.latest else max(days)
        found = deployment.ledger.partitions(name, first=first, last=last)
        by_dataset[name] = {one.day: [one.revision, one.digest] for one in found}
    return {
        day: {
            name: {one: by_dataset[name][one] for one in seen_by(day, by_dataset[name], wanted)}
            for name, wanted in spec.inputs.items()
        }
        for day in days
        if day in by_dataset[spec.scored_dataset]
    }


def seen_by(day: str, published: Iterable[str], wanted: Input) -> list[str]:
    """The days of an input, of those published, that the features of a day are made from; in order."""
    if wanted.latest:
        return [max(known)] if (known := [one for one in published if one <= day]) else []
    first = shift_day(day, -wanted.lookback_days)
    return sorted(one for one in published if first <= one <= day)
