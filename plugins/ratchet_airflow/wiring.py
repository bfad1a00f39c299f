"""What every DAG file shares: the specs as they stand at parse time, and the arguments that all our DAGs agree on."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from functools import lru_cache

from airflow.sdk import get_parsing_context
from airflow.sdk.configuration import conf

from ratchet.deployment import Deployment, get_deployment
from ratchet.specs import DatasetSpec, ModelSpec
from ratchet_airflow.notifiers import FailedRunNotifier


@lru_cache(maxsize=1)
def deployment() -> Deployment:
    """The deployment, for its specs only: parsing opens no ledger, lake or registry."""
    return get_deployment()


def dataset_specs(kind: str) -> Iterator[DatasetSpec]:
    """The good dataset specs whose `<name>.<kind>` DAG is wanted by this parse."""
    return (spec for spec in deployment().datasets.good.values() if _wanted(f"{spec.name}.{kind}"))


def model_specs(kind: str) -> Iterator[ModelSpec]:
    """The good model specs whose `<name>.<kind>` DAG is wanted by this parse."""
    return (spec for spec in deployment().models.good.values() if _wanted(f"{spec.name}.{kind}"))


def dag_arguments(spec: DatasetSpec | ModelSpec, kind: str, runbook: str) -> dict:
    """Arguments of DAG(): id, runbook, owner, tags, retries, and the alert of a failed run. `runbook` may speak of
    {name}.

    Library errors say what is wrong for good, so they aren't retried (see StepOperator); what dies otherwise is.
    """
    return {
        "dag_id": f"{spec.name}.{kind}",
        "description": (runbook.strip().splitlines() or [""])[0].replace("{name}", spec.name),
        "doc_md": runbook.replace("{name}", spec.name),
        "tags": ["ratchet", kind, spec.name, *spec.tags],
        "default_args": {
            "owner": spec.owner,
            "retries": 4,
            "retry_delay": timedelta(seconds=5),
            "retry_exponential_backoff": 2,
        },
        "catchup": False,
        "max_active_runs": 1,
        "on_failure_callback": FailedRunNotifier(),
    }


def assigned_users(spec: ModelSpec) -> list[dict[str, str]]:
    """The approvers, as an approval task names those whom Airflow lets answer.

    SimpleAuthManager knows users by their names. Others (FAB) know them by numbers that a spec can't know: there
    Airflow lets any user answer who may edit the task, and what one says who is no approver goes on record and decides
    nothing (see `ratchet.workflow.approval.record_answer`).
    """
    if not conf.get("core", "auth_manager").endswith(".SimpleAuthManager"):
        return []
    return [{"id": name, "name": name} for name in spec.approval.approvers]


def _wanted(dag_id: str) -> bool:
    """A task start parses its file again for one DAG: build only that one."""
    return get_parsing_context().dag_id in (None, dag_id)
