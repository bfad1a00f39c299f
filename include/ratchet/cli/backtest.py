"""The time machine's command."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from ratchet.cli.shell import First, Last, cli, console
from ratchet.deployment import get_deployment

ALL = "never,monthly,drift,performance,ratchet"


@cli.command()
def backtest(
    model: str,
    first: First,
    last: Last,
    policy: Annotated[str, typer.Option(help="some of never,monthly,monthly_ungated,drift,performance,ratchet")] = ALL,
    world: Annotated[str | None, typer.Option(help="a planted world instead of the model's own past")] = None,
    seed: Annotated[int, typer.Option(help="of the planted world")] = 2013,
    approval_days: Annotated[int, typer.Option(help="days until the approver answers", min=1)] = 1,
    out: Annotated[Path | None, typer.Option(help="folder; none: backtests/<model> in RATCHET_VAR")] = None,
    page: Annotated[Path | None, typer.Option(help="file of the page; none: page.md in the folder")] = None,
    picture: Annotated[Path | None, typer.Option(help="file of the plot; none: plot.png in the folder")] = None,
) -> None:
    """Play the whole loop over past data by several policies; production is only read. Started again, it goes on."""
    from ratchet.backtest import page as pages
    from ratchet.backtest.run import Asked, backtest

    deployment = get_deployment()
    named = [name.strip() for name in policy.split(",")]
    asked = Asked(model, first, last, named, world, seed, approval_days)
    out = out or deployment.settings.var / "backtests" / (f"{model}.{world}" if world else model)
    page, picture = page or out / "page.md", picture or out / "plot.png"
    with _progress() as progress:
        told = backtest(deployment, asked, out, _shown(progress, named, first, last))
    picture.write_bytes(pages.picture(told))
    page.write_text(pages.as_markdown(told, Path(os.path.relpath(picture, page.parent)).as_posix()), "utf-8")
    shown = Table(*pages.COLUMNS)
    for line in pages.table(told):
        shown.add_row(*line)
    console.print(shown)
    console.print(f"figures: {out / 'result.json'}\npage: {page}\nplot: {picture}", soft_wrap=True)


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[day]}"), TimeElapsedColumn())
    return Progress(*columns, console=console)


def _shown(progress: Progress, policies: list[str], first: str, last: str):
    from ratchet.days import check_range, days_between

    count = len(days_between(*check_range(first, last)))
    tasks = {name: progress.add_task(name, total=count, start=False, day="") for name in policies}

    def on_day(policy: str, day: str) -> None:
        progress.start_task(tasks[policy])
        progress.update(tasks[policy], advance=1, day=day)

    return on_day
