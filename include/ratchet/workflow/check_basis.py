"""What a drift check was made from, read from the ledger alone; and which check no longer stands.

Of several checks of one version as of one day the one recorded last is the one that stands. It names the one before it,
which stays on record, in `result["replaces"]`.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from ratchet.deployment import Deployment
from ratchet.digests import digest_of
from ratchet.ledger import Check, Scored
from ratchet.published import as_known
from ratchet.specs import ModelSpec
from ratchet.windows import known_before

_CHARS = 16  # of a day's digest: a result goes through XCom, and these are compared with one another only


@dataclass(frozen=True)
class Basis:
    """The days of a check. `scored`: by day, how each was scored; `days`: by day, a digest of the inputs that it was
    scored from and of its outcomes as known as of the check's day."""

    scored: dict[str, Scored]
    days: dict[str, str]


def read_basis(deployment: Deployment, spec: ModelSpec, version: int, as_of: str, first: str, last: str) -> Basis:
    """The days from `first` to `last` whose newest scoring is by that version. An outcome delivered after the day
    `as_of` is not known as of it, whether it is new or a correction."""
    ledger = deployment.ledger
    newest = {one.day: one for one in ledger.scorings(spec.name, first, last)}  # in order of revision
    scored = {day: one for day, one in newest.items() if one.version == version}
    before = known_before(as_of, deployment.dataset(spec.outcome_dataset).zone)
    revisions = ledger.partition_revisions(spec.outcome_dataset, first, last)
    outcomes = {day: known.digest for day, all_of in revisions.items() if (known := as_known(all_of, before))}
    days = {day: digest_of([one.inputs_digest, outcomes.get(day)])[:_CHARS] for day, one in scored.items()}
    return Basis(scored, days)


def check_key(spec: ModelSpec, version: int, as_of: str, basis: Basis, replaces: str | None) -> str:
    """The identity of a check: what it is made from, what it looks for, and the check that it takes the place of."""
    looks_for = [spec.watch.model_dump(), spec.retrain_when.model_dump(), spec.problem.success.metric]
    return digest_of([spec.name, version, as_of, basis.days, looks_for, replaces])


def stands(spec: ModelSpec, check: Check, basis: Basis) -> bool:
    """Whether the check, made now, would come out under the same key."""
    return check.key == check_key(spec, check.version, check.as_of, basis, check.result.get("replaces"))


def changed_days(check: Check, basis: Basis) -> list[str]:
    """The days that the check knew otherwise or not at all, or that it alone knew."""
    before = check.result.get("days", {})
    return sorted(day for day in {*before, *basis.days} if before.get(day) != basis.days.get(day))


def check_to_redo(deployment: Deployment, spec: ModelSpec, to_score: Collection[str]) -> tuple[Check, str] | None:
    """The champion's newest check, if a day between the first and the last that it speaks of holds something else now
    or has come late; and a digest of how these days are now. None: nothing to make again.

    Days beyond either end are for the next check. While one of its days is still to be scored (`to_score`) the check
    waits, so that it is made once for all of them. Without its reference it can't be made again.
    """
    champion = deployment.ledger.champion(spec.name)
    check = champion and deployment.ledger.newest_check(spec.name, champion.version)
    if not check or not check.result.get("days"):
        return None
    first, last = check.result["window"]
    if any(first <= day <= last for day in to_score):
        return None
    now = read_basis(deployment, spec, check.version, check.as_of, first, last)
    if not now.days or not changed_days(check, now) or is_reference_erased(deployment, spec.name, check.version):
        return None
    return check, digest_of([check.key, now.days])


def is_reference_erased(deployment: Deployment, model: str, version: int) -> bool:
    """Whether an erasure has deleted the snapshot that the version was judged on."""
    snapshot = deployment.ledger.challenger(model, version).snapshot
    return any(snapshot in one.snapshots.get(model, ()) for one in deployment.ledger.erasures())
