"""Model versions, their aliases and their files."""

from __future__ import annotations

import fcntl
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import mlflow
from mlflow.exceptions import MlflowException

from ratchet.errors import ModelFileError, RegistryError
from ratchet.failpoints import failpoint
from ratchet.model_files import check_model, model_digest
from ratchet.registry.client import Client, create, plain, without_password
from ratchet.registry.runs import ATTEMPT, DIGEST, MODEL_ID

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

IDENTITY = "ratchet.identity"
log = logging.getLogger(__name__)


class Versions(Client):
    """Versions by model and number; the ledger knows which of them are challengers."""

    def register(self, model: str, run_id: str, identity: str, digest: str, tags: Mapping[str, str]) -> int:
        """The number of the model version of that identity, made from the run's saved model if there is none yet.

        `digest`: of the model files, as the ledger has it. They are read back and checked first: no version without
        its artifact, and none that only says it is ours. Of two made at the same moment the lower number counts (see
        `delete_doubles`). Raises ModelFileError when the files are not those that the run saved.
        """
        with self._errors(f"{model} can't be registered"):
            model_id = self._client.get_run(run_id).data.tags.get(MODEL_ID)
            source = f"models:/{model_id}"
            self._check_files(source, digest, f"run {run_id}")
            if found := self._version_of(model, identity, source):
                return found
            create(lambda: self._client.create_registered_model(model), lambda: self._registered(model))
            failpoint("registry.before_version")
            tags = {**tags, IDENTITY: identity, DIGEST: digest, ATTEMPT: uuid4().hex}
            made = create(
                lambda: self._client.create_model_version(model, source, run_id, tags=tags, model_id=model_id),
                lambda: next(iter(self._tagged(model, ATTEMPT, tags[ATTEMPT])), None),
            )
            failpoint("registry.after_version")
            return self._version_of(model, identity, source) or int(made.version)

    def delete_doubles(self, model: str, identity: str, digest: str, keep: Collection[int]) -> list[int]:
        """Deletes versions of that identity and these files which are not among those to `keep`: an attempt that raced
        another and was killed left them. Returns their numbers. A version of other files is nobody's double."""
        doubles = []
        with self._errors(f"the versions of {model} can't be cleared"):
            for one in self._tagged(model, IDENTITY, identity):
                if int(one.version) not in keep and one.tags.get(DIGEST) == digest:
                    failpoint("registry.before_delete")
                    doubles.append(int(one.version))
                    with suppress(MlflowException):  # it is gone already: somebody else clears, too
                        self._client.delete_model_version(model, one.version)
        return doubles

    def versions(self, model: str) -> list[int]:
        """The numbers of the model's versions, in order; [] for an unknown model."""
        with self._errors(f"the versions of {model} can't be read"):
            found = self._client.search_model_versions(f"name = '{plain(model)}'", max_results=10_000)
        return sorted(int(version.version) for version in found)

    def set_alias(self, model: str, alias: str, version: int) -> None:
        with self._errors(f"alias {alias!r} of {model} can't be set"):
            self._client.set_registered_model_alias(model, alias, str(version))

    def delete_alias(self, model: str, alias: str) -> None:
        with self._errors(f"alias {alias!r} of {model} can't be deleted"):
            self._client.delete_registered_model_alias(model, alias)

    def alias_version(self, model: str, alias: str) -> int | None:
        """The version that the alias names; None without such an alias or model."""
        with self._errors(f"the aliases of {model} can't be read"):
            registered = self._registered(model)
        found = (registered.aliases if registered else {}).get(alias)
        return None if found is None else int(found)

    def download(self, model: str, version: int, folder: Path) -> Path:
        """The files of a version, in a folder below `folder` named by their digest. Reads, builds nothing of them.

        What they are worth, `load_model` says, with the digest that the ledger holds.
        """
        with self._errors(f"version {version} of {model} can't be read"):
            source = self._client.get_model_version(model, str(version)).source
        return self._fetch(source, Path(folder))

    def download_run(self, run_id: str, folder: Path) -> Path:
        """The model files that a candidate's run saved, as `download` gives those of a version."""
        with self._errors(f"run {run_id} can't be read"):
            model_id = self._client.get_run(run_id).data.tags.get(MODEL_ID)
        return self._fetch(f"models:/{model_id}", Path(folder))

    def _version_of(self, model: str, identity: str, source: str) -> int | None:
        """The version of that identity made from that logged model; of several the lowest number, which is the same for
        all who look. Anybody may tag a version as they like: one from elsewhere is told of, and nothing is fetched."""
        for found in self._tagged(model, IDENTITY, identity):
            if found.source == source:
                return int(found.version)
            log.warning("version %s of %s only says it is ours: it is from %s", found.version, model, found.source)
        return None

    def _tagged(self, model: str, tag: str, value: str) -> list[ModelVersion]:
        found = self._client.search_model_versions(f"name = '{plain(model)}' and tags.`{tag}` = '{plain(value)}'")
        return sorted(found, key=lambda version: int(version.version))

    def _registered(self, model: str):
        try:
            return self._client.get_registered_model(model)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise

    def _check_files(self, source: str, digest: str, whose: str) -> None:
        """Reads the files again: they are those of that digest, and `load_model` would take them. Others are not
        parsed: who can write there may have put anything."""
        with tempfile.TemporaryDirectory() as folder:
            files = self._fetch(source, Path(folder))
            if (seen := model_digest(files)) != digest:
                raise ModelFileError(
                    "model files that are not those that were saved",
                    seen=seen,
                    expected=digest,
                    where=whose,
                    hint="find out who changed them, and train again",
                )
            check_model(files)

    def _fetch(self, source: str, folder: Path) -> Path:
        """Download a logged model to `folder`/<digest>, whole or not at all."""
        if not re.fullmatch(r"models:/m-[0-9a-f]+", source):
            raise ModelFileError(
                "a model version that does not point at a logged model",
                seen=source,
                expected="models:/m-...",
                where=without_password(self.tracking_uri),
                hint="train and register again; look at who made this version",
            )
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".part-") as part:
            files = Path(part) / "files"
            files.mkdir()
            with self._errors(f"{source} can't be downloaded"):
                _download(source, files, self.tracking_uri)
            (files / "registered_model_meta").unlink(missing_ok=True)  # MLflow's client adds it on the way
            return _put(files, folder / model_digest(files))


def _download(source: str, files: Path, tracking_uri: str) -> None:
    try:
        mlflow.artifacts.download_artifacts(artifact_uri=source, dst_path=str(files), tracking_uri=tracking_uri)
    except ValueError as error:  # how MLflow says that its files lie at an address that it can't read
        raise RegistryError(
            f"{source} can't be downloaded",
            seen=without_password(str(error))[:500],
            where=without_password(tracking_uri),
            hint="look at the artifact location of its experiment in MLflow's UI; nothing was decided",
        ) from None


def _put(files: Path, target: Path) -> Path:
    """Move `files` to `target`, a folder named by their digest, one process at a time: what lies there whole stays, as
    others may be reading it."""
    with _locked(target.parent):
        with suppress(ModelFileError):
            if target.exists() and model_digest(target) == target.name:
                return target
        shutil.rmtree(target, ignore_errors=True)
        files.rename(target)
    return target


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """A lock of the folder itself, on this machine, let go of when the process ends."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
