"""`ratchet`: the loop's steps from a shell, and the ledger to read."""

from __future__ import annotations

import getpass
import json
import sys
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.table import Column, Table

from ratchet.deployment import get_deployment
from ratchet.errors import ParameterError, RatchetError, UnknownNameError

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
def readmit(
    dataset: str,
    reason: Annotated[str, typer.Option(help="why, for the record")],
    first: Annotated[str | None, typer.Option("--from", help="first event day; none: all that can be mended")] = None,
    last: Annotated[str | None, typer.Option("--to", help="last event day, included")] = None,
) -> None:
    """Check days again after a corrected drop or suite; publish those that come out otherwise."""
    from ratchet.workflow.ingestion import readmit_partitions

    _show(readmit_partitions(get_deployment(), dataset, reason=reason, actor=getpass.getuser(), first=first, last=last))


@cli.command()
def quality(
    dataset: str,
    first: Annotated[str | None, typer.Option("--from", help="first event day")] = None,
    last: Annotated[str | None, typer.Option("--to", help="last event day, included")] = None,
) -> None:
    """What the last check of each day found: counts, freshness, null and outlier rates, and why rows or days failed."""
    deployment = get_deployment()
    deployment.dataset(dataset)
    history = deployment.lake.read(f"history/{dataset}", first, last)
    days = Table(
        Column("day", no_wrap=True),
        "landed",
        "kept",
        "quarantined",
        "published",
        "hours after the day",
        "most nulls",
        "most outliers",
    )
    for day, columns in history.groupby("day"):
        one = columns.iloc[0]
        counts = (one.landed_rows, one.kept_rows, one.quarantined_rows)
        worst = (_worst(columns, rate) for rate in ("null_rate", "outlier_rate"))
        published = "yes" if one.published else "REFUSED"
        days.add_row(day, *map(str, counts), published, f"{one.delivered_after_hours:.1f}", *worst)
    console.print(days)
    for table in ("quarantine", "refused"):
        rows = deployment.lake.read(f"{table}/{dataset}", first, last)
        for (day, reason), count in rows.groupby(["day", "reason"]).size().items() if len(rows) else ():
            console.print(f"{table} {day}: {count} x {_one_line(reason, 120)}")
    checks = deployment.lake.read(f"quality/{dataset}", first, last)
    for check in checks[~checks["passed"]].itertuples() if len(checks) else ():
        told = f"seen {check.seen}, expected {check.expected}"
        console.print(f"{check.severity} {check.day}: {check.expectation}: {_one_line(told, 160)}")


@cli.command()
def profile(
    source: Annotated[str, typer.Argument(help="a CSV file, gzipped or not; or a drop: <dataset>/<day>")],
    out: Annotated[
        str | None, typer.Option(help="folder for both files; -: print; none: where specs and suites are")
    ] = None,
    name: Annotated[str | None, typer.Option(help="the dataset's name; none: the drop's or the file's")] = None,
    time_zone: Annotated[str | None, typer.Option(help="IANA name; none: guessed from drop and timestamps")] = None,
    max_rows: Annotated[int, typer.Option(help="rows to look at", min=1)] = 100_000,
    max_bytes: Annotated[int, typer.Option(help="bytes to look at, unpacked", min=1)] = 32 * 1024 * 1024,
    force: Annotated[bool, typer.Option("--force", help="overwrite")] = False,
    to_print: Annotated[bool, typer.Option("--print", help="as --out -")] = False,
) -> None:
    """Draft a dataset's spec and suite from a sample, each guess marked for review."""
    from ratchet.profile import profile, write_draft

    deployment = get_deployment()
    limits = {"max_rows": max_rows, "max_bytes": max_bytes}
    draft = profile(source, deployment.drops, name=name, time_zone=time_zone, **limits)
    if to_print or out == "-":
        typer.echo(f"{draft.spec}\n{draft.suite}", nl=False)
        return
    folders = (out, out) if out else (deployment.settings.dataset_specs, deployment.settings.suites)
    spec, suite = write_draft(draft, *folders, force=force)
    _show({"spec": spec, "suite": suite, "rows": draft.rows, "notes": draft.notes})


@cli.command()
def forget(
    dataset: str,
    key: Annotated[list[str], typer.Option(help="<column>=<value> as delivered; several: rows that have all of them")],
    reason: Annotated[str, typer.Option(help="why, for the record; without the value")],
) -> None:
    """Delete a person's rows for good, and list what can't be built again without them."""
    from ratchet.workflow.erasure import forget_person

    pairs = [part.partition("=") for part in key]
    if len({name for name, _, _ in pairs}) < len(pairs) or not all(sign for _, sign, _ in pairs):
        raise ParameterError(
            "a key that can't be read", expected="<column>=<value>, each column once", hint="e.g. --key customer=4711"
        )
    named = {name: value for name, _, value in pairs}
    _show(forget_person(get_deployment(), dataset, named, reason, getpass.getuser()))


@cli.command()
def upkeep(
    keep_days: Annotated[float, typer.Option(help="how long what a reader may be at is kept", min=1)] = 30,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only count")] = False,
) -> None:
    """Clear away what nobody needs: files of old versions, what killed writers left; gather scattered days."""
    from ratchet.workflow.upkeep import keep_up

    _show(keep_up(get_deployment(), keep_days=keep_days, dry_run=dry_run))


@cli.command()
def retrain(
    model: str,
    reason: Annotated[str, typer.Option(help="why, for the record")],
    as_of: Annotated[str | None, typer.Option(help="event day up to which data is used")] = None,
) -> None:
    """File a retrain request; dispatch starts the training."""
    from ratchet.workflow.training import request_retrain

    _show(
        request_retrain(get_deployment(), model, reason=reason, source="person", actor=getpass.getuser(), as_of=as_of)
    )


@cli.command()
def status() -> None:
    """Champions, challengers, open work and the data's high-water marks."""
    from ratchet.ingest import refused_days

    deployment = get_deployment()
    datasets = Table("dataset", "days", "newest", "rows", "quarantined", "days refused", title="datasets")
    for name in deployment.datasets.good:
        partitions = deployment.ledger.partitions(name)
        refused = refused_days(deployment.dataset(name), drops=deployment.drops, ledger=deployment.ledger)
        datasets.add_row(
            name,
            str(len(partitions)),
            max((p.day for p in partitions), default="none"),
            str(sum(p.rows for p in partitions)),
            str(sum(p.quarantined for p in partitions)),
            _days_told(refused),
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
    snapshots = {m.subject for m in ledger.stale(name) if m.kind == "snapshot"}
    stale = [str(c.version) for c in ledger.challengers(name) if c.snapshot in snapshots]
    console.print(f"versions made from partitions that were corrected since: {', '.join(stale) or 'none'}")
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


def _worst(columns, rate: str) -> str:
    known = columns.dropna(subset=rate)
    if known.empty or not known[rate].max():
        return "none"
    worst = known.loc[known[rate].idxmax()]
    return f"{worst[rate]:.1%} {worst.column}"


def _days_told(days: list[str], most: int = 5) -> str:
    told = sorted(days)[-most:]
    return ", ".join(["…"] * (len(days) > most) + told) or "none"


def _one_line(value: object, length: int = 80) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= length else f"{text[:length]}…"


def _show(value: dict) -> None:
    typer.echo(json.dumps(value, indent=2, default=str))
