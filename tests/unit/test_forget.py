"""Somebody asks to be forgotten: no byte of them is left in landing zone and lake, whatever happens on the way."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from deltalake import write_deltalake
from small_loop import MODEL, deployment_in
from typer.testing import CliRunner

from ratchet.cli import cli
from ratchet.deployment import Deployment
from ratchet.digests import digest_of, frame_digest
from ratchet.drops import Drop
from ratchet.errors import ConflictError, ParameterError, UnknownNameError, ValidationFailedError
from ratchet.failpoints import FAILPOINTS, arm
from ratchet.forget import Person, find_rows, write_without
from ratchet.lake import Lake
from ratchet.lake_files import ErasedError
from ratchet.privacy import Pseudonyms, open_pseudonyms
from ratchet.specs import DatasetSpec
from ratchet.workflow.dispatch import keep_house
from ratchet.workflow.erasure import forget_person
from ratchet.workflow.ingestion import ingest_partitions, readmit_partitions

SPEC = {
    "description": "things",
    "owner": "us",
    "time_zone": "UTC",
    "starts": "2013-01-01",
    "key": ["id"],
    "columns": {"id": "int64", "person": "string", "weight": "float64"},
    "personal": ["person"],
    "max_quarantined_share": 0.5,
}
SUITE = [
    {"type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": 2}},
    {"type": "expect_column_values_to_be_between", "kwargs": {"column": "weight", "min_value": 0, "max_value": 100}},
    {
        "type": "expect_column_most_common_value_to_be_in_set",
        "kwargs": {"column": "person", "value_set": ["x"]},
        "severity": "warning",
    },
]
ALICE, LETTER = "Alice Ärmel", "asked by letter of 3 May"
D1, D2, D3, D4 = (f"2013-01-0{n}" for n in range(1, 5))
POINTS = [point for point in FAILPOINTS if point.startswith(("forget.", "storage."))]
POINTS += [
    f"lake.{kind}.{when}_commit"
    for kind in ("quality", "quarantine", "refused", "datasets")
    for when in ("before", "after")
]
POINTS += ["lake.before_delete", "ledger.before_commit", "ledger.after_commit"]
SNAPSHOT, OTHER_SNAPSHOT = "a" * 64, "b" * 64


class World:
    """A dataset with a personal column, three versions of which hold Alice in every way there is."""

    def __init__(self, root: Path, storage: str | None = None) -> None:
        self.root, home = root, root / "home"
        for folder in ("include/datasets", "include/models", "great_expectations/expectations"):
            (home / folder).mkdir(parents=True)
        (home / "include/models/toys.yaml").write_text("description: not any more\n")
        (home / "include/datasets/things.yaml").write_text(yaml.safe_dump(SPEC))
        self.write_suite(SUITE)
        self.deployment = Deployment(replace(deployment_in(root).settings, storage=storage))
        self.pseudonym = open_pseudonyms(self.deployment.settings.var).of("person", ALICE)

    def write_suite(self, expectations: list) -> None:
        text = json.dumps({"name": "things", "expectations": expectations})
        (self.root / "home/great_expectations/expectations/things.json").write_text(text)

    def deliver(self, day: str, frame: pd.DataFrame | str, days_later: int = 1) -> None:
        at = datetime.fromisoformat(day).replace(tzinfo=UTC) + timedelta(days=days_later)
        if isinstance(frame, pd.DataFrame):
            self.deployment.drops.write("things", day, frame, at, "test")
            return
        drops, data = self.deployment.drops, gzip.compress(frame.encode(), mtime=0)
        self.deployment.drops.write("things", day, people("Bob"), at, "test")  # for its manifest
        folder, told = f"things/{day}", json.loads(drops.storage.read(f"things/{day}/manifest.json", 10**6))
        drops.storage.write(f"{folder}/odd.csv.gz", data)
        rows = frame.count("\n") - 1
        told |= {"file": "odd.csv.gz", "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data), "rows": rows}
        drops.storage.write(f"{folder}/manifest.json", json.dumps(told | {"batch": 7}).encode())

    def fill(self) -> None:
        """D1: restated, Alice in both. D2: published without her, in quarantine with her twice, once in an odd row.
        D3: refused with her. D4: not hers."""
        self.deliver(D1, people(ALICE, "Bob", "Carl"))
        self.deliver(D4, people("Bob", "Carl"))
        ingest_partitions(self.deployment, "things")
        self.deliver(D1, people("Bob", ALICE, "Carl", "Dora"), days_later=2)
        odd = f"id,person,weight\n1,{ALICE},999\n2,Bob,1.5\n3,{ALICE},1,5\n4,Carl,2.5\n5,Dora,2.5\n"
        self.deliver(D2, odd)
        self.deliver(D3, people(ALICE).assign(weight=999.0))
        with pytest.raises(ValidationFailedError):
            ingest_partitions(self.deployment, "things")
        self.keep_snapshot(SNAPSHOT, {D1: [1, "digest", "drop"], D4: [1, "digest", "drop"]})
        self.keep_snapshot(OTHER_SNAPSHOT, {D2: [1, "digest", "drop"], D4: [1, "digest", "drop"]})

    def keep_snapshot(self, digest: str, partitions: dict) -> None:
        """Of a model whose spec can't be used any more."""
        storage, folder = self.deployment.lake.storage, f"snapshots/toys/{digest}"
        storage.write(f"{folder}/frame.parquet", people("Bob").to_parquet())
        storage.write(f"{folder}/manifest.json", b"{}")
        self.deployment.ledger.record_snapshot("toys", digest, D4, {"things": partitions})

    def forget(self, reason: str = LETTER, **key: str) -> dict:
        return forget_person(self.deployment, "things", key or {"person": ALICE}, reason, "outsider")

    def things(self, day: str | None = None, version: int | None = None) -> pd.DataFrame:
        return self.deployment.lake.read("datasets/things", day, day, version=version)

    def end_state(self) -> str:
        """What stands in the end, whichever way it came to be."""
        deployment = self.deployment
        tables = {t: frame_digest(deployment.lake.read(t)) for t in deployment.lake.tables()}
        landed = {e.key: deployment.drops.storage.digest(e.key) for e in deployment.drops.storage.list()}
        recorded = [
            [p.day, p.revision, p.digest, p.drop_sha256, p.reason] for p in deployment.ledger.partitions("things")
        ]
        (erasure,) = deployment.ledger.erasures()
        told = [erasure.key, erasure.found, erasure.snapshots, erasure.finished_at is not None]
        return digest_of([tables, landed, recorded, told])


