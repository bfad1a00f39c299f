"""Upkeep: what nobody needs goes, and nothing that somebody does, whenever it is stopped."""

from __future__ import annotations

import json
import os
import signal
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pandas as pd
import pyarrow as pa
import pytest
from deltalake import write_deltalake
from s3_server import s3_in_matrix
from small_loop import MODEL
from typer.testing import CliRunner

from ratchet.cli import cli
from ratchet.digests import frame_digest
from ratchet.errors import ConflictError, ParameterError, UnknownNameError
from ratchet.failpoints import arm
from ratchet.lake import Lake
from ratchet.read_drop import read_drop
from ratchet.snapshot import take_snapshot
from ratchet.windows import TrainingWindows, Window
from ratchet.workflow.ingestion import ingest_partitions
from ratchet.workflow.upkeep import keep_up, needed_versions
from ratchet_airflow.operators.upkeep import KeepUpOperator

TABLE = "predictions/things"
D1, D2 = "2013-01-01", "2013-01-02"


@pytest.fixture
def lake(storage) -> Lake:
    return Lake(storage.below("lake"))


def rows(*values: int) -> pd.DataFrame:
    return pd.DataFrame({"value": values})


def append(lake: Lake, day: str, value: int) -> None:
    """As a foreign writer does that doesn't replace days."""
    data = pa.table({"value": pa.array([value], pa.int64()), "day": [day]})
    options = lake.storage.delta_options()
    write_deltalake(lake.path(TABLE), data, mode="append", storage_options=options)


def age(lake: Lake, days: float) -> None:
    """Makes every data file as old as that, in a folder."""
    for table in lake.tables():
        for key in lake.data_files(table):
            then = time.time() - days * 86400
            os.utime(lake.storage.address(key), (then, then))


def test_what_is_deleted_is_gone_and_may_be_gone_before(storage):
    storage.write("a/b", b"1")
    storage.write("a/bc", b"2")
    for _ in range(2):
        storage.delete("a/b")
        assert [entry.key for entry in storage.list()] == ["a/bc"]
    with pytest.raises(ParameterError):
        storage.delete("../a")


def test_a_scattered_day_is_put_into_one_file_with_the_same_rows(lake):
    lake.publish_days(TABLE, {D1: rows(1), D2: rows(9)})
    append(lake, D1, 2)
    before, version = lake.read(TABLE), lake.version(TABLE)
    assert lake.compact(TABLE, dry_run=True) == 1 and lake.version(TABLE) == version
    assert lake.compact(TABLE) == 1 and lake.compact(TABLE) == 0
    assert len(lake.files_at(TABLE)) == 2
    assert frame_digest(lake.read(TABLE)) == frame_digest(before)
    assert frame_digest(lake.read(TABLE, version=version)) == frame_digest(before)


def test_a_writer_of_that_day_wins_over_a_compaction(lake, monkeypatch):
    lake.publish_days(TABLE, {D1: rows(1)})
    append(lake, D1, 2)
    opened = lake._open(TABLE)
    lake.publish_days(TABLE, {D1: rows(7)})
    seen = {f"{TABLE}/day={D1}/a.parquet", f"{TABLE}/day={D1}/b.parquet"}
    with monkeypatch.context() as patched, pytest.raises(ConflictError):
        patched.setattr(lake, "_open", lambda *_: opened)
        patched.setattr(lake, "files_at", lambda *_: seen)
        lake.compact(TABLE)
    assert lake.read(TABLE)["value"].tolist() == [7]


def test_what_no_kept_version_reads_goes(lake):
    for value in range(4):
        lake.publish_days(TABLE, {D1: rows(value), D2: rows(-1)} if not value else {D1: rows(value)})
    lake.storage.write(f"{TABLE}/day={D1}/part-left-by-a-dead-writer.parquet", b"half")
    assert lake.vacuum(TABLE, keep_days=0, dry_run=True) == 4 == lake.vacuum(TABLE, [1], 0, dry_run=True) + 1
    assert lake.vacuum(TABLE, [1], keep_days=0) == 3 and lake.vacuum(TABLE, [1], keep_days=0) == 0
    assert lake.read(TABLE)["value"].tolist() == [3, -1] and len(lake.data_files(TABLE)) == 3
    assert lake.read(TABLE, D1, D1, version=1)["value"].tolist() == [1]
    assert lake.read(TABLE, D2, D2, version=2)["value"].tolist() == [-1]
    with pytest.raises(UnknownNameError, match=f"(?s)version 2 .*{D1}.*cleared away"):
        lake.read(TABLE, version=2)


