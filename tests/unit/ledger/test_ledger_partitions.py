"""Published days, scored days, drift checks: recorded once, restated on record."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy
import pytest
from ledger_story import MODEL

from ratchet.errors import ConflictError, ParameterError

DELIVERED = datetime(2013, 1, 2, 4, tzinfo=UTC)


def record(ledger, day="2013-01-01", digest="d1", table_version=1, **changes):
    facts = {"drop_sha256": "drop", "recipe": "recipe", "rows": 800, "quarantined": 2, "delivered_at": DELIVERED}
    facts |= {"digest": digest, "table_version": table_version} | changes
    return ledger.record_partition("flights", day, **facts)


def test_a_partition_is_recorded_once(ledger):
    first = record(ledger)
    entries = ledger.verify().entries
    assert record(ledger, table_version=7) == first == ledger.partition("flights", "2013-01-01")
    assert (first.revision, first.table_version, first.rows, first.delivered_at) == (1, 1, 800, DELIVERED)
    assert ledger.verify().entries == entries


def test_d3_other_content_is_a_restatement_and_so_is_the_way_back(ledger):
    for version, digest in enumerate(["d1", "d2", "d1"], start=1):
        assert record(ledger, digest=digest, table_version=version).revision == version
    assert ledger.partition("flights", "2013-01-01").table_version == 3
    assert len(ledger.events(subject="datasets/flights/2013-01-01")) == 3


def test_k6_a_publisher_that_was_overtaken_changes_nothing(ledger):
    newest = record(ledger, digest="d2", table_version=5)
    with pytest.raises(ConflictError, match="published again meanwhile"):
        record(ledger, digest="d1", table_version=4)
    assert ledger.partitions("flights") == [newest]


def test_k6_who_looked_at_an_older_revision_is_told_so_and_changes_nothing(ledger):
    """Both found what is published unchanged, each by a recipe of its own: the table's version tells them not apart."""
    record(ledger, revises=0)
    newest = record(ledger, recipe="newer", revises=1)
    entries = ledger.verify().entries
    with pytest.raises(ConflictError, match="published again meanwhile"):
        record(ledger, recipe="older", revises=1)
    with pytest.raises(ConflictError, match="published again meanwhile"):
        record(ledger, recipe="older", revises=0)
    assert record(ledger, recipe="newer", revises=0) == newest, "its own record, told again"
    assert ledger.partitions("flights") == [newest] and ledger.verify().entries == entries
    assert record(ledger, recipe="newest", revises=2).revision == 3


def test_several_days_are_recorded_in_one_transaction_or_none_of_them(ledger):
    days = ["2013-01-01", "2013-01-02", "2013-01-03"]
    facts = {"dataset": "flights", "digest": "d1", "drop_sha256": "drop", "recipe": "recipe", "rows": 8}
    facts |= {"quarantined": 0, "delivered_at": DELIVERED, "actor": None, "reason": "delivered", "revises": 0}
    published = [facts | {"day": day, "table_version": 4} for day in days]
    record(ledger, day=days[2], table_version=5)
    entries = ledger.verify().entries
    with pytest.raises(ConflictError):
        ledger.record_partitions([*published[:2], published[2] | {"digest": "d2"}])
    assert [p.day for p in ledger.partitions("flights")] == days[2:] and ledger.verify().entries == entries
    assert [p.day for p in ledger.record_partitions(published)] == days
    assert len({p.recorded_at for p in ledger.partitions("flights", last=days[1])}) == 1
    assert [e.subject for e in ledger.events(limit=2)] == [f"datasets/flights/{day}" for day in days[:2]]
    assert ledger.verify().ok and ledger.verify().entries == entries + 2


def test_partitions_come_in_order_and_range(ledger):
    for version, day in enumerate(["2013-01-03", "2013-01-01", "2013-01-02"], start=1):
        record(ledger, day=day, table_version=version)
    assert [p.day for p in ledger.partitions("flights")] == ["2013-01-01", "2013-01-02", "2013-01-03"]
    assert [p.day for p in ledger.partitions("flights", first="2013-01-02")] == ["2013-01-02", "2013-01-03"]
    assert [p.day for p in ledger.partitions("flights", last="2013-01-02")] == ["2013-01-01", "2013-01-02"]
    assert ledger.high_water("flights") == "2013-01-03"


