"""Drops: the files that upstream systems deliver, one folder per dataset and event day, each with its manifest.

    <root>/<dataset>/<day>/<dataset>.csv.gz
    <root>/<dataset>/<day>/manifest.json

The manifest says which file is the drop, its sha256, bytes and rows, when it was delivered (UTC) and where from. It is
written last, whole or not at all: a folder without one is not delivered yet. A restatement is a new file beside the
old one; only the manifest is replaced, so that who reads the old drop reads it whole.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from ratchet.days import check_day
from ratchet.digests import digest_of
from ratchet.errors import DropError, NotStoredError, ParameterError, TooBigError, UndeliveredDropError
from ratchet.storage import Storage, open_storage

if TYPE_CHECKING:
    import pandas as pd

MANIFEST = "manifest.json"
_MANIFEST_BYTES = 64 * 1024
_DATASET = re.compile(r"[a-z][a-z0-9_]{0,40}")


def require_dataset_name(name: str) -> str:
    """`name` itself if it can name a dataset, else ParameterError."""
    if isinstance(name, str) and _DATASET.fullmatch(name):
        return name
    raise ParameterError(
        "not a dataset's name", seen=repr(name), expected="small letters, digits and _", hint="e.g. flights"
    )


class Manifest(BaseModel):
    """What the sender says of a drop. Unknown keys are left to the sender; those here are required."""

    model_config = ConfigDict(frozen=True)

    dataset: str
    day: str
    file: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,120}$")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    bytes: int = Field(ge=0)
    rows: int = Field(ge=0)
    delivered_at: AwareDatetime
    source: str


@dataclass(frozen=True)
class Drop:
    """A delivered file: immutable, known by its sha256. `key` is where it lies in the landing zone, `address` the same
    for people. `delivered_at` is in UTC; `rows` and `bytes` are what the sender counted."""

    dataset: str
    day: str
    key: str
    address: str
    sha256: str
    delivered_at: datetime
    source: str
    rows: int
    bytes: int

    @property
    def delivery(self) -> str:
        """What tells this delivery from another, also of the same bytes: a digest of what its manifest says of them."""
        return digest_of([self.sha256, self.delivered_at.isoformat(), self.rows, self.bytes])


class DropStore:
    """The landing zone: a storage, or the folder that is one."""

    def __init__(self, storage: Storage | Path | str) -> None:
        self.storage = open_storage(storage)

    def days(self, dataset: str) -> list[str]:
        """The days delivered (those with a manifest), sorted. A folder that isn't a day is left alone."""
        keys = (entry.key.split("/") for entry in self.storage.list(require_dataset_name(dataset)))
        return sorted(key[1] for key in keys if len(key) == 3 and key[2] == MANIFEST and _is_day(key[1]))

    def announced(self, dataset: str, day: str) -> Drop:
        """The drop as its manifest describes it, its bytes not looked at. Raises DropError (see `find`)."""
        folder = _folder(dataset, day)
        manifest = self._manifest(folder, dataset, day)
        key = f"{folder}/{manifest.file}"
        return Drop(
            dataset=dataset,
            day=day,
            key=key,
            address=self.storage.address(key),
            sha256=manifest.sha256,
            delivered_at=manifest.delivered_at.astimezone(UTC),
            source=manifest.source,
            rows=manifest.rows,
            bytes=manifest.bytes,
        )

    def find(self, dataset: str, day: str) -> Drop:
        """The drop of a day, its bytes checked against the manifest.

        Raises DropError if there is none, its manifest can't be read or speaks of another dataset, day or folder,
        or the file is missing or isn't what the manifest says.
        """
        drop = self.announced(dataset, day)
        try:
            seen = self.storage.digest(drop.key)
        except NotStoredError as error:
            raise _no_file(drop) from error
        if seen != drop.sha256:
            raise digest_mismatch(drop, seen)
        return drop

    @contextmanager
    def fetched(self, drop: Drop, max_bytes: int) -> Iterator[Path]:
        """A copy of the drop's file while the `with` lasts, its bytes those that the manifest speaks of.

        They are checked while they are copied, so a file that changes meanwhile is refused, never read in part. Raises
        DropError for that, for a missing file, and, before it is copied, for one that is bigger than `max_bytes` or
        announced to be.
        """
        with tempfile.TemporaryDirectory(prefix="ratchet-drop-") as folder:
            path = Path(folder) / drop.key.rpartition("/")[2]
            self._fetch(drop, path, max_bytes)
            yield path

    def _fetch(self, drop: Drop, to: Path, max_bytes: int) -> None:
        if drop.bytes > max_bytes:
            raise _too_big(drop, f"{drop.bytes} bytes announced", max_bytes)
        try:
            seen = self.storage.download(drop.key, to, max_bytes)
        except NotStoredError as error:
            raise _no_file(drop) from error
        except TooBigError as error:
            raise _too_big(drop, error.seen, max_bytes) from error
        if seen != drop.sha256:
            raise digest_mismatch(drop, seen)

    def write(self, dataset: str, day: str, frame: pd.DataFrame, delivered_at: datetime, source: str) -> Drop:
        """Delivers a frame as gzipped CSV. The same frame and time again change nothing; another frame is a
        restatement. Instants are written as ISO-8601 in UTC, nulls as nothing, floats so that they read back equal.
        """
        folder = _folder(dataset, day)
        data = gzip.compress(_to_csv(frame), compresslevel=6, mtime=0)
        sha256 = hashlib.sha256(data).hexdigest()
        name = self._file_name(folder, dataset, sha256)
        manifest = Manifest(
            dataset=dataset,
            day=day,
            file=name,
            sha256=sha256,
            bytes=len(data),
            rows=len(frame),
            delivered_at=delivered_at.astimezone(UTC),
            source=source,
        )
        told = json.dumps(manifest.model_dump(mode="json"), indent=2).encode() + b"\n"
        self.storage.write(f"{folder}/{name}", data)
        self.storage.write(f"{folder}/{MANIFEST}", told)
        return self.announced(dataset, day)

    def _file_name(self, folder: str, dataset: str, sha256: str) -> str:
        plain = f"{dataset}.csv.gz"
        taken = self.storage.look(f"{folder}/{plain}") and self.storage.digest(f"{folder}/{plain}")
        return plain if taken in (None, sha256) else f"{dataset}-{sha256[:16]}.csv.gz"

    def _manifest(self, folder: str, dataset: str, day: str) -> Manifest:
        key = f"{folder}/{MANIFEST}"
        try:
            told = self.storage.read(key, _MANIFEST_BYTES)
        except NotStoredError as error:
            raise DropError(
                f"no drop of {dataset} for {day}",
                where=self.storage.address(folder),
                hint="wait for its delivery, or ask for other days",
            ) from error
        except TooBigError as error:
            raise _unreadable(dataset, day, error.seen, error.where) from error
        return _parse_manifest(told, dataset, day, self.storage.address(key))


