"""Rounds of an instrument, each with seeds of its own. What a round found is kept in a file, so that a run which was
stopped goes on where it was."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from os import sched_getaffinity
from pathlib import Path


def run_rounds(
    folder: Path, name: str, rounds: int, try_round: Callable[[int], dict], say: Callable[[str], None]
) -> list[dict]:
    """What each round found, on all cores that it may use. Rounds that `folder` holds are not tried again: they have to
    be of this code."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}-{number}.json" for number in range(rounds)]
    missing = [number for number, path in enumerate(paths) if not path.exists()]
    with ProcessPoolExecutor(len(sched_getaffinity(0)), mp_context=get_context("spawn")) as pool:
        running = [pool.submit(_try_and_keep, try_round, number, paths[number]) for number in missing]
        for done, one in enumerate(as_completed(running), rounds - len(missing) + 1):
            say(f"{done} of {rounds} rounds, the last in {one.result():.0f} s")
    return [json.loads(path.read_text("utf-8")) for path in paths]


def keep(found: dict, path: Path) -> None:
    """Whole or not at all."""
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(found), "utf-8")
    unfinished.replace(path)


def _try_and_keep(try_round: Callable[[int], dict], number: int, path: Path) -> float:
    """Seconds that the round took."""
    started = time.monotonic()
    keep(try_round(number), path)
    return time.monotonic() - started
