"""What a check was made from, read from the ledger alone; and which check no longer stands.

Of several checks of one version as of one day the one recorded last is the one that stands. It names the one before it,
which stays on record, in `result["replaces"]`.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from ratchet.days import shift_day
from ratchet.deployment import Deployment
from ratchet.digests import digest_of
from ratchet.ledger import Check, Partition, Scored
from ratchet.published import as_known
from ratchet.specs import ModelSpec
from ratchet.windows import known_before

MOST_DAYS = 365  # of a dataset's history before the window: season once seen is usual
_CHARS = 16  # of a day's digest: they are compared with one another only
_REACH = 2  # windows are looked for among so many times their days: some days bring no rows, or no outcomes


@dataclass(frozen=True)
class Basis:
    """The days of a check. `scored`: by day, how each was scored. `newest`: those for inputs and predictions;
    `outcomes`: those for labels and performance; `waiting`: newer than these, and their outcomes are due. `days`: of
    each scored day from the first to the last of them, a digest of the inputs that it was scored from and of its
    outcomes as known as of the check's day. `data`: a digest of all that was known then of the model's datasets, as far
    back as their quality is looked at."""

    scored: dict[str, Scored]
    newest: list[str]
    outcomes: list[str]
    waiting: list[str]
    days: dict[str, str]
    data: str


def read_basis(deployment: Deployment, spec: ModelSpec, version: int, as_of: str) -> Basis:
    """The newest days as of a day whose newest scoring is by that version: `watch.window_days` of them, and
    `watch.outcome_days` of those with outcomes. An outcome delivered after the day `as_of` is not known as of it,
    whether it is new or a correction; nor is a day of which an input was delivered later."""
    watch, due_to = spec.watch, shift_day(as_of, -spec.label_delay_days)
    first = shift_day(due_to, -_REACH * max(watch.window_days, watch.outcome_days))
    scored, outcomes = _days_as_of(deployment, spec, version, as_of, first, as_of)
    newest, told = [*scored][-watch.window_days :], [day for day in scored if day in outcomes][-watch.outcome_days :]
    waiting = [day for day in scored if max(told, default="") < day <= due_to]
    looked = [day for day in scored if day >= min([*newest, *told, *waiting])]
    days = {day: _digest(scored[day], outcomes.get(day)) for day in looked}
    return Basis(scored, newest, told, waiting, days, _data_known(deployment, spec, as_of, min(looked, default=as_of)))


def _days_as_of(
    deployment: Deployment, spec: ModelSpec, version: int, as_of: str, first: str, last: str
) -> tuple[dict[str, Scored], dict[str, str]]:
    """By day, in order: how it was scored, and the digest of its outcomes."""
    newest = {one.day: one for one in deployment.ledger.scorings(spec.name, first, last)}  # in order of revision
    early = _not_yet_known(deployment, spec, as_of, first)
    scored = {day: one for day, one in sorted(newest.items()) if one.version == version and day not in early}
    return scored, {d: one.digest for d, one in _known(deployment, spec.outcome_dataset, as_of, first).items() if one}


def _digest(scored: Scored, outcomes: str | None) -> str:
    return digest_of([scored.inputs_digest, outcomes])[:_CHARS]


def _known(deployment: Deployment, dataset: str, as_of: str, first: str) -> dict[str, Partition | None]:
    """Of each day from `first` on that is published now what was known of it then; None: nothing yet."""
    before = known_before(as_of, deployment.dataset(dataset).zone)
    revisions = deployment.ledger.partition_revisions(dataset, first, as_of)
    return {day: as_known(all_of, before) for day, all_of in revisions.items()}


def _data_known(deployment: Deployment, spec: ModelSpec, as_of: str, first: str) -> str:
    names, since = sorted({*spec.inputs, spec.outcome_dataset}), shift_day(first, -MOST_DAYS)
    known = {name: _known(deployment, name, as_of, since) for name in names}
    return digest_of({name: {day: one.digest for day, one in of.items() if one} for name, of in known.items()})


def _not_yet_known(deployment: Deployment, spec: ModelSpec, as_of: str, first: str) -> set[str]:
    """Days that were scored with an input that was still to come: as of the day they would lack it."""
    daily = [name for name, one in spec.inputs.items() if not one.latest]
    return {day for name in daily for day, one in _known(deployment, name, as_of, first).items() if one is None}


def check_key(
    spec: ModelSpec, version: int, as_of: str, basis: Basis, replaces: str | None, blind: bool = False
) -> str:
    """The identity of a check: what it is made from, what it looks for, and the check that it takes the place of.
    `blind`: it has no reference."""
    looks_for = [spec.watch.model_dump(), spec.retrain_when.model_dump(), spec.problem.success.metric]
    made_from = [spec.name, version, as_of, basis.days, basis.data, looks_for, replaces]
    return digest_of([*made_from, "no reference"] if blind else made_from)


def stands(spec: ModelSpec, check: Check, basis: Basis, blind: bool) -> bool:
    """Whether the check, made now, would come out under the same key. One that had its reference stands without it,
    too; a `blind` one stands until it is there."""
    who = (spec, check.version, check.as_of, basis, check.result.get("replaces"))
    return check.key in {check_key(*who), check_key(*who, blind)}


def changed_days(check: Check, basis: Basis) -> list[str]:
    """The days that the check knew otherwise or not at all, or that it alone knew."""
    before = check.result.get("days", {})
    return sorted(day for day in {*before, *basis.days} if before.get(day) != basis.days.get(day))


def check_to_redo(deployment: Deployment, spec: ModelSpec, to_score: Collection[str]) -> tuple[Check, str] | None:
    """The champion's newest check, if a day between the first and the last that it speaks of holds something else now
    or has come late; and a digest of how these days are now. None: nothing to make again.

    Days after its last are for the next check. While one of its days is still to be scored (`to_score`) the check
    waits, so that it is made once for all of them. Where its reference was erased it is left: a new one would say less.
    """
    champion = deployment.ledger.champion(spec.name)
    check = champion and deployment.ledger.newest_check(spec.name, champion.version)
    if not check or not check.result.get("days"):
        return None
    first, last = check.result["window"]
    if any(first <= day <= last for day in to_score):
        return None
    scored, outcomes = _days_as_of(deployment, spec, check.version, check.as_of, first, last)
    now = {day: _digest(one, outcomes.get(day)) for day, one in scored.items()}
    if not now or now == check.result["days"] or is_reference_erased(deployment, spec.name, check.version):
        return None
    return check, digest_of([check.key, now])


def is_reference_erased(deployment: Deployment, model: str, version: int) -> bool:
    """Whether an erasure has deleted the snapshot that the version was judged on."""
    snapshot = deployment.ledger.challenger(model, version).snapshot
    return any(snapshot in one.snapshots.get(model, ()) for one in deployment.ledger.erasures())
