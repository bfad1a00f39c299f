"""What the gate is shown: the newest labelled days that neither model has seen, and what else it asks."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import training_story as story
import yaml
from small_loop import deployment_in

from ratchet.days import days_between, shift_day
from ratchet.errors import EmptyWindowError
from ratchet.ledger.challengers import MEASURED
from ratchet.snapshot import labelled_rows, save_snapshot, take_snapshot
from ratchet.specs import ModelSpec
from ratchet.windows import Window, training_windows
from ratchet.workflow import evidence
from ratchet.workflow.evidence import gather_evidence, judge_window, late_days


def windows_of(train: str, validate: str, judge: str) -> SimpleNamespace:
    """A model by the days on which its windows end."""
    ends = {"train": ["2013-01-01", train], "validate": [shift_day(train, 1), validate]}
    return SimpleNamespace(version=2, windows={**ends, "judge": [shift_day(validate, 1), judge]})


OLDER, NEWER = (
    windows_of("2013-02-10", "2013-02-20", "2013-03-10"),
    windows_of("2013-03-31", "2013-04-14", "2013-05-12"),
)


@pytest.fixture
def spec():
    shape = {"validate_days": 5, "judge_days": 14}
    return ModelSpec.model_validate({"name": story.MODEL, **story.SPEC, "windows": shape, "label_delay_days": 2})


# The window


@pytest.mark.parametrize("both", [(NEWER, OLDER), (OLDER, NEWER), (NEWER, None)])
def test_judged_on_the_days_after_both_models_train_and_validate_windows_to_the_newest_outcome(spec, both):
    """Days on which one of them was judged before may be judged on again."""
    assert judge_window(spec, *both, "2013-05-07") == Window("2013-04-15", "2013-05-05")


def test_judged_on_twice_the_judge_days_at_most(spec):
    window = judge_window(spec, NEWER, OLDER, "2013-08-31")
    assert window == Window("2013-08-02", "2013-08-29") and len(window) == 2 * spec.windows.judge_days


def test_without_a_labelled_day_after_both_there_is_no_window(spec):
    assert judge_window(spec, NEWER, OLDER, "2013-04-17") == Window("2013-04-15", "2013-04-15")
    with pytest.raises(EmptyWindowError, match="outcomes up to 2013-04-14") as caught:
        judge_window(spec, NEWER, OLDER, "2013-04-16")
    assert "version 2 of things_model" in str(caught.value) and "2013-04-15 or later" in str(caught.value)


# Timing


def test_both_models_are_timed_in_turn_and_the_first_round_does_not_count(spec, monkeypatch):
    now = iter(range(1000))
    monkeypatch.setattr(evidence, "process_time", lambda: float(next(now)))
    asked = []

    class Estimator:
        classes_ = (0, 1)

        def __init__(self, name):
            self.name = name

        def predict_proba(self, rows):
            asked.append((self.name, len(rows)))
            return np.full((len(rows), 2), 0.5)

    rows = pd.DataFrame({"weight": np.zeros(3000), "kind": "x"})
    seconds = evidence.batch_seconds({"challenger": Estimator("a"), "champion": Estimator("b")}, rows, spec)
    assert asked == [("a", 2000), ("b", 2000)] * (evidence.BATCH_TIMES + 1)
    assert seconds == {who: [1.0] * evidence.BATCH_TIMES for who in ("challenger", "champion")}


# Over twelve days of things


@pytest.fixture(scope="module")
def things(tmp_path_factory):
    """A deployment whose days are published, and two snapshots of them, as of 11 and 13 January."""
    root = tmp_path_factory.mktemp("things")
    for folder, name, content in (("datasets", story.THINGS, story.DATASET), ("models", story.MODEL, story.SPEC)):
        file = root / "home" / "include" / folder / f"{name}.yaml"
        file.parent.mkdir(parents=True)
        file.write_text(yaml.safe_dump(content), "utf-8")
    deployment = deployment_in(root)
    story._publish(deployment)
    return deployment, [_fitted_as_of(deployment, day) for day in (story.AS_OF, story.BEFORE)]


def _fitted_as_of(deployment, as_of: str) -> SimpleNamespace:
    spec = deployment.model(story.MODEL)
    windows = training_windows(spec.windows, story.FIRST, as_of, spec.label_delay_days)
    snapshot = take_snapshot(spec, deployment.datasets.good, deployment.published, as_of, windows)
    save_snapshot(snapshot, deployment.lake.storage)
    return SimpleNamespace(windows=windows.as_dict(), snapshot=snapshot.digest)


def labelled(deployment, first: str, last: str) -> pd.DataFrame:
    spec = deployment.model(story.MODEL)
    return labelled_rows(spec, deployment.datasets.good, deployment.published, first, last)


@pytest.mark.parametrize("window", ["train", "validate"])
@pytest.mark.parametrize("whose", [0, 1])
def test_rows_that_a_model_was_fitted_to_or_chosen_on_are_counted_once(things, window, whose):
    deployment, models = things
    day, spec = models[whose].windows[window][0], deployment.model(story.MODEL)
    new, known = labelled(deployment, story.LAST, story.LAST), labelled(deployment, day, day)
    assert evidence._repeated(deployment, spec, new, models) == 0
    rows = pd.concat([new, known.head(3)], ignore_index=True)
    assert evidence._repeated(deployment, spec, rows, models) == 3


@pytest.mark.parametrize(
    ("missing", "late"),
    [
        ({}, []),
        ({"2013-01-12": 10}, []),  # of 60
        ({"2013-01-12": 15}, ["2013-01-12"]),
        ({"2013-01-12": 60}, ["2013-01-12"]),
        ({"2013-01-04": 40, "2013-01-12": 50}, ["2013-01-04", "2013-01-12"]),
        (dict.fromkeys(days_between(story.FIRST, story.LAST), 40), []),  # as many as ever come
    ],
)
def test_days_of_which_many_outcomes_are_still_to_come_are_named(things, missing, late):
    deployment, _ = things
    rows = labelled(deployment, story.FIRST, story.LAST)
    gone = rows.groupby("day").cumcount() < rows["day"].map(missing).fillna(0)
    window, spec = Window(story.FIRST, story.LAST), deployment.model(story.MODEL)
    assert late_days(deployment, spec, rows[~gone], window, story.AS_OF) == late


# The whole, of two trained models


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A deployment, its model's spec, a challenger and the champion."""
    deployment = story.prepare(
        tmp_path_factory.mktemp("evidence"), candidates=[{"name": "base", "estimator": "base_rate"}]
    )
    challenger = deployment.ledger.challenger(story.MODEL, story.train(deployment))
    return deployment, deployment.model(story.MODEL), challenger, deployment.ledger.challenger(story.MODEL, 1)


