"""Can these rows carry a decision?

A judge window may overlap the one on which the champion was judged: the champion was chosen there, so the error is in
its favour; and such a look counts among those that alpha is left for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ratchet.gate.values import Check, Evidence

if TYPE_CHECKING:
    from ratchet.specs import ModelSpec

SUM_OF_PROBABILITIES = 1e-6  # may be off by so much
LARGEST = 1e100  # of a label or a score


def alpha_left(alpha: float, looks: int) -> float:
    """The alpha of this look, after `looks` earlier ones at overlapping windows: alpha / ((looks + 1)(looks + 2)).

    Over looks that all overlap one another these sum to alpha, so that the chance of a single false promotion among
    them stays below it, however they depend on each other (the union bound; a spending sequence as of Foster and Stine,
    "Alpha-investing", JRSS B 70(2), 2008, section 3, and Lan and DeMets, Biometrika 70(3), 1983). Where windows slide
    on, early looks are forgotten and new days are new evidence: a year of weekly looks at 30 days spends 2.4 alpha.
    """
    return alpha / ((looks + 1) * (looks + 2))


def evidence_checks(spec: ModelSpec, challenger: dict, champion: dict | None, evidence: Evidence) -> list[Check]:
    rows = evidence.rows
    checks = [_enough_days(spec, champion, evidence), _enough_rows(spec, rows), _labels_usable(spec, rows)]
    checks += [_groups_known(spec, rows)] if spec.evaluate.slices or spec.evaluate.sensitive else []
    if len(rows):
        checks += [_unseen(who, facts, rows) for who, facts in _who(challenger, champion)]
    checks += [_no_row_repeated(evidence), _point_in_time(evidence)]
    return checks + [_scores_usable(who, spec, rows) for who, _ in _who(challenger, champion)]


def _who(challenger: dict, champion: dict | None) -> list[tuple[str, dict]]:
    return [("challenger", challenger), *([("champion", champion)] if champion is not None else [])]


def _enough_days(spec: ModelSpec, champion: dict | None, evidence: Evidence) -> Check:
    need = spec.promote_if.min_days_first if champion is None else spec.promote_if.min_days_comparison
    purpose = "a first model" if champion is None else "a comparison with the champion"
    days, late = int(evidence.rows["day"].nunique()), ", ".join(sorted(evidence.late_days))
    reason = f"{days} days with labels; {purpose} needs {need}"
    reason += f"; left out, as many of their outcomes are still to come: {late}" if late else ""
    return Check("enough_days", days >= need, reason, "HOLD", days, need)


def _enough_rows(spec: ModelSpec, rows: pd.DataFrame) -> Check:
    need = spec.promote_if.min_rows
    told = f"{len(rows):,} rows with labels, {need:,} are needed"
    return Check("enough_rows", len(rows) >= need, told, "HOLD", len(rows), need)


def _labels_usable(spec: ModelSpec, rows: pd.DataFrame) -> Check:
    """Each row has a label that the task knows, and there are two of them or more, on two days or more each."""
    label, day = rows["label"], rows["day"]
    known, missing = _known_labels(spec, label), int(label.isna().sum())
    strange = int((~known & label.notna()).sum())
    if spec.task == "regression":
        kinds = int(label[known].nunique())
        enough, told = kinds > 1 and day.nunique() > 1, f"{kinds} different values"
    else:
        days = day[known].groupby(label[known]).nunique()
        enough, told = int((days > 1).sum()) > 1, _told_labels(label[known])
    reason = f"{told}; {missing} of {len(rows)} rows without a label, {strange} with one that is none of the task's"
    return Check("labels_usable", enough and not missing and not strange, reason, "HOLD", missing + strange, 0)


def _known_labels(spec: ModelSpec, label: pd.Series) -> pd.Series:
    if spec.task == "binary":
        return label.isin([0, 1])
    if spec.task == "multiclass":
        return label.isin(spec.classes)
    return pd.Series(_sized(pd.to_numeric(label, errors="coerce").to_numpy(float, na_value=np.nan)), label.index)


def _sized(numbers: np.ndarray) -> np.ndarray:
    """Finite, and not so large that a square of it is not."""
    return np.abs(numbers) < LARGEST


def _told_labels(label: pd.Series) -> str:
    counts = label.value_counts().sort_index()
    told = ", ".join(f"{rows:,} rows of class {name}" for name, rows in counts.items())
    return told + (" only" if len(counts) == 1 else "") if len(counts) else "no row"


def _groups_known(spec: ModelSpec, rows: pd.DataFrame) -> Check:
    wanted = list(dict.fromkeys([*spec.evaluate.slices, *spec.evaluate.sensitive]))
    unknown = [name for name in wanted if name not in rows.columns]
    reason = f"columns of evaluate.slices and sensitive that the rows lack: {', '.join(unknown) or 'none'}"
    return Check("groups_known", not unknown, reason, "HOLD", len(unknown), 0)


def _unseen(who: str, facts: dict, rows: pd.DataFrame) -> Check:
    """A model is judged only on days after every day it was fitted to or chosen on."""
    seen_to = max(facts["windows"][name][1] for name in ("train", "validate"))
    first = str(rows["day"].min())
    passed = seen_to < first
    reason = f"judged from {first}; the {who} has trained or validated on days up to {seen_to}"
    return Check(f"{who}_unseen", passed, reason + ("" if passed else ": it knows the answers"), "HOLD", first, seen_to)


def _no_row_repeated(evidence: Evidence) -> Check:
    count = int(evidence.repeated_rows)
    reason = f"{count:,} of {len(evidence.rows):,} rows lie also in a train or validate window"
    return Check("repeated_rows", count == 0, reason, "HOLD", count, 0)


def _point_in_time(evidence: Evidence) -> Check:
    late = sorted(evidence.future_features)
    reason = f"features that use what is known only after the prediction: {', '.join(late) or 'none'}"
    if evidence.range_dependent:
        hanging = ", ".join(sorted(evidence.range_dependent))
        reason += f" (some change already with the days that are made at once, beyond their lookback: {hanging})"
    if evidence.rows_without_instant:
        reason += f"; {evidence.rows_without_instant:,} rows do not say for which instant they are scored"
    if evidence.fails_without_future:
        reason += f"; nobody can tell of all of them, as the feature function fails: {evidence.fails_without_future}"
    passed = not (late or evidence.rows_without_instant or evidence.fails_without_future)
    return Check("point_in_time", passed, reason, "HOLD", len(late), 0)


def _scores_usable(who: str, spec: ModelSpec, rows: pd.DataFrame) -> Check:
    columns = [f"{who}_{name}" for name in spec.score_columns]
    scores = rows[columns].to_numpy(dtype=float, na_value=np.nan)
    good = _sized(scores).all(axis=1)
    if spec.task != "regression":
        good &= ((scores >= 0) & (scores <= 1)).all(axis=1)
    if spec.task == "multiclass":
        good &= np.abs(scores.sum(axis=1) - 1) < SUM_OF_PROBABILITIES
    bad, kind = int((~good).sum()), "usable number" if spec.task == "regression" else "probability"
    reason = f"{bad} of {len(rows)} of the {who}'s scores are no {kind}"
    return Check(f"{who}_scores_usable", bad == 0, reason, "REJECT" if who == "challenger" else "HOLD", bad, 0)
