"""Judge a challenger of {name}, ask a named person, and make it champion.

The gate judges it on a window that neither model was trained or tuned on. Only a PROMOTE, or a NO_BASELINE of a first
model, is put to the approver; without it **and** a real answer of an allowed person in the ledger, nothing moves.
Started by dispatch, one run a challenger; a backfill can't start it.

**To approve**: open the run's task `approve_promotion`, read the checks and the model card, press Approve or Reject.
The question expires, and a newer challenger's question takes its place. One who is no approver decides nothing, neither
way: the task fails, and dispatch has a fresh run ask, three runs in all per champion; after that start one by hand.

**Do not** clear the approval task: it would show its first text again. A fresh run asks anew. Marking tasks successful
by hand promotes nothing.

**Parameters**: `version`, the challenger's version.
"""

from datetime import timedelta

from airflow.sdk import DAG

from ratchet_airflow import params
from ratchet_airflow.assets import LEDGER
from ratchet_airflow.operators.promote import (
    ApprovePromotionOperator,
    JudgeChallengerOperator,
    PromoteChallengerOperator,
)
from ratchet_airflow.wiring import assigned_users, dag_arguments, model_specs

for spec in model_specs("promote"):
    with DAG(
        **{**dag_arguments(spec, "promote", __doc__), "max_active_runs": 8},  # an open question holds up no other
        schedule=None,
        allowed_run_types=["manual", "operator_triggered"],  # a person, dispatch; no backfill
        params={"version": params.number("the challenger's version", required=True)},
    ) as dag:
        judge = JudgeChallengerOperator(task_id="judge_challenger", model=spec.name)
        approve = ApprovePromotionOperator(
            task_id="approve_promotion",
            model=spec.name,
            assigned_users=assigned_users(spec),
            response_timeout=timedelta(hours=spec.approval.expires_after_hours),
            retries=0,  # a second try would show the first one's text
        )
        promote = PromoteChallengerOperator(task_id="promote_challenger", model=spec.name, outlets=[LEDGER])
        judge >> approve >> promote
    globals()[dag.dag_id.replace(".", "__")] = dag
