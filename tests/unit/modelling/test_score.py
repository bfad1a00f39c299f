from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from ratchet.errors import EmptyWindowError, ModelFileError, ParameterError
from ratchet.score import score_days, score_frame
from ratchet.snapshot import build_inputs
from ratchet.train import train_candidate

AT = datetime(2013, 4, 1, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Champion:
    version: int = 1
    model_digest: str = "d" * 64


@pytest.fixture(scope="module")
def estimator(spec, snapshot):
    return train_candidate(spec.candidates[2], spec, snapshot).estimator


def digests(*days, of="x"):
    return {day: f"{of}-{day}" for day in days}


def test_one_prediction_a_row_with_its_version_and_time(spec, datasets, published, estimator):
    days = digests("2013-03-18", "2013-03-20")
    scored = list(score_days(spec, datasets, published, estimator, Champion(), days, scored_at=AT))
    assert [(s.day, s.rows, s.unchanged) for s in scored] == [("2013-03-18", 60, False), ("2013-03-20", 60, False)]
    table = published.lake.read("predictions/flight_delay")
    assert set(table.columns) == {
        "carrier",
        "flight",
        "origin",
        "sched_dep_at",
        "day",
        "prediction_id",
        "score",
        "model_version",
        "model_digest",
        "routing",
        "scored_at",
        "inputs_digest",
    }
    assert table["day"].unique().tolist() == ["2013-03-18", "2013-03-20"]
    assert (table["model_version"] == 1).all() and (table["scored_at"] == AT).all()
    inputs = build_inputs(spec, datasets, published, "2013-03-18", "2013-03-20")
    key = ["carrier", "flight", "origin", "sched_dep_at"]
    both = table.merge(inputs, on=key, suffixes=("", "_input"), validate="one_to_one")
    assert len(both) == 120 and both["score"].tolist() == score_frame(estimator, both, spec)["score"].tolist()


def test_scored_again_nothing_changes_until_inputs_or_champion_do(spec, datasets, published, estimator):
    def score(days, champion=Champion()):
        return [s.unchanged for s in score_days(spec, datasets, published, estimator, champion, days, scored_at=AT)]

    two = digests("2013-03-18", "2013-03-19")
    assert score(two) == [False, False]
    version = published.lake.version("predictions/flight_delay")
    assert score(two) == [True, True] and published.lake.version("predictions/flight_delay") == version
    assert score({**two, **digests("2013-03-19", of="restated")}) == [True, False]
    assert score(two, Champion(version=2)) == [False, False]
    table = published.lake.read("predictions/flight_delay")
    assert len(table) == 120 and (table["model_version"] == 2).all()


def test_a_day_without_rows_is_an_error_that_names_it(spec, datasets, published, estimator):
    with pytest.raises(EmptyWindowError, match="2013-03-25"):
        list(score_days(spec, datasets, published, estimator, Champion(), digests("2013-03-25")))
    assert published.lake.version("predictions/flight_delay") is None


def test_nothing_due_is_nothing_done(spec, datasets, published, estimator):
    assert list(score_days(spec, datasets, published, estimator, Champion(), {})) == []


def test_days_far_apart_are_scored_in_one_call(spec, datasets, published, estimator):
    days = digests("2013-03-01", "2013-03-20")
    assert [s.day for s in score_days(spec, datasets, published, estimator, Champion(), days)] == sorted(days)


def test_missing_features_and_foreign_estimators_are_refused(spec, datasets, published, estimator):
    inputs = build_inputs(spec, datasets, published, "2013-03-18", "2013-03-18")
    with pytest.raises(ParameterError, match="dep_hour"):
        score_frame(estimator, inputs.drop(columns="dep_hour"), spec)
    from sklearn.dummy import DummyClassifier

    with pytest.raises(ModelFileError, match="positive"):
        score_frame(DummyClassifier().fit([[0], [0]], [0, 0]), inputs, spec)
    assert score_frame(estimator, inputs.iloc[:0], spec).empty
