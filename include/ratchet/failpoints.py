"""Named points of no return, at which a test can kill the process or hold it.

`failpoint(name)` does nothing unless the environment names a file in RATCHET_FAILPOINT_FILE, and that file holds the
point's name, a signal and how often to pass it by first (`lake.datasets.before_commit SIGKILL 0`): then the file is
deleted, so that it fires once, and the process sends itself that signal. SIGSTOP holds it until somebody sends SIGCONT.
A file named by RATCHET_FAILPOINT_LOG gets a line for each point passed: how a test learns which there are.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

# Kinds of lake tables.
TABLES = ("quality", "history", "quarantine", "refused", "datasets", "predictions", "shadow", "drift")
FAILPOINTS = {
    **{f"lake.{kind}.before_commit": f"rows of {kind} are ready, the table is as it was" for kind in TABLES},
    **{f"lake.{kind}.after_commit": f"{kind} has a new version that nobody has heard of" for kind in TABLES},
    "lake.before_delete": "a file that no reader needs is about to go, others may be gone",
    "forget.file_rewritten": "a drop without the rows is there, the manifest still names the one with them",
    "forget.manifest_replaced": "the manifest names the drop without the rows, the one with them is still there",
    "forget.file_deleted": "of a day's files with the rows one is gone",
    "forget.snapshot_deleted": "of a training snapshot's files one is gone",
    "storage.before_write": "an object is about to be put, what lies there is as it was",
    "storage.before_rename": "an object's bytes are in its folder, under a name that nobody reads",
    "storage.after_write": "an object is there, what would tell of it isn't",
    "registry.run_created": "a candidate's run is there, with nothing in it",
    "registry.model_saved": "the model's files are with MLflow, the run isn't finished",
    "registry.run_finished": "the run is finished, the ledger does not know of it",
    "registry.before_version": "the files were read back, no version is made of them yet",
    "registry.after_version": "a version is there that the ledger does not know",
    "registry.before_delete": "a second version of one identity is about to go",
    "training.trial_fitted": "a trial of a search was measured, nobody has heard of it",
    "training.before_log": "a candidate is fitted, no run tells of it",
    "training.before_alias": "the challenger is on record, MLflow's alias does not name it",
    "promotion.before_alias": "the champion has moved, MLflow's alias names the one before",
    "ledger.begin.before_commit": "the key is there, the ledger isn't",
    "ledger.begin.after_commit": "the ledger is there, its head file isn't",
    "ledger.before_commit": "rows and event are written, not committed",
    "ledger.after_commit": "committed, the head file does not know it yet",
}


def failpoint(name: str) -> None:
    """Fires the point if it is armed. KeyError for a name that FAILPOINTS doesn't list."""
    _known(name)
    if passed := os.environ.get("RATCHET_FAILPOINT_LOG"):
        with open(passed, "a") as log:
            log.write(f"{name}\n")
    armed = os.environ.get("RATCHET_FAILPOINT_FILE")
    if armed and Path(armed).exists():
        _fire(name, Path(armed))


def arm(file: Path, name: str, sent: signal.Signals, skip: int = 0) -> None:
    """Arms one point, for processes whose RATCHET_FAILPOINT_FILE is `file`: it fires when it is passed the `skip` + 1st
    time."""
    _known(name)
    unfinished = file.with_suffix(".new")
    unfinished.write_text(f"{name} {sent.name} {skip}")
    unfinished.rename(file)


def _known(name: str) -> None:
    if name not in FAILPOINTS:
        raise KeyError(name)


def _fire(name: str, armed: Path) -> None:
    try:
        wanted, sent, skip = armed.read_text().split()
        if wanted != name:
            return
        armed.unlink()
    except FileNotFoundError:  # another process was quicker
        return
    if int(skip):
        arm(armed, name, signal.Signals[sent], int(skip) - 1)
    else:
        os.kill(os.getpid(), signal.Signals[sent])
