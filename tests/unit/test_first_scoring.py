"""What no model in its right mind says of a day is noticed; what one may say is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ratchet.first_scoring import tells, wrong_scores
from ratchet.specs import load_model_specs

SPEC = load_model_specs(Path(__file__).parents[2] / "include" / "models").good["flight_delay"]
PROOF = {"low": 0.05, "high": 0.65}
USUAL = np.linspace(0.1, 0.6, 100)


def told(score, proof=PROOF, spec=SPEC) -> list[str]:
    return wrong_scores(spec, pd.DataFrame({"score": score}), proof)


@pytest.mark.parametrize("score", [USUAL, np.append(USUAL, [0.0, 0.9]), [0.3] * 5, [0.64] * 19])
def test_usual_scores_are_left_alone(score):
    assert told(score) == []


@pytest.mark.parametrize(
    ("score", "why"),
    [
        (np.append(USUAL, np.nan), "1 of 101 rows have no score"),
        (np.append(USUAL, np.inf), "no score"),
        (np.append(USUAL, 1.2), "no probability"),
        (np.append(USUAL, -0.1), "no probability"),
        (np.full(100, 0.3), "same score"),
        (1 - USUAL / 4, "outside 0.05 to 0.65"),
    ],
)
def test_what_is_wrong_is_said(score, why):
    (reason,) = told(score)
    assert why in reason


@pytest.mark.parametrize(
    ("day", "rows", "told"),
    [("2013-02-01", 20, True), ("2013-02-01", 19, False), ("2013-01-31", 20, False), ("2013-01-30", 900, False)],
)
def test_only_a_day_that_is_newer_than_its_data_and_has_rows_tells_of_a_champion(day, rows, told):
    assert tells(day, rows, "2013-01-31") is told


def test_without_a_proof_only_what_holds_for_any_model_is_asked():
    assert told(np.full(100, 0.3), proof={}) == []
    assert told([2.0], proof={}) != []


def test_a_regression_may_say_any_number_in_its_range():
    spec = SPEC.model_copy(update={"task": "regression"})
    assert told(np.linspace(-20, 300, 50), {"low": -30.0, "high": 280.0}, spec) == []
    assert "outside" in told(np.linspace(500, 600, 50), {"low": -30.0, "high": 280.0}, spec)[0]
