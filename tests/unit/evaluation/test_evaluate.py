import json
import subprocess
import sys
from math import isfinite

import numpy as np
import pytest
from mlflow.utils.validation import MAX_METRICS_PER_BATCH, _validate_metric

from ratchet.errors import ParameterError
from ratchet.evaluation import Evaluation, evaluate

TASKS = {"binary": 0.4, "multiclass": None, "regression": None}
PNG = b"\x89PNG\r\n\x1a\n"
ALWAYS = {"reliability", "slices", "robustness", "importance", "shap"}
PICTURES = {
    "binary": ALWAYS | {"fairness", "value"},
    "multiclass": ALWAYS | {"fairness"},
    "regression": ALWAYS,
}


@pytest.fixture(scope="session")
def evaluated(spec_of, rows_of, fitted):
    made = {}

    def of(task) -> Evaluation:
        if task not in made:
            made[task] = evaluate(fitted(task), rows_of(task), spec_of(task), TASKS[task], model_bytes=1000)
        return made[task]

    return of


@pytest.mark.parametrize("task", TASKS)
def test_numbers_are_finite_and_mlflow_takes_them(evaluated, task):
    numbers = evaluated(task).numbers
    assert len(numbers) < MAX_METRICS_PER_BATCH
    for name, value in numbers.items():
        assert type(value) is float and isfinite(value)
        _validate_metric(name, value, 0, 0)


@pytest.mark.parametrize("task", TASKS)
def test_every_aspect_has_its_table_and_picture(evaluated, task):
    found = evaluated(task)
    wanted = {"performance", "slices", "calibration", "fairness", "robustness", "importance", "reasons", "serving"}
    assert wanted | ({"value"} if task == "binary" else set()) <= set(found.tables)
    assert set(found.pictures) == PICTURES[task]
    for png in found.pictures.values():
        assert png.startswith(PNG) and len(png) < 150_000
    assert found.about == {
        "task": task,
        "metric": {"binary": "roc_auc", "multiclass": "log_loss", "regression": "rmse"}[task],
        "threshold": TASKS[task],
        "rows": 800,
        "days": 20,
        "first_day": "2024-05-01",
        "last_day": "2024-05-20",
    }


def test_the_record_goes_through_json_and_is_small(evaluated):
    record = evaluated("binary").as_record({"slices": "slices.png"})
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert len(json.dumps(record)) < 50_000 and record["pictures"] == {"slices": "slices.png"}
    whole = evaluated("binary").as_record()
    assert whole["pictures"]["slices"].startswith("data:image/png;base64,iVBORw0KGgo")


def test_equal_input_gives_equal_output_but_for_times(spec_of, rows_of, fitted, evaluated):
    """Whatever the rows' index; and the rows are left as they were."""
    rows = rows_of().set_index(np.arange(800)[::-1])
    before = rows.copy()
    again, once = evaluate(fitted(), rows, spec_of(), 0.4, model_bytes=1000), evaluated("binary")
    assert rows.equals(before)
    timeless = [{name: n for name, n in e.numbers.items() if not name.startswith("serving.")} for e in (once, again)]
    assert timeless[0] == timeless[1]
    for name in set(once.tables) - {"serving"}:
        assert once.tables[name].equals(again.tables[name]), name
    assert once.pictures == again.pictures


def test_numpys_shared_generator_is_left_alone(spec_of, rows_of, fitted):
    before = np.random.get_state()[1].tolist()
    evaluate(fitted(), rows_of(), spec_of(), 0.4, model_bytes=1)
    assert np.random.get_state()[1].tolist() == before


def test_what_the_data_holds_is_drawn_as_it_stands(spec_of, rows_of, fitted):
    """A formula that would not parse, a line break, a script."""
    rows = rows_of()
    odd = np.array([r"$\frac{$", "a\nb", "<script>alert(1)</script>", "=1+1"], dtype=object)
    rows["place"] = odd[np.arange(len(rows)) % 4]
    assert evaluate(fitted(), rows, spec_of(), 0.4, model_bytes=1).pictures["slices"].startswith(PNG)


def test_a_model_that_looks_at_nothing_is_evaluated(spec_of, rows_of, fitted):
    found = evaluate(fitted(kind="base_rate"), rows_of(), spec_of(), 0.4, model_bytes=1)
    assert found.numbers["roc_auc"] == 0.5 and found.numbers["importance.size"] == 0
    assert "shap" not in found.pictures and "reliability" in found.pictures


def test_no_slices_no_sensitive_columns_no_costs(spec_of, rows_of, fitted):
    spec = spec_of(slices=[], sensitive=[], costs=None)
    found = evaluate(fitted(kind="linear"), rows_of(), spec, 0.4, model_bytes=1)
    assert found.tables["slices"].empty and found.tables["fairness"].empty and "value" not in found.tables
    assert not {"slices", "fairness", "value"} & set(found.pictures)


def test_rows_without_a_feature_are_refused(spec_of, rows_of, fitted):
    with pytest.raises(ParameterError, match="size"):
        evaluate(fitted(), rows_of().drop(columns="size"), spec_of(), 0.4, model_bytes=1)


def test_matplotlib_and_fairlearn_are_imported_when_they_draw_and_no_display_is_asked_for():
    code = "import sys, ratchet.evaluation; print([m for m in ('matplotlib', 'fairlearn', 'shap') if m in sys.modules])"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "[]"
