"""Drops in, datasets and a training's snapshot out, with landing zone and lake on S3 by the one setting."""

from dataclasses import replace

import pandas as pd
import pytest
from small_loop import deployment_in, make_home

from ratchet.deployment import Deployment
from ratchet.digests import frame_digest
from ratchet.errors import ParameterError, UnknownNameError
from ratchet.snapshot import Snapshot, load_snapshot, save_snapshot
from ratchet.upstream import land_flights
from ratchet.workflow.ingestion import ingest_partitions

FIRST, LAST = "2013-01-01", "2013-01-03"


@pytest.fixture
def on_s3(tmp_path, s3_address):
    make_home(tmp_path / "home")
    return Deployment(replace(deployment_in(tmp_path).settings, storage=s3_address))


def taken_in(deployment: Deployment) -> dict[str, str]:
    """What is in the datasets after drops were landed and ingested."""
    land_flights(deployment.drops, FIRST, LAST)
    for name in deployment.datasets.good:
        assert ingest_partitions(deployment, name)["status"] == "published"
    assert ingest_partitions(deployment, "flights")["status"] == "nothing new"
    assert deployment.lake.days("datasets/flights") == [FIRST, "2013-01-02", LAST]
    return {name: frame_digest(deployment.lake.read(f"datasets/{name}")) for name in deployment.datasets.good}


def test_drops_on_s3_become_the_same_tables_as_in_a_folder(on_s3, tmp_path):
    make_home(tmp_path / "local" / "home")
    assert taken_in(on_s3) == taken_in(deployment_in(tmp_path / "local"))
    assert not (on_s3.settings.var / "landing").exists() and not (on_s3.settings.var / "lake").exists()


def test_a_snapshot_is_whole_or_not_there(storage, tmp_path):
    frame = pd.DataFrame({"day": ["2013-01-01"] * 3, "distance": [1.0, None, 3.0], "label": [0, 1, 0]})
    snapshot = Snapshot(frame, {"model": "flight_delay", "digest": frame_digest(frame), "as_of": "2013-01-02"})
    with pytest.raises(UnknownNameError, match="no snapshot"):
        load_snapshot(storage, "flight_delay", snapshot.digest)
    folder = f"snapshots/flight_delay/{snapshot.digest}"
    storage.write(f"{folder}/frame.parquet", b"of a run that was killed")
    with pytest.raises(UnknownNameError, match="no snapshot"):
        load_snapshot(storage, "flight_delay", snapshot.digest)
    assert save_snapshot(snapshot, storage) == save_snapshot(snapshot, storage) == storage.address(folder)
    loaded = load_snapshot(storage, "flight_delay", snapshot.digest)
    pd.testing.assert_frame_equal(loaded.frame, frame)
    assert loaded.manifest == snapshot.manifest
    frame.head(1).to_parquet(tmp_path / "altered")
    storage.write(f"{folder}/frame.parquet", tmp_path / "altered")
    with pytest.raises(ParameterError, match="isn't what its name says"):
        load_snapshot(storage, "flight_delay", snapshot.digest)
