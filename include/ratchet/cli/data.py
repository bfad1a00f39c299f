"""Commands on data: deliver, take in, look at, mend, erase, clear away."""

from __future__ import annotations

import getpass
from typing import Annotated

import typer
from rich.table import Column, Table

from ratchet.cli.shell import First, Last, cli, console, one_line, show
from ratchet.deployment import get_deployment
from ratchet.errors import ParameterError, UnknownNameError


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
    show(land_flights(get_deployment().drops, first, last).as_dict())


@cli.command()
def ingest(
    dataset: str,
    first: Annotated[str | None, typer.Option("--from", help="first event day; none: every drop not yet seen")] = None,
    last: Annotated[str | None, typer.Option("--to", help="last event day, included")] = None,
) -> None:
    """Validate drops and publish them as partitions."""
    from ratchet.workflow.ingestion import ingest_partitions

    show(ingest_partitions(get_deployment(), dataset, first, last))


@cli.command()
def readmit(
    dataset: str,
    reason: Annotated[str, typer.Option(help="why, for the record")],
    first: Annotated[str | None, typer.Option("--from", help="first event day; none: all that can be mended")] = None,
    last: Annotated[str | None, typer.Option("--to", help="last event day, included")] = None,
) -> None:
    """Check days again after a corrected drop or suite; publish those that come out otherwise."""
    from ratchet.workflow.ingestion import readmit_partitions

    show(readmit_partitions(get_deployment(), dataset, reason=reason, actor=getpass.getuser(), first=first, last=last))


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
            console.print(f"{table} {day}: {count} x {one_line(reason, 120)}")
    checks = deployment.lake.read(f"quality/{dataset}", first, last)
    for check in checks[~checks["passed"]].itertuples() if len(checks) else ():
        told = f"seen {check.seen}, expected {check.expected}"
        console.print(f"{check.severity} {check.day}: {check.expectation}: {one_line(told, 160)}")


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
    show({"spec": spec, "suite": suite, "rows": draft.rows, "notes": draft.notes})


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
    show(forget_person(get_deployment(), dataset, named, reason, getpass.getuser()))


@cli.command()
def upkeep(
    keep_days: Annotated[float, typer.Option(help="days that old versions of tables stay readable", min=1)] = 30,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say what would be cleared, and change nothing")] = False,
) -> None:
    """Clear away what nobody needs: files of old versions, what killed writers left; gather scattered days."""
    from ratchet.workflow.upkeep import keep_up

    show(keep_up(get_deployment(), keep_days=keep_days, dry_run=dry_run))


def _worst(columns, rate: str) -> str:
    known = columns.dropna(subset=rate)
    if known.empty or not known[rate].max():
        return "none"
    worst = known.loc[known[rate].idxmax()]
    return f"{worst[rate]:.1%} {worst.column}"
