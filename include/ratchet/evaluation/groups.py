"""Who the model serves worse: the metric on each slice, and fairness between groups."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from ratchet.evaluation.scored import LOSS, RANGES, SHARE, TOO_FEW, Scored, finite, interval, name_of, try_estimate
from ratchet.statistics import rate

MOST_GROUPS = 30  # of a column; the rows of its rarer values make one more
MISSING, RARER = "(missing)", "(all others)"


def groups_of(column: pd.Series) -> pd.Series:
    """Each row's group, as text: its value, "(missing)", or beyond the 30 values with the most rows "(all others)"."""
    text = column.astype(object).where(column.notna(), MISSING).map(str)
    kept = text.value_counts().index[:MOST_GROUPS]
    return text.where(text.isin(kept), RARER)


def measure_slices(scored: Scored) -> tuple[dict[str, float], pd.DataFrame]:
    """Table: column, group, rows, value, low, high of the spec's metric, decides, note, worst; a line for each value of
    each column of evaluate.slices.

    A slice of one class, or on too few days, has no value and the note "too few". One below min_group_rows has
    decides False. `worst`, and the note, mark the worst slice of those that decide; if none does, of all that have a
    value.
    Numbers: slice.<column>.<group>.<metric>, slice_worst_<metric> and slice_worst_rows.
    """
    lines = [line for column in scored.spec.evaluate.slices for line in _slices_by(scored, column)]
    names = ["column", "group", "rows", "value", "low", "high", "decides", "note"]
    table = pd.DataFrame(lines, columns=names)
    at = _worst(table, scored.spec.problem.success.higher_is_better)
    table["worst"] = table.index == at
    if at is not None:
        table.loc[at, "note"] = "; ".join(filter(None, ["worst", table["note"][at]]))
    numbers = {
        name_of("slice", line["column"], line["group"], scored.metric): line["value"]
        for line in lines[::-1]  # two values with one name: the larger slice, which comes first, keeps it
    }
    if at is not None:
        numbers |= {f"slice_worst_{scored.metric}": table["value"][at], "slice_worst_rows": table["rows"][at]}
    return finite(numbers), table


def measure_fairness(scored: Scored) -> tuple[dict[str, float], pd.DataFrame, pd.DataFrame]:
    """Demographic parity ratio and equal opportunity difference, by fairlearn, between the groups of each column of
    evaluate.sensitive; and the rates that they are made of.

    Table: column, decision, measure, value, groups, note. Ratio: the least selection rate over the greatest (1: equal);
    difference: between the greatest and the least share of positives found (0: equal). Groups below min_group_rows
    don't count; nor, for the difference, those without a positive. A regression decides nothing: it has none.
    Table of rates: column, decision, group, rows, selection_rate and true_positive_rate (each
    with _low and _high), note.
    Numbers: fairness.<column>[.<class>].demographic_parity_ratio and .equal_opportunity_difference.
    """
    found, rates, numbers = [], [], {}
    for column in scored.spec.evaluate.sensitive:
        group = groups_of(scored.rows[column])
        for decision, (true, said) in scored.decisions().items():
            measures = _fairness_between(group, true, said, scored.spec.evaluate.min_group_rows)
            found += [{"column": column, "decision": decision, **line} for line in measures]
            rates += [{"column": column, "decision": decision, **line} for line in _rates(scored, group, true, said)]
            of = ["fairness", column] + ([decision] if scored.spec.task == "multiclass" else [])
            numbers |= {name_of(*of, line["measure"]): line["value"] for line in measures}
        if scored.spec.task == "regression":
            found.append({"column": column, "note": "not applicable: a regression decides nothing; see the slices"})
    columns = ["column", "decision", "measure", "value", "groups", "note"]
    return finite(numbers), pd.DataFrame(found, columns=columns), pd.DataFrame(rates)


def _slices_by(scored: Scored, column: str) -> Iterator[dict]:
    group = groups_of(scored.rows[column])
    for name, rows in group.value_counts(sort=True).items():
        of_slice = scored.only((group == name).to_numpy())
        found = try_estimate(of_slice.measured)
        decides = found is not None and rows >= scored.spec.evaluate.min_group_rows
        note = TOO_FEW if found is None else "" if decides else "small: decides nothing"
        yield {
            "column": column,
            "group": name,
            "rows": rows,
            **interval(found, *RANGES.get(scored.metric, LOSS)),
            "decides": decides,
            "note": note,
        }


def _worst(table: pd.DataFrame, higher_is_better: bool) -> int | None:
    """Where the worst value is."""
    values = table["value"].astype(float)
    values = values[table["decides"].astype(bool)] if table["decides"].any() else values.dropna()
    if values.empty:
        return None
    return int(values.idxmin() if higher_is_better else values.idxmax())


def _fairness_between(group: pd.Series, true: np.ndarray, said: np.ndarray, least_rows: int) -> list[dict]:
    from fairlearn.metrics import demographic_parity_ratio, equal_opportunity_difference

    large = group.map(group.value_counts()).to_numpy() >= least_rows
    with_positives = large & group.isin(group[true]).to_numpy()
    lines = []
    for measure, function, counted in (
        ("demographic_parity_ratio", demographic_parity_ratio, large),
        ("equal_opportunity_difference", equal_opportunity_difference, with_positives),
    ):
        groups = group[counted].nunique()
        line = {"measure": measure, "value": None, "groups": groups, "note": ""}
        if groups < 2:
            line["note"] = f"{TOO_FEW}: fewer than two groups of {least_rows} rows"
        elif not said[counted].any():
            line["note"] = "nobody was selected"
        else:
            line["value"] = float(function(true[counted], said[counted], sensitive_features=group[counted]))
        lines.append(line)
    return lines


def _rates(scored: Scored, group: pd.Series, true: np.ndarray, said: np.ndarray) -> Iterator[dict]:
    for name, rows in group.value_counts().items():
        member = (group == name).to_numpy()
        selected = try_estimate(lambda member=member: rate(said, scored.day, among=member))
        found = try_estimate(lambda member=member: rate(said, scored.day, among=member & true))
        small = rows < scored.spec.evaluate.min_group_rows
        yield {
            "group": name,
            "rows": rows,
            **_named("selection_rate", selected),
            **_named("true_positive_rate", found),
            "note": TOO_FEW if selected is None or found is None else "small: decides nothing" if small else "",
        }


def _named(name: str, found) -> dict[str, float | None]:
    value = interval(found, *SHARE)
    return {name: value["value"], f"{name}_low": value["low"], f"{name}_high": value["high"]}
