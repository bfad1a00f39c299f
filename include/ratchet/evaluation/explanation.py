"""Which features the scores come from: over all rows, and for single ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ratchet.errors import EmptyWindowError
from ratchet.evaluation.scored import Scored, finite, name_of, sample
from ratchet.evaluation.shapley import shapley_values
from ratchet.score import score_frame
from ratchet.specs import ModelSpec
from ratchet.statistics import measure

SHUFFLES, MOST_ROWS = 5, 5000  # of the permutation importance
BACKGROUND, MOST_EXPLAINED, MOST_SCORED = 20, 100, 100_000  # of SHAP: rows to mix with, rows, and rows scored in all
SHAP, LEFT_OUT = "shap", "left out"
REASON = ["row", "score_column", "score", "rank", "feature", "value", "effect", "method"]


@dataclass(frozen=True)
class Effects:
    """`values`, of shape (rows, features, score columns): what each feature adds to a score, in units of the score.

    method "shap": Shapley values; they add up to the score less the mean score of the background. "left out": the score
    less what it is with that feature alone missing; these need not add up to anything.
    """

    values: np.ndarray
    scores: pd.DataFrame
    method: str

    def likeliest(self) -> np.ndarray:
        """The number of the score column that is explained: the highest one, a row."""
        return self.scores.to_numpy().argmax(axis=1)


def measure_importance(estimator, scored: Scored) -> tuple[dict[str, float], pd.DataFrame]:
    """Permutation importance: by how much the spec's metric gets worse, in its units, when one feature's values are
    shuffled over the rows (Breiman, "Random forests", Machine Learning 45, 2001). Features that tell the same story
    stand in for one another, so that each alone looks less important than it is.

    On at most 5,000 rows drawn by the spec's seed; five shuffles over all of them, not within days. Table: feature,
    drop (mean), low, high (the least and the greatest of the five), the most important first. Numbers:
    importance.<feature>.
    """
    from sklearn.inspection import permutation_importance

    spec, rows = scored.spec, sample(scored.rows, MOST_ROWS, scored.spec.seed)
    sign = 1 if spec.problem.success.higher_is_better else -1

    def scorer(fitted, features: pd.DataFrame, label: pd.Series) -> float:
        return sign * measure(scored.metric, label, score_frame(fitted, features, spec), rows["day"]).value

    told = {"scoring": scorer, "n_repeats": SHUFFLES, "random_state": spec.seed}
    try:
        drops = permutation_importance(estimator, rows[spec.features], rows["label"], **told).importances
    except EmptyWindowError:  # too few of one class among the rows drawn
        return {}, pd.DataFrame(columns=["feature", "drop", "low", "high"])
    table = pd.DataFrame({"feature": spec.features, "drop": drops.mean(axis=1)})
    table = table.assign(low=drops.min(axis=1), high=drops.max(axis=1))
    numbers = {name_of("importance", name): drop for name, drop in zip(spec.features, table["drop"], strict=True)}
    return finite(numbers), table.sort_values(["drop", "feature"], ascending=[False, True], ignore_index=True)


def explain_scores(estimator, scored: Scored) -> dict[str, pd.DataFrame]:
    """What moves the scores of at most 100 rows, drawn by the spec's seed. Tables:

    effects: feature, effect (the mean of its size over these rows), method, the greatest first. reasons: as
    `top_reasons`, the five of the row with the highest score, the middle one and the lowest; `row` says which.
    effects_by_row, to draw from: as reasons, of all the rows and all features.
    """
    spec = scored.spec
    rows = sample(scored.rows, MOST_EXPLAINED, spec.seed)
    effects = effects_of(estimator, rows, spec, scored.rows)
    order = np.argsort(effects.scores.to_numpy()[:, 0], kind="stable")
    shown = {"highest score": order[-1], "middle score": order[len(order) // 2], "lowest score": order[0]}
    return {
        "effects": _overall(effects, spec),
        "reasons": _reasons(effects, rows, spec, 5, shown),
        "effects_by_row": _reasons(effects, rows, spec, len(spec.features), {at: at for at in range(len(rows))}),
    }


def _overall(effects: Effects, spec: ModelSpec) -> pd.DataFrame:
    """Of all score columns together."""
    sizes = np.abs(effects.values).mean(axis=0).sum(axis=1)
    table = pd.DataFrame({"feature": spec.features, "effect": sizes, "method": effects.method})
    return table.sort_values(["effect", "feature"], ascending=[False, True], ignore_index=True)


def top_reasons(
    estimator, rows: pd.DataFrame, spec: ModelSpec, k: int = 5, background: pd.DataFrame | None = None
) -> pd.DataFrame:
    """The k features that move each row's score most. Columns: row (its label in the index), score_column (that of the
    likeliest class of a multiclass model), score, rank, feature, value, effect, method: see Effects for the methods.

    SHAP against 20 rows drawn of `background` (such as the validate window); without one, or where that would take
    more than 100,000 rows to score, each feature is left out in turn. A feature without an effect is no reason: a model
    that looks at nothing has none. The first 100 rows are explained, no more.
    """
    rows = rows.iloc[:MOST_EXPLAINED]
    effects = effects_of(estimator, rows, spec, background)
    return _reasons(effects, rows, spec, k, {name: at for at, name in enumerate(rows.index)})


def effects_of(estimator, rows: pd.DataFrame, spec: ModelSpec, background: pd.DataFrame | None) -> Effects:
    """The effects of the features on these rows, by SHAP where there is a background and it is cheap."""
    scores = score_frame(estimator, rows, spec)
    if background is not None:
        background = sample(background, BACKGROUND, spec.seed)
        if len(rows) * len(background) * (2 * len(spec.features) + 1) <= MOST_SCORED:
            return Effects(shapley_values(estimator, rows, spec, background), scores, SHAP)
    without = (score_frame(estimator, rows.assign(**{name: _gone(rows[name])}), spec) for name in spec.features)
    return Effects(np.stack([(scores - other).to_numpy() for other in without], axis=1), scores, LEFT_OUT)


def _gone(column: pd.Series) -> pd.Series:
    return column.mask(np.ones(len(column), dtype=bool))


def _reasons(
    effects: Effects, rows: pd.DataFrame, spec: ModelSpec, k: int, shown: Mapping[object, int]
) -> pd.DataFrame:
    """A line for each of the k largest effects of the rows at these places, by the names they are shown under."""
    likeliest, lines = effects.likeliest(), []
    for row, at in shown.items():
        column = likeliest[at]
        effect = effects.values[at, :, column]
        order = [i for i in np.argsort(-np.abs(effect), kind="stable")[:k] if effect[i]]
        for rank, feature in enumerate((spec.features[i] for i in order), start=1):
            head = [row, spec.score_columns[column], float(effects.scores.iat[at, column]), rank]
            value, of_feature = rows[feature].iloc[at], float(effect[spec.features.index(feature)])
            lines.append([*head, feature, "(missing)" if pd.isna(value) else value, of_feature, effects.method])
    return pd.DataFrame(lines, columns=REASON)
