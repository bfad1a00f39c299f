"""The gate: the checks a challenger must pass before a person is asked. Pure: facts and a frame in, a verdict out.

Three verdicts. PROMOTE: every check passed; a person may now be asked. REJECT: the challenger is not good enough or
out of date; it will not become so by waiting. HOLD: the evidence can't carry a decision (too few days, or days that a
model has seen); judge again when there is more.

A check that fails for want of evidence outweighs one that fails on quality, since the latter was then measured on
evidence that does not count; only "superseded" needs no evidence and outweighs all.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from ratchet.digests import digest_of
from ratchet.errors import ParameterError
from ratchet.statistics import clustered_auc, paired_auc_difference

if TYPE_CHECKING:
    import pandas as pd

    from ratchet.specs import ModelSpec

Decision = Literal["PROMOTE", "HOLD", "REJECT"]
PRECEDENCE = ("not_superseded",)  # checks whose REJECT stands whatever the evidence


@dataclass(frozen=True)
class Check:
    """One question. `value` was seen and `threshold` asked for; `interval` is [low, high] of the value where it is
    an estimate; `if_failed` is what its failing would make of the verdict; `reason` says it in a sentence."""

    name: str
    passed: bool
    reason: str
    if_failed: Literal["HOLD", "REJECT"]
    value: float | int | str | None = None
    threshold: float | int | str | None = None
    interval: list[float] | None = None


@dataclass(frozen=True)
class GateVerdict:
    """`checks` (each a Check as a dict) are all that were made, in order; a measure that could not be taken is not
    among them. `challenger` and `champion` are the facts judged, so that the digest names who it is about."""

    verdict: Decision
    checks: list[dict]
    challenger: dict
    champion: dict | None

    @property
    def reasons(self) -> list[str]:
        """Why it is not PROMOTE: the reasons of the checks that failed; for PROMOTE none."""
        return [check["reason"] for check in self.checks if not check["passed"]]

    @property
    def digest(self) -> str:
        return digest_of(self.as_dict())

    def as_dict(self) -> dict:
        """Plain values that go through JSON (no NaN)."""
        return asdict(self)


def judge(spec: ModelSpec, challenger: dict, champion: dict | None, judge_frame: pd.DataFrame) -> GateVerdict:
    """The verdict on a challenger, against the champion if there is one.

    challenger, champion: {"version": int, "as_of": day, "windows": {"train"|"validate"|"judge": [first, last]}}.
    judge_frame: one row per labelled row of the challenger's judge window: `label` (0/1), `day` (the cluster),
    `challenger_score` and, with a champion, `champion_score` (probabilities from the registered models).
    Raises ParameterError if a column or a fact is missing: a gate that can't see does not open.
    """
    _require(challenger, champion, judge_frame)
    checks = [*_on_standing(challenger, champion), *_on_evidence(spec, challenger, champion, judge_frame)]
    if all(check.passed for check in checks if check.name in _NEEDED_TO_MEASURE):
        checks += _on_quality(spec, champion, judge_frame)
    return GateVerdict(_decide(checks), [asdict(check) for check in checks], challenger, champion)


def _decide(checks: list[Check]) -> Decision:
    failed = [check for check in checks if not check.passed]
    if any(check.name in PRECEDENCE for check in failed):
        return "REJECT"
    if any(check.if_failed == "HOLD" for check in failed):
        return "HOLD"
    return "REJECT" if failed else "PROMOTE"


def _on_standing(challenger: dict, champion: dict | None) -> list[Check]:
    """Is it anybody's turn? Asks by data time, never by clock or version number."""
    if champion is None:
        return []
    same = challenger["version"] == champion["version"]
    is_other = Check(
        "not_the_champion",
        not same,
        f"version {challenger['version']} is the champion already"
        if same
        else f"version {challenger['version']} is not the champion, version {champion['version']}",
        "HOLD",
        challenger["version"],
        champion["version"],
    )
    if same:
        return [is_other]
    newer = challenger["as_of"] > champion["as_of"]
    return [
        is_other,
        Check(
            "not_superseded",
            newer,
            f"trained as of {challenger['as_of']}, "
            + ("after" if newer else "superseded: not after")
            + f" the champion's {champion['as_of']}",
            "REJECT",
            challenger["as_of"],
            champion["as_of"],
        ),
    ]


def _on_evidence(spec: ModelSpec, challenger: dict, champion: dict | None, frame: pd.DataFrame) -> list[Check]:
    """Can these rows carry a decision?"""
    checks = [_enough_days(spec, champion, frame), _both_classes(frame)]
    if len(frame):
        checks.append(_unseen("challenger", challenger["windows"], ("train", "validate"), frame))
        if champion is not None and champion["version"] != challenger["version"]:
            checks.append(_unseen("champion", champion["windows"], ("train", "validate", "judge"), frame))
    checks.append(_scores_usable("challenger", "REJECT", frame))
    if champion is not None:
        checks.append(_scores_usable("champion", "HOLD", frame))
    return checks


