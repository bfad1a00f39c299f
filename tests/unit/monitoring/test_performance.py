"""The spec's metric on outcomes: measured or said why not; worse surely, or not."""

from __future__ import annotations

import re

import numpy as np
import pytest
from watched_world import outcomes, reference, rows, spec_of

from ratchet.days import days_between
from ratchet.monitoring.change import Change
from ratchet.monitoring.performance import find_performance, find_slices, measure_metric, metric_change, told_harm
from ratchet.statistics import mean

JUDGED = reference().query("window == 'judge'")
NUMBERS = {"retrain_when": {"metric_falls_by": 0.1}}


def numbers(seed: int, days: list[str], error: float):
    said = rows(seed, days)
    return said.assign(label=said["score"] + error * np.random.default_rng(seed).normal(size=len(said)))


JANUARY, MAY = days_between("2013-01-01", "2013-01-20"), days_between("2013-05-01", "2013-05-14")


def change(spec, before, now) -> Change:
    return metric_change(spec, measure_metric(spec, before)[0], measure_metric(spec, now)[0])


def test_harm_is_told_with_its_size_and_asks_only_when_it_is_large_and_sure():
    spec = spec_of()
    told = told_harm(spec, change(spec, JUDGED, outcomes(slope=0.6)))
    assert told.startswith("roc_auc fell from 0.8") and "14 days), by 0." in told
    assert told_harm(spec, change(spec, JUDGED, outcomes())) is None
    assert told_harm(spec_of(retrain_when={"metric_falls_by": None}), change(spec, JUDGED, outcomes(slope=0.6))) is None
    assert told_harm(spec_of(retrain_when={"metric_falls_by": 0.4}), change(spec, JUDGED, outcomes(slope=0.6))) is None


@pytest.mark.parametrize("metric", ["mae", "rmse"])
def test_of_an_error_more_is_harm_and_less_is_none(metric):
    spec, was, worse = spec_of("regression", metric, **NUMBERS), numbers(1, JANUARY, 1.0), numbers(2, MAY, 2.0)
    harm = change(spec, was, worse)
    assert 0.5 < harm.worse_by == pytest.approx(harm.now.value - harm.before.value)
    assert told_harm(spec, harm).startswith(f"{metric} rose from ")
    assert find_performance(spec, harm, "it").harm == "measured"
    better = change(spec, worse, was)
    assert better.worse_by == pytest.approx(-harm.worse_by) and told_harm(spec, better) is None


def test_a_page_takes_a_step_that_matters_and_the_surety_that_the_budget_buys():
    """One that is sure but small, and one that is large but unsure, are usual."""
    spec = spec_of(retrain_when={"metric_falls_by": 0.05})
    sure = change(spec, JUDGED, outcomes(slope=0.9))
    assert sure.is_surely(0.05, 0.005) and find_performance(spec, sure, "it").state == "moved"
    assert find_performance(spec_of(retrain_when={"metric_falls_by": 0.2}), sure, "it").state == "usual"
    never = spec_of(watch={"false_alarms": {"pages": 1e-12, "warnings": 1.0}})
    assert find_performance(never, sure, "it").state == "usual"


def test_the_threshold_is_where_moved_begins():
    spec = spec_of()
    harm = change(spec, JUDGED, outcomes(slope=0.6))
    found = find_performance(spec, harm, "it")
    assert found.value < found.threshold < found.reference == harm.before.value
    assert (found.unit, found.value) == ("roc_auc", harm.now.value)


def test_slices_have_the_rows_that_the_spec_asks_for_and_page_each_by_itself():
    now = outcomes(seed=5)
    wrong = now["label"].where(now["c"] == "x", 1 - now["label"])
    found = {one.name: one for one in find_slices(spec_of(), JUDGED, now.assign(label=wrong))}
    assert {name: one.state for name, one in found.items()} == {"c=x": "usual", "c=y": "moved"}
    assert found["c=y"].level == "page"
    assert find_slices(spec_of(evaluate={"min_group_rows": 5000}), JUDGED, now) == []
    rare = JUDGED[(JUDGED["c"] == "x") | (JUDGED["day"] == JUDGED["day"].max())]
    assert [one.name for one in find_slices(spec_of(), rare, now)] == ["c=x"]
    for thin in (now.drop(columns="c"), now.head(0), now.head(300)):
        told = {one.name: one.state for one in find_slices(spec_of(), JUDGED, thin)}
        assert told == {"c=x": "not enough data", "c=y": "not enough data"}


