"""Drops: the files that upstream systems deliver, one folder per dataset and event day, each with its manifest.

    <root>/<dataset>/<day>/<dataset>.csv.gz
    <root>/<dataset>/<day>/manifest.json

The manifest says which file is the drop, its sha256, bytes and rows, when it was delivered (UTC) and where from. It is
written last, by atomic rename: a folder without one is not delivered yet. A restatement is a new file beside the old
one; only the manifest is replaced, so that who reads the old drop reads it whole.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from ratchet.days import check_day
from ratchet.digests import file_digest
from ratchet.errors import DropError, ParameterError

if TYPE_CHECKING:
    import pandas as pd

MANIFEST = "manifest.json"
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
    """A delivered file: immutable, known by its sha256. `delivered_at` is in UTC; `rows` is what the sender counted."""

    dataset: str
    day: str
    path: Path
    sha256: str
    delivered_at: datetime
    source: str
    rows: int
    bytes: int


class DropStore:
    """The landing zone below one root folder."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)

    def days(self, dataset: str) -> list[str]:
        """The days delivered (those with a manifest), sorted. A folder that isn't a day is left alone."""
        folder = self.root / require_dataset_name(dataset)
        if not folder.is_dir():
            return []
        return sorted(path.parent.name for path in folder.glob(f"*/{MANIFEST}") if _is_day(path.parent.name))

    def announced(self, dataset: str, day: str) -> Drop:
        """The drop as its manifest describes it, its bytes not looked at. Raises DropError (see `find`)."""
        folder = self._folder(dataset, day)
        manifest = _read_manifest(folder / MANIFEST, dataset, day)
        return Drop(
            dataset=dataset,
            day=day,
            path=folder / manifest.file,
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
        if not drop.path.is_file():
            raise DropError(
                f"the drop of {dataset} for {day} has a manifest but no file",
                where=drop.path,
                hint="deliver it again, manifest last",
            )
        if (seen := file_digest(drop.path)) != drop.sha256:
            raise digest_mismatch(drop, seen)
        return drop

    def write(self, dataset: str, day: str, frame: pd.DataFrame, delivered_at: datetime, source: str) -> Drop:
        """Delivers a frame as gzipped CSV. The same frame and time again change nothing; another frame is a
        restatement. Instants are written as ISO-8601 in UTC, nulls as nothing, floats so that they read back equal.
        """
        folder = self._folder(dataset, day)
        data = gzip.compress(_to_csv(frame), compresslevel=6, mtime=0)
        sha256 = hashlib.sha256(data).hexdigest()
        name = _file_name(folder, dataset, sha256)
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
        folder.mkdir(parents=True, exist_ok=True)
        _replace(folder / name, data)
        _replace(folder / MANIFEST, json.dumps(manifest.model_dump(mode="json"), indent=2).encode() + b"\n")
        return self.announced(dataset, day)

    def _folder(self, dataset: str, day: str) -> Path:
        return self.root / require_dataset_name(dataset) / check_day(day, "day")


def digest_mismatch(drop: Drop, seen: str) -> DropError:
    return DropError(
        f"the drop of {drop.dataset} for {drop.day} isn't what its manifest says",
        seen=f"sha256 {seen}",
        expected=f"sha256 {drop.sha256}",
        where=drop.path,
        hint="deliver file and manifest again; if a delivery is under way, run again when it is done",
    )


def _is_day(name: str) -> bool:
    try:
        return "1900-01-01" <= check_day(name, "day") < "2200-01-01"
    except ParameterError:
        return False


def _read_manifest(path: Path, dataset: str, day: str) -> Manifest:
    try:
        manifest = Manifest.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise DropError(
            f"no drop of {dataset} for {day}", where=path.parent, hint="wait for its delivery, or ask for other days"
        ) from error
    except (ValidationError, OSError) as error:
        raise DropError(
            f"the manifest of {dataset} for {day} can't be read",
            seen=str(error),
            expected="JSON with dataset, day, file, sha256, bytes, rows, delivered_at (with offset), source",
            where=path,
            hint="have the sender deliver it again",
        ) from error
    if not 1900 <= manifest.delivered_at.year < 2200:
        raise DropError(
            f"the manifest of {dataset} for {day} has no credible time of delivery",
            seen=manifest.delivered_at.isoformat(),
            where=path,
            hint="have the sender deliver it again",
        )
    if (manifest.dataset, manifest.day) != (dataset, day):
        raise DropError(
            f"the manifest of {dataset} for {day} speaks of another drop",
            seen=f"{manifest.dataset} for {manifest.day}",
            where=path,
            hint="have the sender deliver to the folder of the day",
        )
    return manifest


def _file_name(folder: Path, dataset: str, sha256: str) -> str:
    plain = f"{dataset}.csv.gz"
    taken = folder / plain
    if taken.exists() and file_digest(taken) != sha256:
        return f"{dataset}-{sha256[:16]}.csv.gz"
    return plain


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
    return plain.to_csv(index=False, lineterminator="\n").encode()


def _replace(path: Path, data: bytes) -> None:
    """Atomic write, skipped when the file holds these bytes already."""
    if path.exists() and path.read_bytes() == data:
        return
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
