"""One published day of a dataset without a person's rows: in the lake, and on the ledger's record of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ratchet.deployment import Deployment
from ratchet.digests import frame_digest
from ratchet.drops import Drop
from ratchet.erase_drops import erased_from
from ratchet.erase_tables import Target
from ratchet.errors import DropError
from ratchet.forget import Person
from ratchet.ledger import Erasure

if TYPE_CHECKING:
    import pandas as pd


class PublishedDay:
    """Published anew from what is left of its drop, so that the next ingestion finds it unchanged. Where it stands so
    already, nothing is written."""

    def __init__(self, deployment: Deployment, person: Person, target: Target, day: str) -> None:
        self.deployment, self.person, self.target, self.day = deployment, person, target, day
        self.lake, self.ledger = deployment.lake, deployment.ledger
        self.partition = self.ledger.partition(person.spec.name, day)

    def erase(self, erasure: Erasure) -> None:
        read_at = self.lake.state(self.target.table)
        rows = self.lake.read(self.target.table, self.day, self.day)
        drop, old = self._rest_of_drop()
        read_from = {*rows["drop_sha256"]} if len(rows) else set()
        if drop and old not in read_from and not self._is_of(drop):
            self._refuse_again(drop)
        if rows.empty and self.partition is None:
            return
        drop = drop if self._is_of(drop) or old in read_from else None
        recorded = self._is_recorded(read_from, drop)
        left = self.target.without(rows, self.day)
        if recorded:
            left = left.assign(recipe=self.partition.recipe)
        if drop:
            left = left.assign(drop_sha256=drop.sha256)
        if not left.equals(rows):
            read_at = self.lake.publish_days(
                self.target.table, {self.day: left}, {"erasure": erasure.id}, read_at=read_at
            )
        if recorded:
            self._record(left, len(rows) - len(left), drop, read_at, erasure)

    def _rest_of_drop(self) -> tuple[Drop | None, str | None]:
        """The day's drop, if it is what an erasure left of one, and that one's sha256."""
        try:
            drop = self.deployment.drops.announced(self.person.spec.name, self.day)
        except DropError:
            return None, None
        old = erased_from(self.deployment.drops, drop)
        return (drop, old) if old else (None, None)

    def _is_of(self, drop: Drop | None) -> bool:
        """Whether the published partition came from what `drop` is left of: an erasure keeps the time of delivery, and
        no other drop of that time would have been taken."""
        return bool(drop and self.partition and drop.delivered_at == self.partition.delivered_at)

    def _is_recorded(self, read_from: set[str], drop: Drop | None) -> bool:
        """Whether the lake holds what the ledger says, and not what an interrupted ingestion has left there: then the
        record is for the next one to make."""
        if self.partition is None:
            return False
        return read_from <= {self.partition.drop_sha256, *([drop.sha256] if self._is_of(drop) else [])}

    def _record(self, left: pd.DataFrame, removed: int, drop: Drop | None, version: int, erasure: Erasure) -> None:
        known = self.partition
        quarantined = self.lake.read(f"quarantine/{known.dataset}", self.day, self.day)
        self.ledger.record_partition(
            dataset=known.dataset,
            day=self.day,
            digest=self._digest(left) if removed or len(left) != known.rows else known.digest,
            drop_sha256=drop.sha256 if drop else known.drop_sha256,
            recipe=known.recipe,
            table_version=version,
            rows=len(left),
            quarantined=len(quarantined),
            delivered_at=known.delivered_at,
            actor=erasure.actor,
            reason=f"erased: {erasure.reason}",
        )

    def _digest(self, rows: pd.DataFrame) -> str:
        """As ingestion takes it (ratchet.publish), of a table that may not have every column of today's spec yet."""
        columns = [name for name in self.person.spec.columns if name in rows.columns]
        return frame_digest(rows[[*columns, "day", "known_at"]])

    def _refuse_again(self, drop: Drop) -> None:
        """A drop that was refused isn't tried again for having fewer rows; unless the reason names the person."""
        of_day = [refusal for refusal in self.ledger.refusals(drop.dataset) if refusal.day == self.day]
        told = " ".join(of_day[-1].reasons) if of_day else ""
        if of_day and not any(value in told for seen_as in self.person.seen_as.values() for value in seen_as):
            facts = (drop.dataset, self.day, drop.delivery, of_day[-1].recipe)
            self.ledger.record_refusal(*facts, of_day[-1].reasons, actor=of_day[-1].actor)
