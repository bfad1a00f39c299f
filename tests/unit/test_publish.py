"""Batches of days against the real lake, ledger and validator: who is overtaken, what is kept of a drop that can't be
read, and what a run asks of storage and ledger."""

from __future__ import annotations

import gzip
import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest
from faulty_proxy import FaultyProxy

from ratchet.drops import DropStore
from ratchet.errors import ConflictError, DropError, RatchetError
from ratchet.ingest import ingest_days, ingest_new
from ratchet.lake import Lake
from ratchet.ledger import Ledger, open_ledger
from ratchet.settings import get_settings
from ratchet.specs import DatasetSpec
from ratchet.storage import open_storage

SPEC = DatasetSpec(
    name="things",
    description="things",
    owner="us",
    time_zone="UTC",
    starts="2013-01-01",
    key=["id"],
    columns={"id": "int64", "weight": "float64"},
    max_quarantined_share=0.5,
)
D1, D2, D3 = (f"2013-01-0{n}" for n in range(1, 4))
WHOLE = "the day as a whole"


class World:
    def __init__(self, root, storage):
        self.drops, self.lake = DropStore(storage.below("landing")), Lake(storage.below("lake"))
        files = {"ledger_key_file": root / "key", "ledger_head_file": root / "head"}
        url = f"sqlite:///{root / 'ledger.db'}"
        self.ledger = open_ledger(replace(get_settings(), var=root, ledger_url=url, **files))
        self.suite = root / "things.json"
        self.allow(100)

    def allow(self, weight):
        """By another recipe from now on."""
        asked = {"type": "expect_column_values_to_be_between", "kwargs": {"column": "weight", "max_value": weight}}
        self.suite.write_text(json.dumps({"name": "things", "expectations": [asked]}))

    def deliver(self, day, *weights, hours=1):
        frame = pd.DataFrame({"id": range(len(weights)), "weight": weights})
        return self.drops.write("things", day, frame, at(day, hours), "test")

    def deliver_bytes(self, day, data, hours=1):
        """What the manifest says is right, and no row of it can be read."""
        name, storage = f"odd-{hours}.csv.gz", self.drops.storage
        told = {"dataset": "things", "day": day, "file": name, "sha256": hashlib.sha256(data).hexdigest()}
        told |= {"bytes": len(data), "rows": 3, "delivered_at": at(day, hours).isoformat(), "source": "test"}
        storage.write(f"things/{day}/{name}", data)
        storage.write(f"things/{day}/manifest.json", json.dumps(told).encode())
        return told["sha256"]

    def ingest(self, *days):
        return ingest_days(SPEC, days, **self.adapters())

    def ingest_new(self):
        return ingest_new(SPEC, **self.adapters())

    def refuse_new(self):
        """The nightly run, which refuses something: what it says."""
        with pytest.raises(RatchetError) as raised:
            self.ingest_new()
        return str(raised.value)

    def adapters(self):
        return {"drops": self.drops, "suite_path": self.suite, "lake": self.lake, "ledger": self.ledger}

    def kept(self, kind, day=None):
        return self.lake.read(f"{kind}/things", day, day)

    def versions(self):
        return {table: self.lake.version(table) for table in self.lake.tables()}


def at(day, hours):
    return datetime.fromisoformat(day).replace(tzinfo=UTC) + timedelta(days=1, hours=hours)


@pytest.fixture
def world(tmp_path):
    return World(tmp_path, open_storage(tmp_path / "storage"))


# --- K6


def test_k6_a_run_by_an_older_recipe_that_wakes_after_a_newer_one_is_not_the_newest_word(world, monkeypatch):
    """Both find what is published unchanged, so that the table has the same version before and after."""
    world.deliver(D1, 1.0, 2.0)
    world.ingest(D1)
    world.allow(200)
    record, newer = Ledger.record_partitions, []

    def wakes_late(ledger, published):
        if not newer:
            newer.append(None)
            world.allow(300)
            assert world.ingest(D1).confirmed == [D1]
            newer[0] = ledger.partition("things", D1)
        return record(ledger, published)

    monkeypatch.setattr(Ledger, "record_partitions", wakes_late)
    with pytest.raises(ConflictError, match="published again meanwhile"):
        world.ingest(D1)
    assert world.ledger.partition("things", D1) == newer[0] and newer[0].revision == 2
    assert world.ingest(D1).unchanged == [D1]


