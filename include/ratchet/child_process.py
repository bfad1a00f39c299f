"""Programs that are run beside us and trusted with little: they get the variables they need and nothing else, and they
end in time, with all that they have started and left in their process group. If we are killed ourselves, the program
itself dies with us (on Linux), but not what it has started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from ratchet.errors import NotReproducedError

HOUR = 3600
_SYSTEM = ("PATH", "TMPDIR", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH")
_NETWORK = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR", "NETRC")
_THREADS = ("OMP_", "OPENBLAS_", "MKL_", "BLIS_", "KMP_")  # the order of additions is part of a fit's last bit
_TAIL = 600  # characters of what a program said
# Whoever kills our group does not reach the program's: on Linux it asks to die with us, and only then becomes itself.
_DIES_WITH_US = """import ctypes, os, signal, sys
getattr(ctypes.CDLL(None), "prctl", lambda *_: 0)(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
if os.getppid() == int(sys.argv[1]):
    os.execvp(sys.argv[2], sys.argv[2:])
"""


def installer_environment() -> dict[str, str]:
    """For uv: what it is configured by (`UV_*`, among them the addresses of indexes and their credentials), the
    network's settings, and the user's home, where its cache and its own settings lie."""
    network = [*_NETWORK, *(name.lower() for name in _NETWORK)]
    return _taken([*_SYSTEM, *network, "HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"], ("UV_",))


def rebuild_environment(home: Path, source: Path) -> dict[str, str]:
    """For a fit: how the libraries compute, a home of its own, and the source to import. No credential and no proxy: a
    network that is reached without them is not shut off."""
    return _taken(_SYSTEM, _THREADS) | {"HOME": str(home), "PYTHONPATH": str(source)}


def run_child(command: list[str], environment: Mapping[str, str], what: str, seconds: float) -> None:
    """Run a program to its end, in a process group of its own. The group is killed as a whole when the program has
    ended, well or not, after `seconds`, and when we are stopped before by an exception. Raises NotReproducedError,
    which says `what` has failed, with the last that it wrote."""
    with tempfile.TemporaryFile() as told:
        streams = {"stdin": subprocess.DEVNULL, "stdout": told, "stderr": told}
        guarded = [sys.executable, "-I", "-S", "-c", _DIES_WITH_US, str(os.getpid()), *command]
        child = subprocess.Popen(guarded, env=dict(environment), process_group=0, **streams)
        try:
            ended = f"exit status {child.wait(seconds)}"
        except subprocess.TimeoutExpired:
            ended = f"not done after {seconds / HOUR:.3g} hours, killed"
        finally:
            with suppress(ProcessLookupError):  # nothing is left of the group
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        if child.returncode:
            raise NotReproducedError(
                what, seen=f"{ended}: {_tail(told)}", where=Path(command[0]).name, hint="mend that, then try again"
            )


def _taken(names: list[str] | tuple[str, ...], prefixes: tuple[str, ...]) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name in names or name.startswith(prefixes)}


def _tail(told) -> str:
    told.seek(max(told.seek(0, os.SEEK_END) - 4 * _TAIL, 0))
    return " ".join(told.read().decode("utf-8", "replace").split())[-_TAIL:] or "it said nothing"
