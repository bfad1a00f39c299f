"""A training, from a retrain request to its challenger, as a program that can be killed anywhere and run again:

    python training_story.py ROOT [RUN]

`prepare` makes ROOT: a home with one dataset and one model, its days published, an MLflow on SQLite, and a champion.
The same calls as the train_evaluate DAG; who was overtaken tries again soon, as Airflow does.
"""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from small_loop import deployment_in

from ratchet.days import days_between
from ratchet.deployment import Deployment
from ratchet.digests import digest_of, frame_digest
from ratchet.errors import ConflictError
from ratchet.ledger import Batch
from ratchet.registry import Registry  # heavy, as the next one: imported before runs are forked
from ratchet.tuning import Trials
from ratchet.workflow import training

PRELOADED = (Registry, Trials)
PATIENCE_SECONDS = 600
THINGS, MODEL = "things", "things_model"
FIRST, LAST = "2013-01-01", "2013-01-12"
BEFORE, AS_OF = "2013-01-11", "2013-01-13"  # what the champion knows, and what the story's challenger does
DATASET = {
    "description": "things",
    "owner": "us",
    "time_zone": "America/New_York",
    "starts": FIRST,
    "key": ["id"],
    "columns": {"id": "int64", "kind": "string", "weight": "float64", "heavy": "bool"},
}
SPEC = {
    "description": "is it heavy?",
    "owner": "us",
    "problem": {
        "objective": "tell the heavy ones",
        "success": {"metric": "roc_auc", "at_least": 0.5},
        "intended_use": "to sort",
        "users": ["sorters"],
        "not_for": ["people"],
        "risk_tier": "minimal",
    },
    "scored_dataset": THINGS,
    "outcome_dataset": THINGS,
    "predicted_at": "start_of_day",
    "inputs": {THINGS: {}},
    "feature_function": "training_story:features",
    "label_function": "training_story:labels",
    "numeric_features": ["weight"],
    "categorical_features": ["kind"],
    "label_delay_days": 1,
    "promote_if": {"min_days_first": 2, "min_days_comparison": 2},
    "first_windows": {"validate_days": 2, "judge_days": 2},
    "windows": {"validate_days": 2, "judge_days": 2},
    "candidates": [
        {"name": "base", "estimator": "base_rate"},
        {
            "name": "searched",
            "estimator": "sklearn.tree.DecisionTreeClassifier",
            "params": {"criterion": "log_loss"},
            "search": {"space": {"max_depth": {"low": 1, "high": 6, "whole": True}}, "trials": 3, "seconds": 600},
        },
    ],
    "approval": {"approvers": ["approver"]},
    "score_when": {"complete": [THINGS]},
}


def features(things: pd.DataFrame) -> pd.DataFrame:
    return things[["weight", "kind"]]


def labels(things: pd.DataFrame) -> pd.DataFrame:
    return things[["id"]].assign(label=things["heavy"].astype("int64"))


def prepare(root: Path, **changes: object) -> Deployment:
    """`changes`: top-level keys of the model's spec."""
    for folder, name, content in (("datasets", THINGS, DATASET), ("models", MODEL, {**SPEC, **changes})):
        file = root / "home" / "include" / folder / f"{name}.yaml"
        file.parent.mkdir(parents=True)
        file.write_text(yaml.safe_dump(content), "utf-8")
    (root / "home" / "requirements.lock").write_text("")
    deployment = deployment_in(root)
    _publish(deployment)
    _promote(deployment, train(deployment, BEFORE, "the first run"))
    return deployment


def train(deployment: Deployment, as_of: str = AS_OF, run: str = "run") -> int:
    """The version of the challenger."""
    asked = {"reason": "a story", "source": "person", "actor": "trainer", "idempotency_key": f"story {as_of}"}
    batch = training.request_retrain(deployment, MODEL, as_of=as_of, **asked)["batch"]
    until = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < until:
        known = deployment.ledger.batch(batch)
        if known.status == "done":
            return known.challenger_version
        try:
            _work_on(deployment, known, run)
        except ConflictError as error:
            print(f"overtaken: {error}", flush=True)
            time.sleep(0.1)  # the batch is another's until it is done
    raise AssertionError(f"batch {batch} is not done after {PATIENCE_SECONDS} s")


def _work_on(deployment: Deployment, batch: Batch, run: str) -> None:
    snapshot = training.take_training_snapshot(deployment, MODEL, batch.id, run)["snapshot"]
    for candidate in deployment.model(MODEL).candidates:
        training.train_candidate(deployment, MODEL, snapshot, candidate.name)
    training.put_forward_challenger(deployment, MODEL, batch.id, snapshot)


def _publish(deployment: Deployment) -> None:
    by_day = {day: _rows(day) for day in days_between(FIRST, LAST)}
    version = deployment.lake.publish_days(f"datasets/{THINGS}", by_day)
    for day, rows in by_day.items():
        known_at, drop = rows["known_at"].iloc[0].to_pydatetime(), rows["drop_sha256"].iloc[0]
        deployment.ledger.record_partition(THINGS, day, frame_digest(rows), drop, "r", version, len(rows), 0, known_at)


def _rows(day: str) -> pd.DataFrame:
    number, count = int(day[-2:]), 60
    draw = np.random.default_rng(number)
    weight, kind = draw.normal(size=count), draw.choice([*"xyz"], count)
    return pd.DataFrame(
        {
            "id": [number * 1000 + n for n in range(count)],
            "kind": kind,
            "weight": weight,
            "heavy": weight + (kind == "x") + draw.normal(size=count) > 0.5,
            "known_at": pd.Timestamp(day, tz="America/New_York").tz_convert("UTC").as_unit("us"),
            "drop_sha256": digest_of(["drop", day]),
            "recipe": "r",
        }
    )


def _promote(deployment: Deployment, version: int) -> None:
    """By the ledger alone: a verdict, a question, a person's answer."""
    ledger, now = deployment.ledger, datetime.now(UTC)
    ledger.record_verdict(MODEL, version, 0, None, "PROMOTE", [], "0" * 64)
    place = {"dag_id": "d", "run_id": "r", "task_id": "t"}
    ledger.ask_approval(MODEL, version, "0" * 64, ["trainer"], "d", "r", "t", 1, now + timedelta(hours=1))
    ledger.record_answer(
        MODEL, version, **place, try_number=1, answer="Approve", responded_by="approver", responded_by_id="approver",
        responded_at=datetime.now(UTC),
    )  # fmt: skip
    ledger.promote(
        MODEL, version, expected_epoch=0, allowed_approvers=["approver"], four_eyes=True, now=datetime.now(UTC)
    )
    deployment.registry.set_alias(MODEL, "champion", version)


def main(root: str, run: str = "run") -> None:
    print(train(deployment_in(Path(root)), run=run))


if __name__ == "__main__":
    main(*sys.argv[1:])