def copy_world(world: World, to: Path) -> World:
    copy = World.__new__(World)
    copy.root = Path(shutil.copytree(world.root, to))
    copy.deployment, copy.pseudonym = deployment_in(copy.root), world.pseudonym
    return copy


def people(*names: str) -> pd.DataFrame:
    return pd.DataFrame({"id": range(len(names)), "person": names, "weight": 1.5})


def traces(deployment: Deployment, *words: str) -> list[str]:
    """The objects below landing zone and lake in which one of the words stands, packed or not."""
    spelled = {spelling for word in words for spelling in (word, json.dumps(word)[1:-1])}
    return [
        entry.key
        for storage in (deployment.drops.storage, deployment.lake.storage)
        for entry in storage.list()
        if any(word in _text(entry.key, storage.read(entry.key, 10**8)) for word in spelled)
    ]


def _text(key: str, data: bytes) -> str:
    if key.endswith(".gz"):
        data += gzip.decompress(data)
    unpacked = pq.read_table(io.BytesIO(data), partitioning=None).to_pydict() if key.endswith(".parquet") else {}
    told = "\n".join(str(value) for column in unpacked.values() for value in column)
    return data.decode("utf-8", "replace") + told


@pytest.fixture(scope="module")
def filled(tmp_path_factory) -> World:
    world = World(tmp_path_factory.mktemp("filled") / "world")
    world.fill()
    return world


@pytest.fixture
def world(filled, tmp_path) -> World:
    return copy_world(filled, tmp_path / "world")


@pytest.fixture(params=["local", "s3"])
def either(request, tmp_path) -> World:
    if request.param == "local":
        return request.getfixturevalue("world")
    world = World(tmp_path, request.getfixturevalue("s3_address"))
    world.fill()
    return world


