"""`make bench`: what Ratchet costs, measured: all parts, or those named.

    train_evaluate  a training through a live Airflow, against the same library calls in one process
    ingestion       a year of drops, one big drop and some too big to take, against Great Expectations alone
    growth          a month to ten years of drops
    gate            what the gate promotes, in worlds whose truth is known (a repetition is a round of 100 trials)
    monitor         what is called moved, in worlds whose truth is known (a repetition is a round of 1 to 5 trials)
    field           what shadow scoring and canaries say, in such worlds (a repetition is a round of 100 years)

Works in a folder and on ports of its own, beside any running `make up`, and deletes the folder at the end. Writes the
sections of these parts in benchmarks/RESULTS.md, and leaves the others. Exit status 1 if a target was missed: on a busy
machine measure again before believing it.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.machine import OthersShare, describe_machine, describe_versions
from benchmarks.results import TITLE, Section, put_section, write_section
from ratchet.errors import RatchetError

Say = Callable[[str], None]


def main(argv: list[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    try:
        return max([_run(part, options.repeat or REPEAT[part], options) for part in options.parts or PARTS])
    except RatchetError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        _say("stopped; of this part nothing was written")
        return 130


def _run(part: str, repeat: int, options: argparse.Namespace) -> int:
    started, others, out = time.monotonic(), OthersShare(), options.out
    with tempfile.TemporaryDirectory(prefix="ratchet-bench-") as folder:
        kept = options.keep if part in ("gate", "monitor") else None
        section = PARTS[part](kept or Path(folder), repeat, _say)
    text = write_section(
        section,
        command=f"python -m benchmarks {part}",
        date=f"{datetime.now(UTC):%Y-%m-%d}",
        machine=describe_machine(),
        versions=describe_versions(),
        noise=_noise(others.share()),
    )
    before = out.read_text("utf-8") if out.exists() else TITLE
    out.write_text(put_section(before, text, list(PARTS)), "utf-8")
    for target in section.targets:
        _say(str(target))
    _say(f"{part}: written to {os.path.relpath(out)} after {time.monotonic() - started:.0f} s")
    return int(any(target.met is False for target in section.targets))


def _train_evaluate(folder: Path, repeat: int, say: Say) -> Section:
    from benchmarks.report import train_evaluate_section
    from benchmarks.train_evaluate import measure

    return train_evaluate_section(measure(folder, repeat, say))


def _ingestion(folder: Path, repeat: int, say: Say) -> Section:
    from benchmarks.ingestion import measure
    from benchmarks.ingestion_report import ingestion_section

    return ingestion_section(measure(folder, repeat, say))


def _growth(folder: Path, repeat: int, say: Say) -> Section:
    from benchmarks.ingestion import measure_growth
    from benchmarks.ingestion_report import growth_section

    return growth_section(measure_growth(folder, repeat, say))


def _gate(folder: Path, repeat: int, say: Say) -> Section:
    from benchmarks.gate_report import gate_section
    from benchmarks.gate_rounds import measure

    return gate_section(measure(folder, repeat, say))


def _field(folder: Path, repeat: int, say: Say) -> Section:
    from benchmarks.field_report import field_section, measure_field

    return field_section(measure_field(repeat, say))


def _monitor(folder: Path, repeat: int, say: Say) -> Section:
    from benchmarks.monitor_report import monitor_section
    from benchmarks.monitor_rounds import measure

    return monitor_section(measure(folder, repeat, say))


PARTS: dict[str, Callable[[Path, int, Say], Section]] = {
    "train_evaluate": _train_evaluate,
    "ingestion": _ingestion,
    "growth": _growth,
    "gate": _gate,
    "monitor": _monitor,
    "field": _field,
}
REPEAT = {"train_evaluate": 5, "ingestion": 3, "growth": 1, "gate": 20, "monitor": 100, "field": 20}


def _noise(others: float | None) -> str:
    if others is None:
        return "how much of the machine others used could not be told"
    quiet = "a quiet machine" if others < 0.1 else "a busy machine, so measure again before you trust these"
    return f"others used {others:.0%} of all cores while this was measured: {quiet}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", type=_part, metavar="PART", help=f"{', '.join(PARTS)} (default: all)")
    usual = ", ".join(f"{count} of {part}" for part, count in REPEAT.items())
    parser.add_argument(
        "--repeat", type=int, choices=range(1, 101), metavar="N", help=f"repetitions, 1 to 100 (default: {usual})"
    )
    parser.add_argument(
        "--keep",
        type=Path,
        metavar="FOLDER",
        help="the rounds of gate and monitor are kept there; those it holds are not tried again",
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("RESULTS.md"), help="the file to write")
    return parser


def _part(name: str) -> str:
    if name not in PARTS:
        raise argparse.ArgumentTypeError(f"no part {name!r}: one of {', '.join(PARTS)}")
    return name


def _say(line: str) -> None:
    print(f"  {line}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
