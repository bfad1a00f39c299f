"""Specs: what a dataset and a model are, in the domain's words. Frozen, typed, refusing unknown keys.

A spec is one YAML file; its name is the file's stem. `load_dataset_specs` and `load_model_specs` return the good ones
and the errors of the bad ones side by side, so that one wrong file hurts nobody else.
"""

from ratchet.specs.base import Strict
from ratchet.specs.dataset import RESERVED_COLUMNS, ColumnType, DatasetSpec, Policy, SchemaPolicy
from ratchet.specs.instants import check_instants
from ratchet.specs.judging import (
    METRICS_OF_TASK,
    Approval,
    Costs,
    Evaluate,
    NoWorse,
    Problem,
    PromoteIf,
    Success,
    Task,
)
from ratchet.specs.loading import Loaded, load_dataset_specs, load_model_specs
from ratchet.specs.model import (
    START_OF_DAY,
    CandidateSpec,
    Input,
    ModelSpec,
    Range,
    ScoreWhen,
    Search,
    Windows,
)
from ratchet.specs.watching import FalseAlarms, FieldTest, RetrainWhen, Watch

__all__ = [
    "METRICS_OF_TASK",
    "RESERVED_COLUMNS",
    "START_OF_DAY",
    "Approval",
    "CandidateSpec",
    "ColumnType",
    "Costs",
    "DatasetSpec",
    "Evaluate",
    "FalseAlarms",
    "FieldTest",
    "Input",
    "Loaded",
    "ModelSpec",
    "NoWorse",
    "Policy",
    "Problem",
    "PromoteIf",
    "Range",
    "RetrainWhen",
    "SchemaPolicy",
    "ScoreWhen",
    "Search",
    "Strict",
    "Success",
    "Task",
    "Watch",
    "Windows",
    "check_instants",
    "load_dataset_specs",
    "load_model_specs",
]
