"""Locks of which one process at a time has its turn: waited for, but not for ever, and who holds them."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ratchet.errors import LedgerError

WAIT_SECONDS = 60  # for whoever is before us
_LOOK_EVERY = 0.02  # seconds


@contextmanager
def lock_beside(path: Path) -> Iterator[None]:
    """Hold `<path>.lock`, among the processes and threads of this host. Raises LedgerError, to be tried again, when
    another one holds it for WAIT_SECONDS."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = Path(f"{path}.lock")
    handle = os.open(lock, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        _wait_for(handle, lock)
        yield
    finally:
        os.close(handle)


def still_held(by: list[int], waited: float, where: object) -> LedgerError:
    """The error of who has waited long enough. `by`: the processes that hold the lock, where that is known."""
    who = f"process {', '.join(map(str, by))} of this host" if by else "another process"
    return LedgerError(
        "another process holds the lock: nothing more was written",
        seen=f"held by {who}",
        expected=f"free within {waited} s",
        where=where,
        hint="run again once that process is done; one that is stopped or hangs has to be continued or ended: whatever "
        "it had not committed is undone, and what is done stays done",
    )


def holders(path: Path) -> list[int]:
    """The processes that hold a lock on a file against all others, as Linux tells it; none where it doesn't."""
    try:
        inode, locks = path.stat().st_ino, Path("/proc/locks").read_text().splitlines()
    except OSError:
        return []
    held = [line.split()[-5:] for line in locks if "->" not in line]  # an arrow: somebody who waits
    found = {int(pid) for kind, pid, file, *_ in held if kind == "WRITE" and file.endswith(f":{inode}")}
    return sorted(found - {0, -1})  # those stand for processes that can't be seen from here


def _wait_for(handle: int, lock: Path) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise still_held(holders(lock), WAIT_SECONDS, lock) from None
        time.sleep(_LOOK_EVERY)
