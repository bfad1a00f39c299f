"""A month of real flights, taken through the loop once a session, stage by stage; each test works on a copy.

A stage is a folder with a RATCHET_HOME (`home`) and its run-time state (`var`): drops, lake, ledger on SQLite, MLflow
on SQLite. `taken_in`: 30 days published. `trained`: a first challenger registered, a weak one. `reigning`: it is
champion, and has scored the last two weeks. `succeeded`: version 2, the best of the shipped candidates, has taken over.

What concerns landing zone and lake is tested on a folder and on S3, in one of two ways: `storage` is an empty one;
`copy_in_storage` is a stage that has been moved there.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest
from s3_server import BUCKET, S3Server
from small_loop import (
    FIRST,
    FIRST_AS_OF,
    LAST,
    MODEL,
    SECOND_AS_OF,
    SMALL,
    WEAK,
    deployment_in,
    make_home,
    promote,
    train,
)

from ratchet.deployment import Deployment
from ratchet.storage import Storage, open_storage


@pytest.fixture(scope="session")
def taken_in(tmp_path_factory) -> Path:
    from ratchet.upstream import land_flights
    from ratchet.workflow.ingestion import ingest_partitions

    root = tmp_path_factory.mktemp("taken_in")
    make_home(root / "home", **SMALL, candidates=WEAK)
    deployment = deployment_in(root)
    land_flights(deployment.drops, FIRST, LAST)
    for dataset in deployment.datasets.good:
        ingest_partitions(deployment, dataset)
    return root


@pytest.fixture(scope="session")
def trained(tmp_path_factory, taken_in) -> Path:
    root = Path(shutil.copytree(taken_in, tmp_path_factory.mktemp("trained") / "world"))
    train(deployment_in(root), FIRST_AS_OF)
    return root


@pytest.fixture(scope="session")
def reigning(tmp_path_factory, trained) -> Path:
    from ratchet.workflow.scoring import due_days, score_partitions

    root = Path(shutil.copytree(trained, tmp_path_factory.mktemp("reigning") / "world"))
    deployment = deployment_in(root)
    promote(deployment, 1)
    score_partitions(deployment, MODEL, due_days(deployment, deployment.model(MODEL)))
    return root


@pytest.fixture(scope="session")
def succeeded(tmp_path_factory, reigning) -> Path:
    root = Path(shutil.copytree(reigning, tmp_path_factory.mktemp("succeeded") / "world"))
    make_home(root / "home", **SMALL)
    deployment = deployment_in(root)
    assert train(deployment, SECOND_AS_OF)["version"] == 2
    promote(deployment, 2)
    return root


@pytest.fixture(scope="session")
def in_the_field(tmp_path_factory) -> Path:
    """A challenger beside a champion, on small days: see helpers/field_story.py."""
    from field_story import prepare

    root = tmp_path_factory.mktemp("field") / "world"
    prepare(root)
    return root


@pytest.fixture
def copy_of(tmp_path):
    """A deployment on a copy of a stage."""

    def copy(stage: Path) -> Deployment:
        return deployment_in(Path(shutil.copytree(stage, tmp_path / "world")))

    return copy


@pytest.fixture
def copy_in_storage(copy_of, storage, move_in):
    """As `copy_of`, with landing zone and lake in `storage`, by the one setting that says where they are."""

    def copy(stage: Path) -> Deployment:
        settings = replace(copy_of(stage).settings, storage=storage.address())
        for zone in ("landing", "lake"):
            move_in(settings.var / zone)
        return Deployment(settings)

    return copy


@pytest.fixture
def move_in(storage, request):
    """Moves a folder, a landing zone or a lake, into `storage`, where it has the same name."""

    def move(folder: Path) -> None:
        address = storage.address(folder.name)
        if address.startswith("s3://"):
            request.getfixturevalue("s3_server").upload(folder, address)
            shutil.rmtree(folder)
        else:
            Path(address).parent.mkdir(exist_ok=True)
            folder.rename(address)

    return move


@pytest.fixture
def as_environment(monkeypatch):
    """Makes a deployment the one that this process's environment describes, as it is for the CLI and for operators."""
    from ratchet.settings import get_settings

    def describe(deployment: Deployment) -> Deployment:
        monkeypatch.setenv("RATCHET_HOME", str(deployment.settings.home))
        monkeypatch.setenv("RATCHET_VAR", str(deployment.settings.var))
        monkeypatch.setenv("RATCHET_STORAGE", deployment.settings.storage or "")
        monkeypatch.setenv("MLFLOW_TRACKING_URI", deployment.settings.mlflow_tracking_uri)  # MLflow sets it, too
        get_settings.cache_clear()
        return deployment

    yield describe
    get_settings.cache_clear()


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """One server for all tests; each takes a prefix of its own. Nothing finds it but by `s3_address`."""
    with S3Server() as server:
        yield server


@pytest.fixture
def s3_address(s3_server, monkeypatch) -> str:
    """A fresh prefix of the server's bucket, with the credentials for it in the environment."""
    _set_credentials(s3_server, monkeypatch)
    return f"s3://{BUCKET}/{uuid4().hex}"


def _set_credentials(server: S3Server, environment: pytest.MonkeyPatch) -> None:
    for name, value in server.environment.items():
        environment.setenv(name, value)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        environment.setenv(name, "/dev/null")
    environment.setenv("AWS_EC2_METADATA_DISABLED", "true")
    environment.delenv("AWS_SESSION_TOKEN", raising=False)
    environment.delenv("AWS_PROFILE", raising=False)


@pytest.fixture(scope="session")
def bucket(s3_server) -> Storage:
    """The server's bucket, with one client for all tests: to make one takes longer than most of them."""
    bucket = open_storage(f"s3://{BUCKET}")
    with pytest.MonkeyPatch.context() as environment:
        _set_credentials(s3_server, environment)
        assert bucket.look("up")  # asked now, while the credentials are right: a test may spoil them
    return bucket


@pytest.fixture(params=["local", "s3"])
def storage(request, tmp_path) -> Storage:
    """An empty storage: a folder, and then a prefix of a real S3 server."""
    if request.param == "local":
        return open_storage(tmp_path / "storage")
    address = request.getfixturevalue("s3_address")
    return request.getfixturevalue("bucket").below(address.rpartition("/")[2])
