"""Run input: what the form and the API let through, and what the first task checks again."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from airflow.sdk import DAG, BaseOperator, Param
from airflow.sdk.api.datamodels._generated import DagRunType
from airflow.sdk.definitions.param import process_params
from airflow.sdk.exceptions import ParamValidationError

from ratchet.errors import ParameterError
from ratchet_airflow.params import asked_by, checked_params, day, number, text


def accepted(param: Param, value: object) -> bool:
    try:
        param.resolve(value)
    except ParamValidationError:
        return False
    return True


def run(conf=None, user=None, run_type=DagRunType.MANUAL):
    return SimpleNamespace(conf=conf, triggering_user_name=user, run_type=run_type)


@pytest.mark.parametrize(
    ("param", "good", "bad"),
    [
        (
            day("d"),
            [None, "2013-01-05"],
            [5, "January", "2013-1-5", "2013-02-30", "2013-01-05\n", ["2013-01-05"], True],
        ),
        (text("t"), [None, "", "words"], [5, ["words"], "x" * 2001]),
        (text("t", required=True), ["words"], [None, "", 5, {}]),
        (text("t", max_length=3), ["abc"], ["abcd"]),
        (number("n"), [None, 1, 7], [0, -1, "1", 1.5]),
        (number("n", required=True), [1], [None, 0, "1", "latest"]),
    ],
)
def test_the_schema_lets_through_what_is_meant(param, good, bad):
    assert [value for value in good if not accepted(param, value)] == []
    assert [value for value in bad if accepted(param, value)] == []


def test_a_required_param_has_no_value_by_itself():
    for param in (number("n", required=True), text("t", required=True)):
        with pytest.raises(ParamValidationError):
            param.resolve()


def context_of(conf: dict | None) -> dict:
    """As a task gets it, with conf and params merged by Airflow's own function."""
    with DAG(dag_id="some", schedule=None, params={"from": day("first"), "to": day("last")}) as dag:
        task = BaseOperator(task_id="task")
    params = process_params(dag, task, conf, suppress_exception=False)
    return {"dag": dag, "params": params, "dag_run": run(conf)}


@pytest.mark.parametrize("conf", [None, {}, {"from": "2013-01-05"}, {"from": None, "to": None}])
def test_known_keys_pass(conf):
    assert checked_params(context_of(conf)) == {"from": None, "to": None, **(conf or {})}


def test_an_unknown_key_is_refused_with_those_there_are():
    """Airflow itself would hand it on in silence: a typo would then mean "everything"."""
    with pytest.raises(ParameterError, match="unknown parameter") as caught:
        checked_params(context_of({"form": "2013-01-05", "to": None}))
    assert "seen: form" in str(caught.value) and "['from', 'to']" in str(caught.value)


@pytest.mark.parametrize(
    ("dag_run", "who"),
    [(run(user="operator"), "operator"), (run(run_type=DagRunType.SCHEDULED), "scheduled"), (run(user=""), "manual")],
)
def test_who_asked_is_the_user_or_else_what_started_the_run(dag_run, who):
    assert asked_by({"dag_run": dag_run}) == who
