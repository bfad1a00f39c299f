"""Put an earlier champion of {name} back in place, in one run.

Only a version that once was champion can come back. Ask for it when the champion does harm; a training is not needed.

**Parameters**: `reason` (why; goes on record with your name), `to_version` (the champion before this one by default).
"""

from airflow.sdk import DAG

from ratchet_airflow import params
from ratchet_airflow.assets import LEDGER
from ratchet_airflow.operators.promote import RollbackChampionOperator
from ratchet_airflow.wiring import dag_arguments, model_specs

for spec in model_specs("rollback"):
    with DAG(
        **dag_arguments(spec, "rollback", __doc__),
        schedule=None,
        allowed_run_types=["manual"],  # a person; no backfill, no other DAG
        params={
            "reason": params.text("why; goes on record with your name", required=True),
            "to_version": params.number("version to go back to; empty: the one before"),
        },
    ) as dag:
        RollbackChampionOperator(task_id="rollback_champion", model=spec.name, outlets=[LEDGER])
    globals()[dag.dag_id.replace(".", "__")] = dag
