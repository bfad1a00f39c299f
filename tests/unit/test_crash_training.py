"""K2, C1: a training (helpers/training_story.py) on a real ledger, lake and MLflow is killed at every named point that
it comes by and told again, and told by several processes at once: one challenger, its files whole, the champion as it
was."""

from __future__ import annotations

import shutil
import signal
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import mlflow
import pytest
from forks import Forks, Run
from small_loop import deployment_in
from training_story import AS_OF, MODEL, prepare

from ratchet.deployment import Deployment
from ratchet.failpoints import FAILPOINTS, arm
from ratchet.model_files import load_model

POINTS = sorted(name for name in FAILPOINTS if name.startswith(("training.", "registry.")))
RACED = {"registry.before_delete"}  # passed only where two attempts raced each other
BETWEEN = [
    *("ledger.before_commit", "ledger.after_commit"),
    *("storage.before_write", "storage.before_rename", "storage.after_write"),
]
QUICK = ["registry.model_saved", "registry.run_finished", "registry.after_version"]  # killed at first pass in each run
PREPARED = 1  # the version of the champion, made before the story begins


@dataclass(frozen=True)
class End:
    """What a told story leaves, but for names and times."""

    version: int
    identity: str
    metrics: dict
    manifest: dict


class Stage:
    """The prepared world, and copies of it in which the story is told."""

    def __init__(self, folder: Path, forks: Forks) -> None:
        self.folder, self.forks, self._numbers = folder, forks, count()
        self._prepared = prepare(folder / "prepared").settings.var.parent
        root = self.copy()
        self.tell(root, RATCHET_FAILPOINT_LOG=str(folder / "passed"))
        self.passes = Counter((folder / "passed").read_text().split())
        self.end = end_of(root)

    def copy(self) -> Path:
        return Path(shutil.copytree(self._prepared, self.folder / f"world-{next(self._numbers)}"))

    def start(self, root: Path, *run: str, **env: str) -> Run:
        return self.forks.start(str(root), *run, env=env)

    def tell(self, root: Path, **env: str) -> None:
        run = self.start(root, **env)
        assert run.wait() == 0, run.said

    def armed(self, root: Path, point: str, sent: signal.Signals, skip: int = 0) -> dict[str, str]:
        arm(root / "armed", point, sent, skip)
        return {"RATCHET_FAILPOINT_FILE": str(root / "armed")}


@pytest.fixture(scope="module")
def stage(tmp_path_factory) -> Iterator[Stage]:
    with Forks("training_story") as forks:
        yield Stage(tmp_path_factory.mktemp("training"), forks)


def end_of(root: Path) -> End:
    """Checks what must hold of any finished story, and says how it ended."""
    deployment = deployment_in(root)
    ledger, registry = deployment.ledger, deployment.registry
    _, challenger = ledger.challengers(MODEL)
    assert registry.versions(MODEL) == [PREPARED, challenger.version]
    assert registry.alias_version(MODEL, "challenger") == challenger.version
    folder = registry.download(MODEL, challenger.version, root / "cache")
    load_model(folder, challenger.model_digest)
    assert (ledger.batch(challenger.batch_id).status, ledger.batch(challenger.batch_id).as_of) == ("done", AS_OF)
    check_never_broken(deployment)
    candidate = ledger.candidate_of_run(MODEL, challenger.mlflow_run_id)
    assert (candidate.model_digest, candidate.metrics) == (challenger.model_digest, challenger.metrics)
    assert candidate.manifest == challenger.manifest
    return End(challenger.version, challenger.identity, _but(challenger.metrics, "model_bytes"), challenger.manifest)


def _but(facts: dict, name: str) -> dict:
    """A saved file holds the addresses of what was saved: its length varies."""
    return {key: value for key, value in facts.items() if key != name}


def check_never_broken(deployment: Deployment) -> None:
    """Holds at any moment, also right after the blow."""
    ledger, registry = deployment.ledger, deployment.registry
    assert (ledger.champion(MODEL).version, ledger.champion(MODEL).epoch) == (PREPARED, 1)
    assert registry.alias_version(MODEL, "champion") == PREPARED
    for one in ledger.challengers(MODEL):
        folder = registry.download(MODEL, one.version, deployment.settings.var / "looked")
        load_model(folder, one.model_digest)


def kill_and_tell_again(stage: Stage, point: str, skip: int) -> None:
    root = stage.copy()
    run = stage.start(root, **stage.armed(root, point, signal.SIGKILL, skip))
    assert (run.wait(), (root / "armed").exists()) == (-signal.SIGKILL, False), run.said
    check_never_broken(deployment_in(root))
    stage.tell(root)
    assert end_of(root) == stage.end


def test_the_story_comes_by_every_point_of_training_and_registration(stage):
    assert {*POINTS, *BETWEEN} - RACED <= stage.passes.keys()
    assert stage.end.manifest["trials"] == 3 and "max_depth" in stage.end.manifest["params"]  # it is the better one


