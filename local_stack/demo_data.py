"""The demo's stages that take data in."""

from __future__ import annotations

from datetime import UTC, datetime

from local_stack.demo_state import DemoState, console
from local_stack.servers import Stack

DATASETS = ("flights", "weather", "outcomes")


class DataStages(DemoState):
    """A quarter in one run, and three days by backfill."""

    def __init__(self, stack: Stack) -> None:
        super().__init__(stack)
        self.run_prefix = f"demo_{datetime.now(UTC):%Y%m%dT%H%M%S}"

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

    def land(self, first: str, last: str) -> None:
        from ratchet.upstream import land_flights

        console.print(f"      landing the drops of {first} to {last}")
        land_flights(self.ratchet.drops, first, last)

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
