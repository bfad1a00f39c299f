"""Let the newest challenger of {name} score what the champion scores, unseen, and say whether it does better.

Its scores go to a table of their own (`shadow/{name}`); nobody is given them. Once outcomes have come, both are
compared day by day; the page is linked from the task `weigh_evidence`, and the approver reads what it says. It may be
looked at every day: the bounds hold for all days together. **It promotes nothing.**

Dispatch starts it when a day was scored, restated or got its outcomes; it never holds up `{name}.score`. A challenger
that can't be loaded, or can't score, goes on record (`shadow_failed`), and dispatch starts no run for it again: start
one by hand once it is mended. The task `check_canary` looks after a canary: see `{name}.canary`.

**Parameters**: `version` (empty: the newest challenger of which nothing final was said).
"""

from airflow.sdk import DAG

from ratchet_airflow import params
from ratchet_airflow.assets import LEDGER
from ratchet_airflow.operators.field import CheckCanaryOperator, ScoreShadowOperator, WeighEvidenceOperator
from ratchet_airflow.wiring import dag_arguments, model_specs

for spec in model_specs("shadow"):
    with DAG(
        **dag_arguments(spec, "shadow", __doc__),
        schedule=None,
        allowed_run_types=["manual", "operator_triggered"],  # a person, dispatch
        params={"version": params.number("the challenger's version; empty: the newest")},
    ) as dag:
        score = ScoreShadowOperator(task_id="score_shadow", model=spec.name)
        weigh = WeighEvidenceOperator(task_id="weigh_evidence", model=spec.name)
        CheckCanaryOperator(task_id="check_canary", model=spec.name, outlets=[LEDGER])
        score >> weigh
    globals()[dag.dag_id.replace(".", "__")] = dag
