"""What can go wrong while the local servers start, run and stop."""

from __future__ import annotations

from ratchet.errors import RatchetError


class StackError(RatchetError):
    """The local Airflow or MLflow did not start, is in use, or did not answer."""


class NoAnswerError(StackError):
    """A server did not answer a request: it is not there, or is being started again."""


class RunFailedError(RatchetError):
    """A DAG run ended in failure; the message holds each failed task and the end of its log."""


class WaitTimeoutError(RatchetError):
    """What was waited for did not happen in time; the message holds the last state seen."""
