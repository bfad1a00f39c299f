"""Say what moved under {name}, whether it hurts, and ask for a retrain where the spec says so.

Compares the champion's newest scored days with the rows it was judged on: features and every score column by Evidently
with a pinned method and threshold, performance by the spec's own metric where outcomes have arrived. The report is
linked from the task, and says what could not be measured and why. Too few rows: "not enough data", and nothing is asked
for; so too after the rows it was judged on were erased.

Beside what moved, the report tells which days' data were unlike the reference's (rows, quarantined, nulls, hours until
delivered): a column that broke on its way in drifts, too. When a day of the newest check is restated and scored again,
or its outcome comes late, dispatch has that check made again as of the same day, and the new one names the old one.

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
