"""Rebuilding versions in Airflow."""

from __future__ import annotations

from airflow.sdk.exceptions import AirflowSkipException

from ratchet.deployment import Deployment
from ratchet_airflow.operators.step import ModelStepOperator
from ratchet_airflow.params import asked_by


class ReproduceVersionOperator(ModelStepOperator):
    """Build a version again and compare it (`ratchet.workflow.reproduction.reproduce_version`, `reproduce_next`).

    Skipped while there is no version to build again. Where all wait for another lock it succeeds, and says so.
    """

    def step(self, deployment: Deployment, params: dict, context) -> dict:
        from ratchet.workflow.reproduction import reproduce_next, reproduce_version

        how = {"build": params["build"], "actor": asked_by(context)}
        if params["version"]:
            return reproduce_version(deployment, self.model, params["version"], **how)
        told = reproduce_next(deployment, self.model, **how)
        if told["version"] is None and not told["skipped"]:
            raise AirflowSkipException(f"no version of {self.model} to build again yet")
        return told
