"""One policy played day by day: what the DAGs, dispatch and the approver do, by a ledger of its own.

A day is played at its end, with the outcomes known by then. Its rows are scored by who was champion when it began: what
is approved on a day serves from that day's rows on.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from croniter import croniter

from ratchet.backtest.checks import Checks
from ratchet.backtest.policies import Policy
from ratchet.backtest.promotions import ACTOR, Played, Promotions
from ratchet.backtest.shelf import Shelf
from ratchet.days import days_between, shift_day
from ratchet.digests import digest_of
from ratchet.errors import EmptyWindowError
from ratchet.ledger import Rules
from ratchet.monitoring.alarms import has_calmed
from ratchet.monitoring.values import LEVELS
from ratchet.workflow.requests import steps_grown
from ratchet.workflow.training import windows_after

if TYPE_CHECKING:
    from ratchet.backtest.history import History
    from ratchet.ledger import Ledger, RequestOutcome
    from ratchet.specs import ModelSpec


class Loop:
    """Plays a policy. The first champion is trained as of the day before the first, as any first model is, and has to
    pass the gate; its approval is there at once."""

    def __init__(
        self, policy: Policy, history: History, shelf: Shelf, checks: Checks, ledger: Ledger, approval_days: int
    ) -> None:
        self._spec, self._history, self._checks, self._ledger = policy.spec, history, checks, ledger
        self._played = Played(policy.name)
        self._promotions = Promotions(policy, history, shelf, ledger, self._played, approval_days)
        self._since = self._checked_as_of = ""
        self._alarming: dict[str, str] = {}  # the level of each key that alarms
        self._batches: dict[str, str] = {}  # of growths that were let through

    def play(self, first: str, last: str, on_day: Callable[[str], None]) -> Played:
        """Raises EmptyWindowError when there is no first champion."""
        checks = fires_on(self._spec.watch.schedule, first, last)
        schedule = fires_on(self._spec.retrain_when.schedule, first, last)
        self._begin(first)
        for day in days_between(first, last):
            self._take_answers(day)
            as_of = self._as_of(day)
            if day in checks:
                self._check(day, as_of)
            if day in schedule:
                self._request(day, as_of, "cron", "the schedule", f"cron/{day}")
            self._ask_for_growth(day, as_of)
            self._promotions.train(day)
            self._promotions.judge(day, as_of)
            on_day(day)
        return self._played

    def _begin(self, first: str) -> None:
        before = shift_day(first, -1)
        as_of = self._as_of(before)
        try:
            windows_after(self._spec, [], self._history.first_day, as_of)
        except EmptyWindowError as error:
            raise no_first_champion(self._spec, self._history, first, error.seen) from error
        self._request(before, as_of, "person", "a first champion", "first")
        self._promotions.train(before)
        self._promotions.judge(before, as_of)
        if not self._promotions.waiting:
            newest = self._played.events[-1]
            why = "; ".join(newest.get("why") or [newest.get("failed", "")])
            raise no_first_champion(self._spec, self._history, first, f"{newest.get('verdict', 'no training')}: {why}")
        self._promotions.waiting = dict.fromkeys(self._promotions.waiting, first)

    def _take_answers(self, day: str) -> None:
        """Who is champion from this day on; and scores the day's rows."""
        if version := self._promotions.answer(day):
            self._since = day
            self._alarming = {}
            self._played.current = version
        if len(self._history.between(day, day)):
            self._played.versions[day] = self._played.current

    def _as_of(self, day: str) -> str:
        as_of = self._history.as_of(day, self._spec.label_delay_days)
        if as_of is None:
            raise no_first_champion(self._spec, self._history, day, "no outcome was known by then")
        return as_of

    def _check(self, day: str, as_of: str) -> None:
        """As of the newest outcomes, or, where these have stopped coming, of what was scored (see
        workflow.monitoring); of the same data no second time."""
        spec, when = self._spec, self._spec.retrain_when
        checked_as_of = max(as_of, max(self._history.days(self._since, day), default=""))
        if checked_as_of == self._checked_as_of:
            return
        self._checked_as_of = checked_as_of
        found = self._checks.make(self._promotions.champion, self._since, checked_as_of)
        self._played.check_seconds += found["seconds"]
        self._note_alarms(day, found["alarms"])
        if when.metric_falls_by:
            newest = shift_day(as_of, -spec.label_delay_days)
            self._played.need_labels(shift_day(newest, 1 - spec.watch.outcome_days), newest)
        listened_to = {"drift": when.drifted_share, "performance": when.metric_falls_by}
        for source, reason in found["asks"].items():
            if listened_to[source]:
                key = digest_of(["check", self._since, checked_as_of, source])
                self._request(day, min(as_of, checked_as_of), source, reason, key)

    def _note_alarms(self, day: str, alarms: list[dict]) -> None:
        """An alarm is told when it comes and when it grows louder, until it has calmed, as the ledger's alerts are."""
        for one in alarms:
            before = self._alarming.get(one["key"])
            if before is None or LEVELS.index(one["level"]) > LEVELS.index(before):
                self._played.note(day, "alarm", **one)
                self._alarming[one["key"]] = one["level"]
        loud, persistence = {one["key"] for one in alarms}, self._spec.watch.persistence
        for key in [*self._alarming]:
            if key not in loud and has_calmed(persistence, key, self._checks.newest):
                del self._alarming[key]

    def _ask_for_growth(self, day: str, as_of: str) -> None:
        """Once a day for each step of growth, until one is let through and its training does not fail (see
        workflow.requests)."""
        share = self._spec.retrain_when.data_grows_by
        if share is None:
            return
        history, champion = self._history, self._promotions.champion
        last, newest = champion.windows["judge"][1], shift_day(as_of, -self._spec.label_delay_days)
        used = len(history.days(history.first_day, last, known_by=champion.as_of))
        newer = len(history.days(shift_day(last, 1), newest, known_by=as_of))
        if step := steps_grown(used, newer, share):
            about = f"growth/{champion.identity[:12]}/{step}"
            if self._is_to_ask(about):
                reason = f"{newer} days with outcomes are newer than the {used} that the champion was made from"
                outcome = self._request(day, as_of, "volume", reason, f"{about}/{as_of}")
                if outcome.batch_id:
                    self._batches[about] = outcome.batch_id

    def _is_to_ask(self, about: str) -> bool:
        """Not let through yet, or its training failed."""
        return about not in self._batches or self._ledger.batch(self._batches[about]).status == "failed"

    def _request(self, day: str, as_of: str, source: str, reason: str, key: str) -> RequestOutcome:
        spec = self._spec
        recipe = digest_of(spec.model_dump(mode="json"))
        rules = Rules.of(spec)
        outcome = self._ledger.request_retrain(spec.name, as_of, reason, source, ACTOR, recipe, key, rules)
        told = {"source": source, "reason": reason, "status": outcome.status, "why": outcome.explanation}
        self._played.note(day, "request", as_of=as_of, **told)
        return outcome


def fires_on(cron: str | None, first: str, last: str) -> set[str]:
    """The days from first to last on which it fires, in UTC."""
    if cron is None:
        return set()
    start, end = (datetime.fromisoformat(day).replace(tzinfo=UTC) for day in (first, shift_day(last, 1)))
    times, days = croniter(cron, start - timedelta(seconds=1)), set()
    while (at := times.get_next(datetime)) < end:
        days.add(at.date().isoformat())
    return days


def no_first_champion(spec: ModelSpec, history: History, first: str, seen: str | None) -> EmptyWindowError:
    lengths = spec.first_windows
    need = lengths.validate_days + lengths.judge_days + spec.label_delay_days
    return EmptyWindowError(
        f"{spec.name} can have no champion by {first}",
        seen=seen,
        expected="a model, trained as of the day before, that passes the gate",
        hint=f"the data begins on {history.first_day}, and {need} days are the least that can be split: play from "
        f"{shift_day(history.first_day, need + 1)} or later; the more days before, the better the model",
    )
