"""What may be looked at every day: false alarms over a year, and days until a true difference is seen; in full by
`python -m benchmarks field`."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.signal import lfilter

from benchmarks.field_instrument import RARE, Said, try_better, try_equal, try_harm, try_rare
from benchmarks.field_report import field_section
from benchmarks.gate_worlds import spec_of
from benchmarks.results import write_section
from ratchet.field_test.anytime import FIRST_DAYS, betting_wealth, running_bounds
from ratchet.field_test.evidence import weigh
from ratchet.field_test.losses import daily_losses, row_losses
from ratchet.field_test.page import evidence_page
from ratchet.field_test.safety import ALPHA as HARM_ALPHA
from ratchet.field_test.safety import LEAST_DAYS, greatest_loss, gross_harm

ALPHA = 0.025
YEARS = 400


def days_like_the_one_before(alike: float, years: int = YEARS, mean: float = 0.0, seed: int = 1) -> np.ndarray:
    """Series of daily differences with standard deviation 1, a year each."""
    new = np.random.default_rng(seed).normal(size=(years, 364))
    new[:, 1:] *= np.sqrt(1 - alike**2)
    return lfilter([1.0], [1.0, -alike], new, axis=1) + mean


@pytest.mark.parametrize("alike", [0.0, 0.3, 0.5, 0.7])
def test_equal_models_looked_at_every_day_for_a_year_are_seldom_told_apart(alike):
    """At most 16 of 400: more than alpha gives with one chance in fifty, and days taken for independent give."""
    bounds = [running_bounds(year, ALPHA) for year in days_like_the_one_before(alike)]
    assert sum((low > 0).any() for _, low, _ in bounds) <= 1.6 * ALPHA * YEARS
    assert sum((high < 0).any() for _, _, high in bounds) <= 1.6 * ALPHA * YEARS


def test_a_fixed_interval_looked_at_every_day_would_be_wrong_in_most_years():
    year = days_like_the_one_before(0.5)
    days = np.arange(1, 365)
    means, deviation = year.cumsum(axis=1) / days, 1.0
    wrong = (means - 1.96 * deviation / np.sqrt(days) > 0)[:, FIRST_DAYS:].any(axis=1)
    assert wrong.mean() > 0.3


@pytest.mark.parametrize(("mean", "within"), [(1.0, 40), (0.5, 110)])
def test_a_true_difference_is_seen(mean, within):
    bounds = [running_bounds(year, ALPHA) for year in days_like_the_one_before(0.0, 100, mean)]
    first = [int((low > 0).argmax()) + 1 if (low > 0).any() else np.inf for _, low, _ in bounds]
    assert np.quantile(first, 0.9) <= within and min(first) >= FIRST_DAYS
    assert not any((high < 0).any() for _, _, high in bounds)


def test_bounds_hold_the_truth_on_all_days_at_once_and_are_the_same_whatever_is_added_to_the_values():
    year = days_like_the_one_before(0.3, 1)[0]
    means, low, high = running_bounds(year, ALPHA)
    assert np.isinf(low[: FIRST_DAYS - 1]).all() and np.isfinite(low[FIRST_DAYS - 1 :]).all()
    assert means == pytest.approx([year[: n + 1].mean() for n in range(len(year))])
    moved = running_bounds(year * 1e-3 + 5, ALPHA)
    assert moved[1][FIRST_DAYS:] == pytest.approx(low[FIRST_DAYS:] * 1e-3 + 5, abs=1e-9)
    assert high - means == pytest.approx(means - low, nan_ok=True) and not len(running_bounds([], ALPHA)[0])
    same = running_bounds(np.zeros(60), ALPHA)
    assert (same[1][FIRST_DAYS:] == 0).all() and (same[2][FIRST_DAYS:] == 0).all(), "equal to the last bit is no news"


def test_a_bettor_who_has_no_edge_seldom_grows_rich_and_can_not_lose_more_than_all():
    draws = np.random.default_rng(1).exponential(size=(2000, 60)) - 1
    rich = np.mean([betting_wealth(year).max() >= 20 for year in draws])
    assert rich <= 0.05
    assert betting_wealth(np.full(5, -7.0))[-1] > 0 and betting_wealth(np.array([1.0]))[0] == pytest.approx(1.5)


def test_losses_of_each_task():
    spec = spec_of()
    assert row_losses(spec, pd.Series([1, 0]), pd.DataFrame({"score": [0.8, 0.5]})) == pytest.approx([0.04, 0.25])
    several = spec.model_copy(update={"task": "multiclass", "classes": ["a", "b", "c"]})
    scores = pd.DataFrame({"score_a": [1.0, 0.2], "score_b": [0.0, 0.3], "score_c": [0.0, 0.5]})
    assert row_losses(several, pd.Series(["b", "c"]), scores) == pytest.approx([1.0, (0.04 + 0.09 + 0.25) / 2])
    number = spec.model_copy(update={"task": "regression"})
    assert row_losses(number, pd.Series([3.0]), pd.DataFrame({"score": [5.0]})) == pytest.approx([2.0])


def test_a_day_is_one_number_however_many_rows_and_rows_that_one_model_has_no_score_of_are_left_out():
    rows = pd.DataFrame(
        {
            "day": ["2013-01-02", "2013-01-01", "2013-01-01", "2013-01-01"],
            "label": [1, 1, 0, 1],
            "champion_score": [0.0, 0.5, 0.5, np.nan],
            "challenger_score": [1.0, 1.0, 0.5, 1.0],
        }
    )
    daily = daily_losses(spec_of(), rows)
    assert daily.to_dict("list") == {
        "day": ["2013-01-01", "2013-01-02"],
        "rows": [2, 1],
        "champion": [0.25, 1.0],
        "challenger": [0.125, 0.0],
    }


def daily(differences: np.ndarray) -> pd.DataFrame:
    days = pd.date_range("2013-01-01", periods=len(differences)).strftime("%Y-%m-%d")
    return pd.DataFrame({"day": days, "rows": 50, "champion": 0.2, "challenger": 0.2 - differences})


def test_what_the_evidence_says_is_sure_since_a_day_and_stays_said():
    noise = np.random.default_rng(1).normal(size=120) * 0.01
    noise[:60] += 0.02
    found = weigh(spec_of(), daily(noise)).evidence
    assert (found.state, found.days, found.rows) == ("better", 120, 6000) and "2013-01-2" in found.since
    assert found.says.startswith(f"surely better since {found.since}: on 120 days") and found.alpha == ALPHA
    noise[60:] -= 0.05
    assert weigh(spec_of(), daily(noise)).evidence.since == found.since, "what came later does not unsay it"
    assert weigh(spec_of(), daily(-noise)).evidence.state == "worse"
    few = weigh(spec_of(), daily(noise[: FIRST_DAYS - 1])).evidence
    assert (few.state, few.low) == ("not enough data", None) and f"{FIRST_DAYS} days are needed" in few.says
    none = weigh(spec_of(), daily(noise[:0])).evidence
    assert (none.state, none.value, none.days) == ("not enough data", None, 0) and "no day has outcomes" in none.says


def test_the_page_shows_every_day_and_escapes_what_it_is_told():
    page = evidence_page("a <b>", weigh(spec_of(), daily(np.linspace(-0.01, 0.01, 30))), ["late <i>"])
    assert page.count("<tr>") == 31 and page.count("<circle") == 30
    assert "a &lt;b&gt;" in page and "late &lt;i&gt;" in page and "<i>" not in page
    assert "<svg" not in evidence_page("t", weigh(spec_of(), daily(np.array([0.1]))))


def test_gross_harm_is_seen_in_weeks_and_a_canary_as_good_is_left_alone():
    good = try_harm("days", 0.0, 20, [1])
    assert len(good.worse) <= 2
    turned = try_harm("days", 1.0, 10, [1])
    assert len(turned.worse) == turned.trials and 14 <= np.median(turned.worse) <= 21
    assert gross_harm(daily(np.zeros(28))) is None and gross_harm(daily(np.zeros(0))) is None
    assert "more than 25% worse" in gross_harm(daily(np.full(28, -0.4)))
    worst = daily(np.full(LEAST_DAYS, -1.0)).assign(champion=0.0, challenger=1.0)
    assert LEAST_DAYS == 8, "as the docs say"
    assert "more than 25% worse" in gross_harm(worst) and gross_harm(worst.head(LEAST_DAYS - 1)) is None
    assert gross_harm(daily(np.full(28, -0.03))) is None, "worse, but not grossly"


@pytest.mark.parametrize("world", RARE)
def test_a_canary_as_good_where_positives_are_rare_is_seldom_rolled_back(world):
    """Its loss is above the champion's on most days, and below it on the few that have positives."""
    found = try_rare(*world, 300, [1])
    assert len(found.worse) <= HARM_ALPHA * found.trials


