"""The MLflow adapter, on SQLite and on a real server: nothing twice, nothing half, links that lead somewhere."""

from __future__ import annotations

import os
import shutil
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow_server import free_port, mlflow_server
from sklearn.compose import ColumnTransformer
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder

from ratchet.errors import ModelFileError, ParameterError, RatchetError, RegistryError, UnknownNameError
from ratchet.model_files import load_model, model_digest
from ratchet.registry import Registry
from ratchet.registry.versions import _put

KEY, IDENTITY = "a" * 64, "b" * 64


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with mlflow_server(tmp_path_factory.mktemp("mlflow")) as address:
        yield address


@pytest.fixture(scope="module")
def database(tmp_path_factory) -> str:
    """A SQLite store with its tables made once; tests tell their models apart by name."""
    uri = f"sqlite:///{tmp_path_factory.mktemp('sqlite')}/deep/mlflow.db"
    Registry(uri).make_ready("warm")
    return uri


@pytest.fixture(params=["sqlite", "server"])
def registry(request, database) -> Registry:
    return Registry(database if request.param == "sqlite" else request.getfixturevalue("server"))


@pytest.fixture
def on_sqlite(database) -> Registry:
    return Registry(database)


@pytest.fixture
def name(request) -> str:
    return "m_" + "".join(c if c.isalnum() else "_" for c in request.node.name)


@pytest.fixture(scope="module")
def fitted() -> Pipeline:
    frame, label = rows()
    columns = ColumnTransformer([("numeric", "passthrough", ["a"]), ("categorical", OneHotEncoder(), ["c"])])
    return Pipeline([("columns", columns), ("model", LogisticRegression())]).fit(frame, label)


def rows() -> tuple[pd.DataFrame, pd.Series]:
    draw = np.random.default_rng(3)
    frame = pd.DataFrame({"a": draw.normal(size=200), "c": draw.choice(["x", "y"], 200)})
    return frame, (frame["a"] > 0).astype(int)


def log(registry: Registry, model: str, estimator, key: str = KEY):
    return registry.log_candidate(
        model,
        key,
        name="logistic",
        params={"C": 0.1, "estimator": "logistic_regression"},
        metrics={"roc_auc": 1 / 3, "rows": 200},
        tags={"snapshot": "s" * 64},
        estimator=estimator,
        columns={"a": "double", "c": "string"},
    )


def register(registry: Registry, model: str, logged, identity: str = IDENTITY) -> int:
    return registry.register(model, logged.run_id, identity, logged.model_digest, tags={"candidate": "logistic"})


def versions(registry: Registry, model: str) -> list:
    return list(mlflow.MlflowClient(registry.tracking_uri).search_model_versions(f"name = '{model}'"))


def runs(registry: Registry, experiment: str) -> list:
    client = mlflow.MlflowClient(registry.tracking_uri)
    return list(client.search_runs([client.get_experiment_by_name(experiment).experiment_id]))


def test_a_candidate_is_logged_registered_downloaded_and_predicts_the_same(registry, name, fitted, tmp_path):
    logged = log(registry, name, fitted)
    assert logged.metrics == {"roc_auc": 1 / 3, "rows": 200.0}
    assert register(registry, name, logged) == 1
    folder = registry.download(name, 1, tmp_path / "cache")
    frame, _ = rows()
    loaded = load_model(folder, logged.model_digest)
    np.testing.assert_array_equal(loaded.predict_proba(frame), fitted.predict_proba(frame))
    assert registry.download(name, 1, tmp_path / "cache") == folder
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [logged.model_digest]


def test_what_mlflow_knows_of_a_candidate(on_sqlite, name, fitted):
    run = mlflow.MlflowClient(on_sqlite.tracking_uri).get_run(log(on_sqlite, name, fitted).run_id)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "logistic")
    assert run.data.params == {"C": "0.1", "estimator": "logistic_regression"}
    assert run.data.tags["snapshot"] == "s" * 64
    (saved,) = run.outputs.model_outputs
    assert saved.model_id == run.data.tags["ratchet.model_id"]


def test_the_same_identity_makes_no_second_version(registry, name, fitted):
    first = log(registry, name, fitted)
    assert register(registry, name, first) == register(registry, name, first) == 1
    assert register(registry, name, log(registry, name, fitted, "c" * 64), "d" * 64) == 2
    assert registry.versions(name) == [1, 2]


