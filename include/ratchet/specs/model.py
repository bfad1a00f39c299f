"""A model's spec."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from ratchet.specs.base import Name, Strict
from ratchet.specs.judging import METRICS_OF_TASK, UNITS, Approval, Evaluate, Problem, PromoteIf, Task
from ratchet.specs.watching import FieldTest, RetrainWhen, Watch

START_OF_DAY = "start_of_day"
RESERVED_FEATURES, RESERVED_CLASSES = {"features", "scores", "late data"}, {"all", "arrival"}  # see monitoring.values


class Input(Strict):
    """A dataset that the feature function reads. `lookback_days`: event days before the first one wanted that
    are read too. `latest: true` reads the newest partition known as of the run (reference data).

    What could be known when; the gate checks that no feature looks ahead (see ratchet.point_in_time). `happens_at`: the
    column with the instant from which a row could be known; None: when its day has ended. `known_later`: columns that
    are not known yet when a row is scored. `known_before`, of the outcome dataset: columns that are known before the
    outcomes are told (a planned time)."""

    lookback_days: int = Field(default=0, ge=0)
    latest: bool = False
    happens_at: str | None = None
    known_later: list[str] = []
    known_before: list[str] = []


class Windows(Strict):
    """Lengths, in event days, of the two newest windows; train is everything older (see ratchet.windows)."""

    validate_days: int = Field(ge=1)
    judge_days: int = Field(ge=1)


class ScoreWhen(Strict):
    """A partition is due for scoring when every dataset in `complete` has it, or when the scored dataset has
    moved on by `or_after_days` event days (late or absent inputs must not block)."""

    complete: list[Name]
    or_after_days: int = Field(default=2, ge=0)


class Range(Strict):
    """Values of one parameter to search: from `low` to `high`, both included; evenly on the log scale with `log`."""

    low: float
    high: float
    log: bool = False
    whole: bool = False

    @model_validator(mode="after")
    def _low_is_below_high(self) -> Range:
        if not self.low < self.high or (self.log and self.low <= 0):
            raise ValueError(f"no range: low {self.low:g}, high {self.high:g}{', log' if self.log else ''}")
        if self.whole and not (self.low.is_integer() and self.high.is_integer()):
            raise ValueError(f"a range of whole numbers with the ends {self.low:g} and {self.high:g}")
        return self


class Search(Strict):
    """A search over `space` ({parameter: a Range, or a list of values}), on top of the candidate's `params`, until
    `trials` are fitted or `seconds` are over; the best by the validate window is the candidate."""

    space: dict[str, Range | Annotated[list[float | int | str | bool], Field(min_length=1)]] = Field(min_length=1)
    trials: int = Field(ge=1, le=1000)
    seconds: float = Field(gt=0)


class CandidateSpec(Strict):
    """One configuration to fit. `estimator` is a short name of ratchet.candidates, or a scikit-learn class by its whole
    name ("sklearn.ensemble.RandomForestClassifier"), of the kinds that ratchet.model_files can save."""

    name: Name
    estimator: str = Field(
        pattern=r"^(base_rate|logistic_regression|hist_gradient_boosting|sklearn(\.[a-z][a-z0-9_]*)+\.[A-Z][A-Za-z]*)\z"
    )
    params: dict[str, float | int | str | bool] = {}
    search: Search | None = None


class ModelSpec(Strict):
    """A model: what it is for, which datasets feed it, how it is trained, judged, approved, scored and watched.

    `feature_function` and `label_function` are `module:function` (see docs/add-a-model.md). `scored_dataset` is the
    one whose rows are scored, one prediction a row, known by its key; `predicted_at` is its column with the instant
    for which a row is scored, or "start_of_day": of the row's own day, in the dataset's time zone; it is scored
    `predicted_ahead_minutes` before that. `classes`: the labels of a multiclass model, in order.
    """

    name: Name
    description: str
    owner: str
    problem: Problem
    task: Task = "binary"
    classes: list[str] = []
    scored_dataset: Name
    outcome_dataset: Name
    inputs: dict[Name, Input]
    predicted_at: str
    predicted_ahead_minutes: int = Field(default=0, ge=0, le=366 * 24 * 60)
    feature_function: str = Field(pattern=r"^[a-z_][\w.]*:[a-z_]\w*\z")
    label_function: str = Field(pattern=r"^[a-z_][\w.]*:[a-z_]\w*\z")
    numeric_features: list[str]
    categorical_features: list[str] = []
    label_delay_days: int = Field(ge=0)
    first_windows: Windows
    windows: Windows
    seed: int = 2013
    candidates: list[CandidateSpec] = Field(min_length=1)
    evaluate: Evaluate = Evaluate()
    promote_if: PromoteIf = PromoteIf()
    approval: Approval
    score_when: ScoreWhen
    retrain_when: RetrainWhen = RetrainWhen()
    watch: Watch = Watch()
    field_test: FieldTest = FieldTest()
    tags: list[str] = []

    @model_validator(mode="before")
    @classmethod
    def _says_when_it_predicts(cls, given: object) -> object:
        if isinstance(given, dict) and not given.get("predicted_at"):
            raise ValueError(
                "predicted_at is missing: name the timestamp column of the scored dataset with the instant for which a "
                f"row is scored, or say {START_OF_DAY} where the day's rows are scored together"
            )
        return given

    @model_validator(mode="after")
    def _inputs_hold_scored(self) -> ModelSpec:
        if self.scored_dataset not in self.inputs:
            raise ValueError(f"scored_dataset {self.scored_dataset!r} is not among inputs")
        if len({c.name for c in self.candidates}) != len(self.candidates):
            raise ValueError("candidate names must differ")
        if wrong := [name for name, one in self.inputs.items() if one.known_before and name != self.outcome_dataset]:
            raise ValueError(f"known_before is for columns of the outcome dataset: take it from {wrong}")
        return self

    @model_validator(mode="after")
    def _measured_by_what_its_task_knows(self) -> ModelSpec:
        metric, known = self.problem.success.metric, METRICS_OF_TASK[self.task]
        if metric not in known:
            raise ValueError(f"a {self.task} model is measured by {' or '.join(known)}, not {metric}")
        if (self.task == "multiclass") != (len(self.classes) > 2) or len(set(self.classes)) != len(self.classes):
            raise ValueError(f"task {self.task}, classes {self.classes}: three or more for multiclass, else none")
        if self.evaluate.costs and self.task != "binary":
            raise ValueError(f"costs are those of a yes or a no: a {self.task} model has none")
        return self

    @model_validator(mode="after")
    def _nothing_has_a_name_of_monitoring(self) -> ModelSpec:
        if taken := sorted({*self.features} & RESERVED_FEATURES | {*self.classes} & RESERVED_CLASSES):
            raise ValueError(f"{taken}: what is found of a whole model is kept under these names: take others")
        return self

    @model_validator(mode="after")
    def _differences_in_units_of_its_metric(self) -> ModelSpec:
        metric, rule, when = self.problem.success.metric, self.promote_if, self.retrain_when
        named = {
            "promote_if.better_by": (rule, "better_by"),
            "promote_if.implausible_jump": (rule, "implausible_jump"),
            "promote_if.no_worse.metric": (rule.no_worse, "metric"),
            "retrain_when.metric_falls_by": (when, "metric_falls_by"),
        }
        silent = [name for name, (of, field) in named.items() if field not in of.model_fields_set]
        if metric != "roc_auc" and silent:
            raise ValueError(
                f"say {', '.join(silent)} in units of {metric} ({UNITS[metric]}): defaults are for roc_auc"
            )
        seen = {name: getattr(of, field) for name, (of, field) in named.items()}
        if UNITS[metric] == "0 to 1" and (wide := [name for name, value in seen.items() if (value or 0) >= 1]):
            raise ValueError(f"{metric} lies from 0 to 1: {', '.join(wide)} must be below 1")
        if rule.implausible_jump is not None and rule.better_by >= rule.implausible_jump:
            raise ValueError(
                f"no improvement is both worth a promotion (better_by {rule.better_by:g}) and plausible "
                f"(implausible_jump {rule.implausible_jump:g})"
            )
        return self

    @model_validator(mode="after")
    def _judged_on_days_enough(self) -> ModelSpec:
        most, rule = 2 * self.windows.judge_days, self.promote_if
        if (need := max(rule.min_days_first, rule.min_days_comparison)) > most:
            raise ValueError(
                f"a judge window has {most} days at most, twice windows.judge_days: promote_if.min_days_first or "
                f"min_days_comparison asks {need}"
            )
        return self

    @model_validator(mode="after")
    def _high_risk_takes_four_eyes(self) -> ModelSpec:
        if self.problem.risk_tier == "high" and not self.approval.four_eyes:
            raise ValueError("risk_tier high: approval.four_eyes can't be false")
        return self

    @property
    def features(self) -> list[str]:
        return [*self.numeric_features, *self.categorical_features]

    @property
    def score_columns(self) -> list[str]:
        """The columns of a prediction: `score` (the probability of label 1; the value, of a regression), or one
        probability a class, in order of `classes`."""
        return [f"score_{name}" for name in self.classes] if self.task == "multiclass" else ["score"]
