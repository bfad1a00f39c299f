"""Runs of a program that cost no start: processes forked from one that has imported it and done nothing else.

Each is a process of its own, to be killed, stopped and waited for as any other. The program is a module with a
`main(*args)`. Exit status: 0; REFUSED for an error in our words, which it then says; UNEXPECTED for any other.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping
from pathlib import Path

from ratchet.errors import RatchetError

REFUSED, UNEXPECTED = 1, 70  # the traceback of the other is in what it said
_PR_SET_PDEATHSIG = 1


class Forks:
    """Where runs are forked from, for as long as the `with` lasts; for one thread at a time."""

    def __init__(self, program: str) -> None:
        self._program = program

    def __enter__(self) -> Forks:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        path = os.pathsep.join([str(Path(__file__).parent), *(entry for entry in sys.path if entry)])
        environment = {"PYTHONPATH": path, "PATH": os.defpath, "AWS_EC2_METADATA_DISABLED": "true"}
        command = [sys.executable, __file__, self._program]
        self._process = subprocess.Popen(command, **pipes, env=environment)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=10)

    def start(self, *args: str, env: Mapping[str, str]) -> Run:
        """Starts main(*args) with `env` added to its environment."""
        with tempfile.TemporaryDirectory() as folder:
            said = Path(folder) / "said"  # a pipe: it can speak, too, when the disk is full
            os.mkfifo(said)
            reader = os.open(said, os.O_RDONLY | os.O_NONBLOCK)
            pid = self._ask({"args": args, "env": dict(env), "said": str(said)})
            return Run(pid, reader, self)

    def _ask(self, asked: dict) -> int:
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


class Run:
    """A process. `said`: what it has said so far, at most what a pipe holds."""

    def __init__(self, pid: int, reader: int, forks: Forks) -> None:
        self.pid, self.said = pid, ""
        self._reader, self._forks = reader, forks

    def wait(self) -> int:
        """Its exit status when it has ended; the signal that killed it as a negative number. Once."""
        status = self._forks._ask({"wait": self.pid})
        with os.fdopen(self._reader, encoding="utf-8", errors="replace") as said:
            self.said = said.read()
        return status

    def wait_until_stopped(self, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while self._state() != "T":
            if self._state() == "Z" or time.monotonic() > deadline:
                self.kill()
                self.wait()
                raise AssertionError(f"it was not stopped: {self.said}")
            time.sleep(0.02)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def let_files_grow_to(self, size: int) -> None:
        """To this process, the disk is full from now on for whatever would make a file bigger than that. Hands back
        EFBIG and not ENOSPC, in all else the same (Python ignores the signal that comes with it)."""
        resource.prlimit(self.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    def _state(self) -> str:
        return Path(f"/proc/{self.pid}/stat").read_text().rpartition(") ")[2][0]


def _serve(program: str) -> None:
    main = importlib.import_module(program).main
    gc.freeze()  # what is never collected is never copied
    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        asked = json.loads(line)
        if "wait" in asked:
            answer = os.waitstatus_to_exitcode(os.waitpid(asked["wait"], 0)[1])
        else:
            into = os.open(asked["said"], os.O_WRONLY)
            answer = os.fork() or _run(main, asked["args"], asked["env"], into)
            os.close(into)
        answers.write(f"{answer}\n")
        answers.flush()


def _run(main, args: list[str], env: dict[str, str], said: int) -> None:
    status = UNEXPECTED
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        for number, target in enumerate((os.open(os.devnull, os.O_RDONLY), said, said)):
            os.dup2(target, number)
        os.environ.update(env)
        main(*args)
        status = 0
    except RatchetError as error:
        status = REFUSED
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    _serve(sys.argv[1])
