"""How well the loop delivers, from the ledger's own record: how often, how fast, how often wrongly, how fast mended.

The four figures of software delivery (Forsgren, Humble and Kim, "Accelerate", 2018: deployment frequency, lead time,
change failure rate, time to restore), asked of models.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import pairwise
from statistics import median
from typing import Protocol

from ratchet.ledger import Challenger, Champion, Partition, Request, SnapshotRecord


class Record(Protocol):
    """What is read of the ledger."""

    def champion_history(self, model: str) -> list[Champion]: ...
    def challengers(self, model: str) -> list[Challenger]: ...
    def requests(self, model: str) -> list[Request]: ...
    def snapshots(self, model: str) -> list[SnapshotRecord]: ...
    def first_scoring(self, model: str, epoch: int) -> bool | None: ...
    def partition_revisions(self, dataset: str, first: str, last: str) -> dict[str, list[Partition]]: ...


@dataclass(frozen=True)
class Delivery:
    """Times are hours, the medians of what there is; None where there is nothing yet.

    `promotions` counts those by broken glass too; `promotions_per_month`: {"2026-11": count}, months in UTC.
    `failed_share`: of the promotions, those that were rolled back or whose first scoring failed.
    `data_to_production`: from the newest partition trained on being published to its model being champion.
    `drift_to_promotion`: from a retrain request of a drift check to the promotion of what came of it.
    `time_to_roll_back`: from a promotion to the rollback that took it back.
    """

    model: str
    promotions: int
    broken_glass: int
    rollbacks: int
    promotions_per_month: dict[str, int]
    failed_share: float | None
    data_to_production: float | None
    drift_to_promotion: float | None
    time_to_roll_back: float | None

    def as_dict(self) -> dict:
        return asdict(self)


def delivery(ledger: Record, model: str) -> Delivery:
    """The figures of one model over all time."""
    history = ledger.champion_history(model)
    promotions = [move for move in history if move.how != "rollback"]
    taken_back = _taken_back(history)
    failed = [p for p in promotions if p.epoch in taken_back or ledger.first_scoring(model, p.epoch) is False]
    made = {one.version: one for one in ledger.challengers(model)}
    return Delivery(
        model=model,
        promotions=len(promotions),
        broken_glass=sum(move.how == "break_glass" for move in promotions),
        rollbacks=len(history) - len(promotions),
        promotions_per_month=dict(sorted(Counter(f"{p.moved_at:%Y-%m}" for p in promotions).items())),
        failed_share=len(failed) / len(promotions) if promotions else None,
        data_to_production=_median(_lead_times(ledger, model, promotions, made)),
        drift_to_promotion=_median(_after_drift(ledger, model, promotions, made)),
        time_to_roll_back=_median([_hours(p.moved_at, at) for p in promotions if (at := taken_back.get(p.epoch))]),
    )


def _taken_back(history: Sequence[Champion]) -> dict[int, datetime]:
    """{epoch of a promotion: when the rollback came that directly took it back}."""
    rolled_back = [(one, after) for one, after in pairwise(history) if after.how == "rollback"]
    return {one.epoch: after.moved_at for one, after in rolled_back if one.how != "rollback"}


def _lead_times(ledger: Record, model: str, promotions: list[Champion], made: dict[int, Challenger]) -> list[float]:
    snapshots = {one.digest: one for one in ledger.snapshots(model)}
    times = []
    for move in promotions:
        if (snapshot := snapshots.get(made[move.version].snapshot)) and (at := _newest_published(ledger, snapshot)):
            times.append(_hours(at, move.moved_at))
    return times


def _newest_published(ledger: Record, snapshot: SnapshotRecord) -> datetime | None:
    """When the last of its partitions was published."""
    found = []
    for dataset, days in snapshot.partitions.items():
        if not days:
            continue
        revisions = ledger.partition_revisions(dataset, min(days), max(days))
        found += [
            one.recorded_at for day, of in days.items() for one in revisions.get(day, []) if one.revision == of[0]
        ]
    return max(found, default=None)


def _after_drift(ledger: Record, model: str, promotions: list[Champion], made: dict[int, Challenger]) -> list[float]:
    asked: dict[str, datetime] = {}
    for request in ledger.requests(model):
        if request.source in ("drift", "performance") and request.batch_id:
            asked[request.batch_id] = min(request.requested_at, asked.get(request.batch_id, request.requested_at))
    batches = {move: made[move.version].batch_id for move in promotions}
    return [_hours(asked[batch], move.moved_at) for move, batch in batches.items() if batch in asked]


def _hours(first: datetime, then: datetime) -> float:
    return (then - first).total_seconds() / 3600


def _median(hours: Sequence[float]) -> float | None:
    return round(median(hours), 3) if hours else None
