"""Build a version of {name} again from what was kept of it, and prove that it is the same.

Each week the version whose turn it is: of all that can be built again the one tried longest ago. Fitted anew in a
process of its own, from the same snapshot, source, parameters and seed, it must give the same scores of the recorded
rows: to the last bit on the same processor and BLAS, within 1e-9 elsewhere. The files in the registry are loaded and
compared too. Versions that were trained under another lock file wait, and the result names them (`skipped`): start it
with `build` now and then, which makes their environment and keeps it.

**When it fails**: "does not come out as it was recorded": somebody changed the snapshot, the files or the machine;
don't trust that version, and see `ratchet audit verify`. "Needs lock", of a version asked for by number: start it again
with `build`. "Not done after": an environment has 2 hours, a fit 12.

**Parameters**: `version` (empty: the one whose turn it is), `build` (make the environment of its lock file).
"""

from airflow.sdk import DAG, CronDataIntervalTimetable, Param
from pendulum import datetime

from ratchet_airflow import params
from ratchet_airflow.operators.reproduce import ReproduceVersionOperator
from ratchet_airflow.wiring import dag_arguments, model_specs

for spec in model_specs("reproduce"):
    with DAG(
        **dag_arguments(spec, "reproduce", __doc__),
        schedule=CronDataIntervalTimetable("0 3 * * 0", timezone="UTC"),
        start_date=datetime(2013, 1, 1, tz="UTC"),
        params={
            "version": params.number("version to build again; empty: the one whose turn it is"),
            "build": Param(False, type="boolean", description="make the environment of its lock, if it is another"),
        },
    ) as dag:
        ReproduceVersionOperator(task_id="reproduce_version", model=spec.name)
    globals()[dag.dag_id.replace(".", "__")] = dag
