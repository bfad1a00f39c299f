"""Train the candidates of {name} and put the best forward as challenger.

Takes a snapshot of everything known as of a day, splits it into train | validate | judge, fits every candidate of the
spec on train, measures and evaluates it on validate (its run in MLflow shows performance by slice, calibration,
fairness, robustness, explanation, serving and value), and registers the best one. The model registered is the model
measured: no refit. The same inputs give the same challenger, never a second version.

Started by dispatch for a batch of retrain requests. To ask for a training, trigger `{name}.retrain` instead: a run
started here without a batch files a request of its own first, and is skipped where that is held back.

**Parameters**: `batch` (dispatch fills it in); only without a batch: `as_of`, `source` (`api`; a `person` is never held
back, and no run of another DAG counts as one).

**When it fails**: dispatch starts a fresh run, up to three in all; candidates already fitted are found, not fitted
again.
"""

from airflow.sdk import DAG, Param

from ratchet_airflow import params
from ratchet_airflow.assets import LEDGER
from ratchet_airflow.operators.train import (
    EvaluateCandidateOperator,
    PutForwardChallengerOperator,
    TakeTrainingSnapshotOperator,
    TrainCandidateOperator,
)
from ratchet_airflow.wiring import dag_arguments, model_specs

for spec in model_specs("train_evaluate"):
    with DAG(
        **dag_arguments(spec, "train_evaluate", __doc__),
        schedule=None,
        params={
            "batch": params.text("the batch of retrain requests to work off"),
            "as_of": params.day("event day up to which data is used; only without a batch"),
            "source": Param("api", enum=["person", "api"], description="who asks; only without a batch"),
        },
    ) as dag:
        snapshot = TakeTrainingSnapshotOperator(task_id="take_snapshot", model=spec.name)
        names = [candidate.name for candidate in spec.candidates]
        by_name = {"model": spec.name, "map_index_template": "{{ task.candidate }}"}
        candidates = TrainCandidateOperator.partial(task_id="train_candidate", **by_name).expand(candidate=names)
        evaluations = EvaluateCandidateOperator.partial(task_id="evaluate_candidate", **by_name).expand(candidate=names)
        challenger = PutForwardChallengerOperator(task_id="put_forward_challenger", model=spec.name, outlets=[LEDGER])
        snapshot >> candidates >> evaluations >> challenger
    globals()[dag.dag_id.replace(".", "__")] = dag
