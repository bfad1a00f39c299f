"""What a model is for, how it is measured, and what has to hold before it may serve."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from ratchet.specs.base import Strict, Words

Task = Literal["binary", "multiclass", "regression"]
Metric = Literal["roc_auc", "log_loss", "brier", "mae", "rmse"]
METRICS_OF_TASK: dict[Task, tuple[Metric, ...]] = {
    "binary": ("roc_auc", "log_loss", "brier"),
    "multiclass": ("log_loss",),
    "regression": ("mae", "rmse"),
}
HIGHER_IS_BETTER = frozenset({"roc_auc"})
UNITS: dict[Metric, str] = {
    "roc_auc": "0 to 1",
    "brier": "0 to 1",
    "log_loss": "nats",
    "mae": "those of the label",
    "rmse": "those of the label",
}


class Success(Strict):
    """The success criterion as a number, in units of the metric: `at_least` for metrics of which more is better
    (roc_auc), `at_most` for losses and errors. The gate asks it of the bound of the interval on the judge window, not
    of the value: a lucky fortnight is not quality."""

    metric: Metric = "roc_auc"
    at_least: float | None = Field(default=None, ge=0)
    at_most: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _one_bound_in_the_metrics_direction(self) -> Success:
        wanted, other = ("at_least", "at_most") if self.higher_is_better else ("at_most", "at_least")
        if getattr(self, wanted) is None or getattr(self, other) is not None:
            raise ValueError(f"{self.metric}: say {wanted}, and not {other}")
        if UNITS[self.metric] == "0 to 1" and self.bound > 1:
            raise ValueError(f"{self.metric} is 1 at most, {wanted} asks {self.bound:g}")
        return self

    @property
    def higher_is_better(self) -> bool:
        return self.metric in HIGHER_IS_BETTER

    @property
    def bound(self) -> float:
        """The number asked for, in units of the metric."""
        return self.at_least if self.higher_is_better else self.at_most


class Problem(Strict):
    """Why the model exists. Goes into its card as it stands; `success` and `risk_tier` are also the gate's.

    `risk_tier`: in the words of the EU's AI Act (Regulation 2024/1689). A "high" one demands four eyes.
    """

    objective: Words
    success: Success
    intended_use: Words
    users: list[Words] = Field(min_length=1)
    not_for: list[Words] = Field(min_length=1)
    risk_tier: Literal["minimal", "limited", "high"]


class Costs(Strict):
    """What a wrong decision costs, in any one `unit`, when a row whose score reaches the threshold is acted on. Right
    decisions cost nothing unless `acted_on` (of each row acted on) says so."""

    missed: float = Field(ge=0)  # a positive row that was not acted on
    false_alarm: float = Field(ge=0)  # a negative row that was
    acted_on: float = Field(default=0, ge=0)
    unit: str = "units"

    @model_validator(mode="after")
    def _something_costs(self) -> Costs:
        if not self.missed and not self.false_alarm:
            raise ValueError("costs of 0 and 0 choose no threshold: say what a missed one or a false alarm costs")
        return self


class Evaluate(Strict):
    """What is measured of every candidate on the validate window, and of challenger and champion on the judge window,
    beside the metric.

    `slices`, `sensitive`: columns, features or not, of which each value is a group. A group smaller than
    `min_group_rows` is shown and decides nothing. `costs`: only for binary models; the threshold is then the cheapest
    on the validate window, else that of the best F1. `cost_per_cpu_hour`, in `costs.unit` or any: makes the cost of a
    million predictions.
    """

    slices: list[str] = []
    sensitive: list[str] = []
    min_group_rows: int = Field(default=1000, ge=50)
    costs: Costs | None = None
    cost_per_cpu_hour: float | None = Field(default=None, ge=0)


class NoWorse(Strict):
    """By how much a challenger may be worse than the champion at most, each asked of the bound of the interval, on all
    that are tested together.

    `metric`: in units of the metric, on each slice; the default is for roc_auc alone. `calibration`: expected
    calibration error. `fairness`: demographic parity ratio and equal opportunity difference of each sensitive column.
    `latency`: ratio of the times of a batch.
    """

    metric: float = Field(default=0.05, gt=0)
    calibration: float = Field(default=0.03, gt=0, le=1)
    fairness: float = Field(default=0.1, gt=0, le=1)
    latency: float = Field(default=10.0, gt=1)


class PromoteIf(Strict):
    """What the gate asks beside `problem.success`.

    `better_by`: the smallest improvement, in units of the metric, worth a promotion (minimum effect). `alpha`:
    one-sided, of all looks at judge windows that overlap one another. `implausible_jump`: an improvement over the
    champion that is rather a leak than progress; None: none is. The defaults of these two are for roc_auc alone.
    """

    better_by: float = Field(default=0.002, ge=0)
    alpha: float = Field(default=0.025, gt=0, lt=0.5)
    min_days_first: int = Field(default=14, ge=2)
    min_days_comparison: int = Field(default=28, ge=2)
    min_rows: int = Field(default=1000, ge=50)
    implausible_jump: float | None = Field(default=0.15, gt=0)
    no_worse: NoWorse = NoWorse()


class Approval(Strict):
    """Who may answer, and for how long the question stands."""

    approvers: list[str] = Field(min_length=1)
    four_eyes: bool = True
    expires_after_hours: float = Field(default=72, gt=0)
