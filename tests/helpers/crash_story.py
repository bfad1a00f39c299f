"""A few days in the life of one dataset and one model, as a program that can be killed anywhere and run again:

    python crash_story.py ROOT [STORAGE]

Drops land, are ingested (some rows go to quarantine, one day is refused), one day is restated, a training's snapshot is
kept, the days are scored and the predictions checked. Every step is such that doing it again changes nothing, so a
second run finishes what a killed one began. Landing zone and lake lie in STORAGE (by default ROOT), the ledger in
ROOT/ledger. The same calls as in ratchet.workflow, without MLflow and the time that it takes.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd

from ratchet.digests import digest_of
from ratchet.drops import DropStore
from ratchet.errors import ValidationFailedError
from ratchet.ingest import ingest_days, ingest_new
from ratchet.lake import Lake
from ratchet.ledger import database, open_ledger
from ratchet.published import Published
from ratchet.score import score_days
from ratchet.settings import get_settings
from ratchet.snapshot import save_snapshot, take_snapshot
from ratchet.specs import DatasetSpec, ModelSpec
from ratchet.storage import open_storage
from ratchet.windows import TrainingWindows, Window

THINGS, MODEL = "things", "things_model"
GOOD, BAD = ["2013-01-01", "2013-01-02", "2013-01-03"], "2013-01-04"
RESTATED, AS_OF = GOOD[0], "2013-01-31"
WINDOWS = TrainingWindows(*(Window(day, day) for day in GOOD))
SPEC = DatasetSpec(
    name=THINGS,
    description="things",
    owner="us",
    time_zone="America/New_York",
    starts="2013-01-01",
    key=["id"],
    columns={"id": "int64", "name": "string", "weight": "float64", "heavy": "bool", "seen_at": "timestamp"},
    max_quarantined_share=0.3,
)
SUITE = {
    "name": THINGS,
    "expectations": [
        {"type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": 3}},
        {
            "type": "expect_column_values_to_be_between",
            "kwargs": {"column": "weight", "min_value": 0, "max_value": 100},
        },
    ],
}
MODEL_SPEC = ModelSpec.model_validate(
    {
        "name": MODEL,
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
        "feature_function": "crash_story:features",
        "label_function": "crash_story:labels",
        "numeric_features": ["weight"],
        "label_delay_days": 1,
        "promote_if": {"min_days_first": 2, "min_days_comparison": 2},
        "first_windows": {"validate_days": 1, "judge_days": 1},
        "windows": {"validate_days": 1, "judge_days": 1},
        "candidates": [{"name": "base", "estimator": "base_rate"}],
        "approval": {"approvers": ["approver"]},
        "score_when": {"complete": [THINGS]},
    }
)
CHAMPION = SimpleNamespace(version=1, model_digest="d" * 64)


class Estimator:
    """A champion that needs no fitting."""

    classes_ = (0, 1)

    def predict_proba(self, inputs: pd.DataFrame) -> np.ndarray:
        score = 1 / (1 + np.exp(-inputs["weight"].to_numpy("float64")))
        return np.column_stack([1 - score, score])


def features(things: pd.DataFrame) -> pd.DataFrame:
    return things[["weight"]]


def labels(things: pd.DataFrame) -> pd.DataFrame:
    return things[["id"]].assign(label=things["heavy"].astype("int64"))


class Story:
    """Its steps in order are `tell`; the ones before have been done when one begins."""

    def __init__(self, root: Path, storage: str | None = None) -> None:
        self.root, place = root, open_storage(storage or root)
        self.drops, self.lake = DropStore(place.below("landing")), Lake(place.below("lake"))

    def tell(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        self.suite = self.root / "suite.json"
        self.suite.write_text(json.dumps(SUITE))
        self.ledger = open_ledger(settings_in(self.root), actor="story")
        self.published = Published(self.lake, self.ledger)
        for step in (self.land, self.ingest, self.restate, self.ingest_the_restated, self.snapshot, self.score):
            step()
        self.check()

    def land(self) -> None:
        """Once a day: what has been restated is not to be delivered as it was."""
        delivered = set(self.drops.days(THINGS))
        for day in [*GOOD, BAD]:
            if day not in delivered:
                self._deliver(day, rows(day).iloc[4:7] if day == BAD else rows(day), hours=1)

    def ingest(self) -> None:
        with suppress(ValidationFailedError):  # of the bad day, in each run that meets it
            ingest_days(SPEC, [*GOOD, BAD], **self._adapters())

    def restate(self) -> None:
        self._deliver(RESTATED, rows(RESTATED).assign(weight=lambda frame: frame["weight"] + 0.5), hours=2)

    def ingest_the_restated(self) -> None:
        ingest_new(SPEC, **self._adapters())

    def snapshot(self) -> None:
        taken = take_snapshot(MODEL_SPEC, {THINGS: SPEC}, self.published, AS_OF, WINDOWS)
        save_snapshot(taken, self.lake.storage)
        self.ledger.record_snapshot(MODEL, taken.digest, AS_OF, taken.manifest["partitions"])

    def score(self) -> None:
        digests = {one.day: digest_of([one.digest]) for one in self.ledger.partitions(THINGS)}
        done = {day: one.inputs_digest for day, one in self.ledger.scored_days(MODEL).items()}
        todo = {day: digest for day, digest in digests.items() if done.get(day) != digest}
        at = datetime(2013, 2, 1, tzinfo=UTC)
        told = (MODEL_SPEC, {THINGS: SPEC}, self.published, Estimator(), CHAMPION, todo)
        for day in score_days(*told, scored_at=at):
            self.ledger.record_scored(MODEL, day.day, todo[day.day], CHAMPION.version, day.rows, day.table_version)

    def check(self) -> None:
        key, table = digest_of([AS_OF, CHAMPION.version]), f"drift/{MODEL}"
        if any(known.key == key for known in self.ledger.checks(MODEL)):
            return
        read_at = self.lake.state(table)
        self.lake.publish(table, AS_OF, pd.DataFrame({"column": ["weight"], "statistic": [0.1]}), read_at=read_at)
        self.ledger.record_check(MODEL, AS_OF, CHAMPION.version, key, {"drifted": False}, None)

    def _deliver(self, day: str, frame: pd.DataFrame, hours: int) -> None:
        start = datetime.fromisoformat(day).replace(tzinfo=SPEC.zone)
        at = (start + timedelta(days=1)).astimezone(UTC) + timedelta(hours=hours)
        self.drops.write(THINGS, day, frame, at, "story")

    def _adapters(self) -> dict:
        return {"drops": self.drops, "suite_path": self.suite, "lake": self.lake, "ledger": self.ledger}


def settings_in(root: Path):
    folder = root / "ledger"
    files = {"ledger_key_file": folder / "key", "ledger_head_file": folder / "head"}
    return replace(get_settings(), var=root, ledger_url=f"sqlite:///{folder / 'ledger.db'}", **files)


def rows(day: str) -> pd.DataFrame:
    """Eight rows; two of them are to be set aside, for what they weigh and as they can't be read."""
    start, number = pd.Timestamp(day, tz=SPEC.time_zone).tz_convert("UTC"), int(day[-2:])
    frame = pd.DataFrame(
        {
            "id": [number * 100 + n for n in range(8)],
            "name": [*"abc", None, *"efgh"],
            "weight": [n + number / 10 for n in range(8)],
            "heavy": [n > 3 for n in range(8)],
            "seen_at": [start + pd.Timedelta(hours=n) for n in range(8)],
        }
    ).astype({"id": object})
    frame.loc[5, "weight"], frame.loc[6, "id"] = 999.0, "six"
    return frame


def main(root: str, storage: str | None = None) -> None:
    """CRASH_STORY_PATIENCE of the environment: for how many seconds it waits for another writer of the ledger."""
    database.WAIT_SECONDS = int(os.environ.get("CRASH_STORY_PATIENCE") or database.WAIT_SECONDS)
    Story(Path(root), storage).tell()


if __name__ == "__main__":
    main(*sys.argv[1:])
