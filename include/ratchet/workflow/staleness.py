"""What a changed partition makes stale: training inputs, models and predictions that were made from the old one.

Found by comparing the partitions that the ledger has on record of them with those of now, so that nothing is lost with
an event, nor by the order of things: it runs after every ingestion, and again with every sweep of dispatch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise

from ratchet.deployment import Deployment
from ratchet.digests import digest_of
from ratchet.ledger import Partition, Stale
from ratchet.published import as_known
from ratchet.specs import ModelSpec
from ratchet.windows import known_before
from ratchet.workflow.requests import ask_while_it_stands
from ratchet.workflow.scoring import seen_by
from ratchet.workflow.training import high_water_mark


def mark_stale(deployment: Deployment) -> list[Stale]:
    """Put on record every snapshot (and with it its model) and every scoring whose partitions hold something else now,
    or that would be made from one more, with who had that published and why. Returns the new marks."""
    return [
        mark
        for spec in deployment.models.good.values()
        for mark in deployment.ledger.note_stale(spec.name, _found(deployment, spec))
    ]


def stale_labels(deployment: Deployment, spec: ModelSpec) -> list[Stale]:
    """The marks that outcomes, corrected since, have put on what the champion learned or was judged from: one a day."""
    champion = deployment.ledger.champion(spec.name)
    if champion is None:
        return []
    snapshot = deployment.ledger.challenger(spec.name, champion.version).snapshot
    marks = deployment.ledger.stale(spec.name)
    return [m for m in marks if (m.subject, m.dataset) == (snapshot, spec.outcome_dataset)]


def ask_retrain_for_corrections(deployment: Deployment, spec: ModelSpec) -> dict | None:
    """File a retrain request when the outcomes of at least `retrain_when.corrected_days` days that the champion was
    made from have been corrected, and the data has come so far that a training knows of it; for each set of days, see
    ask_while_it_stands. None: nothing to ask yet."""
    wanted, marks = spec.retrain_when.corrected_days, stale_labels(deployment, spec)
    if wanted is None or len(marks) < wanted:
        return None
    as_of, days = high_water_mark(deployment, spec), sorted(mark.day for mark in marks)
    newest = {p.day: p.delivered_at for p in deployment.ledger.partitions(spec.outcome_dataset, days[0], days[-1])}
    if max(newest[day] for day in days) >= known_before(as_of, deployment.dataset(spec.outcome_dataset).zone):
        return None
    champion = deployment.ledger.champion(spec.name)
    return ask_while_it_stands(
        deployment,
        spec,
        digest_of(["corrected", champion.version, days]),
        reason=f"outcomes of {len(days)} days that version {champion.version} was made from were corrected: "
        f"{', '.join(days[:5])}{' ...' if len(days) > 5 else ''}",
        source="correction",
    )


Revisions = Mapping[str, Mapping[str, list[Partition]]]  # by dataset and day


def _found(deployment: Deployment, spec: ModelSpec) -> Iterator[dict]:
    revisions = {name: deployment.ledger.partition_revisions(name) for name in {*spec.inputs, spec.outcome_dataset}}
    yield from _stale_snapshots(deployment, spec, revisions)
    yield from _stale_predictions(deployment, spec, revisions)


def _stale_snapshots(deployment: Deployment, spec: ModelSpec, revisions: Revisions) -> Iterator[dict]:
    """A day that was not there counts if it was known as of the snapshot's day all the same: refused then, admitted
    later. A correction counts whenever it came. A dataset that is no longer one of the model's is left out: its spec
    may be gone."""
    for snapshot in deployment.ledger.snapshots(spec.name):
        for dataset, used in snapshot.partitions.items():
            if dataset not in revisions:
                continue
            before = known_before(snapshot.as_of, deployment.dataset(dataset).zone)
            for day, all_of in revisions[dataset].items():
                if day in used:
                    changed = used[day][1] != all_of[-1].digest
                else:
                    within = used and min(used) <= day <= max(used)
                    changed = within and as_known(all_of, before) is not None
                if changed:
                    yield _mark(spec, "snapshot", snapshot.digest, _last_change(all_of))


def _stale_predictions(deployment: Deployment, spec: ModelSpec, revisions: Revisions) -> Iterator[dict]:
    for scored in deployment.ledger.scorings(spec.name):
        for dataset, wanted in spec.inputs.items():
            used = scored.partitions.get(dataset, {})
            for day in seen_by(scored.day, revisions[dataset], wanted):
                newest = revisions[dataset][day][-1]
                if day not in used or used[day][1] != newest.digest:
                    yield _mark(
                        spec, "predictions", f"{scored.day}/{scored.revision}", _last_change(revisions[dataset][day])
                    )


def _last_change(revisions: list[Partition]) -> Partition:
    """The revision that brought the content of now; later ones have only found the same again."""
    return next(
        (new for old, new in reversed([*pairwise(revisions)]) if new.digest != old.digest),
        revisions[0],
    )


def _mark(spec: ModelSpec, kind: str, subject: str, newest: Partition) -> dict:
    facts = {"dataset": newest.dataset, "day": newest.day, "revision": newest.revision}
    return {
        "model": spec.name,
        "kind": kind,
        "subject": subject,
        **facts,
        "actor": newest.actor,
        "reason": newest.reason,
    }
