"""A challenger beside a champion on seven weeks of small days, as a program that can be killed anywhere and run again:

    python field_story.py ROOT STORY

`prepare` makes ROOT: version 1, a weak one, is champion and has scored the days up to SERVED; version 2, a better one,
has a verdict that passes and waits. The same calls as the DAGs.
"""

from __future__ import annotations

import sys
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import promotion_story
import training_story
from promotion_story import BEFORE, MODEL, TREE, _told
from small_loop import deployment_in
from training_story import THINGS

from ratchet.days import days_between, shift_day
from ratchet.deployment import Deployment
from ratchet.digests import digest_of, frame_digest
from ratchet.field_test import evidence, page, routing, safety  # heavy, as the next: imported before runs are forked
from ratchet.registry import Registry
from ratchet.workflow import canary, dispatch, scoring, shadow, weighing

PRELOADED = (evidence, page, routing, safety, Registry, dispatch)
FIRST, AS_OF, SERVED, LAST = "2013-01-01", "2013-01-23", "2013-02-24", "2013-03-03"
SHARE, CANARY_DAYS, VERDICT, SPOILED = 0.3, 4, "2" * 64, 10
CANARY = {"share": SHARE, "actor": "approver", "reason": "is it safe?", "run_id": "canary run"}
CHANGES = {"field_test": {"canary_share": SHARE, "canary_days": CANARY_DAYS}, "approval": {"approvers": ["approver"]}}


def prepare(root: Path) -> Deployment:
    promotion_story._write_home(root, **CHANGES, candidates=[{**TREE, "params": {"max_depth": 1}}])
    deployment = deployment_in(root)
    publish(deployment, days_between(FIRST, LAST))
    training_story._promote(deployment, training_story.train(deployment, BEFORE))
    scoring.score_partitions(deployment, MODEL, days_between(BEFORE, SERVED))
    promotion_story._write_home(root, **CHANGES, candidates=[{**TREE, "params": {"max_depth": 4}}])
    deployment = deployment_in(root)
    training_story.train(deployment, AS_OF)
    deployment.ledger.record_verdict(MODEL, 2, 1, 1, "PROMOTE", [], VERDICT)
    return deployment


def publish(deployment: Deployment, days: list[str], weight: float = 0.0) -> None:
    """`weight`: added to each row's, as a corrected drop has it."""
    by_day = {day: rows_of(day).assign(weight=lambda rows: rows["weight"] + weight) for day in days}
    version = deployment.lake.publish_days(f"datasets/{THINGS}", by_day)
    for day, rows in by_day.items():
        known_at, drop = rows["known_at"].iloc[0].to_pydatetime(), digest_of([day, weight])
        facts = (frame_digest(rows), drop, "r", version, len(rows), 0, known_at + timedelta(hours=weight))
        deployment.ledger.record_partition(THINGS, day, *facts)


def rows_of(day: str) -> pd.DataFrame:
    number, count = date.fromisoformat(day).toordinal(), 60
    draw = np.random.default_rng(number)
    weight, kind = draw.normal(size=count), draw.choice([*"xyz"], count)
    return pd.DataFrame(
        {
            "id": [number * 1000 + n for n in range(count)],
            "kind": kind,
            "weight": weight,
            "heavy": weight + (kind == "x") + draw.normal(size=count) * 0.5 > 0.5,
            "known_at": pd.Timestamp(day, tz="America/New_York").tz_convert("UTC").as_unit("us"),
            "drop_sha256": digest_of([day, 0.0]),
            "recipe": "r",
        }
    )


def spoil_labels(monkeypatch) -> None:
    """From here on the SPOILED first rows of each day bear a label that is none."""
    monkeypatch.setattr(training_story, "labels", _spoiled)


def _spoiled(things: pd.DataFrame) -> pd.DataFrame:
    label = things["heavy"].astype("int64").where(things["id"] % 1000 >= SPOILED, 7)
    return things[["id"]].assign(label=label)


def score_next(deployment: Deployment, days: int = 1) -> dict:
    """The next days that the champion has not scored."""
    newest = max(deployment.ledger.scored_days(MODEL))
    return scoring.score_partitions(deployment, MODEL, days_between(shift_day(newest, 1), shift_day(newest, days)))


def _score(deployment: Deployment) -> None:
    """All that is due, as dispatch has it done."""
    while days := scoring.due_days(deployment, deployment.model(MODEL)):
        _told("scored", len(scoring.score_partitions(deployment, MODEL, days)["scored"]))


def _shadow(deployment: Deployment) -> None:
    _told("shadowed", shadow.score_shadow(deployment, MODEL)["rows"])
    _told("weighed", weighing.weigh_evidence(deployment, MODEL)["state"])


STORIES = {
    "score": _score,
    "shadow": _shadow,
    "start": lambda deployment: _told("canary", canary.start_canary(deployment, MODEL, 2, **CANARY)["canary"]),
}


def main(root: str, story: str) -> None:
    STORIES[story](deployment_in(Path(root)))


if __name__ == "__main__":
    main(*sys.argv[1:])
