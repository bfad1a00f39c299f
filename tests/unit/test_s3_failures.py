"""What landing zone and lake do when S3 refuses, fails, stalls or loses a reply; and that no secret is told."""

import logging
import subprocess
import sys
import textwrap
import time
import traceback
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest
from faulty_proxy import FaultyProxy

from ratchet.drops import DropStore
from ratchet.errors import ConflictError, StorageError, StorageRefusedError
from ratchet.lake import Lake
from ratchet.settings import get_settings
from ratchet.storage import open_storage
from ratchet.storage import s3 as s3_module
from ratchet.storage.failures import delta_error

TABLE, DAY, LIMIT = "datasets/things", "2013-01-01", 1_000_000
AT = datetime(2013, 1, 2, 5, 30, tzinfo=UTC)
PLANTED = "PLANTEDKEYOFNOBODY"


def rows(value=1.0):
    return pd.DataFrame({"value": [value]})


def every_call(storage, tmp_path):
    """Each thing that is asked of landing zone and lake, by name."""
    lake, drops = Lake(storage.below("lake")), DropStore(storage.below("landing"))
    drop = "landing/weather/2013-01-01/weather.csv.gz"
    return {
        "list": lambda: list(storage.list()),
        "look": lambda: storage.look(drop),
        "read": lambda: storage.read(drop, LIMIT),
        "download": lambda: storage.download(drop, tmp_path / "copy", LIMIT),
        "digest": lambda: storage.digest(drop),
        "write": lambda: storage.write("small", b"x"),
        "write big": lambda: storage.write("big", b"x" * (17 * 1024 * 1024)),
        "delete (no write)": lambda: storage.delete("nothing-there"),
        "abort_leftovers": lambda: storage.abort_leftovers(timedelta(0)),
        "drops.days": lambda: drops.days("weather"),
        "drops.find": lambda: drops.find("weather", DAY),
        "drops.write": lambda: drops.write("weather", "2013-01-02", rows(), AT, "station"),
        "lake.days": lambda: lake.days(TABLE),
        "lake.version": lambda: lake.version(TABLE),
        "lake.history": lambda: lake.history(TABLE),
        "lake.read": lambda: lake.read(TABLE),
        "lake.read version": lambda: lake.read(TABLE, version=0),
        "lake.publish": lambda: lake.publish(TABLE, DAY, rows(2.0)),
        "lake.publish nothing": lambda: lake.publish(TABLE, DAY, rows()[:0]),
        "lake.publish new": lambda: lake.publish("datasets/others", DAY, rows()),
    }


def told(error: BaseException) -> str:
    """All that a log may show of an error."""
    return "".join(traceback.format_exception(error)) + str(error) + repr(error)


@pytest.fixture
def quick(monkeypatch):
    """As in production, with less patience."""
    monkeypatch.setattr(s3_module, "CONNECT_SECONDS", 1)
    monkeypatch.setattr(s3_module, "READ_SECONDS", 1)
    monkeypatch.setattr(s3_module, "ATTEMPTS", 2)


@pytest.fixture
def filled(s3_address):
    """A prefix with a drop and a table of one version."""
    storage = open_storage(s3_address)
    DropStore(storage.below("landing")).write("weather", DAY, rows(), AT, "station")
    Lake(storage.below("lake")).publish(TABLE, DAY, rows())
    return s3_address


@pytest.fixture
def proxy(s3_server, filled, monkeypatch):
    with FaultyProxy(s3_server.endpoint) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        yield proxy


