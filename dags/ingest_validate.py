"""Take the drops of {name} in, validate them, publish each event day whole and valid, or not at all.

Nightly, and whenever you want one sooner. Rows that fail row-level expectations go to quarantine with their reason; a
failed table-level expectation publishes nothing of that day and fails the task with what failed, seen and expected.
Running again changes nothing that the same drops already made.

**Parameters**: none (every drop not yet seen; "nothing new" is a success), or `from` and `to`, event days, both
included: every day of the range must then have its drop. Any range fits in one run. A backfill run takes its own day.

**When it fails**: the task's error names the day, the expectation, what was seen and what was expected. Other days of
the same run are published. Have the sender deliver a corrected drop, then run the range again.

**Example**: `{"from": "2013-01-01", "to": "2013-03-31"}`
"""

from airflow.sdk import DAG, CronDataIntervalTimetable
from pendulum import datetime

from ratchet_airflow import params
from ratchet_airflow.assets import LEDGER
from ratchet_airflow.operators.ingest import IngestPartitionsOperator
from ratchet_airflow.wiring import dag_arguments, dataset_specs

for spec in dataset_specs("ingest_validate"):
    with DAG(
        **dag_arguments(spec, "ingest_validate", __doc__),
        schedule=CronDataIntervalTimetable(spec.schedule, timezone=spec.time_zone),
        start_date=datetime(*map(int, spec.starts.split("-")), tz=spec.time_zone),
        params={
            "from": params.day("first event day; leave both empty for every drop not yet seen"),
            "to": params.day("last event day, included"),
        },
    ) as dag:
        IngestPartitionsOperator(task_id="ingest_partitions", dataset=spec.name, outlets=[LEDGER])
    globals()[dag.dag_id.replace(".", "__")] = dag
