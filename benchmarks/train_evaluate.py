"""The train_evaluate run through a live Airflow, against the same library calls in one process, cold and warm.

All three work on one var folder and one MLflow server, on the same rows, with the same variables in their environment.
The same inputs are found and not trained again, so each training gets a seed of its own; with these candidates a seed
changes no amount of work. Each must end in a new model version, or the measurement fails.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from benchmarks.calls import MODEL
from benchmarks.machine import memory_mib
from local_stack.environment import REPO
from local_stack.errors import StackError
from local_stack.servers import Stack, running_stack

DAG_ID = f"{MODEL}.train_evaluate"
FIRST, LAST, AS_OF = "2013-01-01", "2013-03-31", "2013-04-01"
WAYS = ("airflow", "cold", "warm")
# Only the DAG measured runs: no dispatch, promotion or nightly ingestion beside it.
PAUSED = {"AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "True"}


@dataclass
class Measured:
    """Seconds of each training, in the order taken. `first_airflow` is the first run after the start, on its own.

    `tasks`: of each Airflow run, [(task, queued, started, ended)] in seconds after the trigger. `steps`: of each cold
    or warm training, {call: seconds}. `peak_mib`: of each way; Airflow's is all its servers, workers and MLflow.
    """

    seconds: dict[str, list[float]] = field(default_factory=lambda: {way: [] for way in WAYS})
    first_airflow: float = 0.0
    tasks: list[list[tuple[str, float, float, float]]] = field(default_factory=list)
    steps: dict[str, list[dict[str, float]]] = field(default_factory=lambda: {"cold": [], "warm": []})
    peak_mib: dict[str, float] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)


def measure(folder: Path, repeat: int, say: Callable[[str], None]) -> Measured:
    """Take every figure, on a stack whose state is below `folder`."""
    home = _make_home(folder / "home")
    stack = running_stack(
        folder / "var", home=home, dags=REPO / "dags", plugins=REPO / "plugins", extra=PAUSED, say=say
    )
    with stack as running:
        os.environ.update(running.client)  # this process files the requests, and checks what became of them
        bench = _Bench(running, home)
        say(f"landing and ingesting {FIRST} to {LAST}")
        bench.calls("ingest", FIRST, LAST)
        running.api().wait_for_dags([DAG_ID])
        running.api().unpause(DAG_ID)
        with bench.warm_process():
            bench.take(repeat, say)
    return bench.measured


class _Bench:
    def __init__(self, stack: Stack, home: Path) -> None:
        self.stack, self.home, self.api = stack, home, stack.api()
        self.measured, self._warm, self._trainings = Measured(), None, 0
        # What the tasks get, without what is Airflow's own.
        own = ("AIRFLOW_", "PYTHONPATH")
        self._variables = {k: v for k, v in stack.environment.airflow.items() if not k.startswith(own)}
        self._log = (stack.environment.var / "logs" / "benchmark-calls.log").open("ab")

    def take(self, repeat: int, say: Callable[[str], None]) -> None:
        """The first runs of Airflow and of the warm process on their own, then every way in turn, `repeat` times."""
        measured = self.measured
        self.warm()
        measured.first_airflow = self.airflow()[0]
        say(f"first run of Airflow after its start: {measured.first_airflow:.1f} s")
        for repetition in range(repeat):
            turn = repetition % len(WAYS)
            for way in (*WAYS[turn:], *WAYS[:turn]):
                seconds, detail = getattr(self, way)()
                measured.seconds[way].append(seconds)
                (measured.tasks if way == "airflow" else measured.steps[way]).append(detail)
            told = ", ".join(f"{way} {measured.seconds[way][-1]:.1f} s" for way in WAYS)
            say(f"repetition {repetition + 1} of {repeat}: {told}")
        with _memory_peak([server.guard.pid for server in self.stack.servers], measured.peak_mib):
            self.airflow()  # not timed: looking at memory takes time too

    # --- the three ways: (seconds, where they went) ---------------------------------------------------------------

    def airflow(self) -> tuple[float, list]:
        """From just before the API call that triggers the run to the end that Airflow records for it."""
        with self._fresh_batch() as batch:
            began = time.time()
            run_id = self.api.trigger(DAG_ID, conf={"batch": batch})["dag_run_id"]
            run = self.api.wait_for_run(DAG_ID, run_id)
            seconds = _instant(run["end_date"]) - began
        tasks = self.api.task_instances(DAG_ID, run_id)
        moments = ("queued_when", "start_date", "end_date")
        seen = [(_name(task), *(_instant(task[moment]) - began for moment in moments)) for task in tasks]
        return seconds, sorted(seen, key=lambda task: task[2])

    def cold(self) -> tuple[float, dict]:
        """From the start of Python to its exit."""
        with self._fresh_batch() as batch:
            began = time.perf_counter()
            told = self.calls("train", batch)
            seconds = time.perf_counter() - began
        return seconds, self._keep("cold", told)

    def warm(self) -> tuple[float, dict]:
        """From the request to the answer of a process that has made these calls before."""
        with self._fresh_batch() as batch:
            began = time.perf_counter()
            self._warm.stdin.write(f"{batch}\n")
            self._warm.stdin.flush()
            told = self._warm.stdout.readline()
            seconds = time.perf_counter() - began
            if not told:
                raise self._calls_failed("serve")
        return seconds, self._keep("warm", told)

    # --- inside ---------------------------------------------------------------------------------------------------

    def calls(self, *arguments: str) -> str:
        argv = [sys.executable, "-m", "benchmarks.calls", *arguments]
        done = subprocess.run(argv, env=self._variables, stdout=subprocess.PIPE, stderr=self._log, text=True, cwd=REPO)
        if done.returncode:
            raise self._calls_failed(*arguments)
        return done.stdout

    @contextmanager
    def warm_process(self) -> Iterator[None]:
        argv = [sys.executable, "-m", "benchmarks.calls", "serve"]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": self._log}
        with subprocess.Popen(argv, env=self._variables, text=True, cwd=REPO, **pipes) as self._warm:
            yield  # leaving closes its stdin, which ends it

    @contextmanager
    def _fresh_batch(self) -> Iterator[str]:
        """A batch that nobody has trained, with the snapshots of earlier ones out of the way; done when left."""
        from ratchet.deployment import Deployment
        from ratchet.settings import get_settings
        from ratchet.workflow.training import request_retrain

        self._trainings += 1
        _write_seed(self.home, self._trainings)
        deployment = Deployment(get_settings())
        shutil.rmtree(deployment.settings.var / "lake" / "snapshots", ignore_errors=True)
        asked = {"reason": "benchmark", "source": "person", "actor": "benchmark", "as_of": AS_OF}
        batch = request_retrain(deployment, MODEL, **asked)["batch"]
        before = len(deployment.ledger.challengers(MODEL))
        yield batch
        made = deployment.ledger.challengers(MODEL)[before:]
        if [challenger.batch_id for challenger in made] != [batch] or deployment.ledger.batch(batch).status != "done":
            raise StackError(
                "A training was not done anew",
                seen=made,
                expected=f"one new challenger of batch {batch}",
                hint="does the seed still count for what a training is known by? See _write_seed",
            )
        (manifest,) = (deployment.settings.var / "lake" / "snapshots" / MODEL).glob("*/manifest.json")
        self.measured.rows = json.loads(manifest.read_text())["rows"]

    def _keep(self, way: str, told: str) -> dict:
        result = json.loads(told)
        self.measured.peak_mib[way] = max(self.measured.peak_mib.get(way, 0), result["peak_mib"])
        return result["steps"]

    def _calls_failed(self, *arguments: str) -> StackError:
        tail = "\n".join(Path(self._log.name).read_text(errors="replace").splitlines()[-25:])
        return StackError(
            f"`benchmarks.calls {' '.join(arguments)}` failed",
            seen=tail,
            where=self._log.name,
            hint="the end of its log is above; mend the cause and measure again",
        )


def _make_home(home: Path) -> Path:
    """The shipped specs and suites, in a folder where the model's seed may change."""
    for part in ("include", "great_expectations"):
        shutil.copytree(REPO / part, home / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPO / "requirements.lock", home)
    return home


def _write_seed(home: Path, seed: int) -> None:
    spec = home / "include" / "models" / f"{MODEL}.yaml"
    text, found = re.subn(r"(?m)^seed: \d+$", f"seed: {seed}", spec.read_text("utf-8"))
    if found != 1:
        raise StackError(
            "The model's spec has no line `seed: <number>` to change", where=spec, hint="give it one, at the margin"
        )
    spec.write_text(text, "utf-8")


def _instant(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _name(task: dict) -> str:
    shown = task.get("rendered_map_index") or task["map_index"]
    return task["task_id"] if task["map_index"] < 0 else f"{task['task_id']} {shown}"


@contextmanager
def _memory_peak(pids: list[int], peaks: dict[str, float]) -> Iterator[None]:
    """Keeps the highest of what these processes and all below them used, looked at twice a second."""
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(0.5):
            peaks["airflow"] = max(peaks.get("airflow", 0), memory_mib(pids))

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield
    finally:
        ended.set()
        looking.join()
