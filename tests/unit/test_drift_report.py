"""Evidently as we use it: pinned method and threshold, a page that needs no network, text that stays text."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ratchet.drift import Pair, check_drift
from ratchet.drift_report import measure_columns
from ratchet.errors import DriftBrokenError
from ratchet.specs import ModelSpec, load_model_specs


def pair(column="a", kind="numeric", method="psi", reference=None, current=None, threshold=0.1) -> Pair:
    draw = np.random.default_rng(1)
    if reference is None:
        reference = pd.Series(draw.normal(size=600)) if kind == "numeric" else pd.Series(draw.choice(["x", "y"], 600))
    return Pair(column, kind, method, threshold, reference, reference if current is None else current)


def psi(reference: pd.Series, current: pd.Series) -> float:
    """The population stability index over categories, by its definition."""
    was, now = reference.value_counts(normalize=True), current.value_counts(normalize=True)
    return float(((was - now) * np.log(was / now)).sum())


def test_the_statistic_is_the_one_that_was_asked_for():
    reference, current = pd.Series(["x"] * 300 + ["y"] * 300), pd.Series(["x"] * 450 + ["y"] * 150)
    found = measure_columns([pair("c", "categorical", reference=reference, current=current)], [], None)
    assert found == {"c": pytest.approx(psi(reference, current))}


@pytest.mark.parametrize("method", ["psi", "wasserstein", "jensenshannon"])
def test_each_method_tells_a_moved_column_from_one_that_did_not(method):
    still, moved = pair("still", method=method), pair("moved", method=method)
    moved = Pair("moved", "numeric", method, 0.1, moved.reference, moved.reference + 1.5)
    found = measure_columns([still, moved], [], None)
    assert found["still"] < 0.1 < found["moved"]


def test_the_page_is_whole_and_reads_nothing_from_the_network(tmp_path):
    page = tmp_path / "drift.html"
    measure_columns([pair(), pair("c", "categorical")], ["a note & <b>more</b>"], page)
    text = page.read_text("utf-8")
    assert 1_000_000 < page.stat().st_size < 10_000_000
    assert "a note &amp; &lt;b&gt;more&lt;/b&gt;" in text
    assert not re.search(r"<(script|link|img|iframe)[^>]*\s(src|href)\s*=\s*[\"']?(https?:)?//", text)
    assert not re.search(r"url\(\s*[\"']?(https?:)?//", text)


def test_d9_hostile_text_never_becomes_a_script_of_the_page(tmp_path):
    page, evil = tmp_path / "drift.html", "</script><script>alert(1)</script>"
    values = pd.Series([evil, "x" * 10_000, "<img src=x onerror=alert(2)>"] * 200)
    found = measure_columns([pair("c", "categorical", reference=values)], [evil], page)
    text = page.read_text("utf-8")
    assert evil not in text and "<img src=x" not in text and "x" * 100 not in text
    assert found == {"c": 0.0}


def test_without_anything_to_compare_the_page_says_why(tmp_path):
    assert measure_columns([], ["not enough data: <500"], tmp_path / "drift.html") == {}
    assert "not enough data: &lt;500" in (tmp_path / "drift.html").read_text("utf-8")


def test_x4_evidently_raising_is_an_error():
    with pytest.raises(DriftBrokenError, match="could not measure"):
        measure_columns([pair(reference=pd.Series(dtype="float64"))], [], None)
    with pytest.raises(DriftBrokenError, match="could not measure"):
        measure_columns([pair("c", "categorical", "wasserstein")], [], None)


def flights(shift: float = 0.0) -> pd.DataFrame:
    draw = np.random.default_rng(2)
    columns = {"a": draw.normal(size=700), "b": draw.normal(size=700) + shift, "c": draw.choice(["x", "y"], 700)}
    score = draw.uniform(size=700)
    label = (draw.uniform(size=700) < score).astype(int)
    return pd.DataFrame({"day": np.arange(700) // 70, **columns, "score": score, "label": label})


def watching(*numeric: str) -> ModelSpec:
    shipped = load_model_specs(Path(__file__).parents[2] / "include" / "models").good["flight_delay"]
    changed = {"numeric_features": numeric, "categorical_features": ["c"], "watch": {"threshold": 0.3}}
    return ModelSpec.model_validate(shipped.model_dump() | changed)


def test_check_drift_on_real_evidently_with_columns_missing_null_and_constant(tmp_path):
    page = tmp_path / "drift.html"
    reference, current = flights().assign(d=1.0, e=None), flights(shift=1.5).assign(d=1.0).drop(columns="c")
    result = check_drift(watching("a", "b", "d", "e"), reference, current, current, report_path=page)
    assert result.drifted == ["b", "c"]
    assert {found.column: found.status for found in result.columns} == {
        "a": "compared",
        "b": "compared",
        "c": "vanished",
        "d": "compared",
        "e": "no reference",
        "score": "compared",
    }
    assert "c: vanished" in page.read_text("utf-8")


def test_check_drift_of_frames_without_rows_still_leaves_a_page(tmp_path):
    page = tmp_path / "drift.html"
    result = check_drift(watching("a", "b"), flights(), flights().head(0), report_path=page)
    assert not result.enough_data and "not enough data" in page.read_text("utf-8")
