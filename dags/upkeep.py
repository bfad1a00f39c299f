"""Clear away what nobody needs any more: once a week, or by hand.

Deletes files of old versions of the lake's tables, uploads and training snapshots that killed writers left unfinished,
and puts days that lie in several files into one. Kept: the newest version of each table, whatever was the newest in the
last `keep_days`, and all that the ledger's partitions or a registered model's snapshot are read from: every registered
model can still be trained again on the same rows. Stopped or killed anywhere it harms nothing.

Beside it the whole ledger is verified: a page when it is not as it was sealed.

**Don't** make `keep_days` shorter than your longest run, or than you want to look back at tables that no model needs.

**Parameters**: `keep_days`, days, 1 at least (30 by default); `dry_run`: say what would be cleared, and change nothing.
The task's log, and its XCom, tell for each table how many days were put together and how many files went.

**Example**: `{"keep_days": 90, "dry_run": true}`
"""

from datetime import timedelta

from airflow.sdk import DAG, CronTriggerTimetable, Param
from pendulum import datetime

from ratchet_airflow.notifiers import FailedRunNotifier
from ratchet_airflow.operators.upkeep import KeepUpOperator, VerifyLedgerOperator

with DAG(
    dag_id="ratchet.upkeep",
    description="Clear away what nobody needs any more",
    doc_md=__doc__,
    tags=["ratchet", "upkeep"],
    schedule=CronTriggerTimetable("30 3 * * 0", timezone="UTC"),
    start_date=datetime(2013, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    on_failure_callback=FailedRunNotifier(),
    default_args={"owner": "ratchet", "retries": 2, "retry_delay": timedelta(minutes=5)},
    params={
        "keep_days": Param(30, type="number", minimum=1, description="days that old versions of tables stay readable"),
        "dry_run": Param(False, type="boolean", description="say what would be cleared, and change nothing"),
    },
) as dag:
    KeepUpOperator(task_id="keep_up")
    VerifyLedgerOperator(task_id="verify_ledger")
