"""What moved between two frames, told by how much windows of the reference differ."""

import re

import numpy as np
import pandas as pd
import pytest

from benchmarks.monitor_worlds import IMPORTANCE, World, draw, of_rows, spec_of
from ratchet.monitoring.clusters import Sums, compare
from ratchet.monitoring.columns import count_numbers, in_order_of_days
from ratchet.monitoring.figures import figures_of
from ratchet.monitoring.movement import alpha_of, find_movements, top_features

DAYS, LATER = 60, 400


@pytest.fixture(scope="module")
def reference() -> pd.DataFrame:
    return draw(World(200), DAYS, np.random.default_rng(1))


@pytest.fixture(scope="module")
def current() -> pd.DataFrame:
    """500 rows of one day in which nothing moved."""
    return draw(World(500), 1, np.random.default_rng(2), LATER)


def moved_by(reference: pd.DataFrame, current: pd.DataFrame, **columns) -> dict:
    found = find_movements(spec_of(), reference, current.assign(**columns), IMPORTANCE)
    return {one.name: one for one in found.findings if one.state != "usual"}


def test_independent_rows_of_one_day_get_an_answer(reference, current):
    found = find_movements(spec_of(), reference, current, IMPORTANCE)
    assert (found.state, found.moved) == ("usual", [])
    assert [one.name for one in found.findings] == [*spec_of().features, "score"]
    assert {one.state for one in found.findings} == {"usual"}
    shifted = find_movements(spec_of(), reference, current.assign(signal=current["signal"] + 0.5), IMPORTANCE)
    assert (shifted.state, shifted.moved) == ("moved", ["signal"])


def test_a_finding_says_from_what_to_what_and_how_sure(reference, current):
    told = moved_by(reference, current, signal=current["signal"] + 0.5)["signal"]
    assert told.low < 0.5 < told.high and told.low > 0.3 and told.high < 0.8
    assert (told.reference, told.unit, told.area, told.key) == (
        pytest.approx(0, abs=1e-9),
        "sd",
        "inputs",
        "inputs/signal",
    )
    assert 0.2 <= told.threshold < told.value
    assert re.fullmatch(
        r"signal: mean -?0.0\d+ to 0.\d+, up 0.\d\d sd \(0.\d\d to 0.\d\d\), p \S+ of 8 columns", told.says
    )


def test_the_threshold_is_where_a_move_begins(reference, current):
    states = []
    for shift in np.linspace(0.1, 0.5, 9):
        moved = current.assign(signal=current["signal"] + shift, idle=current["idle"] - shift)
        for one in find_movements(spec_of(), reference, moved).findings[:5:4]:
            assert (abs(one.value) >= abs(one.threshold)) == (one.state == "moved"), one.says
            states.append(one.state)
    assert set(states) == {"usual", "moved"}


@pytest.mark.parametrize(
    ("column", "change", "says"),
    [
        ("count", lambda values: values * 1.8, "up"),
        ("signal", lambda values: values * 2, "spread"),
        ("kind", lambda values: values.where(np.arange(len(values)) % 20 > 0, "k9"), "never seen before, such as 'k9'"),
        ("kind", lambda values: values.where(np.arange(len(values)) % 5 > 0, "k4"), "share of 'k4'"),
        ("kind", lambda values: values.mask(np.arange(len(values)) % 10 == 0), "share of missing"),
        ("amount", lambda values: values.where(np.arange(len(values)) % 10 > 0, np.inf), "share of missing"),
    ],
)
def test_what_moved_is_named(reference, current, column, change, says):
    found = moved_by(reference, current, **{column: change(current[column])})
    assert found[column].state == "moved" and says in found[column].says
    assert set(found) == {column}


