"""Landing zone and lake on a folder and on S3: the same promises."""

import builtins
import hashlib
import os
import stat
import subprocess
import sys
import textwrap
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from s3_server import BUCKET

from ratchet.errors import NotStoredError, ParameterError, StorageRefusedError, TooBigError
from ratchet.settings import get_settings
from ratchet.storage import open_storage

LIMIT = 1_000_000
KEY = "flights/2013-01-01/flights.csv.gz"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_what_is_written_is_read(storage, tmp_path):
    storage.write(KEY, b"rows")
    assert storage.read(KEY, LIMIT) == b"rows"
    assert storage.digest(KEY) == storage.download(KEY, tmp_path / "copy", LIMIT) == sha256(b"rows")
    assert (tmp_path / "copy").read_bytes() == b"rows"
    entry = storage.look(KEY)
    assert (entry.key, entry.size) == (KEY, 4)
    assert abs(datetime.now(UTC) - entry.modified) < timedelta(minutes=5)
    assert list(storage.list()) == list(storage.list("flights")) == [entry]


def test_a_file_is_written_as_its_bytes_and_empty_ones_too(storage, tmp_path):
    (tmp_path / "file").write_bytes(b"from a file")
    storage.write("a/file", tmp_path / "file")
    storage.write("a/empty", b"")
    assert storage.read("a/file", LIMIT) == b"from a file" and storage.read("a/empty", 0) == b""


def test_what_is_written_again_is_replaced(storage):
    for data in (b"one", b"two", b"three"):
        storage.write(KEY, data)
        assert storage.read(KEY, LIMIT) == data
    assert len(list(storage.list())) == 1


def test_where_nothing_lies(storage, tmp_path):
    assert list(storage.list()) == list(storage.list("flights")) == [] and storage.look(KEY) is None
    storage.write(KEY, b"rows")
    for missing in ("flights", "flights/2013-01-01", f"{KEY}/more", "flights/2013-01-01/flights.csv"):
        assert storage.look(missing) is None
        for ask in (
            lambda key: storage.read(key, LIMIT),
            lambda key: storage.download(key, tmp_path / "copy", LIMIT),
            storage.digest,
        ):
            with pytest.raises(NotStoredError, match="nothing is stored there"):
                ask(missing)
    assert list(storage.list("flight")) == list(storage.list(KEY)) == []


def test_below_a_folder_keys_begin_there(storage):
    landing = storage.below("landing")
    landing.write("a/b", b"x")
    storage.write("landing2/a", b"of another folder")
    assert [entry.key for entry in landing.list()] == ["a/b"]
    assert [entry.key for entry in storage.list("landing")] == ["landing/a/b"]
    assert landing.address("a/b") == storage.address("landing/a/b") == f"{storage.address()}/landing/a/b"
    assert storage.read("landing/a/b", 1) == b"x"


_NO_KEYS = ["", "/etc/passwd", "../x", "a/../b", "a/..", ".", "a//b", "a/", "a\\b", "a\0b", "a\n", "a b", "%2e%2e/x"]
_NO_KEYS += ["fl\u0456ghts", "-rf", "a/.hidden", "a" * 300, "a/" * 30 + "a", None, 7, b"a"]


@pytest.mark.parametrize("key", _NO_KEYS)
def test_d8_a_key_that_is_none_is_refused_before_anything_is_asked(tmp_path, key):
    for storage in (open_storage(tmp_path / "storage"), open_storage("s3://nobody-answers/prefix")):
        asks = [
            lambda s: s.write(key, b"x"),
            lambda s: s.read(key, LIMIT),
            lambda s: s.download(key, tmp_path / "copy", LIMIT),
            lambda s: s.look(key),
            lambda s: s.digest(key),
            lambda s: s.below(key),
        ]
        for ask in asks:
            with pytest.raises(ParameterError, match="not a storage's key"):
                ask(storage)
    assert not (tmp_path / "storage").exists()


_NO_ADDRESSES = [
    "s3://",
    "s3://B",
    "s3:///prefix",
    "s3://bucket/../x",
    "s3://bucket//x",
    "gs://bucket/x",
    "https://h/b",
]
_NO_ADDRESSES += ["s3://AKIAPLANTED:planted+secret@bucket/x", "s3://bucket/x?secret=planted"]


