"""Say what moved under {name}, whether it hurts, and how sure that is; ask for a retrain and raise alarms.

Compares the champion's newest scored days with all that it was made from, and the newest days with outcomes with the
rows it was judged on: inputs, predictions, labels, performance (all rows and slices), calibration, an estimate of
performance before outcomes arrive, business value, the data that came in, and skew between training and serving. What
is an alarm, and how loud: docs/add-a-model.md. The page is linked from the task: alarms and findings first, then
Evidently's drawings, which decide nothing. Too few rows: "not enough data", and nothing is asked for; so too after the
rows it was judged on were erased.

When a day of the newest check is restated and scored again, or its outcome comes late, dispatch has that check made
again as of the same day, and the new one names the old one. Alerts follow the newest check alone, and are settled once
what they tell of was usual again for as many checks as the spec's `watch.persistence` says.

**Parameters**: `as_of`, the day to speak for (the newest data by default). The same inputs give the same check.
"""

from airflow.sdk import DAG, CronTriggerTimetable
from pendulum import datetime

from ratchet_airflow import params
from ratchet_airflow.assets import LEDGER
from ratchet_airflow.operators.monitor import CheckDriftOperator
from ratchet_airflow.wiring import dag_arguments, model_specs

for spec in model_specs("check_drift"):
    with DAG(
        **dag_arguments(spec, "check_drift", __doc__),
        schedule=CronTriggerTimetable(spec.watch.schedule, timezone="UTC"),
        start_date=datetime(2013, 1, 1, tz="UTC"),
        params={"as_of": params.day("the day to speak for; empty: the newest data")},
    ) as dag:
        CheckDriftOperator(task_id="check_drift", model=spec.name, outlets=[LEDGER])
    globals()[dag.dag_id.replace(".", "__")] = dag
