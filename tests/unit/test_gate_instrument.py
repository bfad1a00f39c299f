"""The whole gate, tried on worlds in which the truth is known; in full by `python -m benchmarks gate`."""

from collections import Counter

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from benchmarks.gate_instrument import CASES, NIGHTS, WINDOW, share, try_case, try_nights
from benchmarks.gate_worlds import NOISE, Drawn, World, noise_for, spec_of, true_auc
from ratchet.gate.quality import difference_of
from ratchet.statistics import estimate

TRIALS = 200
DAYS, HARSH = "days, design effect 12", "days, design effect 30"
NEVER = [case.name for case in CASES if case.at_most == 0.01]


@pytest.mark.parametrize("world", ["independent rows", DAYS])
def test_equal_challengers_are_seldom_promoted_and_by_other_rules_often(world):
    seen = try_case("equal", world, TRIALS)
    assert seen.met and seen.promoted["gate"] <= 0.05 * TRIALS
    assert seen.promoted[">="] >= 0.35 * TRIALS
    if world == DAYS:
        assert seen.promoted["by rows"] >= 0.15 * TRIALS


def test_a_challenger_that_is_better_by_a_hundredth_is_promoted_nine_times_in_ten():
    seen = try_case("better by 0.01", "independent rows", TRIALS, others=False)
    assert seen.met and seen.promoted["gate"] >= 0.9 * TRIALS


@pytest.mark.parametrize("world", ["independent rows", DAYS])
@pytest.mark.parametrize("name", [name for name in NEVER if name.startswith("worse")])
def test_what_is_worse_or_harms_one_slice_is_not_promoted(name, world):
    seen = try_case(name, world, TRIALS, others=False)
    assert seen.met and seen.promoted["gate"] <= 0.01 * TRIALS, seen.verdicts


def test_nothing_but_the_slice_stops_what_is_better_elsewhere():
    name = "worse by 0.05 on a slice of 2,000, better by 0.05 elsewhere"
    seen = try_case(name, "independent rows", TRIALS // 4)
    assert seen.promoted["by rows"] == seen.failed["slice.site.island"] == seen.trials
    assert "better_than_champion" not in seen.failed and "success" not in seen.failed


@pytest.mark.parametrize("name", [name for name in NEVER if not name.startswith("worse")])
def test_what_leaks_and_the_champion_itself_are_not_promoted(name):
    for world in ("independent rows", DAYS):
        assert "PROMOTE" not in try_case(name, world, TRIALS // 20, others=False).verdicts, world


def test_what_leaks_is_held_and_not_rejected():
    for name in NEVER:
        if name.startswith(("a leaked", "better, ")):
            assert set(try_case(name, "independent rows", 10, others=False).verdicts) == {"HOLD"}, name


def test_ninety_nights_of_equal_models_leave_the_champions_score_as_it_is():
    world, rng = (
        World(WINDOW + NIGHTS - 1, 40, day_effect=0.6, day_shift=0.3, own_day_share=0.5),
        np.random.default_rng(1),
    )
    nights = [try_nights(world, rng) for _ in range(8)]
    assert sum(one.promotions["gate"] > 0 for one in nights) <= 0.1 * len(nights)
    assert abs(np.mean([one.inflation["gate"] for one in nights])) <= 0.002
    assert np.mean([one.promotions[">="] for one in nights]) > 5
    assert np.mean([one.inflation[">="] for one in nights]) > 0.01


def test_the_worlds_are_what_they_say():
    """AUCs are as computed, and days weigh as much as on the flights."""
    for world, least, most in ((World(40, 250), 0.8, 1.3), (World(30, 333, 0.6, 0.3, 0.5), 10, 16)):
        assert true_auc(world, noise_for(world, 0.01)) - true_auc(world, NOISE) == pytest.approx(0.01)
        rng, effects, aucs = np.random.default_rng(1), [], []
        for _ in range(15):
            drawn = Drawn(world, rng)
            rows = drawn.frame(drawn.scores(NOISE), drawn.scores(NOISE))
            by_day = estimate(difference_of(spec_of(), rows)).standard_error
            by_row = estimate(difference_of(spec_of(), rows.assign(day=np.arange(len(rows))))).standard_error
            effects.append((by_day / by_row) ** 2)
            aucs.append(roc_auc_score(rows["label"], rows["champion_score"]))
        assert least <= np.mean(effects) <= most
        assert np.mean(aucs) == pytest.approx(true_auc(world, NOISE), abs=0.012)


def test_a_share_is_told_with_its_interval():
    assert share(5, 200) == "2.5% (0.8% to 5.7%)"  # Clopper and Pearson's, as in their tables
    assert share(0, 300).startswith("0.0% (0.0% to 1.2%")
    assert Counter(case.at_most for case in CASES)[0.05] == 1
