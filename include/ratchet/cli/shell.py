"""What the commands share: the app, the console, and how results and errors are told."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer
from rich.console import Console

from ratchet.errors import RatchetError

HELP = "The loop's steps from a shell, and the ledger to read."
cli = typer.Typer(no_args_is_help=True, add_completion=False, help=HELP, pretty_exceptions_enable=False)
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


def one_line(value: object, length: int = 80) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= length else f"{text[:length]}…"


def show(value: dict) -> None:
    typer.echo(json.dumps(value, indent=2, default=str))
