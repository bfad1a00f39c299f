"""Ingestion of flights in sizes: a year of days, one big drop, drops too big to take, and the growth up to ten years.

Every run is a process of its own, with a landing zone that was filled before and a lake and ledger that are empty.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from math import log
from pathlib import Path
from statistics import linear_regression

from local_stack.environment import REPO
from local_stack.errors import StackError

YEAR = ("2013-01-01", "2013-12-31")
BIG_DAY = "2013-07-01"
BIG, BIGGEST = 1_000_000, 3_000_000  # rows; the second is near the limit of 256 MiB unpacked
REFUSED = {
    "announced": "5 GB, announced as such",
    "bigger_than_announced": "5 GB, announced as 1,000 bytes",
    "bomb": "13 MB, as announced, that unpacks to 5 GB",
}
GROWTH = {1: "2013-01-31", 4: "2013-04-30", 12: "2013-12-31", 36: "2015-12-31", 120: "2022-12-31"}  # months: last day
FIRST = "2013-01-01"


@dataclass
class Measured:
    """What benchmarks.ingestion_calls told of each run, in the order taken."""

    year: list[dict] = field(default_factory=list)
    big: list[dict] = field(default_factory=list)
    biggest: list[dict] = field(default_factory=list)
    refused: dict[str, dict] = field(default_factory=dict)
    unpacked: dict[int, int] = field(default_factory=dict)


def measure(folder: Path, repeat: int, say: Callable[[str], None]) -> Measured:
    runs, measured = Runs(folder), Measured()
    say("landing a year of days, and two big drops")
    runs.land("year")
    for rows in (BIG, BIGGEST):
        measured.unpacked[rows] = runs.land("big", f"big-{rows}", rows)
    for kind in REFUSED:
        runs.land(kind)
        measured.refused[kind] = runs.call("refuse", folder / kind, runs.new_state())
    for repetition in range(repeat):
        more = ("alone", "plain") if not repetition else ("alone",)
        measured.big.append(runs.ingest(f"big-{BIG}", BIG_DAY, BIG_DAY, *more))
        measured.biggest.append(runs.ingest(f"big-{BIGGEST}", BIG_DAY, BIG_DAY, *more))
        measured.year.append(runs.ingest("year", *YEAR, *more))
        told = ", ".join(f"{name} {one['seconds']:.1f} s" for name, one in _last(measured).items())
        say(f"repetition {repetition + 1} of {repeat}: {told}")
    return measured


def measure_growth(folder: Path, repeat: int, say: Callable[[str], None]) -> list[list[dict]]:
    """A run of each length in GROWTH, in each repetition; of the longest as many as of the others."""
    runs, taken = Runs(folder), []
    say("landing ten years of days")
    runs.land("years", "years", 2013, 2022)
    for repetition in range(repeat):
        taken.append([runs.ingest("years", FIRST, last) for last in GROWTH.values()])
        told = ", ".join(f"{one['rows']:,} rows {one['seconds']:.1f} s" for one in taken[-1])
        say(f"repetition {repetition + 1} of {repeat}: {told}")
    return taken


def slope(runs: list[dict], what: str = "seconds") -> float:
    """Of log time over log rows, by least squares: 1 is linear."""

    return linear_regression([log(run["rows"]) for run in runs], [log(run[what]) for run in runs]).slope


class Runs:
    """Calls benchmarks.ingestion_calls, its landing zones below `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._states, self._log = folder, 0, folder / "calls.log"

    def land(self, kind: str, name: str | None = None, *arguments: int):
        return self.call("land", kind, self.folder / (name or kind), *arguments)["made"]

    def ingest(self, landing: str, first: str, last: str, *more: str) -> dict:
        return self.call("ingest", self.folder / landing, self.new_state(), first, last, *more)

    def new_state(self) -> Path:
        self._states += 1
        return self.folder / "states" / str(self._states)

    def call(self, *arguments: object) -> dict:
        argv = [sys.executable, "-m", "benchmarks.ingestion_calls", *map(str, arguments)]
        with self._log.open("ab") as log:
            done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=log, text=True, cwd=REPO)
        if done.returncode:
            raise StackError(
                f"`{' '.join(argv[1:])}` failed",
                seen="\n".join(self._log.read_text(errors="replace").splitlines()[-25:]),
                where=self._log,
                hint="the end of its log is above; mend the cause and measure again",
            )
        return json.loads(done.stdout)


def _last(measured: Measured) -> dict[str, dict]:
    return {"big drop": measured.big[-1], "biggest": measured.biggest[-1], "year": measured.year[-1]}
