"""A live loop in few words: its accounts, its questions, waiting on it, and letting time pass for it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
from small_loop import MODEL, train

from local_stack.airflow_api import AirflowApi
from local_stack.guard import children
from local_stack.servers import Stack
from ratchet.deployment import Deployment
from ratchet.lake import Lake

MADE_DAGS = ("ratchet.dispatch", "flights.ingest_validate", f"{MODEL}.promote", f"{MODEL}.break_glass")
FAB_ROLES = {"admin": "Admin", "op": "Op", "user": "User"}
ASKS = "approve_promotion"
# A DAG with an approval that has a default answer: what Airflow gives when nobody answers in time.
SELF_ANSWERING = f'''
from datetime import timedelta
from airflow.sdk import DAG, Param
from ratchet_airflow.operators.promote import ApprovePromotionOperator, PromoteChallengerOperator

with DAG("{MODEL}.self_answering", schedule=None, params={{"version": Param(type="integer")}}):
    ask = ApprovePromotionOperator(
        task_id="{ASKS}", model="{MODEL}", defaults=["Approve"], response_timeout=timedelta(seconds=10)
    )
    ask >> PromoteChallengerOperator(task_id="promote_challenger", model="{MODEL}")
'''


def until(what: str, ready: Callable, timeout: float = 300):
    """The first true answer of `ready`. The wait is on a named state; the pause only spares the machine."""
    deadline = time.monotonic() + timeout
    while not (answer := ready()):
        assert time.monotonic() < deadline, f"waited {timeout:.0f} s for {what}"
        time.sleep(0.3)
    return answer


def kill_scheduler(stack: Stack) -> None:
    """SIGKILL, as a machine does that runs out of memory; its guard starts another."""
    (guard,) = (server.guard.pid for server in stack.servers if server.name == "scheduler")
    os.kill(children()[guard][0], signal.SIGKILL)


def age(lake: Lake, days: float) -> None:
    """Makes a lake in a folder so many days older: every file, and the time that each commit of a table tells."""
    for path in Path(lake.storage.address()).rglob("*"):
        if not path.is_file():
            continue
        then = path.stat().st_mtime - days * 86400
        if path.parent.name == "_delta_log" and path.suffix == ".json":
            actions = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
            for action in actions:
                if commit := action.get("commitInfo"):
                    commit["timestamp"] -= round(days * 86_400_000)
            path.write_text("\n".join(map(json.dumps, actions)), "utf-8")
        os.utime(path, (then, then))


def make_fab_accounts(stack: Stack) -> None:
    """The stack's accounts as FAB's, with the same names and passwords: the first by its command, the others by its
    REST API."""
    first, *others = stack.accounts.values()
    named = {"username": first.name, "firstname": first.name, "lastname": "account", "email": f"{first.name}@here"}
    asked = {**named, "role": "Admin", "password": first.password}
    command = [sys.executable, "-m", "airflow", "users", "create"]
    command += [word for name, value in asked.items() for word in (f"--{name}", value)]
    subprocess.run(command, env=stack.environment.airflow, check=True, capture_output=True)
    with stack.api(first.name) as admin:
        for one in others:
            body = {"username": one.name, "first_name": one.name, "last_name": "account", "email": f"{one.name}@here"}
            body |= {"roles": [{"name": FAB_ROLES[one.role]}], "password": one.password}
            signed = {"Authorization": f"Bearer {admin.token()}"}
            reply = httpx.post(f"{stack.airflow_url}/auth/fab/v1/users", json=body, headers=signed, trust_env=False)
            assert reply.is_success, reply.text


def train_versions(deployment: Deployment, last: str, *as_ofs: str) -> list[int]:
    """The days up to `last` taken in and a challenger trained as of each of `as_ofs`, without Airflow: the versions."""
    from ratchet.upstream import land_flights
    from ratchet.workflow.ingestion import ingest_partitions

    land_flights(deployment.drops, "2013-01-01", last)
    for name in deployment.datasets.good:
        ingest_partitions(deployment, name)
    return [train(deployment, as_of)["version"] for as_of in as_ofs]


def ask_in_airflow(api: AirflowApi, version: int, kind: str = "promote", **conf) -> str:
    """Start a run about a version as this account, and wait until its question can be answered: the run's id."""
    run_id = api.trigger(f"{MODEL}.{kind}", conf={"version": version, **conf})["dag_run_id"]
    api.wait_until_parked(f"{MODEL}.{kind}", run_id, ASKS, timeout=300)
    return run_id


def answered_and_refused(api: AirflowApi, run_id: str, kind: str = "promote") -> str:
    """Approve as this account, see the run fail: the log of the promotion that was refused."""
    api.answer(f"{MODEL}.{kind}", run_id, ASKS, "Approve")
    return refusal(api, run_id, kind)


def refusal(api: AirflowApi, run_id: str, kind: str = "promote", task: str = "promote_challenger") -> str:
    """What the task that failed said, once the run has ended in failure."""
    api.wait_for_run(f"{MODEL}.{kind}", run_id, until={"failed"})
    failed = next(one for one in api.task_instances(f"{MODEL}.{kind}", run_id) if one["task_id"] == task)
    assert failed["state"] == "failed", failed["state"]
    return api.task_log(f"{MODEL}.{kind}", run_id, task, try_number=failed["try_number"])


def mark_success(api: AirflowApi, run_id: str, kind: str = "promote", task: str = ASKS) -> None:
    path = f"/dags/{MODEL}.{kind}/dagRuns/{run_id}/taskInstances/{task}"
    api.call("PATCH", path, body={"new_state": "success"})


def forge_xcom_and_connections(api: AirflowApi, run_id: str, ledger: Path) -> None:
    """Write what the gate and the approver would have said into the XComs of a promote run, and Connections that lead
    to another `ledger`."""
    for name in ("ratchet_ledger", "ratchet", "mlflow_default", "aws_default"):
        connection = {"connection_id": name, "conn_type": "generic", "host": f"sqlite:///{ledger}"}
        api.call("POST", "/connections", body=connection)
        api.call("PATCH", f"/connections/{name}", body={**connection, "extra": '{"ledger_url": "elsewhere"}'})
    said = {"verdict": "PROMOTE", "version": 1, "digest": "0" * 64, "answer": "Approve", "by": "approver"}
    tasks = f"/dags/{MODEL}.promote/dagRuns/{run_id}/taskInstances"
    api.call("PATCH", f"{tasks}/judge_challenger/xcomEntries/return_value", body={"value": said})
    api.call("POST", f"{tasks}/{ASKS}/xcomEntries", body={"key": "return_value", "value": said})


def clear(api: AirflowApi, run_id: str, kind: str = "promote", task: str = ASKS) -> None:
    body = {"dry_run": False, "dag_run_id": run_id, "task_ids": [task], "only_failed": False, "reset_dag_runs": True}
    api.call("POST", f"/dags/{MODEL}.{kind}/clearTaskInstances", body=body)
