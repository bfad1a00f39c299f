"""Is the challenger no worse than the champion, by more than the margins of promote_if.no_worse, on anything?

Each is a one-sided test of non-inferiority: the bound of the challenger's advantage must lie above minus the margin.
A bound beyond it leaves two cases. Where the other bound lies beyond it too, the harm is sure: REJECT. Else nobody
knows: HOLD, for a slice that nobody can tell about is one on which harm would go unseen, and a margin is the owner's to
widen. A group that is smaller than evaluate.min_group_rows, or has not both classes on two days, is shown and decides
nothing.

All K that decide are asked at alpha / K (Bonferroni). That all must pass would be enough to let a harmful challenger
through in at most alpha of all cases (Berger, "Multiparameter hypothesis testing and acceptance sampling",
Technometrics 24(4), 1982: an intersection-union test); with the correction it is alpha / K, one REJECT among many tests
is no accident, and all intervals hold together, so that the table can be read line by line.

Looking again is paid for here too: a challenger whose harm is as large as the margin passes a look with the alpha of
its test, and would pass one of many looks in the end. So each test has the smaller of alpha / K and the alpha that
earlier looks have left (gate.alpha_left), and over looks that all overlap one another a harm of that size passes in at
most alpha of all cases (the union bound over looks; Berger's argument needs no correction for K on top of it). The
first look costs nothing more; a late one takes surer evidence: with 7 tests the third look is the first that pays.

Days are taken for independent here. Where neighbours are alike the intervals are too narrow: a harm exactly as large as
the margin then passes more often than it should (measured on 28 days, nominal 0.4 %: 3, 6 and 13 % at correlations of
0.3, 0.5 and 0.7). Allowing for it, as the test for better does, would hold nearly all: a month of flights could then
tell a slice of 8,000 rows to no better than 0.12 of AUC. benchmarks/RESULTS.md says what the whole gate lets through.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ratchet.gate.evidence import alpha_left
from ratchet.gate.fairness import opportunity_advantage, parity_advantage
from ratchet.gate.quality import difference_of
from ratchet.gate.values import Check, Evidence
from ratchet.statistics import Jackknifed, calibration_error, estimate, mean, rate

if TYPE_CHECKING:
    import pandas as pd

    from ratchet.specs import ModelSpec


MOST_NAMED = 10  # groups too small to decide that are named


@dataclass(frozen=True)
class Asked:
    """One test. `advantage`: by how much the challenger is better; less than -`margin` is harm. `as_ratio`: it is minus
    the logarithm of a ratio of times, and told as that ratio. `explained`: so much of a harm may be no more than the
    errors of few rows, and is not surely one (see ratchet.gate.fairness)."""

    name: str
    what: str
    advantage: Jackknifed
    margin: float
    as_ratio: bool = False
    explained: float = 0.0


def harm_checks(spec: ModelSpec, evidence: Evidence) -> list[Check]:
    """One check for each of slices, calibration, fairness and latency, and those that only show what can't be told."""
    found = [*_slices(spec, evidence.rows), *_calibration(spec, evidence.rows)]
    found += [*_fairness(spec, evidence), *_latency(spec, evidence)]
    tests = max(1, sum(isinstance(one, Asked) for one in found))
    alpha = min(spec.promote_if.alpha / tests, alpha_left(spec.promote_if.alpha, evidence.looks))
    return [_answered(one, alpha) if isinstance(one, Asked) else one for one in found]


def _answered(asked: Asked, alpha: float) -> Check:
    of = estimate(asked.advantage, 2 * alpha)
    passed, sure = of.low > -asked.margin, of.high + asked.explained < -asked.margin
    told = f"{'surely' if sure else 'perhaps'} worse by more than the margin"
    if asked.as_ratio:
        value, low, high, most = (float(np.exp(-x)) for x in (of.value, of.high, of.low, -asked.margin))
        reason = f"{asked.what}: {value:.2f} times the champion's, at worst {high:.2f} times"
        reason += "" if passed else f": {told} of {most:g} times"
        return Check(asked.name, passed, reason, "REJECT" if sure else "HOLD", value, most, [low, high])
    reason = f"{asked.what}: {of.value:+.4f} against the champion's, at worst {of.low:+.4f}"
    reason += "" if passed else f": {told} of {asked.margin:g}"
    reason += f" (errors of few rows may be {asked.explained:.4f} of it)" if asked.explained and not passed else ""
    failed = "REJECT" if sure else "HOLD"
    return Check(asked.name, passed, reason, failed, of.value, -asked.margin, [of.low, of.high])


def _slices(spec: ModelSpec, rows: pd.DataFrame) -> Iterator[Asked | Check]:
    """The metric on each group. Only a binary model has fairness numbers; of another the groups of evaluate.sensitive
    are slices too."""
    sensitive = [] if spec.task == "binary" else spec.evaluate.sensitive
    for column in dict.fromkeys([*spec.evaluate.slices, *sensitive]):
        groups, small = _groups(spec, rows, column)
        for name, mask in groups.items():
            what = f"{spec.problem.success.metric} where {column} is {name} ({int(mask.sum()):,} rows)"
            advantage = difference_of(spec, rows[mask])
            yield Asked(f"slice.{column}.{name}", what, advantage, spec.promote_if.no_worse.metric)
        if small:
            yield _shown(f"slice.{column}", small, spec)


