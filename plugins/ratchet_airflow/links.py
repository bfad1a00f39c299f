"""Links from a task to what it made. A step returns addresses; a link shows the one under its field."""

from __future__ import annotations

from typing import ClassVar

import attrs
from airflow.sdk import BaseOperatorLink


@attrs.define()
class ResultLink(BaseOperatorLink):
    """The URL that the operator's last result holds under `field`; no link when there is none."""

    field: ClassVar[str]

    def get_link(self, operator, *, ti_key) -> str:
        return (getattr(operator, "result", None) or {}).get(self.field) or ""


@attrs.define()
class MlflowLink(ResultLink):
    name = "MLflow"
    field = "url"


@attrs.define()
class DataDocsLink(ResultLink):
    name = "Data docs"
    field = "data_docs"


@attrs.define()
class DriftReportLink(ResultLink):
    name = "Drift report"
    field = "report"


@attrs.define()
class MonthlyReportLink(ResultLink):
    name = "Monthly report"
    field = "report"


@attrs.define()
class ModelCardLink(ResultLink):
    name = "Model card"
    field = "card"


@attrs.define()
class RequestLink(ResultLink):
    name = "What became of it"
    field = "follow"


@attrs.define()
class EvidenceLink(ResultLink):
    name = "Evidence"
    field = "report"


LINKS = (
    MlflowLink,
    ModelCardLink,
    DataDocsLink,
    DriftReportLink,
    RequestLink,
    EvidenceLink,
    MonthlyReportLink,
)