@pytest.mark.parametrize("point", QUICK)
def test_k2_killed_at_the_first_pass_and_told_again_there_is_one_challenger(stage, point):
    kill_and_tell_again(stage, point, 0)


def passes_that_differ(passes: int, point: str) -> range:
    """Those that leave another world than a kill elsewhere. What a commit or a write leaves, the next point finds; and
    nothing is written yet `before_write`, as `before_rename`, which leaves half a file beside."""
    if point in ("ledger.after_commit", "storage.after_write"):
        return range(passes - 1, passes)
    if point == "storage.before_write":
        return range(1)
    return range(1 if point in QUICK else 0, passes)


@pytest.mark.matrix
@pytest.mark.parametrize("point", [*sorted(set(POINTS) - RACED - {"registry.after_version"}), *BETWEEN])
def test_k2_killed_at_every_pass_and_told_again_there_is_one_challenger(stage, point):
    differ = passes_that_differ(stage.passes[point], point)
    assert differ
    for skip in differ:
        kill_and_tell_again(stage, point, skip)


def test_k2_a_search_that_was_killed_goes_on_with_the_trials_that_are_left(stage):
    """The killed one had one trial kept and a second one fitted: two are fitted again, not three."""
    root = stage.copy()
    run = stage.start(root, **stage.armed(root, "training.trial_fitted", signal.SIGKILL, 1))
    assert run.wait() == -signal.SIGKILL, run.said
    stage.tell(root, RATCHET_FAILPOINT_LOG=str(root / "passed"))
    assert Counter((root / "passed").read_text().split())["training.trial_fitted"] == 2
    assert end_of(root) == stage.end


def test_k2_the_loser_of_a_race_killed_with_a_second_version_leaves_one_after_the_next_run(stage):
    """One is held just before it makes its version; another does the whole training; the first wakes, and is killed
    with a version of its own that nobody knows; whoever comes next clears it, also if killed while clearing."""
    root = stage.copy()
    first = stage.start(root, "one run", **stage.armed(root, "registry.before_version", signal.SIGSTOP))
    first.wait_until_stopped()
    second = stage.start(root, "another run", **stage.armed(root, "training.before_alias", signal.SIGSTOP))
    second.wait_until_stopped()
    arm(root / "armed", "registry.after_version", signal.SIGKILL)
    first.resume()
    assert first.wait() == -signal.SIGKILL, first.said
    second.kill()
    second.wait()
    assert deployment_in(root).registry.versions(MODEL) == [PREPARED, 2, 3]
    third = stage.start(root, **stage.armed(root, "registry.before_delete", signal.SIGKILL))
    assert third.wait() == -signal.SIGKILL, third.said
    stage.tell(root)
    assert end_of(root) == stage.end


@pytest.mark.matrix
def test_k2_a_run_that_wakes_after_another_has_finished_changes_nothing(stage):
    root = stage.copy()
    first = stage.start(root, "one run", **stage.armed(root, "registry.run_finished", signal.SIGSTOP))
    first.wait_until_stopped()
    stage.tell(root)
    first.resume()
    assert first.wait() == 0, first.said
    assert end_of(root) == stage.end


@pytest.mark.parametrize(
    "same_run", [True, pytest.param(False, marks=pytest.mark.matrix)], ids=["of one run", "of several runs"]
)
def test_c1_trainings_at_once_with_equal_inputs_leave_one_snapshot_and_one_challenger(stage, same_run):
    root = stage.copy()
    before = len(deployment_in(root).ledger.snapshots(MODEL))
    runs = [stage.start(root, "run" if same_run else f"run {number}") for number in range(4)]
    assert [run.wait() for run in runs] == [0] * 4, [run.said for run in runs]
    assert {run.said.splitlines()[-1] for run in runs} == {"2"}
    assert len(deployment_in(root).ledger.snapshots(MODEL)) == before + 1
    assert end_of(root) == stage.end


def test_s1_a_forged_run_with_our_key_is_not_taken(stage):
    """Somebody with MLflow's address logs a finished run beforehand, with the key, the tags and a better figure."""
    root = stage.copy()
    run = stage.start(root, **stage.armed(root, "registry.run_finished", signal.SIGKILL, 1))
    assert run.wait() == -signal.SIGKILL, run.said
    client = mlflow.MlflowClient(deployment_in(root).settings.mlflow_tracking_uri)
    (experiment,) = client.search_experiments(filter_string=f"name = '{MODEL}'")
    mine = client.search_runs([experiment.experiment_id], order_by=["attributes.start_time DESC"])[0]
    forged = client.create_run(experiment.experiment_id, tags=dict(mine.data.tags)).info.run_id
    client.log_metric(forged, "roc_auc", 1.0)
    client.set_terminated(forged, "FINISHED")
    stage.tell(root)
    assert end_of(root) == stage.end
    assert forged not in {one.mlflow_run_id for one in deployment_in(root).ledger.challengers(MODEL)}
