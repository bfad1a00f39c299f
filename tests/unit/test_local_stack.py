"""The local servers: their environment, their ports and secrets, and that no process of theirs outlives its owner."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from local_stack import airflow_http
from local_stack.airflow_api import AirflowApi
from local_stack.api_server import OneWriter
from local_stack.environment import ONE_THREAD, REPO, TELEMETRY_OFF, build_environment
from local_stack.errors import RunFailedError, StackError, WaitTimeoutError
from local_stack.guard import SETTLED_SECONDS, descendants
from local_stack.ports import free_port, is_free
from local_stack.secret_files import airflow_accounts, make_secrets_dir, server_keys
from local_stack.servers import GUARD, recall, running_stack

# --- ports and secrets --------------------------------------------------------------------------------------------


def test_a_port_of_the_last_time_is_chosen_again_only_while_it_is_free():
    port = free_port()
    assert free_port(preferred=port) == port
    assert free_port(preferred=port, taken={port}) != port
    with socket.create_server(("127.0.0.1", port)):
        assert not is_free(port)
        assert free_port(preferred=port) != port


def test_secrets_are_made_once_and_for_their_owner_alone(tmp_path):
    folder = make_secrets_dir(tmp_path)
    accounts, keys = airflow_accounts(folder), server_keys(folder)
    assert airflow_accounts(folder) == accounts
    assert server_keys(folder) == keys
    assert {name: who.role for name, who in accounts.items()} == {
        "admin": "admin",
        "operator": "op",
        "approver": "user",
        "service": "user",
    }
    assert len({who.password for who in accounts.values()} | set(keys.values())) == len(accounts) + len(keys)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o600}


def test_no_secret_shows_in_the_text_of_an_environment(tmp_path):
    environment = build_environment(tmp_path, airflow_port=20001, mlflow_port=20002)
    shown = repr(environment)
    secrets = [who.password for who in environment.accounts.values()]
    secrets += server_keys(tmp_path / "secrets").values()
    assert not [secret for secret in secrets if secret in shown]


# --- environment --------------------------------------------------------------------------------------------------


@pytest.fixture
def environment(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setenv("AIRFLOW__API__HOST", "0.0.0.0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://elsewhere")
    monkeypatch.setenv("RATCHET_LEDGER_URL", "postgresql://ledger")
    monkeypatch.setenv("HTTP_PROXY", "http://proxy")
    return build_environment(tmp_path, airflow_port=20001, mlflow_port=20002)


def test_all_state_is_in_the_var_folder_and_all_servers_are_on_loopback(environment, tmp_path):
    airflow = environment.airflow
    assert airflow["AIRFLOW__API__HOST"] == "127.0.0.1"
    assert environment.airflow_url == airflow["AIRFLOW__API__BASE_URL"] == "http://127.0.0.1:20001"
    assert environment.mlflow_url == airflow["MLFLOW_TRACKING_URI"] == "http://127.0.0.1:20002"
    for name in ("AIRFLOW_HOME", "AIRFLOW__LOGGING__BASE_LOG_FOLDER", "RATCHET_VAR", "XDG_CACHE_HOME", "MPLCONFIGDIR"):
        assert Path(airflow[name]).is_relative_to(tmp_path)
    assert airflow["RATCHET_HOME"] == str(REPO)


def test_telemetry_is_off_for_every_server(environment):
    assert TELEMETRY_OFF.items() <= environment.airflow.items()
    assert TELEMETRY_OFF.items() <= environment.mlflow.items()


def test_the_callers_shell_changes_nothing_but_the_ledgers_address(environment):
    assert "PYTHONDONTWRITEBYTECODE" not in environment.airflow
    assert environment.airflow["RATCHET_LEDGER_URL"] == "postgresql://ledger"
    assert environment.airflow["NO_PROXY"] == "127.0.0.1,localhost"


def test_nobody_but_airflow_gets_airflows_keys(environment, tmp_path):
    keys = server_keys(tmp_path / "secrets")
    airflows_own = {keys["jwt_secret"], keys["fernet_key"], keys["session_secret"]}
    assert airflows_own <= set(environment.airflow.values())
    assert not airflows_own & set(environment.mlflow.values())
    assert not airflows_own & set(environment.client.values())


def test_airflow_knows_every_setting_and_sign_in_is_on(environment):
    code = """
