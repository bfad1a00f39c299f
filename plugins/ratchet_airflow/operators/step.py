"""The envelope that all operators share: check the params, call one step, keep its result for links and XCom."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from ratchet.deployment import Deployment, get_deployment
from ratchet.errors import RatchetError
from ratchet_airflow.params import checked_params


class StepOperator(BaseOperator):
    """Runs one workflow step. Subclasses store in the constructor and act in `step`.

    The result is a small dict of addresses and numbers: it goes to XCom, and links read their URL from it.
    """

    result: dict | None = None

    def execute(self, context) -> dict:
        try:
            self.result = self.step(get_deployment(), checked_params(context), context)
        except RatchetError as error:
            self.result = error.links
            if error.retryable:
                raise
            raise AirflowFailException(str(error)) from error  # another try would say the same
        self.log.info("%s: %s", self.task_id, self.result)
        return self.result

    @abstractmethod
    def step(self, deployment: Deployment, params: dict, context) -> dict:
        """Call the library."""


class ModelStepOperator(StepOperator):
    """A step that speaks for one model."""

    template_fields: Sequence[str] = ("model",)

    def __init__(self, *, model: str, **kwargs) -> None:
        super().__init__(**kwargs)
        self.model = model
