"""Run input: Params with a schema for the form and the API, and the checks that a schema does not make.

Airflow accepts unknown conf keys; so the first task of every DAG checks again (`checked_params`), before anything is
read or written.
"""

from __future__ import annotations

from airflow.sdk import Param

from ratchet.errors import ParameterError


def day(description: str) -> Param:
    """An optional event day, YYYY-MM-DD; a calendar in the form."""
    return Param(None, type=["null", "string"], format="date", description=description)


def text(description: str, *, required: bool = False, default: str = "", max_length: int = 2000) -> Param:
    """Free text of a person or a system; never empty when `required`."""
    if required:
        return Param(default, type="string", minLength=1, maxLength=max_length, description=description)
    return Param(None, type=["null", "string"], maxLength=max_length, description=description)


def number(description: str, *, required: bool = False) -> Param:
    """A positive whole number, such as a model version."""
    if required:
        return Param(type="integer", minimum=1, description=description)
    return Param(None, type=["null", "integer"], minimum=1, description=description)


def checked_params(context) -> dict:
    """The run's params. Raises ParameterError when the run's conf holds a key that the DAG doesn't know.

    The DAG's own params say what it knows: Airflow adds unknown keys of the conf to the params of the context.
    """
    known, conf = sorted(context["dag"].params), context["dag_run"].conf or {}
    if unknown := sorted(set(conf) - set(known)):
        raise ParameterError(
            "unknown parameter",
            seen=", ".join(unknown),
            expected=f"some of {known}",
            hint="mend the conf and trigger again",
        )
    return dict(context["params"])


def asked_by(context) -> str:
    """The user who started the run, or what did."""
    run = context["dag_run"]
    return run.triggering_user_name or str(getattr(run.run_type, "value", run.run_type))
