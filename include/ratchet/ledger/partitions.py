"""Which days of which datasets are published, scored and checked, and from what."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from sqlalchemy import Column, ColumnElement, func, select

from ratchet.days import check_day
from ratchet.errors import ConflictError
from ratchet.ledger.chain import Chain, Transaction
from ratchet.ledger.plain import instant
from ratchet.ledger.rows import keep_first, read_all, read_one
from ratchet.ledger.tables import checks, partitions, refusals, scorings
from ratchet.ledger.values import Check, Partition, Refusal, Scored


class Partitions:
    """Published days. A day's newest revision is the day; older ones stay on record."""

    _chain: Chain

    def record_partition(
        self,
        dataset: str,
        day: str,
        digest: str,
        drop_sha256: str,
        recipe: str,
        table_version: int,
        rows: int,
        quarantined: int,
        delivered_at: datetime | str,
        actor: str | None = None,
        reason: str = "delivered",
        revises: int | None = None,
    ) -> Partition:
        """Record that `day` was published, by whom (None: the ledger's own actor) and why. The same content from the
        same drop by the same recipe as the day holds already changes nothing; anything else is a new revision: a
        restatement if its digest differs, else only found the same again.

        `revises`: the day's newest revision when the caller looked at it (0: there was none; None: it didn't look).
        Raises ConflictError when the day has had another one since, or holds a newer table version: the caller was
        overtaken.
        """
        facts = {
            "dataset": dataset,
            "day": day,
            "digest": digest,
            "drop_sha256": drop_sha256,
            "recipe": recipe,
            "table_version": table_version,
            "rows": rows,
            "quarantined": quarantined,
            "delivered_at": delivered_at,
            "actor": actor,
            "reason": reason,
            "revises": revises,
        }
        return self.record_partitions([facts])[0]

    def record_partitions(self, published: Iterable[Mapping]) -> list[Partition]:
        """Record several days, all of them or none; each is what `record_partition` takes, all of it, by name."""
        with self._chain.write() as transaction:
            return [_record_day(transaction, **facts) for facts in published]

    def record_refusal(
        self,
        dataset: str,
        day: str,
        delivery: str,
        recipe: str,
        reasons: Sequence[str],
        actor: str | None = None,
    ) -> Refusal:
        """Record that a drop was refused as a whole, and why. The same drop by the same recipe again: nothing."""
        day = check_day(day, "day")
        what = {"dataset": dataset, "day": day, "delivery": delivery, "recipe": recipe}
        with self._chain.write() as transaction:
            mine = [refusals.c[name] == value for name, value in what.items()]
            known = read_one(transaction.connection, Refusal, refusals, *mine)
            if known:
                return known
            row = {
                **what,
                "reasons": list(reasons),
                "actor": actor or transaction.actor,
                "recorded_at": transaction.now,
            }
            transaction.append("drop_refused", f"datasets/{dataset}/{day}", transaction.add(refusals, row), actor)
            return read_one(transaction.connection, Refusal, refusals, *mine)

    def refusals(self, dataset: str) -> list[Refusal]:
        """Every drop of the dataset that was refused, in order of day and time."""
        with self._chain.read() as connection:
            order = (refusals.c.day, refusals.c.recorded_at)
            return read_all(connection, Refusal, refusals, refusals.c.dataset == dataset, order=order)

    def partition(self, dataset: str, day: str) -> Partition | None:
        """The day as it is now; None when it has not been published."""
        found = self.partitions(dataset, day, day)
        return found[0] if found else None

    def partitions(self, dataset: str, first: str | None = None, last: str | None = None) -> list[Partition]:
        """The dataset's days as they are now, in order, from `first` to `last`, both included."""
        return [revisions[-1] for revisions in self.partition_revisions(dataset, first, last).values()]

    def partition_revisions(
        self, dataset: str, first: str | None = None, last: str | None = None
    ) -> dict[str, list[Partition]]:
        """Every revision of the dataset's days, by day, both in order."""
        where = [partitions.c.dataset == dataset, *_between(partitions.c.day, first, last)]
        found: dict[str, list[Partition]] = {}
        with self._chain.read() as connection:
            order = (partitions.c.day, partitions.c.revision)
            for one in read_all(connection, Partition, partitions, *where, order=order):
                found.setdefault(one.day, []).append(one)
        return found

    def high_water(self, dataset: str) -> str | None:
        """The dataset's last published day."""
        with self._chain.read() as connection:
            return connection.scalar(select(func.max(partitions.c.day)).where(partitions.c.dataset == dataset))


