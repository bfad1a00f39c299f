"""What `make bench` says of its measurements; the measurements themselves are its own affair."""

from __future__ import annotations

import pytest

from benchmarks.machine import OthersShare, describe_machine, memory_mib
from benchmarks.report import ratios, write_report
from benchmarks.train_evaluate import Measured


@pytest.fixture
def measured() -> Measured:
    steps = {"take_training_snapshot": 1.0, "put_forward_challenger": 0.5}
    return Measured(
        seconds={"airflow": [6.0, 5.0, 30.0], "cold": [8.0, 7.0, 9.0], "warm": [2.0, 4.0, 2.0]},
        first_airflow=12.3,
        tasks=[[("take_snapshot", 0.1, 0.2, run)] for run in (1.11, 2.22, 3.33)],
        steps={"cold": [steps] * 3, "warm": [steps] * 3},
        peak_mib={"airflow": 2048, "cold": 512},
        rows={"train": 50_009},
    )


def test_ratios_are_of_medians_and_their_spread_of_single_repetitions(measured):
    cold, warm = ratios(measured)
    assert (cold.against, cold.value, cold.low) == ("cold", 6 / 8, 5 / 7)
    assert (warm.against, warm.value, warm.low, warm.high) == ("warm", 3.0, 5 / 4, 15.0)
    assert (cold.met, warm.met) == (True, False)


def test_the_report_says_which_target_was_missed(measured):
    text = write_report(measured, command="make bench", date="2013-01-01", machine="-", versions="-", noise="-")
    assert "| Airflow / cold process | 0.75x | 0.71x to 3.33x | 1.0x or less | met |" in text
    assert "| Airflow / warm process | 3.00x | 1.25x to 15.00x | 2.5x or less | **missed** |" in text
    assert "| first run of Airflow after its start | 12.3 s | once | |" in text
    assert "1.11" in text and "3.33 |" not in text  # the tasks shown are those of the median run


def test_what_the_machine_does_not_tell_is_no_error(monkeypatch):
    monkeypatch.setattr("benchmarks.machine._lines", lambda path: [])
    assert OthersShare().share() is None
    assert memory_mib([1]) == 0
    assert "processor unknown" in describe_machine()
