"""The monthly summary of a model: one page, from the record alone, filed as an MLflow artifact."""

from __future__ import annotations

import re
from datetime import date

from ratchet.days import shift_day
from ratchet.deployment import Deployment
from ratchet.digests import digest_of
from ratchet.errors import EmptyWindowError, ParameterError
from ratchet.specs import ModelSpec


def report_month(deployment: Deployment, model: str, month: str | None = None) -> dict:
    """Make the page of a month ("2013-06"; None: the month before that of the newest data) and file it, once for equal
    content: the same record gives the same page, and one that has changed since gives another.

    A month is one of event days. What has no event day of its own (a move, an alert) belongs to it by the data day that
    it speaks for, or by when it was put on record. Returns {month, first, last, days_scored, alarms, waiting, report};
    {explanation, report: None} where no month was named and there are no data to tell of yet. Raises ParameterError for
    what is no month, EmptyWindowError for a named one without data of the model.
    """
    from ratchet.monthly_page import monthly_page
    from ratchet.workflow.month_facts import month_facts

    spec = deployment.model(model)
    try:
        month = _checked(deployment, spec, month)
    except EmptyWindowError as nothing:
        if month is not None:
            raise
        return {"explanation": str(nothing), "report": None}
    first, last = month_days(month)
    facts = month_facts(deployment, spec, month, first, last)
    page = monthly_page(facts)
    url = deployment.registry.log_report(f"{model}.monthly", digest_of([month, page]), {"monthly.html": page})
    told = {"month": month, "first": first, "last": last, "days_scored": facts["days_scored"]}
    return told | {"alarms": len(facts["alarms"]), "waiting": len(facts["waiting"]), "report": url}


def month_days(month: str) -> tuple[str, str]:
    """Its first and last day."""
    first = date.fromisoformat(f"{month}-01")
    after = date(first.year + first.month // 12, first.month % 12 + 1, 1)
    return first.isoformat(), shift_day(after.isoformat(), -1)


def _checked(deployment: Deployment, spec: ModelSpec, month: str | None) -> str:
    newest = deployment.ledger.high_water(spec.scored_dataset)
    if newest is None:
        raise _empty(spec, month or "any month", None)
    if month is None:
        month = shift_day(f"{newest[:7]}-01", -1)[:7]
    if not isinstance(month, str) or not re.fullmatch(r"[1-9]\d{3}-(0[1-9]|1[0-2])", month):
        raise ParameterError(
            "month is no month", seen=repr(month), expected="YYYY-MM, such as 2013-06", hint="pass it so, or leave it"
        )
    if not deployment.ledger.partitions(spec.scored_dataset, *month_days(month)):
        raise _empty(spec, month, newest)
    return month


def _empty(spec: ModelSpec, month: str, newest: str | None) -> EmptyWindowError:
    return EmptyWindowError(
        f"{spec.name} has no data of {month}",
        seen=f"newest day of {spec.scored_dataset}: {newest or 'none'}",
        hint="name a month that has data: see `ratchet status`",
    )
