"""A small client of Airflow 3.3's REST API: trigger, wait, look at tasks, logs and XCom, answer approvals, backfill."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

from local_stack.airflow_http import AirflowHttp
from local_stack.airflow_replies import database_failed, instant, log_line, refused, run_path, task_name
from local_stack.errors import RunFailedError, StackError

ENDED = frozenset({"success", "failed"})


class AirflowApi(AirflowHttp):
    """What the demo and the tests ask of Airflow: DAGs, runs, tasks, approvals, backfills."""

    # --- DAGs -----------------------------------------------------------------------------------------------------

    def dags(self) -> list[dict]:
        return self.get_all("/dags", "dags")

    def import_errors(self) -> list[dict]:
        return self.get_all("/importErrors", "import_errors")

    def unpause(self, dag_id: str) -> dict:
        return self.call("PATCH", f"/dags/{quote(dag_id)}", body={"is_paused": False})

    def pause(self, dag_id: str) -> dict:
        return self.call("PATCH", f"/dags/{quote(dag_id)}", body={"is_paused": True})

    def wait_for_dags(self, dag_ids: Iterable[str], *, timeout: float = 120) -> None:
        """Until all of `dag_ids` are parsed and active; a DAG that fails to import ends the wait at once."""
        wanted = set(dag_ids)

        def seen() -> tuple[bool, str]:
            missing = wanted - {dag["dag_id"] for dag in self.dags()}
            errors = self.import_errors() if missing else []
            if errors:
                raise StackError(
                    "A DAG file does not import",
                    seen="\n".join(f"{error['filename']}\n{error['stack_trace']}" for error in errors),
                    hint="mend it; `pytest tests/dags` shows the same without servers",
                )
            return not missing, f"missing: {sorted(missing)}"

        self.poll(f"DAGs {sorted(wanted)}", seen, timeout)

    # --- runs -----------------------------------------------------------------------------------------------------

    def trigger(
        self, dag_id: str, *, run_id: str | None = None, conf: dict | None = None, logical_date: str | None = None
    ) -> dict:
        """Start a run; the run. If `run_id` is there already (409), that run, unless its conf differs: StackError."""
        # On SQLite Airflow compares with the clock in whole seconds: a run due now waits for the next one.
        due = datetime.now(UTC) - timedelta(seconds=1)
        body = {"dag_run_id": run_id, "logical_date": logical_date, "run_after": due.isoformat(), "conf": conf or {}}
        path = f"/dags/{quote(dag_id)}/dagRuns"
        reply = self.send("POST", path, body=body, repeatable=run_id is not None)
        if reply.status_code != 409 or run_id is None:
            if not reply.is_success:
                raise refused("POST", path, reply, self.username)
            return reply.json()
        there = self.run(dag_id, run_id)
        asked = conf or {}
        if {key: (there["conf"] or {}).get(key) for key in asked} != asked:
            raise StackError(
                f"Run {run_id} of {dag_id} is there already, with another conf",
                seen=there["conf"],
                expected=asked,
                hint="choose another run id",
            )
        return there

    def run(self, dag_id: str, run_id: str) -> dict:
        return self.get(run_path(dag_id, run_id))

    def runs(self, dag_id: str = "~", **filters) -> list[dict]:
        """Runs, the newest first; `filters` as the API names them (state, run_type, ...)."""
        return self.get_all(f"/dags/{quote(dag_id, safe='~')}/dagRuns", "dag_runs", order_by="-run_after", **filters)

    def wait_for_run(
        self,
        dag_id: str,
        run_id: str,
        *,
        timeout: float = 300,
        until: Iterable[str] = ENDED,
        on_change: Callable[[dict[str, str]], None] | None = None,
    ) -> dict:
        """The run, once its state is in `until`. A failed one raises RunFailedError unless "failed" is asked for alone.

        `on_change` gets {task: state} each time a task's state has changed.
        """
        wanted, last = set(until), {}

        def seen() -> tuple[bool, str]:
            nonlocal last
            state = self.run(dag_id, run_id)["state"]
            if on_change and (states := self.task_states(dag_id, run_id)) != last:
                last = states
                on_change(states)
            return state in wanted or state == "failed", f"run is {state}"

        self.poll(f"run {run_id} of {dag_id}", seen, timeout, more=lambda: f"tasks: {self.task_states(dag_id, run_id)}")
        run = self.run(dag_id, run_id)
        if run["state"] == "failed" and wanted != {"failed"}:
            raise self._run_failed(dag_id, run_id)
        return run

    def run_to_end(self, dag_id: str, *, timeout: float = 300, on_change=None, **trigger) -> dict:
        """`trigger`, then `wait_for_run`."""
        run = self.trigger(dag_id, **trigger)
        return self.wait_for_run(dag_id, run["dag_run_id"], timeout=timeout, on_change=on_change)

    # --- tasks ----------------------------------------------------------------------------------------------------

    def task_instances(self, dag_id: str, run_id: str) -> list[dict]:
        return self.get_all(f"{run_path(dag_id, run_id)}/taskInstances", "task_instances")

    def task_states(self, dag_id: str, run_id: str) -> dict[str, str]:
        """{task: state}; a mapped task's instances as `task[0]`, `task[1]`, ..."""
        return {task_name(task): task["state"] for task in self.task_instances(dag_id, run_id)}

    def wait_for_task(
        self, dag_id: str, run_id: str, task_id: str, states: Iterable[str], *, timeout: float = 300
    ) -> dict:
        """The task instance, once its state is in `states`; RunFailedError if the run ends without."""
        wanted, found = set(states), {}

        def seen() -> tuple[bool, str]:
            run_state = self.run(dag_id, run_id)["state"]
            found.update(self.get(f"{run_path(dag_id, run_id)}/taskInstances/{quote(task_id)}"))
            if found["state"] not in wanted and run_state in ENDED:
                raise self._run_failed(dag_id, run_id)
            return found["state"] in wanted, f"{task_id} is {found['state']}"

        self.poll(f"task {task_id} of {dag_id} in {sorted(wanted)}", seen, timeout)
        return found

    def task_log(self, dag_id: str, run_id: str, task_id: str, *, try_number: int = 1, map_index: int = -1) -> str:
        """A task's log as plain text, one event a line, exceptions unfolded."""
        path = f"{run_path(dag_id, run_id)}/taskInstances/{quote(task_id)}/logs/{try_number}"
        params = {"map_index": map_index, "full_content": True}
        reply = self.call("GET", path, params=params, headers={"Accept": "application/json"})
        lines = (log_line(entry) for entry in reply["content"])
        return "\n".join(line for line in lines if not line.startswith(("::group::", "::endgroup::")))

    def xcom(self, dag_id: str, run_id: str, task_id: str, *, key: str = "return_value", map_index: int = -1):
        """A task's XCom value, None if there is none."""
        path = f"{run_path(dag_id, run_id)}/taskInstances/{quote(task_id)}/xcomEntries/{quote(key)}"
        reply = self.send("GET", path, params={"map_index": map_index})
        if reply.status_code == 404:
            return None
        if not reply.is_success:
            raise refused("GET", path, reply, self.username)
        value = reply.json()["value"]
        return json.loads(value) if isinstance(value, str) and value[:1] in '{["' else value

    # --- approvals ------------------------------------------------------------------------------------------------

    def hitl_details(self, dag_id: str = "~", run_id: str = "~", *, open_only: bool = False) -> list[dict]:
        """Questions to people (human in the loop), the newest first."""
        params = {"order_by": "-created_at"} | ({"response_received": False} if open_only else {})
        return self.get_all(f"{run_path(dag_id, run_id)}/hitlDetails", "hitl_details", **params)

    def wait_until_parked(self, dag_id: str, run_id: str, task_id: str, *, timeout: float = 120) -> None:
        """Until a question can be answered: its task is parked, and the scheduler has looked round since.

        Airflow 3.3 fails the task on an answer within the split second before that: it takes the end of the process
        that parked for the end of the one that the answer starts. People are never that quick; programs are.
        """
        self.wait_for_task(dag_id, run_id, task_id, {"awaiting_input"}, timeout=timeout)
        parked = datetime.now(UTC)

        def seen() -> tuple[bool, str]:
            beat = self.get("/monitor/health")["scheduler"]["latest_scheduler_heartbeat"]
            return datetime.fromisoformat(beat) > parked, f"scheduler's last heartbeat {beat}"

        self.poll(f"the scheduler to see {task_id} of {run_id} parked", seen, timeout)

    def answer(
        self, dag_id: str, run_id: str, task_id: str, option: str = "Approve", *, params: dict | None = None
    ) -> dict:
        """Answer a task's question as this account. 403 if it may not, 409 if it was answered: StackError."""
        path = f"{run_path(dag_id, run_id)}/taskInstances/{quote(task_id)}/-1/hitlDetails"
        return self.call("PATCH", path, body={"chosen_options": [option], "params_input": params or {}})

    # --- backfills ------------------------------------------------------------------------------------------------

    def create_backfill(
        self,
        dag_id: str,
        from_date: str,
        to_date: str,
        *,
        conf: dict | None = None,
        max_active_runs: int = 2,
        reprocess: str = "none",
    ) -> dict:
        """A backfill over both days inclusive ("YYYY-MM-DD" is midnight UTC); `reprocess`: none, failed, completed.

        Runs of these days that exist already are left as they are with "none". Asked again for up to a minute when
        the database fails it, as when SQLite's one writer is busy, or when an earlier backfill that has ended is not
        marked so yet (409): Airflow does that every half minute.
        """
        body = {
            "dag_id": dag_id,
            "from_date": instant(from_date),
            "to_date": instant(to_date),
            "dag_run_conf": conf or {},
            "max_active_runs": max_active_runs,
            "reprocess_behavior": reprocess,
        }
        deadline = time.monotonic() + 60
        while (reply := self.send("POST", "/backfills", body=body)).status_code == 409 or database_failed(reply):
            if time.monotonic() > deadline:
                break
            time.sleep(1)
        if not reply.is_success:
            raise refused("POST", "/backfills", reply, self.username)
        return reply.json()

    def backfill_runs(self, dag_id: str, backfill_id: int) -> list[dict]:
        """The backfill runs of the days that a backfill spans, also those that an earlier one made."""
        backfill = self.get(f"/backfills/{backfill_id}")
        days = {"logical_date_gte": backfill["from_date"], "logical_date_lte": backfill["to_date"]}
        return self.runs(dag_id, run_type="backfill", **days)

    def wait_for_backfill(self, dag_id: str, backfill_id: int, *, timeout: float = 300) -> list[dict]:
        """The runs of a backfill once each has ended; RunFailedError if one of them failed."""

        def seen() -> tuple[bool, str]:
            states = {run["dag_run_id"]: run["state"] for run in self.backfill_runs(dag_id, backfill_id)}
            return set(states.values()) <= ENDED, str(states)

        self.poll(f"backfill {backfill_id} of {dag_id}", seen, timeout)
        runs = self.backfill_runs(dag_id, backfill_id)
        for run in runs:
            if run["state"] == "failed":
                raise self._run_failed(dag_id, run["dag_run_id"])
        return runs

    # --- inside ---------------------------------------------------------------------------------------------------

    def _run_failed(self, dag_id: str, run_id: str) -> RunFailedError:
        tasks = self.task_instances(dag_id, run_id)
        failed = [task for task in tasks if task["state"] == "failed"]
        return RunFailedError(
            f"Run {run_id} of {dag_id} ended without what was asked of it",
            seen="\n".join(self._failure(dag_id, run_id, task) for task in failed)
            or {task_name(task): task["state"] for task in tasks},
            where=f"{self.url}/dags/{dag_id}/runs/{run_id}",
            hint="the end of each failed task's log is above; mend the cause and start a new run",
        )

    def _failure(self, dag_id: str, run_id: str, task: dict, lines: int = 30) -> str:
        try:
            log = self.task_log(
                dag_id, run_id, task["task_id"], try_number=task["try_number"], map_index=task["map_index"]
            )
        except StackError as error:
            log = f"(no log: {error.seen})"
        tail = "\n".join(f"    {line}" for line in log.splitlines()[-lines:])
        return f"task {task_name(task)} failed, try {task['try_number']}\n{tail}"
