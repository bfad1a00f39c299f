"""K3, K4: a promotion, one by broken glass, a rollback and an automatic one (helpers/promotion_story.py), on a real
ledger, lake and MLflow, are killed at every named point that they come by. The next sweep puts the alias right; told
again, each ends as if nothing had happened."""

from __future__ import annotations

import shutil
import signal
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest
from forks import Forks, Run
from promotion_story import MODEL, SERVED, prepare
from small_loop import deployment_in

from ratchet.deployment import Deployment
from ratchet.failpoints import FAILPOINTS, arm
from ratchet.ledger.challengers import PASSED
from ratchet.workflow.champion_alerts import tell_of_champions

STEPS = ("promote", "promote_by_glass", "roll_back", "score")
MOVES = {
    "whole": [(1, "promotion"), (2, "promotion")],
    "promote": [(1, "promotion"), (2, "promotion")],
    "whole_glass": [(1, "promotion"), (2, "break_glass")],
    "promote_by_glass": [(1, "promotion"), (2, "break_glass")],
    "roll_back": [(1, "promotion"), (2, "promotion"), (1, "rollback")],
    "score": [(1, "promotion"), (2, "promotion"), (1, "rollback")],
}
QUICK = ("ledger.before_commit", "ledger.after_commit", "promotion.before_alias")  # each step's first pass, in each run
ENDS_WITH = {"whole": "promote", "whole_glass": "promote_by_glass"}
# What a step has told as done, and the event that says so.
EVENTS = {
    "judged": "verdict_recorded",
    "demanded": "glass_broken",
    "asked": "approval_asked",
    "answered": "approval_answered",
}


@dataclass(frozen=True)
class End:
    """What a told story leaves, but for times, and for ids and digests that hold some. Cards are left out: who judges
    once more measures the times anew, and files a new one."""

    moves: list
    statuses: dict
    scored: dict
    events: Counter
    alias: int


class Stage:
    """The prepared worlds, copies of them in which a story is told, and what an undisturbed one leaves."""

    def __init__(self, folder: Path, forks: Forks) -> None:
        self.folder, self.forks, self._numbers = folder, forks, count()
        self._worlds = prepare(folder / "prepared")
        self.passes, self.ends = {}, {}
        for story in self._worlds:
            root = self.copy(story)
            self.tell(root, story, RATCHET_FAILPOINT_LOG=str(root / "passed"))
            self.passes[story] = Counter((root / "passed").read_text().split())
            self.ends[story] = end_of(root)

    def copy(self, story: str) -> Path:
        return Path(shutil.copytree(self._worlds[story], self.folder / f"{story}-{next(self._numbers)}"))

    def start(self, root: Path, story: str, **env: str) -> Run:
        return self.forks.start(str(root), story, env=env)

    def tell(self, root: Path, story: str, **env: str) -> None:
        run = self.start(root, story, **env)
        assert run.wait() == 0, run.said

    def armed(self, root: Path, point: str, sent: signal.Signals, skip: int = 0) -> dict[str, str]:
        arm(root / "armed", point, sent, skip)
        return {"RATCHET_FAILPOINT_FILE": str(root / "armed")}


@pytest.fixture(scope="module")
def stage(tmp_path_factory) -> Iterator[Stage]:
    with Forks("promotion_story") as forks:
        yield Stage(tmp_path_factory.mktemp("promotion"), forks)


def end_of(root: Path) -> End:
    """Once the next sweep has told of what a killed run did not."""
    deployment = deployment_in(root)
    ledger = deployment.ledger
    check_never_broken(deployment)
    tell_of_champions(deployment)
    moves = [(move.version, move.how) for move in ledger.champion_history(MODEL)]
    alias = deployment.registry.alias_version(MODEL, "champion")
    assert alias == moves[-1][0]
    return End(
        moves,
        {one.version: one.status for one in ledger.challengers(MODEL)},
        {day: scored.version for day, scored in ledger.scored_days(MODEL).items()},
        Counter((event.kind, event.subject) for event in ledger.events() if event.kind != "card_filed"),
        alias,
    )


def check_never_broken(deployment: Deployment) -> None:
    """Holds at any moment, also right after the blow: every move had all it takes, the alias names one of those who
    were champion, and the chain is whole."""
    ledger = deployment.ledger
    history = ledger.champion_history(MODEL)
    assert [move.epoch for move in history] == list(range(1, len(history) + 1))
    for number, move in enumerate(history):
        if move.how == "rollback":
            assert move.version in {earlier.version for earlier in history[:number]}
        else:
            check_basis(deployment, move)
    alias = deployment.registry.alias_version(MODEL, "champion")
    assert alias in {move.version for move in history}
    cards = [event.payload["url"] for event in ledger.events() if event.kind == "card_filed"]
    assert len(set(cards)) == len(cards)
    assert ledger.verify().ok, ledger.verify()


def check_basis(deployment: Deployment, move) -> None:
    ledger = deployment.ledger
    passed = [one for one in ledger.verdicts(MODEL, move.version) if one.verdict in PASSED]
    glass = ledger.broken_glass(MODEL, move.version, move.verdict_digest)
    basis = [one for one in [*passed, *([glass] if glass else [])] if one.digest == move.verdict_digest]
    assert [one.champion_epoch for one in basis] == [move.epoch - 1]
    answer = ledger.approval(MODEL, move.version, move.verdict_digest)
    assert (answer.answer, answer.responded_by, answer.superseded_by) == ("Approve", "approver", None)
    assert answer.responded_by not in answer.asked_by and answer.responded_at <= move.moved_at


