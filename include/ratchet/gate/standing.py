"""Is it this challenger's turn? Asked by data time, never by clock or version number."""

from __future__ import annotations

from ratchet.gate.values import Check


def standing_checks(challenger: dict, champion: dict | None) -> list[Check]:
    if champion is None:
        return []
    other = _not_the_champion(challenger, champion)
    return [other, _not_superseded(challenger, champion)] if other.passed else [other]


def _not_the_champion(challenger: dict, champion: dict) -> Check:
    same_version = challenger["version"] == champion["version"]
    same_model = _same_model(challenger, champion)
    version = f"version {challenger['version']}"
    if same_version:
        reason = f"{version} is the champion already"
    elif same_model:
        reason = f"{version} is the very model that is champion as version {champion['version']}"
    else:
        reason = f"{version} is not the champion, version {champion['version']}"
    passed = not (same_version or same_model)
    return Check("not_the_champion", passed, reason, "HOLD", challenger["version"], champion["version"])


def _same_model(challenger: dict, champion: dict) -> bool:
    """By the file; or, as every save writes other bytes, by the proof made at training: equal content of the fitted
    estimator, or equal scores of equally many rows, to the last bit."""
    ours, theirs = (facts.get("proof") or {} for facts in (challenger, champion))
    proven = any(name in ours and ours[name] == theirs.get(name) for name in ("content", "scores_digest"))
    return proven or challenger["model_digest"] == champion["model_digest"]


def _not_superseded(challenger: dict, champion: dict) -> Check:
    newer = challenger["as_of"] > champion["as_of"]
    reason = (
        f"trained as of {challenger['as_of']}, "
        + ("after" if newer else "superseded: not after")
        + f" the champion's {champion['as_of']}"
    )
    return Check("not_superseded", newer, reason, "REJECT", challenger["as_of"], champion["as_of"])
