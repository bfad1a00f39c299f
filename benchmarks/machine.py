"""The machine that the figures were taken on, and how much of it others were using."""

from __future__ import annotations

import os
import platform
import resource
from importlib.metadata import version
from pathlib import Path

VERSIONS = ("apache-airflow", "mlflow", "scikit-learn", "pandas", "deltalake", "great-expectations", "skops")


def describe_machine() -> str:
    """Cores, processor, memory, system, Python; "unknown" for what this system does not tell."""
    model = next((line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    system = f"{platform.system()} {platform.release()}"
    return f"{cores} cores ({model or 'processor unknown'}), {memory:.0f} GiB, {system}"


def describe_versions() -> str:
    return ", ".join([f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in VERSIONS)])


class OthersShare:
    """How much of the machine others used since this was made: `share()`, 0 to 1 of all cores; None where unknown.

    All that was in use, steal included, less what this process and its ended descendants used: take it when all have
    ended. A descendant that something else has waited for counts as others.
    """

    def __init__(self) -> None:
        self._before, self._own_before = _cpu_times(), _own_seconds()

    def share(self) -> float | None:
        now = _cpu_times()
        if not self._before or not now:
            return None
        spent = [late - early for early, late in zip(self._before, now, strict=True)]
        busy = sum(spent) - spent[3] - spent[4]  # idle, iowait
        own = (_own_seconds() - self._own_before) * os.sysconf("SC_CLK_TCK")
        return max(busy - own, 0) / max(sum(spent), 1)


def memory_mib(pids: list[int]) -> float:
    """Memory of these processes and all below them, pages that they share counted once (PSS); 0 where unknown."""
    parents = {int(path.parent.name): _parent(path) for path in Path("/proc").glob("[0-9]*/stat")}
    family, grown = set(pids), True
    while grown:
        below = {pid for pid, parent in parents.items() if parent in family} - family
        family, grown = family | below, bool(below)
    sizes = (_pss_kib(pid) for pid in family)
    return sum(sizes) / 1024


def peak_mib() -> float:
    """The highest resident size of this process since it was started; 0 where unknown. ru_maxrss won't do: a process
    begins with that of its parent."""
    line = next((line for line in _lines("/proc/self/status") if line.startswith("VmHWM:")), "VmHWM: 0 kB")
    return int(line.split()[1]) / 1024


def bytes_read() -> int:
    """What this process has read from files and pipes so far; 0 where unknown."""
    line = next((line for line in _lines("/proc/self/io") if line.startswith("rchar:")), "rchar: 0")
    return int(line.split()[1])


def _own_seconds() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


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