def check_acknowledged(deployment: Deployment, said: str) -> None:
    """What a step told as done is on record, once."""
    ledger, subject = deployment.ledger, f"models/{MODEL}/versions/2"
    kinds = Counter(event.kind for event in ledger.events() if event.subject == subject)
    for line in said.splitlines():
        what, _, value = line.partition(" ")
        if what in EVENTS:
            assert kinds[EVENTS[what]] == 1, (line, kinds)
        if what == "champion":
            assert ledger.champion(MODEL).epoch >= int(value)


def kill_and_tell_again(stage: Stage, story: str, point: str, skip: int) -> None:
    root = stage.copy(story)
    run = stage.start(root, story, **stage.armed(root, point, signal.SIGKILL, skip))
    assert (run.wait(), (root / "armed").exists()) == (-signal.SIGKILL, False), (story, point, skip, run.said)
    deployment = deployment_in(root)
    check_never_broken(deployment)
    check_acknowledged(deployment, run.said)
    stage.tell(root, "sweep")
    assert deployment.registry.alias_version(MODEL, "champion") == deployment.ledger.champion(MODEL).version
    check_never_broken(deployment)
    stage.tell(root, story)
    assert end_of(root) == stage.ends[story], (story, point, skip)


def test_the_stories_end_as_they_should_and_come_by_every_point_of_a_promotion(stage):
    assert {story: end.moves for story, end in stage.ends.items()} == MOVES
    passed = Counter()
    for passes in stage.passes.values():
        passed += passes
    assert {name for name in FAILPOINTS if name.startswith("promotion.")} <= passed.keys()
    assert all(passes["ledger.before_commit"] and passes["ledger.after_commit"] for passes in stage.passes.values())
    failed = stage.ends["score"]
    assert set(failed.scored) > set(SERVED) and set(failed.scored.values()) == {1}
    assert failed.events["first_scoring_failed", f"models/{MODEL}/epochs/2"] == 1


@pytest.mark.parametrize("point", QUICK)
@pytest.mark.parametrize("story", STEPS)
def test_k3_k4_killed_at_the_first_pass_the_alias_follows_the_ledger_and_the_chain_holds(stage, story, point):
    kill_and_tell_again(stage, story, point, 0)


def passes_that_differ(stage: Stage, story: str, point: str) -> range:
    """Those that leave another world than a kill elsewhere. What a commit leaves, the next point finds. A whole story's
    last step is killed in the story of that step; but once, at the alias, all is told again from its beginning."""
    passes = stage.passes[story][point]
    first = 1 if story in STEPS and point in QUICK else 0
    if point == "ledger.after_commit":
        first = max(first, passes - 1)
    last_step = stage.passes[ENDS_WITH[story]] if story in ENDS_WITH and point != "promotion.before_alias" else {}
    return range(first, passes - last_step.get(point, 0))


@pytest.mark.matrix
@pytest.mark.parametrize("story", sorted(MOVES.keys() - {"roll_back"}))  # comes by each point once
def test_k3_k4_killed_at_every_pass_of_every_point_the_alias_follows_and_the_chain_holds(stage, story):
    killed = [
        (point, skip) for point in sorted(stage.passes[story]) for skip in passes_that_differ(stage, story, point)
    ]
    assert killed
    for point, skip in killed:
        kill_and_tell_again(stage, story, point, skip)


def test_k3_a_first_scoring_killed_before_its_rollback_is_rolled_back_by_the_next_run(stage):
    """The failure is on record, the champion has not moved: nothing of it is published meanwhile."""
    root = stage.copy("score")
    run = stage.start(root, "score", **stage.armed(root, "ledger.before_commit", signal.SIGKILL, 1))
    assert run.wait() == -signal.SIGKILL, run.said
    ledger = deployment_in(root).ledger
    assert (ledger.champion(MODEL).version, ledger.first_scoring(MODEL, 2)) == (2, False)
    assert {one.version for one in ledger.scorings(MODEL)} == {1} and sorted(ledger.scored_days(MODEL)) == SERVED
    stage.tell(root, "score")
    assert end_of(root) == stage.ends["score"]


@pytest.mark.parametrize(("held", "then"), [("promote", "promote"), ("roll_back", "roll_back")])
def test_k6_a_run_that_wakes_after_another_has_finished_changes_nothing(stage, held, then):
    """It is stopped with the champion moved and the alias not; another does the whole, and the first one wakes."""
    root = stage.copy(held)
    first = stage.start(root, held, **stage.armed(root, "promotion.before_alias", signal.SIGSTOP))
    first.wait_until_stopped()
    stage.tell(root, then)
    first.resume()
    assert first.wait() == 0, first.said
    assert end_of(root) == stage.ends[held]


def test_k3_an_alias_set_from_an_old_look_at_the_ledger_is_put_right_before_the_run_ends(stage):
    """A promotion is held before it sets the alias, a rollback comes between: the first one looks again."""
    root = stage.copy("promote")
    first = stage.start(root, "promote", **stage.armed(root, "promotion.before_alias", signal.SIGSTOP))
    first.wait_until_stopped()
    stage.tell(root, "roll_back")
    deployment = deployment_in(root)
    assert deployment.registry.alias_version(MODEL, "champion") == 1
    first.resume()
    assert first.wait() == 0, first.said
    assert deployment.registry.alias_version(MODEL, "champion") == 1 == deployment.ledger.champion(MODEL).version
    check_never_broken(deployment)
