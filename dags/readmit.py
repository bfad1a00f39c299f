"""Read days of {name} again after a correction: of the drop, or of the suite.

Checks the days anew and publishes only those that come out otherwise: rows come back from quarantine, refused days come
in, restated ones become a new version of the partition (the old one can still be read). What was scored or trained on
the old partitions is marked stale in the ledger, with your name and reason; days are scored again by themselves.

**Parameters**: `reason` (for the record); `from` and `to`, event days, both included. Without them: every day that was
refused, is restated, or has rows in quarantine.

**Not needed** for a corrected drop alone: the nightly `{name}.ingest_validate` takes it by itself.

**Example**: `{"reason": "the suite's upper bound was wrong", "from": "2013-01-01", "to": "2013-01-31"}`
"""

from airflow.sdk import DAG

from ratchet_airflow import params
from ratchet_airflow.assets import LEDGER
from ratchet_airflow.operators.ingest import ReadmitPartitionsOperator
from ratchet_airflow.wiring import dag_arguments, dataset_specs

for spec in dataset_specs("readmit"):
    with DAG(
        **dag_arguments(spec, "readmit", __doc__),
        schedule=None,
        params={
            "reason": params.text("why; goes on record with your name", required=True),
            "from": params.day("first event day; leave both empty for every day refused, restated or with quarantine"),
            "to": params.day("last event day, included"),
        },
    ) as dag:
        ReadmitPartitionsOperator(task_id="readmit_partitions", dataset=spec.name, outlets=[LEDGER])
    globals()[dag.dag_id.replace(".", "__")] = dag
