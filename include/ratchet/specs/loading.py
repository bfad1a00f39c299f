"""Reading a folder of specs: the good ones, and the errors of the bad ones side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Generic, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from ratchet.errors import SpecError, UnknownNameError
from ratchet.specs.base import Strict
from ratchet.specs.dataset import DatasetSpec
from ratchet.specs.model import ModelSpec

S = TypeVar("S", bound=Strict)


class Loaded(BaseModel, Generic[S]):
    """The specs of one folder: `good` by name, and an error for each file that could not be used."""

    good: dict[str, S]
    errors: dict[str, str]

    def get(self, name: str, kind: str) -> S:
        """The spec of that name. Raises UnknownNameError naming those there are."""
        if name in self.good:
            return self.good[name]
        if name in self.errors:
            raise SpecError(
                f"{kind} {name!r} has a spec that can't be used", seen=self.errors[name], hint="mend the file"
            )
        raise UnknownNameError(
            f"no {kind} named {name!r}", expected=f"one of {sorted(self.good)}", hint=f"add include/{kind}s/{name}.yaml"
        )


def load_dataset_specs(folder: Path) -> Loaded[DatasetSpec]:
    return _load(folder, DatasetSpec)


def load_model_specs(folder: Path) -> Loaded[ModelSpec]:
    return _load(folder, ModelSpec)


def _load(folder: Path, kind: type[S]) -> Loaded[S]:
    good, errors = {}, {}
    for path in sorted(Path(folder).glob("*.yaml")):
        try:
            raw = yaml.safe_load(path.read_text("utf-8"))
            if not isinstance(raw, dict):
                raise ValueError("the file holds no mapping")
            good[path.stem] = kind.model_validate({"name": path.stem, **raw})
            if good[path.stem].name != path.stem:
                raise ValueError(f"name {good[path.stem].name!r} differs from the file's name {path.stem!r}")
        except (ValidationError, ValueError, yaml.YAMLError, OSError) as error:
            good.pop(path.stem, None)
            errors[path.stem] = f"{path.name}: {error}"
    return Loaded[kind](good=good, errors=errors)
