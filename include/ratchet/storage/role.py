"""What landing zone and lake ask of the place that holds their bytes."""

from __future__ import annotations

import hashlib
import io
import logging
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import BinaryIO

from ratchet.errors import NotStoredError, ParameterError, TooBigError
from ratchet.failpoints import failpoint
from ratchet.storage.failures import local_errors

log = logging.getLogger(__name__)

PIECE = 1024 * 1024  # bytes in memory at once while something is copied
_PART = r"[A-Za-z0-9_][A-Za-z0-9._=-]{0,200}"
_KEY = re.compile(rf"{_PART}(/{_PART}){{0,20}}")


@dataclass(frozen=True)
class Entry:
    """`key` from the storage's own root on; `size` in bytes; `modified` in UTC."""

    key: str
    size: int
    modified: datetime


class Storage(ABC):
    """Objects by key. Every call may raise StorageError (trying again may help) or StorageRefusedError (it won't);
    a key that isn't one is a ParameterError, before anything is asked."""

    @abstractmethod
    def address(self, key: str = "") -> str:
        """Where it lies, for people and for deltalake; holds no credentials."""

    @abstractmethod
    def below(self, folder: str) -> Storage:
        """The storage whose root is a folder of this one."""

    @abstractmethod
    def list(self, folder: str = "") -> Iterator[Entry]:
        """Everything below a folder, however deep and however much, in no promised order. None: nothing."""

    @abstractmethod
    def look(self, key: str) -> Entry | None:
        """What lies under a key, its bytes not read."""

    @abstractmethod
    def delete(self, key: str) -> None:
        """Removes what lies under a key; nothing there: nothing happens. A bucket with versioning keeps it."""

    @abstractmethod
    def abort_leftovers(self, older_than: timedelta) -> int:
        """Removes what killed writers left unfinished that long ago or longer. Returns how many there were."""

    @abstractmethod
    def delta_options(self) -> dict[str, str]:
        """deltalake's storage_options. They hold credentials: made when they are needed, to be kept nowhere."""

    def read(self, key: str, max_bytes: int) -> bytes:
        """The bytes under a key. Raises NotStoredError, or TooBigError before more than `max_bytes` are taken in."""
        into = io.BytesIO()
        self._copy(key, into, max_bytes)
        return into.getvalue()

    def download(self, key: str, to: Path, max_bytes: int) -> str:
        """Copies an object to a file, in pieces. Returns the sha256 of exactly what was copied. Raises as `read`."""
        with local_errors(to), open(to, "wb") as into:
            return self._copy(key, into, max_bytes)

    def digest(self, key: str) -> str:
        """The sha256 of the bytes under a key, read in pieces and kept nowhere. Raises NotStoredError."""
        return self._copy(key, None, None)

    def write(self, key: str, data: bytes | Path) -> None:
        """Puts bytes, or a file's, under a key, whole or not at all. Bytes that lie there already are left alone."""
        check_key(key)
        if not self._holds(key, data):
            failpoint("storage.before_write")
            self._put(key, data)
            failpoint("storage.after_write")
            log.debug("written: %s", self.address(key))

    def _copy(self, key: str, into: BinaryIO | None, max_bytes: int | None) -> str:
        """Hashes while it copies. The size is looked at first, and again at each piece: a file may grow meanwhile."""
        check_key(key)
        sha, copied = hashlib.sha256(), 0
        with self._opened(key) as (size, pieces):
            self._refuse_too_big(key, size, max_bytes)
            for piece in pieces:
                copied += len(piece)
                self._refuse_too_big(key, copied, max_bytes)
                sha.update(piece)
                if into is not None:
                    into.write(piece)
        return sha.hexdigest()

    def _refuse_too_big(self, key: str, size: int, max_bytes: int | None) -> None:
        if max_bytes is not None and size > max_bytes:
            raise TooBigError(
                "an object that is too big",
                seen=f"{size} bytes",
                expected=f"{max_bytes} at most",
                where=self.address(key),
                hint="have it delivered in smaller parts",
            )

    def _holds(self, key: str, data: bytes | Path) -> bool:
        """Whether exactly these bytes lie under the key."""
        entry = self.look(key)
        if entry is None or entry.size != size_of(data):
            return False
        with suppress(NotStoredError):
            return self.digest(key) == digest_of(data)
        return False

    @abstractmethod
    @contextmanager
    def _opened(self, key: str) -> Iterator[tuple[int, Iterator[bytes]]]:
        """Size and pieces of an object. Raises NotStoredError."""

    @abstractmethod
    def _put(self, key: str, data: bytes | Path) -> None: ...


def is_key(key: object) -> bool:
    return isinstance(key, str) and _KEY.fullmatch(key) is not None


def check_key(key: str) -> str:
    """`key` itself if it is one, else ParameterError."""
    if is_key(key):
        return key
    raise ParameterError(
        "not a storage's key",
        seen=repr(key)[:300],
        expected="parts joined by /, of letters, digits and ._=-",
        hint="e.g. flights/2013-01-01/manifest.json",
    )


@contextmanager
def reader(data: bytes | Path) -> Iterator[BinaryIO]:
    with io.BytesIO(data) if isinstance(data, bytes) else open(data, "rb") as source:
        yield source


def size_of(data: bytes | Path) -> int:
    return len(data) if isinstance(data, bytes) else data.stat().st_size


def digest_of(data: bytes | Path) -> str:
    with reader(data) as source:
        return hashlib.file_digest(source, "sha256").hexdigest()
