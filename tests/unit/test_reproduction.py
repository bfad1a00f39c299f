"""A version is built again from what was kept of it and proven to be the same; whatever was altered is named."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import pandas as pd
import pytest
from airflow.sdk.exceptions import AirflowSkipException
from pydantic import ValidationError
from small_loop import FIRST_AS_OF, MODEL, REPO, deployment_in
from spoiled_models import flip_a_bit

from ratchet.deployment import Deployment
from ratchet.digests import file_digest
from ratchet.errors import ModelFileError, NotReproducedError, ParameterError, RegistryError, UnknownNameError
from ratchet.specs import ModelSpec
from ratchet.workflow.erasure import forget_person
from ratchet.workflow.reproduction import next_to_reproduce, reproduce_next, reproduce_version
from ratchet_airflow.operators.reproduce import ReproduceVersionOperator

PROVEN = {"to_the_last_bit": True, "difference": 0.0, "same_content": True, "same_machine": True, "proven": True}


def on_record(deployment, version: int = 1) -> list[tuple[str, str, dict]]:
    """(kind, actor, facts) of every attempt at the version."""
    events = deployment.ledger.events(subject=f"models/{MODEL}/versions/{version}")
    return [(one.kind, one.actor, one.payload) for one in events if one.kind.endswith("reproduced")]


def test_the_champion_comes_out_to_the_last_bit(copy_of, reigning):
    deployment = copy_of(reigning)
    told = reproduce_version(deployment, MODEL, deployment.ledger.champion(MODEL).version, actor="auditor")
    assert told["proven"] and told["rebuilt"] == told["registered"] == PROVEN
    assert (told["version"], told["lock"], told["source"]) == (1, "as here", "as here")
    assert on_record(deployment) == [("version_reproduced", "auditor", told)]
    assert deployment.ledger.verify().ok


def test_the_folder_we_are_in_does_not_get_into_the_rebuild(copy_of, trained, tmp_path, monkeypatch):
    (tmp_path / "numpy.py").write_text("raise SystemExit('imported from the folder that somebody is in')\n", "utf-8")
    monkeypatch.chdir(tmp_path)
    assert reproduce_version(copy_of(trained), MODEL, 1, actor="auditor")["rebuilt"] == PROVEN


def test_s3_no_secret_gets_into_the_installer_s_environment_nor_the_rebuild_s(copy_of, trained, tmp_path, monkeypatch):
    """Both are real processes here, which put down what they were given: a uv of our own, and the Python that it
    installs."""
    deployment, wanted = with_another_lock(copy_of(trained))
    secrets = {
        "RATCHET_LEDGER_URL": "sqlite:////nowhere/ledger.db",
        "AIRFLOW__API_AUTH__JWT_SECRET": "planted-jwt",
        "AWS_SECRET_ACCESS_KEY": "planted-aws",
        "MLFLOW_TRACKING_PASSWORD": "planted-mlflow",
        "DATABASE_URL": "planted-database",
        "SOME_API_TOKEN": "planted-token",
    }
    needed = {"UV_INDEX_URL": "an index of our own", "HTTPS_PROXY": "a proxy of our own"}
    for name, value in {**secrets, **needed, "OMP_NUM_THREADS": "1"}.items():
        monkeypatch.setenv(name, value)
    home = deployment.settings.var / "cache" / "environments" / wanted[:16]
    given = {"uv": tmp_path / "uv.env", "python": tmp_path / "python.env"}
    uv, python = tmp_path / "bin" / "uv", home / "bin" / "python"
    uv.parent.mkdir()
    uv.write_text(f"""#!/bin/sh
