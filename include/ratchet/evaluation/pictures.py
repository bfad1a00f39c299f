"""The tables of an evaluation as PNGs, without a display. Matplotlib is imported by this module alone, when it draws.

Text from the data is drawn as it stands, cut to 24 characters: "$" starts no formula.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLUE, ORANGE, GREY = "#2a5d9f", "#c8621b", "#8a93a3"
WIDTH, DPI, MOST_LINES, LONGEST = 6.4, 110, 20, 24


def draw(tables: Mapping[str, pd.DataFrame], about: Mapping) -> dict[str, bytes]:
    """PNG by name, of each table that has something to show: reliability, slices, fairness, robustness, importance,
    shap and value. `tables` as in ratchet.evaluation.result, and effects_by_row and value_curve beside them."""
    return {
        name: png(lambda ax, paint=paint, table=tables[of]: paint(ax, table, about), height(tables[of]))
        for name, of, paint, height in _PICTURES
        if len(tables.get(of, ()))
    }


def png(paint: Callable[[Axes], None], height: float) -> bytes:
    """What `paint` draws, WIDTH by `height` inches: on the axes that it is given, or on others of their figure."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    buffer = io.BytesIO()
    with rc_context({"text.parse_math": False, "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        FigureCanvasAgg(figure)
        ax = figure.add_subplot()
        paint(ax)
        figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()


def _reliability(ax: Axes, table: pd.DataFrame, about: Mapping) -> None:
    low, high = (table[end].astype(float).fillna(table["value"]) for end in ("low", "high"))
    ends = [*table["predicted"], *table["value"], *low, *high]
    margin = 0.04 * (max(ends) - min(ends)) or 0.1
    limits = (min(ends) - margin, max(ends) + margin)
    ax.plot(limits, limits, color=GREY, linestyle="--", linewidth=1, label="perfect")
    _points(ax, table["predicted"], table["value"], low, high, vertical=True)
    said = {"binary": "share of positives", "multiclass": "share that came true", "regression": "mean value"}
    ax.set(
        xlim=limits, ylim=limits, xlabel="predicted, mean of the bin", ylabel=f"{said[about['task']]}, 95 % interval"
    )
    ax.set_title("Calibration: bins of equally many rows")
    ax.legend(frameon=False, loc="upper left")


def _slices(ax: Axes, table: pd.DataFrame, about: Mapping) -> None:
    shown = table[table["value"].notna()].head(MOST_LINES)
    low, high = (shown[end].astype(float) for end in ("low", "high"))
    colours = [ORANGE if line.worst else BLUE if line.decides else GREY for line in shown.itertuples()]
    _points(ax, np.arange(len(shown)), shown["value"].astype(float), low, high, colours=colours)
    names = [f"{line.column} = {_cut(line.group)} ({line.rows:,})" for line in shown.itertuples()]
    _lines(
        ax, names, f"{about['metric']}, 95 % interval; orange: the worst, grey: too small to decide", "Slices (rows)"
    )


def _fairness(ax: Axes, table: pd.DataFrame, about: Mapping) -> None:
    shown = table.head(MOST_LINES)
    for name, colour, off in (("selection_rate", BLUE, -0.12), ("true_positive_rate", ORANGE, 0.12)):
        at = np.arange(len(shown)) + off
        low, high = (shown[f"{name}_{end}"].astype(float) for end in ("low", "high"))
        _points(ax, at, shown[name].astype(float), low, high, colours=colour, label=name.replace("_", " "))
    several = shown["decision"].nunique() > 1
    names = [
        f"{line.column} = {_cut(line.group)} ({line.rows:,})" + (f": {_cut(line.decision)}" if several else "")
        for line in shown.itertuples()
    ]
    _lines(ax, names, "share of the group's rows, and of its positives, 95 % interval", "Who is selected (rows)")
    ax.figure.legend(frameon=False, loc="outside lower center", ncols=2)


def _robustness(ax: Axes, table: pd.DataFrame, about: Mapping) -> None:
    drop, low, high = (table[name].astype(float) for name in ("drop", "low", "high"))
    ax.axvline(0, color=GREY, linewidth=1)
    _points(ax, np.arange(len(table)), drop, low, high)
    _lines(ax, list(table["what"]), f"{about['metric']} gets worse by, 95 % interval", "Inputs spoilt")


def _importance(ax: Axes, table: pd.DataFrame, about: Mapping) -> None:
    shown = table.head(MOST_LINES)
    ax.axvline(0, color=GREY, linewidth=1)
    ax.barh(np.arange(len(shown)), shown["drop"], color=BLUE, height=0.6)
    ax.hlines(np.arange(len(shown)), shown["low"], shown["high"], color=ORANGE, linewidth=2)
    says = f"{about['metric']} gets worse by, when shuffled; orange: least to most of five shuffles"
    _lines(ax, [_cut(name) for name in shown["feature"]], says, "Permutation importance")


def _shap(ax: Axes, table: pd.DataFrame, about: Mapping) -> None:
    sizes = table["effect"].abs().groupby(table["feature"]).sum().sort_values(ascending=False, kind="stable")
    ax.axvline(0, color=GREY, linewidth=1)
    jitter = np.random.default_rng(0)
    for at, feature in enumerate(sizes.index[:MOST_LINES]):
        of_feature = table[table["feature"] == feature]
        height = at + jitter.uniform(-0.25, 0.25, len(of_feature))
        numbers = pd.to_numeric(of_feature["value"], errors="coerce")
        ax.scatter(of_feature["effect"], height, c=_blue_to_red(numbers), s=9)
    says = "effect on the score, a dot a row; blue: low value, red: high, grey: category or missing"
    _lines(ax, [_cut(name) for name in sizes.index[:MOST_LINES]], says, f"What moves single scores ({_method(table)})")


def _value(ax: Axes, table: pd.DataFrame, about: Mapping) -> None:
    ax.plot(table["threshold"], table["cost"], color=BLUE)
    ax.axvline(about["threshold"], color=ORANGE, linewidth=1, label=f"threshold {about['threshold']:.3g}")
    ax.set(
        xlabel="threshold: rows with this score or more are acted on",
        ylabel=f"{_cut(table['unit'].iloc[0])} per 1,000 rows",
    )
    ax.set_ylim(bottom=0)
    ax.set_title("Cost of the decisions")
    ax.legend(frameon=False)


def _points(ax: Axes, at, value, low, high, *, vertical: bool = False, colours=BLUE, label: str | None = None) -> None:
    """Dots with their intervals."""
    lines, dots = (ax.vlines, (at, value)) if vertical else (ax.hlines, (value, at))
    lines(at, low, high, color=colours, linewidth=1.5, alpha=0.6)
    ax.scatter(*dots, color=colours, s=22, zorder=3, label=label)


def _lines(ax: Axes, names: list[str], says: str, title: str) -> None:
    ax.set_yticks(np.arange(len(names)), names)
    ax.set_ylim(len(names) - 0.4, -0.6)  # the first line on top
    ax.set_xlabel(says)
    ax.set_title(title)


def _blue_to_red(values: pd.Series) -> list:
    """By rank; grey for what is no number."""
    from matplotlib import colormaps

    return [GREY if np.isnan(rank) else colormaps["coolwarm"](rank) for rank in values.rank(pct=True)]


def _method(table: pd.DataFrame) -> str:
    return "SHAP" if table["method"].iloc[0] == "shap" else "each feature left out in turn"


def _cut(text: object) -> str:
    text = " ".join(str(text).split())
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _by_lines(table: pd.DataFrame) -> float:
    return 1.2 + 0.24 * min(len(table), MOST_LINES)


def _by_features(table: pd.DataFrame) -> float:
    return 1.2 + 0.24 * min(table["feature"].nunique(), MOST_LINES)


def _square(table: pd.DataFrame) -> float:
    return 4.2


_PICTURES = (
    ("reliability", "calibration", _reliability, _square),
    ("slices", "slices", _slices, _by_lines),
    ("fairness", "fairness_rates", _fairness, _by_lines),
    ("robustness", "robustness", _robustness, _by_lines),
    ("importance", "importance", _importance, _by_features),
    ("shap", "effects_by_row", _shap, _by_features),
    ("value", "value_curve", _value, _square),
)
