"""What is watched, tried on worlds in which the truth is known; in full by `python -m benchmarks monitor`."""

from itertools import product

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from benchmarks.monitor_instrument import FOUND_IN, HARMS, SEASON, SHOWN, WINDOWS, WORLDS, drifted_share
from benchmarks.monitor_quarters import QUARTERLY, checks, windowed
from benchmarks.monitor_report import monitor_section
from benchmarks.monitor_rounds import Measured, Part, together, try_part
from benchmarks.monitor_worlds import AUC, FIRST, World, draw, spec_of
from ratchet.days import shift_day

SMALL = ("200 rows of 1 day", "3,000 rows of 7 days")


NOTHING, FLIPPED = ("independent rows", "nothing: paged"), ("independent rows", "20 % of the labels flipped")
ASKED = {  # by part: its questions, and which of them come true
    "driftless": ([(world, window) for world in WORLDS for window in WINDOWS], lambda one: False),
    "evidently": (
        [("days", f"{window}: {what}") for window in SHOWN for what in ("dataset", "any column")],
        lambda one: True,
    ),
    "planted": ([(world, harm.name) for world in FOUND_IN for harm in HARMS], lambda one: True),
    "harmless": ([("days", "a fifth of the rows")], lambda one: False),
    "harmed": ([FLIPPED, NOTHING], lambda one: one == FLIPPED),
    "quarter": (list(product(QUARTERLY, ["pages", "warnings", "quarters with a page"])), lambda one: False),
}


@pytest.mark.matrix
def test_where_nothing_moved_alarms_are_rare():
    told = try_part("driftless", 6, windows=SMALL)
    assert set(told.worlds) == {*WORLDS, SEASON}
    assert sum(told.counts.values()) <= 1, told.counts


@pytest.mark.matrix
def test_what_is_planted_is_found_at_one_days_rows():
    told = try_part("planted", 1)
    assert len(told.counts) == 2 * len(HARMS) and set(told.counts.values()) == {1}, told.counts


def test_what_harms_nobody_warns_nobody():
    told = try_part("harmless", 2)
    assert len(told.counts) == 9 and not any(told.counts.values()), told.counts


@pytest.mark.matrix
def test_flipped_labels_and_a_changed_concept_page_somebody_and_nothing_pages_nobody():
    told = try_part("harmed", 1)
    assert len(told.counts) == 6
    assert {what: bool(count) for what, count in told.counts.items()} == {
        what: not what[1].startswith("nothing") for what in told.counts
    }


def test_days_in_which_nothing_is_wrong_page_nobody():
    rng = np.random.default_rng(1)
    known, later = windowed(draw(World(50), 120, rng), 60, 30), draw(World(50), 20, rng, 500)
    results = list(checks(spec_of(), known, later, range(15, 20)))
    assert len(results) == 5 and not [alarm for result in results for alarm in result.alarms if alarm.level == "page"]
    assert all(result.performance is not None and result.state == "usual" for result in results[:1])


@pytest.mark.matrix
def test_evidentlys_defaults_call_small_windows_drifted_in_which_nothing_has():
    rng = np.random.default_rng(1)
    reference, current = draw(World(100), 60, rng), draw(World(50), 1, rng, 500)
    assert drifted_share(reference, current) > 0.2


def test_the_worlds_are_what_they_say():
    rng = np.random.default_rng(1)
    rows = draw(World(5000), 4, rng, after=31)
    assert roc_auc_score(rows["label"], rows["score"]) == pytest.approx(AUC, abs=0.02)
    assert rows["label"].mean() == pytest.approx(rows["score"].mean(), abs=0.01)
    assert list(rows["day"].cat.categories) == [shift_day(FIRST, 31 + day) for day in range(4)]
    unlike = draw(World(200, day_effect=0.5, neighbours=0.6), 2000, rng).groupby("day", observed=True)["signal"].mean()
    assert unlike.std() == pytest.approx(0.5, abs=0.05)
    assert np.corrcoef(unlike[1:], unlike[:-1])[0, 1] == pytest.approx(0.6, abs=0.06)


def test_the_section_says_met_only_of_what_its_whole_interval_shows():
    parts = {name: Part(500, {one: 500 if yes(one) else 0 for one in asked}) for name, (asked, yes) in ASKED.items()}
    section = monitor_section(Measured(parts, {"rows": 330_000, "ratchet": 0.5, "evidently": 13.0}))
    verdicts = {target.what: target.met for target in section.targets}
    assert verdicts["nothing moved, independent rows: alarms"] is True
    assert verdicts["kind is gone; independent rows: found"] is True
    assert verdicts["pages a quarter in which nothing is wrong; independent rows"] is True
    few = {name: Part(20, {one: count // 25 for one, count in part.counts.items()}) for name, part in parts.items()}
    unsure = monitor_section(Measured(few, {"rows": 330_000, "ratchet": 2.0, "evidently": 13.0}))
    assert {target.what: target.met for target in unsure.targets}["kind is gone; independent rows: found"] is None
    assert unsure.targets[-1].met is False
    assert section.targets[-1].met and "26 times as fast" in section.targets[-1].seen
    told = together([{"planted": {"trials": 2, "counts": [["w", "q", 1]]}}] * 3)
    assert told == {"planted": Part(6, {("w", "q"): 3})}
