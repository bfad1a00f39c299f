import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from ratchet.errors import EmptyWindowError, ParameterError
from ratchet.statistics import Jackknifed, calibration_error, combined, estimate, mean, measure, rate


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


def chance(score):
    return 1 / (1 + np.exp(-np.asarray(score)))


def left_out(function, cluster, *columns):
    """The value with each cluster left out, the long way."""
    return [function(*(column[cluster != name] for column in columns)) for name in sorted(set(cluster))]


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5), st.integers(0, 3)), min_size=4, max_size=60))
@settings(deadline=None)
def test_an_auc_is_scikit_learns_ties_and_all_also_without_each_cluster(rows):
    label, score, cluster = (np.array(column) for column in zip(*rows, strict=True))
    parts = [label[cluster != name] for name in set(cluster)]
    if len(parts) < 2 or any(len(set(part)) < 2 for part in parts):
        with pytest.raises(EmptyWindowError):
            measure("roc_auc", label, score, cluster)
        return
    auc = measure("roc_auc", label, score, cluster)
    assert auc.value == pytest.approx(metrics.roc_auc_score(label, score))
    assert auc.without == pytest.approx(left_out(metrics.roc_auc_score, cluster, label, score))
    assert auc.rows == len(rows)


@pytest.mark.parametrize(
    ("metric", "known"),
    [
        ("log_loss", metrics.log_loss),
        ("brier", metrics.brier_score_loss),
        ("mae", metrics.mean_absolute_error),
        ("rmse", metrics.root_mean_squared_error),
    ],
)
def test_a_loss_is_scikit_learns_also_without_each_cluster(metric, known):
    label, score, _, day = days_of_flights(1, days=6, rows=30)
    loss = measure(metric, label, chance(score), day)
    assert loss.value == pytest.approx(known(label, chance(score)))
    assert loss.without == pytest.approx(left_out(known, day, label, chance(score)))


def test_a_log_loss_of_several_classes_goes_by_the_columns_names():
    rng = np.random.default_rng(1)
    label, day = np.array(["a", "b", "c"] * 20), np.repeat(np.arange(6), 10)
    scores = pd.DataFrame(rng.dirichlet([1, 1, 1], 60), columns=["score_c", "score_a", "score_b"])
    known = metrics.log_loss(label, scores[["score_a", "score_b", "score_c"]], labels=["a", "b", "c"])
    assert measure("log_loss", label, scores, day).value == pytest.approx(known)
    as_numbers = pd.Series(label).map({"c": 0, "a": 1, "b": 2})
    assert measure("log_loss", as_numbers, scores.to_numpy(), day).value == pytest.approx(known)
    with pytest.raises(EmptyWindowError, match="no known class"):
        measure("log_loss", np.where(label == "a", "d", label), scores, day)


def test_a_certainty_that_was_wrong_costs_much_and_not_everything():
    assert 10 < measure("log_loss", [1, 0], [0.0, 0.0], [1, 2]).value < 20


def test_calibration_error_of_bins_that_hold_equally_many():
    day, score = np.tile([1, 2, 3, 4], 50), np.repeat([0.1, 0.4], 100)
    label = np.repeat([1, 0, 1, 0], [10, 90, 60, 40])
    assert calibration_error(label, score, day, bins=2).value == pytest.approx(0.5 * 0.0 + 0.5 * 0.2)
    label, score, _, day = days_of_flights(2, days=5, rows=40)
    ece = calibration_error(label, chance(score), day)
    bins = pd.qcut(chance(score), 10, labels=False)
    gaps = [abs((label - chance(score))[(bins == b) & (day != 2)].sum()) for b in range(10)]
    assert ece.without[2] == pytest.approx(sum(gaps) / 160)


def test_a_rate_among_some_rows():
    flag, among, day = np.array([1, 1, 0, 0, 1, 0]), np.array([1, 0, 1, 1, 1, 0]), np.array([1, 1, 1, 2, 2, 3])
    found = rate(flag, day, among)
    assert (found.value, found.rows) == (0.5, 4) and list(found.without) == [0.5, 0.5, 0.5]
    assert rate(flag, day).value == 0.5 and list(rate(flag, day).without) == [1 / 3, 0.5, 3 / 5]
    with pytest.raises(EmptyWindowError, match="one cluster"):
        rate(flag, day, day == 1)
    with pytest.raises(EmptyWindowError, match="one cluster"):
        rate(flag, day, day == 9)


