"""Ask for {name} to be trained again.

Files a retrain request in the ledger and answers with its id (the task's result): equal requests merge; one is
suppressed inside the cool-down, when the budget is spent, or when too many challengers in a row were turned down. Each
is on record with its reason. Dispatch starts the training. The task's link says later what became of it.

Where the spec has `retrain_when.schedule`, it also files one by the calendar.

**Parameters**: `reason` (why; goes on record with your name), `as_of` (event day up to which data is used; the newest
by default), `key` (idempotency key: the same key gives the same answer), `source` (`api`; a `person` is never held
back).

**Over the API**: `POST /api/v2/dags/{name}.retrain/dagRuns` with
`{"dag_run_id": "ticket-7", "logical_date": null, "conf": {"reason": "label rules changed", "source": "api"}}`; what
became of it: `GET /ratchet/models/{name}/requests?run=ticket-7`
"""

from airflow.sdk import DAG, CronTriggerTimetable, Param
from pendulum import datetime

from ratchet_airflow import params
from ratchet_airflow.assets import LEDGER
from ratchet_airflow.operators.train import RequestRetrainOperator
from ratchet_airflow.wiring import dag_arguments, model_specs

for spec in model_specs("retrain"):
    with DAG(
        **{**dag_arguments(spec, "retrain", __doc__), "max_active_runs": 16},
        schedule=CronTriggerTimetable(when, timezone="UTC") if (when := spec.retrain_when.schedule) else None,
        start_date=datetime(2013, 1, 1, tz="UTC"),
        params={
            "reason": params.text(
                "why; goes on record with your name", required=True, default="scheduled" if when else ""
            ),
            "as_of": params.day("event day up to which data is used; empty: the newest"),
            "key": params.text("idempotency key; empty: this run's id", max_length=200),
            "source": Param("api", enum=["person", "api"], description="who asks; a person is never held back"),
        },
    ) as dag:
        RequestRetrainOperator(task_id="request_retrain", model=spec.name, outlets=[LEDGER])
    globals()[dag.dag_id.replace(".", "__")] = dag
