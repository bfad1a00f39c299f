"""A folder as storage."""

from __future__ import annotations

import os
import re
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO

from ratchet.failpoints import failpoint
from ratchet.storage.failures import local_errors, not_stored
from ratchet.storage.role import PIECE, Entry, Storage, check_key, reader

_UNFINISHED = ".unfinished-"
_STAGED = re.compile(r".+#[0-9]+")  # what deltalake calls a file until it is whole


class LocalStorage(Storage):
    """A folder, made when something is first written."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def __repr__(self) -> str:
        return f"LocalStorage({str(self._root)!r})"

    def address(self, key: str = "") -> str:
        return str(self._path(key))

    def below(self, folder: str) -> LocalStorage:
        return LocalStorage(self._path(check_key(folder)))

    def list(self, folder: str = "") -> Iterator[Entry]:
        with local_errors(self._path(folder)):
            for path in self._files(folder):
                if not _is_unfinished(path.name) and (entry := self._entry(path)):
                    yield entry

    def look(self, key: str) -> Entry | None:
        path = self._path(check_key(key))
        with local_errors(path):
            return self._entry(path)

    def delete(self, key: str) -> None:
        path = self._path(check_key(key))
        with local_errors(path):
            path.unlink(missing_ok=True)

    def abort_leftovers(self, older_than: timedelta) -> int:
        left, before = 0, datetime.now(UTC) - older_than
        with local_errors(self._root):
            for path in self._files():
                if _is_unfinished(path.name) and (entry := self._entry(path)) and entry.modified <= before:
                    path.unlink(missing_ok=True)
                    left += 1
        return left

    def delta_options(self) -> dict[str, str]:
        return {}

    def _path(self, key: str) -> Path:
        return self._root / check_key(key) if key else self._root

    def _files(self, folder: str = "") -> Iterator[Path]:
        for here, _, names in os.walk(self._path(folder), onerror=_raise_unless_gone):
            yield from (Path(here, name) for name in names)

    def _entry(self, path: Path) -> Entry | None:
        try:
            seen = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        if not stat.S_ISREG(seen.st_mode):
            return None
        modified = datetime.fromtimestamp(seen.st_mtime, UTC)
        return Entry(path.relative_to(self._root).as_posix(), seen.st_size, modified)

    @contextmanager
    def _opened(self, key: str) -> Iterator[tuple[int, Iterator[bytes]]]:
        path = self._path(key)
        if self.look(key) is None:  # also what isn't a regular file: a pipe would be waited on for ever
            raise not_stored(self.address(key))
        with local_errors(path):
            file = open(path, "rb")  # noqa: SIM115 closed below; what the caller does meanwhile isn't this file's error
        with file:
            yield os.fstat(file.fileno()).st_size, _pieces(file, path)

    def _put(self, key: str, data: bytes | Path) -> None:
        path = self._path(key)
        with local_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=_UNFINISHED)
            try:
                with os.fdopen(handle, "wb") as out, reader(data) as source:
                    while piece := source.read(PIECE):
                        out.write(piece)
                    out.flush()
                    os.fsync(out.fileno())
                os.chmod(temporary, 0o644)
                failpoint("storage.before_rename")
                os.replace(temporary, path)
            except BaseException:
                Path(temporary).unlink(missing_ok=True)
                raise


def _pieces(file: BinaryIO, path: Path) -> Iterator[bytes]:
    with local_errors(path):
        while piece := file.read(PIECE):
            yield piece


def _is_unfinished(name: str) -> bool:
    return name.startswith(_UNFINISHED) or _STAGED.fullmatch(name) is not None


def _raise_unless_gone(error: OSError) -> None:
    if not isinstance(error, (FileNotFoundError, NotADirectoryError)):
        raise error
