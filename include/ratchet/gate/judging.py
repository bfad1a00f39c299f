"""From checks to a verdict."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import pandas as pd

from ratchet.errors import ParameterError
from ratchet.gate.evidence import evidence_checks
from ratchet.gate.harm import harm_checks
from ratchet.gate.quality import quality_checks
from ratchet.gate.standing import standing_checks
from ratchet.gate.values import Check, Decision, Evidence, GateVerdict

if TYPE_CHECKING:
    from ratchet.specs import ModelSpec

# Which failure weighs more where a stage has both. A quality seen in a leak is none, so HOLD outweighs REJECT; one harm
# that is sure settles it, however little is known of the others.
OUTWEIGHS = {"standing": "REJECT", "evidence": "HOLD", "quality": "HOLD", "harm": "REJECT"}
FACTS = frozenset({"version", "as_of", "windows", "model_digest"})
WINDOWS = frozenset({"train", "validate", "judge"})


def judge(spec: ModelSpec, challenger: dict, champion: dict | None, evidence: Evidence) -> GateVerdict:
    """The verdict on a challenger, against the champion if there is one.

    challenger, champion: {"version": int, "as_of": day, "model_digest": str,
    "windows": {"train"|"validate"|"judge": [first, last]}, and where there is one
    "proof": {"content": digest, "scores_digest": digest} (see ratchet.proof)}.
    Quality is measured where the rows allow it; harm only of a challenger that passed all else: the others harm nobody.
    Raises ParameterError if a score column, a label, a day or a fact is missing: a gate that can't see does not open.
    """
    _require(spec, challenger, champion, evidence)
    stages = {
        "standing": standing_checks(challenger, champion),
        "evidence": evidence_checks(spec, challenger, champion, evidence),
    }
    if all(check.passed for check in stages["evidence"] if check.name in _NEEDED_TO_MEASURE):
        numbered = replace(evidence, rows=evidence.rows.assign(day=pd.factorize(evidence.rows["day"], sort=True)[0]))
        stages["quality"] = quality_checks(spec, champion, numbered)
        if champion is not None and all(check.passed for checks in stages.values() for check in checks):
            stages["harm"] = harm_checks(spec, numbered)
    checks = [asdict(check) for made in stages.values() for check in made]
    return GateVerdict(_decide(stages, champion), checks, challenger, champion)


_NEEDED_TO_MEASURE = ("labels_usable", "groups_known", "challenger_scores_usable", "champion_scores_usable")


def _decide(stages: dict[str, list[Check]], champion: dict | None) -> Decision:
    for stage, checks in stages.items():
        failed = {check.if_failed for check in checks if not check.passed}
        if failed:
            return OUTWEIGHS[stage] if OUTWEIGHS[stage] in failed else failed.pop()
    return "PROMOTE" if champion is not None else "NO_BASELINE"


def _require(spec: ModelSpec, challenger: dict, champion: dict | None, evidence: Evidence) -> None:
    who = ["challenger", *(["champion"] if champion is not None else [])]
    columns = {"label", "day", *(f"{name}_{column}" for name in who for column in spec.score_columns)}
    if missing := sorted(columns - set(evidence.rows.columns)):
        raise ParameterError(
            "the judged rows lack columns",
            seen=sorted(evidence.rows.columns),
            expected=missing,
            hint="score both models first",
        )
    for name, facts in zip(who, (challenger, champion), strict=False):
        _require_facts(f"facts about the {name}", FACTS, facts)
        _require_facts(f"windows of the {name}", WINDOWS, facts["windows"])


def _require_facts(what: str, names: frozenset[str], facts: dict) -> None:
    if missing := sorted(names - set(facts)):
        raise ParameterError(
            f"{what} are missing", seen=sorted(facts), expected=missing, hint="read them from the ledger"
        )
