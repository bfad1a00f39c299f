"""Commands on the ledger's chain of events."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from ratchet.cli.shell import cli, console, one_line, show
from ratchet.deployment import get_deployment
from ratchet.ledger import Event

audit = typer.Typer(no_args_is_help=True, help="The ledger's chained events: who asked, decided and did what.")
cli.add_typer(audit, name="audit")


@audit.command("show")
def auditshow(
    subject: Annotated[str | None, typer.Option(help="only events of this, such as models/flight_delay")] = None,
    limit: Annotated[int, typer.Option(help="newest events to show", min=1)] = 50,
) -> None:
    """The newest events, oldest first: a line each for what, who and when (UTC), and one for the facts."""
    events = get_deployment().ledger.events(subject=subject, limit=limit)
    for event in events:
        who = one_line(event.actor)
        typer.echo(f"{event.seq:>6}  {event.at:%Y-%m-%d %H:%M:%S}  {event.kind}  by {who}  {event.subject}")
        facts = {key: value for key, value in event.payload.items() if isinstance(value, str | int | float)}
        typer.echo("        " + ", ".join(f"{key}={one_line(value)}" for key, value in facts.items()))
    if not events:
        typer.echo(f"no event of {subject}; subjects look like models/flight_delay or datasets/flights", err=True)


@audit.command("verify")
def audit_verify(as_: Annotated[Literal["text", "json"], typer.Option("--as")] = "text") -> None:
    """Check the whole chain against its key and its head, and every row of every table against the chain.

    Exit status 1, and the first bad entry or the rows that were altered, deleted or forged, if anything is wrong.
    """
    report = get_deployment().ledger.verify()
    if as_ == "json":
        show({**vars(report), "rows": [vars(row) for row in report.rows]})
    elif report.ok:
        console.print(f"the chain holds: {report.entries} entries, and every row is as they tell it")
    elif report.wrong:
        lines = ["the chain holds, but not all it speaks of:", *(one_line(f"- {row}", 500) for row in report.rows)]
        more = [f"and {report.wrong - len(report.rows)} more"] if report.wrong > len(report.rows) else []
        console.print("\n".join([*lines, *more]), style="red", soft_wrap=True)
    else:
        where = f"broken at entry {report.first_bad}" if report.first_bad else "broken at its end"
        console.print(f"{where}: {report.reason}", style="red")
    if not report.ok:
        sys.exit(1)


@audit.command("export")
def audit_export(
    out: Annotated[Path | None, typer.Option(help="file to write; none: the terminal")] = None,
    subject: Annotated[str | None, typer.Option(help="only events of this, such as models/flight_delay")] = None,
) -> None:
    """Every event as JSON Lines, oldest first: seq, at (UTC), kind, actor, subject, payload, prev_hash, hash."""
    lines = (_line(event) for event in get_deployment().ledger.events(subject=subject))
    if out is None:
        for line in lines:
            typer.echo(line)
    else:
        out.write_text("".join(f"{line}\n" for line in lines), "utf-8")


def _line(event: Event) -> str:
    return json.dumps({**vars(event), "at": event.at.isoformat()}, sort_keys=True, ensure_ascii=False)
