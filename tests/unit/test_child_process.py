"""A program that is run beside us ends in time, with all that it has started, and its last words are kept."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ratchet.child_process import run_child
from ratchet.errors import NotReproducedError


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until(state: Callable[[], bool], seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not state():
        assert time.monotonic() < until
        os.sched_yield()


def test_one_that_does_not_end_is_killed_with_all_that_it_started():
    with pytest.raises(NotReproducedError, match="it hangs") as caught:
        run_child(["/bin/sh", "-c", "sleep 600 & echo $!; wait"], {}, "it hangs", seconds=2)
    told = caught.value.seen
    assert told.startswith("not done after 0.000556 hours, killed: ")
    wait_until(lambda: not is_running(int(told.split()[-1])))


def test_what_one_has_started_ends_with_it_even_when_it_ends_well(tmp_path):
    pid = tmp_path / "pid"
    run_child(["/bin/sh", "-c", f"sleep 600 & echo $! > {pid}"], {}, "it fails", seconds=600)
    wait_until(lambda: not is_running(int(pid.read_text())))


def test_one_dies_with_us_though_whoever_kills_our_group_does_not_reach_it(tmp_path):
    pid = tmp_path / "pid"
    child = ["/bin/sh", "-c", f"echo $$ > {pid}.new; mv {pid}.new {pid}; exec sleep 600"]
    ours = f"from ratchet.child_process import run_child; run_child({child}, {{}}, 'it waits', 600)"
    with subprocess.Popen([sys.executable, "-c", ours], process_group=0) as parent:
        wait_until(pid.exists)
        os.killpg(parent.pid, signal.SIGKILL)
    wait_until(lambda: not is_running(int(pid.read_text())))


def test_one_that_is_not_there_is_told():
    with pytest.raises(NotReproducedError, match="it fails") as caught:
        run_child(["/no/such/program"], {}, "it fails", seconds=600)
    assert "No such file" in caught.value.seen and caught.value.where == "program"


def test_of_what_a_failed_one_has_said_the_end_is_told():
    program = "import sys; print('x' * 9999); print('out'); sys.stdout.flush(); sys.exit('no wheel for numpy')"
    with pytest.raises(NotReproducedError, match="it fails") as caught:
        run_child([sys.executable, "-c", program], {}, "it fails", seconds=600)
    assert caught.value.seen.startswith("exit status 1: xx") and caught.value.seen.endswith("x out no wheel for numpy")
    assert len(caught.value.seen) < 700


def test_one_that_ends_well_is_no_error_and_reads_nothing_of_ours(tmp_path):
    program = "import os, sys; assert sys.stdin.read() == ''; print(*sorted(os.environ), file=open(sys.argv[1], 'w'))"
    run_child([sys.executable, "-c", program, str(tmp_path / "seen")], {"ONE": "1"}, "none", seconds=600)
    assert set((tmp_path / "seen").read_text().split()) - {"LC_CTYPE"} == {"ONE"}
