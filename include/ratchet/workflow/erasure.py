"""A person's rows erased for good: out of the landing zone, the lake, and the training inputs saved there.

Order of writes: the ledger says what was found; landing zone; each table's newest version, and the ledger's record of
it; training snapshots; what old versions hold, `datasets` last; the ledger says that it is done. Each step finds what
is left by looking, so that a run that was killed anywhere is finished by the next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ratchet.deployment import Deployment
from ratchet.errors import ConflictError, ParameterError, UnknownNameError

if TYPE_CHECKING:
    from ratchet.erase_drops import LandedRows
    from ratchet.erase_tables import HeldRows, Target
    from ratchet.forget import Person
    from ratchet.ledger import Erasure

_ROUNDS = 3  # an ingestion that had read a drop before may publish after; then there is more to erase


def forget_person(deployment: Deployment, dataset: str, key: dict[str, str], reason: str, actor: str) -> dict:
    """Delete every row of `dataset` in which each column of `key` holds its value (as delivered, not its pseudonym).

    Writes drops and their manifests, `datasets`, `quarantine`, `refused`, `quality`, `predictions` and `shadow`;
    deletes the files of old versions of the days concerned, and snapshots made from partitions that held such rows.
    Marks what has become stale. The values themselves go on no record. Returns {erasure, days, rows: {table: count over
    all versions}, snapshots and versions: {model: those that can't be built again}, stale, not_read: files that can't
    be read, so that somebody has to look at them, in_logs: tables whose log keeps smallest and largest values, also_in:
    datasets that have these columns too}.

    Raises UnknownNameError for a column that isn't there and, with nothing written, when no row is found and none was
    erased before; ParameterError for an empty value or reason, or a reason that holds a value; ConflictError when
    others keep writing the same days.
    """
    from ratchet.forget import Person
    from ratchet.privacy import open_pseudonyms

    spec = deployment.dataset(dataset)
    _check_reason(reason, key)
    run = _Run(deployment, Person(spec, key, open_pseudonyms(deployment.settings.var)))
    landed, held = run.look()
    not_read = [*landed.not_read, *held.not_read]
    if not landed.days and not held.days and run.begun() is None:
        return run.result(run.done_before(not_read), not_read, stale=0)
    for _ in range(_ROUNDS):
        erasure = run.begin(landed, held, reason, actor)
        run.erase(erasure, landed, held)
        landed, held = run.look()
        if not landed.days and not held.days:
            break
    else:
        raise ConflictError(
            f"rows of {dataset} that were to be erased keep coming back",
            where=", ".join(sorted({*landed.days, *held.days})[:10]),
            hint="pause its ingestion and run again: it goes on where it stopped",
        )
    return run.finish(erasure, not_read)


class _Run:
    def __init__(self, deployment: Deployment, person: Person) -> None:
        self.deployment, self.person = deployment, person
        self.drops, self.lake, self.ledger = deployment.drops, deployment.lake, deployment.ledger

    def begun(self) -> Erasure | None:
        """What an earlier run began and didn't finish."""
        return next((one for one in self._of_person() if one.finished_at is None), None)

    def done_before(self, not_read: list[str]) -> Erasure:
        """The newest erasure of the same person."""
        if known := self._of_person():
            return known[-1]
        raise UnknownNameError(
            f"no row of {self.person.spec.name} has this {' and '.join(self.person.key)}: nothing was written",
            seen=f"not read: {', '.join(not_read)}" if not_read else None,
            hint="give each value exactly as it was delivered; ask for how else it may have been written",
        )

    def look(self) -> tuple[LandedRows, HeldRows]:
        from ratchet.erase_drops import find_landed
        from ratchet.erase_tables import find_held

        landed = find_landed(self.drops, self.person)
        return landed, find_held(self.lake, self._targets(landed.odd))

    def begin(self, landed: LandedRows, held: HeldRows, reason: str, actor: str) -> Erasure:
        rows = {"landing": landed.counts} if landed.days else {}
        found = {"rows": rows | held.counts, "revisions": self._revisions(held), "odd_rows": landed.odd}
        return self.ledger.begin_erasure(self.person.spec.name, self.person.digests, reason, actor, found)

    def erase(self, erasure: Erasure, landed: LandedRows, held: HeldRows) -> None:
        """`erasure` knows also of days that an earlier run found, and has done in part."""
        from ratchet.erase_drops import erase_landed
        from ratchet.erase_tables import delete_snapshots, find_held, publish_without
        from ratchet.workflow.erased_day import PublishedDay

        erase_landed(self.drops, self.person, landed)
        wanted, days = self._targets(erasure.found["odd_rows"]), erasure.days
        if set(erasure.found["odd_rows"]) != set(landed.odd):
            held = find_held(self.lake, wanted)  # with what an earlier run has taken out of the drops
        *others, datasets = wanted
        for target in others:
            publish_without(self.lake, target, held, days, erasure.id)
        for day in days:
            PublishedDay(self.deployment, self.person, datasets, day).erase(erasure)
        for model, digests in self._snapshots(erasure).items():
            delete_snapshots(self.lake.storage, model, digests)
        for target in wanted:
            self.lake.purge(target.table, days, held.holding(target.table, days), erasure.id)

    def finish(self, erasure: Erasure, not_read: list[str]) -> dict:
        from ratchet.workflow.staleness import mark_stale

        stale = len(mark_stale(self.deployment))
        snapshots = self._snapshots(erasure)
        done = self.ledger.finish_erasure(erasure.id, snapshots, self._versions(snapshots))
        return self.result(done, not_read, stale)

    def result(self, erasure: Erasure, not_read: list[str], stale: int) -> dict:
        others = self.deployment.datasets.good.values()
        return {
            "erasure": erasure.id,
            "dataset": erasure.dataset,
            "days": erasure.days,
            "rows": {table: sum(days.values()) for table, days in erasure.found["rows"].items()},
            "snapshots": erasure.snapshots,
            "versions": erasure.versions,
            "stale": stale,
            "not_read": not_read,
            "in_logs": [one.table for one in self._targets([]) if self.lake.has_values_in_log(one.table)],
            "also_in": [s.name for s in others if s.name != erasure.dataset and {*erasure.key} <= set(s.columns)],
        }

    def _of_person(self) -> list[Erasure]:
        return [one for one in self.ledger.erasures(self.person.spec.name) if one.key == self.person.digests]

    def _targets(self, odd_rows: list[str]) -> list[Target]:
        from ratchet.erase_tables import targets

        specs, models = self.deployment.datasets.good, self.deployment.models.good.values()
        return targets(self.lake, self.person, specs, models, odd_rows)

    def _revisions(self, held: HeldRows) -> dict[str, list[int]]:
        """Of each day's published partition the revisions that held such rows."""
        from ratchet.lake_files import day_of

        table = f"datasets/{self.person.spec.name}"
        holding = held.holding(table, held.days)
        days = {day_of(key) for key in holding}
        found: dict[str, list[int]] = {}
        read: dict[int, set[str]] = {}
        for day, revisions in self.ledger.partition_revisions(self.person.spec.name).items():
            for one in revisions if day in days else ():
                if one.table_version not in read:
                    read[one.table_version] = self.lake.files_at(table, one.table_version, days) & holding
                if any(day_of(key) == day for key in read[one.table_version]):
                    found.setdefault(day, []).append(one.revision)
        return found

    def _snapshots(self, erasure: Erasure) -> dict[str, list[str]]:
        """By model, the training inputs made, at whatever time, from partitions that held such rows."""
        from ratchet.ledger.staleness import made_from

        revisions, models = erasure.found["revisions"], self.deployment.models
        found = {
            model: [
                one.digest
                for one in self.ledger.snapshots(model)
                if any(
                    {*made_from(partition)} & {*revisions.get(day, ())}
                    for day, partition in one.partitions.get(erasure.dataset, {}).items()
                )
            ]
            for model in sorted({*models.good, *models.errors})
        }
        return {model: digests for model, digests in found.items() if digests}

    def _versions(self, snapshots: dict[str, list[str]]) -> dict[str, list[int]]:
        found = {
            model: [one.version for one in self.ledger.challengers(model) if one.snapshot in digests]
            for model, digests in snapshots.items()
        }
        return {model: versions for model, versions in found.items() if versions}


def _check_reason(reason: str, key: dict[str, str]) -> None:
    if not reason.strip():
        raise ParameterError("no reason given", hint="say why these rows are erased, for the record")
    if any(value and value in reason for value in key.values()):
        raise ParameterError(
            "the reason names who is to be forgotten", hint="say it without the value: it goes on record for good"
        )
