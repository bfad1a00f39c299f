"""Tell how {name} did in a month: one page, from the record alone.

Who was champion when and why, performance by day and week with intervals, what moved, alarms and what became of them,
retrain requests and trainings with their verdicts, data delivered, refused and late, business value, the loop's own
health, and what waits for a person. The page is an MLflow artifact, linked from the task; it can be printed.

By itself on the 1st of each month, 08:00 UTC. The same record gives the same page; once something of the month was
corrected (an outcome that came late, a check made again), another run gives another page beside it.

**Parameters**: `month`, such as 2013-06; empty: the month before that of the newest data.
"""

from airflow.sdk import DAG, CronTriggerTimetable
from pendulum import datetime

from ratchet_airflow import params
from ratchet_airflow.operators.report import ReportMonthOperator
from ratchet_airflow.wiring import dag_arguments, model_specs

for spec in model_specs("monthly_report"):
    with DAG(
        **dag_arguments(spec, "monthly_report", __doc__),
        schedule=CronTriggerTimetable("0 8 1 * *", timezone="UTC"),
        start_date=datetime(2013, 1, 1, tz="UTC"),
        params={"month": params.text("YYYY-MM; empty: the month before that of the newest data", max_length=7)},
    ) as dag:
        ReportMonthOperator(task_id="report_month", model=spec.name)
    globals()[dag.dag_id.replace(".", "__")] = dag