def test_no_trace_is_left_in_landing_zone_and_lake(either):
    before = traces(either.deployment, ALICE, either.pseudonym)
    tables = {f"{kind}/things" for kind in ("datasets", "quarantine", "refused", "quality")}
    assert {"/".join(key.split("/")[:2]) for key in before} == tables | {f"things/{day}" for day in (D1, D2, D3)}
    told = either.forget()
    assert traces(either.deployment, ALICE, either.pseudonym) == []
    assert told["days"] == [D1, D2, D3] and told["not_read"] == told["also_in"] == told["in_logs"] == []
    assert told["snapshots"] == {"toys": [SNAPSHOT]}
    left = {entry.key.split("/")[2] for entry in either.deployment.lake.storage.list("snapshots")}
    assert left == {OTHER_SNAPSHOT}
    assert told["rows"] == {"landing": 5, "datasets/things": 2, "quarantine/things": 2, "refused/things": 1}
    people_left = {day: sorted(rows["id"]) for day, rows in either.things().groupby("day")}
    assert people_left == {D1: [0, 2, 3], D2: [2, 4, 5], D4: [0, 1]}
    assert list((either.root / "var").rglob("*.unfinished*")) == []


def test_the_logs_of_new_tables_hold_no_values(world):
    log = [e.key for e in world.deployment.lake.storage.list() if "_delta_log" in e.key]
    assert log and not any('minValues\\":{\\"' in world.deployment.lake.storage.read(k, 10**7).decode() for k in log)
    assert len(world.things(D4)) == 2 and len(world.things()) == 9


def test_a_table_whose_log_holds_values_is_named(world):
    lake = world.deployment.lake
    rows = lake.read("refused/things")
    shutil.rmtree(lake.path("refused/things"))
    write_deltalake(lake.path("refused/things"), pa.Table.from_pandas(rows, preserve_index=False), partition_by=["day"])
    assert world.forget()["in_logs"] == ["refused/things"]


def test_the_next_ingestion_finds_everything_unchanged(world):
    world.forget()
    events = len(world.deployment.ledger.events())
    report = ingest_partitions(world.deployment, "things", actor="nightly")
    assert (report["status"], report["refused_before"]) == ("nothing new", [D3])
    assert ingest_partitions(world.deployment, "things", D1, D2)["unchanged"] == [D1, D2]
    assert len(world.deployment.ledger.events()) == events
    for day in (D1, D2, D3):
        world.deployment.drops.find("things", day)


def test_read_again_by_another_recipe_the_rest_is_the_same(world):
    world.forget()
    world.write_suite(SUITE[:2])
    report = readmit_partitions(world.deployment, "things", reason="a suite", actor="outsider", first=D1, last=D2)
    assert (report["confirmed"], report["published"]) == ([D1, D2], [])


def test_a_manifest_keeps_what_the_sender_said_and_names_what_it_is_left_of(world):
    before = world.deployment.drops.announced("things", D2)
    world.forget()
    storage = world.deployment.drops.storage
    told = json.loads(storage.read(f"things/{D2}/manifest.json", 10**6))
    after = world.deployment.drops.find("things", D2)
    assert (told["erased_from"], told["batch"], told["rows"]) == (before.sha256, 7, 3)
    assert (after.delivered_at, after.source, after.bytes) == (before.delivered_at, before.source, told["bytes"])
    text = gzip.decompress(storage.read(after.key, 10**6)).decode()
    assert text == "id,person,weight\n2,Bob,1.5\n4,Carl,2.5\n5,Dora,2.5\n"
    assert [e.key for e in storage.list(f"things/{D1}")].__len__() == 2  # the superseded drop is gone


def test_who_did_it_why_and_how_often_is_on_record_and_never_whom(world):
    told = world.forget()
    ledger = world.deployment.ledger
    newest = ledger.partition("things", D1)
    assert (newest.revision, newest.rows, newest.actor) == (3, 3, "outsider")
    assert newest.reason == "erased: asked by letter of 3 May"
    (erasure,) = ledger.erasures("things")
    assert (erasure.id, erasure.actor, list(erasure.key)) == (told["erasure"], "outsider", ["person"])
    kinds = [e.kind for e in ledger.events()]
    assert kinds.count("erasure_begun") == kinds.count("erasure_finished") == 1 and ledger.verify().ok
    text = (world.root / "var/ledger/ledger.db").read_bytes().decode("utf-8", "replace")
    assert ALICE not in text and "Alice" not in text and world.pseudonym not in text