def test_values_of_a_slice_that_look_alike_have_names_of_their_own():
    before, now = (one.assign(c=one["c"].replace("y", "x ")) for one in (JUDGED, outcomes()))
    x, other = sorted(one.name for one in find_slices(spec_of(), before, now))
    assert x == "c=x" and re.fullmatch(r"c=x~[0-9a-f]{8}", other)


def test_what_can_not_be_used_is_left_out_and_counted():
    told = outcomes().assign(score=lambda f: f["score"].where(f.index > 0, np.inf))
    found, says = measure_metric(spec_of(), told)
    assert found.value == measure_metric(spec_of(), told.iloc[1:])[0].value
    assert says.endswith("(1 more can't be used: not finite, or no label of the task)")


def test_slices_share_a_budget_so_that_more_of_them_must_each_be_surer():
    one, two = (
        {"evaluate": {"slices": slices}, "promote_if": {"no_worse": {"metric": 0.0001}}}
        for slices in (["c"], ["c", "d"])
    )
    before, now = (frame.assign(d=frame["c"]) for frame in (JUDGED, outcomes()))
    few, many = (find_slices(spec_of(**changes), before, now) for changes in (one, two))
    assert (len(few), len(many)) == (2, 4) and many[0].threshold < few[0].threshold < few[0].reference


@pytest.mark.parametrize(
    ("frame", "told"),
    [
        (None, "0 rows with an outcome and a score, 200 are needed"),
        (outcomes().drop(columns="label"), "0 rows with an outcome"),
        (outcomes().assign(score=np.nan), "0 rows with an outcome"),
        (outcomes().head(199), "199 rows with an outcome"),
        (outcomes().assign(day="2013-05-01"), "(1 clusters)"),
        (outcomes().assign(label=1), "0 with negative rows"),
        (outcomes().assign(score=np.inf), "0 rows with an outcome and a score (840 more can't be used"),
    ],
)
def test_where_nothing_can_be_measured_it_is_said_why(frame, told):
    found, says = measure_metric(spec_of(), frame)
    assert found is None and says.startswith("roc_auc not measured: ") and told in says


def test_labels_too_large_to_be_squared_are_said_to_be_that():
    assert (
        "too large to be squared"
        in measure_metric(spec_of("regression", "rmse", **NUMBERS), outcomes().assign(label=1e300))[1]
    )


def days_of(values) -> object:
    return mean(np.asarray(values, dtype=float), np.arange(len(values)))


def test_harm_is_sure_only_beyond_the_errors_of_both_windows():
    """Each alone is sure to so much; their difference is to the root of both squared."""
    draw = np.random.default_rng(1).normal(size=40)
    before, now = days_of(draw[:20]), days_of(draw[20:] + 1)
    both, one = Change(before, now, 1), Change(days_of(np.zeros(20)), now, 1)
    other = Change(before, days_of(np.zeros(20)), 1)
    assert both.half(0.01) == pytest.approx(np.hypot(one.half(0.01), other.half(0.01)), rel=0.02)
    assert min(one.half(0.01), other.half(0.01)) > 0 and both.half(0.001) > both.half(0.01)


def test_days_that_are_like_the_day_before_tell_less():
    """The same 40 days, bad ones and good ones: in turn, and in runs of ten."""
    turns, runs = days_of([1.0, 2.0] * 20), days_of(([1.0] * 10 + [2.0] * 10) * 2)
    assert Change(runs, runs, 1).half(0.01) > 2 * Change(turns, turns, 1).half(0.01)