def test_an_unknown_dataset_has_no_days(ledger):
    assert ledger.partitions("nothing") == []
    assert ledger.partition("nothing", "2013-01-01") is None
    assert ledger.high_water("nothing") is None


def test_numpy_numbers_and_iso_instants_are_taken(ledger):
    kept = record(ledger, rows=numpy.int64(5), delivered_at="2013-01-01T23:00:00-05:00")
    assert kept.rows == 5 and type(kept.rows) is int
    assert kept.delivered_at == datetime(2013, 1, 2, 4, tzinfo=UTC)


@pytest.mark.parametrize("wrong", [{"day": "2013-1-1"}, {"day": "../x"}, {"delivered_at": datetime(2013, 1, 1)}])
def test_wrong_days_and_naive_instants_are_refused(ledger, wrong):
    with pytest.raises(ParameterError):
        record(ledger, **wrong)
    assert ledger.partitions("flights") == []


def test_a_day_is_scored_once_per_inputs_and_version(ledger):
    first = ledger.record_scored(MODEL, "2013-04-01", "inputs", 1, 900, 1)
    assert ledger.record_scored(MODEL, "2013-04-01", "inputs", 1, 900, 2) == first == ledger.scored(MODEL, "2013-04-01")
    by_new_version = ledger.record_scored(MODEL, "2013-04-01", "inputs", 2, 900, 2)
    restated = ledger.record_scored(MODEL, "2013-04-01", "other inputs", 2, 901, 3)
    assert (by_new_version.revision, restated.revision) == (2, 3)
    assert ledger.scored_days(MODEL) == {"2013-04-01": restated}
    assert ledger.scored(MODEL, "2013-04-02") is None
    with pytest.raises(ConflictError):
        ledger.record_scored(MODEL, "2013-04-01", "inputs", 1, 900, 2)


def test_scorings_come_in_order_and_range(ledger):
    days = ["2013-04-01", "2013-04-02", "2013-04-03"]
    for version, (day, inputs) in enumerate([(days[2], "a"), (days[0], "b"), (days[1], "c"), (days[1], "d")], start=1):
        ledger.record_scored(MODEL, day, inputs, 1, 900, version)
    assert [s.inputs_digest for s in ledger.scorings(MODEL)] == ["b", "c", "d", "a"]
    assert [s.inputs_digest for s in ledger.scorings(MODEL, days[1])] == ["c", "d", "a"]
    assert [s.inputs_digest for s in ledger.scorings(MODEL, last=days[0])] == ["b"]
    assert [s.inputs_digest for s in ledger.scorings(MODEL, days[1], days[1])] == ["c", "d"]


def test_a_drift_check_is_recorded_once_per_key(ledger):
    result = {"share": 0.5, "window": ["2013-04-01", "2013-04-28"], "drifted": {"temp": 0.3}}
    first = ledger.record_check(MODEL, "2013-05-01", 1, "key", result, "http://127.0.0.1/report")
    assert ledger.record_check(MODEL, "2013-05-01", 1, "key", {"share": 0.9}, None) == first
    assert (first.result, first.report_url) == (result, "http://127.0.0.1/report")
    earlier = ledger.record_check(MODEL, "2013-04-01", 1, "other key", result, None)
    assert ledger.checks(MODEL) == [earlier, first]
    assert ledger.checks(MODEL, "2013-04-02") == ledger.checks(MODEL, "2013-05-01", "2013-05-01") == [first]
    assert ledger.checks(MODEL, last="2013-04-30") == [earlier]
    newest = [ledger.newest_check(MODEL, 1, before=day) for day in ("2013-05-02", "2013-05-01", "2013-04-01")]
    assert newest == [first, earlier, None]
