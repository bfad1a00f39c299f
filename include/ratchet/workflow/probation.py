"""A new champion's first scored day is looked at before it is published; if it can't be right, the champion goes back.

Nobody is asked: the version before once had a passed gate and an approval, and harm is being done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ratchet.deployment import Deployment
from ratchet.errors import FirstScoringError, ModelFileError, RatchetError
from ratchet.first_scoring import wrong_scores
from ratchet.ledger import Champion
from ratchet.score import score_frame
from ratchet.specs import ModelSpec
from ratchet.workflow.promotion import load_version, reconcile_alias

if TYPE_CHECKING:
    import pandas as pd


class Probation:
    """Of the champion since its last move; `on` until a day that it scored is recorded. A rollback to a version that
    has served needs none."""

    def __init__(self, deployment: Deployment, spec: ModelSpec, champion: Champion) -> None:
        self.deployment, self.spec, self.champion = deployment, spec, champion
        self.before = deployment.ledger.first_scoring(spec.name, champion.epoch)
        served = champion.how == "rollback" and champion.version in deployment.ledger.served(spec.name)
        self.on = not served and self.before is not True
        self._proof = deployment.ledger.challenger(spec.name, champion.version).manifest.get("proof", {})

    def load(self):
        """The champion's estimator. Raises FirstScoringError, after the rollback, for one that failed before or can't
        be loaded on probation. One with nothing to go back to is tried again: its day may have been mended."""
        if self.on and self.before is False and self.deployment.ledger.last_served(self.spec.name) is not None:
            self.fail(FirstScoringError("its first scoring failed before", hint="look at that run"))
        try:
            return load_version(self.deployment, self.spec.name, self.champion.version)
        except ModelFileError as error:
            self.fail(error)

    def score(self, estimator, inputs: pd.DataFrame, spec: ModelSpec) -> pd.DataFrame:
        """As score_frame; on probation it raises FirstScoringError, after the rollback, for scores that can't be right,
        or whatever the estimator raises."""
        if not self.on:
            return score_frame(estimator, inputs, spec)
        try:
            scores = score_frame(estimator, inputs, spec)
            wrong = wrong_scores(spec, scores, self._proof)
        except RatchetError as error:
            if not isinstance(error, ModelFileError):
                raise
            self.fail(error)
        except (MemoryError, OSError):  # the machine's fault: a retry may do
            raise
        except Exception as error:  # a model that scored in evaluation and can't in service, whatever it raises
            self.fail(error)
        if wrong:
            self.fail(FirstScoringError("; ".join(wrong), hint="look at the version's card"))
        return scores

    def passed(self, day: str, rows: int) -> None:
        """The first day is published and recorded."""
        if self.on:
            facts = {"version": self.champion.version, "day": day, "rows": rows}
            self.deployment.ledger.record_first_scoring(self.spec.name, self.champion.epoch, True, facts)
            self.on = False

    def fail(self, error: Exception) -> None:
        """Roll back, on record, to the last version that served, and raise. Off probation the error is raised as it
        is."""
        if not self.on:
            raise error
        model, champion, ledger = self.spec.name, self.champion, self.deployment.ledger
        why = error.what if isinstance(error, RatchetError) else f"{type(error).__name__}: {error}"
        facts = {"version": champion.version, "why": why[:500]}
        if ledger.record_first_scoring(model, champion.epoch, False, facts):
            raise error  # it has passed meanwhile: this attempt was overtaken
        back_to = ledger.last_served(model)
        if back_to is None:
            raise FirstScoringError(
                f"version {champion.version} of {model} fails at its first day, and no version has served before it",
                seen=why,
                hint="nothing was published; promote another version",
            ) from error
        moved = ledger.rollback(model, back_to, "ratchet", f"first scoring failed: {why[:300]}", champion.epoch)
        reconcile_alias(self.deployment, model)
        raise FirstScoringError(
            f"version {champion.version} of {model} fails at its first day: version {moved.version} is champion again",
            seen=why,
            hint=f"nothing of version {champion.version} was published; dispatch scores the days with the other",
        ) from error
