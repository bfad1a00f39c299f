"""Named points of no return, at which a test can kill the process or hold it.

`failpoint(name)` does nothing unless the environment names a file in RATCHET_FAILPOINT_FILE, and that file holds the
point's name and a signal (`lake.publish.before_commit SIGKILL`): then the file is deleted, so that a point fires once,
and the process sends itself that signal. SIGSTOP holds it until somebody sends SIGCONT.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

FAILPOINTS = {
    "lake.publish.before_commit": "rows are ready, the table is as it was",
    "lake.publish.after_commit": "the table has a new version that nobody has heard of",
}


def failpoint(name: str) -> None:
    """Fires the point if it is armed. KeyError for a name that FAILPOINTS doesn't list."""
    _known(name)
    armed = os.environ.get("RATCHET_FAILPOINT_FILE")
    if armed and Path(armed).exists():
        _fire(name, Path(armed))


def arm(file: Path, name: str, sent: signal.Signals) -> None:
    """Arms one point, for processes whose RATCHET_FAILPOINT_FILE is `file`."""
    _known(name)
    unfinished = file.with_suffix(".new")
    unfinished.write_text(f"{name} {sent.name}")
    unfinished.rename(file)


def _known(name: str) -> None:
    if name not in FAILPOINTS:
        raise KeyError(name)


def _fire(name: str, armed: Path) -> None:
    try:
        wanted, sent = armed.read_text().split()
        if wanted != name:
            return
        armed.unlink()
    except FileNotFoundError:  # another process was quicker
        return
    os.kill(os.getpid(), signal.Signals[sent])
