"""The loop on a month of real flights, by library calls: what the DAGs and the approver do, in a few words."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml

from ratchet.deployment import Deployment
from ratchet.settings import Settings

REPO = Path(__file__).resolve().parents[2]
MODEL = "flight_delay"
FIRST, LAST = "2013-01-01", "2013-01-30"
FIRST_AS_OF, SECOND_AS_OF = "2013-01-17", "2013-01-31"
# Judge windows of 7 and 14 days: few, so the gate is told to be content with little.
_PROBLEM = yaml.safe_load((REPO / "include" / "models" / "flight_delay.yaml").read_text("utf-8"))["problem"]
SMALL = {
    "problem": {**_PROBLEM, "success": {"metric": "roc_auc", "at_least": 0.5}},
    "first_windows": {"validate_days": 3, "judge_days": 7},
    "windows": {"validate_days": 3, "judge_days": 14},
    "promote_if": {
        "alpha": 0.2,
        "min_days_first": 7,
        "min_days_comparison": 14,
        "no_worse": {"metric": 0.3, "calibration": 0.2, "fairness": 0.9, "latency": 100},
    },
    # No growth: true only once outcomes are at rest, so it would be a matter of how long a test takes.
    "retrain_when": {"cool_down_days": 28},
}
WEAK = [{"name": "weak", "estimator": "hist_gradient_boosting", "params": {"max_iter": 5, "max_leaf_nodes": 3}}]


def make_home(folder: Path, **changes: object) -> Path:
    """A RATCHET_HOME in `folder` (made if need be) with the shipped specs and suites; the model's spec with `changes`,
    top-level keys of its file. In a home that is there already, only the model's spec is written anew."""
    for part in ("include", "great_expectations"):
        if not (folder / part).exists():
            shutil.copytree(REPO / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPO / "requirements.lock", folder)
    shipped = (REPO / "include" / "models" / "flight_delay.yaml").read_text("utf-8")
    changed = yaml.safe_dump({**yaml.safe_load(shipped), **changes})
    (folder / "include" / "models" / "flight_delay.yaml").write_text(changed, "utf-8")
    return folder


def deployment_in(root: Path) -> Deployment:
    var = root / "var"
    return Deployment(
        Settings(
            home=root / "home",
            var=var,
            ledger_url=f"sqlite:///{var / 'ledger' / 'ledger.db'}",
            ledger_key_file=var / "secrets" / "ledger.key",
            ledger_head_file=var / "secrets" / "ledger.head",
            mlflow_tracking_uri=f"sqlite:///{var / 'mlflow' / 'mlflow.db'}",
        )
    )


def redeliver(deployment: Deployment, dataset: str, day: str, change, later: timedelta = timedelta(days=30)) -> None:
    """Delivers the day's drop once more, changed, as a sender does who corrects it."""
    from ratchet.read_drop import MAX_BYTES, read_drop

    spec, drop = deployment.dataset(dataset), deployment.drops.find(dataset, day)
    with deployment.drops.fetched(drop, MAX_BYTES) as path:
        frame = read_drop(path, drop, spec).frame[list(spec.columns)]
    deployment.drops.write(dataset, day, change(frame), drop.delivered_at + later, "a correction")


def train(deployment: Deployment, as_of: str, **request) -> dict:
    """What the train_evaluate DAG does: from a request to a challenger."""
    from ratchet.workflow import training

    request = {"reason": "a test", "source": "person", "actor": "trainer", **request}
    batch = training.request_retrain(deployment, MODEL, as_of=as_of, **request)["batch"]
    snapshot = training.take_training_snapshot(deployment, MODEL, batch, "run")["snapshot"]
    for candidate in deployment.model(MODEL).candidates:
        training.train_candidate(deployment, MODEL, snapshot, candidate.name)
    return training.put_forward_challenger(deployment, MODEL, batch, snapshot)


def ask(deployment: Deployment, version: int, run_id: str | None = None) -> dict:
    from ratchet.workflow import approval

    return approval.ask_approval(deployment, MODEL, version, **place(run_id or f"promote v{version}"))


def place(run_id: str) -> dict:
    """The task run that asks."""
    return {"dag_id": f"{MODEL}.promote", "run_id": run_id, "task_id": "approve_promotion", "try_number": 1}


def answer(
    deployment: Deployment, version: int, by: str | None, say: str = "Approve", run_id: str | None = None, at=None
) -> dict:
    from ratchet.workflow import approval

    return approval.record_answer(
        deployment,
        MODEL,
        version,
        **place(run_id or f"promote v{version}"),
        answer=say,
        responded_by=by,
        responded_by_id=by,
        responded_at=at or datetime.now(UTC),
    )


def promote(deployment: Deployment, version: int) -> dict:
    """What the promote DAG and its approver do."""
    from ratchet.workflow import promotion

    promotion.judge_challenger(deployment, MODEL, version)
    ask(deployment, version)
    answer(deployment, version, "approver")
    return promotion.promote_challenger(deployment, MODEL, version)
