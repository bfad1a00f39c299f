"""From an accepted batch to a new champion, as the train_evaluate and promote DAGs and the approver do it, on a ledger
of the policy's own."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import TYPE_CHECKING

import pandas as pd

from ratchet import gate
from ratchet.backtest.shelf import Shelf, Trained
from ratchet.days import days_between, shift_day
from ratchet.errors import ApprovalError, ConflictError, EmptyWindowError
from ratchet.labels import LABEL_TYPES
from ratchet.ledger.challengers import PASSED, looks_at
from ratchet.workflow.dispatch import JUDGE_AGAIN_AFTER_DAYS
from ratchet.workflow.evidence import days_of_few_outcomes, judge_window, judged_rows
from ratchet.workflow.promotion import facts_of
from ratchet.workflow.training import windows_after

if TYPE_CHECKING:
    from ratchet.backtest.history import History
    from ratchet.backtest.policies import Policy
    from ratchet.ledger import Batch, Challenger, Ledger
    from ratchet.windows import Window

ACTOR = "backtest"
YEARS = timedelta(days=3650)  # the questions are of virtual time, and the clock's days do not count


@dataclass
class Played:
    """`versions`: who scored each day that has rows. `models`: by version. `events`: all that happened, each {day,
    what, ...}. `label_days`: event days whose outcomes the policy could not do without."""

    policy: str
    current: int = 0
    versions: dict[str, int] = field(default_factory=dict)
    models: dict[int, Trained] = field(default_factory=dict)
    events: list[dict] = field(default_factory=list)
    label_days: set[str] = field(default_factory=set)
    check_seconds: float = 0.0

    def note(self, day: str, what: str, **facts: object) -> None:
        self.events.append({"day": day, "what": what, **facts})

    def need_labels(self, first: str, last: str) -> None:
        self.label_days |= set(days_between(first, last))

    def all_of(self, what: str, **facts: object) -> list[dict]:
        """These events, in order."""
        return [one for one in self.events if one["what"] == what and facts.items() <= one.items()]


class Promotions:
    """Challengers of one policy, and who is champion."""

    def __init__(
        self, policy: Policy, history: History, shelf: Shelf, ledger: Ledger, played: Played, approval_days: int
    ) -> None:
        self._spec, self._gated, self._name = policy.spec, policy.gated, policy.spec.name
        self._history, self._shelf, self._ledger, self._played = history, shelf, ledger, played
        self._approval_days = approval_days
        self.waiting: dict[int, str] = {}  # versions asked about, and the day of the answer
        self._digests: dict[int, str] = {}  # of what was asked about each

    @property
    def champion(self) -> Trained:
        return self._played.models[self._ledger.champion(self._name).version]

    def train(self, day: str) -> None:
        for batch in self._ledger.open_batches():
            try:
                self._register(day, batch)
            except EmptyWindowError as error:
                self._ledger.finish_batch(batch.id, "failed")
                self._played.note(day, "training", as_of=batch.as_of, version=None, failed=str(error))

    def _register(self, day: str, batch: Batch) -> None:
        ledger, model = self._ledger, self._name
        ledger.start_batch(batch.id, f"run {batch.id}", model)
        champions = ledger.champion_history(model)
        windows = windows_after(self._spec, champions, self._history.first_day, batch.as_of)
        made = self._shelf.train(batch.as_of, windows)
        ledger.set_batch_snapshot(batch.id, f"run {batch.id}", made.snapshot)
        challenger = ledger.register_challenger(
            model,
            made.identity,
            len(ledger.challengers(model)) + 1,
            f"run {batch.id}",
            made.snapshot,
            made.as_of,
            made.windows,
            made.metrics,
            batch.id,
            made.model_digest,
        )
        ledger.finish_batch(batch.id, "done", challenger.version)
        self._played.models[challenger.version] = made
        self._played.need_labels(windows.first, windows.last)
        facts = {"version": challenger.version, "candidate": made.candidate, "seconds": made.cpu_seconds}
        self._played.note(day, "training", as_of=batch.as_of, **facts)

    def judge(self, day: str, as_of: str) -> None:
        """What dispatch finds to judge: what was not judged yet, and again what was held, once there are more days."""
        newest = shift_day(as_of, -self._spec.label_delay_days)
        held_to = shift_day(newest, 1 - JUDGE_AGAIN_AFTER_DAYS)
        for challenger in self._ledger.challengers_to_judge(self._name, held_to):
            if challenger.version in self.waiting:
                continue
            if self._gated:
                self._judge_one(day, as_of, challenger)
            else:
                self._pass_ungated(day, challenger)

    def _judge_one(self, day: str, as_of: str, challenger: Challenger) -> None:
        champion = self._ledger.champion(self._name)
        reigning = champion and self._ledger.challenger(self._name, champion.version)
        try:
            evidence, window = self._evidence(challenger, reigning, as_of)
        except EmptyWindowError:  # no new day yet: dispatch tries again
            return
        said = gate.judge(self._spec, facts_of(challenger), facts_of(reigning) if reigning else None, evidence)
        verdict = self._ledger.record_verdict(
            self._name,
            challenger.version,
            champion.epoch if champion else 0,
            champion.version if champion else None,
            said.verdict,
            said.checks,
            said.digest,
            [window.first, window.last],
            evidence.looks,
        )
        self._played.need_labels(window.first, window.last)
        failed = [check["name"] for check in said.checks if not check["passed"]]
        self._played.note(
            day, "verdict", version=challenger.version, verdict=said.verdict, failed=failed, why=said.reasons
        )
        if verdict.verdict in PASSED:
            self._ask(day, challenger, verdict.digest)

    def _evidence(
        self, challenger: Challenger, champion: Challenger | None, as_of: str
    ) -> tuple[gate.Evidence, Window]:
        """As workflow.evidence gathers it. The key is unique in a history, and these days come after all that either
        was fitted to: no row is repeated."""
        window = judge_window(self._spec, challenger, champion, as_of)
        span = (window.first, window.last)
        had = self._history.has_outcome(*span, as_of)
        days = self._history.between(*span)["day"]
        late = days_of_few_outcomes(pd.Series(had), days.to_numpy())
        rows = self._history.labelled(*span, as_of)
        rows = rows[~rows["day"].isin(late)].astype({"label": LABEL_TYPES[self._spec.task]})
        models = {"challenger": challenger} | ({"champion": champion} if champion else {})
        made = {who: self._played.models[one.version] for who, one in models.items()}
        scores = {who: one.scores.loc[rows.index] for who, one in made.items()}
        found = gate.Evidence(
            rows=judged_rows(rows, scores, self._spec),
            looks=looks_at(self._ledger.verdicts(self._name), span),
            late_days=late,
            future_features=self._history.future_features,
            rows_without_instant=self._history.rows_without_instant,
            fails_without_future=self._history.leak_failure,
            batch_seconds={who: _typical(one.batch_seconds) for who, one in made.items()},
            threshold={who: one.metrics["threshold"] for who, one in made.items() if "threshold" in one.metrics},
        )
        return found, window

    def _pass_ungated(self, day: str, challenger: Challenger) -> None:
        """By broken glass: the ledger knows no other way round its gate."""
        why = "this policy asks no gate"
        run = f"glass v{challenger.version}"
        glass = self._ledger.break_glass(self._name, challenger.version, actor=ACTOR, reason=why, run_id=run)
        self._ask(day, challenger, glass.digest)

    def _ask(self, day: str, challenger: Challenger, digest: str) -> None:
        place, self._digests[challenger.version] = place_of(challenger.version, digest), digest
        until = datetime.now(UTC) + YEARS
        self._ledger.ask_approval(self._name, challenger.version, digest, [ACTOR], **place, expires_at=until)
        self.waiting[challenger.version] = shift_day(day, self._approval_days)

    def answer(self, day: str) -> int | None:
        """Approve what was asked so long ago; the new champion's version, if there is one. A question that a newer one
        has superseded moves nothing."""
        due = sorted(version for version, on in self.waiting.items() if on <= day)
        moved = [version for version in due if self._promote(day, version)]
        self.waiting = {version: on for version, on in self.waiting.items() if version not in due}
        return moved[-1] if moved else None

    def _promote(self, day: str, version: int) -> bool:
        ledger, model, approver = self._ledger, self._name, self._spec.approval.approvers[0]
        champion = ledger.champion(model)
        digest = self._digests[version]
        said = {"answer": "Approve", "responded_by": approver, "responded_by_id": approver}
        try:
            ledger.record_answer(model, version, **place_of(version, digest), **said, responded_at=datetime.now(UTC))
            moved = ledger.promote(
                model,
                version,
                expected_epoch=champion.epoch if champion else 0,
                allowed_approvers=[approver],
                four_eyes=self._spec.approval.four_eyes,
                now=datetime.now(UTC),
                glass_digest=None if self._gated else digest,
            )
        except (ApprovalError, ConflictError) as error:
            self._played.note(day, "superseded", version=version, why=error.what)
            return False
        self._played.note(day, "promotion", version=moved.version, as_of=moved.as_of)
        return True


def _typical(seconds: list[float]) -> list[float]:
    """The median, as often as was measured. The two models were timed at different hours of a machine that does other
    things: in pairs, one slow moment would decide for as long as the model is champion."""
    return [median(seconds)] * len(seconds)


def place_of(version: int, digest: str) -> dict:
    """Where a question was asked: one about each verdict."""
    return {"dag_id": ACTOR, "run_id": f"v{version} {digest[:12]}", "task_id": "approve", "try_number": 1}