@pytest.mark.parametrize("url", _NO_ADDRESSES)
def test_s3_an_address_that_is_none_is_refused_and_not_repeated(url):
    with pytest.raises(ParameterError, match="not an address of a storage") as refused:
        open_storage(url)
    assert "lanted" not in str(refused.value) + repr(refused.value)


def test_where_storage_is_comes_from_one_setting(monkeypatch, tmp_path):
    monkeypatch.setenv("RATCHET_VAR", str(tmp_path))
    from ratchet.deployment import Deployment

    for given, told in (("", str(tmp_path)), ("s3://bucket/pre/fix/", "s3://bucket/pre/fix"), ("/data", "/data")):
        monkeypatch.setenv("RATCHET_STORAGE", given)
        get_settings.cache_clear()
        deployment = Deployment(get_settings())
        assert deployment.drops.storage.address() == f"{told}/landing"
        assert deployment.lake.storage.address("datasets/x") == deployment.lake.path("datasets/x")
        assert deployment.lake.path("datasets/x") == f"{told}/lake/datasets/x"
    get_settings.cache_clear()


def test_d7_what_is_too_big_is_refused_before_it_is_read(storage, tmp_path):
    storage.write(KEY, b"x" * 1001)
    for ask in (lambda: storage.read(KEY, 1000), lambda: storage.download(KEY, tmp_path / "copy", 1000)):
        with pytest.raises(TooBigError, match="seen: 1001 bytes\n.*1000 at most"):
            ask()
    assert (tmp_path / "copy").stat().st_size == 0
    assert len(storage.read(KEY, 1001)) == 1001


def test_writing_the_same_bytes_again_leaves_them_alone(storage, monkeypatch):
    storage.write(KEY, b"rows")
    monkeypatch.setattr(type(storage), "_put", lambda *_: pytest.fail("written again"))
    storage.write(KEY, b"rows")
    with pytest.raises(pytest.fail.Exception, match="written again"):
        storage.write(KEY, b"ROWS")


def test_readers_see_the_old_bytes_or_the_new(storage):
    """Whatever the moment; never a part, never a mixture, never nothing."""
    sizes = (300_000, 200_000)
    writes = [bytes([65 + n % 26]) * sizes[n % 2] for n in range(30)]
    storage.write(KEY, writes[0])
    torn, done = [], threading.Event()

    def look() -> None:
        while not done.is_set():
            seen = storage.read(KEY, LIMIT)
            if len(seen) not in sizes or len(set(seen)) != 1:
                torn.append(len(seen))

    readers = [threading.Thread(target=look) for _ in range(2)]
    for reader in readers:
        reader.start()
    for data in writes:
        storage.write(KEY, data)
    done.set()
    for reader in readers:
        reader.join()
    assert torn == []


def test_thousands_of_keys_are_listed_page_by_page(storage):
    """S3 tells a thousand at a time."""
    keys = {f"flights/{n:04d}/manifest.json" for n in range(2105)}
    if hasattr(storage, "_client"):
        client = storage._client
        for key in keys:
            client.put_object(Bucket=BUCKET, Key=f"{storage.address().partition(f'{BUCKET}/')[2]}/{key}", Body=b"{}")
    else:
        for key in keys:
            storage.write(key, b"{}")
    storage.write("flights2/x", b"")
    listed = list(storage.list("flights"))
    assert len(listed) == 2105 and {entry.key for entry in listed} == keys
    assert next(storage.list("flights")).size == 2


BIG = 160 * 1024 * 1024
_COPY = textwrap.dedent(
    """
    import hashlib, resource, sys
    from pathlib import Path
    from ratchet.storage import open_storage
    storage, file = open_storage(sys.argv[1]), Path(sys.argv[2])
    storage.write("small", b"x"); storage.download("small", file.with_name("small"), 10)  # what boto3 itself takes
    list(storage.list())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if sys.argv[3] == "up":
        storage.write("big", file)
        assert storage.look("big").size == file.stat().st_size
    else:
        print(storage.download("big", file, file.with_name("big").stat().st_size))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    """
)


