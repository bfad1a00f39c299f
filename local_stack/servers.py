"""Starts Airflow and MLflow from a var folder, waits until each says that it is healthy, and ends every process again.

`with running_stack(var) as stack:` is the whole interface. One var folder holds one running stack; stacks in different
var folders run side by side.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from local_stack.airflow_api import AirflowApi
from local_stack.environment import REPO, StackEnvironment, build_environment
from local_stack.errors import StackError
from local_stack.health import airflow_health, mlflow_health
from local_stack.ports import free_port
from local_stack.secret_files import Account

GUARD = Path(__file__).with_name("guard.py")
START_SECONDS = 180  # on two busy cores; 25 to 35 when nothing else runs
RESTARTS = 3  # of each server, for the whole life of a stack


@dataclass(frozen=True)
class Server:
    """A started server: the guard that owns it, and where it writes."""

    name: str
    guard: subprocess.Popen
    log: Path

    def log_tail(self, lines: int = 25) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def check_alive(self) -> None:
        """StackError with the end of its log if it has ended."""
        if self.guard.poll() is not None:
            raise StackError(
                f"{self.name} ended while it was needed (exit code {self.guard.returncode})",
                seen=self.log_tail(),
                where=self.log,
                hint="read its log; the last lines are above",
            )


@dataclass(frozen=True)
class Stack:
    """A running Airflow and MLflow."""

    environment: StackEnvironment
    servers: tuple[Server, ...] = field(repr=False)

    @property
    def airflow_url(self) -> str:
        return self.environment.airflow_url

    @property
    def mlflow_url(self) -> str:
        return self.environment.mlflow_url

    @property
    def accounts(self) -> dict[str, Account]:
        return self.environment.accounts

    @property
    def client(self) -> dict[str, str]:
        """The variables (RATCHET_*, MLFLOW_*) with which another process, or this one, reaches the same state."""
        return self.environment.client

    def api(self, account: str = "admin") -> AirflowApi:
        """Airflow's REST API, signed in as `account`."""
        who = self.accounts[account]
        return AirflowApi(self.airflow_url, who.name, who.password, while_waiting=self.check_alive)

    def check_alive(self) -> None:
        for server in self.servers:
            server.check_alive()


@contextmanager
def running_stack(
    var: Path,
    *,
    home: Path = REPO,
    dags: Path | None = None,
    plugins: Path | None = None,
    extra: dict[str, str] | None = None,
    mlflow: bool = True,
    say: Callable[[str], None] = lambda line: None,
) -> Iterator[Stack]:
    """A healthy stack on `var` for the length of the block; every process has ended when it is left, however it is.

    `extra` are variables for Airflow's processes; `mlflow=False` leaves MLflow out; `say` gets a line for each stage.
    Raises StackError if a stack on the same `var` runs already, or a server ends or stays unhealthy.
    """
    var = var.resolve()
    var.mkdir(parents=True, exist_ok=True)
    with _lock(var) as lock:
        environment = _choose_environment(var, home=home, dags=dags, plugins=plugins, extra=extra)
        started: list[Server] = []
        try:
            _start_all(environment, lock, started, with_mlflow=mlflow, say=say)
            _remember(environment, started, state="running")
            yield Stack(environment, tuple(started))
        finally:
            _stop(started)
            _remember(environment, [], state="stopped")


# --- one stack per var folder -------------------------------------------------------------------------------------


