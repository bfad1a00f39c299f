"""Which partitions a training input was made from, and what has become stale because one of them changed since."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

from sqlalchemy import Connection

from ratchet.days import check_day
from ratchet.ledger.chain import Chain, Transaction
from ratchet.ledger.rows import read_all, read_one
from ratchet.ledger.tables import snapshots, staleness
from ratchet.ledger.values import SnapshotRecord, Stale

_KEY = ("kind", "subject", "dataset", "day")  # of a model's marks


class Staleness:
    """Snapshots with their partitions, and the marks on what was made from partitions that hold something else now."""

    _chain: Chain

    def record_snapshot(self, model: str, digest: str, as_of: str, partitions: Mapping) -> SnapshotRecord:
        """Keep what a training input was made from (see SnapshotRecord).

        The same content may come out of other partitions later: then a day has the newest revision that it came out
        of, and behind its drop_sha256 the numbers of the other ones (see `made_from`), in whatever order they are
        told. That is one event more; what is known already changes nothing.
        """
        with self._chain.write() as transaction:
            mine = (snapshots.c.model == model, snapshots.c.digest == digest)
            known = read_one(transaction.connection, SnapshotRecord, snapshots, *mine)
            if known:
                _add_build(transaction, known, partitions)
            else:
                row = {
                    "model": model,
                    "digest": digest,
                    "as_of": check_day(as_of, "as_of"),
                    "partitions": partitions,
                    "recorded_at": transaction.now,
                }
                days = {dataset: len(days) for dataset, days in partitions.items()}
                kept = transaction.add(snapshots, row)
                transaction.append("snapshot_kept", _subject(model, digest), {**kept, "partitions": days})
            return read_one(transaction.connection, SnapshotRecord, snapshots, *mine)

    def snapshots(self, model: str, since_as_of: str | None = None) -> list[SnapshotRecord]:
        """The model's training inputs, oldest first. `since_as_of`: those as of that day or a later one: the only ones
        that can hold anything of that day."""
        where = [snapshots.c.model == model, *([snapshots.c.as_of >= since_as_of] if since_as_of else [])]
        with self._chain.read() as connection:
            order = (snapshots.c.recorded_at, snapshots.c.digest)
            return read_all(connection, SnapshotRecord, snapshots, *where, order=order)

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


def made_from(partition: Sequence) -> list[int]:
    """Of a day in a SnapshotRecord's `partitions` every revision that the snapshot has come out of, in order."""
    newest, _, _, *others = partition
    return sorted([newest, *others])


def _add_build(transaction: Transaction, known: SnapshotRecord, partitions: Mapping) -> None:
    before = known.partitions
    merged = {name: _merged(before.get(name, {}), partitions.get(name, {})) for name in {*before, *partitions}}
    grown = {
        name: {day: one for day, one in days.items() if one != before.get(name, {}).get(day)}
        for name, days in merged.items()
    }
    if not any(grown.values()):
        return
    mine = {"model": known.model, "digest": known.digest}
    transaction.change(snapshots, mine, partitions=merged)
    told = {**mine, "partitions": {name: days for name, days in grown.items() if days}}
    transaction.append("snapshot_made_again", _subject(known.model, known.digest), told)


def _merged(known: Mapping[str, Sequence], new: Mapping[str, Sequence]) -> dict[str, list]:
    """By day the newest revision of either, then the numbers of the others."""
    merged = {}
    for day in {*known, *new}:
        told = [list(days[day]) for days in (known, new) if day in days]
        newest = max(told, key=lambda one: one[0])
        others = {revision for one in told for revision in made_from(one)} - {newest[0]}
        merged[day] = [*newest[:3], *sorted(others)]
    return merged


def _subject(model: str, digest: str) -> str:
    return f"models/{model}/snapshots/{digest}"


def _marks(connection: Connection, model: str) -> list[Stale]:
    order = (staleness.c.recorded_at, *(staleness.c[name] for name in _KEY))
    return read_all(connection, Stale, staleness, staleness.c.model == model, order=order)


def _key(one: Stale) -> tuple:
    return tuple(getattr(one, name) for name in _KEY)
