"""Drops in, datasets and a training's snapshot out, with landing zone and lake on S3 by the one setting."""

from dataclasses import replace

from small_loop import MODEL, deployment_in, make_home

from ratchet.deployment import Deployment
from ratchet.digests import frame_digest
from ratchet.snapshot import take_snapshot
from ratchet.upstream import land_flights
from ratchet.windows import TrainingWindows, Window
from ratchet.workflow.ingestion import ingest_partitions

FIRST, SECOND, LAST, AS_OF = "2013-01-01", "2013-01-02", "2013-01-03", "2013-01-05"
WINDOWS = TrainingWindows(Window(FIRST, FIRST), Window(SECOND, SECOND), Window(LAST, LAST))


def taken_in(deployment: Deployment) -> dict[str, str]:
    """The digests of the datasets and of a training's snapshot, after drops were landed and ingested."""
    land_flights(deployment.drops, FIRST, LAST)
    datasets = deployment.datasets.good
    for name in datasets:
        assert ingest_partitions(deployment, name)["status"] == "published"
    assert ingest_partitions(deployment, "flights")["status"] == "nothing new"
    assert deployment.lake.days("datasets/flights") == [FIRST, SECOND, LAST]
    snapshot = take_snapshot(deployment.model(MODEL), datasets, deployment.published, AS_OF, WINDOWS)
    tables = {name: frame_digest(deployment.lake.read(f"datasets/{name}")) for name in datasets}
    return {**tables, "snapshot": snapshot.digest}


def test_drops_on_s3_become_the_same_tables_and_the_same_snapshot_as_in_a_folder(tmp_path, s3_address):
    for name in ("s3", "folder"):
        make_home(tmp_path / name / "home")
    on_s3 = Deployment(replace(deployment_in(tmp_path / "s3").settings, storage=s3_address))
    assert taken_in(on_s3) == taken_in(deployment_in(tmp_path / "folder"))
    assert not (on_s3.settings.var / "landing").exists() and not (on_s3.settings.var / "lake").exists()
