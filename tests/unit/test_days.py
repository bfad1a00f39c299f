from datetime import date
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratchet.days import check_day, check_range, days_between, shift_day
from ratchet.errors import ParameterError

DATES = st.dates(date(1900, 1, 1), date(2200, 1, 1))
DAYS = DATES.map(date.isoformat)


@given(DATES)
def test_a_day_is_its_iso_text(day):
    assert check_day(day.isoformat(), "day") == day.isoformat()


@pytest.mark.parametrize(
    "value",
    [
        "2013-02-30",
        "2013-2-3",
        "2013-01-05\n",
        " 2013-01-05",
        "20130105",
        "2013-W01-1",
        "2013-01-05T00:00:00",
        "0000-01-01",
        "２０１３-01-05",  # full-width digits
        "2013‐01‐05",  # hyphens that are none
        "../2013-01-05",
        "",
        None,
        20130105,
        date(2013, 1, 5),
        ["2013-01-05"],
    ],
)
def test_anything_else_is_refused_by_name(value):
    with pytest.raises(ParameterError) as caught:
        check_day(value, "as_of")
    assert "as_of is not a day" in str(caught.value) and repr(value) in str(caught.value)


@given(st.text())
def test_what_passes_has_the_one_form_that_sorts_by_time(text):
    try:
        day = check_day(text, "day")
    except ParameterError:
        return
    assert day == text == date.fromisoformat(text).isoformat()


@given(DAYS, st.integers(0, 800))
def test_a_range_is_every_day_once_in_order(first, length):
    days = days_between(first, shift_day(first, length))
    assert len(days) == length + 1 and days == sorted(set(days))
    assert (days[0], days[-1]) == (first, shift_day(first, length))
    assert all(shift_day(one, 1) == other for one, other in pairwise(days))


@given(DAYS, st.integers(-3000, 3000))
def test_shifting_there_and_back_is_where_it_was(day, by):
    assert shift_day(shift_day(day, by), -by) == day
    assert (shift_day(day, by) > day) == (by > 0)


@given(DAYS, DAYS)
def test_a_range_runs_forwards_or_is_refused(one, other):
    if one <= other:
        assert check_range(one, other) == (one, other)
    else:
        with pytest.raises(ParameterError, match="backwards") as caught:
            check_range(one, other)
        assert f"from={one}" in str(caught.value) and f"to={other}" in str(caught.value)


@pytest.mark.parametrize(("first", "last", "missing"), [(None, "2013-01-01", "from"), ("2013-01-01", None, "to")])
def test_half_a_range_is_refused(first, last, missing):
    with pytest.raises(ParameterError, match="from and to go together") as caught:
        check_range(first, last)
    assert f"no {missing}" in str(caught.value)


@pytest.mark.parametrize(
    ("first", "last", "named"), [(20130101, "2013-01-01", "since"), ("2013-01-01", "soon", "until")]
)
def test_the_end_that_is_no_day_is_named_as_the_caller_names_it(first, last, named):
    with pytest.raises(ParameterError, match=f"{named} is not a day"):
        check_range(first, last, names=("since", "until"))


@pytest.mark.parametrize(("day", "by"), [("0001-01-01", -1), ("9999-12-31", 1), ("2013-01-01", 10**10)])
def test_the_ends_of_the_calendar_are_an_error_that_names_the_day(day, by):
    with pytest.raises(ParameterError, match=day):
        shift_day(day, by)
