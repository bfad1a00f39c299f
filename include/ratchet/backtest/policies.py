"""When each policy asks for a retraining. All else is the same for all: gate, approval, windows, what is watched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ratchet.errors import ParameterError
from ratchet.specs import ModelSpec, RetrainWhen
from ratchet.specs.watching import Budget

NOTHING = {"schedule": None, "drifted_share": None, "metric_falls_by": None, "data_grows_by": None}
MONTHLY = "0 6 1 * *"
DEFAULTS = RetrainWhen()


@dataclass(frozen=True)
class Policy:
    """`spec`: the model's, with this policy's `retrain_when`. `gated`: whether a challenger has to pass the gate;
    without it each takes the champion's place."""

    name: str
    spec: ModelSpec
    gated: bool = True


def policy_of(name: str, spec: ModelSpec) -> Policy:
    """never: the first champion for ever. monthly, monthly_ungated: on the first of each month, whatever the broker's
    rules. drift, performance: only for that, from the spec's threshold on (the default's where it has none), by its
    broker's rules. ratchet: the spec as it stands."""
    change = POLICIES[name](spec.retrain_when)
    when = spec.retrain_when.model_copy(update=change)
    return Policy(name, spec.model_copy(update={"retrain_when": when}), gated=name != "monthly_ungated")


def check_policies(names: Sequence[str]) -> None:
    """Raises ParameterError for none, for an unknown one, and for one that is named twice."""
    if not names or len(set(names)) < len(names) or not set(names) <= set(POLICIES):
        raise ParameterError(
            "no such policies",
            seen=",".join(names),
            expected=f"some of {', '.join(POLICIES)}, each once",
            hint="separate them by commas",
        )


def watching(spec: ModelSpec) -> ModelSpec:
    """The spec that checks are made by, the same for all policies: each listens to some of what they ask for."""
    when = spec.retrain_when
    change = {name: getattr(when, name) or getattr(DEFAULTS, name) for name in ("drifted_share", "metric_falls_by")}
    when = RetrainWhen(**change)
    return spec.model_copy(update={"retrain_when": when})


def _monthly(when: RetrainWhen) -> dict:
    free = {"cool_down_days": 0, "budget": Budget(trainings=31, in_days=28), "stop_after_rejected": 10_000}
    return {**NOTHING, "schedule": MONTHLY, **free}


POLICIES = {
    "never": lambda when: NOTHING,
    "monthly": _monthly,
    "monthly_ungated": _monthly,
    "drift": lambda when: {**NOTHING, "drifted_share": when.drifted_share or DEFAULTS.drifted_share},
    "performance": lambda when: {**NOTHING, "metric_falls_by": when.metric_falls_by or DEFAULTS.metric_falls_by},
    "ratchet": lambda when: {},
}
