"""Commands on models: ask for a training, look at the state of things, rebuild, explain, tell."""

from __future__ import annotations

import getpass
import json
from typing import Annotated, Literal

import typer
from rich.table import Table

from ratchet.cli.shell import cli, console, show
from ratchet.deployment import get_deployment


@cli.command()
def retrain(
    model: str,
    reason: Annotated[str, typer.Option(help="why, for the record")],
    as_of: Annotated[str | None, typer.Option(help="event day up to which data is used")] = None,
) -> None:
    """File a retrain request; dispatch starts the training."""
    from ratchet.workflow.training import request_retrain

    show(request_retrain(get_deployment(), model, reason=reason, source="person", actor=getpass.getuser(), as_of=as_of))


@cli.command()
def request(
    model: str,
    id: Annotated[str | None, typer.Argument(help="as the request was answered, such as r000012")] = None,
    key: Annotated[str | None, typer.Option(help="the key it came with, in place of the id")] = None,
    run: Annotated[str | None, typer.Option(help="the retrain run that filed it without a key")] = None,
) -> None:
    """What became of a retrain request: its training, version, verdict, approval; whether it is champion now."""
    from ratchet.workflow.request_story import tell_request

    show(tell_request(get_deployment().ledger, model, id, key=key, run=run))


@cli.command()
def reproduce(
    model: str,
    version: Annotated[int | None, typer.Argument(help="none: the champion's")] = None,
    build: Annotated[
        bool, typer.Option("--build", help="make the environment of its lock file where it differs")
    ] = False,
) -> None:
    """Build a version again from what was kept of it, and prove that it is the same; exit status 1 if it isn't."""
    from ratchet.errors import UnknownNameError
    from ratchet.workflow.reproduction import reproduce_version

    deployment = get_deployment()
    champion = deployment.ledger.champion(model)
    if version is None and champion is None:
        deployment.model(model)  # that nobody has heard of it comes first
        raise UnknownNameError(f"{model} has no champion", hint="name a version: see `ratchet status`")
    wanted = version or champion.version
    show(reproduce_version(deployment, model, wanted, build=build, actor=getpass.getuser()))


@cli.command("explain-prediction")
def explain(
    prediction: Annotated[str, typer.Argument(help="its id: column prediction_id of predictions/<model>")],
) -> None:
    """Everything that made a stored prediction: version, snapshot, drops, source, gate, approver."""
    from ratchet.workflow.lineage import explain_prediction

    show(explain_prediction(get_deployment(), prediction))


@cli.command()
def card(model: str, version: Annotated[int, typer.Argument(help="see `ratchet status`")]) -> None:
    """Make the version's model card again from the record, file it in MLflow, and print its address."""
    from ratchet.workflow.card import file_card

    deployment = get_deployment()
    typer.echo(file_card(deployment, deployment.model(model), version))


@cli.command()
def report(
    model: str,
    month: Annotated[str | None, typer.Option(help="YYYY-MM; none: the one before that of the newest data")] = None,
) -> None:
    """Make the page of a model's month from the record, file it in MLflow, and print its address."""
    from ratchet.workflow.monthly import report_month

    show(report_month(get_deployment(), model, month))


@cli.command()
def metrics(
    model: Annotated[str | None, typer.Argument(help="none: every model")] = None,
    as_: Annotated[Literal["text", "json"], typer.Option("--as")] = "text",
) -> None:
    """How well the loop delivers: promotions, failures, and the hours from data or drift to production and back."""
    from ratchet.delivery import delivery

    deployment = get_deployment()
    names = [deployment.model(model).name] if model else list(deployment.models.good)
    figures = {name: delivery(deployment.ledger, name).as_dict() for name in names}
    if as_ == "json":
        typer.echo(json.dumps(figures, indent=2))
        return
    for name, of_model in figures.items():
        table = Table("figure", "value", title=name)
        for figure, value in of_model.items():
            if figure != "model":
                table.add_row(figure.replace("_", " "), _figure_told(figure, value))
        console.print(table)


def _figure_told(figure: str, value: object) -> str:
    if value is None:
        return "none yet"
    if isinstance(value, dict):
        return ", ".join(f"{month}: {count}" for month, count in value.items()) or "none yet"
    if isinstance(value, float):
        return f"{value:.0%}" if figure.endswith("share") else f"{value:g} hours"
    return str(value)


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
    console.print(f"newest retrain request: {_newest_request(ledger, name)}")
    turned_down, most = ledger.turned_down(name), deployment.model(name).retrain_when.stop_after_rejected
    named = ", ".join(map(str, turned_down)) or "none"
    console.print(f"versions turned down in a row ({most} stop the broker): {named}")
    due = [item for item in list_due(deployment) if item.dag_id.startswith(f"{name}.")]
    console.print("due: " + ("; ".join(f"{item.dag_id} {item.key}" for item in due) or "nothing"))


def _newest_request(ledger, name: str) -> str:
    from ratchet.workflow.request_story import tell_request

    requests = ledger.requests(name)
    if not requests:
        return "none"
    newest = requests[-1]
    return f"{newest.id} ({newest.source}), {tell_request(ledger, name, newest.id)['told']}"


def _days_told(days: list[str], most: int = 5) -> str:
    told = sorted(days)[-most:]
    return ", ".join(["…"] * (len(days) > most) + told) or "none"
