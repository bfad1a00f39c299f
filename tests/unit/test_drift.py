"""What counts as drift, what counts as harm, and when a retraining is asked for."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ratchet.drift import CATEGORIES, REST, check_drift
from ratchet.errors import DriftBrokenError
from ratchet.specs import ModelSpec, load_model_specs
from ratchet.statistics import Estimate
from ratchet.watched_metric import measure_metric, told_harm

SHIPPED = load_model_specs(Path(__file__).parents[2] / "include" / "models").good["flight_delay"]


def spec(watch=(), when=(), numeric=("a", "b"), categorical=("c",)) -> ModelSpec:
    changed = SHIPPED.model_dump() | {"numeric_features": list(numeric), "categorical_features": list(categorical)}
    changed["watch"] |= {"threshold": 0.3, "min_rows": 100, "max_rows": 1000, **dict(watch)}
    changed["retrain_when"] |= dict(when)
    return ModelSpec.model_validate(changed)


def frame(seed: int, rows: int = 800, days: int = 20, shift: float = 0.0, skill: float = 2.0) -> pd.DataFrame:
    draw = np.random.default_rng(seed)
    score = draw.uniform(size=rows)
    return pd.DataFrame(
        {
            "day": [f"2013-05-{1 + n * days // rows:02}" for n in range(rows)],
            "a": draw.normal(size=rows),
            "b": draw.normal(size=rows) + shift,
            "c": draw.choice(["x", "y"], rows),
            "label": (draw.uniform(size=rows) < score**skill).astype(int),
            "score": score,
        }
    )


def far(pairs, notes, page):
    """Measured simply: how far the means, or the shares of the first category, are apart."""
    return {
        pair.column: float(abs(pair.reference.mean() - pair.current.mean()))
        if pair.kind == "numeric"
        else float(abs((pair.reference == "x").mean() - (pair.current == "x").mean()))
        for pair in pairs
    }


def check(reference, current, performance=None, **changes):
    return check_drift(spec(**changes), reference, current, performance, measure=far)


def column(result, name):
    return next(found for found in result.columns if found.column == name)


def test_a_column_that_moved_is_named_with_its_statistic_and_the_others_are_not():
    result = check(frame(1), frame(2, shift=1.0))
    assert result.drifted == ["b"]
    assert column(result, "b").statistic == pytest.approx(1.0, abs=0.2)
    assert [c.column for c in result.columns] == ["a", "b", "c", "score"]
    assert result.share == 0.25


def test_the_result_is_json_without_nan_and_its_numbers_are_plain():
    current = frame(2).assign(a=np.nan)
    result = check(frame(1), current, current)
    assert json.loads(json.dumps(result.as_dict(), allow_nan=False)) == result.as_dict()
    assert all(type(value) is float for value in result.numbers().values())
    assert {
        "drifted_share",
        "roc_auc",
        "roc_auc_low",
        "reference_roc_auc",
        "worse_by",
        "drift.b",
    } <= result.numbers().keys()
    assert "drift.a" not in result.numbers()


@pytest.mark.parametrize(
    "gone", [lambda f: f.assign(a=np.nan), lambda f: f.drop(columns="a"), lambda f: f.assign(a="?")]
)
def test_a_column_without_values_now_is_vanished_and_counts_as_drifted(gone):
    found = column(check(frame(1), gone(frame(2))), "a")
    assert (found.status, found.statistic, found.drifted, found.current_null_share) == ("vanished", None, True, 1.0)


def test_a_column_with_too_few_values_counts_neither_way():
    few = frame(2)
    few.loc[50:, "a"] = np.nan
    result = check(frame(1), few)
    assert (column(result, "a").status, column(result, "a").drifted) == ("too few values", False)
    without = check(frame(1).assign(a=None), frame(2))
    assert (column(without, "a").status, column(without, "a").drifted) == ("no reference", False)
    assert without.share == 0.0


def test_infinities_are_no_values():
    assert column(check(frame(1), frame(2).assign(a=np.inf)), "a").status == "vanished"


@pytest.mark.parametrize("rows", [0, 1, 99])
def test_too_few_rows_say_nothing_about_drift_and_ask_for_nothing(rows):
    result = check(frame(1), frame(2, shift=9).head(rows))
    assert (result.enough_data, result.columns, result.share, result.ask_retrain) == (False, [], None, [])
    assert "not enough data" in result.explanation


def test_many_rows_of_a_few_days_say_nothing_about_drift():
    """Rows of one day share their weather: three days differ from any month."""
    result = check(frame(1), frame(2, days=3, shift=9))
    assert (result.enough_data, result.ask_retrain) == (False, [])
    assert check(frame(1), frame(2, days=7, shift=9)).drifted == ["b"]


def test_the_sample_is_bounded_and_the_same_every_time():
    seen = []

    def keep(pairs, notes, page):
        seen.append(pairs)
        return far(pairs, notes, page)

    for _ in range(2):
        check_drift(spec(), frame(1, rows=3000), frame(2, rows=3000), measure=keep)
    assert {len(side) for pairs in seen for pair in pairs for side in (pair.reference, pair.current)} == {1000}
    for first, second in zip(*seen, strict=True):
        pd.testing.assert_series_equal(first.reference, second.reference)
        pd.testing.assert_series_equal(first.current, second.current)


def test_rare_and_new_categories_are_pooled_by_the_reference():
    seen = []
    many = [f"k{n:03}" for n in range(200)]
    reference = frame(1).assign(c=[many[n % 200] if n % 2 else "common" for n in range(800)])
    current = frame(2).assign(c="never seen")
    check_drift(spec(), reference, current, measure=lambda pairs, *_: seen.extend(pairs) or far(pairs, *_))
    (pair,) = (pair for pair in seen if pair.column == "c")
    assert {"common", REST} <= set(pair.reference) and len(set(pair.reference)) == CATEGORIES + 1
    assert set(pair.current) == {REST}


def test_a_method_for_numbers_is_replaced_for_categories():
    result = check(frame(1), frame(2), watch={"method": "wasserstein"})
    assert [found.method for found in result.columns] == ["wasserstein", "wasserstein", "jensenshannon", "wasserstein"]


def test_drift_alone_asks_for_a_retraining_only_from_the_share_on():
    moved = frame(2, shift=1.0)
    assert check(frame(1), moved, when={"drifted_share": 0.5}).ask_retrain == []
    (reason,) = check(frame(1), moved, when={"drifted_share": 0.25}).ask_retrain
    assert "1 of 4 watched columns drifted" in reason and reason.endswith(": b")
    assert check(frame(1), moved, when={"drifted_share": None}).ask_retrain == []


def test_harm_asks_for_a_retraining_when_it_is_large_and_sure():
    blind = frame(2).assign(score=lambda f: f["score"].sample(frac=1, random_state=1).to_numpy())
    (reason,) = check(frame(1), frame(2), blind).ask_retrain
    assert reason.startswith("roc_auc fell from 0.") and "20 days" in reason
    assert check(frame(1), frame(2), blind, when={"metric_falls_by": None}).ask_retrain == []
    assert check(frame(1), frame(2), frame(3)).ask_retrain == []


def test_harm_that_is_not_sure_asks_for_nothing():
    """Two days alone: the interval is so wide that it holds the reference's value."""
    noise = np.random.default_rng(1).normal(scale=0.5, size=120)
    result = check(frame(1), frame(2), frame(5, rows=120, days=2).assign(score=lambda f: f["score"] + noise))
    assert result.worse_by > 0.03 and result.performance.high > result.baseline.value
    assert result.ask_retrain == []


