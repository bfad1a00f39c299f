"""Commands on alerts: what is open, and settling one by hand."""

from __future__ import annotations

import getpass
from typing import Annotated

import typer

from ratchet.cli.shell import cli
from ratchet.deployment import get_deployment


@cli.command()
def alerts(
    model: Annotated[str | None, typer.Argument(help="a model, a dataset, or `ratchet`; none: all")] = None,
) -> None:
    """The open alerts: level, what, since when, what it hurts, what the loop did, and the runbook."""
    from ratchet.alert_text import alert_text

    deployment = get_deployment()
    found = deployment.ledger.open_alerts(model)
    for alert in found:
        typer.echo(alert_text(alert, deployment.settings.runbooks))
    if not found:
        typer.echo("no open alert", err=True)


@cli.command("settle-alert")
def settle(
    model: str,
    key: Annotated[str, typer.Argument(help="what it is about: see `ratchet alerts`")],
    reason: Annotated[str, typer.Option(help="why it is over, for the record")],
) -> None:
    """Close an alert in your name. It is raised anew when what it tells of is seen again."""
    from ratchet.errors import UnknownNameError

    if get_deployment().ledger.settle_alert(model, key, reason, actor=getpass.getuser()) is None:
        raise UnknownNameError(f"{model} has no open alert about {key!r}", hint="see `ratchet alerts`")