def test_an_old_revision_says_that_it_was_erased_and_other_days_of_it_stay(world):
    _, second = world.deployment.ledger.partition_revisions("things")[D1]
    told = world.forget()
    with pytest.raises(ErasedError, match=f"(?s){D1}.*erased.*{told['erasure']}.*do: "):
        world.things(version=second.table_version)
    assert len(world.things(D4, version=second.table_version)) == 2
    published, _, _ = world.deployment.published.read("things", None, None)
    assert frame_digest(published) == frame_digest(world.things())


def test_as_of_then_the_day_is_what_is_left_of_it(tmp_path):
    """What the first delivery left is still that delivery's: known from the same moment on."""
    world = World(tmp_path)
    world.deliver(D1, people(ALICE, "Bob", "Carl"))
    ingest_partitions(world.deployment, "things")
    world.forget()
    then = datetime(2013, 1, 2, 1, tzinfo=UTC)
    rows, revisions, _ = world.deployment.published.read("things", D1, D1, known_before=then)
    assert len(rows) == 2 and [one.revision for one in revisions] == [2]


def test_again_changes_nothing_and_says_what_was_done(world):
    told, state = world.forget(), world.end_state()
    events = len(world.deployment.ledger.events())
    assert world.forget("once more") == told | {"stale": 0}
    assert world.end_state() == state and len(world.deployment.ledger.events()) == events


@pytest.mark.parametrize(
    ("key", "reason", "kind", "said"),
    [
        ({"person": "Nobody"}, "asked", UnknownNameError, "nothing was written"),
        ({"person": ALICE.lower()}, "asked", UnknownNameError, "exactly as it was delivered"),
        ({"person": ALICE, "id": "4"}, "asked", UnknownNameError, "no row of things"),
        ({"name": ALICE}, "asked", UnknownNameError, "no column 'name'"),
        ({"person": " "}, "asked", ParameterError, "no value for person"),
        ({"person": ALICE}, " ", ParameterError, "no reason"),
        ({"person": ALICE}, f"{ALICE} asked", ParameterError, "names who"),
    ],
)
def test_wrong_input_changes_nothing(world, key, reason, kind, said):
    events = len(world.deployment.ledger.events())
    with pytest.raises(kind, match=said) as raised:
        world.forget(reason, **key)
    assert not any(value in str(raised.value) for value in key.values() if value.strip())
    assert len(world.deployment.ledger.events()) == events and traces(world.deployment, ALICE)


@pytest.mark.parametrize("times", [1, 99])
def test_what_an_ingestion_under_way_brings_back_goes_too(world, monkeypatch, times):
    lake, purge, rows = world.deployment.lake, Lake.purge, world.things(D1)
    brought: list[int] = []

    def purge_and_bring_back(self: Lake, table: str, *more: object) -> int:
        done = purge(self, table, *more)
        if table == "datasets/things" and len(brought) < times:
            brought.append(lake.publish(table, D4, rows.assign(day=D4)))
        return done

    with monkeypatch.context() as patched:
        patched.setattr(Lake, "purge", purge_and_bring_back)
        if times > 1:
            with pytest.raises(ConflictError, match="keep coming back"):
                world.forget()
        else:
            assert world.forget()["days"] == [D1, D2, D3, D4]
    assert world.forget()["days"] == [D1, D2, D3, D4]
    assert traces(world.deployment, ALICE, world.pseudonym) == []


def test_from_a_shell(world, as_environment):
    as_environment(world.deployment)
    said = CliRunner().invoke(
        cli, ["forget", "things", "--key", f"person={ALICE}", "--key", "id=1", "--reason", "asked"]
    )
    assert said.exit_code == 0 and json.loads(said.stdout)["days"] == [D1, D2]
    for wrong in (["person"], ["id=1", "--key", "id=2"]):
        said = CliRunner().invoke(cli, ["forget", "things", "--key", *wrong, "--reason", "asked"])
        assert isinstance(said.exception, ParameterError) and "each column once" in str(said.exception)


def test_a_key_that_is_no_person_s_own_is_met_in_any_spelling(world):
    told = world.forget(id="0", person=ALICE)
    assert told["rows"]["landing"] == 2  # D1's superseded drop, and D3's
    assert sorted(world.things(D1)["id"]) == [0, 1, 2, 3]
    told = world.forget(id="2.0")
    assert told["days"] == [D1, D2] and 2 not in set(world.things()["id"])