def test_what_can_not_be_read_is_no_number_and_what_is_huge_is_one(reference, current):
    assert moved_by(reference, current, signal="high")["signal"].state == "broken data"
    huge = moved_by(reference, current, signal=1e307 * current["signal"])
    assert huge["signal"].state == "broken data" and "spread" in huge["signal"].says
    without_days = find_movements(spec_of(), reference, current.drop(columns="day"))
    assert (without_days.state, without_days.why) == ("not enough data", "0 rows: 200 are needed")


@pytest.mark.parametrize(
    ("value", "says"), [(3.0, "stuck: all 500 values"), (np.nan, "not one value"), (-np.inf, "not one value")]
)
def test_a_column_without_information_is_broken_data(reference, current, value, says):
    broken = moved_by(reference, current, count=value)["count"]
    assert (broken.state, broken.harm, broken.level) == ("broken data", "broken", "page")
    assert says in broken.says


def test_a_week_of_clear_skies_is_not_a_stuck_sensor(reference):
    week, clear = draw(World(200), 7, np.random.default_rng(3), LATER), reference["day"].factorize()[0] % 12 < 5
    seen = reference.assign(count=reference["count"].where(~clear, 10.0))
    assert find_movements(spec_of(), seen, week.assign(count=10.0)).state != "broken data"
    assert find_movements(spec_of(), seen, week.assign(count=3.0)).state == "broken data"
    assert find_movements(spec_of(), reference, week.assign(count=10.0)).state == "broken data"


def test_a_column_that_is_gone_or_a_thousand_times_as_large_is_broken_data(reference, current):
    found = find_movements(spec_of(), reference, current.drop(columns=["idle", "score"]))
    assert (found.state, found.moved) == ("broken data", ["idle", "score"])
    assert all("the column is gone" in one.says for one in found.findings if one.name in found.moved)
    for by in (1000, 0.001):
        assert moved_by(reference, current, amount=current["amount"] * by)["amount"].state == "broken data"


def test_what_the_world_changes_the_mix_of_is_not_scaled(reference, current):
    """Snow that melts, a promotion that begins; and what is mostly 0 is scaled all the same."""
    draw_of = np.random.default_rng(4)
    snow, melted = draw_of.gamma(1.5, 3, len(reference)), np.where(draw_of.uniform(size=500) < 0.15, 0.3, 0.0)
    was, now = (
        np.where(draw_of.uniform(size=rows) < share, draw_of.uniform(5, 10, rows), draw_of.uniform(0, 0.3, rows))
        for rows, share in ((len(reference), 0.08), (500, 0.3))
    )
    melted += draw_of.uniform(0, 0.2, 500) * (melted > 0)
    for before, after in ((snow, melted), (was, now)):
        told = moved_by(reference.assign(count=before), current, count=after)["count"]
        assert (told.state, told.harm) == ("moved", "none"), told.says
    assert moved_by(reference, current, rain=current["rain"] * 1000 + 1)["rain"].state == "broken data"


@pytest.mark.parametrize("rows", [64, 61])
def test_the_spread_of_what_is_one_value_a_day_is_not_looked_at(reference, rows):
    """What is left of it is rounding, or 0."""
    known = reference.groupby("day", observed=True).head(rows)
    days = in_order_of_days(known.assign(count=np.random.default_rng(1).normal(size=DAYS)[known["day"].cat.codes]))
    figures = figures_of(count_numbers("count", days, days), days.days, days.days)
    assert [one.part.kind for one in figures] == ["shift", "share"]


def test_movement_takes_its_share_of_the_warnings_by_the_cron():
    spec = spec_of()
    hourly = spec.watch.model_copy(update={"schedule": "0 * * * *"})
    assert alpha_of(spec.model_copy(update={"watch": hourly})) == pytest.approx(3 / (91 * 24) / 7)
    assert alpha_of(spec) == pytest.approx(3 / 91 / 7)


