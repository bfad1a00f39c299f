"""Let a challenger of {name} serve a small share of the rows, to see that it is safe: no errors, nulls, odd scores.

Only a version whose gate is passed against the champion of now, and only an approver starts it (with four eyes: one who
did not ask for its training). Which rows: a hash of the row's key, the same at each scoring. It is no test of whether
the version is better, and it never becomes champion by it: that takes `{name}.promote`, as always.

It ends by itself, on record and with an alert, when the version can't score or gives scores that can't be right; that
day's rows are then scored by the champion alone. Once outcomes have come it ends for gross harm, too; where they come
after its last day, the alert tells of it. It also ends when the champion moves, and after the spec's
`field_test.canary_days` event days. Fewer than 8 of them show no harm by outcomes, however gross: such a canary is for
what is seen before a day is published, and the answer's `outcomes` says so.

A cleared run starts none: an approver starts a fresh one.

**Parameters**: `version`; `share` of the rows, at most the spec's `field_test.canary_share`; `reason`, for the record;
`stop`: end the canary that there is (whoever may start this run may).

**Example**: `{"version": 7, "share": 0.05, "reason": "first look at the new features in service"}`
"""

from airflow.sdk import DAG, Param

from ratchet_airflow import params
from ratchet_airflow.assets import LEDGER
from ratchet_airflow.operators.field import SetCanaryOperator
from ratchet_airflow.wiring import dag_arguments, model_specs

for spec in model_specs("canary"):
    if spec.field_test.canary_share is None:
        continue
    most = spec.field_test.canary_share
    with DAG(
        **dag_arguments(spec, "canary", __doc__),
        schedule=None,
        allowed_run_types=["manual"],  # a person; no backfill, no other DAG
        params={
            "version": params.number("the challenger's version; not needed to stop one"),
            "share": Param(most, type="number", exclusiveMinimum=0, maximum=most, description="share of the rows"),
            "reason": params.text("why; goes on record with your name", required=True),
            "stop": Param(False, type="boolean", description="end the canary that there is"),
        },
    ) as dag:
        SetCanaryOperator(task_id="set_canary", model=spec.name, outlets=[LEDGER])
    globals()[dag.dag_id.replace(".", "__")] = dag