@pytest.mark.parametrize(("now", "is_harm"), [(0.69, False), (0.67, True)])
def test_harm_is_sure_only_beyond_the_errors_of_both_windows(now, is_harm):
    """Each alone is sure to 0.05: then their difference is to 0.0707. 0.69 is surely below 0.75, if 0.75 is exact."""

    def known(value: float) -> Estimate:
        return Estimate(value, value - 0.05, value + 0.05, standard_error=0.024, clusters=28, rows=1000)

    told = told_harm(spec(when={"metric_falls_by": 0.03}), known(0.75), known(now))
    assert told == (
        "roc_auc fell from 0.75 to 0.67 (0.62 to 0.72, 28 days), by 0.08 (0.009289 to 0.1507)" if is_harm else None
    )


def test_days_that_are_like_the_day_before_tell_less():
    """The same 20 days, bad ones and good ones: in turn, and as two runs of ten."""
    days = [f"2013-05-{1 + n:02}" for n in range(20)]
    error = dict(zip(days, [1.0, 2.0] * 10, strict=True)), dict(zip(days, [1.0] * 10 + [2.0] * 10, strict=True))
    said = frame(1)
    in_turn, in_runs = (
        measure_metric(numbers_spec(), said.assign(label=said["score"] + said["day"].map(of_day)))[0]
        for of_day in error
    )
    assert in_turn.value == pytest.approx(in_runs.value)
    assert in_runs.standard_error > 2 * in_turn.standard_error


