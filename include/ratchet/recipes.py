"""What a model was made with, kept so that it can be made again: the lock file, and the source as it was.

    <storage>/recipes/<sha256>.lock
    <storage>/recipes/<source digest>.tar.gz     the Python files of each package, below a folder of its name

Each lies under its own digest, is written once, and is checked when it is fetched.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
import zlib
from pathlib import Path, PurePosixPath

from ratchet.digests import digest_of, file_digest, source_digest, source_files
from ratchet.errors import NotStoredError, ParameterError, UnknownNameError
from ratchet.storage import Storage

_FOLDER = "recipes"
_MOST_BYTES = 64 * 2**20  # of a kept file, and of all that is in it
_MOST_FILES = 20_000


def keep_recipe(storage: Storage, lock_file: Path, packages: list[str]) -> None:
    """Keep the lock file, and the source of the packages as they are imported from. What is there stays."""
    lock = f"{_FOLDER}/{file_digest(lock_file)}.lock"
    if storage.look(lock) is None:
        storage.write(lock, lock_file.read_bytes())
    source = f"{_FOLDER}/{source_digest(*packages)}.tar.gz"
    if storage.look(source) is None:
        storage.write(source, _packed(packages))


def fetch_lock(storage: Storage, digest: str, target: Path) -> Path:
    """The lock file of that digest, written to `target`. Raises UnknownNameError, ParameterError if it was altered."""
    target.write_bytes(_kept(storage, f"{_FOLDER}/{digest}.lock"))
    _require(file_digest(target), digest, "lock file")
    return target


def fetch_source(storage: Storage, digest: str, target: Path) -> Path:
    """The source of that digest, unpacked to the folder `target`, its packages right below. Raises as fetch_lock, and
    unpacks nothing then: what is no Python file of that digest could be imported in place of one. However much an
    archive says that it holds, no more than 64 MiB and 20,000 files of it are looked at."""
    data = _kept(storage, f"{_FOLDER}/{digest}.tar.gz")
    try:
        with tarfile.open(fileobj=io.BytesIO(_unzipped(data, digest)), mode="r:") as archive:
            _require_plain(archive, digest)
            _require(_content(archive), digest, "source")
            archive.extractall(target, filter="data")
    except (tarfile.TarError, OSError, EOFError, ValueError, zlib.error) as error:
        _require(str(error), digest, "source")
    return target


def _unzipped(data: bytes, digest: str) -> bytes:
    with gzip.open(io.BytesIO(data)) as zipped:
        content = zipped.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        _require(f"more than {_MOST_BYTES} bytes", digest, "source")
    return content


def _require_plain(archive: tarfile.TarFile, digest: str) -> None:
    """Files alone, none of which says to be larger than the archive is (as a sparse one may), below a package each."""
    for count, member in enumerate(archive, start=1):
        path = PurePosixPath(member.name)
        inside = len(path.parts) > 1 and not path.is_absolute() and ".." not in path.parts
        plain = member.isreg() and not member.issparse() and member.size >= 0
        if count > _MOST_FILES or not plain or not inside:
            _require(f"{member.name!r}, number {count}, of type {member.type!r}", digest, "source")


def _content(archive: tarfile.TarFile) -> str:
    """The digest of an archive's files, as `source_digest` has it of a folder's."""
    files: dict[str, list] = {}
    for member in archive:
        package, *inside = PurePosixPath(member.name).parts
        content = archive.extractfile(member).read()
        files.setdefault(package, []).append((PurePosixPath(*inside).as_posix(), hashlib.sha256(content).hexdigest()))
    return digest_of({name: sorted(found, key=_as_globbed) for name, found in files.items()})


def _packed(packages: list[str]) -> bytes:
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as zipped, tarfile.open(fileobj=zipped, mode="w") as archive:
        for package in sorted(set(packages)):
            for root, path in source_files(package):
                entry = tarfile.TarInfo((PurePosixPath(package) / path.relative_to(root).as_posix()).as_posix())
                entry.size = path.stat().st_size
                with path.open("rb") as content:
                    archive.addfile(entry, content)
    return packed.getvalue()


def _as_globbed(file: tuple[str, str]) -> Path:
    return Path(file[0])


def _kept(storage: Storage, key: str) -> bytes:
    try:
        return storage.read(key, _MOST_BYTES)
    except NotStoredError as error:
        where = storage.address(key)
        raise UnknownNameError("a recipe that was not kept", where=where, hint="restore it from a backup") from error


def _require(seen: str, expected: str, what: str) -> None:
    if seen != expected:
        hint = "it was altered: restore it from a backup"
        raise ParameterError(f"a kept {what} that isn't what its name says", seen=seen, expected=expected, hint=hint)