def _enough_days(spec: ModelSpec, champion: dict | None, frame: pd.DataFrame) -> Check:
    need = spec.promote_if.min_days_first if champion is None else spec.promote_if.min_days_comparison
    purpose = "a first model" if champion is None else "a comparison with the champion"
    days = int(frame["day"].nunique())
    return Check("enough_days", days >= need, f"{days} days with labels; {purpose} needs {need}", "HOLD", days, need)


def _both_classes(frame: pd.DataFrame) -> Check:
    """An AUC needs positives and negatives, and an interval two days or more."""
    positives, rows = int((frame["label"] == 1).sum()), len(frame)
    return Check(
        "both_classes",
        0 < positives < rows and frame["day"].nunique() > 1,
        f"{positives} positive rows of {rows}",
        "HOLD",
        positives,
        1,
    )


def _unseen(who: str, windows: dict, names: tuple[str, ...], frame: pd.DataFrame) -> Check:
    """A model is judged only on days after every day it was made, chosen or judged on."""
    seen_to = max(windows[name][1] for name in names)
    first = str(frame["day"].min())
    passed = seen_to < first
    return Check(
        f"{who}_unseen",
        passed,
        f"judged from {first}; the {who} has seen days up to {seen_to}" + ("" if passed else ": it knows the answers"),
        "HOLD",
        first,
        seen_to,
    )


def _scores_usable(who: str, if_failed: Literal["HOLD", "REJECT"], frame: pd.DataFrame) -> Check:
    score = frame[f"{who}_score"].to_numpy(dtype=float, na_value=np.nan)
    bad = int((~((score >= 0) & (score <= 1))).sum())
    return Check(
        f"{who}_scores_usable",
        bad == 0,
        f"{bad} of {len(score)} of the {who}'s scores are no probability",
        if_failed,
        bad,
        0,
    )


_NEEDED_TO_MEASURE = ("both_classes", "challenger_scores_usable", "champion_scores_usable")


def _on_quality(spec: ModelSpec, champion: dict | None, frame: pd.DataFrame) -> list[Check]:
    checks = [_minimum_quality(spec, frame)]
    if champion is not None:
        checks.append(_better_than_champion(spec, frame))
    return checks


def _minimum_quality(spec: ModelSpec, frame: pd.DataFrame) -> Check:
    """The lower bound, one-sided at alpha, must reach the minimum: a lucky fortnight is not quality."""
    rule = spec.promote_if
    auc = clustered_auc(
        frame["label"], frame["challenger_score"], frame["day"], rule.resamples, spec.seed, alpha=2 * rule.alpha
    )
    passed = auc.low >= rule.minimum
    return Check(
        "minimum_quality",
        passed,
        f"{rule.metric} {auc.value:.4f}, surely above {auc.low:.4f}, "
        + ("reaches" if passed else "does not surely reach")
        + f" the minimum {rule.minimum:g}",
        "REJECT",
        auc.value,
        rule.minimum,
        [auc.low, auc.high],
    )


def _better_than_champion(spec: ModelSpec, frame: pd.DataFrame) -> Check:
    """The lower bound of the paired difference, whole days resampled, must exceed `better_by`."""
    rule = spec.promote_if
    test = paired_auc_difference(
        frame["label"],
        frame["challenger_score"],
        frame["champion_score"],
        frame["day"],
        rule.resamples,
        spec.seed,
        rule.alpha,
    )
    passed = test.low > rule.better_by
    return Check(
        "better_than_champion",
        passed,
        f"{rule.metric} {test.difference:+.4f} against the champion on {test.clusters} days, surely above "
        f"{test.low:+.4f}" + ("" if passed else f": not surely more than {rule.better_by:+g}"),
        "REJECT",
        test.difference,
        rule.better_by,
        [test.low, test.high],
    )


def _require(challenger: dict, champion: dict | None, frame: pd.DataFrame) -> None:
    columns = {"label", "day", "challenger_score"} | ({"champion_score"} if champion is not None else set())
    if missing := sorted(columns - set(frame.columns)):
        raise ParameterError(
            "the judge frame lacks columns",
            seen=sorted(frame.columns),
            expected=missing,
            hint="score both models first",
        )
    for who, facts in (("challenger", challenger), ("champion", champion)):
        if facts is not None and (missing := sorted({"version", "as_of", "windows"} - set(facts))):
            raise ParameterError(
                f"facts about the {who} are missing",
                seen=sorted(facts),
                expected=missing,
                hint="read them from the ledger",
            )
        if facts is not None and (missing := sorted({"train", "validate", "judge"} - set(facts["windows"]))):
            raise ParameterError(
                f"windows of the {who} are missing",
                seen=sorted(facts["windows"]),
                expected=missing,
                hint="read them from the ledger",
            )
    if not frame["label"].isin([0, 1]).all():
        raise ParameterError("labels other than 0 and 1", expected="0 or 1", hint="look at the model's label function")
