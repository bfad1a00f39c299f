"""A proof says whether two models are the same, whatever their files are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import Pipeline

from ratchet.candidates import make_estimator
from ratchet.errors import ModelFileError
from ratchet.model_files import TRUSTED_TYPES
from ratchet.proof import SHOWN_ROWS, TOLERANCE, compare, content_digest, prove


@pytest.fixture(scope="module")
def rows(snapshot):
    return snapshot.frame[snapshot.frame["window"] == "validate"]


def fitted(spec, snapshot, name="boosting_small", flip=0):
    train = snapshot.frame[snapshot.frame["window"] == "train"]
    label = train["label"].to_numpy().copy()
    label[:flip] = 1 - label[:flip]
    candidate = next(one for one in spec.candidates if one.name == name)
    return make_estimator(candidate, spec).fit(train[spec.features], label)


@pytest.mark.parametrize("name", ["base_rate", "logistic", "boosting_small", "boosting_large"])
def test_equal_fits_and_saved_copies_have_one_proof(spec, snapshot, rows, name):
    one, again = fitted(spec, snapshot, name), fitted(spec, snapshot, name)
    saved = skops.io.loads(skops.io.dumps(one), trusted=list(TRUSTED_TYPES))
    for other in (again, saved):
        found = compare(prove(one, rows, spec), prove(other, rows, spec))
        assert found.to_the_last_bit and found.same_content and found.same_machine and found.proven
        assert found.difference == 0.0


@pytest.mark.parametrize("name", ["logistic", "boosting_small"])
def test_a_model_of_one_other_label_is_another(spec, snapshot, rows, name):
    found = compare(
        prove(fitted(spec, snapshot, name), rows, spec), prove(fitted(spec, snapshot, name, flip=1), rows, spec)
    )
    assert not (found.to_the_last_bit or found.same_content or found.proven) and found.difference > 0


def test_another_machine_may_differ_by_a_rounding_and_no_more(spec, snapshot, rows):
    here = prove(fitted(spec, snapshot), rows, spec)
    nudged = [[value + TOLERANCE / 2 for value in row] for row in here.scores]
    elsewhere = replace(here, scores=nudged, scores_digest="0" * 64, machine={**here.machine, "processor": "another"})
    assert compare(here, elsewhere).proven and not compare(here, elsewhere).to_the_last_bit
    assert not compare(here, replace(elsewhere, machine=here.machine)).proven
    wrong = replace(elsewhere, scores=[[value + 3 * TOLERANCE for value in row] for row in here.scores])
    assert not compare(here, wrong).proven
    assert (
        compare(here, replace(here, scores=here.scores[1:], rows=here.rows - 1, scores_digest="0")).difference == np.inf
    )


def test_a_proof_shows_some_rows_and_covers_all(spec, snapshot, rows):
    model = fitted(spec, snapshot)
    proof = prove(model, rows, spec)
    assert proof.rows == len(rows) and len(proof.scores) == min(SHOWN_ROWS, len(rows))
    assert proof.low <= min(map(min, proof.scores)) and proof.high >= max(map(max, proof.scores))
    swapped = pd.concat([rows.iloc[[1, 0]], rows.iloc[2:]])
    assert prove(model, swapped, spec).scores_digest != proof.scores_digest


def test_content_is_not_layout():
    one, other = {"b": [1, np.float64(2)], "a": {3, 1}}, {"a": {1, 3}, "b": [1, np.float64(2)]}
    assert content_digest(one) == content_digest(other)
    assert content_digest(np.arange(6).reshape(2, 3).T) == content_digest(np.arange(6).reshape(2, 3).T.copy())
    for a, b in (
        ([1, 2], [2, 1]),
        ((1,), [1]),
        (1, 1.0),
        (np.arange(3), np.arange(3.0)),
        ("1", 1),
        ([[1], 2], [[1, 2]]),
    ):
        assert content_digest(a) != content_digest(b)
    loop: list = [1]
    loop.append(loop)
    assert content_digest(loop) == content_digest(loop)


def test_forests_are_told_apart_by_their_trees():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(200, 3)), rng.integers(0, 2, 200)
    one, again, other = (RandomForestClassifier(3, random_state=seed).fit(x, y) for seed in (1, 1, 2))
    assert content_digest(one) == content_digest(again) != content_digest(other)


def test_scores_that_are_no_numbers_prove_nothing(spec, snapshot, rows):
    class Broken(Pipeline):
        def predict_proba(self, inputs):
            return np.full((len(inputs), 2), np.nan)

    broken = Broken(fitted(spec, snapshot, "base_rate").steps)
    with pytest.raises(ModelFileError, match="no numbers"):
        prove(broken, rows, spec)