def test_k2_a_run_that_is_there_already_is_not_taken_whoever_made_it(on_sqlite, name, fitted):
    """Neither half of one, nor a finished one that bears the key: the ledger says which run counts."""
    client = mlflow.MlflowClient(on_sqlite.tracking_uri)
    on_sqlite.make_ready(name)
    experiment = client.get_experiment_by_name(name).experiment_id
    there = [client.create_run(experiment, tags={"ratchet.key": KEY}).info.run_id for _ in range(2)]
    client.set_terminated(there[1], "FINISHED")
    assert log(on_sqlite, name, fitted).run_id not in there


def test_k2_an_estimator_that_could_not_be_loaded_fails_its_run_and_registers_nothing(on_sqlite, name):
    frame, label = rows()
    with pytest.raises(ModelFileError, match="(?i)neighbors"):
        log(on_sqlite, name, KNeighborsClassifier().fit(frame[["a"]], label))
    assert [run.info.status for run in runs(on_sqlite, name)] == ["FAILED"]


def test_c1_registering_at_once_leaves_one_version_once_doubles_are_cleared(registry, name, fitted):
    logged = log(registry, name, fitted)
    with ThreadPoolExecutor(6) as pool:
        made = list(pool.map(lambda _: register(registry, name, logged), range(6)))
    assert set(made) == {1}
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda _: registry.delete_doubles(name, IDENTITY, logged.model_digest, keep=[1]), range(6)))
    assert [int(v.version) for v in versions(registry, name)] == [1]


def test_k2_what_a_killed_attempt_left_is_adopted_or_cleared(on_sqlite, name, fitted):
    """It was killed after it made a version: that one is taken. Another one raced it: the higher number goes."""
    logged, client = log(on_sqlite, name, fitted), mlflow.MlflowClient(on_sqlite.tracking_uri)
    client.create_registered_model(name)
    for _ in range(2):
        made_like(client, name, logged)
    assert register(on_sqlite, name, logged) == 1
    assert on_sqlite.delete_doubles(name, IDENTITY, logged.model_digest, keep=[1]) == [2]
    assert on_sqlite.versions(name) == [1]


def test_versions_that_the_ledger_knows_and_versions_of_other_files_are_no_doubles(on_sqlite, name, fitted):
    logged, client = log(on_sqlite, name, fitted), mlflow.MlflowClient(on_sqlite.tracking_uri)
    client.create_registered_model(name)
    for digest in (logged.model_digest, logged.model_digest, "e" * 64):
        made_like(client, name, logged, digest)
    assert on_sqlite.delete_doubles(name, IDENTITY, logged.model_digest, keep=[1, 2]) == []
    assert on_sqlite.versions(name) == [1, 2, 3]


def made_like(client, model: str, logged, digest: str | None = None):
    """A version as `register` makes it, or as one forges it."""
    model_id = client.get_run(logged.run_id).data.tags["ratchet.model_id"]
    tags = {"ratchet.identity": IDENTITY, "ratchet.model_digest": digest or logged.model_digest}
    return client.create_model_version(model, f"models:/{model_id}", logged.run_id, tags=tags, model_id=model_id)


def test_s1_a_forged_version_of_our_identity_is_not_taken(on_sqlite, name, fitted):
    """It says it is ours, points at other files, and came first."""
    ours, client = log(on_sqlite, name, fitted), mlflow.MlflowClient(on_sqlite.tracking_uri)
    frame, label = rows()
    theirs = log(on_sqlite, name, DummyClassifier().fit(frame, label), "f" * 64)
    client.create_registered_model(name)
    made_like(client, name, theirs, ours.model_digest)
    made_like(client, name, theirs)
    assert register(on_sqlite, name, ours) == 3