def test_too_little_is_said_and_never_called_usual(reference, current):
    for rows, days in ((reference, current.head(199)), (reference, current.head(0)), (reference.head(0), current)):
        found = find_movements(spec_of(), rows, days)
        assert found.state == "not enough data" and found.why
        assert [one.name for one in found.findings] == [*spec_of().features, "score"]
        assert {one.state for one in found.findings} == {"not enough data"}
    few_days = reference[reference["day"] < reference["day"].cat.categories[4]]
    assert "rows of 4 days" in find_movements(spec_of(), few_days, current).why
    unknown = find_movements(spec_of(), reference.drop(columns="kind"), current).findings[5]
    assert (unknown.name, unknown.state) == ("kind", "not enough data") and "not in the reference" in unknown.says


def test_rows_of_the_reference_without_a_score_tell_nothing_of_scores(reference, current):
    trained = reference["day"] < reference["day"].cat.categories[40]
    found = find_movements(spec_of(), reference.assign(score=reference["score"].mask(trained)), current)
    assert found.state == "usual"
    empty = find_movements(spec_of(), reference.assign(score=np.nan), current).findings[-1]
    assert (empty.area, empty.state) == ("predictions", "not enough data")


def test_of_a_constant_column_any_other_value_is_a_move(reference, current):
    constant = reference.assign(rain=0.0, kind="k1")
    same = find_movements(spec_of(), constant.assign(idle=np.nan), current.assign(rain=0.0, kind="k1", idle=np.nan))
    says = {one.name: one.says for one in same.findings}
    assert same.state == "usual" and says["rain"] == "rain: all 500 values are the same, as in the reference"
    assert says["idle"] == "idle: all 500 values are missing or unusable, as in the reference"
    changed = np.where(np.arange(500) % 20 == 0, 7.0, 0.0)
    found = find_movements(spec_of(), constant, current.assign(rain=changed, kind="k2"))
    assert found.moved == ["rain", "kind"] and "values other than 0 0.0% to 5.0%" in found.why


def test_the_same_shift_is_a_move_where_days_are_alike_and_none_where_they_differ():
    told = {}
    for effect in (0.0, 0.5):
        rng = np.random.default_rng(3)
        rows, now = (draw(World(200, effect), days, rng, after) for days, after in ((DAYS, 0), (1, LATER)))
        at = rows["signal"].mean() - now["signal"].mean() + 0.6
        told[effect] = find_movements(spec_of(), rows, now.assign(signal=now["signal"] + at)).findings[0].state
    assert told == {0.0: "moved", 0.5: "usual"}


def test_how_many_rows_there_are_moves_nobody(reference):
    rows = draw(World(2000), 3, np.random.default_rng(4), LATER)
    for count in (200, 1200, 6000):
        assert find_movements(spec_of(), reference, of_rows(rows, count, np.random.default_rng(5))).state == "usual"


def test_a_season_that_was_seen_once_is_no_move_and_one_that_was_not_is():
    rng, world = np.random.default_rng(6), World(50, 0.2, 0.3, season=1.0)
    year, summer = draw(world, 364, rng), draw(world, 14, rng, 364 + 84)
    assert find_movements(spec_of(), year, summer).state == "usual"
    days = year["day"].cat.categories
    winter = year[(year["day"] >= days[252]) & (year["day"] < days[294])]
    assert "signal" in find_movements(spec_of(), winter, summer).moved


