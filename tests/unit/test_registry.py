"""The MLflow adapter, on SQLite and on a real server: nothing twice, nothing half, links that lead somewhere."""

from __future__ import annotations

import http.client
import http.server
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import mlflow
import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder

from ratchet.errors import ModelFileError, ParameterError, RegistryError, UnknownNameError
from ratchet.model_files import load_model
from ratchet.registry import Registry

KEY, IDENTITY = "a" * 64, "b" * 64


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A real `mlflow server` on a port of its own; its whole process group ends with the module."""
    folder, port = tmp_path_factory.mktemp("mlflow"), free_port()
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    environment.pop("MLFLOW_TRACKING_URI", None)
    command = [
        sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
        "--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", f"{folder}/artifacts",
    ]  # fmt: skip
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        until = time.monotonic() + 90
        while not _healthy(port):
            assert process.poll() is None and time.monotonic() < until, (folder / "log").read_text()[-2000:]
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=30)


def _healthy(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


@pytest.fixture(scope="module")
def database(tmp_path_factory) -> str:
    """A SQLite store with its tables made once; tests tell their models apart by name."""
    uri = f"sqlite:///{tmp_path_factory.mktemp('sqlite')}/deep/mlflow.db"
    Registry(uri).find_candidate("warm", KEY)
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


def versions(registry: Registry, model: str) -> list:
    return list(mlflow.MlflowClient(registry.tracking_uri).search_model_versions(f"name = '{model}'"))


def runs(registry: Registry, experiment: str) -> list:
    client = mlflow.MlflowClient(registry.tracking_uri)
    return list(client.search_runs([client.get_experiment_by_name(experiment).experiment_id]))


def test_a_candidate_is_logged_registered_downloaded_and_predicts_the_same(registry, name, fitted, tmp_path):
    logged = log(registry, name, fitted)
    assert logged.metrics == {"roc_auc": 1 / 3, "rows": 200.0}
    assert registry.find_candidate(name, KEY) == logged
    version = registry.register(name, logged.run_id, IDENTITY, tags={"candidate": "logistic"})
    assert (version.version, version.run_id) == (1, logged.run_id)
    folder = registry.download(name, 1, tmp_path / "cache")
    frame, _ = rows()
    loaded = load_model(folder, version.model_digest)
    np.testing.assert_array_equal(loaded.predict_proba(frame), fitted.predict_proba(frame))
    assert registry.download(name, 1, tmp_path / "cache") == folder
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [version.model_digest]


def test_what_mlflow_knows_of_a_candidate(on_sqlite, name, fitted):
    run = mlflow.MlflowClient(on_sqlite.tracking_uri).get_run(log(on_sqlite, name, fitted).run_id)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "logistic")
    assert run.data.params == {"C": "0.1", "estimator": "logistic_regression"}
    assert run.data.tags["snapshot"] == "s" * 64
    (saved,) = run.outputs.model_outputs
    assert saved.model_id == run.data.tags["ratchet.model_id"]


def test_the_same_key_and_identity_make_nothing_twice(registry, name, fitted):
    first = log(registry, name, fitted)
    assert log(registry, name, fitted) == first
    version = registry.register(name, first.run_id, IDENTITY, {})
    assert registry.register(name, first.run_id, IDENTITY, {}) == version
    other = registry.register(name, log(registry, name, fitted, "c" * 64).run_id, "d" * 64, {})
    assert (len(runs(registry, name)), version.version, other.version) == (2, 1, 2)


def test_k2_a_run_that_was_cut_off_does_not_count(on_sqlite, name, fitted):
    client = mlflow.MlflowClient(on_sqlite.tracking_uri)
    assert on_sqlite.find_candidate(name, KEY) is None
    experiment = client.get_experiment_by_name(name).experiment_id
    half = client.create_run(experiment, tags={"ratchet.key": KEY})
    assert on_sqlite.find_candidate(name, KEY) is None
    assert log(on_sqlite, name, fitted).run_id != half.info.run_id


def test_k2_an_estimator_that_could_not_be_loaded_fails_its_run_and_registers_nothing(on_sqlite, name):
    frame, label = rows()
    with pytest.raises((ModelFileError, RegistryError), match="sklearn"):
        log(on_sqlite, name, RandomForestClassifier(n_estimators=2).fit(frame[["a"]], label))
    assert on_sqlite.find_candidate(name, KEY) is None
    assert [run.info.status for run in runs(on_sqlite, name)] == ["FAILED"]


def test_c1_registering_at_once_leaves_one_version(registry, name, fitted):
    run_id = log(registry, name, fitted).run_id
    with ThreadPoolExecutor(6) as pool:
        made = list(pool.map(lambda _: registry.register(name, run_id, IDENTITY, {}), range(6)))
    assert len(set(made)) == 1
    assert [int(v.version) for v in versions(registry, name)] == [made[0].version]


def test_c1_logging_at_once_gives_one_answer_afterwards(on_sqlite, name, fitted):
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: log(on_sqlite, name, fitted), range(4)))
    assert log(on_sqlite, name, fitted) == on_sqlite.find_candidate(name, KEY)


def artifact(registry: Registry, run_id: str) -> Path:
    client = mlflow.MlflowClient(registry.tracking_uri)
    model_id = client.get_run(run_id).data.tags["ratchet.model_id"]
    return Path(client.get_logged_model(model_id).artifact_location.removeprefix("file://"))


def test_s1_files_changed_before_registration_are_refused(on_sqlite, name, fitted):
    run_id = log(on_sqlite, name, fitted).run_id
    with open(artifact(on_sqlite, run_id) / "requirements.txt", "a") as handle:
        handle.write("evil\n")
    with pytest.raises(ModelFileError, match="not those that it saved"):
        on_sqlite.register(name, run_id, IDENTITY, {})
    assert versions(on_sqlite, name) == []


def test_s1_files_changed_after_registration_are_refused_at_loading(on_sqlite, name, fitted, tmp_path):
    run_id = log(on_sqlite, name, fitted).run_id
    version = on_sqlite.register(name, run_id, IDENTITY, {})
    with open(artifact(on_sqlite, run_id) / "model.skops", "ab") as handle:
        handle.write(b"\0")
    with pytest.raises(ModelFileError, match="not those that were registered"):
        load_model(on_sqlite.download(name, version.version, tmp_path), version.model_digest)


def test_s1_a_cached_download_that_was_changed_is_replaced(on_sqlite, name, fitted, tmp_path):
    version = on_sqlite.register(name, log(on_sqlite, name, fitted).run_id, IDENTITY, {})
    folder = on_sqlite.download(name, version.version, tmp_path)
    (folder / "model.skops").write_bytes(b"something else")
    assert load_model(on_sqlite.download(name, version.version, tmp_path), version.model_digest)


def test_k2_no_version_without_its_artifact(on_sqlite, name, fitted):
    run_id = log(on_sqlite, name, fitted).run_id
    shutil.rmtree(artifact(on_sqlite, run_id))
    with pytest.raises((ModelFileError, RegistryError)):
        on_sqlite.register(name, run_id, IDENTITY, {})
    assert versions(on_sqlite, name) == []


def test_a_version_that_points_elsewhere_is_not_fetched(on_sqlite, name, tmp_path):
    client = mlflow.MlflowClient(on_sqlite.tracking_uri)
    client.create_registered_model(name)
    client.create_model_version(name, str(tmp_path))
    with pytest.raises(ModelFileError, match="does not point at a logged model"):
        on_sqlite.download(name, 1, tmp_path / "cache")


def test_aliases(registry, name, fitted):
    assert registry.alias_version(name, "champion") is None
    registry.register(name, log(registry, name, fitted).run_id, IDENTITY, {})
    assert registry.alias_version(name, "champion") is None
    registry.set_alias(name, "champion", 1)
    assert registry.alias_version(name, "champion") == 1
    registry.delete_alias(name, "champion")
    assert registry.alias_version(name, "champion") is None


def test_unknown_versions_and_odd_keys_have_clear_errors(on_sqlite, name, tmp_path):
    with pytest.raises(UnknownNameError, match="version 9 of nobody"):
        on_sqlite.download("nobody", 9, tmp_path)
    with pytest.raises(ParameterError, match="can't be asked for"):
        on_sqlite.find_candidate(name, "' or '1' = '1")


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
        Registry(f"http://someone:{password}@127.0.0.1:{free_port()}").find_candidate("m", KEY)
    assert time.monotonic() - began < 10
    assert password not in "".join(traceback.format_exception(told.value))


class LossyProxy(http.server.BaseHTTPRequestHandler):
    """Passes a request on, and loses the reply of each POST to `lose`, as often as `times` says."""

    upstream: str
    lose: str
    times: int

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        onward = http.client.HTTPConnection(self.upstream, timeout=30)
        onward.request(self.command, self.path, body, {**self.headers, "Host": self.upstream})
        reply = onward.getresponse()
        content = reply.read()
        if self.command == "POST" and self.path.endswith(self.lose) and type(self).times > 0:
            type(self).times -= 1
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self.send_response(reply.status)
        for header, value in reply.getheaders():
            if header.lower() not in {"transfer-encoding", "content-length", "connection"}:
                self.send_header(header, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _pass_on

    def log_message(self, *_) -> None:
        pass


@pytest.mark.parametrize(
    "lose", ["/experiments/create", "/runs/create", "/registered-models/create", "/model-versions/create"]
)
def test_x2_a_lost_reply_makes_nothing_twice(server, name, fitted, lose):
    proxy = type("Proxy", (LossyProxy,), {"upstream": server.removeprefix("http://"), "lose": lose, "times": 1})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), proxy) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        registry = Registry(f"http://127.0.0.1:{listening.server_address[1]}")
        version = registry.register(name, log(registry, name, fitted).run_id, IDENTITY, {})
        listening.shutdown()
    direct = Registry(server)
    assert proxy.times == 0
    assert (len(runs(direct, name)), [int(v.version) for v in versions(direct, name)]) == (1, [version.version])
