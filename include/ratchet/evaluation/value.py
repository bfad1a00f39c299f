"""What the decisions cost, and the threshold at which they cost least."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ratchet.evaluation.scored import Scored, finite, interval, try_estimate
from ratchet.specs import Costs
from ratchet.statistics import Jackknifed, combined, mean

PER = 1000  # rows


def cheapest_threshold(label, score, costs: Costs) -> float:
    """The score from which on acting costs least on these rows: one of the scores, or just above all of them where
    acting on none is cheapest. Of equally cheap ones the highest, which acts on the fewest rows.

    `label`: 0/1; `score`: a binary model's, from the validate window. Nothing is known of rows beyond these.
    """
    thresholds, cost = cost_curve(label, score, costs)
    return float(thresholds[int(np.argmin(cost))])


def cost_curve(label, score, costs: Costs) -> tuple[np.ndarray, np.ndarray]:
    """(each threshold that makes a difference, from the highest; cost of 1,000 rows at it)."""
    label, score = np.asarray(label, dtype=float), np.asarray(score, dtype=float).ravel()
    order = np.argsort(-score, kind="stable")
    score, positive = score[order], label[order]
    cost = (1 - positive) * costs.false_alarm + costs.acted_on - positive * costs.missed
    last = np.append(score[1:] != score[:-1], True)  # rows of one score are acted on together
    thresholds = np.append(np.nextafter(score[0], np.inf), score[last])
    total = label.sum() * costs.missed + np.append(0.0, np.cumsum(cost)[last])
    return thresholds, PER * total / len(label)


def measure_value(scored: Scored) -> tuple[dict[str, float], dict[str, pd.DataFrame]]:
    """Nothing without evaluate.costs. Table value: policy, cost of 1,000 rows, low, high (95 %, over days), saved,
    saved_low, saved_high, unit.

    Policies: the model at its threshold; acting on none; acting on all; the base rate (the cheaper of these two: all
    that a model can do which knows nothing of a row); perfect (acting on the positives). `saved`: what the model saves
    against that policy, paired. Table value_curve, to draw from: threshold, cost, unit, at most 200 lines.
    Numbers: value.cost_per_1000, value.saved_per_1000 (against the base rate, with _low and _high),
    value.cost_per_1000_<policy>.
    """
    costs = scored.spec.evaluate.costs
    if costs is None:
        return {}, {}
    true, said = scored.decisions()["positive"]
    none, every = np.zeros(len(true), dtype=bool), np.ones(len(true), dtype=bool)
    base = min((none, every), key=lambda acted: cost_of(true, acted, costs).sum())
    policies = {"model": said, "none": none, "all": every, "base_rate": base, "perfect": true}
    paid = {name: mean(PER * cost_of(true, acted, costs), scored.day) for name, acted in policies.items()}
    lines = [_line(name, paid, costs.unit) for name in policies]
    table = pd.DataFrame(lines)
    return finite(_numbers(table.set_index("policy"))), {"value": table, "value_curve": _curve(scored, costs)}


def _curve(scored: Scored, costs: Costs) -> pd.DataFrame:
    thresholds, cost = cost_curve(scored.label, scored.scores, costs)
    at = np.unique(np.linspace(0, len(cost) - 1, 200).astype(int))
    return pd.DataFrame({"threshold": thresholds[at], "cost": cost[at], "unit": costs.unit})


def cost_of(true: np.ndarray, acted: np.ndarray, costs: Costs) -> np.ndarray:
    """Of each row."""
    return costs.missed * (true & ~acted) + costs.false_alarm * (~true & acted) + costs.acted_on * acted


def _line(policy: str, paid: dict[str, Jackknifed], unit: str) -> dict:
    cost = interval(try_estimate(lambda: paid[policy]))
    saved = interval(try_estimate(lambda: combined(np.subtract, paid[policy], paid["model"])))
    line = {"policy": policy, "cost": cost["value"], "low": cost["low"], "high": cost["high"]}
    return line | {"saved": saved["value"], "saved_low": saved["low"], "saved_high": saved["high"], "unit": unit}


def _numbers(table: pd.DataFrame) -> dict[str, float]:
    costs = {f"value.cost_per_1000_{name}": cost for name, cost in table["cost"].drop("model").items()}
    saved = {f"value.saved_per_1000{end}": table.loc["base_rate", f"saved{end}"] for end in ("", "_low", "_high")}
    return {"value.cost_per_1000": table.loc["model", "cost"], **costs, **saved}
