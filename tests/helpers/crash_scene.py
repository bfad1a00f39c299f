"""Where the story of crash_story.py is told: a folder, or a folder and a prefix of an S3 server."""

from __future__ import annotations

import itertools
import shutil
import signal
import tempfile
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from uuid import uuid4

import oracle
from forks import Forks, Run
from oracle import Seen
from s3_server import BUCKET, S3Server

from ratchet.failpoints import arm

CORES = 2


class Scene:
    """A place of its own for one story and what is done to it."""

    def __init__(self, folder: Path, server: S3Server | None, client=None) -> None:
        self.root, self.armed, self._log = folder / "root", folder / "armed", folder / "passed"
        self._server, self._client, self._prefix = server, client, uuid4().hex
        folder.mkdir(parents=True, exist_ok=True)

    def start(self, forks: Forks, point: str | None = None, sent=signal.SIGKILL, skip: int = 0, **env: str) -> Run:
        """A run of the whole story; `point`: armed, to be passed `skip` times first."""
        if point:
            arm(self.armed, point, sent, skip)
        env = {"RATCHET_FAILPOINT_FILE": str(self.armed), **(self._server.environment if self._server else {}), **env}
        return forks.start(str(self.root), *self._storage(), env=env)

    def tell(self, forks: Forks, **env: str) -> None:
        """The whole story, undisturbed."""
        run = self.start(forks, **env)
        assert run.wait() == 0, run.said

    def passes(self, forks: Forks) -> Counter[str]:
        """How often an undisturbed run comes by each point."""
        self.tell(forks, RATCHET_FAILPOINT_LOG=str(self._log))
        return Counter(self._log.read_text().split())

    def look(self) -> Seen:
        """What the oracle sees. It looks at copies: opening the database of a killed process would mend it."""
        with tempfile.TemporaryDirectory() as copy:
            ledger, storage = Path(copy) / "ledger", self.root
            if (self.root / "ledger").exists():
                shutil.copytree(self.root / "ledger", ledger)
            if self._server:
                storage = Path(copy) / "storage"
                oracle.fetch(self._client, BUCKET, self._prefix, storage)
            return oracle.look(ledger, storage)

    def _storage(self) -> list[str]:
        return [f"s3://{BUCKET}/{self._prefix}"] if self._server else []


class Theatre:
    """Scenes of one kind of storage, and what an undisturbed story leaves there."""

    def __init__(self, folder: Path, server: S3Server | None, forks: SimpleQueue[Forks]) -> None:
        self._folder, self._server, self._forks = folder, server, forks
        self._client, self._numbers = server.client() if server else None, itertools.count()
        scene = self.scene("undisturbed")
        (self.passes,) = self.for_each([scene], lambda one, fork: one.passes(fork))
        self.undisturbed = scene.look()
        oracle.check_finished(self.undisturbed, self.undisturbed)

    def scene(self, name: str) -> Scene:
        """An empty one."""
        return Scene(self._folder / f"{name}-{next(self._numbers)}", self._server, self._client)

    def for_each(self, cases: list, check: Callable) -> list:
        """check(case, forks) for each, as many at a time as there are cores; tells of all that failed."""

        def one(case: object) -> object:
            fork = self._forks.get()
            try:
                return check(case, fork)
            except AssertionError as error:
                error.add_note(f"case: {case}")
                return error
            finally:
                self._forks.put(fork)

        with ThreadPoolExecutor(CORES) as pool:
            found = list(pool.map(one, cases))
        if failed := [error for error in found if isinstance(error, AssertionError)]:
            raise failed[0] if len(failed) == 1 else ExceptionGroup(f"{len(failed)} of {len(cases)}", failed)
        return found