def test_d7_big_objects_go_up_and_come_down_in_pieces(storage, tmp_path):
    piece = os.urandom(1024 * 1024)
    with open(tmp_path / "big", "wb") as file:
        for n in range(BIG // len(piece)):
            file.write(bytes([n % 256]) + piece[1:])
    address = storage.address()
    run = {"capture_output": True, "text": True, "check": True}
    up = subprocess.run([sys.executable, "-c", _COPY, address, str(tmp_path / "big"), "up"], **run)
    down = subprocess.run([sys.executable, "-c", _COPY, address, str(tmp_path / "again"), "down"], **run)
    seen, grown_down = down.stdout.split()
    with open(tmp_path / "big", "rb") as file:
        assert seen == hashlib.file_digest(file, "sha256").hexdigest()

    assert int(up.stdout) < 96 * 1024 and int(grown_down) < 32 * 1024  # KiB


def test_leftovers_of_killed_uploads_are_aborted(s3_address, s3_server):
    storage, client = open_storage(s3_address), s3_server.client()
    prefix = s3_address.partition(f"{BUCKET}/")[2]
    begun = [f"{prefix}/lake/a", f"{prefix}/b", f"{prefix}2/of-somebody-else"]
    for key in begun:
        upload = client.create_multipart_upload(Bucket=BUCKET, Key=key)
        client.upload_part(Bucket=BUCKET, Key=key, UploadId=upload["UploadId"], PartNumber=1, Body=b"x" * 1000)
    assert storage.abort_leftovers(timedelta(hours=1)) == 0
    assert storage.abort_leftovers(timedelta(0)) == 2
    left = client.list_multipart_uploads(Bucket=BUCKET, Prefix=prefix).get("Uploads", [])
    assert [one["Key"] for one in left] == [begun[2]]
    assert storage.abort_leftovers(timedelta(0)) == 0 and list(storage.list()) == []


def test_leftovers_of_killed_writers_are_never_listed_and_go(tmp_path):
    storage = open_storage(tmp_path)
    storage.write(KEY, b"rows")
    left = (tmp_path / KEY).with_name(".unfinished-abc")
    left.write_bytes(b"ro")
    assert [entry.key for entry in storage.list()] == [KEY]
    assert storage.abort_leftovers(timedelta(hours=1)) == 0 and left.exists()
    assert storage.abort_leftovers(timedelta(0)) == 1 and not left.exists()
    assert storage.read(KEY, LIMIT) == b"rows"


def test_x3_a_full_disk_leaves_the_old_bytes(tmp_path, monkeypatch):
    storage = open_storage(tmp_path / "storage")
    storage.write(KEY, b"old")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Exception, match=r"disk is full\n  seen: ENOSPC") as failed:
        storage.write(KEY, b"new bytes")
    assert failed.value.retryable
    assert storage.read(KEY, LIMIT) == b"old" and len(os.listdir((tmp_path / "storage" / KEY).parent)) == 1


def test_a_folder_without_rights_is_not_an_empty_one(tmp_path, monkeypatch):
    """Root may read everything, so the system's answer is made up."""
    storage = open_storage(tmp_path / "storage")
    storage.write(KEY, b"rows")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    for module, name, ask in (
        (os, "scandir", lambda: list(storage.list())),
        (builtins, "open", lambda: storage.read(KEY, LIMIT)),
        (Path, "stat", lambda: storage.look(KEY)),
        (os, "replace", lambda: storage.write(KEY, b"other")),
    ):
        with monkeypatch.context() as patched:
            patched.setattr(module, name, refuse)
            with pytest.raises(StorageRefusedError, match=r"folder refused\n  seen: EACCES"):
                ask()
    assert storage.read(KEY, LIMIT) == b"rows" and len(list((tmp_path / "storage").rglob("*"))) == 3


def test_what_is_no_file_is_not_waited_for(tmp_path):
    storage = open_storage(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for key in ("pipe", "folder"):
        assert storage.look(key) is None and list(storage.list()) == []
        with pytest.raises(NotStoredError):
            storage.read(key, LIMIT)


def test_files_can_be_read_by_others(tmp_path):
    open_storage(tmp_path).write("a", b"x")
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o644
    assert isinstance(open_storage(str(tmp_path)).address(), str) and Path(tmp_path, "a").is_file()