def test_k1_records_that_a_batch_has_lost_are_made_up_for_together(world, monkeypatch):
    for day in (D1, D2, D3):
        world.deliver(day, 1.0, 2.0)

    def lost(*_):
        raise ConnectionError("the ledger is away")

    with monkeypatch.context() as patched:
        patched.setattr(Ledger, "record_partitions", lost)
        with pytest.raises(ConnectionError):
            world.ingest_new()
    before = world.versions()
    assert world.lake.days("datasets/things") == [D1, D2, D3] and world.ledger.partitions("things") == []
    assert world.ingest_new().unchanged == [D1, D2, D3] and world.versions() == before
    recorded = world.ledger.partitions("things")
    assert [p.day for p in recorded] == [D1, D2, D3] and len({p.recorded_at for p in recorded}) == 1


def test_a_batch_goes_on_record_in_one_transaction(world):
    for day in (D1, D2, D3):
        world.deliver(day, 1.0, 2.0)
    world.ingest_new()
    assert len({p.recorded_at for p in world.ledger.partitions("things")}) == 1
    assert world.ledger.verify().ok


def test_d7_a_batch_is_cut_where_its_rows_are_too_many_to_hold_whatever_their_files_weigh(world, monkeypatch):
    monkeypatch.setattr("ratchet.publish.MOST_ROWS", 3)
    for day in (D1, D2, D3):
        world.deliver(day, 1.0, 2.0)
    world.ingest_new()
    by_commit = [p.table_version for p in world.ledger.partitions("things")]
    assert len(by_commit) == 3 and by_commit[0] == by_commit[1] < by_commit[2]
    assert len(world.kept("datasets")) == 6 and world.ingest_new().status == "nothing new"


# --- a drop that can't be read


def test_a_drop_that_can_t_be_read_shows_in_the_history_with_the_reason(world):
    world.deliver(D1, 1.0, 2.0)
    sha256 = world.deliver_bytes(D2, b"not gzip")
    assert D2 in world.refuse_new()
    history = world.kept("history", D2)
    assert history["column"].tolist() == list(SPEC.columns) and set(history["drop_sha256"]) == {sha256}
    assert not history["published"].any() and set(history["delivered_after_hours"]) == {1.0}
    assert {*history["landed_rows"], *history["kept_rows"], *history["quarantined_rows"]} == {0}
    assert history[["null_rate", "outlier_rate", "distinct"]].isna().all(axis=None)
    (told,) = world.kept("quality", D2).to_dict("records")
    assert (told["expectation"], told["published"], told["passed"]) == (WHOLE, False, False)
    assert told["drop_sha256"] == sha256 and [told["expected"]] == world.ledger.refusals("things")[0].reasons
    assert world.kept("history", D1)["published"].all() and world.lake.days("datasets/things") == [D1]


@pytest.mark.parametrize("data", [b"not gzip", None], ids=["final", "not all of it delivered yet"])
def test_d3_a_drop_that_is_refused_again_changes_nothing(world, data):
    world.deliver_bytes(D1, data or b"to come")
    if data is None:
        world.drops.storage.delete(f"things/{D1}/odd-1.csv.gz")
    with pytest.raises(DropError):
        world.ingest(D1)
    before, entries = world.versions(), world.ledger.verify().entries
    assert {"quality/things", "history/things"} == before.keys()
    with pytest.raises(DropError):
        world.ingest(D1)
    assert (world.versions(), world.ledger.verify().entries) == (before, entries)


@pytest.mark.parametrize("table", ["quality", "history", None], ids=str)
def test_k1_a_refusal_that_was_cut_short_is_finished_by_the_next_run(world, monkeypatch, table):
    """Before one of the tables is written, or (None) before the ledger is."""
    world.deliver_bytes(D1, b"not gzip")
    publish_days, record_refusal = Lake.publish_days, Ledger.record_refusal

    def cut_before(lake, name, *args, **more):
        if name == f"{table}/things":
            raise ConnectionError("cut short")
        return publish_days(lake, name, *args, **more)

    def cut(*args, **more):
        raise ConnectionError("cut short")

    with monkeypatch.context() as patched:
        patched.setattr(Lake, "publish_days", cut_before)
        patched.setattr(Ledger, "record_refusal", record_refusal if table else cut)
        with pytest.raises(ConnectionError):
            world.ingest_new()
    assert world.ledger.refusals("things") == []
    world.refuse_new()
    assert world.versions() == {"quality/things": 0, "history/things": 0}
    assert len(world.ledger.refusals("things")) == 1 == len(world.kept("quality"))
    assert world.ingest_new().refused_before == [D1]