def test_the_interval_of_a_mean_of_independent_rows_is_students():
    """Known from any textbook: mean, standard deviation over the root of n, and t with n - 1 degrees of freedom."""
    values = np.random.default_rng(1).normal(size=12)
    of_mean = estimate(measure("mae", np.zeros(12), np.abs(values), np.arange(12)), alpha=0.1)
    error = np.abs(values).std(ddof=1) / np.sqrt(12)
    assert of_mean.standard_error == pytest.approx(error)
    assert of_mean.high - of_mean.value == pytest.approx(1.795885 * error)
    assert (of_mean.clusters, of_mean.rows, of_mean.alpha) == (12, 12, 0.1)


def test_the_order_of_rows_changes_nothing():
    label, score, other, day = days_of_flights(2)
    order = np.random.default_rng(0).permutation(len(label))
    for metric in ("roc_auc", "brier"):
        one = measure(metric, label, chance(score), day).minus(measure(metric, label, chance(other), day))
        label_, score_, other_, day_ = (column[order] for column in (label, score, other, day))
        two = measure(metric, label_, chance(score_), day_).minus(measure(metric, label_, chance(other_), day_))
        assert estimate(one).as_dict() == pytest.approx(estimate(two).as_dict(), abs=1e-12)


def difference(label, one, two, day):
    return estimate(measure("roc_auc", label, one, day).minus(measure("roc_auc", label, two, day)))


def test_exchanging_the_two_models_turns_the_difference_round():
    label, score, other, day = days_of_flights(3)
    one, two = difference(label, score, other, day), difference(label, other, score, day)
    assert (one.value, one.low, one.high) == pytest.approx((-two.value, -two.high, -two.low))


def test_two_scores_that_order_alike_differ_by_nothing_for_sure():
    label, score, _, day = days_of_flights(4)
    same = difference(label, score, np.exp(score / 3), day)
    assert (same.value, same.low, same.high, same.standard_error) == (0, 0, 0, 0)


def test_clusters_of_rows_that_are_alike_give_a_wider_interval_than_rows():
    label, score, other, day = days_of_flights(5, day_effect=1.0, own_day_noise=(0.8, 0.8))
    by_row = difference(label, score, other, np.arange(len(day)))
    assert difference(label, score, other, day).standard_error > 2 * by_row.standard_error


