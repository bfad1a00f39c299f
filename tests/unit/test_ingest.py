"""Ingestion against the real lake, ledger and validator, on a folder and on S3: whole days, once, or not at all, and
why not."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from s3_server import s3_in_matrix

from ratchet.digests import frame_digest
from ratchet.drops import DropStore
from ratchet.errors import (
    ConflictError,
    DropError,
    LedgerError,
    ParameterError,
    ValidationBrokenError,
    ValidationFailedError,
)
from ratchet.ingest import BATCH_DAYS, ingest_days, ingest_new
from ratchet.lake import Lake
from ratchet.ledger import open_ledger
from ratchet.settings import get_settings
from ratchet.specs import DatasetSpec
from ratchet.storage import Storage

SPEC = DatasetSpec(
    name="things",
    description="things",
    owner="us",
    time_zone="America/New_York",
    starts="2013-01-01",
    key=["id"],
    columns={"id": "int64", "name": "string", "weight": "float64", "seen_at": "timestamp"},
    max_quarantined_share=0.25,
)
EXPECTATIONS = [
    {"type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": 3}},
    {"type": "expect_column_values_to_be_between", "kwargs": {"column": "weight", "min_value": 0, "max_value": 100}},
    {"type": "expect_column_values_to_be_unique", "kwargs": {"column": "id"}},
    {"type": "expect_column_pair_values_to_be_equal", "kwargs": {"column_A": "day_of_seen_at", "column_B": "day"}},
    {"type": "expect_column_min_to_be_between", "kwargs": {"column": "delivered_after_hours", "min_value": 0}},
    {
        "type": "expect_column_max_to_be_between",
        "kwargs": {"column": "delivered_after_hours", "max_value": 24},
        "severity": "warning",
    },
]
DAYS = [f"2013-01-{n:02}" for n in range(1, 32)]


class World:
    """Landing zone and lake in a storage, ledger and suite in a folder."""

    def __init__(self, root: Path, storage: Storage) -> None:
        self.root = root
        self.drops, self.lake = DropStore(storage.below("landing")), Lake(storage.below("lake"))
        self.ledger = self.new_ledger("ledger")
        self.suite = root / "things.json"
        self.write_suite(EXPECTATIONS)

    def new_ledger(self, name):
        folder = self.root / name
        paths = {"ledger_key_file": folder / "key", "ledger_head_file": folder / "head"}
        return open_ledger(replace(get_settings(), var=folder, ledger_url=f"sqlite:///{folder / 'ledger.db'}", **paths))

    def write_suite(self, expectations):
        self.suite.write_text(json.dumps({"name": "things", "expectations": expectations}))

    def deliver(self, day, frame=None, hours=1):
        start = datetime.fromisoformat(day).replace(tzinfo=SPEC.zone)
        at = (start + timedelta(days=1)).astimezone(UTC) + timedelta(hours=hours)
        return self.drops.write("things", day, rows(day) if frame is None else frame, at, "test")

    def adapters(self):
        return {"drops": self.drops, "suite_path": self.suite, "lake": self.lake, "ledger": self.ledger}

    def ingest(self, *days, spec=SPEC, **more):
        return ingest_days(spec, days or DAYS[:2], **{**self.adapters(), **more})

    def ingest_new(self, **more):
        return ingest_new(SPEC, **self.adapters(), **more)

    def things(self, day=None):
        return self.lake.read("datasets/things", day, day)


@pytest.fixture
def world(tmp_path, storage):
    return World(tmp_path, storage)


def rows(day, **columns):
    start = pd.Timestamp(day, tz=SPEC.time_zone).tz_convert("UTC")
    given = {"id": range(8), "name": list("abcdefgh"), "weight": 1.5, "seen_at": start + pd.Timedelta(hours=5)}
    return pd.DataFrame(given | columns)


def test_a_day_is_published_with_when_it_was_known_and_from_which_drop(world):
    drop = world.deliver(DAYS[0])
    world.deliver(DAYS[1])
    report = world.ingest()
    assert (report.published, report.rows, report.quarantined, report.status) == (DAYS[:2], 16, 0, "published")
    found = world.things(DAYS[0])
    assert list(found.columns) == [*SPEC.columns, "day", "known_at", "drop_sha256", "recipe"]
    assert set(found["drop_sha256"]) == {drop.sha256} and set(found["known_at"]) == {pd.Timestamp("2013-01-02T06:00Z")}
    recorded = world.ledger.partition("things", DAYS[0])
    assert (recorded.rows, recorded.quarantined, recorded.drop_sha256) == (8, 0, drop.sha256)
    assert recorded.table_version == world.lake.version("datasets/things") == report.table_version
    assert recorded.delivered_at == drop.delivered_at
    json.dumps(report.as_dict(), allow_nan=False)


def test_ingesting_again_changes_nothing(world):
    world.deliver(DAYS[0])
    world.ingest(DAYS[0])
    before = {t: world.lake.version(f"{t}/things") for t in ("datasets", "quality")}, len(world.ledger.events())
    report = world.ingest(DAYS[0])
    assert (report.unchanged, report.published, report.status) == (DAYS[:1], [], "nothing new")
    assert before == (
        {t: world.lake.version(f"{t}/things") for t in ("datasets", "quality")},
        len(world.ledger.events()),
    )


@s3_in_matrix
def test_c6_any_split_of_a_range_publishes_the_same(world, tmp_path, storage):
    other = World(tmp_path / "other", storage.below("other"))
    days = DAYS[: BATCH_DAYS + 2]
    for one in (world, other):
        for day in days:
            bad = {"weight": [1.5] * 7 + [999.0]} if day.endswith("3") else {}
            one.deliver(day, rows(day, **bad))
    assert world.ingest(*reversed(days)).published == days
    for day in days:
        other.ingest(day)
    assert frame_digest(world.things()) == frame_digest(other.things())
    assert [p.digest for p in world.ledger.partitions("things")] == [
        p.digest for p in other.ledger.partitions("things")
    ]
    for table in ("quarantine/things", "quality/things"):
        assert frame_digest(world.lake.read(table)) == frame_digest(other.lake.read(table))


def test_rows_that_fail_go_to_quarantine_with_reason_and_text(world):
    frame = rows(DAYS[0]).astype({"id": object})
    frame.loc[2, "weight"], frame.loc[5, "id"] = 999.0, "five"
    drop = world.deliver(DAYS[0], frame)
    report = world.ingest(DAYS[0])
    assert (report.rows, report.quarantined) == (6, 2)
    assert world.things()["id"].tolist() == [0, 1, 3, 4, 6, 7]
    found = world.lake.read("quarantine/things")
    assert found["line"].tolist() == [4, 7]
    assert found["reason"].tolist() == [
        "weight: expect_column_values_to_be_between (max_value 100.0, min_value 0.0)",
        "id is not an int64: 'five'",
    ]
    assert json.loads(found["row"][0])["weight"] == "999.0" and json.loads(found["row"][1])["id"] == "five"
    assert set(found["drop_sha256"]) == {drop.sha256}
    assert world.ledger.partition("things", DAYS[0]).quarantined == 2


def test_both_rows_of_a_doubled_key_go_to_quarantine(world):
    world.deliver(DAYS[0], rows(DAYS[0], id=[0, 1, 2, 3, 4, 5, 6, 6]))
    world.ingest(DAYS[0])
    assert world.things()["id"].tolist() == [0, 1, 2, 3, 4, 5]
    assert len(world.lake.read("quarantine/things")) == 2


def test_a_failed_table_expectation_publishes_nothing_of_that_day(world):
    world.deliver(DAYS[0], rows(DAYS[0]).head(2))
    world.deliver(DAYS[1])
    with pytest.raises(ValidationFailedError) as raised:
        world.ingest()
    text = str(raised.value)
    assert "1 day of things refused" in text and DAYS[0] in text
    assert "expect_table_row_count_to_be_between (min_value 3): seen 2, expected min_value 3" in text
    assert world.lake.days("datasets/things") == [DAYS[1]]
    assert [p.day for p in world.ledger.partitions("things")] == [DAYS[1]]
    quality = world.lake.read("quality/things")
    assert quality.groupby("day")["published"].first().to_dict() == {DAYS[0]: False, DAYS[1]: True}


def test_a_refused_restatement_leaves_the_published_day(world):
    world.deliver(DAYS[0])
    world.ingest(DAYS[0])
    before = frame_digest(world.things())
    world.deliver(DAYS[0], rows(DAYS[0]).head(1), hours=2)
    with pytest.raises(ValidationFailedError):
        world.ingest(DAYS[0])
    assert frame_digest(world.things()) == before


def test_more_quarantine_than_the_spec_allows_refuses_the_day(world):
    world.deliver(DAYS[0], rows(DAYS[0], weight=[999.0] * 3 + [1.0] * 5))
    with pytest.raises(
        ValidationFailedError, match=r"seen 3 of 8 \(37.5%; most: 3 x weight: .*\), expected at most 25.0%"
    ):
        world.ingest(DAYS[0])
    assert world.lake.days("datasets/things") == world.lake.days("quarantine/things") == []


@pytest.mark.parametrize("suite", [EXPECTATIONS, EXPECTATIONS[1:3]], ids=["as it is", "without a row count"])
def test_d1_a_header_alone_is_refused(world, suite):
    world.write_suite(suite)
    world.deliver(DAYS[0], rows(DAYS[0]).head(0))
    with pytest.raises(ValidationFailedError, match="holds no rows: seen 0, expected at least 1"):
        world.ingest(DAYS[0])
    assert world.lake.days("datasets/things") == []


def test_a_day_without_a_good_row_is_refused_whatever_share_is_allowed(world):
    world.deliver(DAYS[0], rows(DAYS[0], weight=999.0))
    spec = SPEC.model_copy(update={"max_quarantined_share": 1.0})
    with pytest.raises(ValidationFailedError, match="seen 8 of 8"):
        world.ingest(DAYS[0], spec=spec)


def test_below_critical_the_day_is_published_with_a_warning(world):
    world.deliver(DAYS[0], hours=30)
    report = world.ingest(DAYS[0])
    (warned,) = report.warnings[DAYS[0]]
    assert warned.startswith("delivered_after_hours: expect_column_max_to_be_between")
    assert warned.endswith("seen 30.0, expected max_value 24.0")


def test_what_is_delivered_before_the_day_is_over_is_refused(world):
    world.deliver(DAYS[0], hours=-1)
    with pytest.raises(ValidationFailedError, match="delivered_after_hours.*seen -1.0"):
        world.ingest(DAYS[0])


@pytest.mark.parametrize("day", ["2013-03-10", "2013-11-03"])
def test_c6_a_day_is_local_also_where_it_has_23_or_25_hours(world, day):
    first, last = (pd.Timestamp(f"{day} {at}", tz=SPEC.time_zone).tz_convert("UTC") for at in ("00:00", "23:59:59"))
    world.deliver(day, rows(day, seen_at=[first, last] * 4))
    assert world.ingest(day).quarantined == 0
    second = pd.Timedelta(seconds=1)
    world.deliver(day, rows(day, seen_at=[first, last] * 3 + [first - second, last + second]), hours=2)
    assert world.ingest(day).quarantined == 2


def test_d3_other_bytes_are_a_restatement_and_the_old_version_stays(world):
    world.deliver(DAYS[0], rows(DAYS[0], weight=[999.0] + [1.0] * 7))
    first = world.ingest(DAYS[0]).table_version
    world.deliver(DAYS[0], rows(DAYS[0], weight=2.0), hours=2)
    report = world.ingest(DAYS[0])
    assert report.published == DAYS[:1] and set(world.things()["weight"]) == {2.0}
    assert len(world.lake.read("quarantine/things")) == 0
    assert world.ledger.partition("things", DAYS[0]).revision == 2
    assert len(world.lake.read("datasets/things", version=first)) == 7


def test_another_suite_checks_anew_and_what_comes_out_the_same_is_not_written_again(world):
    world.deliver(DAYS[0])
    world.deliver(DAYS[1], rows(DAYS[1], weight=[150.0] + [1.0] * 7))
    version = world.ingest().table_version
    world.write_suite([{**EXPECTATIONS[0], "meta": {"why": "because"}}, *EXPECTATIONS[1:]])
    assert world.ingest().unchanged == DAYS[:2]
    weight = {"type": EXPECTATIONS[1]["type"], "kwargs": {"column": "weight", "min_value": 0, "max_value": 200}}
    world.write_suite([EXPECTATIONS[0], weight, *EXPECTATIONS[2:]])
    report = world.ingest()
    assert (report.published, report.confirmed, report.table_version) == (DAYS[1:2], DAYS[:1], version + 1)
    assert len(world.things(DAYS[1])) == 8 and len(world.lake.read("quarantine/things")) == 0
    revisions = world.ledger.partition_revisions("things")
    assert [p.table_version for p in revisions[DAYS[0]]] == [version, version]
    assert len({p.digest for p in revisions[DAYS[0]]}) == 1 and len({p.digest for p in revisions[DAYS[1]]}) == 2
    assert world.ingest().unchanged == DAYS[:2]


def test_k1_a_record_lost_between_lake_and_ledger_is_made_up_for(world):
    world.deliver(DAYS[0], rows(DAYS[0], weight=[999.0] + [1.0] * 7))
    world.ingest(DAYS[0])
    undisturbed, version = world.ledger.partition("things", DAYS[0]), world.lake.version("datasets/things")
    world.ledger = world.new_ledger("empty ledger")
    assert world.ingest(DAYS[0]).unchanged == DAYS[:1]
    made_up = world.ledger.partition("things", DAYS[0])
    assert replace(made_up, recorded_at=undisturbed.recorded_at) == undisturbed
    assert world.lake.version("datasets/things") == version


def test_a_lake_that_is_older_than_the_ledger_s_record_is_refused(world, storage):
    world.deliver(DAYS[0])
    world.ingest(DAYS[0])
    world.lake = Lake(storage.below("new_lake"))
    with pytest.raises(LedgerError, match="restore lake and ledger from the same time"):
        world.ingest(DAYS[0])


@pytest.mark.parametrize("table", ["quality", "datasets"])
def test_k6_a_run_that_was_overtaken_changes_nothing(world, monkeypatch, table):
    """The first attempt stops just before it writes; a replacement takes the corrected drop; the first one wakes."""
    world.deliver(DAYS[0])
    world.deliver(DAYS[1])
    publish_days, woken = Lake.publish_days, []

    def wakes_late(lake, name, *args, **kwargs):
        if name == f"{table}/things" and not woken:
            woken.append(True)
            world.deliver(DAYS[0], rows(DAYS[0], weight=9.0), hours=2)
            assert world.ingest().published == DAYS[:2]
        return publish_days(lake, name, *args, **kwargs)

    monkeypatch.setattr(Lake, "publish_days", wakes_late)
    with pytest.raises(ConflictError, match="written by another run meanwhile"):
        world.ingest()
    assert set(world.things(DAYS[0])["weight"]) == {9.0}
    assert [len(r) for r in world.ledger.partition_revisions("things").values()] == [1, 1]
    assert world.ingest().unchanged == DAYS[:2]


def test_a_correction_has_to_be_newer_than_what_it_corrects(world):
    world.deliver(DAYS[0], hours=5)
    world.ingest(DAYS[0])
    for hours in (5, 4):
        world.deliver(DAYS[0], rows(DAYS[0], weight=hours + 2.0), hours=hours)
        with pytest.raises(DropError, match="other than the one published, and not newer"):
            world.ingest(DAYS[0])
    assert set(world.things()["weight"]) == {1.5}


def test_a_refused_drop_is_not_tried_again_every_night(world):
    world.deliver(DAYS[0], rows(DAYS[0], weight=999.0))
    world.deliver(DAYS[1])
    with pytest.raises(ValidationFailedError):
        world.ingest_new()
    report = world.ingest_new()
    assert (report.status, report.refused_before) == ("nothing new", DAYS[:1])
    (refusal,) = world.ledger.refusals("things")
    assert (refusal.day, "8 of 8" in refusal.reasons[0]) == (DAYS[0], True)
    assert world.lake.read("refused/things")["line"].tolist() == list(range(2, 10))
    with pytest.raises(ValidationFailedError):
        world.ingest(DAYS[0])
    world.deliver(DAYS[0], hours=2)
    assert world.ingest_new().published == DAYS[:1]
    assert world.lake.days("refused/things") == []


def test_a_missing_drop_is_an_error_before_anything_is_written(world):
    world.deliver(DAYS[0])
    with pytest.raises(DropError, match="no drop of things for 1 of the 2 days") as raised:
        world.ingest()
    assert DAYS[1] in str(raised.value)
    assert not any(world.lake.storage.list()) and world.ledger.partitions("things") == []
    report = world.ingest(on_missing="skip")
    assert (report.published, report.missing) == (DAYS[:1], DAYS[1:2])


def test_d2_an_unreadable_drop_stops_nothing_else(world):
    for day in DAYS[:3]:
        world.deliver(day)
    world.drops.storage.write(world.drops.find("things", DAYS[1]).key, b"not gzip")
    with pytest.raises(DropError, match="isn't what its manifest says") as raised:
        world.ingest(*DAYS[:3])
    assert DAYS[1] in str(raised.value)
    assert world.lake.days("datasets/things") == [DAYS[0], DAYS[2]]


def test_ingest_new_takes_new_days_and_restatements(world):
    assert world.ingest_new().status == "nothing new"
    world.deliver(DAYS[0])
    world.deliver(DAYS[1])
    assert world.ingest_new().published == DAYS[:2]
    assert world.ingest_new().as_dict()["status"] == "nothing new"
    world.deliver(DAYS[0], rows(DAYS[0], weight=3.0), hours=2)
    world.deliver(DAYS[2])
    assert world.ingest_new().published == [DAYS[0], DAYS[2]]


def test_x4_a_validator_that_raises_publishes_nothing(world):
    world.write_suite([{"type": "expect_column_max_to_be_between", "kwargs": {"column": "nope", "max_value": 1}}])
    world.deliver(DAYS[0])
    with pytest.raises(ValidationBrokenError):
        world.ingest(DAYS[0])
    assert world.lake.days("datasets/things") == [] and world.ledger.partitions("things") == []


@pytest.mark.parametrize("days", [[], ["2013-01-01 "], ["../x"]])
def test_days_that_are_none_are_refused(world, days):
    with pytest.raises(ParameterError):
        ingest_days(SPEC, days, **world.adapters())


def test_d9_data_docs_show_what_was_found_with_hostile_text_escaped(world):
    pages = []

    def keep(page, key):
        pages.append((page.read_text("utf-8"), key))
        return f"http://registry/{key}"

    frame = rows(DAYS[0]).astype({"id": object})
    frame.loc[5, "id"] = "<script>alert(1)</script>"
    world.deliver(DAYS[0], frame)
    world.deliver(DAYS[1], rows(DAYS[1], weight=["<script>"] * 8))
    with pytest.raises(ValidationFailedError) as raised:
        world.ingest(on_data_docs=keep)
    ((page, key),) = pages
    assert f"http://registry/{key}" in str(raised.value)
    assert "expect_column_values_to_be_unique" in page and "Refused" in page
    assert "<script" not in page and "http://" not in page and "https://" not in page
    assert world.ingest(DAYS[0], on_data_docs=keep).data_docs is None
