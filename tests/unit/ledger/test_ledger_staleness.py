"""Of a training input every partition that it has come out of is known, whichever of them was told first."""

from __future__ import annotations

from itertools import permutations

import pytest

from ratchet.ledger import open_ledger
from ratchet.ledger.staleness import made_from

MODEL, DIGEST, AS_OF = "flight_delay", "a" * 64, "2013-02-01"
D1, D2 = "2013-01-01", "2013-01-02"
BUILDS = [
    {"flights": {D1: [1, "d1", "drop 1"], D2: [1, "e1", "drop 2"]}},
    {"flights": {D1: [2, "d2", "drop 3"], D2: [1, "e1", "drop 2"]}},
    {"flights": {D1: [4, "d4", "drop 4"], D2: [1, "e1", "drop 2"]}, "weather": {D1: [1, "w1", "drop 5"]}},
]


def keep(ledger, partitions):
    return ledger.record_snapshot(MODEL, DIGEST, AS_OF, partitions)


def test_the_same_build_again_changes_nothing(ledger):
    first = keep(ledger, BUILDS[0])
    entries = ledger.verify().entries
    assert keep(ledger, BUILDS[0]) == first and first.partitions == BUILDS[0]
    assert ledger.verify().entries == entries
    assert [made_from(first.partitions["flights"][day]) for day in (D1, D2)] == [[1], [1]]


@pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
def test_d4_the_same_content_from_other_partitions_is_known_of_all_of_them(ledger, order):
    for number in order:
        kept = keep(ledger, BUILDS[number])
    assert kept.partitions == {
        "flights": {D1: [4, "d4", "drop 4", 1, 2], D2: [1, "e1", "drop 2"]},
        "weather": {D1: [1, "w1", "drop 5"]},
    }
    assert made_from(kept.partitions["flights"][D1]) == [1, 2, 4]
    entries = ledger.verify().entries
    assert [keep(ledger, one) for one in BUILDS] == [kept] * 3 and ledger.verify().entries == entries
    assert ledger.snapshots(MODEL) == [kept]


def test_that_it_came_out_again_is_in_the_chain(ledger, settings):
    keep(ledger, BUILDS[0])
    keep(ledger, BUILDS[1])
    kept, again = ledger.events(subject=f"models/{MODEL}/snapshots/{DIGEST}")
    assert (kept.kind, kept.payload["partitions"]) == ("snapshot_kept", {"flights": 2})
    assert again.kind == "snapshot_made_again"
    assert again.payload["partitions"] == {"flights": {D1: [2, "d2", "drop 3", 1]}}
    assert open_ledger(settings).verify().ok


def test_training_inputs_that_can_hold_a_day_are_those_as_of_it_or_later(ledger):
    for number, as_of in enumerate(["2013-03-01", "2013-02-01", "2013-02-02"]):
        ledger.record_snapshot(MODEL, f"{number}" * 64, as_of, BUILDS[0])
    assert [one.as_of for one in ledger.snapshots(MODEL)] == ["2013-03-01", "2013-02-01", "2013-02-02"]
    assert [one.as_of for one in ledger.snapshots(MODEL, "2013-02-02")] == ["2013-03-01", "2013-02-02"]
    assert ledger.snapshots(MODEL, "2013-03-02") == []