def test_ten_thousand_clusters_of_one_row_and_twenty_of_a_thousand():
    """By rows, the error of an AUC is that of DeLong, DeLong and Clarke-Pearson (Biometrics, 1988)."""
    label, score, *_ = days_of_flights(6, days=100, day_effect=0)
    by_row = estimate(measure("roc_auc", label, score, np.arange(10_000)))
    ranks = pd.Series(score).rank().to_numpy()
    positive = label == 1
    of_positives = (ranks[positive] - pd.Series(score[positive]).rank().to_numpy()) / (~positive).sum()
    of_negatives = 1 - (ranks[~positive] - pd.Series(score[~positive]).rank().to_numpy()) / positive.sum()
    delong = of_positives.var(ddof=1) / positive.sum() + of_negatives.var(ddof=1) / (~positive).sum()
    assert by_row.standard_error == pytest.approx(np.sqrt(delong), rel=1e-3)
    assert by_row.clusters == 10_000
    label, score, _, day = days_of_flights(6, days=20, rows=1000)
    assert estimate(measure("roc_auc", label, score, day)).clusters == 20


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    """Over many worlds of 30 days a 95 % interval misses the true AUC in about 5 %, though days are unlike."""
    truth = measure("roc_auc", *days_of_flights(999, days=3000)[:2], np.arange(300_000) // 100).value
    missed = 0
    for seed in range(200):
        label, score, _, day = days_of_flights(seed, rows=40)
        interval = estimate(measure("roc_auc", label, score, day))
        missed += not interval.low <= truth <= interval.high
    assert missed <= 20


def by_day(values):
    """The mean of one value a day, in order of time."""
    return mean(values, np.arange(len(values)))


def test_days_in_order_tell_as_much_as_fewer_independent_ones():
    """Known: of n values whose neighbours correlate with r, n (1 - r) / (1 + r) are independent."""
    values = np.repeat([1.0, -1.0] * 4, 3)  # neighbours are alike 16 times and unlike 7 times
    independent = 24 * (1 - 9 / 24) / (1 + 9 / 24)
    plain, in_order = estimate(by_day(values)), estimate(by_day(values), in_order=True)
    assert plain.standard_error == pytest.approx(values.std(ddof=1) / np.sqrt(24))
    assert in_order.standard_error == pytest.approx(values.std(ddof=1) / np.sqrt(independent))
    assert in_order.high / in_order.standard_error > plain.high / plain.standard_error  # and t has fewer degrees
    drifting = estimate(by_day(np.arange(200.0)), in_order=True)  # never fewer than two
    assert drifting.standard_error == pytest.approx(np.arange(200.0).std(ddof=1) / np.sqrt(2))


@pytest.mark.parametrize("values", [np.repeat([1.0, -1.0] * 2, 3), np.array([1.0, -1.0] * 20), np.ones(30)])
def test_neighbours_that_are_not_surely_alike_change_nothing(values):
    """Twelve days whose neighbours correlate with 0.42, as chance alone may make them; days that swing; no spread."""
    assert estimate(by_day(values), in_order=True) == estimate(by_day(values))


def test_days_that_depend_on_the_day_before_are_allowed_for():
    """400 series of 30 days whose neighbours correlate with 0.7: a bound at 2.5 % is wrong in a fifth of them, and in a
    fifteenth where their order counts; of independent days both bounds hold."""
    wrong = {}
    for depends in (0.0, 0.7):
        rng, series = np.random.default_rng(1), np.zeros((400, 30))
        for day, new in enumerate(rng.normal(size=(30, 400))):
            series[:, day] = depends * series[:, day - 1] + np.sqrt(1 - depends**2) * new if day else new
        for in_order in (False, True):
            found = [estimate(by_day(values), in_order=in_order).low > 0 for values in series]
            wrong[depends, in_order] = float(np.mean(found))
    assert wrong[0.7, False] > 0.15 and wrong[0.7, True] < 0.08
    assert 0.01 < wrong[0.0, True] <= wrong[0.0, False] < 0.05


@pytest.mark.parametrize("label", [[0, 0, 0, 0], [1, 1, 1, 1], [1, 0, 0, 0]])
def test_an_auc_needs_both_classes_whichever_cluster_is_left_out(label):
    with pytest.raises(EmptyWindowError, match="AUC"):
        measure("roc_auc", label, [0.1, 0.2, 0.3, 0.4], [1, 1, 2, 2])


def test_what_is_no_number_is_refused_with_the_count():
    for scores in ([0.1, np.nan, 0.2, 0.3], pd.Series([0.1, None, 0.2, 0.3], dtype="Float64")):
        with pytest.raises(EmptyWindowError, match="1 of 4 rows"):
            measure("roc_auc", [0, 1, 0, 1], scores, [1, 1, 2, 2])
    with pytest.raises(EmptyWindowError, match="1 of 4 rows"):
        measure("brier", [0, np.nan, 0, 1], [0.1, 0.2, 0.2, 0.3], [1, 1, 2, 2])
    with pytest.raises(EmptyWindowError, match="other than 0 and 1"):
        measure("brier", [0, 2, 0, 1], [0.1, 0.2, 0.2, 0.3], [1, 1, 2, 2])
    with pytest.raises(EmptyWindowError, match="two clusters"):
        measure("mae", [1, 2], [1, 2], [1, 1])
    with pytest.raises(ParameterError, match="no metric"):
        measure("accuracy", [1, 2], [1, 2], [1, 2])


def test_values_of_other_clusters_are_not_compared():
    with pytest.raises(ParameterError, match="other clusters"):
        Jackknifed(1.0, np.ones(3), 10).minus(Jackknifed(1.0, np.ones(4), 10))
    share = combined(np.divide, Jackknifed(1.0, np.array([2.0, 4.0]), 10), Jackknifed(2.0, np.array([1.0, 2.0]), 10))
    assert share.value == 0.5 and list(share.without) == [2, 2]


def test_an_estimate_goes_through_json():
    label, score, _, day = days_of_flights(1)
    told = estimate(measure("roc_auc", label, score, day)).as_dict()
    assert json.loads(json.dumps(told, allow_nan=False)) == told
