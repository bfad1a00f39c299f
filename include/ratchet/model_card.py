"""The card of a model version: what it is for, how it was made, how good it is, who decided. From the record alone.

HTML for people, self-contained but for its pictures, with no script; Markdown for whatever reads text. What is not on
record is said to be missing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ratchet.evaluation.result import Evaluation
from ratchet.pages import render, table_of

if TYPE_CHECKING:
    from ratchet.specs import ModelSpec

_PICTURE = re.compile(r"data:image/png;base64,[A-Za-z0-9+/]+={0,2}|[\w-]+(/[\w-]+)*\.png", re.ASCII)

# (table, picture, title, what it says, columns shown, what to say without it)
_ASPECTS = (
    ("performance", None, "Performance", "With 95 % intervals over days.",
     ["measure", "value", "low", "high", "rows", "days", "note"], "no performance on record"),
    ("slices", "slices", "Slices", "The spec's metric on each group of rows.",
     ["column", "group", "rows", "value", "low", "high", "note"],
     "no slices: evaluate.slices names no column"),
    ("calibration", "reliability", "Calibration", "What was predicted, and what came true.",
     ["bin", "rows", "predicted", "value", "low", "high", "gap"], "no calibration on record"),
    ("fairness", None, "Fairness", "Equal is a demographic parity ratio of 1, an equal opportunity difference of 0.",
     ["column", "decision", "measure", "value", "groups", "note"],
     "no fairness: evaluate.sensitive names no column"),
    ("fairness_rates", "fairness", "Who is selected", "The rates that fairness is made of.",
     ["column", "decision", "group", "rows", "selection_rate", "true_positive_rate", "note"],
     "no rates by sensitive group"),
    ("robustness", "robustness", "Robustness", "By how much the metric gets worse when the same rows are spoilt.",
     ["what", "drop", "low", "high", "finite", "note"], "no robustness on record"),
    ("importance", "importance", "Importance of the features",
     "By how much the metric gets worse when one feature is shuffled.", ["feature", "drop", "low", "high"],
     "no importance on record"),
    ("effects", "shap", "What moves the scores",
     "The mean size of a feature's effect, in units of the score. shap: Shapley values; left out: that feature alone "
     "missing.", ["feature", "effect", "method"], "no effects on record"),
    ("reasons", None, "Reasons of single scores", "The largest effects on three rows.",
     ["row", "score", "rank", "feature", "value", "effect"], "no reasons: no feature moves this model's scores"),
    ("serving", None, "Serving", "On the machine that measured it, as busy as it was.",
     ["measure", "value", "unit", "how"], "no serving times on record"),
    ("value", "value", "Value", "The cost of 1,000 rows, and what the model saves against acting otherwise.",
     ["policy", "cost", "low", "high", "saved", "saved_low", "saved_high", "unit"],
     "no business value: evaluate.costs is not in the spec"),
)  # fmt: skip


def model_card(facts: Mapping, evaluations: Mapping[str, Evaluation | Mapping]) -> tuple[str, str]:
    """(HTML, Markdown) of a version.

    facts: model and version, and as far as they are on record what `card_facts` makes. evaluations: {what it was made
    on, such as "validate" and "judge": an Evaluation, or its `as_record`}. Pictures are data URIs, or addresses
    relative to the card (letters, digits, _, - and folders, ending in .png); another address is not shown, and Markdown
    shows none of the data URIs.
    """
    card = {
        "title": f"{facts['model']} version {facts['version']}",
        "facts": facts,
        "missing": _missing(facts, evaluations),
        "evaluations": [_evaluation(on, found) for on, found in evaluations.items()],
        "tables": _tables(facts),
    }
    return tuple(render(f"model_card.{kind}", card) for kind in ("html", "md"))


def card_facts(
    spec: ModelSpec,
    manifest: Mapping,
    *,
    version: int,
    digests: Mapping[str, str],
    candidate: Mapping,
    gate: Mapping | None = None,
    approval: Mapping | None = None,
    today: ModelSpec | None = None,
) -> dict:
    """The facts of a card. Goes through JSON.

    spec: that of the version's training; `today`: that of now, whose differences are told. manifest: of the snapshot.
    digests: such as model, snapshot, source, lock, in hex. candidate: such as name, estimator, params, seed, threshold,
    git_commit. gate: verdict, digest, checks (each name, passed, value, threshold, interval, reason). approval: by, at,
    asked_by, answer.
    """
    return {
        "model": spec.name,
        "version": version,
        "description": spec.description,
        "owner": spec.owner,
        "task": spec.task,
        "problem": spec.problem.model_dump(mode="json"),
        "changed_since": [name for name in _SAID if today is not None and getattr(today, name) != getattr(spec, name)],
        "as_of": manifest["as_of"],
        "windows": {name: {"days": days, "rows": manifest["rows"][name]} for name, days in manifest["windows"].items()},
        "left_out": dict(manifest["left_out"]),
        "data": [_dataset(name, days) for name, days in sorted(manifest["partitions"].items())],
        "digests": dict(digests),
        "candidate": dict(candidate),
        "gate": gate and dict(gate),
        "approval": approval and dict(approval),
    }


_SAID = ("description", "owner", "problem", "evaluate")  # by a spec, of what its models are for and how they are seen


def _dataset(name: str, days: Mapping[str, list]) -> dict:
    span = [min(days), max(days)] if days else [None, None]
    drops = len({sha256 for _, _, sha256 in days.values()})
    return {"dataset": name, "first_day": span[0], "last_day": span[1], "days": len(days), "drops": drops}


def _missing(facts: Mapping, evaluations: Mapping[str, object]) -> list[str]:
    said = {
        "problem": "what it is for is not on record",
        "windows": "what it was trained on is not on record",
        "digests": "no digests on record: it can't be rebuilt from this card",
        "gate": "not judged yet",
        "approval": "not approved yet",
    }
    missing = [words for name, words in said.items() if not facts.get(name)]
    return missing + ([] if evaluations else ["not evaluated yet"])


def _tables(facts: Mapping) -> dict[str, dict | None]:
    """The tables of the facts, ready to show."""
    windows = [
        {"window": name, "first_day": window["days"][0], "last_day": window["days"][1], "rows": window["rows"]}
        for name, window in (facts.get("windows") or {}).items()
    ]
    checks = (facts.get("gate") or {}).get("checks", [])
    return {
        "windows": table_of(windows, ["window", "first_day", "last_day", "rows"]),
        "data": table_of(facts.get("data") or [], ["dataset", "first_day", "last_day", "days", "drops"]),
        "gate": table_of(checks, ["name", "passed", "value", "interval", "threshold", "reason"]),
    }


def _evaluation(on: str, found: Evaluation | Mapping) -> dict:
    record = found.as_record() if isinstance(found, Evaluation) else found
    aspects = [_aspect(record, *aspect) for aspect in _ASPECTS]
    return {"on": on, "about": record.get("about", {}), "aspects": aspects}


def _aspect(
    record: Mapping, table: str, picture: str | None, title: str, says: str, columns: list, without: str
) -> dict:
    lines = record["tables"].get(table) or []
    address = record["pictures"].get(picture) if lines else None
    if address is not None and not _PICTURE.fullmatch(address):
        return _aspect(
            {**record, "pictures": {}}, table, picture, title, f"{says} Its picture can't be shown.", columns, without
        )
    return {"title": title, "says": says, "table": table_of(lines, columns), "picture": address, "without": without}
