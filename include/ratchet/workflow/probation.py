"""A new champion's first scored day is looked at before it is published; if it can't be right, the champion goes back.

Nobody is asked: the version before once had a passed gate and an approval, and harm is being done. But who sends the
data must not be able to provoke it: a day counts against the champion only where the version that would come back
gives scores of the same rows that can be right, and only if it is newer than what the champion knows.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NoReturn

from ratchet.deployment import Deployment
from ratchet.errors import (
    FirstScoringError,
    HeldDayError,
    ModelFileError,
    OtherLibrariesError,
    RatchetError,
    RegistryError,
    UnknownNameError,
)
from ratchet.first_scoring import tells, wrong_scores
from ratchet.ledger import Champion
from ratchet.ledger.conditions import standing_of
from ratchet.plain_text import one_line
from ratchet.score import score_frame
from ratchet.specs import ModelSpec
from ratchet.workflow.champion_alerts import tell_of_champion
from ratchet.workflow.promotion import reconcile_alias
from ratchet.workflow.versions import load_to_return, load_version

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class WayBack:
    """The version that would come back, opened. `proof`: that of its training."""

    version: int
    estimator: object
    proof: Mapping


class Probation:
    """Of the champion since its last move; `on` until a day that tells something of it (see `tells`) is recorded. A
    rollback to a version that has served needs none."""

    def __init__(self, deployment: Deployment, spec: ModelSpec, champion: Champion) -> None:
        self.deployment, self.spec, self.champion = deployment, spec, champion
        self.before = deployment.ledger.first_scoring(spec.name, champion.epoch)
        back = champion.how == "rollback" and champion.version in served(deployment, spec.name)
        self.on = not back and self.before is not True
        self._proof = deployment.ledger.challenger(spec.name, champion.version).manifest.get("proof", {})

    @cached_property
    def _back(self) -> WayBack | None:
        return way_back(self.deployment, self.champion)

    def load(self):
        """The champion's estimator. Raises FirstScoringError, after the rollback, for one that failed before or whose
        files are at fault on probation. With nothing to go back to nothing is held against it: what failed before is
        tried again, and a ModelFileError is raised as it is, as the files may be mended."""
        if self.on and self.before is False and self._back:
            self._go_back(FirstScoringError("its first scoring failed before", hint="look at that run"))
        try:
            return load_version(self.deployment, self.spec.name, self.champion.version)
        except ModelFileError as error:
            if not (self.on and self._back):
                raise
            self._go_back(error)

    def score(self, estimator, inputs: pd.DataFrame, spec: ModelSpec) -> pd.DataFrame:
        """As score_frame, of the rows of one day. On probation scores that can't be right, or whatever the estimator
        raises, become a FirstScoringError, after the rollback. A HeldDayError, of that day alone, where the day is
        to blame or nobody can tell: it is not newer than what the champion knows, or no version could come back."""
        if not self.on:
            return score_frame(estimator, inputs, spec)
        scores, error = _try(estimator, inputs, spec, self._proof)
        if error is None:
            return scores
        day = str(inputs["day"].iloc[0])
        if day <= self.champion.as_of:
            needed = f"a day after {self.champion.as_of}, which its data goes up to, to hold it against the version"
            raise self._held(day, error, needed)
        if self._back is None:
            needed = "a version before it that has served and could come back, to tell whose fault it is"
            raise self._held(day, error, needed)
        if other := _try(self._back.estimator, inputs, spec, self._back.proof)[1]:
            raise self._held_for_its_data(day, error, other)
        return self._go_back(error)

    def passed(self, day: str, rows: int) -> None:
        """The day is published and recorded: if it tells something of the champion, the probation is over."""
        if self.on and tells(day, rows, self.champion.as_of):
            facts = {"version": self.champion.version, "day": day, "rows": rows}
            self.deployment.ledger.record_first_scoring(self.spec.name, self.champion.epoch, True, facts)
            self.on = False

    def _go_back(self, error: Exception) -> NoReturn:
        """Roll back, on record, page somebody, and raise."""
        model, champion, ledger = self.spec.name, self.champion, self.deployment.ledger
        why, back = _why(error), self._back
        if ledger.record_first_scoring(model, champion.epoch, False, {"version": champion.version, "why": why}):
            raise error  # it has passed meanwhile: this attempt was overtaken
        reason = f"first scoring failed: {why[:300]}"
        moved = ledger.rollback(model, back.version, "ratchet", reason, champion.epoch)
        tell_of_champion(self.deployment, model)
        try:
            reconcile_alias(self.deployment, model)
        except RegistryError as down:
            log.warning("version %s of %s is champion again; its alias follows later: %s", moved.version, model, down)
        raise FirstScoringError(
            f"version {champion.version} of {model} fails at its first day: version {moved.version} is champion again",
            seen=why,
            hint=f"nothing of version {champion.version} was published; dispatch scores the days with the other",
        ) from error

    def _held(self, day: str, error: Exception, needed: str) -> HeldDayError:
        version, model = self.champion.version, self.spec.name
        return HeldDayError(
            f"what version {version} of {model} says of {day} can't be right: it is not published",
            seen=_why(error),
            expected=needed,
            hint="the day is held back: look at what was delivered for it and have it delivered again, or promote "
            "another version",
        )

    def _held_for_its_data(self, day: str, error: Exception, other: Exception) -> HeldDayError:
        new, old = self.champion.version, self._back.version
        return HeldDayError(
            f"{day} can't be scored as it is: neither by version {new} of {self.spec.name} nor by version {old}, which "
            "served before it",
            seen=f"version {new}: {_why(error)}; version {old}: {_why(other)}",
            expected="scores of the version before that can be right: then it is the champion's fault",
            hint="nothing of the day was published, no version moved: look at what was delivered for it, and have it "
            "delivered again",
        )


def served(deployment: Deployment, model: str) -> set[int]:
    """The versions that have scored a day newer than what they know, of however few rows."""
    as_of = {one.version: one.as_of for one in deployment.ledger.challengers(model)}
    return {one.version for one in deployment.ledger.scorings(model) if one.day > as_of[one.version]}


def way_back(deployment: Deployment, champion: Champion) -> WayBack | None:
    """Of the versions that this champion took over from and that no rollback took back: the newest that has served,
    loads, and still says what it said at its training. None for none."""
    model, ledger = champion.model, deployment.ledger
    moves = [move for move in ledger.champion_history(model) if move.epoch <= champion.epoch]
    have_served = served(deployment, model)
    for version in reversed(standing_of(moves)[:-1]):
        if version not in have_served or version == champion.version:
            continue
        challenger = ledger.challenger(model, version)
        try:
            return WayBack(version, load_to_return(deployment, challenger), challenger.manifest.get("proof", {}))
        except (ModelFileError, OtherLibrariesError, UnknownNameError) as error:
            log.warning("version %s of %s can't come back: %s", version, model, error)
    return None


def _try(estimator, inputs, spec: ModelSpec, proof: Mapping) -> tuple[pd.DataFrame | None, Exception | None]:
    """Its scores, and what speaks against it: scores that can't be right, or whatever it raises. What is no version's
    fault (a starved machine, missing features) is raised."""
    try:
        scores = score_frame(estimator, inputs, spec)
        wrong = wrong_scores(spec, scores, proof)
    except (MemoryError, OSError):  # a retry may do
        raise
    except RatchetError as error:
        if not isinstance(error, ModelFileError):
            raise
        return None, error
    except Exception as error:  # a model that scored in evaluation and can't in service, whatever it raises
        return None, error
    return scores, FirstScoringError("; ".join(wrong), hint="look at the version's card") if wrong else None


def _why(error: Exception) -> str:
    """Fit for the record, whatever a model file raises."""
    return one_line(error.what if isinstance(error, RatchetError) else f"{type(error).__name__}: {error}")[:500]
