"""A small world for a model of any task: things that are weighed a day after they were seen. Its champion was trained
on the days to BEFORE and has scored those after it, in which the world is as it was, or is not."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from small_loop import deployment_in

from ratchet.days import days_between, shift_day
from ratchet.deployment import Deployment
from ratchet.digests import digest_of, frame_digest
from ratchet.workflow import scoring, training

THINGS, MODEL, CLASSES = "things", "things_model", ["light", "middle", "heavy"]
FIRST, BEFORE, LAST = "2013-01-01", "2013-01-20", "2013-01-31"
SUCCESS = {
    "binary": {"metric": "roc_auc", "at_least": 0.5},
    "multiclass": {"metric": "log_loss", "at_most": 1.0},
    "regression": {"metric": "mae", "at_most": 2.0},
}
DATASET = {
    "description": "things",
    "owner": "us",
    "time_zone": "UTC",
    "starts": FIRST,
    "key": ["id"],
    "columns": {"id": "int64", "size": "float64", "kind": "string", "weight": "float64"},
}
SPEC = {
    "description": "how heavy?",
    "owner": "us",
    "scored_dataset": THINGS,
    "outcome_dataset": THINGS,
    "predicted_at": "start_of_day",
    "inputs": {THINGS: {}},
    "feature_function": "task_world:features",
    "numeric_features": ["size"],
    "categorical_features": ["kind"],
    "label_delay_days": 1,
    "promote_if": {
        "min_days_first": 10,
        "min_days_comparison": 10,
        "better_by": 0.01,
        "implausible_jump": None,
        "no_worse": {"metric": 0.1},
    },
    "retrain_when": {"metric_falls_by": 0.03},
    "first_windows": {"validate_days": 3, "judge_days": 10},
    "windows": {"validate_days": 3, "judge_days": 10},
    "approval": {"approvers": ["approver"]},
    "score_when": {"complete": [THINGS]},
    "watch": {"window_days": 10, "outcome_days": 10, "min_rows": 200, "persistence": {"seen": 1, "of": 1}},
}


def features(things: pd.DataFrame) -> pd.DataFrame:
    return things[["size", "kind"]].assign(twice=things["size"] * 2)


def sizes(things: pd.DataFrame) -> pd.DataFrame:
    """As `features` is once nobody asks for the kind."""
    return things[["size"]]


def label_binary(things: pd.DataFrame) -> pd.DataFrame:
    return things[["id"]].assign(label=(things["weight"] > 0).astype("int64"))


def label_multiclass(things: pd.DataFrame) -> pd.DataFrame:
    label = pd.cut(things["weight"], [-np.inf, -0.5, 0.5, np.inf], labels=CLASSES).astype("str")
    return things[["id"]].assign(label=label)


def label_regression(things: pd.DataFrame) -> pd.DataFrame:
    return things[["id"]].assign(label=things["weight"])


def things_of(day: str, shift: float = 0.0, sign: float = 1.0) -> pd.DataFrame:
    """The rows of a day. `shift`: of all sizes, and with them of the weights; `sign`: -1 where the larger thing is
    suddenly the lighter one."""
    number, count = int(day[-2:]), 60
    draw = np.random.default_rng(number)
    size, kind = draw.normal(size=count) + shift, draw.choice([*"xyz"], count)
    return pd.DataFrame(
        {
            "id": [number * 1000 + n for n in range(count)],
            "size": size,
            "kind": kind,
            "weight": sign * size + 0.5 * (kind == "x") + 0.5 * draw.normal(size=count),
            "known_at": pd.Timestamp(day, tz="UTC").as_unit("us"),
            "drop_sha256": digest_of([day, shift, sign]),
            "recipe": "r",
        }
    )


def write_spec(root: Path, task: str, success: dict | None = None, **changes: object) -> Deployment:
    """`changes`: top-level keys of the model's spec, beside its success criterion."""
    problem = {
        "objective": "tell how heavy it is",
        "success": success or SUCCESS[task],
        "intended_use": "to sort",
        "users": ["sorters"],
        "not_for": ["people"],
        "risk_tier": "minimal",
    }
    estimator = "sklearn.linear_model.Ridge" if task == "regression" else "logistic_regression"
    of_task = {"problem": problem, "task": task, "label_function": f"task_world:label_{task}"}
    of_task |= {"classes": CLASSES} if task == "multiclass" else {}
    spec = {**SPEC, **of_task, "candidates": [{"name": "linear", "estimator": estimator}], **changes}
    for folder, name, content in (("datasets", THINGS, DATASET), ("models", MODEL, spec)):
        file = root / "home" / "include" / folder / f"{name}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(yaml.safe_dump(content), "utf-8")
    (root / "home" / "requirements.lock").write_text("")
    return deployment_in(root)


def prepare(root: Path, task: str) -> Path:
    """ROOT with a champion that knows the days to BEFORE, and has scored nothing yet."""
    deployment = write_spec(root, task)
    publish(deployment, FIRST, shift_day(BEFORE, -1))
    asked = {"reason": "the first", "source": "person", "actor": "trainer"}
    batch = training.request_retrain(deployment, MODEL, as_of=BEFORE, **asked)["batch"]
    snapshot = training.take_training_snapshot(deployment, MODEL, batch, "run")["snapshot"]
    training.train_candidate(deployment, MODEL, snapshot, "linear")
    _promote(deployment, training.put_forward_challenger(deployment, MODEL, batch, snapshot)["version"])
    return root


def go_on(world: Path, root: Path, last: str = LAST, **how: float) -> Deployment:
    """A copy of a prepared world in ROOT, in which the days from BEFORE to `last` are `how` (see `things_of`), and
    scored."""
    deployment = deployment_in(Path(shutil.copytree(world, root)))
    publish(deployment, BEFORE, last, **how)
    scoring.score_partitions(deployment, MODEL, days_between(BEFORE, last))
    return deployment


def publish(deployment: Deployment, first: str, last: str, **how: float) -> None:
    by_day = {day: things_of(day, **how) for day in days_between(first, last)}
    version = deployment.lake.publish_days(f"datasets/{THINGS}", by_day)
    for day, rows in by_day.items():
        known_at, drop = rows["known_at"].iloc[0].to_pydatetime(), rows["drop_sha256"].iloc[0]
        deployment.ledger.record_partition(THINGS, day, frame_digest(rows), drop, "r", version, len(rows), 0, known_at)


def _promote(deployment: Deployment, version: int) -> None:
    """By the ledger alone: a verdict, a question, a person's answer."""
    ledger, now = deployment.ledger, datetime.now(UTC)
    ledger.record_verdict(MODEL, version, 0, None, "PROMOTE", [], "0" * 64)
    ledger.ask_approval(MODEL, version, "0" * 64, ["trainer"], "d", "r", "t", 1, now + timedelta(hours=1))
    said = {"answer": "Approve", "responded_by": "approver", "responded_by_id": "approver"}
    place = {"dag_id": "d", "run_id": "r", "task_id": "t", "try_number": 1}
    ledger.record_answer(MODEL, version, **place, **said, responded_at=datetime.now(UTC))
    ledger.promote(MODEL, version, 0, ["approver"], True, datetime.now(UTC))
    deployment.registry.set_alias(MODEL, "champion", version)