@pytest.mark.parametrize("content", ["flavors: " + "[" * 100_000, "a: &a [x]\nflavors: {sklearn: {code: *a}}"])
def test_s1_s2_a_hostile_file_in_a_version_of_a_stranger_stops_no_registration_of_ours(
    on_sqlite, name, fitted, content, tmp_path
):
    ours, client = log(on_sqlite, name, fitted), mlflow.MlflowClient(on_sqlite.tracking_uri)
    theirs = log(on_sqlite, name, fitted, "f" * 64)
    (artifact(on_sqlite, theirs.run_id) / "MLmodel").write_text(content)
    client.create_registered_model(name)
    made_like(client, name, theirs, ours.model_digest)
    assert register(on_sqlite, name, ours) == 2
    assert load_model(on_sqlite.download(name, 2, tmp_path), ours.model_digest)
    with pytest.raises(ModelFileError, match="not those that were registered"):
        load_model(on_sqlite.download(name, 1, tmp_path), ours.model_digest)


@pytest.mark.parametrize("address", ["weird://x/y", "http://127.0.0.1:9/x"])
def test_s1_a_version_of_a_stranger_whose_files_nobody_can_fetch_stops_no_registration_of_ours(
    on_sqlite, name, fitted, address, tmp_path
):
    ours, client = log(on_sqlite, name, fitted), mlflow.MlflowClient(on_sqlite.tracking_uri)
    experiment = client.create_experiment(f"{name} of a stranger", artifact_location=address)
    source = f"models:/{client.create_logged_model(experiment_id=experiment).model_id}"
    client.create_registered_model(name)
    client.create_model_version(name, source, tags={"ratchet.identity": IDENTITY})
    assert register(on_sqlite, name, ours) == 2 and register(on_sqlite, name, ours) == 2
    with pytest.raises(RatchetError):
        on_sqlite.download(name, 1, tmp_path)


def artifact(registry: Registry, run_id: str) -> Path:
    client = mlflow.MlflowClient(registry.tracking_uri)
    model_id = client.get_run(run_id).data.tags["ratchet.model_id"]
    return Path(client.get_logged_model(model_id).artifact_location.removeprefix("file://"))


def test_s1_files_changed_before_registration_are_refused(on_sqlite, name, fitted):
    logged = log(on_sqlite, name, fitted)
    with open(artifact(on_sqlite, logged.run_id) / "requirements.txt", "a") as handle:
        handle.write("evil\n")
    with pytest.raises(ModelFileError, match="not those that were saved"):
        register(on_sqlite, name, logged)
    assert versions(on_sqlite, name) == []


def test_s1_files_changed_after_registration_are_refused_at_loading(on_sqlite, name, fitted, tmp_path):
    logged = log(on_sqlite, name, fitted)
    version = register(on_sqlite, name, logged)
    with open(artifact(on_sqlite, logged.run_id) / "model.skops", "ab") as handle:
        handle.write(b"\0")
    with pytest.raises(ModelFileError, match="not those that were registered"):
        load_model(on_sqlite.download(name, version, tmp_path), logged.model_digest)


def test_s1_a_cached_download_that_was_changed_is_replaced(on_sqlite, name, fitted, tmp_path):
    logged = log(on_sqlite, name, fitted)
    folder = on_sqlite.download(name, register(on_sqlite, name, logged), tmp_path)
    (folder / "model.skops").write_bytes(b"something else")
    assert load_model(on_sqlite.download(name, 1, tmp_path), logged.model_digest)


@pytest.mark.parametrize("before", ["nothing", "a broken one"])
def test_downloads_of_one_model_at_once_never_take_a_whole_one_away(tmp_path, before):
    for n in range(20):
        cache = tmp_path / str(n)
        parts = [fetched(cache / f"part {one}") for one in range(4)]
        target = cache / model_digest(parts[0])
        if before == "a broken one":
            target.mkdir()
            (target / "MLmodel").write_text("half of it")
        with ThreadPoolExecutor(len(parts)) as pool:
            seen = list(pool.map(lambda part, to=target: [model_digest(_put(part, to)) for _ in range(5)], parts))
        assert seen == [[target.name] * 5] * len(parts)


def fetched(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "MLmodel").write_text("a model")
    (folder / "model.skops").write_bytes(b"of some bytes")
    return folder


def test_k2_no_version_without_its_artifact(on_sqlite, name, fitted):
    logged = log(on_sqlite, name, fitted)
    shutil.rmtree(artifact(on_sqlite, logged.run_id))
    with pytest.raises((ModelFileError, RegistryError)):
        register(on_sqlite, name, logged)
    assert versions(on_sqlite, name) == []


