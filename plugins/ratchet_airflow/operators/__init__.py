"""One operator per workflow step, named as the step is."""

from ratchet_airflow.operators.dispatch import ListDueOperator
from ratchet_airflow.operators.field import (
    CheckCanaryOperator,
    ScoreShadowOperator,
    SetCanaryOperator,
    WeighEvidenceOperator,
)
from ratchet_airflow.operators.ingest import IngestPartitionsOperator
from ratchet_airflow.operators.monitor import CheckDriftOperator
from ratchet_airflow.operators.promote import (
    ApprovePromotionOperator,
    BreakGlassOperator,
    JudgeChallengerOperator,
    PromoteChallengerOperator,
    RollbackChampionOperator,
)
from ratchet_airflow.operators.report import ReportMonthOperator
from ratchet_airflow.operators.reproduce import ReproduceVersionOperator
from ratchet_airflow.operators.score import ScorePartitionsOperator
from ratchet_airflow.operators.train import (
    EvaluateCandidateOperator,
    PutForwardChallengerOperator,
    RequestRetrainOperator,
    TakeTrainingSnapshotOperator,
    TrainCandidateOperator,
)

__all__ = [
    "ApprovePromotionOperator",
    "BreakGlassOperator",
    "CheckCanaryOperator",
    "CheckDriftOperator",
    "EvaluateCandidateOperator",
    "IngestPartitionsOperator",
    "JudgeChallengerOperator",
    "ListDueOperator",
    "PromoteChallengerOperator",
    "PutForwardChallengerOperator",
    "ReportMonthOperator",
    "ReproduceVersionOperator",
    "RequestRetrainOperator",
    "RollbackChampionOperator",
    "ScorePartitionsOperator",
    "ScoreShadowOperator",
    "SetCanaryOperator",
    "TakeTrainingSnapshotOperator",
    "TrainCandidateOperator",
    "WeighEvidenceOperator",
]