import json, os
from airflow.configuration import conf
asked = [name[len("AIRFLOW__"):].lower().split("__", 1) for name in os.environ if name.startswith("AIRFLOW__")]
known = {name: section["options"] for name, section in conf.configuration_description.items()}
print(json.dumps({
    "unknown": [f"{section}.{key}" for section, key in asked if key not in known.get(section, {})],
    "all_admins": conf.getboolean("core", "simple_auth_manager_all_admins"),
    "users": conf.get("core", "simple_auth_manager_users"),
    "examples": conf.getboolean("core", "load_examples"),
}))
"""
    reply = subprocess.run([sys.executable, "-c", code], env=environment.airflow, capture_output=True, text=True)
    assert reply.returncode == 0, reply.stderr
    assert json.loads(reply.stdout.splitlines()[-1]) == {
        "unknown": [],
        "all_admins": False,
        "users": "admin:admin,operator:op,approver:user,service:user",
        "examples": False,
    }


# --- one stack per folder -----------------------------------------------------------------------------------------


def test_a_second_stack_on_the_same_folder_is_refused_and_names_the_first(tmp_path):
    known = {"airflow_url": "http://127.0.0.1:20001", "mlflow_url": "http://127.0.0.1:20002", "pid": 4711}
    (tmp_path / "stack.json").write_text(json.dumps(known))
    with (tmp_path / "stack.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(StackError) as refused, running_stack(tmp_path):
            pass
    for fact in ("127.0.0.1:20001", "127.0.0.1:20002", "4711", str(tmp_path)):
        assert fact in str(refused.value)
    assert recall(tmp_path) == known


# --- the guard ----------------------------------------------------------------------------------------------------

# A server like Airflow's scheduler: it has a child in a process group of its own, which has one in a session of its
# own; the last one is orphaned at once. Prints its pids.
SERVER = """
import os, signal, sys, time
{before}
read, write = os.pipe()
if os.fork() == 0:
    os.setpgid(0, 0)
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.write(write, f"{{os.getpid()}} ".encode())
            time.sleep(600)
        os._exit(0)
    os.write(write, f"{{os.getpid()}} ".encode())
    time.sleep(600)
pids = ""
while len(pids.split()) < 2:
    pids += os.read(read, 100).decode()
print(os.getpid(), pids, flush=True)
time.sleep(600)
"""


def start_guarded(code: str, restarts: int = 0) -> tuple[subprocess.Popen, list[int]]:
    argv = [sys.executable, "-I", "-S", str(GUARD), "server", str(restarts), sys.executable, "-I", "-S", "-c", code]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    guard = subprocess.Popen(argv, **pipes, text=True, start_new_session=True)
    return guard, [int(pid) for pid in guard.stdout.readline().split()]


def running(pids: list[int]) -> list[int]:
    alive = []
    for pid in pids:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            continue
        alive += [pid] if state != "Z" else []
    return alive


def gone_within(pids: list[int], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while running(pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not running(pids)


@pytest.mark.parametrize(
    "before", ["", "signal.signal(signal.SIGTERM, signal.SIG_IGN)"], ids=["polite", "ignores SIGTERM"]
)
def test_closing_the_pipe_ends_the_server_and_every_descendant(before):
    guard, pids = start_guarded(SERVER.format(before=before))
    assert len(pids) == 3
    assert set(pids) == set(descendants(guard.pid)) == set(running(pids))
    guard.stdin.close()
    guard.wait(timeout=30)
    assert running(pids) == []


def test_killing_the_guard_ends_the_server():
    guard, pids = start_guarded("import os, time; print(os.getpid(), flush=True); time.sleep(600)")
    guard.kill()
    guard.wait()
    assert gone_within(pids, 10)


def test_killing_the_owner_ends_the_server_and_every_descendant():
    owner_code = f"""
