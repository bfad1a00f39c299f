"""Make a version of {name} champion whatever the gate says: for emergencies, with a reason and a second person.

Use it when the champion does harm, no earlier version will do (see `{name}.rollback`), and the gate can't or won't pass
the one that is needed. The demand, its reason, what the gate had said, and who approved it stay in the audit for good.

**It never works alone**: an approver who is not the one who started this run has to say yes, also where the model's
spec asks no four eyes. The version must still pass its smoke test.

**Parameters**: `version`, the challenger's version; `reason`, why.
"""

from datetime import timedelta

from airflow.sdk import DAG

from ratchet_airflow import params
from ratchet_airflow.assets import LEDGER
from ratchet_airflow.operators.promote import (
    ApprovePromotionOperator,
    BreakGlassOperator,
    PromoteChallengerOperator,
)
from ratchet_airflow.wiring import assigned_users, dag_arguments, model_specs

for spec in model_specs("break_glass"):
    with DAG(
        **dag_arguments(spec, "break_glass", __doc__),
        schedule=None,
        allowed_run_types=["manual"],  # a person; no backfill, no other DAG
        params={
            "version": params.number("the challenger's version", required=True),
            "reason": params.text("why the gate is gone round; goes on record with your name", required=True),
        },
    ) as dag:
        demand = BreakGlassOperator(task_id="break_glass", model=spec.name)
        approve = ApprovePromotionOperator(
            task_id="approve_promotion",
            model=spec.name,
            broken_glass=True,
            assigned_users=assigned_users(spec),
            response_timeout=timedelta(hours=spec.approval.expires_after_hours),
            retries=0,  # a second try would show the first one's text
        )
        promote = PromoteChallengerOperator(
            task_id="promote_challenger", model=spec.name, broken_glass=True, outlets=[LEDGER]
        )
        demand >> approve >> promote
    globals()[dag.dag_id.replace(".", "__")] = dag
