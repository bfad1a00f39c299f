import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from ratchet.errors import EmptyWindowError
from ratchet.statistics import _ClusterPairs, clustered_auc, paired_auc_difference


def days_of_flights(seed, days=30, rows=100, day_effect=0.7, own_noise=(1.0, 1.0), own_day_noise=(0.4, 0.4)):
    """(label, scores of two models, day): days share their effect on the label, and each model errs by day too."""
    rng = np.random.default_rng(seed)
    day = np.repeat(np.arange(days), rows)
    truth = rng.normal(size=days * rows) + day_effect * rng.normal(size=days)[day]
    label = (truth + rng.normal(size=days * rows) > 0.8).astype(int)
    scores = [
        truth + noise * rng.normal(size=days * rows) + by_day * rng.normal(size=days)[day]
        for noise, by_day in zip(own_noise, own_day_noise, strict=True)
    ]
    return label, *scores, day


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5), st.integers(0, 3)), min_size=4, max_size=60))
@settings(deadline=None)
def test_auc_equals_scikit_learns_ties_and_all(rows):
    label, score, cluster = (np.array(column) for column in zip(*rows, strict=True))
    if len(set(label)) < 2 or len(set(cluster)) < 2:
        with pytest.raises(EmptyWindowError):
            clustered_auc(label, score, cluster, resamples=100)
        return
    pairs = _ClusterPairs(label, cluster)
    whole = pairs.auc(pairs.ordered(score), np.ones((1, pairs.clusters)))[0]
    assert whole == pytest.approx(roc_auc_score(label, score))


def test_a_resample_weighs_whole_clusters():
    """The AUC under cluster weights is that of the rows repeated so many times."""
    label, score, _, day = days_of_flights(1, days=5, rows=40)
    pairs = _ClusterPairs(label, day)
    weights = np.array([[2, 0, 1, 1, 1]], dtype=float)
    repeated = np.repeat(np.arange(len(day)), weights[0, day].astype(int))
    assert pairs.auc(pairs.ordered(score), weights)[0] == pytest.approx(roc_auc_score(label[repeated], score[repeated]))


def test_the_same_seed_gives_the_same_interval_whatever_the_order_of_rows():
    label, score, other, day = days_of_flights(2)
    shuffled = np.random.default_rng(0).permutation(len(label))
    assert clustered_auc(label, score, day, 300, 7) == clustered_auc(
        label[shuffled], score[shuffled], day[shuffled], 300, 7
    )
    once = paired_auc_difference(label, score, other, day, 300, 7)
    assert once == paired_auc_difference(label, score, other, day, 300, 7)
    assert once != paired_auc_difference(label, score, other, day, 300, 8)


def test_exchanging_the_two_models_turns_the_test_round():
    label, score, other, day = days_of_flights(3)
    one, two = (paired_auc_difference(label, *pair, day, 300, 7) for pair in ((score, other), (other, score)))
    assert one.difference == pytest.approx(-two.difference)
    assert one.low == pytest.approx(-two.high)
    assert one.p_value == pytest.approx(1 - two.p_value)


def test_two_scores_that_order_alike_differ_by_nothing_for_sure():
    label, score, _, day = days_of_flights(4)
    same = paired_auc_difference(label, score, np.exp(score / 3), day, 300, 7)
    assert (same.difference, same.low, same.high, same.standard_error, same.p_value) == (0, 0, 0, 0, 1)


def test_clusters_of_rows_that_are_alike_give_a_wider_interval_than_rows():
    label, score, other, day = days_of_flights(5, day_effect=1.0, own_day_noise=(0.8, 0.8))
    by_day = paired_auc_difference(label, score, other, day, 500, 1)
    by_row = paired_auc_difference(label, score, other, np.arange(len(day)) % 1000, 500, 1)
    assert by_day.standard_error > 2 * by_row.standard_error


def test_a_truly_better_model_is_found_and_the_interval_holds_the_truth():
    label, better, worse, day = days_of_flights(6, days=60, rows=200, own_noise=(0.5, 3.0), own_day_noise=(0.1, 0.1))
    test = paired_auc_difference(label, better, worse, day, 500, 1)
    assert test.low > 0 and test.p_value < 0.001
    assert test.clusters == 60 and test.rows == 12000


def test_nominal_five_percent_intervals_cover_about_so_often():
    """40 worlds of 28 days, one true AUC: with clusters respected nearly all intervals hold it."""
    big = days_of_flights(999, days=4000, rows=20)
    truth = roc_auc_score(big[0], big[1])
    missed = 0
    for seed in range(40):
        label, score, _, day = days_of_flights(seed, days=28, rows=60)
        interval = clustered_auc(label, score, day, 200, seed)
        missed += not interval.low <= truth <= interval.high
    assert missed <= 6


def test_a_month_of_flights_takes_less_than_two_seconds():
    label, score, other, day = days_of_flights(7, days=30, rows=930)
    started = time.process_time()
    paired_auc_difference(label, score, other, day, 1000, 1)
    assert time.process_time() - started < 2


@pytest.mark.parametrize(
    ("label", "day"),
    [([1, 1, 1, 1], [1, 1, 2, 2]), ([0, 0, 0, 0], [1, 1, 2, 2]), ([0, 1, 0, 1], [1, 1, 1, 1]), ([], [])],
)
def test_rows_that_can_not_carry_an_auc_are_refused(label, day):
    with pytest.raises(EmptyWindowError, match="longer window"):
        clustered_auc(label, np.linspace(0, 1, len(label)), day)


def test_scores_that_are_no_numbers_are_refused():
    with pytest.raises(EmptyWindowError, match="no numbers"):
        clustered_auc([0, 1, 0, 1], [0.1, np.nan, 0.2, 0.3], [1, 1, 2, 2])


def test_results_go_through_json():
    import json

    label, score, other, day = days_of_flights(8, days=4)
    json.dumps(
        [
            clustered_auc(label, score, day, 100).as_dict(),
            paired_auc_difference(label, score, other, day, 100).as_dict(),
        ]
    )