import subprocess, sys, time
guard = subprocess.Popen(
    [sys.executable, "-I", "-S", {str(GUARD)!r}, "server", "0",
     sys.executable, "-I", "-S", "-c", {SERVER.format(before="")!r}],
    stdin=subprocess.PIPE, start_new_session=True)
time.sleep(600)
"""
    owner = subprocess.Popen([sys.executable, "-c", owner_code], stdout=subprocess.PIPE, text=True)
    pids = [int(pid) for pid in owner.stdout.readline().split()]
    everything = descendants(owner.pid)
    assert len(pids) == 3
    assert set(pids) < set(everything)
    owner.kill()
    owner.wait()
    assert gone_within(everything, 20)


def test_a_server_that_ends_by_itself_takes_its_descendants_along_and_its_exit_code_shows():
    guard, pids = start_guarded("import os, sys; print(os.getpid(), flush=True); sys.exit(3)")
    assert guard.wait(timeout=30) == 3
    assert running(pids) == []


LIVES_A_WHILE = f"import os, time; print(os.getpid(), flush=True); time.sleep({SETTLED_SECONDS} + 0.2); os._exit(3)"


def test_a_server_that_ended_by_itself_is_started_again_so_often_and_no_more():
    guard, pids = start_guarded(LIVES_A_WHILE, restarts=1)
    assert guard.wait(timeout=60) == 3
    assert int(guard.stdout.read()) not in pids
    assert guard.stderr.read().strip() == "server ended by itself (exit code 3): starting it again, 0 restarts left"


def test_a_server_that_can_not_start_is_not_tried_again():
    guard, _ = start_guarded("import os; print(os.getpid(), flush=True); os._exit(3)", restarts=1)
    assert guard.wait(timeout=60) == 3
    assert (guard.stdout.read(), guard.stderr.read()) == ("", "")


def test_waiting_ends_when_a_server_has_ended_for_good(unlucky):
    api, replies, _ = unlucky

    def ended():
        raise StackError("scheduler ended while it was needed", hint="read its log")

    api._while_waiting = ended
    replies += [(200, {"state": "running"})]
    with pytest.raises(StackError, match="scheduler ended"):
        api.wait_for_run("d", "a")


# --- libraries loaded ahead of tasks ------------------------------------------------------------------------------

AS = "import json, sys; sys.argv = {argv!r}; import airflow_local_settings; print(json.dumps(sorted(sys.modules)))"


def import_settings_as(argv: list[str], **env: str) -> tuple[set[str], str]:
    """Modules loaded, and what was logged, after importing the settings in a process of that command line."""
    variables = os.environ | TELEMETRY_OFF | ONE_THREAD | {"PYTHONPATH": str(REPO / "config")} | env
    command = [sys.executable, "-c", AS.format(argv=argv)]
    reply = subprocess.run(command, env=variables, capture_output=True, text=True, check=True)
    return set(json.loads(reply.stdout.splitlines()[-1])), reply.stderr


@pytest.mark.parametrize(
    "argv", [["airflow", "api-server"], ["-m", "dag-processor"], ["airflow"], ["pytest", "scheduler"], [""]]
)
def test_only_the_scheduler_loads_libraries_ahead(argv):
    modules, logged = import_settings_as(argv)
    assert not modules & {"pandas", "sklearn", "mlflow", "great_expectations", "evidently", "deltalake"}
    assert logged == ""


def test_the_scheduler_loads_every_library_and_no_thread_is_left_for_the_fork():
    modules, logged = import_settings_as(["-m", "scheduler"])
    assert {"pandas", "sklearn.ensemble", "mlflow.sklearn", "great_expectations", "evidently", "deltalake"} <= modules
    assert not {name for name in modules if name.split(".")[0] in ("ratchet", "ratchet_airflow", "feature_views")}
    assert "can't be" not in logged
    assert "not expected" not in logged


def test_loading_ahead_can_be_turned_off():
    modules, _ = import_settings_as(["-m", "scheduler"], RATCHET_PRELOAD="0")
    assert "pandas" not in modules


# --- one SQLite, many requests ------------------------------------------------------------------------------------


def test_writing_requests_take_turns_and_reading_ones_do_not_wait():
    at_work, seen = [], []

    async def server(scope, receive, send):
        at_work.append(scope["method"])
        seen.append(sorted(at_work))
        await asyncio.sleep(0.02)
        at_work.remove(scope["method"])
        if scope["method"] == "DELETE":
            raise ValueError("a request that fails gives its turn away too")

    async def all_at_once():
        app = OneWriter(server)
        requests = [{"type": "http", "method": method} for method in ("DELETE", "POST", "PATCH", "GET")]
        await asyncio.gather(*(app(scope, None, None) for scope in requests), return_exceptions=True)

    asyncio.run(all_at_once())
    assert seen == [["DELETE"], ["DELETE", "GET"], ["POST"], ["PATCH"]]


LOCKED = {"detail": {"reason": "Database error", "statement": "hidden", "orig_error": "hidden"}}
BACKFILL_LOCKED = {"detail": "Database is locked. Backfill creation is not supported on SQLite"}


@pytest.fixture
def unlucky(monkeypatch):
    """A client whose server gives the replies of a list, and then 200; and the requests it got."""
    monkeypatch.setattr(airflow_http.time, "sleep", lambda seconds: None)
    replies, requests = [], []

    def answer(request):
        if request.url.path == "/auth/token":
            return httpx.Response(201, json={"access_token": "t"})
        requests.append(f"{request.method} {request.url.path}")
        status, body = replies.pop(0) if replies else (200, {"dag_run_id": "a"})
        return httpx.Response(status, json=body)

    client = AirflowApi("http://127.0.0.1:1", "operator", "p")
    client._http = httpx.Client(base_url=client.url, transport=httpx.MockTransport(answer))
    return client, replies, requests


@pytest.mark.parametrize(
    "ask",
    [
        lambda api: api.run("d", "a"),
        lambda api: api.trigger("d", run_id="a"),
        lambda api: api.create_backfill("d", "2013-01-01", "2013-01-02"),
    ],
    ids=["get", "trigger with a run id", "backfill"],
)
def test_what_the_database_failed_is_asked_again_where_that_does_no_harm(unlucky, ask):
    api, replies, requests = unlucky
    replies += [(500, LOCKED), (503, BACKFILL_LOCKED)]
    assert ask(api) == {"dag_run_id": "a"}
    assert len(requests) == 3


def test_a_run_whose_trigger_was_kept_all_the_same_is_found(unlucky):
    api, replies, requests = unlucky
    replies += [(500, LOCKED), (409, {"detail": "exists"}), (200, {"dag_run_id": "a", "conf": {}})]
    assert api.trigger("d", run_id="a")["dag_run_id"] == "a"
    assert requests[-1] == "GET /api/v2/dags/d/dagRuns/a"


def test_asking_again_has_an_end_and_is_for_the_database_alone(unlucky):
    api, replies, requests = unlucky
    tries = 1 + len(airflow_http.DATABASE_PAUSES)
    replies += [(500, LOCKED)] * tries
    with pytest.raises(StackError, match="Database error"):
        api.run("d", "a")
    assert len(requests) == tries
    for reply, ask in [
        ((500, {"detail": "broken"}), lambda: api.run("d", "a")),
        ((500, LOCKED), lambda: api.trigger("d")),
        ((500, LOCKED), lambda: api.unpause("d")),
    ]:
        requests.clear()
        replies.append(reply)
        with pytest.raises(StackError, match="500"):
            ask()
        assert len(requests) == 1


# --- live ---------------------------------------------------------------------------------------------------------

DAGS = """
import time
from airflow.sdk import DAG, task

