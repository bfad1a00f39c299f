"""Start what is due, once: trainings, judgements, scorings and drift checks that the ledger says should run.

Every minute, and at once when an asset event rings. It reads the ledger alone, so a lost event loses nothing, and a
run that failed or was killed is followed by a fresh one (three in all). Run ids are deterministic: two sweeps at once
start one run. Drift checks go by their schedule; here a check is started again whose days were restated.
Pause it to stop the loop; unpause it and everything due starts.

Its task `send_alerts` raises an alert of each run that failed without one, and sends what nobody was told of yet: its
log, var/alerts/alerts.jsonl, and mail or Slack where the deployment says so (docs/run-for-real.md).
"""

from datetime import timedelta

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import DAG, AssetOrTimeSchedule, CronTriggerTimetable
from pendulum import datetime

from ratchet_airflow.assets import LEDGER
from ratchet_airflow.notifiers import FailedRunNotifier
from ratchet_airflow.operators.dispatch import ListDueOperator, SendAlertsOperator

with DAG(
    dag_id="ratchet.dispatch",
    description="Start what is due, once",
    doc_md=__doc__,
    tags=["ratchet", "dispatch"],
    schedule=AssetOrTimeSchedule(timetable=CronTriggerTimetable("* * * * *", timezone="UTC"), assets=[LEDGER]),
    start_date=datetime(2013, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    on_failure_callback=FailedRunNotifier(),
    default_args={"owner": "ratchet", "retries": 1, "retry_delay": timedelta(seconds=5)},
) as dag:
    due = ListDueOperator(task_id="list_due")
    start = TriggerDagRunOperator.partial(
        task_id="start_run",
        map_index_template="{{ task.trigger_dag_id }} {{ task.trigger_run_id }}",
        logical_date=None,
        skip_when_already_exists=True,
        openlineage_inject_parent_info=False,
    ).expand_kwargs(due.output)
    start >> SendAlertsOperator(
        task_id="send_alerts",
        trigger_rule="all_done",
        execution_timeout=timedelta(minutes=5),  # the next sweep waits for this one
    )
