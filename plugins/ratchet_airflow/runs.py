"""What a task may ask about runs: Airflow's counts and task states, as `ratchet.workflow.failed_runs.Runs`."""

from __future__ import annotations

from collections.abc import Sequence


class RunsOfAirflow:
    """Through a running task's own interface: no credentials, no REST API."""

    def __init__(self, ti) -> None:
        self._ti = ti

    def count(self, dag_id: str, run_ids: Sequence[str] | None = None, state: str | None = None) -> int:
        if run_ids is not None and not run_ids:
            return 0  # an empty list would count as none given
        return self._ti.get_dr_count(dag_id, run_ids=run_ids, states=[state] if state else None)

    def states(self, dag_id: str, run_ids: Sequence[str] | None = None) -> dict[str, dict[str, str]]:
        return self._ti.get_task_states(dag_id, run_ids=run_ids)