with DAG("ten_steps", schedule=None):
    last = None
    for number in range(10):
        @task(task_id=f"step_{number}")
        def nothing():
            return {"number": 1}
        this = nothing()
        last and last >> this
        last = this

with DAG("fails", schedule=None):
    @task
    def break_down():
        print("about to break")
        raise ValueError("seen 3, expected 4")
    break_down()

with DAG("hangs", schedule=None):
    @task
    def sleep():
        time.sleep(600)
    sleep()
"""


@pytest.fixture(scope="module")
def owner(tmp_path_factory):
    """`make up`'s process, on DAGs of this test's own; and the Airflow API it serves."""
    folder = tmp_path_factory.mktemp("live")
    for name in ("dags", "plugins"):
        (folder / name).mkdir()
    (folder / "dags" / "some.py").write_text(DAGS)
    argv = ["--var", folder / "var", "--dags", folder / "dags", "--plugins", folder / "plugins"]
    process = subprocess.Popen(
        [sys.executable, "-m", "local_stack.up", *argv],
        cwd=REPO,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    said = ""
    while "Ctrl-C" not in said:
        line = process.stdout.readline()
        assert line, f"it ended: {said}"
        said += line
    process.var = folder / "var"
    yield process
    process.terminate()
    process.wait()


@pytest.fixture(scope="module")
def api(owner):
    password = json.loads((owner.var / "secrets" / "airflow_passwords.json").read_text())["operator"]
    with AirflowApi(recall(owner.var)["airflow_url"], "operator", password) as client:
        client.wait_for_dags(["ten_steps", "fails", "hangs"])
        yield client


@pytest.mark.matrix
def test_nothing_answers_without_sign_in(owner, api):
    assert httpx.get(f"{api.url}/api/v2/dags", trust_env=False).status_code == 401
    experiments = f"{recall(owner.var)['mlflow_url']}/api/2.0/mlflow/experiments/search?max_results=1"
    assert httpx.get(experiments, trust_env=False).status_code == 401
    password = server_keys(owner.var / "secrets")["mlflow_password"]
    assert httpx.get(experiments, auth=("admin", password), trust_env=False).status_code == 200
    with pytest.raises(StackError, match="401"):
        AirflowApi(api.url, "operator", "wrong").dags()


@pytest.mark.matrix
def test_all_servers_listen_on_loopback_alone(owner):
    import psutil

    listening = {
        connection.laddr.ip
        for pid in descendants(owner.pid)
        for connection in psutil.Process(pid).net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == {"127.0.0.1"}


@pytest.mark.matrix
def test_the_client_runs_waits_and_tells_what_failed(api):
    run = api.run_to_end("ten_steps", run_id="first", conf={"a": 1})
    assert run["state"] == "success"
    assert set(api.task_states("ten_steps", "first").values()) == {"success"}
    assert api.xcom("ten_steps", "first", "step_3") == {"number": 1}
    assert api.trigger("ten_steps", run_id="first", conf={"a": 1})["dag_run_id"] == "first"
    with pytest.raises(StackError, match="another conf"):
        api.trigger("ten_steps", run_id="first", conf={"a": 2})
    with pytest.raises(RunFailedError) as failed:
        api.run_to_end("fails")
    assert "break_down" in str(failed.value)
    assert "about to break" in str(failed.value)
    assert "ValueError: seen 3, expected 4" in str(failed.value)
    with pytest.raises(StackError, match="404"):
        api.trigger("nobody_knows_it")


@pytest.mark.matrix
def test_a_second_stack_beside_a_running_one_is_refused_and_names_its_ports(owner, api):
    with pytest.raises(StackError) as refused, running_stack(owner.var):
        pass
    assert api.url in str(refused.value)


@pytest.mark.matrix
def test_killing_the_owner_of_a_stack_leaves_no_process_not_even_a_task(owner, api):
    api.trigger("hangs", run_id="one")
    api.wait_for_task("hangs", "one", "sleep", ["running"], timeout=60)
    with pytest.raises(WaitTimeoutError, match="sleep"):
        api.wait_for_run("hangs", "one", timeout=1)
    everything = descendants(owner.pid)
    assert len(everything) > 10
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    assert gone_within(everything, 30)
