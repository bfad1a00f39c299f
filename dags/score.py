"""Score event days with the champion of {name}: one prediction a row, each with the version that made it.

Dispatch starts it for partitions that are new or restated; a nightly run makes sure. Once per partition and champion: a
day already scored from the same inputs by the same version is left alone.

**Parameters**: `days` (dispatch fills it in), or `from` and `to`, event days, both included; none: whatever is due. A
backfill run scores its own day.
"""

from airflow.sdk import DAG, CronDataIntervalTimetable, Param
from pendulum import datetime

from ratchet_airflow import params
from ratchet_airflow.assets import LEDGER
from ratchet_airflow.operators.score import ScorePartitionsOperator
from ratchet_airflow.wiring import dag_arguments, deployment, model_specs

for spec in model_specs("score"):
    scored = deployment().dataset(spec.scored_dataset)
    with DAG(
        **dag_arguments(spec, "score", __doc__),
        schedule=CronDataIntervalTimetable("0 0 * * *", timezone=scored.time_zone),
        start_date=datetime(*map(int, scored.starts.split("-")), tz=scored.time_zone),
        params={
            "days": Param(None, type=["null", "array"], items={"type": "string"}, description="event days to score"),
            "from": params.day("first event day"),
            "to": params.day("last event day, included"),
        },
    ) as dag:
        # rings when done: what came in meanwhile is due, and waits for this run to end
        ScorePartitionsOperator(task_id="score_partitions", model=spec.name, outlets=[LEDGER])
    globals()[dag.dag_id.replace(".", "__")] = dag
