"""Training-serving skew: are the features that a model was asked with those that a training would see? Pure.

Three views of the same rows: *served*, built again from exactly the partitions that the scoring names, a day alone, as
scoring does; *trained*, built as a training as of the check would, all days at once, from the partitions of now; and
the scores on record. Where the partitions are the same, features that differ are skew: the code sees the same rows
otherwise. Where they are others, that is late data: the day is scored again by itself. Scores on record that the model
does not give of the served features are skew too: the features were others then, or the code was.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import pandas as pd

from ratchet.monitoring.values import Finding

ALIKE = {"rtol": 1e-9, "atol": 1e-9, "equal_nan": True}  # the same sums in another order, on another processor
UNIT = "share of rows"


def find_skew(
    served: pd.DataFrame,
    trained: pd.DataFrame,
    scores: dict[str, pd.DataFrame],
    features: Sequence[str],
    late: Collection[str],
) -> list[Finding]:
    """Findings of the area "skew": "features", each feature that differs, "scores", and "late data".

    served, trained: `day` and features, the same rows in the same order. scores: "recorded", "served" and "trained",
    what was predicted and what the model says of either view, the score columns alone, on the same rows. `late`: days
    scored from other partitions than those of now.
    """
    if served.empty:
        return [_none("no row of these days can be built again")]
    is_late = served["day"].isin(late).to_numpy()
    differs = pd.DataFrame({name: differing(served[name], trained[name]) for name in features})
    moved = np.abs(scores["served"].to_numpy() - scores["trained"].to_numpy()).max(axis=1)
    days = f"{served['day'].nunique()} days, {len(served):,} rows"
    return [
        *_features(differs[~is_late], moved[~is_late], days),
        _scores(scores["recorded"], scores["served"], days),
        _late(differs[is_late].any(axis="columns"), moved[is_late], len(served), sorted(late)),
    ]


def differing(one: pd.Series, other: pd.Series) -> np.ndarray:
    """Of each pair of values whether they differ; two nulls don't."""
    if pd.api.types.is_numeric_dtype(one) and pd.api.types.is_numeric_dtype(other):
        return ~np.isclose(*(side.to_numpy("float64", na_value=np.nan) for side in (one, other)), **ALIKE)
    a, b = (side.astype("object").where(side.notna(), None).to_numpy() for side in (one, other))
    return a != b  # None is None


def _features(differs: pd.DataFrame, moved: np.ndarray, days: str) -> list[Finding]:
    """All together, and each that differs."""
    if differs.empty:
        return [Finding("skew", "features", "not enough data", "none", f"all of {days} were scored from other data")]
    rows = differs.any(axis="columns").to_numpy()
    share, by_column = float(rows.mean()), differs.mean()
    named = by_column[by_column > 0].sort_values(ascending=False, kind="stable")
    says = f"features as served and as a training would see them differ in {share:.1%} of rows ({days})"
    says += f": {', '.join(f'{name} {part:.1%}' for name, part in named.items())}" if share else ""
    says += f"; the score by {moved[rows].mean():.3g} on average" if share else ""
    each = [
        _finding(name, float(part), f"{name} differs in {part:.1%} of rows between serving and training")
        for name, part in named.items()
    ]
    return [_finding("features", share, says), *each]


def _scores(recorded: pd.DataFrame, served: pd.DataFrame, days: str) -> Finding:
    off = ~np.isclose(recorded.to_numpy("float64"), served.to_numpy("float64"), **ALIKE)
    rows, by = off.any(axis=1), np.abs(recorded.to_numpy("float64") - served.to_numpy("float64")).max(axis=1)
    share = float(rows.mean())
    says = f"scores on record and those of the same features now differ in {share:.1%} of rows ({days})"
    says += f", by {np.nan_to_num(by[rows]).mean():.3g} on average" if share else ""
    return _finding("scores", share, says)


def _late(differs: pd.Series, moved: np.ndarray, rows: int, days: Sequence[str]) -> Finding:
    """No harm: such days are scored again by themselves."""
    count = int(differs.sum())
    says = f"{len(days)} of the days were scored from data that were corrected or came late since; features differ in "
    says += f"{count / rows:.1%} of all rows" + (
        f", the score by {moved[differs].mean():.3g} on average" if count else ""
    )
    state = "moved" if count else "usual"
    return Finding("skew", "late data", state, "none", says, count / rows, threshold=0.0, unit=UNIT)


def _finding(name: str, share: float, says: str) -> Finding:
    state, harm = ("moved", "estimated") if share else ("usual", "none")
    return Finding("skew", name, state, harm, says, share, threshold=0.0, unit=UNIT)


def _none(says: str) -> Finding:
    return Finding("skew", "features", "not enough data", "none", says)