def test_what_a_suite_saw_of_the_person_is_blanked(tmp_path):
    world = World(tmp_path)
    world.write_suite(
        [*SUITE, {"type": "expect_column_max_to_be_between", "kwargs": {"column": "id", "max_value": 99}}]
    )
    world.deliver(D1, pd.DataFrame({"id": [77, 1, 2], "person": ["a", "b", "c"], "weight": 1.5}))
    world.deliver(D2, pd.DataFrame({"id": [3, 1, 2], "person": ["a", "b", "c"], "weight": 1.5}))
    ingest_partitions(world.deployment, "things")
    world.forget(id="77")
    quality = world.deployment.lake.read("quality/things")
    seen = quality[quality["expectation"].str.startswith("id: ")].set_index("day")["seen"].to_dict()
    assert seen == {D1: "(erased)", D2: '"3"'}


def test_what_can_not_be_read_is_named_and_left(world):
    drops, lake = world.deployment.drops.storage, world.deployment.lake.storage
    drops.write(f"things/{D4}/broken.csv.gz", b"no gzip at all")
    drops.write("things/notes.txt", b"what is this")
    lake.write(f"datasets/things/day={D4}/part-of-a-dead-writer.parquet", b"half")
    told = world.forget()
    assert sorted(Path(address).name for address in told["not_read"]) == [
        "broken.csv.gz",
        "notes.txt",
        "part-of-a-dead-writer.parquet",
    ]
    assert all(Path(address).exists() for address in told["not_read"])


class Killed(BaseException):
    """What a kill is to the code that it hits, less the wait for a new process."""


def killed_at(world: World, armed: Path, monkeypatch) -> bool:
    def kill(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setenv("RATCHET_FAILPOINT_FILE", str(armed))
        patched.setattr("ratchet.failpoints.os.kill", kill)
        try:
            world.forget()
        except Killed:
            return True
    return False


def run_in_a_process(world: World, armed: Path) -> int:
    code = (
        "import sys, test_forget as t; from small_loop import deployment_in; from pathlib import Path;"
        "from ratchet.workflow.erasure import forget_person;"
        "forget_person(deployment_in(Path(sys.argv[1])), 'things', {'person': t.ALICE}, t.LETTER, 'outsider')"
    )
    paths = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[1] / "helpers")])
    env = {**os.environ, "RATCHET_FAILPOINT_FILE": str(armed), "PYTHONPATH": paths}
    return subprocess.run([sys.executable, "-c", code, str(world.root)], env=env, timeout=120, check=False).returncode


@pytest.fixture(scope="module")
def wanted(filled, tmp_path_factory) -> str:
    """How it ends undisturbed."""
    world = copy_world(filled, tmp_path_factory.mktemp("wanted") / "world")
    world.forget()
    return world.end_state()


@pytest.mark.parametrize(
    "times", [pytest.param([0], id="first"), pytest.param(range(1, 100), id="later", marks=pytest.mark.matrix)]
)
@pytest.mark.parametrize("point", POINTS)
def test_k1_killed_anywhere_the_next_run_ends_the_same(filled, wanted, tmp_path, monkeypatch, point, times):
    """The first time that the point is passed, and each time after."""
    for skip in times:
        world, armed = copy_world(filled, tmp_path / f"w{skip}"), tmp_path / "failpoint"
        arm(armed, point, signal.SIGKILL, skip)
        if not killed_at(world, armed, monkeypatch):
            assert skip, "it is never passed"
            return
        for day in (D1, D2, D3, D4):
            world.deployment.drops.find("things", day)  # at no moment a day without its file
        world.forget()
        assert world.end_state() == wanted and traces(world.deployment, ALICE, world.pseudonym) == []
        assert ingest_partitions(world.deployment, "things")["status"] == "nothing new"
    assert times == [0], "it is passed without end"


@pytest.mark.parametrize("point", ["forget.file_rewritten", "lake.datasets.after_commit", "lake.before_delete"])
def test_k1_a_real_kill_is_no_other(filled, wanted, tmp_path, point):
    world, armed = copy_world(filled, tmp_path / "w"), tmp_path / "failpoint"
    arm(armed, point, signal.SIGKILL)
    assert run_in_a_process(world, armed) == -signal.SIGKILL
    world.forget()
    assert world.end_state() == wanted and traces(world.deployment, ALICE, world.pseudonym) == []


