"""Which partitions a training input was made from, and what has become stale because one of them changed since."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby

from sqlalchemy import Connection

from ratchet.days import check_day
from ratchet.ledger.chain import Chain
from ratchet.ledger.rows import read_all, read_one
from ratchet.ledger.tables import snapshots, staleness
from ratchet.ledger.values import SnapshotRecord, Stale

_KEY = ("kind", "subject", "dataset", "day")  # of a model's marks


class Staleness:
    """Snapshots with their partitions, and the marks on what was made from partitions that hold something else now."""

    _chain: Chain

    def record_snapshot(self, model: str, digest: str, as_of: str, partitions: Mapping) -> SnapshotRecord:
        """Keep what a training input was made from (see SnapshotRecord). The first record of a digest stands."""
        with self._chain.write() as transaction:
            mine = (snapshots.c.model == model, snapshots.c.digest == digest)
            known = read_one(transaction.connection, SnapshotRecord, snapshots, *mine)
            if known:
                return known
            row = {
                "model": model,
                "digest": digest,
                "as_of": check_day(as_of, "as_of"),
                "partitions": partitions,
                "recorded_at": transaction.now,
            }
            days = {dataset: len(days) for dataset, days in partitions.items()}
            kept = transaction.add(snapshots, row)
            transaction.append("snapshot_kept", f"models/{model}/snapshots/{digest}", {**kept, "partitions": days})
            return read_one(transaction.connection, SnapshotRecord, snapshots, *mine)

    def snapshots(self, model: str) -> list[SnapshotRecord]:
        """The model's training inputs, oldest first."""
        with self._chain.read() as connection:
            order = (snapshots.c.recorded_at, snapshots.c.digest)
            return read_all(connection, SnapshotRecord, snapshots, snapshots.c.model == model, order=order)

    def note_stale(self, model: str, found: Iterable[Mapping]) -> list[Stale]:
        """Put on record what of a model is stale (mappings with Stale's fields, less `recorded_at`), each subject once
        for each day of a dataset; returns the new marks. One event of the chain for each subject."""
        wanted = {tuple(one[name] for name in _KEY): dict(one) for one in found}
        if not wanted.keys() - self._marked(model):  # mostly so: then nothing is locked
            return []
        with self._chain.write() as transaction:
            new = sorted(wanted.keys() - {_key(one) for one in _marks(transaction.connection, model)})
            for (kind, subject), keys in groupby(new, key=lambda key: key[:2]):
                rows = [transaction.add(staleness, wanted[key] | {"recorded_at": transaction.now}) for key in keys]
                partitions = [f"{row['dataset']}/{row['day']}/{row['revision']}" for row in rows]
                facts = {"because_of": partitions, "actor": rows[0]["actor"], "reason": rows[0]["reason"]}
                transaction.append(f"{kind}_stale", f"models/{model}/{kind}/{subject}", facts)
            return [Stale(**wanted[key], recorded_at=transaction.now) for key in new]

    def stale(self, model: str) -> list[Stale]:
        """Every mark on the model's snapshots and predictions, oldest first."""
        with self._chain.read() as connection:
            return _marks(connection, model)

    def _marked(self, model: str) -> set[tuple]:
        return {_key(one) for one in self.stale(model)}


def _marks(connection: Connection, model: str) -> list[Stale]:
    order = (staleness.c.recorded_at, *(staleness.c[name] for name in _KEY))
    return read_all(connection, Stale, staleness, staleness.c.model == model, order=order)


def _key(one: Stale) -> tuple:
    return tuple(getattr(one, name) for name in _KEY)
