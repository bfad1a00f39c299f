"""D5: drops that change while they are read, by senders who replace a file in place, on a folder and on S3."""

from __future__ import annotations

import gzip
import hashlib
import json
import threading
from collections.abc import Callable
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import oracle
import pandas as pd
import pytest
from crash_story import SPEC, SUITE, THINGS, settings_in
from s3_server import BUCKET

from ratchet.drops import DropStore
from ratchet.errors import DropError
from ratchet.ingest import ingest_days
from ratchet.lake import Lake
from ratchet.ledger import open_ledger
from ratchet.storage import Storage

DAY, ROWS = "2013-01-01", 800
FOLDER = f"landing/{THINGS}/{DAY}"
FIRST_DELIVERY = datetime(2013, 1, 2, 6, tzinfo=UTC)


def packed(number: int) -> bytes:
    """A drop all of whose rows weigh the same, `number`, in about as many bytes whatever it is."""
    frame = pd.DataFrame({"id": range(ROWS), "name": "a", "weight": float(number % 90), "heavy": "true"})
    text = frame.assign(seen_at="2013-01-01T12:00:00Z")[list(SPEC.columns)].to_csv(index=False)
    return gzip.compress(text.encode(), compresslevel=0, mtime=0)


def manifest(data: bytes, number: int) -> bytes:
    told = {"dataset": THINGS, "day": DAY, "file": "things.csv.gz", "sha256": hashlib.sha256(data).hexdigest()}
    at = FIRST_DELIVERY + timedelta(seconds=number)
    told |= {"bytes": len(data), "rows": ROWS, "delivered_at": at.isoformat(), "source": "careless"}
    return json.dumps(told).encode()


@pytest.fixture
def put(storage: Storage, s3_server) -> Callable[[str, bytes], None]:
    """Replaces what lies under a key as a careless sender does: a file in place, bit by bit; an object at once."""
    address = storage.address()
    if address.startswith("s3://"):
        client, prefix = s3_server.client(), address.removeprefix(f"s3://{BUCKET}/")
        return lambda key, data: client.put_object(Bucket=BUCKET, Key=f"{prefix}/{key}", Body=data)

    def in_place(key: str, data: bytes) -> None:
        path = Path(address) / key
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("r+b" if path.exists() else "wb", buffering=0) as file:
            for start in range(0, len(data), 4096):
                file.write(data[start : start + 4096])
            file.truncate()

    return in_place


@contextmanager
def careless_sender(put: Callable[[str, bytes], None], numbers: range):
    """Delivers one content after the other, over the one before, for as long as the `with` lasts."""
    ended, told = threading.Event(), []

    def deliver() -> None:
        for number in numbers:
            if ended.is_set():
                return
            data = packed(number)
            put(f"{FOLDER}/things.csv.gz", data)
            put(f"{FOLDER}/manifest.json", manifest(data, number))
            told.append(number)

    sender = threading.Thread(target=deliver)
    sender.start()
    try:
        yield told
    finally:
        ended.set()
        sender.join()


def test_d5_a_drop_that_is_replaced_while_it_is_read_is_never_published_torn(storage, put, tmp_path, s3_server):
    suite = tmp_path / "suite.json"
    suite.write_text(json.dumps(SUITE))
    drops, lake = DropStore(storage.below("landing")), Lake(storage.below("lake"))
    ledger = open_ledger(settings_in(tmp_path))

    def ingest() -> str:
        try:
            ingest_days(SPEC, [DAY], drops=drops, lake=lake, ledger=ledger, suite_path=suite)
            return "taken in"
        except DropError:
            return "refused"

    first = packed(0)
    put(f"{FOLDER}/things.csv.gz", first)
    put(f"{FOLDER}/manifest.json", manifest(first, 0))
    with careless_sender(put, range(1, 10**6)) as told:
        outcomes = [ingest() for _ in range(12)]
    assert len(told) > 5 and "refused" in outcomes  # it did change meanwhile
    last = packed(told[-1] + 1)
    put(f"{FOLDER}/things.csv.gz", last)
    put(f"{FOLDER}/manifest.json", manifest(last, told[-1] + 1))
    assert ingest() == "taken in"

    folder = tmp_path / "seen"
    if storage.address().startswith("s3://"):
        oracle.fetch(s3_server.client(), BUCKET, storage.address().removeprefix(f"s3://{BUCKET}/"), folder)
    table = oracle.read_table((folder if folder.exists() else tmp_path / "storage") / f"lake/datasets/{THINGS}")
    for version in range(len(table.versions)):
        rows = table.rows(DAY, version)
        (weight,), (sha256,) = set(rows["weight"].to_pylist()), set(rows["drop_sha256"].to_pylist())
        assert (len(rows), rows["id"].to_pylist()) == (ROWS, list(range(ROWS)))
        assert sha256 == hashlib.sha256(packed(int(weight))).hexdigest()
    assert set(table.rows(DAY)["weight"].to_pylist()) == {(told[-1] + 1) % 90}


@pytest.mark.parametrize("torn", ["cut", "grown", "other"])
def test_d5_a_drop_replaced_between_announcement_and_fetch_is_refused(storage, put, torn):
    data = packed(1)
    put(f"{FOLDER}/things.csv.gz", data)
    put(f"{FOLDER}/manifest.json", manifest(data, 1))
    drops = DropStore(storage.below("landing"))
    drop = drops.announced(THINGS, DAY)
    put(f"{FOLDER}/things.csv.gz", {"cut": data[:-100], "grown": data + b"x", "other": packed(2)}[torn])
    with pytest.raises(DropError, match="isn't what its manifest says"), drops.fetched(drop, 10**9):
        raise AssertionError("what was torn is handed out")
    put(f"{FOLDER}/things.csv.gz", data)
    with drops.fetched(drop, 10**9) as path:
        assert path.read_bytes() == data