env > {given["uv"]}
mkdir -p {python.parent}
printf '#!/bin/sh\nenv > {given["python"]}\necho "no such library" >&2\nexit 3\n' > {python}
chmod +x {python}
""")
    uv.chmod(0o755)
    monkeypatch.setenv("PATH", str(uv.parent), prepend=os.pathsep)
    with pytest.raises(NotReproducedError, match="could not be built again") as caught:
        reproduce_version(deployment, MODEL, 1, build=True, actor="auditor")
    assert "exit status 3" in caught.value.seen and "no such library" in caught.value.seen
    seen = {who: dict(line.split("=", 1) for line in file.read_text().splitlines()) for who, file in given.items()}
    for environment in seen.values():
        assert not environment.keys() & secrets.keys() and "planted" not in str(environment)
        assert environment["PATH"] == os.environ["PATH"]
    assert needed.items() <= seen["uv"].items() and seen["uv"]["HOME"] == os.environ["HOME"]
    assert not seen["python"].keys() & needed.keys() and seen["python"]["HOME"] != os.environ["HOME"]
    assert seen["python"]["OMP_NUM_THREADS"] == "1" and seen["python"]["PYTHONPATH"].endswith("/source")


def snapshot_altered(deployment) -> None:
    (path,) = (deployment.settings.var / "lake" / "snapshots").rglob("frame.parquet")
    frame = pd.read_parquet(path)
    frame.loc[0, "label"] = 1 - frame.loc[0, "label"]
    frame.to_parquet(path, index=False)


def snapshot_lost(deployment) -> None:
    shutil.rmtree(deployment.settings.var / "lake" / "snapshots")


def registered_file_altered(deployment) -> None:
    flip_a_bit(deployment, MODEL, 1)


def source_altered(deployment) -> None:
    (path,) = (deployment.settings.var / "recipes").glob("*.tar.gz")
    packed = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(packed.replace(b'"early_stopping": False', b'"early_stopping": Maybe')))


def source_lost(deployment) -> None:
    (path,) = (deployment.settings.var / "recipes").glob("*.tar.gz")
    path.unlink()


@pytest.mark.parametrize(
    ("spoil", "error", "named"),
    [
        (snapshot_altered, ParameterError, "a snapshot that isn't what its name says"),
        (snapshot_lost, UnknownNameError, "no snapshot"),
        (registered_file_altered, ModelFileError, "files are not those that were registered"),
        (source_altered, ParameterError, "a kept source that isn't what its name says"),
        (source_lost, UnknownNameError, "a recipe that was not kept"),
    ],
)
def test_what_was_altered_or_lost_is_named(copy_of, trained, spoil, error, named):
    deployment = copy_of(trained)
    spoil(deployment)
    with pytest.raises(error, match=named):
        reproduce_version(deployment, MODEL, 1, actor="auditor")
    ((kind, actor, facts),) = on_record(deployment)
    assert (kind, actor, facts["version"]) == ("version_not_reproduced", "auditor", 1) and named in facts["why"]


def alter_manifest(deployment, change, version: int = 1) -> dict:
    """As somebody does who can write to the ledger's database."""
    manifest = deployment.ledger.challenger(MODEL, version).manifest
    change(manifest)
    database = sqlite3.connect(deployment.settings.var / "ledger" / "ledger.db")
    with database:
        change = "UPDATE ledger_challengers SET manifest = ? WHERE version = ?"
        database.execute(change, (json.dumps(manifest), version))
    database.close()
    return manifest


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda manifest: manifest["params"].update(max_iter=6), id="params"),
        pytest.param(lambda manifest: manifest["proof"].update(scores_digest="0" * 64), id="scores"),
        pytest.param(lambda manifest: manifest["proof"].update(content="0" * 64), id="content"),
    ],
)
def test_a_manifest_that_was_altered_is_not_proven(copy_of, trained, change):
    deployment = copy_of(trained)
    alter_manifest(deployment, change)
    with pytest.raises(NotReproducedError, match="does not come out as it was recorded"):
        reproduce_version(deployment, MODEL, 1, actor="auditor")
    assert on_record(deployment)[0][0] == "version_not_reproduced"
    assert not deployment.ledger.verify().ok


def test_a_version_made_by_other_source_is_built_by_that(copy_of, taken_in, tmp_path):
    """The other source regularises: fitted by the source that runs here, it would be another model. And its specs have
    a key that is unknown here."""
    deployment, other = copy_of(taken_in), tmp_path / "other"
    ignored = shutil.ignore_patterns("__pycache__")
    for package in ("ratchet", "feature_views"):
        shutil.copytree(REPO / "include" / package, other / package, ignore=ignored)
    candidates = other / "ratchet" / "candidates.py"
    before = candidates.read_text("utf-8")
    candidates.write_text(before.replace('"early_stopping": False', '"early_stopping": False, "l2_regularization": 9'))
    assert candidates.read_text("utf-8") != before
    specs = other / "ratchet" / "specs" / "model.py"
    key, of_another_release = "    problem: Problem\n", "    problem: Problem\n    a_key_of_another_release: int = 1\n"
    assert specs.read_text("utf-8").count(key) == 1
    specs.write_text(specs.read_text("utf-8").replace(key, of_another_release), "utf-8")
    train = "import sys; from pathlib import Path; import small_loop as s; s.train(s.deployment_in(Path(sys.argv[1])), "
    subprocess.run(
        [sys.executable, "-c", f"{train}{FIRST_AS_OF!r})", str(deployment.settings.var.parent)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(other), str(REPO / "tests" / "helpers")])},
        check=True,
        timeout=300,
    )
    with pytest.raises(ValidationError, match="a_key_of_another_release"):
        ModelSpec.model_validate(deployment.ledger.challenger(MODEL, 1).manifest["spec"])
    told = reproduce_version(deployment, MODEL, 1, actor="auditor")
    assert told["proven"] and told["rebuilt"] == PROVEN
    assert told["source"] == "as kept"