def test_a_table_that_is_not_there_has_nothing_to_clear(lake):
    assert lake.vacuum(TABLE) == lake.compact(TABLE) == 0 and lake.tables() == []


def test_a_reader_in_between_is_not_hurt(tmp_path):
    """It opened a version before the day was replaced, and reads on while upkeep runs. On a folder, where files can be
    made to look old."""
    lake = Lake(tmp_path)
    lake.publish_days(TABLE, {D1: rows(1)})
    reader = lake._open(TABLE)
    lake.publish_days(TABLE, {D1: rows(2)})
    age(lake, 400)  # written long ago, replaced just now
    assert lake.vacuum(TABLE, keep_days=30) == 0
    assert reader.to_pyarrow_table()["value"].to_pylist() == [1]


def test_a_writer_in_between_is_not_hurt(lake):
    """Its file is there, its commit isn't."""
    lake.publish_days(TABLE, {D1: rows(1)})
    lake.storage.write(f"{TABLE}/day={D2}/part-about-to-be-committed.parquet", b"rows")
    assert lake.vacuum(TABLE, keep_days=1) == 0


class Killed(BaseException):
    pass


@pytest.mark.parametrize("skip", [0, 1, 2])
def test_k1_killed_in_between_it_harms_nothing_and_goes_on(lake, tmp_path, monkeypatch, skip):
    for value in range(5):
        lake.publish_days(TABLE, {D1: rows(value)})
    armed = tmp_path / "failpoint"
    arm(armed, "lake.before_delete", signal.SIGKILL, skip)

    def kill(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setenv("RATCHET_FAILPOINT_FILE", str(armed))
        patched.setattr("ratchet.failpoints.os.kill", kill)
        lake.vacuum(TABLE, [0], keep_days=0)
    assert lake.read(TABLE)["value"].tolist() == [4] and lake.read(TABLE, version=0)["value"].tolist() == [0]
    assert lake.vacuum(TABLE, [0], keep_days=0) == 3 - skip
    assert lake.read(TABLE)["value"].tolist() == [4] and lake.read(TABLE, version=0)["value"].tolist() == [0]


def correct_outcomes(deployment, day: str, minutes: int) -> None:
    """Delivers the day's outcomes once more, so many days later, each flight as many minutes late."""
    spec, drop = deployment.dataset("outcomes"), deployment.drops.find("outcomes", day)
    with deployment.drops.fetched(drop, 10**8) as path:
        frame = read_drop(path, drop, spec).frame[list(spec.columns)]
    at = drop.delivered_at + timedelta(days=minutes)
    deployment.drops.write("outcomes", day, frame.assign(arr_delay=float(minutes)), at, "a correction")


def retake(deployment, digest: str) -> str:
    """The digest of a registered model's snapshot, taken again from what the lake holds now."""
    spec = deployment.model(MODEL)
    challenger = next(c for c in deployment.ledger.challengers(MODEL) if c.snapshot == digest)
    windows = TrainingWindows(**{name: Window(*days) for name, days in challenger.windows.items()})
    return take_snapshot(spec, deployment.datasets.good, deployment.published, challenger.as_of, windows).digest


@s3_in_matrix
def test_d4_a_registered_model_s_snapshot_can_be_taken_again_after_upkeep(copy_in_storage, reigning):
    deployment = copy_in_storage(reigning)
    digest = deployment.ledger.challenger(MODEL, 1).snapshot
    for later in (20, 10):  # the first correction is in nobody's snapshot, and not the newest
        for day in ("2013-01-06", "2013-01-07"):
            correct_outcomes(deployment, day, later)
        ingest_partitions(deployment, "outcomes")
    table = "datasets/outcomes"
    first, second, third = (p.table_version for p in deployment.ledger.partition_revisions("outcomes")["2013-01-06"])
    assert needed_versions(deployment, table, 1) >= {first, third} and second not in needed_versions(
        deployment, table, 1
    )
    tables = {t: frame_digest(deployment.lake.read(t)) for t in deployment.lake.tables()}
    old = deployment.lake.files_at(table, second) - deployment.lake.files_at(table, third)
    for name in deployment.lake.tables():
        deployment.lake.vacuum(name, needed_versions(deployment, name, 1), keep_days=0)
    assert len(old) == 2 and not old & set(deployment.lake.data_files(table))
    assert retake(deployment, digest) == digest
    assert {t: frame_digest(deployment.lake.read(t)) for t in deployment.lake.tables()} == tables
    now, _, _ = deployment.published.read("outcomes", None, None)
    assert len(now) and frame_digest(now) == tables[table]


def scatter_weather(lake: Lake) -> None:
    """Puts a day of weather into a second file."""
    more = lake.read("datasets/weather", "2013-01-20", "2013-01-20").head(1)
    rows, options = pa.Table.from_pandas(more, preserve_index=False), lake.storage.delta_options()
    write_deltalake(lake.path("datasets/weather"), rows, mode="append", storage_options=options)


def test_upkeep_of_a_whole_deployment(copy_of, reigning):
    """On a folder, where files can be made to look old."""
    deployment = copy_of(reigning)
    lake, dead = deployment.lake, "snapshots/flight_delay/" + "c" * 64
    lake.storage.write(f"{dead}/frame.parquet", b"half a snapshot")
    before = (datetime.now(UTC) - timedelta(days=2)).timestamp()
    leftover = lake.storage._path("datasets") / "flights" / "part-0.parquet#1"
    leftover.write_bytes(b"half a file")
    for path in (leftover, lake.storage.address(f"{dead}/frame.parquet")):
        os.utime(path, (before, before))
    scatter_weather(lake)
    told = keep_up(deployment, dry_run=True)
    weather = {"compacted": 1, "cleared": 0}
    assert (told["tables"], told["partial_snapshots"], told["leftovers"]) == ({"datasets/weather": weather}, 1, None)
    assert lake.storage.look(f"{dead}/frame.parquet") and leftover.exists()
    told = keep_up(deployment)
    assert (told["tables"], told["partial_snapshots"], told["leftovers"]) == ({"datasets/weather": weather}, 1, 1)
    assert list(lake.storage.list(dead)) == [] and not leftover.exists()
    assert retake(deployment, deployment.ledger.challenger(MODEL, 1).snapshot)
    assert keep_up(deployment)["tables"] == {}


@pytest.mark.matrix
@pytest.mark.parametrize("storage", ["s3"], indirect=True)
def test_upkeep_of_a_whole_deployment_on_s3(copy_in_storage, reigning, s3_server, monkeypatch):
    """Only the server says how old an object is, so what is left unfinished counts as dead at once."""
    monkeypatch.setattr("ratchet.workflow.upkeep._DEAD_AFTER", timedelta(0))
    deployment = copy_in_storage(reigning)
    storage, dead = deployment.lake.storage, "snapshots/flight_delay/" + "c" * 64
    storage.write(f"{dead}/frame.parquet", b"half a snapshot")
    bucket, _, upload = storage.address("datasets/flights/part-0.parquet").removeprefix("s3://").partition("/")
    s3_server.client().create_multipart_upload(Bucket=bucket, Key=upload)
    scatter_weather(deployment.lake)
    weather = {"compacted": 1, "cleared": 0}
    for dry_run, leftovers in ((True, None), (False, 1)):
        told = keep_up(deployment, dry_run=dry_run)
        seen = told["tables"], told["partial_snapshots"], told["leftovers"]
        assert seen == ({"datasets/weather": weather}, 1, leftovers)
        assert bool(list(storage.list(dead))) is dry_run
    assert "Uploads" not in s3_server.client().list_multipart_uploads(Bucket=bucket, Prefix=upload)
    assert retake(deployment, deployment.ledger.challenger(MODEL, 1).snapshot)
    told = keep_up(deployment)
    assert (told["tables"], told["partial_snapshots"], told["leftovers"]) == ({}, 0, 0)


@s3_in_matrix
def test_from_a_shell_and_from_airflow(copy_in_storage, as_environment, taken_in):
    as_environment(copy_in_storage(taken_in))
    said = CliRunner().invoke(cli, ["upkeep", "--keep-days", "2", "--dry-run"])
    assert said.exit_code == 0 and json.loads(said.stdout)["tables"] == {}
    assert CliRunner().invoke(cli, ["upkeep", "--keep-days", "0"]).exit_code == 2
    params = {"keep_days": 30, "dry_run": False}
    context = {"params": params, "dag": SimpleNamespace(params=params), "dag_run": SimpleNamespace(conf={})}
    assert json.loads(json.dumps(KeepUpOperator(task_id="keep_up").execute(context)))["leftovers"] == 0


def test_less_than_a_day_is_refused(copy_of, taken_in):
    with pytest.raises(ParameterError, match="too short"):
        keep_up(copy_of(taken_in), keep_days=0)
