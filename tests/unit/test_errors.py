import pickle

import pytest

from ratchet import errors
from ratchet.errors import RatchetError

FAMILY = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, RatchetError)]
FACTS = {"seen": "5 rows", "expected": "10 rows", "where": "datasets/flights", "hint": "deliver it again"}


@pytest.mark.parametrize("kind", FAMILY)
def test_an_error_tells_its_facts_and_ends_with_the_way_out(kind):
    error = kind("too few rows", **FACTS)
    assert str(error).splitlines() == [
        "too few rows",
        "  seen: 5 rows",
        "  expected: 10 rows",
        "  where: datasets/flights",
        "  do: deliver it again",
    ]


@pytest.mark.parametrize("kind", FAMILY)
def test_an_error_goes_between_processes_whole(kind):
    error = kind("too few rows", **FACTS)
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind and str(again) == str(error)
    assert {name: getattr(again, name) for name in FACTS} == FACTS and again.what == "too few rows"


def test_facts_that_are_not_there_are_not_told_and_those_that_are_nothing_are():
    assert str(RatchetError("gone", hint="look")) == "gone\n  do: look"
    assert "  seen: 0\n" in str(RatchetError("gone", seen=0, expected="", hint="look"))


def test_no_error_without_a_way_out():
    with pytest.raises(TypeError, match="hint"):
        RatchetError("gone")


@pytest.mark.parametrize("kind", FAMILY)
def test_only_what_may_pass_by_itself_is_tried_again(kind):
    """The verdict of data, gate or a person stands until somebody acts; what is down or taken may come back."""
    passing = {"ConflictError", "DriftBrokenError", "LedgerError", "RegistryError", "StorageError"}
    passing |= {"ValidationBrokenError"}
    assert kind.retryable is (kind.__name__ in passing)
