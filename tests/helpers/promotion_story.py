"""How a champion comes and goes, as a program that can be killed anywhere and run again:

    python promotion_story.py ROOT STORY

`prepare` makes ROOT/<stage> for each story: version 1 is champion and has served; version 2 is a better challenger, or
champion already. The same calls as the DAGs and the approver; each is told as done once it has returned.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import training_story
import yaml
from small_loop import deployment_in
from spoiled_models import flip_a_bit
from training_story import DATASET, MODEL, SPEC, THINGS

from ratchet import gate, model_card  # heavy, as the next three: imported before runs are forked
from ratchet.days import days_between
from ratchet.deployment import Deployment
from ratchet.digests import frame_digest
from ratchet.errors import FirstScoringError
from ratchet.evaluation import evaluate
from ratchet.registry import Registry
from ratchet.score import score_days
from ratchet.workflow import approval, dispatch, promotion, scoring

PRELOADED = (gate, model_card, evaluate, Registry, score_days)
FIRST, LAST = "2013-01-01", "2013-01-24"
BEFORE, AS_OF = "2013-01-13", "2013-01-23"  # what versions 1 and 2 know
SERVED = days_between(BEFORE, "2013-01-22")  # what version 1 has scored
TREE = {"name": "tree", "estimator": "sklearn.tree.DecisionTreeClassifier"}
LENIENT = {"metric": 0.5, "calibration": 0.9, "latency": 1000.0}
CHANGES = {
    "first_windows": {"validate_days": 2, "judge_days": 4},
    "windows": {"validate_days": 2, "judge_days": 4},
    "promote_if": {
        "alpha": 0.2,
        "min_days_first": 2,
        "min_days_comparison": 4,
        "min_rows": 50,
        "implausible_jump": None,
        "no_worse": LENIENT,
    },
}


def prepare(root: Path) -> dict[str, Path]:
    """{story: the world it starts in}."""
    worlds = {"whole": root / "whole"}
    deployment = _reigning(worlds["whole"])
    training_story.train(deployment, AS_OF)
    for story, ready in READY.items():
        worlds[story] = Path(shutil.copytree(worlds["whole"], root / story))
        ready(deployment_in(worlds[story]))
    return worlds


def _reigning(root: Path) -> Deployment:
    _write_home(root, candidates=[{**TREE, "params": {"max_depth": 1}}])
    deployment = deployment_in(root)
    _publish(deployment)
    training_story.train(deployment, BEFORE)
    _judge_and_approve(deployment, 1)
    promotion.promote_challenger(deployment, MODEL, 1)
    scoring.score_partitions(deployment, MODEL, SERVED)
    _write_home(root, candidates=[{**TREE, "params": {"max_depth": 4}}])
    return deployment_in(root)


def _write_home(root: Path, **changes: object) -> None:
    for folder, name, content in (("datasets", THINGS, DATASET), ("models", MODEL, {**SPEC, **CHANGES, **changes})):
        file = root / "home" / "include" / folder / f"{name}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(yaml.safe_dump(content), "utf-8")
    (root / "home" / "requirements.lock").write_text("")


def _publish(deployment: Deployment) -> None:
    by_day = {day: training_story._rows(day) for day in days_between(FIRST, LAST)}
    version = deployment.lake.publish_days(f"datasets/{THINGS}", by_day)
    for day, rows in by_day.items():
        known_at, drop = rows["known_at"].iloc[0].to_pydatetime(), rows["drop_sha256"].iloc[0]
        deployment.ledger.record_partition(THINGS, day, frame_digest(rows), drop, "r", version, len(rows), 0, known_at)


def _judge_and_approve(deployment: Deployment, version: int) -> None:
    _told("judged", promotion.judge_challenger(deployment, MODEL, version)["verdict"])
    _ask_and_answer(deployment, version)


def _demand(deployment: Deployment) -> None:
    asked = {"actor": "operator", "reason": "the champion does harm", "run_id": "run 2"}
    _told("demanded", approval.break_glass(deployment, MODEL, 2, **asked)["digest"])
    _ask_and_answer(deployment, 2, glass_run="run 2")


def _ask_and_answer(deployment: Deployment, version: int, glass_run: str | None = None) -> None:
    place = {"dag_id": "promote", "run_id": f"run {version}", "task_id": "approve", "try_number": 1}
    _told("asked", approval.ask_approval(deployment, MODEL, version, **place, glass_run=glass_run)["verdict_digest"])
    said = {"responded_by": "approver", "responded_by_id": "approver", "responded_at": datetime.now(UTC)}
    _told("answered", approval.record_answer(deployment, MODEL, version, **place, answer="Approve", **said)["by"])


def _promote(deployment: Deployment) -> None:
    _told("champion", promotion.promote_challenger(deployment, MODEL, 2)["epoch"])


def _promote_by_glass(deployment: Deployment) -> None:
    _told("champion", promotion.promote_challenger(deployment, MODEL, 2, glass_run="run 2")["epoch"])


def _from_judging_on(deployment: Deployment) -> None:
    if deployment.ledger.challenger(MODEL, 2).status != "promoted":  # else dispatch would not start it
        _judge_and_approve(deployment, 2)
    _promote(deployment)


def _from_demanding_on(deployment: Deployment) -> None:
    if deployment.ledger.challenger(MODEL, 2).status != "promoted":
        _demand(deployment)
    _promote_by_glass(deployment)


def _roll_back(deployment: Deployment) -> None:
    asked = {"to_version": None, "actor": "operator", "reason": "alarms at night", "run_id": "night"}
    _told("champion", promotion.rollback_champion(deployment, MODEL, **asked)["epoch"])


def _score(deployment: Deployment) -> None:
    """Until nothing is due, as dispatch has it done."""
    while days := scoring.due_days(deployment, deployment.model(MODEL)):
        try:
            _told("scored", scoring.score_partitions(deployment, MODEL, days)["version"])
        except FirstScoringError:
            _told("champion", deployment.ledger.champion(MODEL).epoch)


def _spoil(deployment: Deployment) -> None:
    """Version 2 is champion, and then its file is another."""
    _from_judging_on(deployment)
    flip_a_bit(deployment, MODEL, 2)


def _told(what: str, value: object) -> None:
    print(what, value, flush=True)


READY: dict[str, Callable[[Deployment], None]] = {
    "promote": lambda deployment: _judge_and_approve(deployment, 2),
    "whole_glass": lambda deployment: None,
    "promote_by_glass": _demand,
    "roll_back": _from_judging_on,
    "score": _spoil,
}
STORIES: dict[str, Callable[[Deployment], None]] = {
    "whole": _from_judging_on,
    "promote": _promote,
    "whole_glass": _from_demanding_on,
    "promote_by_glass": _promote_by_glass,
    "roll_back": _roll_back,
    "score": _score,
    "sweep": dispatch.keep_house,
}


def main(root: str, story: str) -> None:
    STORIES[story](deployment_in(Path(root)))


if __name__ == "__main__":
    main(*sys.argv[1:])
