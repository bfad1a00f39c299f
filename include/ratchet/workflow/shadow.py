"""The newest challenger scores what the champion scores, and nobody is given these scores.

Beside the champion's scoring, never in its way: runs of their own, a table of their own (shadow/<model>), failures of
their own. What they are evidence of: see ratchet.workflow.weighing. It promotes nothing: the approver reads it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from ratchet.days import shift_day
from ratchet.deployment import Deployment
from ratchet.errors import ModelFileError, OtherLibrariesError, ParameterError, RatchetError, UnknownNameError
from ratchet.ledger import Challenger, Scored
from ratchet.ledger.challengers import TO_JUDGE
from ratchet.plain_text import one_line
from ratchet.specs import ModelSpec
from ratchet.workflow.scoring import inputs_digests
from ratchet.workflow.versions import load_version

if TYPE_CHECKING:
    import pandas as pd
log = logging.getLogger(__name__)


def shadow_of(deployment: Deployment, spec: ModelSpec) -> Challenger | None:
    """The challenger of the newest data of which nothing final was said (registered, held, waiting for its approval).
    None where there is none, no champion, or `field_test.shadow` is off."""
    champion = deployment.ledger.champion(spec.name)
    if champion is None or not spec.field_test.shadow:
        return None
    waiting = [one for one in deployment.ledger.challengers(spec.name) if one.status in TO_JUDGE]
    others = [one for one in waiting if one.version != champion.version]
    return max(others, key=lambda one: (one.as_of, one.version), default=None)


def score_shadow(deployment: Deployment, model: str, version: int | None = None) -> dict:
    """Score with a challenger (None: see `shadow_of`) what the champion of now has scored since the challenger's data,
    and publish it in shadow/<model>: the scored dataset's key, day, the score columns, model_version, inputs_digest.

    The same partitions: a day whose inputs have changed since the champion scored it waits until it has again. Once per
    day, version and inputs. A version that can't be loaded, or raises, goes on record (`failed`), and dispatch starts
    no run for it again. Returns {version, scored, rows, failed}. Raises UnknownNameError for no such version,
    ParameterError for the champion itself; RegistryError and StorageError where another try may do.
    """
    spec = deployment.model(model)
    read_at = deployment.lake.state(f"shadow/{model}")
    challenger = wanted_version(deployment, spec, version)
    if challenger is None:
        return {"version": None, "scored": [], "rows": 0, "failed": None}
    todo, done = days_to_shadow(deployment, spec, challenger), {}
    told = {"version": challenger.version, "failed": None}
    try:
        for day, rows in _score(deployment, spec, challenger, todo) if todo else ():
            at = _publish(deployment, spec, day, rows, challenger.version, read_at)
            digest = todo[day].inputs_digest
            deployment.ledger.record_shadow(model, challenger.version, day, digest, len(rows), at)
            done[day] = len(rows)
    except (ModelFileError, OtherLibrariesError) as failed:
        told["failed"] = why = _why(failed)
        log.warning("version %s of %s can't score in the shadow: %s", challenger.version, model, why)
        deployment.ledger.record_shadow_failure(model, challenger.version, why)
    return {**told, "scored": sorted(done), "rows": sum(done.values())}


def days_to_shadow(deployment: Deployment, spec: ModelSpec, challenger: Challenger) -> dict[str, Scored]:
    """The champion's scorings of the days that are new to the challenger, that it has not scored from these inputs, and
    whose inputs are still those."""
    done = deployment.ledger.shadow_days(spec.name, challenger.version)
    missing = {
        day: one
        for day, one in scored_by_champion(deployment, spec, challenger).items()
        if day not in done or done[day].inputs_digest != one.inputs_digest
    }
    now = inputs_digests(deployment, spec, sorted(missing))
    return {day: one for day, one in missing.items() if now.get(day) == one.inputs_digest}


def wanted_version(deployment: Deployment, spec: ModelSpec, version: int | None) -> Challenger | None:
    if version is None:
        return shadow_of(deployment, spec)
    challenger, champion = deployment.ledger.challenger(spec.name, version), deployment.ledger.champion(spec.name)
    if champion is None or champion.version == version:
        raise ParameterError(
            f"version {version} of {spec.name} can't be compared with the champion",
            seen="it is the champion" if champion else "there is no champion",
            hint="name another version",
        )
    return challenger


def scored_by_champion(deployment: Deployment, spec: ModelSpec, challenger: Challenger) -> dict[str, Scored]:
    """Days newer than the challenger's data whose newest scoring is by the champion of now."""
    champion = deployment.ledger.champion(spec.name)
    found = deployment.ledger.scorings(spec.name, first=shift_day(challenger.as_of, 1))
    newest = {one.day: one for one in found}  # in order of revision
    return {day: one for day, one in newest.items() if champion and one.version == champion.version}


def _score(
    deployment: Deployment, spec: ModelSpec, challenger: Challenger, todo: Mapping[str, Scored]
) -> Iterator[tuple[str, pd.DataFrame]]:
    """Day by day, in order. Raises ModelFileError or OtherLibrariesError for what is the version's fault."""
    from ratchet.score import stretches
    from ratchet.snapshot import build_inputs

    estimator = _load(deployment, spec.name, challenger.version)
    key = deployment.dataset(spec.scored_dataset).key
    for first, last in stretches(sorted(todo)):
        inputs = build_inputs(spec, deployment.datasets.good, deployment.published, first, last)
        for day, rows in inputs.groupby("day"):
            if day in todo:
                scores = _scores_of(estimator, rows, spec, day)
                facts = {"model_version": challenger.version, "inputs_digest": todo[day].inputs_digest}
                yield day, rows[[*key, "day"]].assign(**scores, **facts)


def _load(deployment: Deployment, model: str, version: int):
    try:
        return load_version(deployment, model, version)
    except UnknownNameError as error:  # deleted in the registry
        raise ModelFileError(error.what, seen=error.seen, hint=error.hint) from error


def _scores_of(estimator, rows: pd.DataFrame, spec: ModelSpec, day: str) -> pd.DataFrame:
    from ratchet.score import score_frame

    try:
        return score_frame(estimator, rows, spec)
    except (RatchetError, MemoryError, OSError):  # says why itself, or a retry may do
        raise
    except Exception as error:  # whatever an estimator raises that can't score
        what = f"it can't score {day}: {type(error).__name__}: {error}"[:500]
        raise ModelFileError(what, hint="look at the version's card, or train a new one") from error


def _why(error: RatchetError) -> str:
    """Fit for the record, whatever a model file raises."""
    return one_line(error.what + (f" ({error.seen})" if error.seen else ""))


def _publish(deployment: Deployment, spec: ModelSpec, day: str, rows: pd.DataFrame, version: int, read_at: int) -> int:
    """Beside the rows of other versions on that day."""
    import pandas as pd

    table = f"shadow/{spec.name}"
    there = deployment.lake.read(table, day, day)
    if len(there):
        rows = pd.concat([there[there["model_version"] != version], rows], ignore_index=True)
    return deployment.lake.publish(table, day, rows, {"model_version": version}, read_at=read_at)
