"""The machine that the figures were taken on, and how much of it others were using."""

from __future__ import annotations

import os
import platform
import time
from importlib.metadata import version
from pathlib import Path

VERSIONS = ("apache-airflow", "mlflow", "scikit-learn", "pandas", "deltalake", "skops")


def describe_machine() -> str:
    """Cores, processor, memory, system, Python; "unknown" for what this system does not tell."""
    model = next((line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    system = f"{platform.system()} {platform.release()}"
    return f"{cores} cores ({model or 'processor unknown'}), {memory:.0f} GiB, {system}"


def describe_versions() -> str:
    return ", ".join([f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in VERSIONS)])


def busy_share(seconds: float = 5) -> float | None:
    """The share of all cores' time (0 to 1) in use over the next seconds, steal included; None where unknown."""
    before = _cpu_times()
    time.sleep(seconds)
    after = _cpu_times()
    if not before or not after:
        return None
    spent = [late - early for early, late in zip(before, after, strict=True)]
    idle = spent[3] + spent[4]  # idle, iowait
    return 1 - idle / max(sum(spent), 1)


def memory_mib(pids: list[int]) -> float:
    """Memory of these processes and all below them, pages that they share counted once (PSS); 0 where unknown."""
    parents = {int(path.parent.name): _parent(path) for path in Path("/proc").glob("[0-9]*/stat")}
    family, grown = set(pids), True
    while grown:
        below = {pid for pid, parent in parents.items() if parent in family} - family
        family, grown = family | below, bool(below)
    sizes = (_pss_kib(pid) for pid in family)
    return sum(sizes) / 1024


def _cpu_times() -> list[int]:
    total = next((line for line in _lines("/proc/stat") if line.startswith("cpu ")), "")
    return [int(field) for field in total.split()[1:9]]  # user ... steal; guests are in user already


def _parent(stat: Path) -> int:
    text = "".join(_lines(stat))
    return int(text.rpartition(")")[2].split()[1]) if text else 0


def _pss_kib(pid: int) -> int:
    for line in _lines(f"/proc/{pid}/smaps_rollup"):
        if line.startswith("Pss:"):
            return int(line.split()[1])
    return 0


def _lines(path: str | Path) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:  # another system, or a process that has ended meanwhile
        return []