class Watched:
    """What was predicted, and what was found when looking at it."""

    _chain: Chain

    def record_scored(
        self,
        model: str,
        day: str,
        inputs_digest: str,
        version: int,
        rows: int,
        table_version: int,
        partitions: Mapping | None = None,
        routing: str | None = None,
    ) -> Scored:
        """Record that `day` was scored by `version` from those inputs, a share of it by the canary of `routing`; if it
        already is, nothing changes.

        Raises ConflictError when the day already holds a newer table version: the caller was overtaken.
        """
        day = check_day(day, "day")
        with self._chain.write() as transaction:
            mine, newest = (scorings.c.model == model, scorings.c.day == day), (scorings.c.revision.desc(),)
            known = read_one(transaction.connection, Scored, scorings, *mine, order=newest)
            if known and (known.inputs_digest, known.version, known.routing) == (inputs_digest, version, routing):
                return known
            _refuse_stale(known, table_version, f"predictions of {model} for {day}")
            row = {
                "model": model,
                "day": day,
                "revision": known.revision + 1 if known else 1,
                "inputs_digest": inputs_digest,
                "partitions": partitions or {},
                "version": version,
                "routing": routing,
                "rows": rows,
                "table_version": table_version,
                "recorded_at": transaction.now,
            }
            transaction.append("day_scored", f"models/{model}/days/{day}", transaction.add(scorings, row))
            return read_one(transaction.connection, Scored, scorings, *mine, order=newest)

    def scored(self, model: str, day: str) -> Scored | None:
        """The newest scoring of that day; None when there is none."""
        return self.scored_days(model).get(day)

    def scorings(self, model: str, first: str | None = None, last: str | None = None) -> list[Scored]:
        """Every scoring of the days from `first` to `last`, both included, in order of day and revision."""
        where = [scorings.c.model == model, *_between(scorings.c.day, first, last)]
        with self._chain.read() as connection:
            return read_all(connection, Scored, scorings, *where, order=(scorings.c.day, scorings.c.revision))

    def scored_days(self, model: str) -> dict[str, Scored]:
        """The newest scoring of each day, by day, in order."""
        return {scored.day: scored for scored in self.scorings(model)}

    def record_check(
        self, model: str, as_of: str, version: int, key: str, result: Mapping, report_url: str | None
    ) -> Check:
        """Record a drift check of `version` as of a day. `key` is the digest of what it was made from (predictions,
        window, settings): the first record under a key stands, a second call returns it."""
        as_of = check_day(as_of, "as_of")
        row = {
            "model": model,
            "key": key,
            "as_of": as_of,
            "version": version,
            "result": result,
            "report_url": report_url,
        }
        subject = f"models/{model}/checks/{as_of}"
        with self._chain.write() as transaction:
            return keep_first(transaction, Check, checks, row, entry="drift_checked", subject=subject)

    def newest_check(
        self, model: str, version: int, as_of: str | None = None, before: str | None = None
    ) -> Check | None:
        """The version's check as of its newest day, as of that one, or of the newest `before` a day: of several, the
        one recorded last, which has taken the place of those before. None when there is none."""
        mine = [checks.c.model == model, checks.c.version == version]
        mine += [checks.c.as_of == as_of] if as_of else []
        mine += [checks.c.as_of < before] if before else []
        with self._chain.read() as connection:
            return read_one(
                connection, Check, checks, *mine, order=(checks.c.as_of.desc(), checks.c.recorded_at.desc())
            )

    def checks(self, model: str, first: str | None = None, last: str | None = None) -> list[Check]:
        """The model's drift checks, as of the days `first` to `last` if given, oldest as-of first."""
        mine, order = [checks.c.model == model, *_between(checks.c.as_of, first, last)], (checks.c.as_of,)
        with self._chain.read() as connection:
            return read_all(connection, Check, checks, *mine, order=(*order, checks.c.recorded_at))


def _record_day(
    transaction: Transaction, *, dataset: str, day: str, actor: str | None, revises: int | None, **facts: object
) -> Partition:
    day, delivered_at = check_day(day, "day"), instant(facts["delivered_at"], "delivered_at")
    mine, newest = (partitions.c.dataset == dataset, partitions.c.day == day), (partitions.c.revision.desc(),)
    known = read_one(transaction.connection, Partition, partitions, *mine, order=newest)
    if known and all(getattr(known, name) == facts[name] for name in ("digest", "drop_sha256", "recipe")):
        return known
    revision = known.revision if known else 0
    if revises is not None and revises != revision:
        raise _overtaken(f"{dataset} {day}", f"revision {revision}", f"{revises}, from which this was made")
    _refuse_stale(known, facts["table_version"], f"{dataset} {day}")
    row = {
        "dataset": dataset,
        "day": day,
        "revision": revision + 1,
        **facts,
        "delivered_at": delivered_at,
        "actor": actor or transaction.actor,
        "recorded_at": transaction.now,
    }
    kept = transaction.add(partitions, row)
    transaction.append("partition_published", f"datasets/{dataset}/{day}", kept, actor)
    return read_one(transaction.connection, Partition, partitions, *mine, order=newest)


def _between(day: Column, first: str | None, last: str | None) -> list[ColumnElement]:
    return [*([day >= first] if first else []), *([day <= last] if last else [])]


def _refuse_stale(known: Partition | Scored | None, table_version: int, what: str) -> None:
    if known and table_version < known.table_version:
        raise _overtaken(what, f"table version {table_version}", f"{known.table_version} or newer")


def _overtaken(what: str, seen: str, expected: str) -> ConflictError:
    return ConflictError(
        f"{what} was published again meanwhile",
        seen=seen,
        expected=expected,
        hint="run again: it starts from what is there now",
    )
