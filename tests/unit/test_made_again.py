"""The same training input came out of other partitions later, as their corrections didn't touch what it is made of:
what this means for what is stale, what is erased and what is kept."""

from __future__ import annotations

from datetime import timedelta

import pytest
from small_loop import MODEL, redeliver

from ratchet.ingest import ingest_days
from ratchet.workflow.erasure import forget_person
from ratchet.workflow.ingestion import ingest_partitions
from ratchet.workflow.staleness import mark_stale
from ratchet.workflow.upkeep import needed_versions

DAY, AS_OF, DIGEST, PLANE = "2013-01-10", "2013-01-17", "a" * 64, "N0NEW"


@pytest.fixture
def deployment(copy_of, taken_in):
    """With one training input, made from revision 1 of a day, and again from revision 2 of it."""
    deployment = copy_of(taken_in)
    keep(deployment)
    correct(deployment, 1)
    keep(deployment)
    return deployment


def correct(deployment, hours):
    """Publishes the day with another plane in its first row, and marks nothing yet."""

    def with_plane(frame):
        return frame.assign(tailnum=[f"{PLANE}{hours}", *frame["tailnum"].iloc[1:]])

    redeliver(deployment, "flights", DAY, with_plane, timedelta(hours=hours))
    suite = deployment.suite("flights")
    adapters = {"drops": deployment.drops, "lake": deployment.lake, "ledger": deployment.ledger, "suite_path": suite}
    assert ingest_days(deployment.dataset("flights"), [DAY], **adapters).published == [DAY]


def keep(deployment):
    """What a training does that reads the day as it is now."""
    one = deployment.ledger.partition("flights", DAY)
    storage = deployment.lake.storage
    storage.write(f"snapshots/{MODEL}/{DIGEST}/manifest.json", b"{}")
    partitions = {"flights": {DAY: [one.revision, one.digest, one.drop_sha256]}}
    deployment.ledger.record_snapshot(MODEL, DIGEST, AS_OF, partitions)


def test_c6_what_came_out_of_the_partition_of_now_is_not_stale(deployment):
    assert mark_stale(deployment) == []
    correct(deployment, 2)
    assert [(m.subject, m.day, m.revision) for m in mark_stale(deployment)] == [(DIGEST, DAY, 3)]


def test_d4_every_version_that_it_came_out_of_is_kept(deployment):
    versions = [one.table_version for one in deployment.ledger.partition_revisions("flights")[DAY]]
    correct(deployment, 2)
    assert len(set(versions)) == 2 and {*versions} < needed_versions(deployment, "datasets/flights", 30)


def test_it_is_erased_with_the_rows_of_any_of_them(deployment):
    """Of a plane that only the correction knows of."""
    told = forget_person(deployment, "flights", {"tailnum": f"{PLANE}1"}, "the owner asked", "outsider")
    assert (told["days"], told["snapshots"]) == ([DAY], {MODEL: [DIGEST]})
    assert list(deployment.lake.storage.list(f"snapshots/{MODEL}/{DIGEST}")) == []
    assert ingest_partitions(deployment, "flights")["status"] == "nothing new"
