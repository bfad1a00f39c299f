"""X1, X2: a real MLflow server behind a proxy that fails on demand. What lost its reply is made once; what can't be
done is given up after a few tries, to be tried again, and leaves no version behind."""

from __future__ import annotations

import shutil
from dataclasses import replace

import mlflow
import pandas as pd
import pytest
from faulty_proxy import FaultyProxy
from mlflow_server import mlflow_server
from sklearn.dummy import DummyClassifier
from small_loop import deployment_in
from training_story import AS_OF, MODEL, _work_on, prepare, train

from ratchet.deployment import Deployment
from ratchet.errors import RegistryError
from ratchet.model_files import load_model
from ratchet.registry import LoggedRun, Registry
from ratchet.registry.runs import DIGEST
from ratchet.workflow import training
from ratchet.workflow.dispatch import ATTEMPTS, give_up, keep_house, list_due

KEY, IDENTITY = "a" * 64, "b" * 64
MOST_TRIES = 3  # of one request: MLflow's client repeats it twice
CREATES = [
    "POST .*/experiments/create",
    "POST .*/runs/create",
    "POST .*/logged-models$",
    "POST .*/registered-models/create",
    "POST .*/outputs",
    "POST .*/model-versions/create",
]
REPEATABLE = [
    "POST .*/runs/log-batch",
    "PUT .*/mlflow-artifacts/",
    "PATCH .*/logged-models/",
    "POST .*/runs/update",
    "POST .*/registered-models/alias",
]
READS = ["GET .*/mlflow-artifacts/", "(GET|POST) .*/model-versions/search", "GET .*/runs/get"]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with mlflow_server(tmp_path_factory.mktemp("mlflow")) as address:
        yield address


@pytest.fixture
def proxy(server, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "3")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_JITTER", "0")
    with FaultyProxy(server) as proxy:
        yield proxy


@pytest.fixture
def name(request) -> str:
    return "m_" + "".join(c if c.isalnum() else "_" for c in request.node.name)


def train_and_register(registry: Registry, model: str) -> LoggedRun:
    """What a training does of it: a run, its model, a version, an alias."""
    frame = pd.DataFrame({"a": [0.0, 1.0, 2.0]})
    logged = registry.log_candidate(
        model,
        KEY,
        name="base",
        params={"strategy": "prior"},
        metrics={"roc_auc": 0.5},
        tags={},
        estimator=DummyClassifier(strategy="prior").fit(frame, [0, 1, 1]),
        columns={"a": "double"},
        files={"trials.csv": "number\n0\n"},
    )
    version = registry.register(model, logged.run_id, IDENTITY, logged.model_digest, tags={})
    registry.set_alias(model, "challenger", version)
    return logged


def check_once(server: str, model: str, logged: LoggedRun, tmp_path) -> None:
    """One finished run with one model, and one version of it that loads."""
    client, direct = mlflow.MlflowClient(server), Registry(server)
    experiment = client.get_experiment_by_name(model).experiment_id
    (run,) = client.search_runs([experiment], "attributes.status = 'FINISHED'")
    assert (run.info.run_id, run.data.metrics) == (logged.run_id, {"roc_auc": 0.5})
    assert len({output.model_id for output in run.outputs.model_outputs}) == 1
    (saved,) = [one for one in client.search_logged_models([experiment]) if one.source_run_id == logged.run_id]
    assert saved.model_id == run.data.tags["ratchet.model_id"]
    assert direct.versions(model) == [1] and direct.alias_version(model, "challenger") == 1
    load_model(direct.download(model, 1, tmp_path), logged.model_digest)


@pytest.mark.parametrize("request_", [*CREATES, *REPEATABLE])
def test_x2_a_lost_reply_makes_nothing_twice(server, proxy, name, tmp_path, request_):
    proxy.fail("lose", request_, times=1)
    logged = train_and_register(Registry(proxy.endpoint), name)
    check_once(server, name, logged, tmp_path)


@pytest.mark.parametrize("request_", [*REPEATABLE, *READS])
def test_x1_a_request_that_fails_once_is_repeated(server, proxy, name, tmp_path, request_):
    proxy.fail(503, request_, times=1)
    logged = train_and_register(Registry(proxy.endpoint), name)
    check_once(server, name, logged, tmp_path)


@pytest.mark.parametrize("fault", [500, 503, 429, "reset", "stall"])
@pytest.mark.parametrize("request_", ["", "POST .*/runs/create", "PUT .*/mlflow-artifacts/", CREATES[-1]])
def test_x1_a_server_that_keeps_failing_is_given_up_and_nothing_is_half_visible(
    server, proxy, name, tmp_path, request_, fault
):
    """At the start, as a run begins, while the model is sent, as its version is made."""
    registry = Registry(proxy.endpoint)
    proxy.fail(fault, request_)
    with pytest.raises(RegistryError, match="try again once MLflow answers") as told:
        train_and_register(registry, name)
    assert told.value.retryable and "PLANTED" not in str(told.value)
    seen = proxy.seen()
    assert max(map(seen.count, seen)) <= 2 * MOST_TRIES
    assert Registry(server).versions(name) == []
    proxy.mend()
    logged = train_and_register(registry, name)
    assert Registry(server).versions(name) == [1]
    load_model(Registry(server).download(name, 1, tmp_path), logged.model_digest)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory, server):
    """Its champion's version is one of another MLflow: the number is taken here, too."""
    train_and_register(Registry(server), MODEL)
    return prepare(tmp_path_factory.mktemp("story"))


