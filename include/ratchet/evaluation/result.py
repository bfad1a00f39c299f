"""What an evaluation found, and as what it goes on record."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas as pd


@dataclass(frozen=True)
class Evaluation:
    """`numbers`: flat and finite, by names that MLflow takes. `tables`: small ones. `pictures`: PNGs, by name.

    `tables` and the names in them: performance, slices, calibration, fairness and fairness_rates, robustness,
    importance, effects and reasons, serving, value; each as the module of that aspect says. `about`: the rows that all
    this is of: task, metric, threshold, rows, days, first_day, last_day.
    """

    numbers: dict[str, float]
    tables: dict[str, pd.DataFrame]
    pictures: dict[str, bytes] = field(default_factory=dict)
    about: dict = field(default_factory=dict)

    def as_record(self, pictures: Mapping[str, str] | None = None) -> dict:
        """Goes through JSON: about, numbers, tables as lists of {column: value}, and pictures as data URIs, or as the
        addresses given. What is missing in a table is None."""
        uris = {name: "data:image/png;base64," + base64.b64encode(png).decode() for name, png in self.pictures.items()}
        return {
            "about": self.about,
            "numbers": self.numbers,
            "tables": {
                name: json.loads(table.to_json(orient="records", double_precision=15))
                for name, table in self.tables.items()
            },
            "pictures": dict(uris if pictures is None else pictures),
        }
