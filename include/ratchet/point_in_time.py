"""Does a feature know what was not known yet? Asked of the feature function by taking the future away from it.

A row's features, made from all that the lake holds of its day, must be the same when everything is cut off that came
after the instant for which the row is scored. One that changes has looked ahead: it is worth more on past data than it
will ever be in service. (Metamorphic testing; for the kinds of leak see Kaufman, Rosset and Perlich, "Leakage in Data
Mining", ACM TKDD 6(4), 2012.) What the spec does not say (`predicted_at`, `happens_at`, `known_later`) is not cut.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ratchet.errors import SpecError
from ratchet.snapshot import build_inputs

if TYPE_CHECKING:
    from ratchet.published import Published
    from ratchet.specs import DatasetSpec, ModelSpec


def future_features(
    spec: ModelSpec,
    dataset_specs: Mapping[str, DatasetSpec],
    published: Published,
    first: str,
    last: str,
    as_of: str | None = None,
    *,
    rows: int = 20,
) -> list[str]:
    """The features, in the spec's order, that change for one of `rows` rows of the days `first` to `last` (spread over
    them by the spec's seed) when what happened later is cut off. [] also where the spec names no `predicted_at`.

    Raises SpecError when a column that the spec names for it is not in its dataset.
    """
    if spec.predicted_at is None:
        return []
    _check_columns(spec, dataset_specs)
    built = build_inputs(spec, dataset_specs, published, first, last, as_of)
    key, found = dataset_specs[spec.scored_dataset].key, set()
    instants = _instants(spec, published, first, last, built, key)
    for at in np.random.default_rng(spec.seed).choice(len(built), min(rows, len(built)), replace=False):
        whole, day = built.iloc[int(at)], built["day"].iloc[int(at)]
        cut = _Until(spec, published, instants.iloc[int(at)])
        alone = build_inputs(spec, dataset_specs, cut, day, day, as_of)
        same_row = (alone[key] == whole[key].to_list()).all(axis="columns")
        for name in spec.features:
            if not _equal(alone.loc[same_row, name].iloc[0], whole[name]):
                found.add(name)
    return [name for name in spec.features if name in found]


class _Until:
    """The published datasets, less what happened after an instant."""

    def __init__(self, spec: ModelSpec, published: Published, at: pd.Timestamp) -> None:
        self._spec, self._published, self._at = spec, published, at

    def read(self, dataset: str, first: str | None, last: str, before) -> tuple:
        frame, *rest = self._published.read(dataset, first, last, before)
        wanted = self._spec.inputs[dataset]
        happens_at = self._spec.predicted_at if dataset == self._spec.scored_dataset else wanted.happens_at
        if happens_at and len(frame):
            frame = frame[frame[happens_at] <= self._at].reset_index(drop=True)
        later = [name for name in wanted.known_later if name in frame]
        return frame.assign(**{name: frame[name].where(frame[name].isna()) for name in later}), *rest


def _instants(spec: ModelSpec, published: Published, first: str, last: str, built: pd.DataFrame, key: list[str]):
    """For each row of `built` the instant for which it is scored."""
    scored, *_ = published.read(spec.scored_dataset, first, last, None)
    wanted = [*dict.fromkeys([*key, spec.predicted_at])]
    return built[key].merge(scored[wanted].drop_duplicates(key), on=key, how="left")[spec.predicted_at]


def _check_columns(spec: ModelSpec, dataset_specs: Mapping[str, DatasetSpec]) -> None:
    named = {
        name: [column for column in (one.happens_at, *one.known_later) if column] for name, one in spec.inputs.items()
    }
    named[spec.scored_dataset].append(spec.predicted_at)
    for dataset, columns in named.items():
        if missing := sorted(set(columns) - set(dataset_specs[dataset].columns)):
            raise SpecError(
                f"{spec.name} speaks of columns that {dataset} doesn't have",
                seen=missing,
                expected=sorted(dataset_specs[dataset].columns),
                where=f"include/models/{spec.name}.yaml",
                hint="mend predicted_at, happens_at or known_later",
            )


def _equal(a: object, b: object) -> bool:
    return bool(a == b) or (pd.isna(a) and pd.isna(b))