def test_an_absolute_error_is_bet_on_as_a_share_of_a_bound_that_is_fixed_before():
    spec, proof = spec_of(), {"low": 100.0, "high": 500.0}
    number = spec.model_copy(update={"task": "regression"})
    assert (greatest_loss(spec, proof), greatest_loss(number, proof), greatest_loss(number, {})) == (1.0, 400.0, None)
    assert greatest_loss(number, {"low": 1.0, "high": 1.0}) is None
    far = pd.DataFrame({"champion": np.full(28, 40.0), "challenger": 300.0})
    assert "more than 25% worse" in gross_harm(far, 400.0)
    one_off = pd.DataFrame({"champion": 40.0, "challenger": [40.0] * 27 + [1e9]})
    assert gross_harm(one_off, 400.0) is None, "one day counts once, however far off it is"


def test_in_worlds_of_rows_equal_models_are_not_told_apart_and_a_better_one_is():
    equal = try_equal("days that follow each other, 0.5", 40, [1])
    assert len(equal.better) + len(equal.worse) <= 4
    better = try_better(0.02, "independent rows", 5, [1])
    assert len(better.better) == 5 and better.worse == []


def test_the_section_tells_what_was_missed_and_what_more_trials_would_have_to_show():
    found = [
        Said("equal", "days", 2000, [30] * 20, [40] * 90),
        Said("better by 0.02", "days", 200, [30] * 150, []),
        Said("canary, 0% of each score turned round", "days", 200, [], [5] * 4),
        Said("canary, 100% of each score turned round", "days", 200, [], [5] * 200),
    ]
    facts = {"command": "make bench", "date": "2013-01-01", "machine": "-", "versions": "-", "noise": "-"}
    text = write_section(field_section(found), **facts)
    assert "said to be better on any day of a year | 1.0% (0.6% to 1.5%) | | 2.5% or less | met |" in text
    assert "said to be worse on any day of a year | 4.5% (3.6% to 5.5%) | | 2.5% or less | **missed** |" in text
    assert "| days | 0.02 | 0% | 75% | 75% | 75% | 30 | 0 |" in text
    assert "rolled back | 2.0% (0.5% to 5.0%) | | 5% or less |" in text