def _folder(dataset: str, day: str) -> str:
    return f"{require_dataset_name(dataset)}/{check_day(day, 'day')}"


def digest_mismatch(drop: Drop, seen: str) -> DropError:
    return UndeliveredDropError(
        f"the drop of {drop.dataset} for {drop.day} isn't what its manifest says",
        seen=f"sha256 {seen}",
        expected=f"sha256 {drop.sha256}",
        where=drop.address,
        hint="deliver file and manifest again; if a delivery is under way, run again when it is done",
    )


def _is_day(name: str) -> bool:
    try:
        return "1900-01-01" <= check_day(name, "day") < "2200-01-01"
    except ParameterError:
        return False


def _no_file(drop: Drop) -> DropError:
    return UndeliveredDropError(
        f"the drop of {drop.dataset} for {drop.day} has a manifest but no file",
        where=drop.address,
        hint="deliver it again, manifest last",
    )


def _too_big(drop: Drop, seen: object, max_bytes: int) -> DropError:
    return DropError(
        f"the drop of {drop.dataset} for {drop.day} is too big",
        seen=seen,
        expected=f"{max_bytes} bytes at most",
        where=drop.address,
        hint="have the sender deliver it again; nothing of it was published",
    )


def _unreadable(dataset: str, day: str, seen: object, where: object) -> DropError:
    return DropError(
        f"the manifest of {dataset} for {day} can't be read",
        seen=seen,
        expected="JSON with dataset, day, file, sha256, bytes, rows, delivered_at (with offset), source",
        where=where,
        hint="have the sender deliver it again",
    )


def _parse_manifest(told: bytes, dataset: str, day: str, where: str) -> Manifest:
    try:
        manifest = Manifest.model_validate_json(told)
    except ValidationError as error:
        raise _unreadable(dataset, day, str(error), where) from error
    if not 1900 <= manifest.delivered_at.year < 2200:
        raise DropError(
            f"the manifest of {dataset} for {day} has no credible time of delivery",
            seen=manifest.delivered_at.isoformat(),
            where=where,
            hint="have the sender deliver it again",
        )
    if (manifest.dataset, manifest.day) != (dataset, day):
        raise DropError(
            f"the manifest of {dataset} for {day} speaks of another drop",
            seen=f"{manifest.dataset} for {manifest.day}",
            where=where,
            hint="have the sender deliver to the folder of the day",
        )
    return manifest


class _EndedByNewline(io.StringIO):
    """Takes rows that end in CR LF and ends them in LF. `csv` quotes a value for the characters of its own line end
    alone; told of both, it quotes a bare CR too, which every reader would take for the end of a row."""

    def write(self, row: str) -> int:
        return super().write(row.removesuffix("\r\n") + "\n")  # csv writes row by row


def _to_csv(frame: pd.DataFrame) -> bytes:
    import numpy as np
    import pandas as pd

    plain = frame.copy()
    for name in frame.columns[[isinstance(kind, pd.DatetimeTZDtype) for kind in frame.dtypes]]:
        naive = frame[name].dt.tz_convert("UTC").dt.tz_localize(None).to_numpy("datetime64[s]")
        plain[name] = pd.Series(np.datetime_as_string(naive, unit="s"), index=frame.index).astype(object) + "Z"
        plain.loc[frame[name].isna(), name] = None
    for name in frame.columns[[pd.api.types.is_bool_dtype(kind) for kind in frame.dtypes]]:
        plain[name] = frame[name].map({True: "true", False: "false"}).astype(object)
    text = _EndedByNewline(newline="")
    plain.to_csv(text, index=False, lineterminator="\r\n")
    return text.getvalue().encode()