def _groups(spec: ModelSpec, rows: pd.DataFrame, column: str) -> tuple[dict[str, np.ndarray], dict[str, int]]:
    """The groups that decide, by name, as masks of the rows; and the rows of those that don't."""
    value = rows[column].astype(object).where(rows[column].notna(), "(missing)").astype(str)
    counts = value.value_counts().sort_index()
    large = counts.index[counts >= spec.evaluate.min_group_rows]
    masks = {name: (value == name).to_numpy() for name in large}
    groups = {name: mask for name, mask in masks.items() if _decides(spec, rows[mask])}
    return groups, {name: int(rows) for name, rows in counts.items() if name not in groups}


def _decides(spec: ModelSpec, part: pd.DataFrame) -> bool:
    if len(part) < spec.evaluate.min_group_rows:
        return False
    if spec.task != "binary":
        return part["day"].nunique() > 1
    days = part.groupby("label")["day"].nunique()
    return len(days) == 2 and bool((days > 1).all())


def _shown(name: str, small: dict[str, int], spec: ModelSpec) -> Check:
    largest = sorted(small.items(), key=lambda group: -group[1])
    told = ", ".join(f"{group} ({rows:,} rows)" for group, rows in largest[:MOST_NAMED])
    told += f" and {len(small) - MOST_NAMED} more" if len(small) > MOST_NAMED else ""
    least = spec.evaluate.min_group_rows
    reason = f"decide nothing, with fewer than {least:,} rows, or without both classes on two days: {told}"
    return Check(f"{name}.small_groups", True, reason, value=len(small), threshold=least)


def _calibration(spec: ModelSpec, rows: pd.DataFrame) -> Iterator[Asked]:
    """Of a multiclass model: of the class it finds likeliest. A regression has none."""
    if spec.task == "regression":
        return
    challenger, champion = (_calibration_error(spec, rows, who) for who in ("challenger", "champion"))
    margin = spec.promote_if.no_worse.calibration
    yield Asked("calibration", "expected calibration error", champion.minus(challenger), margin)


def _calibration_error(spec: ModelSpec, rows: pd.DataFrame, who: str) -> Jackknifed:
    scores = rows[[f"{who}_{name}" for name in spec.score_columns]].to_numpy(dtype=float)
    if spec.task == "binary":
        return calibration_error(rows["label"], scores[:, 0], rows["day"])
    right = np.array(spec.classes)[scores.argmax(axis=1)] == rows["label"].astype(str).to_numpy()
    return calibration_error(right.astype(float), scores.max(axis=1), rows["day"])


def _fairness(spec: ModelSpec, evidence: Evidence) -> Iterator[Asked | Check]:
    if spec.task != "binary":
        return
    rows, threshold, margin = evidence.rows, evidence.threshold, spec.promote_if.no_worse.fairness
    for column in spec.evaluate.sensitive:
        name = f"fairness.{column}"
        groups, small = _groups(spec, rows, column)
        if small:
            yield _shown(name, small, spec)
        if len(groups) < 2:
            yield Check(name, True, f"{len(groups)} group of {column} is large enough: none to compare with")
        elif not {"challenger", "champion"} <= set(threshold):
            yield Check(name, False, "no decision threshold is on record for both models: fairness can't be told")
        else:
            acted = [(rows[f"{who}_score"] >= threshold[who]).to_numpy() for who in ("challenger", "champion")]
            what = f"demographic parity ratio over {column}"
            advantage, explained = parity_advantage(*(_shares(rows, groups, of) for of in acted))
            yield Asked(f"{name}.parity", what, advantage, margin, explained=explained)
            what, among = f"equal opportunity difference over {column}", (rows["label"] == 1).to_numpy()
            advantage, explained = opportunity_advantage(*(_shares(rows, groups, of, among) for of in acted))
            yield Asked(f"{name}.opportunity", what, advantage, margin, explained=explained)


def _shares(
    rows: pd.DataFrame, groups: dict[str, np.ndarray], acted: np.ndarray, among: np.ndarray | bool = True
) -> list[Jackknifed]:
    """Of each group the share of rows acted on, or of those `among` them."""
    return [rate(acted, rows["day"], mask & among) for mask in groups.values()]


def _latency(spec: ModelSpec, evidence: Evidence) -> Iterator[Asked | Check]:
    """Pairs of repetitions that followed each other, on the log scale: one slow moment of the machine hits both."""
    challenger, champion = (np.array(evidence.batch_seconds.get(who, ())) for who in ("challenger", "champion"))
    if len(challenger) != len(champion) or len(champion) < 2 or not ((challenger > 0) & (champion > 0)).all():
        seen = f"{len(challenger)} times of the challenger and {len(champion)} of the champion"
        yield Check("latency", False, f"{seen}: no pairs to compare")
        return
    slower = mean(np.log(challenger / champion), np.arange(len(challenger)))
    faster = Jackknifed(-slower.value, -slower.without, slower.rows)
    yield Asked("latency", "time of a batch", faster, float(np.log(spec.promote_if.no_worse.latency)), as_ratio=True)