@pytest.mark.parametrize(
    ("request_", "fitted"),
    [("", 0), ("POST .*/runs/create", 1), (CREATES[-1], 2)],
    ids=["at the start", "mid-training", "at registration"],
)
def test_x1_a_training_that_mlflow_fails_puts_nothing_forward_and_ends_well_when_it_is_back(
    prepared, server, proxy, tmp_path, request_, fitted, monkeypatch
):
    """Down at the start, nothing is fitted in vain."""
    shutil.copytree(prepared.settings.var.parent, tmp_path / "world")
    settings = replace(deployment_in(tmp_path / "world").settings, mlflow_tracking_uri=proxy.endpoint)
    deployment = Deployment(settings)
    champion, known = deployment.ledger.champion(MODEL), deployment.ledger.challengers(MODEL)
    passed = tmp_path / "passed"
    passed.touch()
    monkeypatch.setenv("RATCHET_FAILPOINT_LOG", str(passed))
    proxy.fail("reset", request_)
    with pytest.raises(RegistryError):
        train(deployment)
    assert passed.read_text().split().count("training.before_log") == fitted
    assert (deployment.ledger.champion(MODEL), deployment.ledger.challengers(MODEL)) == (champion, known)
    proxy.mend()
    version = train(Deployment(settings))
    assert [one.version for one in deployment.ledger.challengers(MODEL)] == [*(one.version for one in known), version]
    assert deployment.ledger.champion(MODEL) == champion


def test_x1_no_run_is_started_while_mlflow_is_away(prepared, server, proxy, tmp_path):
    shutil.copytree(prepared.settings.var.parent, tmp_path / "world")
    deployment = Deployment(replace(deployment_in(tmp_path / "world").settings, mlflow_tracking_uri=proxy.endpoint))
    training.request_retrain(deployment, MODEL, as_of=AS_OF, reason="a story", source="cron", actor="trainer")
    proxy.fail(503)
    unreached = keep_house(deployment)
    assert unreached == {MODEL} and not list_due(deployment, unreached)
    assert [alert.key for alert in deployment.ledger.open_alerts("ratchet")] == ["loop/mlflow"]
    proxy.mend()
    unreached = keep_house(deployment)
    assert not unreached and "train_evaluate" in list_due(deployment, unreached)[0].dag_id
    assert deployment.ledger.open_alerts("ratchet") == []


@pytest.mark.parametrize("cleared", ["the run", "its last task"])
def test_x1_a_registration_that_every_run_failed_at_is_completed_later_with_nothing_fitted_or_made_twice(
    cleared, prepared, server, proxy, tmp_path, monkeypatch
):
    """MLflow is away for longer than all attempts of all runs that dispatch starts: the batch is given up. Its last run
    is cleared when MLflow is back."""
    shutil.copytree(prepared.settings.var.parent, tmp_path / "world")
    settings = replace(deployment_in(tmp_path / "world").settings, mlflow_tracking_uri=proxy.endpoint)
    deployment, asked = Deployment(settings), {"reason": "a story", "source": "cron", "actor": "trainer"}
    known = {one.version for one in deployment.ledger.challengers(MODEL)}
    monkeypatch.setenv("RATCHET_FAILPOINT_LOG", str(tmp_path / "passed"))
    batch = training.request_retrain(deployment, MODEL, as_of=AS_OF, **asked)["batch"]
    proxy.fail(503, CREATES[-1])
    for attempt in range(1, ATTEMPTS + 1):
        (due,) = [one for one in list_due(deployment) if one.conf.get("batch") == batch]
        with pytest.raises(RegistryError):
            _work_on(deployment, deployment.ledger.batch(batch), due.run_id(attempt))
    give_up(deployment, due)
    assert deployment.ledger.batch(batch).status == "failed"
    proxy.mend()
    failed = deployment.ledger.batch(batch)
    if cleared == "the run":
        _work_on(deployment, failed, due.run_id(ATTEMPTS))
    else:
        training.put_forward_challenger(deployment, MODEL, batch, failed.snapshot)
    done = deployment.ledger.batch(batch)
    (made,) = [one for one in deployment.ledger.challengers(MODEL) if one.version not in known]
    assert (done.status, done.challenger_version) == ("done", made.version)
    tagged = deployment.registry._tagged(MODEL, DIGEST, made.model_digest)
    assert [int(one.version) for one in tagged] == [made.version]
    assert (tmp_path / "passed").read_text().split().count("training.before_log") == 2, "a candidate each, once"
    assert training.request_retrain(deployment, MODEL, as_of=AS_OF, **asked)["status"] == "merged"
