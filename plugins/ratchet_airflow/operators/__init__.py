"""One operator per workflow step, named as the step is."""

from ratchet_airflow.operators.dispatch import ListDueOperator
from ratchet_airflow.operators.ingest import IngestPartitionsOperator
from ratchet_airflow.operators.monitor import CheckDriftOperator
from ratchet_airflow.operators.promote import (
    ApprovePromotionOperator,
    JudgeChallengerOperator,
    PromoteChallengerOperator,
    RollbackChampionOperator,
)
from ratchet_airflow.operators.score import ScorePartitionsOperator
from ratchet_airflow.operators.train import (
    PutForwardChallengerOperator,
    RequestRetrainOperator,
    TakeTrainingSnapshotOperator,
    TrainCandidateOperator,
)

__all__ = [
    "ApprovePromotionOperator",
    "CheckDriftOperator",
    "IngestPartitionsOperator",
    "JudgeChallengerOperator",
    "ListDueOperator",
    "PromoteChallengerOperator",
    "PutForwardChallengerOperator",
    "RequestRetrainOperator",
    "RollbackChampionOperator",
    "ScorePartitionsOperator",
    "TakeTrainingSnapshotOperator",
    "TrainCandidateOperator",
]
