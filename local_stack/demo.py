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
from pathlib import Path

from rich.table import Table

from local_stack.demo_data import DATASETS, DataStages
from local_stack.demo_state import MODEL, console
from local_stack.environment import REPO
from local_stack.servers import Stack, running_stack
from ratchet.errors import RatchetError
from ratchet.ledger.challengers import PASSED


class Demo(DataStages):
    """The story, a method a stage. `rows` collects what happened, for the table at the end."""

    def __init__(self, stack: Stack, ask: bool) -> None:
        super().__init__(stack)
        self.ask = ask
        self.rows: list[tuple[str, float, str]] = []

    def play(self) -> None:
        """Every stage, in order."""
        stages: list[tuple[str, Callable[[], str]]] = [
            ("ingest January to March in one run", self.ingest_first_quarter),
            ("train on January-February | 1-14 March | 15-31 March", lambda: self.train("2013-04-01", ask=True)),
            ("judge, approve and promote the first model", lambda: self.promote("2013-04-01")),
            ("backfill 1 to 3 April", self.backfill_april),
            ("score them", lambda: self.wait_scored("2013-04-01", "2013-04-03")),
            ("take in April to June in one run", self.ingest_second_quarter),
            ("score April to June", lambda: self.wait_scored("2013-04-01", "2013-06-30")),
            ("check drift while another system asks for a retrain", self.drift_and_api_at_once),
            ("train on January-April | May | June, once", lambda: self.train("2013-07-01")),
            ("judge against the champion, approve and promote", lambda: self.promote("2013-07-01")),
            ("roll back to the first version", lambda: self.roll_back("2013-04-01")),
            ("and to the second again, the same way", lambda: self.roll_back("2013-07-01")),
            ("rebuild the champion and prove it: ratchet reproduce", self.reproduce_champion),
            ("follow a prediction back: ratchet explain-prediction", self.explain_a_prediction),
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

    def train(self, as_of: str, ask: bool = False) -> str:
        ledger = self.ratchet.ledger
        if ask:
            self.request(self.operator, "first model", as_of, f"demo first model {as_of}")
        challenger = self.wait(f"a challenger trained as of {as_of}", lambda: self.challenger_as_of(as_of), timeout=600)
        batch = ledger.batch(challenger.batch_id)
        self.operator.wait_for_run(f"{MODEL}.train_evaluate", batch.run_id, timeout=120)
        runs = [run for run in self.operator.runs(f"{MODEL}.train_evaluate") if run["conf"].get("batch") == batch.id]
        filed = [r for r in ledger.requests(MODEL) if r.batch_id == batch.id]
        self.check(len(runs) == 1, f"one training run for {len(filed)} requests", [r["dag_run_id"] for r in runs])
        self.check(bool(filed), "its requests are on record", [r.source for r in filed])
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
        self.check(verdict.verdict in PASSED, "the gate let it pass", verdict.verdict)
        self.check(
            approval.answer == "Approve" and approval.responded_by == "approver", "the approver approved", approval
        )
        if how.startswith("approved"):
            self.check_champion(challenger.version)
        return f"version {challenger.version} {how}; {self.quality(challenger.version)}"

    def answer_question(self, version: int) -> str:
        dag_id = f"{MODEL}.promote"
        self.wait(f"the gate's verdict on version {version}", lambda: self.judged(version), timeout=300)
        verdict = self.ratchet.ledger.verdict(MODEL, version)
        for check in verdict.checks:
            console.print(f"      {'passed' if check['passed'] else 'FAILED'} {check['name']}: {check['reason']}")
        self.check(verdict.verdict in PASSED, "the gate lets it pass", verdict.verdict)
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
        result = check.result
        sources = {r.source for r in ledger.requests(MODEL) if r.as_of == as_of}
        self.check({"api", *result["asks"]} <= sources, "every request is in the ledger", sources)
        if said["status"] == "not enough data":  # a second demo: this champion has scored no day yet
            return f"{said['explanation']}; requests on record: {', '.join(sorted(sources))}"
        measured = result["performance"]
        self.check(measured is not None, "the outcomes that have come are compared", result["explanation"])
        moved, figures = result["counts"].get("moved", 0), sum(result["counts"].values())
        return (
            f"{moved} of {figures} figures moved, {len(result['alarms'])} alarms; {result['metric']} of version "
            f"{check.version} on {measured['clusters']} days {measured['value']:.3f} ({measured['low']:.3f} to "
            f"{measured['high']:.3f}); asked for a retrain: {', '.join(sorted(sources))}; report: {check.report_url}"
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

    def reproduce_champion(self) -> str:
        champion = self.ratchet.ledger.champion(MODEL)
        told = self.ratchet_says("reproduce", MODEL)
        self.check(told["version"] == champion.version and told["proven"], "the champion is proven", told)
        rebuilt = told["rebuilt"]
        how = "to the last bit" if rebuilt["to_the_last_bit"] else f"within {rebuilt['difference']:.1g}"
        return f"version {told['version']} fitted anew gives the same scores {how}"

    def explain_a_prediction(self) -> str:
        day = max(self.ratchet.ledger.scored_days(MODEL))
        prediction = self.ratchet.lake.read(f"predictions/{MODEL}", day, day)["prediction_id"].iloc[0]
        told = self.ratchet_says("explain-prediction", prediction)
        version, approval = told["version"], told["approval"]
        self.check(bool(told["inputs"]) and all(drop["sha256"] for drop in told["inputs"]), "its drops are known", told)
        self.check(approval["by"] == "approver", "the person who approved is known", approval)
        return (
            f"{prediction}: version {version['version']} (snapshot {version['snapshot'][:12]}), "
            f"{len(told['inputs'])} drops, gate {told['gate']['verdict']}, approved by {approval['by']}"
        )

    def verify_chain(self) -> str:
        report = self.ratchet.ledger.verify()
        self.check(report.ok, "the audit chain verifies", report.reason)
        return f"{report.entries} entries"

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
                for kind in ("retrain", "train_evaluate", "promote", "rollback", "score", "check_drift", "reproduce")
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
