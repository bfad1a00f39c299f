"""Airflow's REST API in words: paths, names, log lines, and refusals as errors."""

from __future__ import annotations

from urllib.parse import quote

import httpx

from local_stack.errors import StackError


def run_path(dag_id: str, run_id: str) -> str:
    return f"/dags/{quote(dag_id, safe='~')}/dagRuns/{quote(run_id, safe='~')}"


def task_name(task: dict) -> str:
    return task["task_id"] if task["map_index"] < 0 else f"{task['task_id']}[{task['map_index']}]"


def instant(day: str) -> str:
    return f"{day}T00:00:00Z" if len(day) == len("2013-01-01") else day


def log_line(entry: dict | str) -> str:
    """A log event as text; of an exception's frames those outside Airflow itself."""
    if isinstance(entry, str):
        return entry
    lines = [str(entry.get("event", ""))]
    for error in entry.get("error_detail") or []:
        frames = [frame for frame in error.get("frames", []) if "/site-packages/airflow/" not in frame["filename"]]
        lines += [f"  {frame['filename']}:{frame['lineno']} in {frame['name']}" for frame in frames]
        lines.append(f"{error.get('exc_type')}: {error.get('exc_value')}")
    return "\n".join(lines)


def database_failed(reply: httpx.Response) -> bool:
    """Whether Airflow's database failed the request (SQLite: "database is locked"), and not what was asked."""
    return reply.status_code >= 500 and "database" in reply.text.lower()


def refused(method: str, path: str, reply: httpx.Response, username: str) -> StackError:
    try:
        detail = reply.json().get("detail", reply.text)
    except (ValueError, AttributeError):
        detail = reply.text[:500]
    hints = {401: "sign in again", 403: f"ask an account that may; this one is {username}", 404: "check the names"}
    return StackError(
        f"Airflow refused {method} {path}",
        seen=f"{reply.status_code} {detail}",
        where=str(reply.request.url),
        hint=hints.get(reply.status_code, "Airflow's own words are above"),
    )