@pytest.mark.matrix
def test_the_gate_is_shown_scores_of_days_that_neither_model_has_seen(trained):
    deployment, spec, challenger, champion = trained
    seen, window, rows = gather_evidence(deployment, spec, challenger, champion)
    assert window == Window("2013-01-11", story.LAST) and len(seen.rows) == len(rows) == 2 * 60
    for one in (challenger, champion):
        used = {day for name in ("train", "validate") for day in days_between(*one.windows[name])}
        assert not used & set(seen.rows["day"]) and max(used) < seen.rows["day"].min()
    assert {"label", "day", "challenger_score", "champion_score"} <= set(seen.rows.columns)
    nothing_wrong = (seen.looks, seen.repeated_rows, list(seen.future_features), list(seen.late_days))
    assert nothing_wrong == (0, 0, [], []) and not seen.rows_without_instant and not seen.fails_without_future
    assert [len(times) for times in seen.batch_seconds.values()] == [evidence.BATCH_TIMES] * 2
    assert set(seen.threshold) == {"challenger", "champion"}


@pytest.mark.matrix
def test_a_first_model_is_shown_alone_and_late_days_are_left_out(trained, monkeypatch):
    deployment, spec, challenger, _ = trained
    monkeypatch.setattr(evidence, "late_days", lambda *_: [story.LAST])
    seen, window, rows = gather_evidence(deployment, spec, challenger, None)
    assert "champion_score" not in seen.rows and set(seen.batch_seconds) == {"challenger"}
    assert window.last == story.LAST == seen.late_days[0]
    assert set(rows["day"]) == set(seen.rows["day"]) == {"2013-01-11"}


@pytest.mark.matrix
def test_looks_are_earlier_verdicts_that_measured_on_an_overlapping_window(trained):
    deployment, spec, challenger, champion = trained
    measured = [{"name": "enough_days", "passed": True}, {"name": MEASURED, "passed": False}]
    unmeasured = [{"name": "enough_days", "passed": False}, {"name": MEASURED, "passed": True}]
    for last, checks in (("2013-01-08", measured), ("2013-01-11", measured), ("2013-01-12", unmeasured)):
        window = [shift_day(last, -3), last]
        deployment.ledger.record_verdict(story.MODEL, challenger.version, 1, 1, "HOLD", checks, "0" * 64, window)
    assert gather_evidence(deployment, spec, challenger, champion)[0].looks == 1
