"""What challengers said of days that the champion scored, unseen, and what that is evidence of."""

from __future__ import annotations

import json
from collections.abc import Mapping

from sqlalchemy import Connection, or_, select

from ratchet.days import check_day
from ratchet.ledger.chain import Chain
from ratchet.ledger.field_values import FieldEvidence, Shadow
from ratchet.ledger.plain import check_words
from ratchet.ledger.rows import keep_first, read_all, read_one
from ratchet.ledger.tables import events, evidences, shadows


class Shadows:
    """Shadow scorings and evidence, by version. Nothing of it moves a champion."""

    _chain: Chain

    def record_shadow(
        self, model: str, version: int, day: str, inputs_digest: str, rows: int, table_version: int
    ) -> Shadow:
        """Record that `version` scored the day unseen, from those inputs; if it already has, nothing changes."""
        day = check_day(day, "day")
        with self._chain.write() as transaction:
            mine = (shadows.c.model == model, shadows.c.version == version, shadows.c.day == day)
            newest = (shadows.c.revision.desc(),)
            known = read_one(transaction.connection, Shadow, shadows, *mine, order=newest)
            if known and known.inputs_digest == inputs_digest:
                return known
            row = {
                "model": model,
                "version": version,
                "day": day,
                "revision": known.revision + 1 if known else 1,
                "inputs_digest": inputs_digest,
                "rows": rows,
                "table_version": table_version,
                "recorded_at": transaction.now,
            }
            subject = f"models/{model}/shadow/{version}/{day}"
            transaction.append("shadow_scored", subject, transaction.add(shadows, row))
            return read_one(transaction.connection, Shadow, shadows, *mine, order=newest)

    def shadow_days(self, model: str, version: int) -> dict[str, Shadow]:
        """The version's newest shadow scoring of each day, by day, in order."""
        mine = (shadows.c.model == model, shadows.c.version == version)
        with self._chain.read() as connection:
            found = read_all(connection, Shadow, shadows, *mine, order=(shadows.c.day, shadows.c.revision))
        return {one.day: one for one in found}

    def record_shadow_failure(self, model: str, version: int, why: str) -> None:
        """Put on record that the version can't score in the shadow, and why: it is not started for it again. The same
        reason again is not told again, unless it has scored since."""
        check_words(why=why)
        subject = f"models/{model}/shadow/{version}"
        with self._chain.write() as transaction:
            if _failure(transaction.connection, model, version) != why:
                transaction.append("shadow_failed", subject, {"version": version, "why": why})

    def shadow_failure(self, model: str, version: int) -> str | None:
        """Why the version can't score in the shadow; None while nothing is known against it, or once it has since."""
        with self._chain.read() as connection:
            return _failure(connection, model, version)

    def record_evidence(
        self,
        model: str,
        key: str,
        version: int,
        champion_version: int,
        as_of: str,
        result: Mapping,
        report_url: str | None,
    ) -> FieldEvidence:
        """Keep what the field says of a version. The first record under a key stands: a second call returns it."""
        as_of = check_day(as_of, "as_of")
        row = {
            "model": model,
            "key": key,
            "version": version,
            "champion_version": champion_version,
            "as_of": as_of,
            "result": result,
            "report_url": report_url,
        }
        subject = f"models/{model}/shadow/{version}"
        with self._chain.write() as transaction:
            return keep_first(transaction, FieldEvidence, evidences, row, entry="evidence_weighed", subject=subject)

    def newest_evidence(self, model: str, version: int, champion_version: int | None = None) -> FieldEvidence | None:
        """The version's evidence that was recorded last, against that champion or any; None for none."""
        mine = [evidences.c.model == model, evidences.c.version == version]
        mine += [] if champion_version is None else [evidences.c.champion_version == champion_version]
        with self._chain.read() as connection:
            return read_one(connection, FieldEvidence, evidences, *mine, order=(evidences.c.recorded_at.desc(),))


def _failure(connection: Connection, model: str, version: int) -> str | None:
    about = f"models/{model}/shadow/{version}"
    mine = or_(events.c.subject == about, events.c.subject.startswith(f"{about}/", autoescape=True))
    told = events.c.kind.in_(("shadow_failed", "shadow_scored"))
    newest = select(events.c.kind, events.c.payload).where(mine, told).order_by(events.c.seq.desc()).limit(1)
    found = connection.execute(newest).first()
    return json.loads(found.payload)["why"] if found and found.kind == "shadow_failed" else None
