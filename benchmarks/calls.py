"""Ratchet's library calls in a process of their own, without Airflow: what a row holds the live Airflow against.

    python -m benchmarks.calls ingest FIRST LAST   land and ingest those days
    python -m benchmarks.calls train BATCH         one training, then the end: the cold process
    python -m benchmarks.calls serve               a training for each batch named on stdin: the warm process

Tells of each training in a line of JSON on stdout: {version, steps {call: seconds}, peak_mib}.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

from benchmarks.machine import peak_mib

MODEL = "flight_delay"
DATASETS = ("flights", "weather", "outcomes")


def ingest(first: str, last: str) -> None:
    from ratchet.deployment import get_deployment
    from ratchet.upstream import land_flights
    from ratchet.workflow.ingestion import ingest_partitions

    deployment = get_deployment()
    land_flights(deployment.drops, first, last)
    for dataset in DATASETS:
        ingest_partitions(deployment, dataset, first, last)
    ingest_partitions(deployment, "planes", first, first)


def train(batch: str) -> dict:
    """The calls that the tasks of train_evaluate make, in their order."""
    from ratchet.deployment import get_deployment
    from ratchet.workflow.training import put_forward_challenger, take_training_snapshot, train_candidate

    steps: dict[str, float] = {}
    deployment = get_deployment()
    with _timed(steps, "take_training_snapshot"):
        snapshot = take_training_snapshot(deployment, MODEL, batch, f"benchmark {os.getpid()}")["snapshot"]
    for candidate in deployment.model(MODEL).candidates:
        with _timed(steps, f"train_candidate {candidate.name}"):
            train_candidate(deployment, MODEL, snapshot, candidate.name)
    with _timed(steps, "put_forward_challenger"):
        version = put_forward_challenger(deployment, MODEL, batch, snapshot)["version"]
    return {"version": version, "steps": steps, "peak_mib": peak_mib()}


@contextmanager
def _timed(steps: dict[str, float], name: str) -> Iterator[None]:
    started = perf_counter()
    yield
    steps[name] = perf_counter() - started


def main(command: str, *arguments: str) -> None:
    results = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is not a result
    if command == "ingest":
        ingest(*arguments)
    for batch in arguments if command == "train" else map(str.strip, sys.stdin) if command == "serve" else ():
        print(json.dumps(train(batch)), file=results, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
