"""`make bench`: time Ratchet through a live Airflow against the same library calls in one process.

Uses a folder and ports of its own, beside any running `make up`, and deletes the folder at the end. Writes
benchmarks/RESULTS.md. Exit status 1 if a target was missed: on a busy machine measure again before believing it.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.machine import OthersShare, describe_machine, describe_versions
from benchmarks.report import ratios, write_report
from benchmarks.train_evaluate import measure
from ratchet.errors import RatchetError


def main(argv: list[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    started, others = time.monotonic(), OthersShare()
    try:
        with tempfile.TemporaryDirectory(prefix="ratchet-bench-") as folder:
            measured = measure(Path(folder), options.repeat, _say)
    except RatchetError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        _say("stopped; nothing was written")
        return 130
    text = write_report(
        measured,
        command="make bench",
        date=f"{datetime.now(UTC):%Y-%m-%d}",
        machine=describe_machine(),
        versions=describe_versions(),
        noise=_noise(others.share()),
    )
    options.out.write_text(text, "utf-8")
    for ratio in ratios(measured):
        seen = f"{ratio.value:.2f}x (single repetitions {ratio.low:.2f}x to {ratio.high:.2f}x)"
        target = f"{ratio.target:.1f}x or less: {'met' if ratio.met else 'MISSED'}"
        _say(f"Airflow / {ratio.against} process: {seen}, target {target}")
    _say(f"written to {os.path.relpath(options.out)} after {time.monotonic() - started:.0f} s")
    return 0 if all(ratio.met for ratio in ratios(measured)) else 1


def _noise(others: float | None) -> str:
    if others is None:
        return "how much of the machine others used could not be told"
    quiet = "a quiet machine" if others < 0.1 else "a busy machine, so measure again before you trust these"
    return f"others used {others:.0%} of all cores while this was measured: {quiet}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="make bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--repeat", type=int, choices=range(1, 21), metavar="N", default=5, help="repetitions, 1 to 20 (default: 5)"
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("RESULTS.md"), help="the file to write")
    return parser


def _say(line: str) -> None:
    print(f"  {line}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
