"""K1, K4, K6, X2, X3 on the data plane: a story (crash_story.py) is killed, held or starved of disk at every named
point of no return and told again; an oracle that shares no code with the library compares what is left with an
undisturbed run, right after the blow and at the end."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from queue import SimpleQueue
from urllib.parse import unquote

import oracle
import pytest
from crash_scene import CORES, Scene, Theatre
from crash_story import THINGS
from faulty_proxy import FaultyProxy
from forks import Forks, Run

from ratchet import failpoints
from ratchet.failpoints import FAILPOINTS, TABLES

REPO = Path(__file__).parents[2]
# Points that the story doesn't come by, by prefix: the tests that kill there.
ELSEWHERE = {
    "forget.": "tests/unit/test_forget.py",
    "lake.before_delete": "tests/unit/test_upkeep.py",
    "lake.shadow.": "tests/unit/test_shadow.py",
    "promotion.": "tests/unit/test_crash_promotion.py",
    "registry.": "tests/unit/test_crash_training.py",
    "training.": "tests/unit/test_crash_training.py",
}
POINTS = sorted(name for name in FAILPOINTS if not name.startswith(tuple(ELSEWHERE)))
ONLY_LOCAL = {"storage.before_rename"}  # on S3 a put is seen whole or not at all
KINDS = ("local", "s3")


@pytest.fixture(scope="module")
def forks() -> Iterator[SimpleQueue]:
    """One for each core: take it, use it, put it back."""
    with ExitStack() as stack:
        free: SimpleQueue[Forks] = SimpleQueue()
        for _ in range(CORES):
            free.put(stack.enter_context(Forks("crash_story")))
        yield free


@pytest.fixture(scope="module")
def theatre(forks, tmp_path_factory, request):
    """By kind of storage; the S3 server is started when it is first asked for."""

    @cache
    def of(kind: str) -> Theatre:
        server = request.getfixturevalue("s3_server") if kind == "s3" else None
        return Theatre(tmp_path_factory.mktemp(kind), server, forks)

    return of


def kill_and_tell_again(theatre: Theatre, point: str, passes: list[int]) -> None:
    def check(skip: int, fork: Forks) -> None:
        scene = theatre.scene(f"{point}-{skip}")
        run = scene.start(fork, point, signal.SIGKILL, skip)
        assert (run.wait(), scene.armed.exists()) == (-signal.SIGKILL, False), run.said
        oracle.check_interrupted(scene.look(), theatre.undisturbed)
        scene.tell(fork)
        oracle.check_finished(scene.look(), theatre.undisturbed)

    theatre.for_each(passes, check)


def hold_and_overtake(theatre: Theatre, point: str, passes: list[int]) -> None:
    """The first attempt is stopped there; a second tells the whole story, with the newer drop; the first one wakes."""

    def check(skip: int, fork: Forks) -> None:
        scene = theatre.scene(f"held-{point}-{skip}")
        first = scene.start(fork, point, signal.SIGSTOP, skip)
        first.wait_until_stopped()
        scene.tell(fork)
        oracle.check_finished(scene.look(), theatre.undisturbed)
        first.resume()
        status = first.wait()
        assert status == 0 or (status == 1 and "ConflictError" in first.said), first.said
        oracle.check_finished(scene.look(), theatre.undisturbed)

    theatre.for_each(passes, check)


# --- no point is forgotten


def test_every_point_in_the_source_is_listed_and_every_listed_one_is_in_the_source():
    calls = set()
    for path in {*(REPO / "include").rglob("*.py")} - {Path(failpoints.__file__)}:
        calls |= set(re.findall(r"\bfailpoint\(([^()]*)\)", path.read_text("utf-8")))
    names = set()
    for call in calls:
        name = re.fullmatch(r'f?"([a-z_.{}]+)"', call)
        assert name, f"failpoint({call}): not a name that this test can read"
        names |= {name[1].replace("{kind}", kind) for kind in TABLES} if "{kind}" in call else {name[1]}
    assert names == FAILPOINTS.keys()


@pytest.mark.parametrize("kind", KINDS)
def test_every_listed_point_is_passed_by_the_story_or_killed_at_by_another_test(theatre, kind):
    passed = theatre(kind).passes
    left_out = ONLY_LOCAL if kind == "s3" else set()
    assert passed.keys() == set(POINTS) - left_out
    for prefix, file in ELSEWHERE.items():
        if names := [name for name in FAILPOINTS if name.startswith(prefix)]:
            text = (REPO / file).read_text("utf-8")
            assert all(name in text for name in names) or "FAILPOINTS" in text, f"{file} says nothing of {names}"


# --- K1, K4: killed there


@pytest.mark.parametrize(
    ("kind", "point"),
    [
        ("local", "storage.before_rename"),
        ("local", "lake.quarantine.after_commit"),
        ("local", "lake.datasets.before_commit"),
        ("local", "lake.datasets.after_commit"),
        ("local", "lake.predictions.after_commit"),
        ("local", "ledger.begin.before_commit"),
        ("local", "ledger.before_commit"),
        ("local", "ledger.after_commit"),
        ("s3", "lake.datasets.after_commit"),
    ],
)
def test_k1_k4_killed_at_the_first_pass_and_told_again(theatre, kind, point):
    kill_and_tell_again(theatre(kind), point, [0])


@pytest.mark.matrix
@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("kind", KINDS)
def test_k1_k4_killed_at_every_pass_and_told_again(theatre, kind, point):
    passes = theatre(kind).passes[point]
    assert passes or (kind == "s3" and point in ONLY_LOCAL)
    kill_and_tell_again(theatre(kind), point, list(range(passes)))


# --- K6: held there, and overtaken

# Not the landing zone: who delivers a drop twice says by delivered_at which of them is newer. Not what holds a lock.
HOLDABLE = [name for name in POINTS if name.startswith("lake.")] + ["ledger.after_commit"]


@pytest.mark.parametrize("point", ["lake.datasets.before_commit", "ledger.after_commit"])
def test_k6_a_first_attempt_that_wakes_changes_nothing(theatre, point):
    hold_and_overtake(theatre("local"), point, [0])


@pytest.mark.matrix
@pytest.mark.parametrize("point", HOLDABLE)
def test_k6_a_first_attempt_that_wakes_at_any_pass_changes_nothing(theatre, point):
    hold_and_overtake(theatre("local"), point, list(range(theatre("local").passes[point])))


@pytest.mark.matrix
def test_k6_a_first_attempt_that_wakes_changes_nothing_on_s3(theatre):
    hold_and_overtake(theatre("s3"), "lake.datasets.before_commit", [0, 1])


def hold_the_ledger(theatre: Theatre, cases: list[tuple[int, bool]]) -> None:
    """Held within its transaction it keeps the others out: they give up after a while, to be tried again. Cases: how
    many transactions it does first, and whether it wakes or is killed."""

    def check(case: tuple[int, bool], fork: Forks) -> None:
        scene = theatre.scene("holds-the-ledger-{}-{}".format(*case))
        first = scene.start(fork, "ledger.before_commit", signal.SIGSTOP, case[0])
        first.wait_until_stopped()
        second = scene.start(fork, CRASH_STORY_PATIENCE="1")
        assert second.wait() == 1 and "another process holds the lock" in second.said, second.said
        assert f"held by process {first.pid} of this host" in second.said and "run again" in second.said
        oracle.check_interrupted(scene.look(), theatre.undisturbed)
        first.resume() if case[1] else first.kill()
        status = first.wait()
        woken = status == 0 or (status == 1 and "ConflictError" in first.said)
        assert woken if case[1] else status == -signal.SIGKILL, first.said
        scene.tell(fork)
        oracle.check_finished(scene.look(), theatre.undisturbed)

    theatre.for_each(cases, check)


@pytest.mark.parametrize("wakes", [True, False], ids=["wakes", "is killed"])
def test_k6_while_one_holds_the_ledger_another_fails_and_changes_nothing(theatre, wakes):
    hold_the_ledger(theatre("local"), [(1, wakes)])


@pytest.mark.matrix
def test_k6_while_one_holds_the_ledger_at_any_pass_another_fails_and_changes_nothing(theatre):
    passes = range(theatre("local").passes["ledger.before_commit"])
    hold_the_ledger(theatre("local"), [(skip, wakes) for skip in passes for wakes in (True, False)])


# --- K1: killed within deltalake's own write


def kill_between_data_and_commit(theatre: Theatre, endpoint: str, cases: list[tuple[str, int]]) -> None:
    """Cases: a table and a version of it. Its rows are there, and its commit is being refused when the blow comes. S3
    only: in a folder nothing stands between deltalake and the file."""

    def check(case: tuple[str, int], fork: Forks) -> None:
        table, version = case
        commit = f"lake/{table}/_delta_log/{version:020}.json"
        scene = theatre.scene(f"uncommitted-{table.replace('/', '-')}-{version}")
        with FaultyProxy(endpoint) as proxy:
            proxy.fail(503, f"PUT .*/{commit}")
            run = scene.start(fork, AWS_ENDPOINT_URL=proxy.endpoint)
            wait_for_request(proxy, f"PUT .*/{commit}")
            run.kill()
            assert run.wait() == -signal.SIGKILL, run.said
            put = [unquote(one.partition("?")[0]) for one in proxy.seen() if one.startswith("PUT")]
        seen = scene.look()
        oracle.check_interrupted(seen, theatre.undisturbed)
        left = seen.tables.get(table)
        assert len(left.versions if left else []) == version
        known = {path.name for days in (left.files if left else []) for paths in days.values() for path in paths}
        rows = {one.rpartition("/")[2] for one in put if f"/lake/{table}/day=" in one} - known
        assert rows or not theatre.undisturbed.tables[table].versions[version], "no rows were put before the commit"
        scene.tell(fork)
        oracle.check_finished(scene.look(), theatre.undisturbed)

    theatre.for_each(cases, check)


def wait_for_request(proxy: FaultyProxy, wanted: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not any(re.search(wanted, one) for one in proxy.seen()):
        assert time.monotonic() < deadline, f"nobody asked for {wanted}"
        time.sleep(0.02)


def test_k1_killed_between_the_rows_and_the_commit_of_a_table(theatre, s3_server):
    kill_between_data_and_commit(theatre("s3"), s3_server.endpoint, [(f"datasets/{THINGS}", 0)])


@pytest.mark.matrix
def test_k1_killed_between_the_rows_and_the_commit_of_every_version_of_every_table(theatre, s3_server):
    tables = theatre("s3").undisturbed.tables
    cases = [(name, version) for name, table in tables.items() for version in range(len(table.versions))]
    kill_between_data_and_commit(theatre("s3"), s3_server.endpoint, cases)


# --- X2: a commit whose reply is lost


@pytest.mark.matrix
def test_x2_a_commit_whose_reply_was_lost_is_one_publication(theatre, s3_server):
    theatre = theatre("s3")

    def check(table: str, fork: Forks) -> None:
        scene = theatre.scene(f"lost-{table.replace('/', '-')}")
        with FaultyProxy(s3_server.endpoint) as proxy:
            proxy.fail("lose", f"PUT .*/lake/{table}/_delta_log", times=1)
            run = scene.start(fork, AWS_ENDPOINT_URL=proxy.endpoint)
            status = run.wait()
        assert status == 0 or (status == 1 and "ConflictError" in run.said), run.said
        oracle.check_interrupted(scene.look(), theatre.undisturbed)
        scene.tell(fork)
        oracle.check_finished(scene.look(), theatre.undisturbed)

    theatre.for_each([name for name in theatre.undisturbed.tables if name.startswith(oracle.DECIDING)], check)


# --- X3: the disk is full from there on


def fails_clearly(run: Run) -> None:
    """With an error of ours, which says what is to be done; any other exit status is an exception of somebody else."""
    assert run.wait() == 1 and "  do: " in run.said, run.said
    assert "the storage's disk" in run.said or "LedgerError: " in run.said or "No usable temporary" in run.said, (
        run.said
    )


def starve_and_tell_again(theatre: Theatre, cases: list[tuple[str, int, int]]) -> None:
    """Cases: a point, how often to pass it, and how big a file may become after it."""

    def check(case: tuple[str, int, int], fork: Forks) -> None:
        scene = theatre.scene("starved-{}-{}-{}".format(*case))
        run = scene.start(fork, case[0], signal.SIGSTOP, case[1])
        run.wait_until_stopped()
        run.let_files_grow_to(case[2])
        run.resume()
        fails_clearly(run)
        oracle.check_interrupted(scene.look(), theatre.undisturbed)
        scene.tell(fork)
        oracle.check_finished(scene.look(), theatre.undisturbed)

    theatre.for_each(cases, check)


def test_x3_a_disk_that_fails_at_the_next_write_leaves_the_old_state(theatre):
    points = ["storage.before_write", "lake.datasets.before_commit", "ledger.before_commit", "ledger.after_commit"]
    starve_and_tell_again(theatre("local"), [(point, 0, 0) for point in points])


@pytest.mark.matrix
@pytest.mark.parametrize("point", [name for name in POINTS if ".before_" in name] + ["ledger.after_commit"])
def test_x3_a_disk_that_fails_at_any_write_leaves_the_old_state(theatre, point):
    passes = range(theatre("local").passes[point])
    sizes = [0] if point != "lake.drift.before_commit" else [0, 1000]  # its rows have room, its commit hasn't
    starve_and_tell_again(theatre("local"), [(point, skip, size) for skip in passes for size in sizes])


@contextmanager
def small_disk(place: Path) -> Iterator[Path]:
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(place)]
    mounted = subprocess.run(mount, capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"mounting is not permitted here ({mounted.stderr.strip()}); the tests above need no mount")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def fill_and_tell_again(theatre: Theatre, folder: Path, cases: list[tuple[str, int]]) -> None:
    """Cases: a point, and how many pages of the disk are left after it: for some of a commit's files, say."""

    def check(case: tuple[str, int], fork: Forks) -> None:
        with small_disk(folder / f"{case[0]}-{case[1]}") as disk:
            scene = Scene(disk / "scene", None)
            run = scene.start(fork, case[0], signal.SIGSTOP)
            run.wait_until_stopped()
            filler = fill(disk, case[1])
            run.resume()
            fails_clearly(run)
            oracle.check_interrupted(scene.look(), theatre.undisturbed)
            filler.unlink()
            scene.tell(fork)
            oracle.check_finished(scene.look(), theatre.undisturbed)

    theatre.for_each(cases, check)


def test_x3_a_disk_that_is_full_leaves_the_old_state(theatre, tmp_path):
    fill_and_tell_again(theatre("local"), tmp_path, [("lake.datasets.before_commit", pages) for pages in (0, 3)])


@pytest.mark.matrix
@pytest.mark.parametrize("point", ["storage.before_write", "ledger.before_commit", "lake.datasets.before_commit"])
def test_x3_a_disk_that_is_full_but_for_some_pages_leaves_the_old_state(theatre, tmp_path, point):
    fill_and_tell_again(theatre("local"), tmp_path, [(point, pages) for pages in range(6)])


def fill(disk: Path, pages: int) -> Path:
    filler, page = disk / "filler", os.sysconf("SC_PAGE_SIZE")
    with filler.open("wb", buffering=0) as out, suppress(OSError):
        while True:
            out.write(bytes(page))
    os.truncate(filler, filler.stat().st_size - pages * page)
    return filler
