"""Whose rows were taken out of which partitions, without saying who it was."""

from __future__ import annotations

from collections.abc import Mapping

from ratchet.errors import UnknownNameError
from ratchet.ledger.chain import Chain
from ratchet.ledger.rows import next_id, read_all, read_one
from ratchet.ledger.tables import erasures
from ratchet.ledger.values import Erasure


class Erasures:
    """Erasures, each begun before anything is changed and finished when nothing is left."""

    _chain: Chain

    def begin_erasure(self, dataset: str, key: Mapping[str, str], reason: str, actor: str, found: Mapping) -> Erasure:
        """Put on record what is about to be erased (see Erasure). One of the same dataset and `key` that was begun and
        isn't finished goes on, in the name of who began it, and knows of what was found both times."""
        with self._chain.write() as transaction:
            connection = transaction.connection
            known = read_one(connection, Erasure, erasures, *_open(dataset, key))
            if known:
                grown = _union(known.found, found)
                if grown != known.found:
                    transaction.change(erasures, {"id": known.id}, found=grown)
                    transaction.append("erasure_continued", _subject(known), {"id": known.id, "found": grown}, actor)
                return read_one(connection, Erasure, erasures, erasures.c.id == known.id)
            row = {
                "id": next_id(connection, erasures, "E"),
                "dataset": dataset,
                "key": dict(key),
                "reason": reason,
                "actor": actor,
                "found": found,
                "snapshots": {},
                "versions": {},
                "begun_at": transaction.now,
                "finished_at": None,
            }
            kept = transaction.add(erasures, row)
            transaction.append("erasure_begun", f"datasets/{dataset}/erasures/{kept['id']}", kept, actor)
            return read_one(connection, Erasure, erasures, erasures.c.id == kept["id"])

    def finish_erasure(self, id: str, snapshots: Mapping, versions: Mapping) -> Erasure:
        """Put on record that nothing is left, and what can't be built again. The first call stands. Raises
        UnknownNameError."""
        with self._chain.write() as transaction:
            mine = erasures.c.id == id
            known = read_one(transaction.connection, Erasure, erasures, mine)
            if known is None:
                raise UnknownNameError(f"no erasure {id!r}", hint="see Ledger.erasures for those there are")
            if known.finished_at is None:
                done = {"snapshots": dict(snapshots), "versions": dict(versions), "finished_at": transaction.now}
                transaction.change(erasures, {"id": id}, **done)
                told = {"id": id, "snapshots": done["snapshots"], "versions": done["versions"]}
                transaction.append("erasure_finished", _subject(known), told, known.actor)
            return read_one(transaction.connection, Erasure, erasures, mine)

    def erasures(self, dataset: str | None = None) -> list[Erasure]:
        """The erasures (of one dataset), in the order in which they were begun."""
        where = [erasures.c.dataset == dataset] if dataset else []
        with self._chain.read() as connection:
            return read_all(connection, Erasure, erasures, *where, order=(erasures.c.id,))


def _open(dataset: str, key: Mapping[str, str]) -> tuple:
    return erasures.c.dataset == dataset, erasures.c.key == dict(key), erasures.c.finished_at.is_(None)


def _subject(known: Erasure) -> str:
    return f"datasets/{known.dataset}/erasures/{known.id}"


def _union(one: Mapping, other: Mapping) -> dict:
    """Of what two looks found: what was counted by either, as often as the one that counted more."""
    rows = {
        table: _most(one["rows"].get(table, {}), other["rows"].get(table, {}))
        for table in sorted({*one["rows"], *other["rows"]})
    }
    revisions = {
        day: sorted({*one["revisions"].get(day, []), *other["revisions"].get(day, [])})
        for day in sorted({*one["revisions"], *other["revisions"]})
    }
    return {"rows": rows, "revisions": revisions, "odd_rows": sorted({*one["odd_rows"], *other["odd_rows"]})}


def _most(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {day: max(one.get(day, 0), other.get(day, 0)) for day in sorted({*one, *other})}