@pytest.mark.parametrize("wrong", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_s3_wrong_credentials_are_refused_and_never_told(filled, tmp_path, monkeypatch, caplog, wrong):
    monkeypatch.setenv(wrong, PLANTED)
    monkeypatch.setenv("RATCHET_STORAGE", filled)
    caplog.set_level(logging.DEBUG, "ratchet")
    storage = open_storage(filled)
    for name, ask in every_call(storage, tmp_path).items():
        with pytest.raises(StorageRefusedError, match="S3 refused") as refused:
            ask()
        assert not refused.value.retryable, name
        assert "HTTP 403" in str(refused.value) and f"where: {filled}" in str(refused.value), name
        assert PLANTED not in told(refused.value), name
        assert "Signature" not in told(refused.value).replace("SignatureDoesNotMatch (HTTP 403)", ""), name
    lake = Lake(storage)
    get_settings.cache_clear()
    shown = [repr(one) for one in (storage, lake, vars(lake), vars(DropStore(storage)), get_settings())]
    get_settings.cache_clear()
    assert PLANTED not in caplog.text + "".join(shown)


def test_without_credentials_nothing_is_asked(s3_address, tmp_path, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    for ask in every_call(open_storage(s3_address), tmp_path).values():
        with pytest.raises(StorageRefusedError, match="S3 can't be asked\n  seen: NoCredentialsError"):
            ask()


def test_an_endpoint_that_is_none_is_named(s3_address, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "planted:secret@nowhere")
    with pytest.raises(StorageRefusedError, match="S3 can't be asked\n.*not an address") as refused:
        open_storage(s3_address).look("x")
    assert "planted" not in told(refused.value)
    with pytest.raises(StorageError) as failed:
        Lake(s3_address).version(TABLE)
    assert "planted" not in told(failed.value)


def test_who_may_only_read_reads_and_cannot_write(filled, s3_server, tmp_path, monkeypatch):
    for name, value in s3_server.environment_of_reader.items():
        monkeypatch.setenv(name, value)
    calls = every_call(open_storage(filled), tmp_path)
    for name in [name for name in calls if "write" in name or "publish" in name]:
        with pytest.raises(StorageRefusedError, match=r"AccessDenied \(HTTP 403\)"):
            calls[name]()
    assert calls["read"]()[:2] == b"\x1f\x8b" and calls["lake.read"]()["value"].tolist() == [1.0]
    assert calls["lake.version"]() == 0


def test_a_bucket_that_is_not_there_is_not_an_empty_one(s3_address, s3_server, tmp_path, monkeypatch):
    """As somebody who may only read: this server makes a bucket at the first write of its administrator."""
    for name, value in s3_server.environment_of_reader.items():
        monkeypatch.setenv(name, value)
    calls = every_call(open_storage("s3://no-such-bucket/x"), tmp_path)
    for ask in calls.values():
        with pytest.raises(StorageRefusedError, match=r"NoSuchBucket|AccessDenied"):
            ask()


@pytest.mark.parametrize("fault", [500, 503, 429, "reset"])
def test_x1_a_short_failure_is_waited_out(proxy, filled, tmp_path, fault):
    for name, ask in every_call(open_storage(filled), tmp_path).items():
        proxy.fail(fault, times=1)
        before = len(proxy.seen())
        ask()
        assert len(proxy.seen()) > before + 1, name
    proxy.mend()
    calls = every_call(open_storage(filled), tmp_path)
    assert calls["lake.version"]() == 2 and calls["drops.days"]() == [DAY, "2013-01-02"]


@pytest.mark.parametrize("fault", [500, 503, 429, "reset"])
def test_x1_a_long_failure_is_one_to_try_again_and_changes_nothing(quick, proxy, filled, tmp_path, fault):
    proxy.fail(fault)
    calls = every_call(open_storage(filled), tmp_path)
    for name, ask in calls.items():
        started = time.monotonic()
        with pytest.raises(StorageError) as failed:
            ask()
        assert failed.value.retryable, f"{name}: {failed.value}"
        assert time.monotonic() - started < 20, name
        assert "PLANTED" not in told(failed.value), name
    proxy.mend()
    storage = open_storage(filled)
    assert storage.look("small") is None and storage.look("big") is None
    assert calls["drops.days"]() == [DAY] and calls["lake.version"]() == 0
    assert Lake(storage.below("lake")).version("datasets/others") is None


@pytest.mark.parametrize("fault", [500, 403, "reset"])
def test_x1_a_commit_that_fails_leaves_the_table_as_it_was(quick, proxy, filled, fault):
    """The rows are there already; the put that makes them visible fails, once and again."""
    lake = Lake(open_storage(filled).below("lake"))
    proxy.fail(fault, "PUT .*_delta_log")
    with pytest.raises(StorageError) as failed:
        lake.publish(TABLE, DAY, rows(2.0))
    assert failed.value.retryable is (fault != 403)
    proxy.mend()
    assert lake.read(TABLE)["value"].tolist() == [1.0] and lake.version(TABLE) == 0
    assert lake.publish(TABLE, DAY, rows(2.0)) == 1


def test_x1_a_server_that_stalls_is_waited_for_a_bounded_time(quick, filled, s3_server, tmp_path):
    calls = every_call(open_storage(filled), tmp_path)
    calls["look"]()
    s3_server.pause()
    try:
        for name in ("list", "read", "write", "lake.version", "lake.publish"):
            started = time.monotonic()
            with pytest.raises(StorageError, match="S3 does not answer") as failed:
                calls[name]()
            assert failed.value.retryable and time.monotonic() - started < 20, name
    finally:
        s3_server.resume()
    assert calls["read"]()[:2] == b"\x1f\x8b" and calls["lake.version"]() == 0


def test_a_server_that_is_down_is_no_empty_storage(quick, filled, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    for name, ask in every_call(open_storage(filled), tmp_path).items():
        with pytest.raises(StorageError, match="S3 does not answer") as failed:
            ask()
        assert failed.value.retryable, name


@pytest.mark.parametrize("size", [100, 17 * 1024 * 1024], ids=["put", "multipart"])
def test_x2_a_write_whose_reply_was_lost_is_found_by_reading_back(quick, proxy, filled, size):
    """Each reply to a write is lost, however often it is sent."""
    storage = open_storage(filled)
    proxy.fail("lose", r"PUT .*/x(\?x-id=PutObject)?$" if size < 1000 else r"POST .*uploadId=")
    storage.write("x", b"a" * size)
    proxy.fail("reset", "PUT ")
    with pytest.raises(StorageError):
        storage.write("x", b"b" * size)  # that one isn't there
    proxy.mend()
    assert storage.read("x", size) == b"a" * size


@pytest.mark.parametrize("times", [1, None], ids=["once", "each time"])
@pytest.mark.parametrize("table", [TABLE, "datasets/others"], ids=["a table that is there", "a new one"])
def test_x2_a_commit_whose_reply_was_lost_is_found_by_reading_back(quick, proxy, filled, table, times):
    lake = Lake(open_storage(filled).below("lake"))
    before = lake.state(table)
    proxy.fail("lose", r"PUT .*_delta_log/.*json", times)
    assert lake.publish(table, DAY, rows(2.0), read_at=before) == before + 1
    proxy.mend()
    assert lake.version(table) == before + 1
    assert lake.read(table)["value"].tolist() == [2.0]


def test_a_read_that_breaks_off_is_one_to_try_again(quick, filled, s3_server, monkeypatch):
    storage = open_storage(filled)
    storage.write("x", b"a" * 3_000_000)
    body = "botocore.response.StreamingBody.read"
    from botocore.exceptions import ReadTimeoutError

    def breaks(*_: object, **__: object) -> bytes:
        raise ReadTimeoutError(endpoint_url=f"http://x/?X-Amz-Signature={PLANTED}")

    monkeypatch.setattr(body, breaks)
    with pytest.raises(StorageError, match="S3 does not answer\n  seen: ReadTimeoutError") as failed:
        storage.read("x", 10_000_000)
    assert failed.value.retryable and PLANTED not in told(failed.value)


def test_of_writers_of_one_day_at_once_each_version_has_one(storage):
    """Every publication that a writer was told of is one version in the history, and there are no others; also of the
    first ones, which make the table. The day holds the rows of one of them."""
    code = textwrap.dedent(
        """
        import sys, pandas as pd
        from ratchet.errors import ConflictError
        from ratchet.lake import Lake
        writer = sys.argv[2]
        print("ready", flush=True); sys.stdin.readline()
        for n, table in enumerate(["fresh_0", "fresh_1", "fresh_2", "things", "things", "things", "things"]):
            try:
                frame, by = pd.DataFrame({"n": [n]}), f"{writer}{n}"
                print(table, Lake(sys.argv[1]).publish(f"datasets/{table}", "2013-01-01", frame, {"by": by}), by)
            except ConflictError:
                pass
        """
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    command = [sys.executable, "-c", code, storage.address()]
    writers = [subprocess.Popen([*command, name], **pipes) for name in "abcd"]
    assert [w.stdout.readline() for w in writers] == ["ready\n"] * 4
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.flush()
    said = [w.communicate(timeout=120) for w in writers]
    assert [w.returncode for w in writers] == [0] * 4, said
    wins = sorted(tuple(line.split()) for out, _ in said for line in out.splitlines())
    lake = Lake(storage)
    tables = ("fresh_0", "fresh_1", "fresh_2", "things")
    history = [(table, str(one["version"]), one["by"]) for table in tables for one in lake.history(f"datasets/{table}")]
    assert wins == sorted(history)
    assert [len(lake.read(f"datasets/{table}")) for table in tables] == [1] * 4


def test_the_same_version_is_never_put_twice(proxy, filled):
    """What the one above rests on: the commit is a put that the server refuses if the object is there."""
    Lake(open_storage(filled).below("lake")).publish(TABLE, DAY, rows(2.0))
    commit = [request for request in proxy.seen() if request.startswith("PUT ") and "_delta_log" in request]
    assert len(commit) == 1 and commit[0].endswith("00000000000000000001.json")


def test_what_another_writer_did_first_is_no_failure_of_the_storage():
    text = "Object at location x already exists: Error performing PUT http://h/b in 3ms - 412 Precondition Failed"
    assert delta_error(Exception(text), "s3://b/x") is None
    assert delta_error(ConflictError("other writers won", hint="run again"), "s3://b/x") is None


@pytest.mark.parametrize(
    ("text", "kind", "seen"),
    [
        ("Generic LocalFileSystem error: No space left on device (os error 28)", StorageError, "ENOSPC"),
        ("Generic LocalFileSystem error: Permission denied (os error 13)", StorageRefusedError, "EACCES"),
        ("Generic S3 error: 503 Slow Down <Code>SlowDown</Code>", StorageError, "SlowDown (HTTP 503)"),
        ("Generic S3 error: 502 Bad Gateway", StorageError, "no code (HTTP 502)"),
        ("Generic S3 error: connect error: Connection refused (os error 111)", StorageError, "connection broken"),
    ],
)
def test_x3_what_deltalake_says_is_told_in_our_words(text, kind, seen):
    error = delta_error(OSError(text), "where")
    assert type(error) is kind and seen in str(error)
