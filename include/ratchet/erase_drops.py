"""A person's rows out of the landing zone: first of all, so that no later ingestion brings them back.

Order of writes: the new file, the manifest that names it, then the old file goes. A crash between any two leaves a day
that can be read, and that is mended by running again.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from ratchet.days import check_day
from ratchet.digests import file_digest
from ratchet.drops import MANIFEST, Drop, DropStore
from ratchet.errors import ConflictError, DropError, NotStoredError, ParameterError, RatchetError, TooBigError
from ratchet.failpoints import failpoint
from ratchet.forget import Lines, Person, find_rows, write_without
from ratchet.read_drop import MAX_BYTES

ERASED_FROM = "erased_from"  # in a manifest: the sha256 of the file that held more rows
_MANIFEST_BYTES = 64 * 1024


@dataclass
class LandedRows:
    """What a landing zone holds of a person: `days` {day: {key of a file: where}}. `not_read`: addresses of files that
    can't be read as drops, so that nobody knows."""

    days: dict[str, dict[str, Lines]] = field(default_factory=dict)
    not_read: list[str] = field(default_factory=list)

    @property
    def counts(self) -> dict[str, int]:
        """Rows by day, over all files of the day."""
        return {day: sum(len(lines.cuts) for lines in files.values()) for day, files in sorted(self.days.items())}

    @property
    def odd(self) -> list[str]:
        return sorted({digest for files in self.days.values() for lines in files.values() for digest in lines.odd})


def find_landed(drops: DropStore, person: Person) -> LandedRows:
    """Looks into every file of every day of the dataset, also those that no manifest names (any more)."""
    found = LandedRows()
    for key in sorted(entry.key for entry in drops.storage.list(person.spec.name)):
        _, day, *name = key.split("/")
        if name == [MANIFEST]:
            continue
        try:
            check_day(day, "day")
            with _fetched(drops, key) as path:
                lines = find_rows(path, _as_drop(drops, person, day, key), person)
        except NotStoredError:  # a writer was quicker
            continue
        except (DropError, ParameterError, TooBigError):
            found.not_read.append(f"{drops.storage.address()}/{key}")
            continue
        if lines.cuts:
            found.days.setdefault(day, {})[key] = lines
    return found


def erase_landed(drops: DropStore, person: Person, found: LandedRows) -> None:
    """Takes the rows out: of the file that a day's manifest names by writing another and naming that; any other file
    that holds such rows is deleted (so is one of a delivery under way, whose manifest then names nothing: the sender
    delivers again). Raises ConflictError if a day was delivered again meanwhile."""
    for day, files in sorted(found.days.items()):
        announced = _announced(drops, person, day)
        if announced is not None and announced.key in files:
            _rewrite(drops, announced, files[announced.key])
        for key in sorted(files):
            drops.storage.delete(key)
            failpoint("forget.file_deleted")


def erased_from(drops: DropStore, drop: Drop) -> str | None:
    """The sha256 of the drop that this one is what is left of; None if nothing was erased from it."""
    return _manifest(drops, drop).get(ERASED_FROM)


def _rewrite(drops: DropStore, drop: Drop, lines: Lines) -> None:
    manifest = _manifest(drops, drop)
    with _fetched(drops, drop.key) as path:
        rest = path.with_name("rest")
        write_without(path, rest, lines)
        sha256 = file_digest(rest)
        changed = {
            "file": f"{drop.dataset}-{sha256[:16]}.csv.gz",
            "sha256": sha256,
            "bytes": rest.stat().st_size,
            "rows": max(drop.rows - len(lines.cuts), 0),
            ERASED_FROM: drop.sha256,
        }
        folder = drop.key.rpartition("/")[0]
        drops.storage.write(f"{folder}/{changed['file']}", rest)
    failpoint("forget.file_rewritten")
    if _manifest(drops, drop) != manifest:
        raise _delivered_again(drop)
    told = json.dumps(manifest | changed, indent=2).encode() + b"\n"
    drops.storage.write(f"{folder}/{MANIFEST}", told)
    failpoint("forget.manifest_replaced")


def _announced(drops: DropStore, person: Person, day: str) -> Drop | None:
    """None for a day without a manifest, or with one that can't be read."""
    try:
        return drops.announced(person.spec.name, day)
    except RatchetError as error:
        if error.retryable:
            raise
        return None


def _manifest(drops: DropStore, drop: Drop) -> dict:
    """As it was written, with what only the sender knows."""
    return json.loads(drops.storage.read(f"{drop.key.rpartition('/')[0]}/{MANIFEST}", _MANIFEST_BYTES))


def _as_drop(drops: DropStore, person: Person, day: str, key: str) -> Drop:
    """A file that need not be the one that a manifest names; of it only its address is known."""
    nobody = {"sha256": "", "delivered_at": datetime.now(UTC), "source": "", "rows": 0, "bytes": 0}
    return Drop(person.spec.name, day, key, drops.storage.address(key), **nobody)


@contextmanager
def _fetched(drops: DropStore, key: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="ratchet-forget-") as folder:
        path = Path(folder) / "drop"
        drops.storage.download(key, path, MAX_BYTES)
        yield path


def _delivered_again(drop: Drop) -> ConflictError:
    return ConflictError(
        f"{drop.dataset} was delivered again for {drop.day} meanwhile",
        where=drop.address,
        hint="run again: it goes on where it stopped",
    )
