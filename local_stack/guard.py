"""Runs one server and leaves nothing behind: `python guard.py NAME RESTARTS ARGV...`, with a pipe as standard input.

The guard ends the server and every descendant of it when the pipe closes: when its owner asks for that, and also when
its owner dies, however it dies. A process group is not enough, because Airflow puts each task into a group of its own;
so the guard is made the reaper of its descendants' orphans and can always walk down to all of them.

A server that has ended by itself is started again, up to RESTARTS times, and each time the guard says so on its
standard error. One that did not live for SETTLED_SECONDS is not: it would not live longer the next time. The server's
own output, standard error too, goes to the guard's standard output.

Imports the standard library only: it starts in 20 ms and stays small.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
POLITE_SECONDS = 4.0
LAST_SECONDS = 3.0
SETTLED_SECONDS = 2.0

_libc = ctypes.CDLL(None, use_errno=True)


def _die_with_guard() -> None:
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def children() -> dict[int, list[int]]:
    """Parent pid to child pids, for every process of the machine, from /proc."""
    tree: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat") as file:
                    state, parent = file.read().rpartition(")")[2].split()[:2]
            except OSError:  # ended meanwhile
                continue
            if state != "Z":
                tree.setdefault(int(parent), []).append(int(name))
    return tree


def descendants(pid: int) -> list[int]:
    """Every living process below `pid`, parents before children."""
    tree, found = children(), [pid]
    for parent in found:
        found += tree.get(parent, [])
    return found[1:]


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _send(pids: list[int], sig: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, sig)


def _wait(done: Callable[[], bool], seconds: float) -> bool:
    """Whether `done` came true within `seconds`; reaps meanwhile."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        _reap()
        if done():
            return True
        time.sleep(0.05)
    return False


def end_all(server_pid: int) -> None:
    """TERM to the server's group, then to all that is left (tasks at work), then KILL until nothing is left."""
    me = os.getpid()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(server_pid, signal.SIGTERM)
    _wait(lambda: server_pid not in descendants(me), POLITE_SECONDS)
    _send(descendants(me), signal.SIGTERM)
    _wait(lambda: not descendants(me), LAST_SECONDS)
    while remaining := descendants(me):
        _send(remaining, signal.SIGKILL)
        _wait(lambda: not descendants(me), 0.5)


def main(argv: list[str]) -> int:
    name, restarts, server_argv = argv[0], int(argv[1]), argv[2:]
    asked_to_stop = []
    wake_read, wake_write = os.pipe()  # signals write here, so that select() wakes up
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGTERM, lambda *_: asked_to_stop.append(True))
    _libc.prctl(PR_SET_CHILD_SUBREAPER, 1)

    def run_once() -> int | None:
        """Runs the server to its end: its exit code, or None if it was ended because the owner wants no more of it."""
        server = subprocess.Popen(
            server_argv,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_die_with_guard,
        )
        wanted = True
        while wanted and server.poll() is None:
            ready = select.select([0, wake_read], [], [])[0]
            if wake_read in ready:
                os.read(wake_read, 4096)
            wanted = not asked_to_stop and not (0 in ready and not os.read(0, 4096))
        exit_code = server.returncode
        end_all(server.pid)
        return exit_code if wanted else None

    for restarts_left in range(restarts, -1, -1):
        began = time.monotonic()
        exit_code = run_once()
        if exit_code is None:
            return 0
        if restarts_left and time.monotonic() - began >= SETTLED_SECONDS:
            told = (
                f"{name} ended by itself (exit code {exit_code}): starting it again, {restarts_left - 1} restarts left"
            )
            print(f"      {told}", file=sys.stderr, flush=True)
        else:
            break
    return exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
