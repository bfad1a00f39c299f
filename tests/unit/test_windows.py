from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratchet.days import shift_day
from ratchet.errors import EmptyWindowError, ParameterError
from ratchet.specs import Windows
from ratchet.windows import TrainingWindows, Window, known_before, training_windows

FIRST = Windows(validate_days=14, judge_days=17)
LATER = Windows(validate_days=31, judge_days=30)
days = st.dates(min_value=datetime(1999, 1, 1).date(), max_value=datetime(2030, 12, 31).date()).map(str)


def test_windows_of_the_example():
    first = training_windows(FIRST, "2013-01-01", "2013-04-01", 1)
    assert first.as_dict() == {
        "train": ["2013-01-01", "2013-02-28"],
        "validate": ["2013-03-01", "2013-03-14"],
        "judge": ["2013-03-15", "2013-03-31"],
    }
    second = training_windows(LATER, "2013-01-01", "2013-07-01", 1)
    assert second.as_dict() == {
        "train": ["2013-01-01", "2013-04-30"],
        "validate": ["2013-05-01", "2013-05-31"],
        "judge": ["2013-06-01", "2013-06-30"],
    }
    assert TrainingWindows.from_dict(second.as_dict()) == second


@given(
    first=days,
    train=st.integers(1, 900),
    validate=st.integers(1, 60),
    judge=st.integers(1, 60),
    delay=st.integers(0, 9),
)
def test_c6_windows_tile_time_without_gap_or_overlap(first, train, validate, judge, delay):
    """Over clock changes, leap days and year ends alike."""
    as_of = shift_day(first, train + validate + judge + delay - 1)
    windows = training_windows(Windows(validate_days=validate, judge_days=judge), first, as_of, delay)
    tiled = [*windows.train.days(), *windows.validate.days(), *windows.judge.days()]
    assert tiled == [shift_day(first, n) for n in range(train + validate + judge)]
    assert [len(w) for w in windows.named().values()] == [train, validate, judge]
    assert windows.last == shift_day(as_of, -delay)
    assert all(day in windows.judge and day not in windows.train for day in windows.judge.days())


def test_no_days_to_train_on_names_them_and_the_first_run_that_can_be():
    with pytest.raises(EmptyWindowError) as caught:
        training_windows(FIRST, "2013-01-01", "2013-02-01", 1)
    assert "2013-01-01" in str(caught.value) and "run as of 2013-02-02" in str(caught.value)
    assert len(training_windows(FIRST, "2013-01-01", "2013-02-02", 1).train) == 1


@pytest.mark.parametrize("bad", ["2013-02-30", "20130201", "2013-02-01\n", "today", "", None, 20130201])
def test_what_is_no_day_is_refused(bad):
    with pytest.raises(ParameterError):
        training_windows(FIRST, "2013-01-01", bad, 1)
    with pytest.raises(ParameterError):
        Window("2013-01-01", bad)


def test_a_window_can_not_end_before_it_begins():
    with pytest.raises(EmptyWindowError, match="swap"):
        Window("2013-01-02", "2013-01-01")


@pytest.mark.parametrize(
    ("as_of", "instant"),
    [
        ("2013-03-09", datetime(2013, 3, 10, 5, tzinfo=UTC)),
        ("2013-03-10", datetime(2013, 3, 11, 4, tzinfo=UTC)),  # the day that lost an hour
        ("2013-11-03", datetime(2013, 11, 4, 5, tzinfo=UTC)),  # the day that gained one
        ("2012-02-28", datetime(2012, 2, 29, 5, tzinfo=UTC)),
        ("2012-12-31", datetime(2013, 1, 1, 5, tzinfo=UTC)),
    ],
)
def test_what_is_known_as_of_a_day_ends_with_that_day_where_it_happened(as_of, instant):
    assert known_before(as_of, ZoneInfo("America/New_York")) == instant
    assert known_before(as_of, ZoneInfo("UTC")).isoformat()[:10] == shift_day(as_of, 1)
    assert known_before(as_of, ZoneInfo("America/New_York")).utcoffset() == timedelta(0)
