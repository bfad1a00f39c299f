"""Training-serving skew is told apart from late data, by column, with what the score would have been."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from small_loop import MODEL, redeliver

from ratchet import snapshot
from ratchet.feature_functions import load_function
from ratchet.monitoring.skew import differing, find_skew
from ratchet.workflow.ingestion import ingest_partitions
from ratchet.workflow.served_features import SAMPLE_DAYS, sample_days, skew_findings

DAYS = ["2013-05-01", "2013-05-02"]
FEATURES = ["a", "c"]


def rows() -> pd.DataFrame:
    draw = np.random.default_rng(1)
    return pd.DataFrame({"day": np.repeat(DAYS, 50), "a": draw.normal(size=100), "c": draw.choice(["x", None], 100)})


def look(trained: pd.DataFrame, late: list[str] = (), recorded: pd.Series | None = None) -> dict:
    served = rows()
    scores = {name: view[["a"]] for name, view in (("served", served), ("trained", trained))}
    scores["recorded"] = served[["a"]] if recorded is None else recorded.to_frame("a")
    return {one.name: one for one in find_skew(served, trained, scores, FEATURES, late)}


def test_the_same_rows_seen_the_same_way_have_no_skew():
    found = look(rows())
    assert {name: (one.state, one.value) for name, one in found.items()} == {
        name: ("usual", 0.0) for name in ("features", "scores", "late data")
    }
    assert look(rows().assign(a=lambda f: f["a"] * (1 + 1e-12)))["features"].state == "usual"


def test_a_column_that_training_sees_otherwise_is_named_with_its_share_and_the_change_of_the_score():
    trained = rows()
    trained.loc[trained.index % 4 == 0, "a"] += 0.5
    found = look(trained)
    assert (found["features"].state, found["features"].value, found["features"].level) == ("moved", 0.25, "warn")
    assert found["a"].value == 0.25 and "c" not in found
    assert "a 25.0%" in found["features"].says and "the score by 0.5 on average" in found["features"].says
    assert found["scores"].state == "usual"
    gone = look(rows().assign(c=None))
    assert gone["c"].value == pytest.approx((rows()["c"] == "x").mean()) and gone["c"].state == "moved"


def test_what_differs_on_days_with_other_data_is_late_data_and_no_skew():
    trained = rows()
    trained.loc[trained["day"] == DAYS[0], "a"] += 1
    found = look(trained, late=[DAYS[0]])
    assert (found["features"].state, found["features"].value) == ("usual", 0.0)
    assert (found["late data"].state, found["late data"].value, found["late data"].harm) == ("moved", 0.5, "none")
    assert "the score by 1 on average" in found["late data"].says
    assert look(trained, late=DAYS)["features"].state == "not enough data"


def test_scores_on_record_that_the_model_does_not_give_are_skew():
    recorded = rows()["a"].where(rows().index >= 10, 9.0)
    found = look(rows(), recorded=recorded)
    assert (found["scores"].state, found["scores"].value, found["scores"].level) == ("moved", 0.1, "warn")
    assert found["features"].state == "usual"


@pytest.mark.parametrize(
    ("dtype", "values"),
    [("boolean", [True, False]), ("string", ["a", "b"]), ("Int64", [1, 2]), ("category", ["a", "b"])],
)
def test_nulls_of_any_type_are_alike_and_differ_from_all_else(dtype, values):
    one, other = ([*values[:1], *rest] for rest in ([None, None, values[0]], [None, values[1], values[1]]))
    found = differing(pd.Series(one, dtype=dtype), pd.Series(other, dtype=dtype))
    assert found.tolist() == [False, False, True, True]


def test_without_rows_nothing_is_said():
    (one,) = find_skew(rows().head(0), rows().head(0), {}, FEATURES, [])
    assert one.state == "not enough data"


def test_a_sample_of_days_is_spread_and_holds_the_newest():
    days = [f"2013-05-{n:02}" for n in range(1, 32)]
    assert sample_days(days) == [days[0], days[15], days[30]] and SAMPLE_DAYS == 3
    assert sample_days(days[:2]) == days[:2]


def with_crowd(name: str):
    """The feature function, with a feature that counts the rows that it was given."""
    build = load_function(name)
    return lambda **given: build(**given).assign(distance=float(len(given["weather"])))


def of_world(deployment, as_of: str = "2013-01-31") -> dict:
    scored = deployment.ledger.scored_days(MODEL)
    newest = dict(list(scored.items())[-3:])
    return {one.name: one for one in skew_findings(deployment, deployment.model(MODEL), 1, newest, as_of)}


def test_scored_days_are_built_again_from_what_they_were_scored_from(copy_of, reigning, monkeypatch):
    """Real flights: no skew; a feature that depends on which days are built together; corrected weather, which is late
    data; scores that somebody changed."""
    deployment = copy_of(reigning)
    found = of_world(deployment)
    assert {name: one.state for name, one in found.items()} == dict.fromkeys(
        ("features", "scores", "late data"), "usual"
    )
    assert "3 days" in found["features"].says

    with monkeypatch.context() as planted:
        planted.setattr(snapshot, "load_function", with_crowd)
        found = of_world(deployment)
        assert (found["features"].state, found["features"].value, found["distance"].value) == ("moved", 1.0, 1.0)
        assert {name for name, one in found.items() if one.state == "moved"} <= {"features", "distance", "scores"}

    redeliver(deployment, "weather", "2013-01-29", lambda frame: frame.assign(temp=frame["temp"] + 30))
    ingest_partitions(deployment, "weather")
    assert of_world(deployment)["late data"].state == "usual"  # not known as of that day
    found = of_world(deployment, "2013-03-31")
    assert found["late data"].state == "moved" and found["late data"].value > 0.1
    assert found["features"].state == found["scores"].state == "usual"

    table = f"predictions/{MODEL}"
    spoiled = deployment.lake.read(table, "2013-01-30", "2013-01-30").assign(score=0.5)
    deployment.lake.publish(table, "2013-01-30", spoiled)
    assert of_world(deployment)["scores"].state == "moved"