def test_rows_are_cut_out_of_a_file_byte_by_byte(tmp_path):
    spec = DatasetSpec(name="things", **SPEC)
    person = Person(spec, {"person": "Alice"}, Pseudonyms(b"k" * 32))
    head, bob = "\ufeffid,person,weight\r\n", '1,Bob,"1\r\n.5"\r\n'
    hers = ["2,Alice,1\r\n", '3,"Alice","1\n,5"\n\n', "4,Alice\n", "5,x,Alice,y\r"]
    text = head + hers[0] + bob + hers[1] + hers[2] + bob + hers[3] + bob.strip("\r\n")
    path, rest = tmp_path / "drop.gz", tmp_path / "rest.gz"
    path.write_bytes(gzip.compress(text.encode()))
    drop = Drop("things", D1, "k", "a", "", datetime.now(UTC), "", 0, 0)
    lines = find_rows(path, drop, person)
    assert len(lines.cuts) == 4 and len(lines.odd) == 2
    write_without(path, rest, lines)
    assert gzip.decompress(rest.read_bytes()).decode() == head + bob + bob + bob.strip("\r\n")
    first = rest.read_bytes()
    write_without(path, rest, lines)
    assert rest.read_bytes() == first


def test_a_big_file_is_cut_piece_by_piece(tmp_path):
    spec = DatasetSpec(name="things", **SPEC)
    person = Person(spec, {"person": "p77"}, Pseudonyms(b"k" * 32))
    lines = [f"{n},p{n % 1000},1.5\n" for n in range(600_000)]
    path, rest = tmp_path / "drop.gz", tmp_path / "rest.gz"
    path.write_bytes(gzip.compress("".join(["id,person,weight\n", *lines]).encode(), 1))
    drop = Drop("things", D1, "k", "a", "", datetime.now(UTC), "", 0, 0)
    found = find_rows(path, drop, person)
    assert len(found.cuts) == 600
    write_without(path, rest, found)
    left = gzip.decompress(rest.read_bytes()).decode().splitlines(keepends=True)
    assert left[1:] == [line for line in lines if ",p77," not in line]


def test_flights_of_one_plane_go_with_predictions_snapshots_and_what_they_made(copy_of, reigning):
    deployment = copy_of(reigning)
    plane = deployment.lake.read("datasets/flights", "2013-01-20")["tailnum"].dropna().iloc[0]
    day = "2013-01-20"
    flown = deployment.lake.read("datasets/flights", columns=["day", "tailnum"])
    days = sorted(set(flown[flown["tailnum"] == plane]["day"]))
    scored = len(deployment.lake.read(f"predictions/{MODEL}", day, day))
    snapshot = deployment.ledger.challenger(MODEL, 1).snapshot
    used = any(d in deployment.ledger.snapshots(MODEL)[0].partitions["flights"] for d in days)
    told = forget_person(deployment, "flights", {"tailnum": plane}, "the owner asked", "outsider")
    assert told["days"] == days and told["also_in"] == ["planes"]
    on_day = int((flown[flown["day"] == day]["tailnum"] == plane).sum())
    assert len(deployment.lake.read(f"predictions/{MODEL}", day, day)) == scored - on_day
    assert told["rows"]["landing"] == told["rows"]["datasets/flights"] == int((flown["tailnum"] == plane).sum())
    assert used and (told["snapshots"], told["versions"]) == ({MODEL: [snapshot]}, {MODEL: [1]})
    assert list(deployment.lake.storage.list(f"snapshots/{MODEL}/{snapshot}")) == []
    marks = deployment.ledger.stale(MODEL)
    assert told["stale"] == len(marks) and {m.reason for m in marks} == {"erased: the owner asked"}
    assert {m.kind for m in marks} == {"snapshot", "predictions"}
    left = [key for key in traces(deployment, plane) if "/planes" not in f"/{key}"]
    assert left == []
    assert ingest_partitions(deployment, "flights")["status"] == "nothing new"
    keep_house(deployment)
    assert len(deployment.ledger.stale(MODEL)) == len(marks)