def with_another_lock(deployment) -> tuple[Deployment, str]:
    """As if the deployment had moved on to another lock file; and the digest of that which the version is of."""
    lock = deployment.settings.lock_file
    lock.write_text(f"{lock.read_text('utf-8')}# later\n", "utf-8")
    assert file_digest(lock) != deployment.ledger.challenger(MODEL, 1).manifest["lock_digest"]
    return Deployment(deployment.settings), deployment.ledger.challenger(MODEL, 1).manifest["lock_digest"]


def test_another_lock_is_named(copy_of, trained):
    deployment, wanted = with_another_lock(copy_of(trained))
    with pytest.raises(NotReproducedError, match=f"needs lock {wanted[:16]}") as caught:
        reproduce_version(deployment, MODEL, 1, actor="auditor")
    assert wanted in str(caught.value) and "--build" in caught.value.hint
    ((kind, _, facts),) = on_record(deployment)
    assert kind == "version_not_reproduced" and f"needs lock {wanted[:16]}" in facts["why"]


def test_a_version_of_another_lock_waits_and_the_next_one_has_its_turn(copy_of, succeeded):
    deployment, wanted = with_another_lock(copy_of(succeeded))
    assert reproduce_next(deployment, MODEL, actor="reproduce") == {"version": None, "skipped": {wanted[:16]: [1, 2]}}
    assert on_record(deployment, 1) == on_record(deployment, 2) == []
    assert next_to_reproduce(deployment, MODEL, build=True) == (1, {})

    alter_manifest(deployment, lambda manifest: manifest.update(lock_digest=deployment.lock_digest), version=2)
    assert next_to_reproduce(deployment, MODEL) == (2, {wanted[:16]: [1]})
    alter_manifest(deployment, lambda manifest: manifest["proof"].update(content="0" * 64), version=2)
    with pytest.raises(NotReproducedError, match="version 2 does not come out as it was recorded"):
        reproduce_next(deployment, MODEL, actor="reproduce")


def test_the_weekly_task_is_green_where_all_wait_and_skipped_where_there_are_none(copy_of, taken_in, trained):
    task, run = ReproduceVersionOperator(task_id="reproduce_version", model=MODEL), {"version": None, "build": False}
    context = {"dag_run": SimpleNamespace(triggering_user_name=None, run_type="scheduled")}
    with pytest.raises(AirflowSkipException, match="no version"):
        task.step(deployment_in(taken_in), run, context)
    deployment, wanted = with_another_lock(copy_of(trained))
    assert task.step(deployment, run, context) == {"version": None, "skipped": {wanted[:16]: [1]}}
    with pytest.raises(NotReproducedError, match="needs lock"):  # asked for by number
        task.step(deployment, {"version": 1, "build": False}, context)


def test_a_kept_lock_that_was_altered_is_named_and_not_installed(copy_of, trained):
    deployment, wanted = with_another_lock(copy_of(trained))
    (deployment.settings.var / "recipes" / f"{wanted}.lock").write_text("numpy==0.0.1\n", "utf-8")
    with pytest.raises(ParameterError, match="a kept lock file that isn't what its name says"):
        reproduce_version(deployment, MODEL, 1, build=True, actor="auditor")
    assert not (deployment.settings.var / "cache" / "environments").exists()


@pytest.mark.matrix
def test_the_environment_of_another_lock_is_made_and_proves(copy_of, trained, monkeypatch):
    if "UV_CACHE_DIR" not in os.environ:
        monkeypatch.setenv("UV_CACHE_DIR", str(REPO / ".uv" / "cache"))
    deployment, wanted = with_another_lock(copy_of(trained))
    told = reproduce_version(deployment, MODEL, 1, build=True, actor="auditor")
    home = deployment.settings.var / "cache" / "environments" / wanted[:16]
    assert told["proven"] and told["rebuilt"] == PROVEN and str(home) in told["lock"]
    assert reproduce_version(deployment, MODEL, 1, actor="auditor")["lock"] == told["lock"]  # made once


