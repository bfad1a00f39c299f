"""Lock and source are kept under their digests, and come back as they were or not at all."""

from __future__ import annotations

import gzip
import io
import tarfile

import pytest

from ratchet.digests import file_digest, source_digest
from ratchet.errors import ParameterError, UnknownNameError
from ratchet.recipes import fetch_lock, fetch_source, keep_recipe
from ratchet.storage import open_storage

PACKAGES = ["ratchet", "feature_views"]


@pytest.fixture
def lock(tmp_path):
    (tmp_path / "requirements.lock").write_text("numpy==2.4.6\n", "utf-8")
    return tmp_path / "requirements.lock"


def test_what_is_kept_comes_back_as_it_was(storage, lock, tmp_path):
    keep_recipe(storage, lock, PACKAGES)
    kept = {entry.key: entry.modified for entry in storage.list("recipes")}
    assert fetch_lock(storage, file_digest(lock), tmp_path / "again.lock").read_bytes() == lock.read_bytes()
    source = fetch_source(storage, source_digest(*PACKAGES), tmp_path / "source")
    assert (source / "ratchet" / "rebuild.py").is_file() and (source / "feature_views" / "flight_delay.py").is_file()
    keep_recipe(storage, lock, PACKAGES)
    assert {entry.key: entry.modified for entry in storage.list("recipes")} == kept


def test_one_that_was_altered_is_refused(storage, lock, tmp_path):
    keep_recipe(storage, lock, PACKAGES)
    digest = source_digest(*PACKAGES)
    storage.write(f"recipes/{file_digest(lock)}.lock", b"numpy==0.0.1\n")
    with pytest.raises(ParameterError, match="lock file"):
        fetch_lock(storage, file_digest(lock), tmp_path / "again.lock")
    packed = gzip.decompress(storage.read(f"recipes/{digest}.tar.gz", 10**8))
    altered = packed.replace(b"def rebuild(", b"def r3build(")
    assert altered != packed
    storage.write(f"recipes/{digest}.tar.gz", gzip.compress(altered))
    with pytest.raises(ParameterError, match="source"):
        fetch_source(storage, digest, tmp_path / "source")


@pytest.mark.parametrize("name", ["ratchet/rebuild.cpython-311-x86_64-linux-gnu.so", "ratchet/py.typed", "numpy.py"])
def test_a_file_more_than_were_kept_is_refused_and_not_unpacked(storage, lock, tmp_path, name):
    """A compiled module would be imported in place of the Python file beside it."""
    refuse_with(storage, lock, tmp_path, tarfile.TarInfo(name))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE])
def test_what_is_no_file_is_refused_and_not_unpacked(storage, lock, tmp_path, kind):
    entry = tarfile.TarInfo("ratchet/more.py")
    entry.type, entry.linkname = kind, "/etc/passwd"
    refuse_with(storage, lock, tmp_path, entry)


@pytest.mark.parametrize("name", ["/tmp/escaped.py", "../escaped.py", "ratchet/../../escaped.py", "numpy.py"])
def test_a_path_that_leads_out_is_refused_before_anything_is_read(tmp_path, name):
    refuse_archive(tmp_path, tarfile.TarInfo(name).tobuf(), "number 1")


@pytest.mark.parametrize("version", [{"GNU.sparse.map": "0,0"}, {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}])
def test_a_sparse_file_that_says_to_be_huge_is_refused_before_it_is_read(tmp_path, version):
    entry = tarfile.TarInfo("ratchet/more.py")
    entry.pax_headers = {**version, "GNU.sparse.size": str(2**45), "GNU.sparse.realsize": str(2**45)}
    refuse_archive(tmp_path, entry.tobuf(tarfile.PAX_FORMAT) + b"0\n".ljust(512, b"\0"), "number 1, of type")


def test_an_archive_that_grows_beyond_all_bounds_is_refused_without_being_unpacked(tmp_path):
    """64 KiB on the storage are 65 MiB."""
    entry = tarfile.TarInfo("ratchet/more.py")
    entry.size = 65 * 2**20
    refuse_archive(tmp_path, entry.tobuf() + bytes(entry.size), "more than 67108864 bytes")


def test_an_archive_of_countless_files_is_refused(tmp_path):
    refuse_archive(tmp_path, tarfile.TarInfo("ratchet/more.py").tobuf() * 20_001, "number 20001")


def test_a_file_of_less_than_nothing_is_refused(tmp_path):
    """Python's own reader goes back by its size, and reads the archive again for ever."""
    entry = tarfile.TarInfo("ratchet/more.py")
    entry.size = -512
    refuse_archive(tmp_path, entry.tobuf(tarfile.GNU_FORMAT), "number 1")


def refuse_archive(tmp_path, packed: bytes, told: str) -> None:
    storage = open_storage(tmp_path / "storage")
    storage.write(f"recipes/{'0' * 64}.tar.gz", gzip.compress(packed, 1))
    with pytest.raises(ParameterError, match=told):
        fetch_source(storage, "0" * 64, tmp_path / "source")
    assert not (tmp_path / "source").exists()


def refuse_with(storage, lock, tmp_path, entry: tarfile.TarInfo) -> None:
    keep_recipe(storage, lock, PACKAGES)
    digest = source_digest(*PACKAGES)
    packed = io.BytesIO(gzip.decompress(storage.read(f"recipes/{digest}.tar.gz", 10**8)))
    with tarfile.open(fileobj=packed, mode="a") as archive:
        archive.addfile(entry)
    storage.write(f"recipes/{digest}.tar.gz", gzip.compress(packed.getvalue()))
    with pytest.raises(ParameterError, match="a kept source"):
        fetch_source(storage, digest, tmp_path / "source")
    assert not (tmp_path / "source").exists()


@pytest.mark.parametrize(
    "content", [b"", b"no archive", gzip.compress(b"x" * 600, mtime=0), gzip.compress(b"x" * 600, mtime=0)[:-9]]
)
def test_what_is_no_archive_is_refused(storage, tmp_path, content):
    storage.write(f"recipes/{'0' * 64}.tar.gz", content)
    with pytest.raises(ParameterError, match="a kept source"):
        fetch_source(storage, "0" * 64, tmp_path / "source")


def test_one_that_was_not_kept_is_named(storage, tmp_path):
    with pytest.raises(UnknownNameError, match="recipe"):
        fetch_lock(storage, "0" * 64, tmp_path / "lock")
    with pytest.raises(UnknownNameError, match="recipe"):
        fetch_source(storage, "0" * 64, tmp_path / "source")
