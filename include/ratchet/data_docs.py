"""The page that shows a person what an ingestion checked and found. Self-contained: no script, nothing from elsewhere.

Great Expectations' own data docs load styles and scripts from five outside servers; this page says the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from typing import TYPE_CHECKING

from ratchet.specs import DatasetSpec

if TYPE_CHECKING:
    from ratchet.expectations import Check

_STYLE = """
body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem;color:#1c2330;background:#fff}
table{border-collapse:collapse;width:100%;margin:.5rem 0 2rem}th,td{text-align:left;padding:.35rem .6rem;
border-bottom:1px solid #e3e6ec;vertical-align:top}th{color:#5a6475;font-weight:600}td.n{text-align:right;
font-variant-numeric:tabular-nums}.ok{color:#12703a}.bad{color:#b3261e;font-weight:600}.warn{color:#8a5a00}
code{font:13px ui-monospace,monospace;overflow-wrap:anywhere}
"""


def data_docs_page(spec: DatasetSpec, report: Mapping, checks: Iterable[Check]) -> str:
    """HTML of an ingestion: its counts, the days refused or warned about, and each expectation over all days.

    Every text is escaped: it may come from the data.
    """
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(spec.name)}: data docs</title>",
        f"<style>{_STYLE}</style><h1>{escape(spec.name)}</h1><p>{escape(spec.description)}</p>",
        _counts(report),
        _days("Refused", "bad", report["refused"]),
        _days("Warnings", "warn", report["warnings"]),
        _expectations(list(checks)),
        "</html>",
    ]
    return "\n".join(parts)


def _counts(report: Mapping) -> str:
    days = f"{len(report['published'])} days published, {len(report['unchanged'])} unchanged, "
    days += f"{len(report['refused'])} refused, {len(report['missing'])} without a drop"
    return f"<p>{days}; {report['rows']:,} rows published, {report['quarantined']:,} quarantined.</p>"


def _days(title: str, style: str, found: Mapping[str, list[str]]) -> str:
    if not found:
        return ""
    rows = "".join(
        f"<tr><td class={style}>{escape(day)}<td>{'<br>'.join(escape(line) for line in lines)}"
        for day, lines in sorted(found.items())
    )
    return f"<h2>{title}</h2><table><tr><th>Day<th>What was seen and expected{rows}</table>"


def _expectations(checks: list[Check]) -> str:
    """A row per expectation: on how many days it held, rows that failed it, and the first days it did not hold."""
    grouped: dict[tuple[str, str], list[Check]] = {}
    for check in checks:
        grouped.setdefault((check.expectation, check.severity), []).append(check)
    rows = []
    for (expectation, severity), found in grouped.items():
        failed = [check for check in found if not check.passed]
        style = "ok" if not failed else "bad" if severity == "critical" else "warn"
        seen = "<br>".join(escape(f"{check.day}: {check.seen}") for check in failed[:5])
        rows.append(
            f"<tr><td><code>{escape(expectation)}</code><td>{escape(severity)}"
            f"<td class='n {style}'>{len(found) - len(failed)} of {len(found)}"
            f"<td class=n>{sum(check.failed_rows for check in found):,}<td>{seen}"
        )
    head = "<tr><th>Expectation<th>Severity<th>Days it held<th>Rows failed<th>First days it did not"
    return f"<h2>Expectations</h2><table>{head}{''.join(rows)}</table>"