def test_an_erased_version_is_not_tried_and_has_no_turn(copy_of, trained):
    deployment = copy_of(trained)
    assert next_to_reproduce(deployment, MODEL)[0] == 1
    tailnum = deployment.lake.read("datasets/flights", "2013-01-05", "2013-01-05")["tailnum"].iloc[0]
    assert forget_person(deployment, "flights", {"tailnum": tailnum}, "asked to", "operator")["versions"] == {
        MODEL: [1]
    }
    with pytest.raises(NotReproducedError, match="version 1 is erased, not rebuildable") as caught:
        reproduce_version(deployment, MODEL, 1, build=True, actor="auditor")
    assert "asked to" in str(caught.value)
    assert on_record(deployment) == [] and next_to_reproduce(deployment, MODEL) == (None, {})


def test_a_version_that_has_no_manifest_is_named(copy_of, trained):
    deployment = copy_of(trained)
    one = deployment.ledger.challenger(MODEL, 1)
    origin = (one.mlflow_run_id, one.snapshot, one.as_of, one.windows, one.metrics, one.batch_id, one.model_digest)
    deployment.ledger.register_challenger(MODEL, "0" * 64, 7, *origin)
    with pytest.raises(UnknownNameError, match="version 7 has no manifest"):
        reproduce_version(deployment, MODEL, 7, actor="auditor")
    with pytest.raises(UnknownNameError):
        reproduce_version(deployment, MODEL, 8, actor="auditor")
    assert on_record(deployment, 7) == on_record(deployment, 8) == []
    assert next_to_reproduce(deployment, MODEL)[0] == 1


def test_versions_take_turns_and_one_that_fails_has_had_its_own(copy_of, succeeded):
    deployment = copy_of(succeeded)
    assert next_to_reproduce(deployment, MODEL)[0] == 1
    shutil.rmtree(
        deployment.settings.var / "lake" / "snapshots" / MODEL / deployment.ledger.challenger(MODEL, 1).snapshot
    )
    with pytest.raises(UnknownNameError):
        reproduce_version(deployment, MODEL, 1, actor="auditor")
    assert next_to_reproduce(deployment, MODEL)[0] == 2
    told = reproduce_next(deployment, MODEL, actor="reproduce")
    assert (told["version"], told["proven"], told["skipped"]) == (2, True, {})
    assert next_to_reproduce(deployment, MODEL)[0] == 1
    assert next_to_reproduce(deployment, "another_model") == (None, {})


def test_a_registry_that_is_away_is_not_the_versions_fault_and_the_next_one_has_its_turn(copy_of, succeeded):
    deployment = copy_of(succeeded)
    away = Deployment(replace(deployment.settings, mlflow_tracking_uri="http://127.0.0.1:9"))
    with pytest.raises(RegistryError):
        reproduce_version(away, MODEL, 1, actor="auditor")
    assert on_record(deployment) == []
    assert next_to_reproduce(deployment, MODEL)[0] == 2


def test_a_manifest_that_lacks_a_key_has_no_turn_and_is_named(copy_of, succeeded):
    deployment = copy_of(succeeded)
    alter_manifest(deployment, lambda manifest: manifest.pop("proof"))
    with pytest.raises(UnknownNameError, match="version 1 has no manifest") as caught:
        reproduce_version(deployment, MODEL, 1, actor="auditor")
    assert "proof" in caught.value.seen and "train a new one" in caught.value.hint
    assert on_record(deployment) == [] and next_to_reproduce(deployment, MODEL) == (2, {})


def test_a_failure_that_nobody_thought_of_is_on_record_and_uses_its_turn(copy_of, succeeded):
    deployment = copy_of(succeeded)
    alter_manifest(deployment, lambda manifest: manifest.update(proof={}))
    with pytest.raises(TypeError, match="content"):
        reproduce_next(deployment, MODEL, actor="reproduce")
    ((kind, _, facts),) = on_record(deployment)
    assert kind == "version_not_reproduced" and "TypeError" in facts["why"] and "content" in facts["why"]
    assert next_to_reproduce(deployment, MODEL)[0] == 2


def test_a_spec_that_its_own_source_refuses_is_named(copy_of, trained):
    deployment = copy_of(trained)
    alter_manifest(deployment, lambda manifest: manifest["spec"].update(a_key_of_another_release=1))
    with pytest.raises(NotReproducedError, match="could not be built again") as caught:
        reproduce_version(deployment, MODEL, 1, actor="auditor")
    assert "a_key_of_another_release" in caught.value.seen
