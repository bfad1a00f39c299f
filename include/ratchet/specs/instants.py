"""Does a model's spec say rightly what was known when? Asked with the datasets' specs at hand."""

from __future__ import annotations

from collections.abc import Mapping

from ratchet.errors import SpecError
from ratchet.specs.dataset import DatasetSpec
from ratchet.specs.model import START_OF_DAY, ModelSpec


def check_instants(spec: ModelSpec, dataset_specs: Mapping[str, DatasetSpec]) -> None:
    """Raises SpecError where predicted_at, happens_at, known_later or known_before name a column that their dataset
    doesn't have, or an instant that is no timestamp."""
    for name, one in spec.inputs.items():
        named = {column for column in (one.happens_at, *one.known_later, *one.known_before) if column}
        _must_have(spec, dataset_specs[name], named, {one.happens_at} - {None})
    if spec.predicted_at != START_OF_DAY:
        _must_have(spec, dataset_specs[spec.scored_dataset], {spec.predicted_at}, {spec.predicted_at})


def _must_have(spec: ModelSpec, dataset: DatasetSpec, named: set[str], instants: set[str]) -> None:
    where = f"include/models/{spec.name}.yaml"
    if missing := sorted(named - set(dataset.columns)):
        raise SpecError(
            f"{spec.name} speaks of columns that {dataset.name} doesn't have",
            seen=missing,
            expected=sorted(dataset.columns),
            where=where,
            hint=f"mend predicted_at (a column, or {START_OF_DAY}), happens_at, known_later or known_before",
        )
    if other := sorted(name for name in instants if dataset.columns[name] != "timestamp"):
        raise SpecError(
            f"{spec.name} takes for instants what are none",
            seen={name: dataset.columns[name] for name in other},
            expected=sorted(name for name, kind in dataset.columns.items() if kind == "timestamp") or "no column",
            where=where,
            hint=f"name a timestamp column of {dataset.name}, or say `predicted_at: {START_OF_DAY}`",
        )
