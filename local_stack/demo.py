"""`make demo`: the whole loop on the 2013 flights, through a live Airflow, every stage checked against the real state.

Exit status 0 only if each check held: in Airflow's API, in MLflow, in the ledger and in the lake. On the same state a
second time it finds everything done: no second version of anything whose inputs are the same.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from local_stack.environment import REPO
from local_stack.servers import Stack, running_stack
from ratchet.errors import RatchetError

MODEL = "flight_delay"
DATASETS = ("flights", "weather", "outcomes")
console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 140)


class DemoError(RatchetError):
    """A stage did not leave the state that it promises."""


class Demo:
    """The story, a method a stage. `rows` collects what happened, for the table at the end."""

    def __init__(self, stack: Stack, ask: bool) -> None:
        from ratchet.deployment import get_deployment

        self.stack, self.ask = stack, ask
        self.ratchet = get_deployment()
        self.operator, self.approver, self.service = (stack.api(name) for name in ("operator", "approver", "service"))
        self.run_prefix = f"demo_{datetime.now(UTC):%Y%m%dT%H%M%S}"
        self.rows: list[tuple[str, float, str]] = []

    def play(self) -> None:
        """Every stage, in order."""
        stages: list[tuple[str, Callable[[], str]]] = [
            ("ingest January to March in one run", self.ingest_first_quarter),
            ("train on January-February | 1-14 March | 15-31 March", lambda: self.train("2013-04-01", 1)),
            ("judge, approve and promote the first model", lambda: self.promote("2013-04-01")),
            ("backfill 1 to 3 April", self.backfill_april),
            ("score them", lambda: self.wait_scored("2013-04-01", "2013-04-03")),
            ("take in April to June in one run", self.ingest_second_quarter),
            ("score April to June", lambda: self.wait_scored("2013-04-01", "2013-06-30")),
            ("check drift while another system asks for a retrain", self.drift_and_api_at_once),
            ("train on January-April | May | June, once", lambda: self.train("2013-07-01", 2)),
            ("judge against the champion, approve and promote", lambda: self.promote("2013-07-01")),
            ("roll back to the first version", lambda: self.roll_back("2013-04-01")),
            ("and to the second again, the same way", lambda: self.roll_back("2013-07-01")),
            ("verify the audit chain", self.verify_chain),
        ]
        for number, (title, stage) in enumerate(stages, 1):
            console.print(f"[bold]{number:2}/{len(stages)} {title}[/bold]")
            started = time.monotonic()
            told = stage()
            seconds = time.monotonic() - started
            console.print(f"      [green]ok[/green] {seconds:5.1f} s  {told}")
            self.rows.append((title, seconds, told))

    # --- stages ---------------------------------------------------------------------------------------------------

    def ingest_first_quarter(self) -> str:
        for name in (*DATASETS, "planes"):
            self.wait(
                f"the nightly run of {name} to find nothing new", lambda n=name: self.nightly_run_ended(n), timeout=120
            )
        return self.ingest("2013-01-01", "2013-03-31", planes=True)

    def ingest_second_quarter(self) -> str:
        return self.ingest("2013-04-01", "2013-06-30")

    def ingest(self, first: str, last: str, *, planes: bool = False) -> str:
        self.land(first, last)
        spans = {name: (first, last) for name in DATASETS} | ({"planes": (first, first)} if planes else {})
        runs = {
            name: self.operator.trigger(
                f"{name}.ingest_validate",
                run_id=f"{self.run_prefix}__{first}__{last}",
                conf={"from": span[0], "to": span[1]},
            )["dag_run_id"]
            for name, span in spans.items()
        }
        told = []
        for name, run_id in runs.items():
            self.operator.wait_for_run(f"{name}.ingest_validate", run_id, timeout=600)
            result = self.operator.xcom(f"{name}.ingest_validate", run_id, "ingest_partitions")
            told.append(f"{name}: {len(result['published'])} days published, {len(result['unchanged'])} unchanged")
            console.print(f"      {told[-1]}")
        for name, span in spans.items():
            days = {partition.day for partition in self.ratchet.ledger.partitions(name, first=span[0], last=span[1])}
            lake_days = {day for day in self.ratchet.lake.days(f"datasets/{name}") if span[0] <= day <= span[1]}
            self.check(
                days == lake_days and span[1] in days, f"{name}: ledger and lake hold the same days", lake_days - days
            )
        rows = sum(p.rows for p in self.ratchet.ledger.partitions("flights", first=first, last=last))
        return f"{rows} flights; " + "; ".join(told)

    def nightly_run_ended(self, dataset: str) -> bool:
        """A fresh Airflow starts the schedule's newest run at once; landing waits for it, so that one run takes all."""
        runs = self.operator.runs(f"{dataset}.ingest_validate", run_type="scheduled")
        return bool(runs) and all(run["state"] in ("success", "failed") for run in runs)

    def land(self, first: str, last: str) -> None:
        from ratchet.upstream import land_flights

        console.print(f"      landing the drops of {first} to {last}")
        land_flights(self.ratchet.drops, first, last)

    def train(self, as_of: str, batch_requests: int) -> str:
        ledger = self.ratchet.ledger
        if batch_requests == 1:
            self.request(self.operator, "first model", as_of, f"demo first model {as_of}")
        challenger = self.wait(f"a challenger trained as of {as_of}", lambda: self.challenger_as_of(as_of), timeout=600)
        batch = ledger.batch(challenger.batch_id)
        self.operator.wait_for_run(f"{MODEL}.train_evaluate", batch.run_id, timeout=120)
        runs = [run for run in self.operator.runs(f"{MODEL}.train_evaluate") if run["conf"].get("batch") == batch.id]
        filed = [r for r in ledger.requests(MODEL) if r.batch_id == batch.id]
        self.check(len(runs) == 1, f"one training run for {len(filed)} requests", [r["dag_run_id"] for r in runs])
        self.check(len(filed) >= batch_requests, "every request is on record", [r.source for r in filed])
        made = [c for c in ledger.challengers(MODEL) if c.as_of == as_of]
        self.check(len(made) == 1, f"one challenger as of {as_of}", [c.version for c in made])
        registered = self.ratchet.registry.versions(MODEL)
        self.check(
            registered == sorted(c.version for c in ledger.challengers(MODEL)),
            "MLflow holds those versions",
            registered,
        )
        windows = " | ".join(" to ".join(challenger.windows[name]) for name in ("train", "validate", "judge"))
        return (
            f"version {challenger.version} from {len(filed)} request(s) ({', '.join(r.source for r in filed)}); "
            f"validate AUC {challenger.metrics['roc_auc']:.3f}; {windows}"
        )

    def request(self, api, reason: str, as_of: str, key: str) -> dict:
        run_id = f"{self.run_prefix}__{key.replace(' ', '_')}"
        source = "api" if api is self.service else "person"
        conf = {"reason": reason, "as_of": as_of, "key": key, "source": source}
        api.trigger(f"{MODEL}.retrain", run_id=run_id, conf=conf)
        return {"run_id": run_id, "key": key}

    def promote(self, as_of: str) -> str:
        ledger, challenger = self.ratchet.ledger, self.challenger_as_of(as_of)
        if challenger.status == "promoted":
            how = "promoted by an earlier demo on this state; nothing to do"
        else:
            how = self.answer_question(challenger.version)
        verdict = ledger.verdict(MODEL, challenger.version)
        approval = ledger.approval(MODEL, challenger.version, verdict.digest)
        self.check(verdict.verdict == "PROMOTE", "the gate said PROMOTE", verdict.verdict)
        self.check(
            approval.answer == "Approve" and approval.responded_by == "approver", "the approver approved", approval
        )
        if how.startswith("approved"):
            self.check_champion(challenger.version)
        return f"version {challenger.version} {how}; {self.quality(challenger.version, verdict.champion_version)}"

    def answer_question(self, version: int) -> str:
        dag_id = f"{MODEL}.promote"
        self.wait(f"the gate's verdict on version {version}", lambda: self.judged(version), timeout=300)
        verdict = self.ratchet.ledger.verdict(MODEL, version)
        for check in verdict.checks:
            console.print(f"      {'passed' if check['passed'] else 'FAILED'} {check['name']}: {check['reason']}")
        self.check(verdict.verdict == "PROMOTE", "the gate says PROMOTE", verdict.verdict)
        question = self.wait("the question to the approver", lambda: self.open_question(version), timeout=120)
        run_id, task = question["task_instance"]["dag_run_id"], question["task_instance"]["task_id"]
        page = f"{self.stack.airflow_url}/dags/{dag_id}/runs/{run_id}/tasks/{task}/required_actions"
        if self.ask:
            who = self.stack.accounts["approver"]
            console.print(f"      sign in as {who.name} / {who.password} and answer: {page}")
        else:
            console.print(f"      answering over the REST API as the demo's approver (ASK=1 waits for you): {page}")
            self.approver.wait_until_parked(dag_id, run_id, task)
            self.approver.answer(dag_id, run_id, task, "Approve")
        self.operator.wait_for_run(dag_id, run_id, timeout=24 * 3600 if self.ask else 300)
        return "approved " + ("in the UI" if self.ask else "over the REST API") + " by approver"

    def backfill_april(self) -> str:
        self.land("2013-04-01", "2013-04-03")
        made = [name for name in DATASETS if len(self.backfill_runs(name)) < 3]  # Airflow runs a day's backfill once
        for name in made:  # one at a time: Airflow on SQLite may roll a backfill back when several are made at once
            dag_id = f"{name}.ingest_validate"
            backfill = self.operator.create_backfill(dag_id, "2013-04-01", "2013-04-03T23:59:59Z")
            self.operator.wait_for_backfill(dag_id, backfill["id"], timeout=300)
        for name in DATASETS:
            runs = self.backfill_runs(name)
            self.check(len(runs) == 3, f"three successful backfill runs of {name}", runs)
        for name in DATASETS:
            days = [p.day for p in self.ratchet.ledger.partitions(name, first="2013-04-01", last="2013-04-03")]
            self.check(len(days) == 3, f"three days of {name} in the ledger", days)
        when = "" if made else "by an earlier demo on this state, "
        return f"{when}3 runs for each of " + ", ".join(DATASETS)

    def backfill_runs(self, dataset: str) -> list[str]:
        runs = self.operator.runs(f"{dataset}.ingest_validate", run_type="backfill", state="success")
        return [run["dag_run_id"] for run in runs if "2013-04-01" <= run["logical_date"] < "2013-04-04"]

    def wait_scored(self, first: str, last: str) -> str:
        ledger = self.ratchet.ledger
        wanted = {p.day: p.rows for p in ledger.partitions("flights", first=first, last=last)}
        self.wait(
            f"predictions for {len(wanted)} days",
            lambda: wanted.keys() <= ledger.scored_days(MODEL).keys(),
            timeout=600,
        )
        self.wait("nothing left to score", lambda: not self.scoring_due(), timeout=600)
        predictions = self.ratchet.lake.read(f"predictions/{MODEL}", first, last)
        rows = predictions.groupby("day").size().to_dict()
        self.check(
            rows == wanted,
            "one prediction for every flight",
            {d: (rows.get(d), n) for d, n in wanted.items() if rows.get(d) != n},
        )
        versions = sorted(int(version) for version in predictions["model_version"].unique())
        return f"{len(predictions)} predictions on {len(wanted)} days, by version {', '.join(map(str, versions))}"

    def drift_and_api_at_once(self) -> str:
        ledger, as_of = self.ratchet.ledger, "2013-07-01"
        drift_run = f"{self.run_prefix}__drift"
        self.operator.trigger(f"{MODEL}.check_drift", run_id=drift_run, conf={"as_of": as_of})
        asked = self.request(self.service, "schedule changed upstream", as_of, f"demo api {as_of}")
        self.operator.wait_for_run(f"{MODEL}.check_drift", drift_run, timeout=300)
        self.operator.wait_for_run(f"{MODEL}.retrain", asked["run_id"], timeout=300)
        said = self.operator.xcom(f"{MODEL}.check_drift", drift_run, "check_drift")
        self.check(said["status"] in ("checked", "unchanged", "not enough data"), "the check has an answer", said)
        checks = [c for c in ledger.checks(MODEL) if c.as_of == as_of]
        self.check(bool(checks), "the check is in the ledger", said)
        check = checks[-1]
        history = self.ratchet.lake.read(f"drift/{MODEL}", as_of, as_of)
        self.check(check.key in set(history["key"]), "the check is in the drift history", len(history))
        sources = {r.source for r in ledger.requests(MODEL) if r.as_of == as_of}
        self.check({"api", "drift"} <= sources, "both requests are in the ledger", sources)
        if said["status"] == "not enough data":  # a second demo: this champion has scored no day yet
            return f"{said['explanation']}; both requests are on record"
        result = check.result
        auc = result["performance"]
        return (
            f"{len(result['drifted'])} of {len(result['columns'])} columns drifted; AUC of version {check.version} on "
            f"{auc['clusters']} days {auc['value']:.3f} ({auc['low']:.3f} to {auc['high']:.3f}); "
            f"report: {check.report_url}"
        )

    def roll_back(self, as_of: str) -> str:
        version = self.challenger_as_of(as_of).version
        run = self.operator.run_to_end(
            f"{MODEL}.rollback",
            run_id=f"{self.run_prefix}__rollback_to_{version}",
            conf={"reason": "demonstration", "to_version": version},
        )
        self.check_champion(version)
        return f"version {version} is champion again (run {run['dag_run_id']})"

    def verify_chain(self) -> str:
        report = self.ratchet.ledger.verify()
        self.check(report.ok, "the audit chain verifies", report.reason)
        return f"{report.entries} entries"

    # --- looking at the state -------------------------------------------------------------------------------------

    def check_champion(self, version: int) -> None:
        champion = self.ratchet.ledger.champion(MODEL)
        self.check(
            champion is not None and champion.version == version,
            f"version {version} is champion in the ledger",
            champion,
        )
        alias = self.ratchet.registry.alias_version(MODEL, "champion")
        self.check(alias == version, "MLflow's alias says the same", alias)

    def challenger_as_of(self, as_of: str):
        return next((c for c in self.ratchet.ledger.challengers(MODEL) if c.as_of == as_of), None)

    def judged(self, version: int) -> bool:
        return any(c.version == version and c.status != "registered" for c in self.ratchet.ledger.challengers(MODEL))

    def open_question(self, version: int) -> dict | None:
        for question in self.approver.hitl_details(f"{MODEL}.promote", open_only=True):
            run = self.approver.run(f"{MODEL}.promote", question["task_instance"]["dag_run_id"])
            if run["conf"].get("version") == version:
                return question
        return None

    def scoring_due(self) -> bool:
        from ratchet.workflow.scoring import due_days

        return bool(due_days(self.ratchet, self.ratchet.model(MODEL)))

    def quality(self, version: int, champion: int | None) -> str:
        """AUC of the new version and the one before on the judge window, with intervals over days."""
        from ratchet.statistics import clustered_auc
        from ratchet.workflow.promotion import judge_frame

        judged = judge_frame(self.ratchet, MODEL, version, against=champion)
        told = []
        for name, column in ((f"version {version}", "challenger_score"), (f"version {champion}", "champion_score")):
            if column in judged:
                auc = clustered_auc(judged["label"], judged[column], judged["day"])
                told.append(f"AUC of {name} {auc.value:.3f} ({auc.low:.3f} to {auc.high:.3f})")
        return ", ".join(told)

    def wait(self, what: str, ready: Callable, *, timeout: float):
        """The first true answer of `ready`, asked every half second, with a sign of life every fifteen."""
        started = told = time.monotonic()
        while not (answer := ready()):
            now = time.monotonic()
            self.stack.check_alive()
            if now - started > timeout:
                raise DemoError(
                    f"waited {timeout:.0f} s for {what}", hint=f"look at the runs in {self.stack.airflow_url}"
                )
            if now - told > 15:
                console.print(f"      waiting for {what} ({now - started:.0f} s)")
                told = now
            time.sleep(0.5)
        return answer

    def check(self, holds: bool, what: str, seen: object) -> None:
        if not holds:
            raise DemoError(f"not so: {what}", seen=seen, hint=f"look at {self.stack.airflow_url} and `ratchet status`")

    # --- the end --------------------------------------------------------------------------------------------------

    def where_to_look(self) -> str:
        airflow, registry = self.stack.airflow_url, self.ratchet.registry
        lines = [
            f"  {kind:15} {airflow}/dags/{MODEL}.{kind}"
            for kind in ("train_evaluate", "promote", "score", "check_drift")
        ]
        lines += [
            f"  version {c.version:<7} {registry.version_url(MODEL, c.version)}"
            for c in self.ratchet.ledger.challengers(MODEL)
        ]
        return "\n".join(
            [
                "Where to look (while `make up` runs):",
                *lines,
                "  on record       .venv/bin/ratchet status; .venv/bin/ratchet audit show",
            ]
        )

    def table(self, seconds: float) -> Table:
        table = Table("stage", "time", "what happened", title=f"the loop, in {seconds:.0f} s", show_lines=True)
        for title, took, told in self.rows:
            table.add_row(title, f"{took:.1f} s", told)
        return table


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--var", type=Path, default=REPO / "var", help="where all state is kept")
    parser.add_argument("--ask", action="store_true", help="wait for a person's answer in the UI")
    options = parser.parse_args(argv)
    started = time.monotonic()
    try:
        with running_stack(options.var, say=lambda line: console.print(f"      {line}")) as stack:
            os.environ.update(stack.client)
            dags = [f"{name}.ingest_validate" for name in (*DATASETS, "planes")]
            dags += [
                f"{MODEL}.{kind}"
                for kind in ("retrain", "train_evaluate", "promote", "rollback", "score", "check_drift")
            ]
            stack.api("operator").wait_for_dags([*dags, "ratchet.dispatch"])
            demo = Demo(stack, options.ask)
            console.print(
                f"      Airflow {stack.airflow_url}, MLflow {stack.mlflow_url}, "
                f"up after {time.monotonic() - started:.0f} s"
            )
            demo.play()
            console.print(demo.table(time.monotonic() - started))
            console.print(demo.where_to_look())
    except RatchetError as error:
        console.print(f"[red]demo failed:[/red] {error}", markup=True)
        return 1
    console.print(
        "`make up` opens the same state in Airflow and MLflow and prints the sign-in; `make reset` starts afresh."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
