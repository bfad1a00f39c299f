"""Ingestion of flights in a process of its own: what the parts `ingestion` and `growth` are measured with.

    python -m benchmarks.ingestion_calls land year|years|big|announced|bigger_than_announced|bomb LANDING [ARGUMENT ...]
    python -m benchmarks.ingestion_calls ingest LANDING STATE FIRST LAST [alone] [plain]
    python -m benchmarks.ingestion_calls refuse LANDING STATE

Tells what it measured in one line of JSON on stdout. Memory is the highest resident size of this process, from
/proc/self/status: what getrusage says would count that of the process which started it too.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from time import perf_counter, process_time

from benchmarks.machine import bytes_read, peak_mib
from ratchet import checked_days, publish
from ratchet.checked_days import check_days
from ratchet.days import days_between
from ratchet.drops import DropStore
from ratchet.errors import DropError
from ratchet.expectations import Suite, load_suite, validate_days
from ratchet.ingest import BATCH_DAYS, ingest_days
from ratchet.lake import Lake
from ratchet.ledger import Ledger, open_ledger
from ratchet.read_drop import MAX_BYTES, read_drop
from ratchet.settings import get_settings
from ratchet.specs import DatasetSpec, load_dataset_specs

DATASET = "flights"
# Where the time of an ingestion goes: calls that are timed, by what they are called in the results.
STEPS = {
    "reading drops": (publish, "read_drop"),
    "checking, Great Expectations within": (publish, "check_days"),
    "Great Expectations": (checked_days, "validate_days"),
    "figures for history": (publish, "partition_history"),
    "digests of content": (publish, "frame_digest"),
    "writing to the lake": (Lake, "publish_days"),
    "writing to the ledger": (Ledger, "record_partitions"),
}


def land(kind: str, landing: str, *arguments: str) -> dict:
    from benchmarks import flight_drops

    made = getattr(flight_drops, f"land_{kind}")(Path(landing), *map(int, arguments))
    return {"made": made}


def ingest(landing: str, state: str, first: str, last: str, *more: str) -> dict:
    """One run over the days, then the same again with nothing to do; then, if asked, Great Expectations alone."""
    world, days = _World(Path(landing), Path(state)), days_between(first, last)
    told = {"start_mib": peak_mib(), "steps": {}}
    with _clock_on_steps(told["steps"]):
        seconds, processor = perf_counter(), process_time()
        report = world.ingest(days)
        told |= {"seconds": perf_counter() - seconds, "processor_seconds": process_time() - processor}
    told |= {"rows": report.rows, "quarantined": report.quarantined, "days": len(report.published)}
    told["peak_mib"] = peak_mib()
    seconds = perf_counter()
    world.ingest(days)
    told["again_seconds"] = perf_counter() - seconds
    if "alone" in more:
        told["alone_seconds"] = world.time_validation(days, validate_days)
    if "plain" in more:
        told["plain_seconds"] = world.time_validation(days, _plain_great_expectations)
    return told


def refuse(landing: str, state: str) -> dict:
    """A drop that can't be taken: how long that takes to find out, and what was read until then."""
    world = _World(Path(landing), Path(state))
    (day,) = world.drops.days(DATASET)
    started, read = peak_mib(), bytes_read()
    seconds = perf_counter()
    try:
        world.ingest([day])
    except DropError as error:
        return {
            "seconds": perf_counter() - seconds,
            "read_bytes": bytes_read() - read,
            "start_mib": started,
            "peak_mib": peak_mib(),
            "why": str(error),
        }
    raise AssertionError("the drop was taken")


class _World:
    """The shipped spec and suite, with a landing zone, lake and ledger of their own.

    A suite for drops of more rows than a day ever had is the shipped one without that bound."""

    def __init__(self, landing: Path, state: Path) -> None:
        state.mkdir(parents=True)
        settings = get_settings()
        self.spec: DatasetSpec = load_dataset_specs(settings.dataset_specs).good[DATASET]
        self.drops, self.lake = DropStore(landing), Lake(state / "lake")
        self.suite_path = _unbounded(settings.suites / f"{DATASET}.json", state / f"{DATASET}.json")
        ledger = {"ledger_key_file": state / "ledger.key", "ledger_head_file": state / "ledger.head"}
        self.ledger = open_ledger(replace(settings, var=state, ledger_url=f"sqlite:///{state / 'ledger.db'}", **ledger))

    def ingest(self, days: Sequence[str]):
        adapters = {"drops": self.drops, "suite_path": self.suite_path, "lake": self.lake, "ledger": self.ledger}
        return ingest_days(self.spec, days, **adapters)

    def time_validation(self, days: Sequence[str], validate: Callable) -> float:
        """Seconds spent in `validate(frame, suite)`, given the typed frames that ingestion gives it, batch by batch."""
        spent: dict[str, float] = {}
        suite = load_suite(self.suite_path)
        for first in range(0, len(days), BATCH_DAYS):
            read = {day: self._read(day) for day in days[first : first + BATCH_DAYS]}
            with _replaced(checked_days, "validate_days", _timed(validate, spent, "alone")):
                check_days(self.spec, suite, "recipe", read)
        return spent["alone"]

    def _read(self, day: str):
        drop = self.drops.announced(DATASET, day)
        with self.drops.fetched(drop, MAX_BYTES) as path:
            return drop, read_drop(path, drop, self.spec)


def _unbounded(shipped: Path, to: Path) -> Path:
    suite = json.loads(shipped.read_text("utf-8"))
    for one in suite["expectations"]:
        if one["type"] == "expect_table_row_count_to_be_between":
            del one["kwargs"]["max_value"]
    to.write_text(json.dumps(suite), "utf-8")
    return to


def _plain_great_expectations(frame, suite: Suite) -> dict:
    """What its documentation says to do, day by day: a batch of a frame, the whole suite in one call."""
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    asset = context.data_sources.add_pandas("frames").add_dataframe_asset("frame")
    whole = asset.add_batch_definition_whole_dataframe("whole")
    asked = [ExpectationConfiguration(**one).to_domain_obj() for one in suite.expectations]
    made = gx.ExpectationSuite(name=suite.name, expectations=asked)
    for _, rows in frame.groupby("day"):
        whole.get_batch({"dataframe": rows}).validate(made, result_format={"result_format": "COMPLETE"})
    return {}


@contextmanager
def _clock_on_steps(spent: dict[str, float]) -> Iterator[None]:
    with ExitStack() as stack:
        for step, (owner, name) in STEPS.items():
            stack.enter_context(_replaced(owner, name, _timed(getattr(owner, name), spent, step)))
        yield


@contextmanager
def _replaced(owner: object, name: str, by: Callable) -> Iterator[None]:
    before = getattr(owner, name)
    setattr(owner, name, by)
    try:
        yield
    finally:
        setattr(owner, name, before)


def _timed(call: Callable, spent: dict[str, float], name: str) -> Callable:
    def timed(*arguments, **more):
        started = perf_counter()
        try:
            return call(*arguments, **more)
        finally:
            spent[name] = spent.get(name, 0.0) + perf_counter() - started

    return timed


def main(command: str, *arguments: str) -> None:
    results = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is not a result
    told = {"land": land, "ingest": ingest, "refuse": refuse}[command](*arguments)
    print(json.dumps(told), file=results, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