def test_a_version_that_points_elsewhere_is_not_fetched(on_sqlite, name, tmp_path):
    client = mlflow.MlflowClient(on_sqlite.tracking_uri)
    client.create_registered_model(name)
    client.create_model_version(name, str(tmp_path))
    with pytest.raises(ModelFileError, match="does not point at a logged model"):
        on_sqlite.download(name, 1, tmp_path / "cache")


def test_aliases(registry, name, fitted):
    assert registry.alias_version(name, "champion") is None
    register(registry, name, log(registry, name, fitted))
    assert registry.alias_version(name, "champion") is None
    registry.set_alias(name, "champion", 1)
    assert registry.alias_version(name, "champion") == 1
    registry.delete_alias(name, "champion")
    assert registry.alias_version(name, "champion") is None


def test_unknown_versions_and_odd_keys_have_clear_errors(on_sqlite, name, tmp_path, fitted):
    with pytest.raises(UnknownNameError, match="version 9 of nobody"):
        on_sqlite.download("nobody", 9, tmp_path)
    with pytest.raises(ParameterError, match="can't be asked for"):
        log(on_sqlite, name, fitted, "' or '1' = '1")


def test_a_report_is_saved_once_and_its_link_leads_to_it(registry, name, tmp_path):
    (tmp_path / "page.html").write_text("<p>drift</p>")
    link = registry.log_report(name, KEY, {"page.html": tmp_path / "page.html", "facts.json": "{}"}, {"share": 0.5})
    assert registry.log_report(name, KEY, {"page.html": tmp_path / "page.html"}) == link
    (run,) = runs(registry, name)
    assert link.endswith(f"{run.info.run_id}/artifacts/page.html") or link == f"runs:/{run.info.run_id}/page.html"
    got = mlflow.artifacts.download_artifacts(
        artifact_uri=f"runs:/{run.info.run_id}/page.html", dst_path=str(tmp_path), tracking_uri=registry.tracking_uri
    )
    assert Path(got).read_text() == "<p>drift</p>"
    assert run.data.metrics == {"share": 0.5}


def test_links_use_the_public_address_when_there_is_one(on_sqlite, name, fitted, monkeypatch):
    run_id = log(on_sqlite, name, fitted).run_id
    assert (on_sqlite.run_url(run_id), on_sqlite.version_url(name, 2)) == (f"runs:/{run_id}", f"models:/{name}/2")
    monkeypatch.setenv("RATCHET_MLFLOW_UI", "https://mlflow.example/")
    public = Registry(on_sqlite.tracking_uri)
    assert public.run_url(run_id) == f"https://mlflow.example/#/runs/{run_id}"
    assert public.version_url(name, 2) == f"https://mlflow.example/#/models/{name}/versions/2"
    assert public.artifact_url(run_id, "a/b.html").startswith("https://mlflow.example/#/experiments/")


def test_artifacts_lie_beside_the_database_whatever_the_working_folder(on_sqlite, name, fitted):
    root = Path(on_sqlite.tracking_uri.removeprefix("sqlite:///")).parent
    assert artifact(on_sqlite, log(on_sqlite, name, fitted).run_id).is_relative_to(root / "artifacts" / name)
    assert not Path("mlruns").exists()


def test_artifacts_go_where_they_are_sent(tmp_path, database, name, fitted):
    registry = Registry(database, artifact_root=f"{tmp_path}/elsewhere")
    assert artifact(registry, log(registry, name, fitted).run_id).is_relative_to(tmp_path / "elsewhere")


def test_x1_a_server_that_is_down_is_given_up_in_seconds_and_no_password_is_told():
    began, password = time.monotonic(), "x".join("secret")
    with pytest.raises(RegistryError) as told:
        Registry(f"http://someone:{password}@127.0.0.1:{free_port()}").make_ready("m")
    assert time.monotonic() - began < 10
    assert password not in "".join(traceback.format_exception(told.value))


def test_calls_without_retries_in_several_threads_leave_the_environment_as_it_was(monkeypatch):
    """Each comes in while another is inside, and the first leaves first."""
    from ratchet.registry.client import RETRIES, _no_retries

    monkeypatch.setenv(RETRIES, "2")
    first, second = _no_retries(), _no_retries()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert os.environ[RETRIES] == "0"
    second.__exit__(None, None, None)
    assert os.environ[RETRIES] == "2"
