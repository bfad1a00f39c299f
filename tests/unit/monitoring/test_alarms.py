"""How sure a finding must be, how often it must be seen, and how loud it is then."""

from __future__ import annotations

import pytest
from watched_world import spec_of

from ratchet.monitoring.alarms import MOST, checks_in, find_alarms, has_calmed, page_alpha, shared, warn_alpha
from ratchet.monitoring.values import Finding
from ratchet.specs.watching import Persistence

TWO_OF_THREE = Persistence(seen=2, of=3)
STATES = {"u": ("usual", "none"), "n": ("moved", "none"), "w": ("moved", "estimated"), "p": ("moved", "measured")}
STATES |= {"b": ("broken data", "broken"), "?": ("not enough data", "none")}


def finding(letter: str, name: str = "all") -> Finding:
    return Finding("performance", name, *STATES[letter], says=f"it is {letter}")


def alarms(letters: str, persistence: Persistence = TWO_OF_THREE) -> list[str]:
    """The level, if there is an alarm at the last of these checks of one finding; a blank: it was not looked at."""
    *before, now = [[] if letter == " " else [finding(letter)] for letter in letters]
    earlier = [[one.as_dict() for one in findings] for findings in before]
    return [alarm.level for alarm in find_alarms(persistence, earlier, now)]


@pytest.mark.parametrize(
    ("letters", "level"),
    [
        ("p", []),
        ("up", []),
        ("pp", ["page"]),
        ("pup", ["page"]),
        ("puup", []),
        ("ppu", []),
        ("wp", ["warn"]),
        ("pw", ["warn"]),
        ("pwp", ["page"]),
        ("nnp", ["note"]),
        ("nn", ["note"]),
        ("p?p", ["page"]),
        ("p p", ["page"]),
        ("b", ["page"]),
        ("ub", ["page"]),
        ("", []),
    ],
)
def test_an_alarm_was_seen_so_often_and_is_as_loud_as_it_was_each_time(letters, level):
    assert alarms(letters or " ") == level


def test_one_of_one_is_an_alarm_at_once_and_three_of_five_takes_three():
    assert alarms("w", Persistence(seen=1, of=1)) == ["warn"]
    assert [alarms(letters, Persistence(seen=3, of=5)) for letters in ("pp", "puupp", "puuupp")] == [[], ["page"], []]


def test_alarms_are_by_finding_and_the_loudest_comes_first():
    earlier = [[finding("n", "x").as_dict(), finding("p", "y").as_dict(), finding("p", "z").as_dict()]]
    found = find_alarms(TWO_OF_THREE, earlier, [finding("n", "x"), finding("p", "y"), finding("u", "z")])
    assert [(one.level, one.key, one.says) for one in found] == [
        ("page", "performance/y", "it is p"),
        ("note", "performance/x", "it is n"),
    ]


@pytest.mark.parametrize(
    ("letters", "calm"),
    [("uuu", True), ("puuu", True), ("puu", False), ("uu", False), ("uu?", False), ("u u", False), ("uub", False)],
)
def test_a_finding_has_calmed_when_it_was_usual_in_all_of_the_last_checks(letters, calm):
    checks = [[] if letter == " " else [finding(letter).as_dict()] for letter in letters]
    assert has_calmed(TWO_OF_THREE, "performance/all", checks) is calm


@pytest.mark.parametrize(
    ("key", "area", "others", "calm"),
    [
        ("calibration/low scores", "calibration", "u", True),
        ("calibration/low scores", "calibration", "u?", False),
        ("skew/temp", "calibration", "u", False),  # nobody looked at skew
        ("performance/c=x", "performance", "u", False),  # a slice of too few rows is left out
        ("data/features/temp", "data", "?", True),  # of data each finding says so itself
        ("data/features/temp", "calibration", "u", True),  # those that are usual are not on record
    ],
)
def test_a_finding_that_is_absent_is_usual_only_where_its_area_was_looked_at(key, area, others, calm):
    found = [Finding(area, f"other {n}", *STATES[letter], says="it is") for n, letter in enumerate(others)]
    assert has_calmed(TWO_OF_THREE, key, [[one.as_dict() for one in found]] * 3) is calm


@pytest.mark.parametrize(
    ("cron", "checks"),
    [("0 7 * * *", 91), ("0 7 * * 1", 13), ("0 */6 * * *", 364), ("0 0 1 1 *", 1), ("0 0 30 2 *", 1)],
)
def test_checks_of_a_quarter_are_counted_by_the_cron(cron, checks):
    assert checks_in(cron) == checks


def test_the_budget_is_shared_by_all_checks_and_questions():
    """A page a quarter, checked daily, of 11 questions: each may err once in 1,001 checks."""
    spec = spec_of(watch={"false_alarms": {"pages": 1.0, "warnings": 7.0}})
    assert shared(page_alpha(spec), 11) == pytest.approx(1 / 1001)
    assert shared(warn_alpha(spec), 1) == pytest.approx(1 / 91)
    seldom = spec_of(watch={"schedule": "0 0 1 1 *"})
    assert shared(page_alpha(seldom), 1) == MOST
