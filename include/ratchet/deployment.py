"""The composition root: picks the adapters by the settings and hands them to the stages.

Nothing heavy is imported until it is asked for, so that a DAG file may hold a Deployment's specs at parse time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from ratchet.digests import digest_of, file_digest, source_digest
from ratchet.errors import SpecError
from ratchet.settings import Settings, get_settings
from ratchet.specs import DatasetSpec, ModelSpec, check_instants, load_dataset_specs, load_model_specs

if TYPE_CHECKING:
    from ratchet.drops import DropStore
    from ratchet.lake import Lake
    from ratchet.ledger import Ledger
    from ratchet.published import Published
    from ratchet.registry import Registry
    from ratchet.storage import Storage


@dataclass(frozen=True)
class Deployment:
    """One installation of Ratchet: its specs, and its adapters to lake, landing, ledger and registry."""

    settings: Settings

    @cached_property
    def datasets(self):
        return load_dataset_specs(self.settings.dataset_specs)

    @cached_property
    def models(self):
        """The model specs; one that speaks of a dataset without a usable spec, or of columns that a dataset doesn't
        have, counts as wrong itself."""
        loaded = load_model_specs(self.settings.model_specs)
        for name, spec in list(loaded.good.items()):
            try:
                _check_datasets(spec, self.datasets.good)
            except SpecError as error:
                loaded.errors[name] = f"{name}.yaml: {error}"
                del loaded.good[name]
        return loaded

    def dataset(self, name: str) -> DatasetSpec:
        """The dataset's spec. Raises UnknownNameError, or SpecError when its file is wrong."""
        return self.datasets.get(name, "dataset")

    def model(self, name: str) -> ModelSpec:
        """The model's spec. Raises UnknownNameError, or SpecError when its file is wrong."""
        return self.models.get(name, "model")

    def suite(self, dataset: str):
        """The path of the dataset's expectation suite."""
        return self.settings.suites / f"{dataset}.json"

    @cached_property
    def storage(self) -> Storage:
        """Where landing zone (`landing`) and lake (`lake`) lie."""
        from ratchet.storage import open_storage

        return open_storage(self.settings.storage or self.settings.var)

    @cached_property
    def drops(self) -> DropStore:
        from ratchet.drops import DropStore

        return DropStore(self.storage.below("landing"))

    @cached_property
    def lake(self) -> Lake:
        from ratchet.lake import Lake

        return Lake(self.storage.below("lake"))

    @cached_property
    def published(self) -> Published:
        """The datasets in the lake, by the ledger's record."""
        from ratchet.published import Published

        return Published(self.lake, self.ledger)

    @cached_property
    def ledger(self) -> Ledger:
        from ratchet.ledger import open_ledger

        return open_ledger(self.settings)

    @cached_property
    def registry(self) -> Registry:
        from ratchet.registry import Registry

        return Registry(self.settings.mlflow_tracking_uri)

    def source_digest(self, spec: ModelSpec) -> str:
        """The identity of the code that makes a model: the library and the packages of the spec's functions, as they
        are imported from, wherever that is."""
        return source_digest(*self.source_packages(spec))

    def source_packages(self, spec: ModelSpec) -> list[str]:
        """The library, and the top packages of the spec's functions."""
        functions = (spec.feature_function, spec.label_function)
        return ["ratchet", *(name.split(":")[0].split(".")[0] for name in functions)]

    @cached_property
    def lock_digest(self) -> str:
        return file_digest(self.settings.lock_file)

    def recipe(self, spec: ModelSpec) -> str:
        """What, beside the data, decides which model comes out: spec, source, lock and seed."""
        return digest_of([spec.model_dump(mode="json"), self.source_digest(spec), self.lock_digest, spec.seed])


def _check_datasets(spec: ModelSpec, datasets: Mapping[str, DatasetSpec]) -> None:
    if unknown := {*spec.inputs, spec.outcome_dataset, *spec.score_when.complete} - set(datasets):
        raise SpecError(
            f"no usable dataset spec named {sorted(unknown)}", seen=sorted(datasets), hint="add it, or mend the name"
        )
    check_instants(spec, datasets)


def get_deployment() -> Deployment:
    """The deployment that this process's environment describes."""
    return Deployment(get_settings())