def test_where_days_of_the_reference_differ_too_much_to_tell_that_is_said(reference, current):
    shift = 3 * (reference["day"].cat.codes >= DAYS // 2)
    told = find_movements(spec_of(), reference.assign(signal=reference["signal"] + shift), current).findings[0]
    assert (told.state, told.name) == ("not enough data", "signal") and "to tell" in told.says


def test_a_reference_of_twenty_days_finds_what_a_day_of_independent_rows_shows():
    for seed in range(8):
        rng = np.random.default_rng(seed)
        rows, now = draw(World(100), 20, rng), draw(World(500), 1, rng, LATER)
        wider = now.assign(signal=now["signal"] * 3, amount=now["amount"] * np.exp(0.7))
        assert find_movements(spec_of(), rows, wider).moved == ["signal", "amount"], seed


def test_smaller_movements_than_the_spec_names_are_nobodys_business(reference):
    rows = draw(World(5000), 7, np.random.default_rng(7), LATER)
    assert find_movements(spec_of(), reference, rows.assign(signal=rows["signal"] + 0.15)).state == "usual"
    assert find_movements(spec_of(), reference, rows.assign(signal=rows["signal"] + 0.3)).moved == ["signal"]


def test_harm_is_estimated_of_scores_and_of_features_that_matter(reference, current):
    shifted = current.assign(signal=current["signal"] + 1, idle=current["idle"] + 1, score=current["score"] ** 2)
    for importance, harm in ((IMPORTANCE, "estimated"), (None, "none")):
        told = {one.name: one.harm for one in find_movements(spec_of(), reference, shifted, importance).findings}
        assert (told["signal"], told["idle"], told["score"], told["rain"]) == (harm, "none", "estimated", "none")


def test_top_features_carry_most_of_the_importance():
    assert top_features(IMPORTANCE) == ["signal", "amount", "kind"]
    assert top_features({"a": 1, "b": 0.1, "c": -0.2}) == ["a", "b"]
    assert top_features(dict.fromkeys("abcdefghij", 1.0)) == list("abcdefgh")
    assert top_features({}) == []


def test_an_identifier_has_not_moved_by_bringing_new_values(reference, current):
    number = iter(range(100_000))
    rows, now = (one.assign(place=[f"id {next(number)}" for _ in range(len(one))]) for one in (reference, current))
    assert find_movements(spec_of(), rows, now).state == "usual"


def test_the_order_of_rows_and_the_type_of_days_change_nothing(reference, current):
    mixed = reference.sample(frac=1, random_state=1).assign(day=lambda rows: pd.to_datetime(rows["day"].astype(str)))
    same, other = (find_movements(spec_of(), rows, current) for rows in (reference, mixed))
    assert [one.threshold for one in same.findings[:2]] == pytest.approx(
        [one.threshold for one in other.findings[:2]], abs=0.02
    )
    assert same.state == other.state


def days_of(first: int, rows: int, means: np.ndarray) -> Sums:
    """Days with so many rows of variance 1 round these means."""
    day, means = first + np.arange(len(means)), np.asarray(means, dtype=float)[:, None]
    return Sums(day, np.full_like(means, rows), rows * means, (rows - 1) + rows * means**2)


def test_what_one_day_of_the_reference_was_like_is_not_beyond_it():
    usual = np.random.default_rng(1).normal(0, 0.1, 60)
    seen_once = np.r_[usual[:30], 0.8, usual[30:]]
    for means, beyond in ((usual, True), (seen_once, False)):
        told = compare(days_of(0, 1000, means), days_of(100, 1000, [0.75]), np.array([False]))
        assert told.beyond == beyond


def test_more_rows_than_days_usually_have_make_a_window_no_surer():
    before = days_of(0, 100, np.random.default_rng(1).normal(0, 0.1, 60))
    errors = [compare(before, days_of(100, rows, [0.0]), np.array([False])).error.item() for rows in (20, 100, 10_000)]
    assert errors[0] > 1.4 * errors[1] and errors[1] == errors[2]


def test_a_handful_of_rare_rows_is_told_by_their_exact_chance():
    none = np.zeros((50, 1))
    before = Sums(np.arange(50), none + 500, none, none)
    now = Sums(np.array([100]), np.array([[500.0]]), np.array([[3.0]]), np.array([[3.0]]))
    exact = 2 * (500 / 25_500) ** 3  # all three of now, either way
    assert compare(before, now, np.array([True])).p == pytest.approx(exact)
    assert compare(before, now, np.array([False])).p < exact / 100
