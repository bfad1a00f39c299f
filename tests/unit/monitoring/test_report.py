"""The page of a check: what decides stands above Evidently's drawings, which give no verdict and load nothing."""

from __future__ import annotations

import re

import numpy as np
import pytest
from watched_world import current, outcomes, reference, spec_of

from ratchet.errors import DriftBrokenError
from ratchet.monitoring import report
from ratchet.monitoring.check import check_drift

KNOWN = reference()


def page_of(tmp_path, now=None, told=None, known=KNOWN, **changes) -> str:
    spec = spec_of(watch={"persistence": {"seen": 1, "of": 1}}, **changes)
    now, told = current() if now is None else now, outcomes() if told is None else told
    report.write_page(tmp_path / "drift.html", spec, check_drift(spec, known, now, told), known, now, ["a note & <b>"])
    return (tmp_path / "drift.html").read_text("utf-8")


def test_the_page_begins_with_state_alarms_and_findings_and_then_draws(tmp_path):
    text = page_of(tmp_path, current(shift=1.0), outcomes(flipped=0.2))
    parts = [
        "flight_delay: moved",
        "page: performance/all",
        "a retrain is asked for",
        "<td>inputs/a<",
        "Drawn by Evidently",
    ]
    assert [text.index(part) for part in parts] == sorted(text.index(part) for part in parts)
    assert "a note &amp; &lt;b&gt;" in text
    assert "420 of 420 rows now, 500 of 2400 of the validate and judge windows" in text


def test_evidently_gives_no_verdict_that_could_contradict_the_decision(tmp_path):
    text = page_of(tmp_path, current(shift=1.0)).lower()
    assert "drift detected" not in text and "data drift" not in text


def test_the_page_is_whole_and_reads_nothing_from_the_network(tmp_path):
    text = page_of(tmp_path)
    assert 1_000_000 < len(text) < 10_000_000
    assert not re.search(r"<(script|link|img|iframe)[^>]*\s(src|href)\s*=\s*[\"']?(https?:)?//", text)
    assert not re.search(r"url\(\s*[\"']?(https?:)?//", text)


def test_d9_hostile_text_never_becomes_a_script_of_the_page(tmp_path):
    evil = "</script><script>alert(1)</script>"
    values = [evil, "x" * 10_000, "<img src=x onerror=alert(2)>"]
    known, now, told = (one.assign(c=np.resize(values, len(one))) for one in (KNOWN, current(), outcomes()))
    text = page_of(tmp_path, now, told, known)
    assert evil not in text and "<img src=x" not in text and "x" * 100 not in text


@pytest.mark.parametrize(
    "now",
    [
        current().head(0),
        current().drop(columns=["a", "b", "c", "score"]),
        current().assign(a=np.nan, b=np.inf, c=None, score="?"),
        current().assign(a=1.0, b=[1.0] + [np.nan] * 419, c="never seen"),
        current().head(1),
        current().assign(b=lambda f: f["b"].where(f.index % 50 > 0, 1.5e308)),
    ],
)
def test_whatever_came_in_there_is_a_page(tmp_path, now):
    assert "<h1>flight_delay: " in page_of(tmp_path, now)


def test_x4_evidently_raising_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "ValueStats", lambda column: None)
    with pytest.raises(DriftBrokenError, match="could not draw"):
        page_of(tmp_path)
