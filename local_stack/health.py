"""Whether the servers are healthy: None, or what is not."""

from __future__ import annotations

import httpx


def airflow_health(url: str) -> str | None:
    """None when the API that tasks talk to, the database, the scheduler and the DAG processor are healthy.

    The first request to the tasks' API costs 3 s, because Airflow puts it together then: paid here, not by a task.
    """
    try:
        tasks_api = httpx.get(f"{url}/execution/health", timeout=30, trust_env=False)
        reply = httpx.get(f"{url}/api/v2/monitor/health", timeout=5, trust_env=False)
        parts = reply.json() if reply.status_code == 200 else {}
    except (httpx.HTTPError, ValueError) as error:
        return f"no answer: {error}"
    states = {part: (parts.get(part) or {}).get("status") for part in ("metadatabase", "scheduler", "dag_processor")}
    states["tasks_api"] = "healthy" if tasks_api.status_code == 200 else str(tasks_api.status_code)
    return None if set(states.values()) == {"healthy"} else str(states)


def mlflow_health(url: str) -> str | None:
    try:
        reply = httpx.get(f"{url}/health", timeout=5, trust_env=False)
    except httpx.HTTPError as error:
        return f"no answer: {error}"
    return None if reply.status_code == 200 else f"{reply.status_code} {reply.text[:200]}"
