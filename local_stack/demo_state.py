"""The loop on a running stack, as the demo looks at it: what stands where, waiting for it, checking it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from local_stack.servers import Stack
from ratchet.errors import RatchetError

MODEL = "flight_delay"
console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 140)


class DemoError(RatchetError):
    """A stage did not leave the state that it promises."""


class DemoState:
    """Airflow as its accounts see it (`operator`, `approver`, `service`), and the same state by the library."""

    def __init__(self, stack: Stack) -> None:
        from ratchet.deployment import get_deployment

        self.stack = stack
        self.ratchet = get_deployment()
        self.operator, self.approver, self.service = (stack.api(name) for name in ("operator", "approver", "service"))

    def nightly_run_ended(self, dataset: str) -> bool:
        """A fresh Airflow starts the schedule's newest run at once; landing waits for it, so that one run takes all."""
        runs = self.operator.runs(f"{dataset}.ingest_validate", run_type="scheduled")
        return bool(runs) and all(run["state"] in ("success", "failed") for run in runs)

    def backfill_runs(self, dataset: str) -> list[str]:
        runs = self.operator.runs(f"{dataset}.ingest_validate", run_type="backfill", state="success")
        return [run["dag_run_id"] for run in runs if "2013-04-01" <= run["logical_date"] < "2013-04-04"]

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

    def quality(self, version: int) -> str:
        """What the gate measured on the judge window, as it is on record."""
        checks = {check["name"]: check for check in self.ratchet.ledger.verdict(MODEL, version).checks}
        told = []
        for name, what in (("success", "AUC"), ("better_than_champion", "better than the champion by")):
            if check := checks.get(name):
                low, high = check["interval"]
                told.append(f"{what} {check['value']:.3f} ({low:.3f} to {high:.3f})")
        return ", ".join(told)

    def ratchet_says(self, *arguments: str) -> dict:
        """What the shell command `ratchet` prints, with this state's settings; DemoError when it fails."""
        command = [str(Path(sys.executable).with_name("ratchet")), *arguments]
        console.print(f"      ratchet {' '.join(arguments)}")
        done = subprocess.run(command, env=os.environ | self.stack.client, capture_output=True, text=True, check=False)
        if done.returncode:
            raise DemoError(f"`ratchet {' '.join(arguments)}` failed", seen=done.stderr[-2000:], hint="run it by hand")
        return json.loads(done.stdout)

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