@contextmanager
def _lock(var: Path) -> Iterator[int]:
    """Holds `var`/stack.lock. The guards hold it too, so it is free only when the last server of a stack has ended."""
    lock = os.open(var / "stack.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _in_use(var) from None
        yield lock
    finally:
        os.close(lock)


def _in_use(var: Path) -> StackError:
    known = recall(var)
    return StackError(
        "A stack on this folder is running already, or still stopping",
        seen=f"Airflow {known.get('airflow_url', '(starting)')}, MLflow {known.get('mlflow_url', '(starting)')}, "
        f"owned by process {known.get('pid', '(unknown)')}",
        where=var,
        hint="use that one, or end it with Ctrl-C where it was started; another var folder can run beside it",
    )


def recall(var: Path) -> dict:
    """What `var`/stack.json says of the last stack there: URLs, ports, pid, state; empty if there was none."""
    try:
        return json.loads((var / "stack.json").read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return {}


def _remember(environment: StackEnvironment, servers: list[Server], state: str) -> None:
    record = {
        "state": state,
        "pid": os.getpid(),
        "airflow_url": environment.airflow_url,
        "mlflow_url": environment.mlflow_url,
        "airflow_port": environment.airflow_port,
        "mlflow_port": environment.mlflow_port,
        "guards": {server.name: server.guard.pid for server in servers},
    }
    unfinished = environment.var / f"stack.json.{os.getpid()}"
    unfinished.write_text(json.dumps(record, indent=2) + "\n")
    unfinished.replace(environment.var / "stack.json")


def _choose_environment(var: Path, **folders) -> StackEnvironment:
    """The environment on the ports of the last time, so that links in reports stay good, or on others if taken."""
    last = recall(var)
    airflow_port = free_port(last.get("airflow_port"))
    mlflow_port = free_port(last.get("mlflow_port"), taken={airflow_port})
    environment = build_environment(var, airflow_port=airflow_port, mlflow_port=mlflow_port, **folders)
    _remember(environment, [], state="starting")
    return environment


# --- start and stop -----------------------------------------------------------------------------------------------


def _start_all(
    environment: StackEnvironment, lock: int, started: list[Server], *, with_mlflow: bool, say: Callable[[str], None]
) -> None:
    def start(name: str, argv: list[str], env: dict[str, str]) -> Server:
        started.append(_start(name, argv, env, environment.var / "logs" / f"{name}.log", lock, RESTARTS))
        return started[-1]

    began = time.monotonic()
    migrated = _migrate(environment, lock, say)
    if with_mlflow:
        start("mlflow", _mlflow_argv(environment), environment.mlflow)
    airflow = [sys.executable, "-m", "airflow"]
    start("api-server", [sys.executable, "-m", "local_stack.api_server"], environment.airflow)
    # Without its log server: that one would listen on all addresses, and the API server reads the same files.
    start("scheduler", [*airflow, "scheduler", "--skip-serve-logs"], environment.airflow)
    start("dag-processor", [*airflow, "dag-processor"], environment.airflow)
    say(f"database {migrated}, servers starting")
    _wait_healthy("Airflow", lambda: airflow_health(environment.airflow_url), started)
    say(f"Airflow answers on {environment.airflow_url} ({time.monotonic() - began:.0f} s)")
    if with_mlflow:
        _wait_healthy("MLflow", lambda: mlflow_health(environment.mlflow_url), started)
        say(f"MLflow answers on {environment.mlflow_url} ({time.monotonic() - began:.0f} s)")


def _start(name: str, argv: list[str], env: dict[str, str], log: Path, lock: int, restarts: int = 0) -> Server:
    with log.open("ab") as output:
        guard = subprocess.Popen(
            [sys.executable, "-I", "-S", str(GUARD), name, str(restarts), *argv],
            stdin=subprocess.PIPE,  # closing it is how the guard is told to end its server
            stdout=output,  # the server's; the guard itself speaks on the owner's standard error
            env=env,
            cwd=log.parent,
            start_new_session=True,  # Ctrl-C is for the owner, who then stops the servers in order
            pass_fds=[lock],
        )
    return Server(name, guard, log)


def _stop(servers: list[Server]) -> None:
    """End all servers: first those that talk to the API server, so that it still hears of tasks that were ended."""
    clients = [server for server in servers if server.name in ("scheduler", "dag-processor")]
    others = [server for server in servers if server not in clients]
    for group in (clients, others):
        for server in group:
            server.guard.stdin.close()
        for server in group:
            server.guard.wait()


def _migrate(environment: StackEnvironment, lock: int, say: Callable[[str], None]) -> str:
    """Bring Airflow's database to this Airflow's schema, unless it is there already."""
    done = environment.var / "airflow" / "migrated_for_airflow"
    if done.exists() and done.read_text() == version("apache-airflow-core"):
        return "is up to date"
    say("making Airflow's database")
    log = environment.var / "logs" / "db-migrate.log"
    server = _start("db-migrate", [sys.executable, "-m", "airflow", "db", "migrate"], environment.airflow, log, lock)
    try:
        exit_code = server.guard.wait(START_SECONDS)
    except subprocess.TimeoutExpired:
        exit_code = f"still running after {START_SECONDS} s"
    finally:
        _stop([server])
    if exit_code:
        raise StackError(
            "Airflow's database could not be made",
            seen=f"exit code {exit_code}\n{server.log_tail()}",
            where=log,
            hint="read the log; `make reset` starts from nothing",
        )
    done.write_text(version("apache-airflow-core"))
    return "made"


def _mlflow_argv(environment: StackEnvironment) -> list[str]:
    folder, port = environment.var / "mlflow", environment.mlflow_port
    return [
        *(sys.executable, "-m", "mlflow", "server", "--app-name", "basic-auth"),
        *("--host", "127.0.0.1", "--port", str(port), "--workers", "1"),
        *("--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}"),
        *("--artifacts-destination", str(folder / "artifacts"), "--serve-artifacts"),
        *("--allowed-hosts", f"127.0.0.1:{port},localhost:{port}"),
    ]


def _wait_healthy(what: str, health: Callable[[], str | None], servers: list[Server]) -> None:
    """Poll `health` until it returns None; StackError if a server ends, or if it never does."""
    deadline = time.monotonic() + START_SECONDS
    while unhealthy := health():
        for server in servers:
            server.check_alive()
        if time.monotonic() > deadline:
            raise StackError(
                f"{what} did not become healthy",
                seen=unhealthy,
                expected=f"healthy within {START_SECONDS} s",
                where=servers[0].log.parent,
                hint="read the logs in that folder",
            )
        time.sleep(0.2)
