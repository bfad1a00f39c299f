import pytest

from ratchet.evaluation.scored import score_rows
from ratchet.evaluation.serving import measure_serving


def test_times_bytes_and_cost_are_measured(spec_of, rows_of, fitted):
    spec = spec_of(cost_per_cpu_hour=3.6)
    numbers, table = measure_serving(fitted(), score_rows(fitted(), rows_of(), spec, 0.4), 4321)
    assert 0 < numbers["serving.latency_p50_ms"] <= numbers["serving.latency_p95_ms"]
    assert numbers["serving.rows_per_second"] > 0 and numbers["serving.model_bytes"] == 4321
    assert numbers["serving.cost_per_million"] == pytest.approx(numbers["serving.cpu_seconds_per_million"] / 1000)
    assert len(table) == len(numbers) == 6


def test_every_row_takes_the_path_of_scoring(spec_of, rows_of, fitted):
    """One call a row for the latency, and all rows at once for the batch."""
    sizes = []

    class Counted:
        classes_ = fitted().classes_

        def predict_proba(self, frame):
            sizes.append(len(frame))
            return fitted().predict_proba(frame)

    scored = score_rows(Counted(), rows_of(), spec_of(), 0.4)
    sizes.clear()
    measure_serving(Counted(), scored, 1)
    assert sizes == [1] * 105 + [800] * 3


def test_without_a_rate_there_is_no_cost(spec_of, rows_of, fitted):
    numbers, _ = measure_serving(fitted(), score_rows(fitted(), rows_of(), spec_of(), 0.4), 1)
    assert "serving.cost_per_million" not in numbers