def test_outcomes_that_can_carry_no_auc_give_none():
    for outcomes in (None, frame(2).head(50), frame(2).assign(label=0), frame(2).assign(day="one"), frame(2)[[]]):
        result = check(frame(1), frame(2), outcomes)
        assert result.performance is None and result.worse_by is None
    half = frame(2).astype({"label": "float64"})
    half.loc[::2, "label"] = np.nan
    assert check(frame(1), frame(2), half).performance.rows == 400


def numbers_spec(metric: str = "mae", falls_by: float = 0.03) -> ModelSpec:
    changed = SHIPPED.model_dump() | {"numeric_features": ["a"], "categorical_features": [], "task": "regression"}
    changed["problem"] |= {"success": {"metric": metric, "at_most": 9.0}}
    changed["evaluate"] |= {"costs": None}
    changed["watch"] |= {"min_rows": 100}
    changed["retrain_when"] |= {"metric_falls_by": falls_by}
    return ModelSpec.model_validate(changed)


def numbers(seed: int, error: float, **columns) -> pd.DataFrame:
    said = frame(seed)
    noise = error * np.random.default_rng(seed).normal(size=len(said))
    return said.assign(label=said["score"] + noise).assign(**columns)


@pytest.mark.parametrize("metric", ["mae", "rmse"])
def test_of_an_error_more_is_harm_and_less_is_none(metric):
    was, worse = numbers(1, error=1.0), numbers(2, error=2.0)
    result = check_drift(numbers_spec(metric), was, was, worse, measure=far)
    assert result.worse_by == pytest.approx(result.performance.value - result.baseline.value) and result.worse_by > 0.5
    (reason,) = result.ask_retrain
    assert reason.startswith(f"{metric} rose from {result.baseline.value:.4g} to {result.performance.value:.4g} (")
    better = check_drift(numbers_spec(metric), worse, worse, was, measure=far)
    assert better.worse_by == pytest.approx(-result.worse_by) and better.ask_retrain == []


def test_harm_is_asked_for_from_the_spec_s_step_on_in_units_of_the_metric():
    was, worse = numbers(1, error=1.0), numbers(2, error=1.6)
    worse_by = check_drift(numbers_spec(), was, was, worse, measure=far).worse_by
    assert 0.3 < worse_by < 0.7
    assert check_drift(numbers_spec(falls_by=0.9), was, was, worse, measure=far).ask_retrain == []


@pytest.mark.parametrize(
    ("outcomes", "told"),
    [
        (None, "0 rows with an outcome and a score, 100 are needed"),
        (numbers(2, error=1.0).drop(columns="label"), "0 rows with an outcome"),
        (numbers(2, error=1.0, label=np.nan), "0 rows with an outcome"),
        (numbers(2, error=1.0, score=np.nan), "0 rows with an outcome"),
        (numbers(2, error=1.0).head(99), "99 rows with an outcome"),
        (numbers(2, error=1.0, day="2013-05-01"), "(1 clusters)"),
        (numbers(2, error=1.0, label=1e300), "too large to be squared"),
    ],
)
def test_where_nothing_can_be_measured_it_is_said_why(outcomes, told):
    result = check_drift(numbers_spec("rmse"), numbers(1, error=1.0), numbers(2, error=1.0), outcomes, measure=far)
    assert result.performance is None and result.worse_by is None and result.ask_retrain == []
    assert "now: rmse not measured: " in result.explanation and told in result.explanation
    assert "reference: rmse 0.9" in result.explanation or "reference: rmse 1.0" in result.explanation
    json.dumps(result.as_dict(), allow_nan=False)


def test_outcomes_of_one_class_are_said_to_be_that():
    result = check(frame(1), frame(2), frame(2).assign(label=1))
    assert "now: roc_auc not measured: an AUC can't be estimated" in result.explanation
    assert "0 with negative rows" in result.explanation


def test_x4_a_statistic_that_is_no_number_is_an_error_not_a_verdict():
    with pytest.raises(DriftBrokenError, match="column 'a'"):
        check_drift(spec(), frame(1), frame(2), measure=lambda pairs, *_: {"a": float("nan")})
