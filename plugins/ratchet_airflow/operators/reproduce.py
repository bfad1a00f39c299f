"""Rebuilding versions in Airflow."""

from __future__ import annotations

from airflow.sdk.exceptions import AirflowSkipException

from ratchet.deployment import Deployment
from ratchet_airflow.operators.step import ModelStepOperator
from ratchet_airflow.params import asked_by


class ReproduceVersionOperator(ModelStepOperator):
    """Build a version again and compare it (`ratchet.workflow.reproduction.reproduce_version`).

    Skipped while there is no version that can be built again.
    """

    def step(self, deployment: Deployment, params: dict, context) -> dict:
        from ratchet.workflow.reproduction import next_to_reproduce, reproduce_version

        version = params["version"] or next_to_reproduce(deployment, self.model)
        if version is None:
            raise AirflowSkipException(f"no version of {self.model} to build again yet")
        return reproduce_version(deployment, self.model, version, build=params["build"], actor=asked_by(context))