def test_a_manifest_that_can_t_be_read_shows_too(world):
    world.deliver(D1, 1.0, 2.0)
    world.drops.storage.write(f"things/{D1}/manifest.json", b"{")
    world.refuse_new()
    history, quality = world.kept("history"), world.kept("quality")
    assert set(history["drop_sha256"]) == set(quality["drop_sha256"]) == {""}
    assert history["delivered_after_hours"].isna().all() and "manifest" in quality["expected"][0]
    before = world.versions()
    world.refuse_new()
    assert world.versions() == before
    world.deliver(D1, 1.0, 2.0, hours=2)
    assert world.ingest_new().published == [D1]
    assert world.kept("history")["published"].all() and world.kept("quality")["published"].all()


def test_a_correction_that_can_t_be_read_is_told_of_beside_what_is_published(world):
    world.deliver(D1, 1.0, 999.0)
    world.ingest_new()
    history, found = world.kept("history"), world.kept("quality")
    first = world.deliver_bytes(D1, b"not gzip", hours=2)
    world.refuse_new()
    pd.testing.assert_frame_equal(world.kept("history"), history)
    quality = world.kept("quality")
    pd.testing.assert_frame_equal(quality[: len(found)], found)
    assert quality[len(found) :][["drop_sha256", "published"]].to_numpy().tolist() == [[first, False]]
    second = world.deliver_bytes(D1, gzip.compress(b"\x00"), hours=3)
    world.refuse_new()
    assert [*world.kept("quality")["drop_sha256"][len(found) :]] == [second], "of the last delivery alone"
    world.deliver(D1, 1.0, 2.0, 3.0, hours=4)
    assert world.ingest_new().published == [D1]
    assert world.kept("quality")["published"].all() and set(world.kept("history")["landed_rows"]) == {3}


def test_rows_of_a_drop_that_was_refused_go_when_the_next_one_can_t_be_read(world):
    world.deliver(D1, 999.0, 999.0)
    world.refuse_new()
    assert len(world.kept("refused")) == 2
    sha256 = world.deliver_bytes(D1, b"not gzip", hours=2)
    world.refuse_new()
    assert world.kept("refused").empty and set(world.kept("quality")["drop_sha256"]) == {sha256}
    assert set(world.kept("history")["drop_sha256"]) == {sha256}


def test_k6_a_refusal_that_was_overtaken_changes_nothing(world, monkeypatch):
    world.deliver_bytes(D1, b"not gzip")
    publish_days, woken = Lake.publish_days, []

    def wakes_late(lake, *args, **more):
        if not woken:
            woken.append(True)
            world.deliver(D1, 1.0, 2.0, hours=2)
            assert world.ingest_new().published == [D1]
        return publish_days(lake, *args, **more)

    monkeypatch.setattr(Lake, "publish_days", wakes_late)
    with pytest.raises(ConflictError):
        world.ingest(D1)
    assert world.kept("quality")["published"].all() and world.ledger.refusals("things") == []


# --- what a run asks for


def test_a_nightly_run_reads_a_new_manifest_twice_and_one_that_it_knows_once(
    tmp_path, s3_server, s3_address, monkeypatch
):
    """Once to see what is new, once more when it has seen what the ledger holds of the day."""
    with FaultyProxy(s3_server.endpoint) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        world = World(tmp_path, open_storage(s3_address))
        world.deliver(D1, 1.0, 2.0)
        world.ingest_new()
        world.deliver(D2, 1.0, 2.0)
        before = len(proxy.seen())
        assert world.ingest_new().published == [D2]
        asked = [request.partition("?")[0] for request in proxy.seen()[before:]]
    manifests = [one.split("/")[-2] for one in asked if one.startswith("GET") and one.endswith("/manifest.json")]
    assert sorted(manifests) == [D1, D2, D2]
