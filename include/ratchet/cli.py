"""`ratchet`: the loop's steps from a shell, and the ledger to read."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table

from ratchet.deployment import get_deployment
from ratchet.errors import RatchetError, UnknownNameError

cli = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__, pretty_exceptions_enable=False)
audit = typer.Typer(no_args_is_help=True, help="The ledger's chained events: who asked, decided and did what.")
cli.add_typer(audit, name="audit")
console = Console(markup=False, emoji=False)  # what people and systems wrote is shown as it is

First = Annotated[str, typer.Option("--from", help="first event day, YYYY-MM-DD")]
Last = Annotated[str, typer.Option("--to", help="last event day, included")]


def app() -> None:
    """Entry point: errors of Ratchet's own are told without a traceback, with exit status 1."""
    try:
        cli()
    except RatchetError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(1)


@cli.command()
def land(
    source: Annotated[str, typer.Argument(help="the only source that ships: flights")], first: First, last: Last
) -> None:
    """Play the upstream systems: deliver the source's real data as daily drops, each with its manifest."""
    from ratchet.upstream import land_flights

    if source != "flights":
        raise UnknownNameError(
            f"no source named {source!r}", expected="flights", hint="ratchet land flights --from ... --to ..."
        )
    _show(land_flights(get_deployment().drops, first, last).as_dict())


@cli.command()
def ingest(
    dataset: str,
    first: Annotated[str | None, typer.Option("--from", help="first event day; none: every drop not yet seen")] = None,
    last: Annotated[str | None, typer.Option("--to", help="last event day, included")] = None,
) -> None:
    """Validate drops and publish them as partitions."""
    from ratchet.workflow.ingestion import ingest_partitions

    _show(ingest_partitions(get_deployment(), dataset, first, last))


@cli.command()
def retrain(
    model: str,
    reason: Annotated[str, typer.Option(help="why, for the record")],
    as_of: Annotated[str | None, typer.Option(help="event day up to which data is used")] = None,
) -> None:
    """File a retrain request; dispatch starts the training."""
    import getpass

    from ratchet.workflow.training import request_retrain

    _show(
        request_retrain(get_deployment(), model, reason=reason, source="person", actor=getpass.getuser(), as_of=as_of)
    )


@cli.command()
def status() -> None:
    """Champions, challengers, open work and the data's high-water marks."""
    deployment = get_deployment()
    datasets = Table("dataset", "days", "newest", "rows", "quarantined", title="datasets")
    for name in deployment.datasets.good:
        partitions = deployment.ledger.partitions(name)
        datasets.add_row(
            name,
            str(len(partitions)),
            max((p.day for p in partitions), default="none"),
            str(sum(p.rows for p in partitions)),
            str(sum(p.quarantined for p in partitions)),
        )
    console.print(datasets)
    for name in deployment.models.good:
        _model_status(deployment, name)
    for name, error in {**deployment.datasets.errors, **deployment.models.errors}.items():
        console.print(f"spec {name} can't be used: {error}", style="red")


def _model_status(deployment, name: str) -> None:
    from ratchet.workflow.dispatch import list_due

    ledger = deployment.ledger
    champion = ledger.champion(name)
    versions = Table("version", "as of", "status", "verdict", "validate AUC", title=name)
    for challenger in ledger.challengers(name):
        verdict = ledger.verdict(name, challenger.version)
        versions.add_row(
            f"{challenger.version}{' (champion)' if champion and champion.version == challenger.version else ''}",
            challenger.as_of,
            challenger.status,
            verdict.verdict if verdict else "not judged",
            f"{challenger.metrics.get('roc_auc', float('nan')):.3f}",
        )
    console.print(versions)
    console.print(f"champion: {f'version {champion.version}, epoch {champion.epoch}' if champion else 'none'}")
    scored = ledger.scored_days(name)
    console.print(f"scored days: {len(scored)}{f', newest {max(scored)}' if scored else ''}")
    due = [item for item in list_due(deployment) if item.dag_id.startswith(f"{name}.")]
    console.print("due: " + ("; ".join(f"{item.dag_id} {item.key}" for item in due) or "nothing"))


@audit.command("show")
def audit_show(
    subject: Annotated[str | None, typer.Option(help="only events of this, such as models/flight_delay")] = None,
    limit: Annotated[int, typer.Option(help="newest events to show", min=1)] = 50,
) -> None:
    """The newest events, oldest first: a line each for what, who and when (UTC), and one for the facts."""
    events = get_deployment().ledger.events(subject=subject, limit=limit)
    for event in events:
        who = _one_line(event.actor)
        typer.echo(f"{event.seq:>6}  {event.at:%Y-%m-%d %H:%M:%S}  {event.kind}  by {who}  {event.subject}")
        facts = {key: value for key, value in event.payload.items() if isinstance(value, str | int | float)}
        typer.echo("        " + ", ".join(f"{key}={_one_line(value)}" for key, value in facts.items()))
    if not events:
        typer.echo(f"no event of {subject}; subjects look like models/flight_delay or datasets/flights", err=True)


@audit.command("verify")
def audit_verify(as_: Annotated[Literal["text", "json"], typer.Option("--as")] = "text") -> None:
    """Check the whole chain against its keys and its head; exit status 1 and the first bad entry if it is broken."""
    report = get_deployment().ledger.verify()
    if as_ == "json":
        _show({"ok": report.ok, "entries": report.entries, "first_bad": report.first_bad, "reason": report.reason})
    elif report.ok:
        console.print(f"the chain holds: {report.entries} entries")
    else:
        where = (
            f"broken at entry {report.first_bad}" if report.first_bad else "the chain holds, but not all it speaks of"
        )
        console.print(f"{where}: {report.reason}", style="red")
    if not report.ok:
        sys.exit(1)


def _one_line(value: object, length: int = 80) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= length else f"{text[:length]}…"


def _show(value: dict) -> None:
    typer.echo(json.dumps(value, indent=2, default=str))
