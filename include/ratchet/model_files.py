"""The one way a saved model is opened: digest first, then our own allow-lists, then skops. Nothing is ever unpickled.

MLflow's loaders are not used: an MLmodel file may name a `loader_module` and a `code` folder of its own, and
MLflow takes the list of trusted skops types from the very file that it should distrust. Here the lists are those of
ratchet.model_types.

A file is read once: what is digested, checked and built are the same bytes, so nothing can be swapped in between.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import re
import zipfile
import zlib
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import yaml

from ratchet import model_trees
from ratchet.digests import digest_of
from ratchet.errors import ModelFileError, OtherLibrariesError
from ratchet.model_types import ALLOWED_TYPES, TRUSTED_TYPES

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator

MODEL_FILE = "model.skops"
MLMODEL_FILE = "MLmodel"
FILES = frozenset({MODEL_FILE, MLMODEL_FILE, "conda.yaml", "python_env.yaml", "requirements.txt"})
MOST_MLMODEL_BYTES = 256 * 2**10  # of its description: some thousand columns
MOST_BYTES = 512 * 2**20  # of a folder, and of what its skops file unpacks to

OtherVersions = Literal["refuse", "warn"]
log = logging.getLogger(__name__)

_PLAIN_NAME = re.compile(r"schema\.json|\d+\.(npy|npz)")
_UNREADABLE = (
    *(AttributeError, KeyError, NotImplementedError, OSError, RecursionError, TypeError, ValueError),
    *(EOFError, RuntimeError, zipfile.BadZipFile, zlib.error),
)
_SKLEARN_KEYS = {"code", "pickled_model", "serialization_format", "sklearn_version", "skops_trusted_types"}
_PYFUNC_KEYS = {"code", "env", "loader_module", "model_path", "predict_fn", "python_version"}


def model_digest(folder: Path) -> str:
    """sha256, in hex, over names and bytes of all files of a saved model.

    Says whether the files are those that were registered; not whether two models are alike: skops writes other bytes
    at every save. Raises ModelFileError for a file that is not part of a saved model of ours.
    """
    return _digest(_read_folder(Path(folder)))


def model_bytes(folder: Path) -> int:
    """What the files of a saved model take. Not the same at each save: skops files hold addresses."""
    return sum(path.stat().st_size for path in Path(folder).iterdir())


def load_model(folder: Path, expected_digest: str, other_versions: OtherVersions = "refuse") -> BaseEstimator:
    """The estimator saved in `folder`, if its files are those of `expected_digest` and hold nothing but trusted types.

    `other_versions`: what becomes of a model that a scikit-learn of another minor version saved (see Settings): it may
    predict otherwise without a word. Raises OtherLibrariesError for it, and ModelFileError for files that are at fault,
    before anything of them has been built, let alone run.
    """
    folder = Path(folder)
    files = _read_folder(folder)
    if (seen := _digest(files)) != expected_digest:
        raise ModelFileError(
            "the model's files are not those that were registered",
            seen=seen,
            expected=expected_digest,
            where=folder,
            hint="roll back to a version whose files are whole, and find out who changed these",
        )
    saved_by = _check_flavors(files[MLMODEL_FILE], folder)
    _check_version(saved_by, folder, other_versions)
    return _build(files[MODEL_FILE], folder)


def check_model(folder: Path) -> str:
    """Whether `load_model` would take this folder, found without building anything. Returns its digest.

    Raises ModelFileError: run it before a model is logged or registered, so that the error comes at training and
    not at scoring.
    """
    folder = Path(folder)
    files = _read_folder(folder)
    _check_flavors(files[MLMODEL_FILE], folder)
    _check_types(files[MODEL_FILE], folder)
    return _digest(files)


def _read_folder(folder: Path) -> dict[str, bytes]:
    found = sorted(folder.rglob("*")) if folder.is_dir() else []
    names = {path.relative_to(folder).as_posix() for path in found}
    if not {MODEL_FILE, MLMODEL_FILE} <= names or names - FILES or any(path.is_symlink() for path in found):
        raise ModelFileError(
            "this is not a saved model of ours",
            seen=sorted(names),
            expected=f"{MLMODEL_FILE} and {MODEL_FILE}, nothing beyond {sorted(FILES)}, no links",
            where=folder,
            hint="train and register the model again",
        )
    if (size := sum(path.stat().st_size for path in found)) > MOST_BYTES:
        raise _refused("the model's files are too large", f"{size} bytes", f"at most {MOST_BYTES}", folder)
    return {path.name: path.read_bytes() for path in found}


def _digest(files: dict[str, bytes]) -> str:
    return digest_of([[name, hashlib.sha256(files[name]).hexdigest()] for name in sorted(files)])


def check_estimator(estimator: BaseEstimator) -> None:
    """Whether a fitted estimator can be saved as a model of ours and be loaded again. Writes nothing.

    Raises ModelFileError: ask before anything of it is logged.
    """
    import skops.io

    try:
        data = skops.io.dumps(estimator)
    except Exception as error:  # skops has errors of its own for some types, others fail where they are pickled
        raise _unsavable(repr(error)) from error
    try:
        _build(data, Path(f"({type(estimator).__name__}, not yet saved)"))
    except ModelFileError as error:
        raise _unsavable(f"{error.what}: {error.seen}") from error


def _check_version(saved_by: str, folder: Path, other_versions: OtherVersions) -> None:
    here = installed("scikit-learn")
    if saved_by.split(".")[:2] == here.split(".")[:2]:
        return
    error = OtherLibrariesError(
        "a model that another version of scikit-learn saved",
        seen=saved_by,
        expected=f"{here}, or another of the same minor version",
        where=folder,
        hint="put that version into this environment, or train the model again with this one, or set "
        "RATCHET_OTHER_MODEL_VERSIONS=warn to load it all the same",
    )
    if other_versions != "warn":
        raise error
    log.warning("%s", error)


def _check_flavors(mlmodel: bytes, folder: Path) -> str:
    """Only what MLflow writes for a skops model: no other flavour, no loader but its own, no code, no pickle. Returns
    the version of scikit-learn that saved it."""
    if (size := len(mlmodel)) > MOST_MLMODEL_BYTES:
        raise _refused("the MLmodel file is too large", f"{size} bytes", f"at most {MOST_MLMODEL_BYTES}", folder)
    try:
        flavors = dict(yaml.load(mlmodel, _NoAliases)["flavors"])
        sklearn, pyfunc = dict(flavors.pop("sklearn")), dict(flavors.pop("python_function", {}))
    except (yaml.YAMLError, AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise _refused("the MLmodel file can't be read", repr(error)[:500], "an sklearn flavour", folder) from error
    wanted = (
        not flavors
        and sklearn.keys() <= _SKLEARN_KEYS
        and pyfunc.keys() <= _PYFUNC_KEYS
        and (sklearn.get("serialization_format"), sklearn.get("pickled_model")) == ("skops", MODEL_FILE)
        and sklearn.get("code") is None
        and pyfunc.get("code") is None
        and pyfunc.get("loader_module", "mlflow.sklearn") == "mlflow.sklearn"
        and pyfunc.get("model_path", MODEL_FILE) == MODEL_FILE
    )
    if not wanted:
        seen = {"sklearn": sklearn, "python_function": pyfunc, **flavors}
        raise _refused(
            "the MLmodel file asks for more than a skops model",
            str(seen)[:500],
            "the sklearn flavour in skops format, no code",
            folder,
        )
    return str(sklearn.get("sklearn_version"))


class _NoAliases(yaml.SafeLoader):
    """Refuses aliases: a few lines of them can stand for more than memory holds."""

    def compose_node(self, parent, index):
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("an alias")
        return super().compose_node(parent, index)


def _build(data: bytes, folder: Path) -> BaseEstimator:
    import skops.io

    _check_types(data, folder)
    try:
        estimator = skops.io.loads(data, trusted=list(TRUSTED_TYPES))
    except Exception as error:  # whatever a crafted or broken file provokes in skops or scikit-learn is a refusal
        raise _refused("the model file can't be built", repr(error), "a skops file of this release", folder) from error
    if not model_trees.nodes_fit(estimator):
        raise _refused("a tree of the model points outside itself", "node indices out of range", "a grown tree", folder)
    return estimator


def _check_types(data: bytes, folder: Path) -> None:
    """Refuses a skops file that names a type outside ALLOWED_TYPES, or builds a tree from arguments that do not fit.
    Reads its schema only; builds nothing."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            _check_archive(archive, folder)
            schema = json.loads(archive.read("schema.json"))
            named = {
                f"{node.get('__module__')}.{node.get('__class__')}"
                for node in model_trees.walk(schema)
                if "__class__" in node or "__module__" in node
            }
            fits = named - ALLOWED_TYPES or model_trees.arguments_fit(schema, archive)
    except _UNREADABLE as error:
        raise _refused("the model file can't be read", repr(error), "a skops file", folder) from error
    if unknown := named - ALLOWED_TYPES:
        raise ModelFileError(
            "the model file holds types that we do not trust",
            seen=sorted(unknown),
            expected="only those of ratchet.model_types.ALLOWED_TYPES",
            where=folder,
            hint="if a new kind of estimator needs them: review what they do when built, then add them there",
        )
    if not fits:
        raise _refused("a tree of the model can't be built", "arguments that do not fit", "those of a tree", folder)


def _check_archive(archive: zipfile.ZipFile, folder: Path) -> None:
    """Each name once, as two readers may take different ones of two; plain names; no more than memory takes."""
    entries = archive.infolist()
    names = [entry.filename for entry in entries]
    if len(set(names)) < len(names) or not all(_PLAIN_NAME.fullmatch(name) for name in names):
        raise _refused("the model file holds files that skops doesn't write", sorted(names)[:20], "each once", folder)
    if (size := sum(entry.file_size for entry in entries)) > MOST_BYTES:
        raise _refused("the model file unpacks to too much", f"{size} bytes", f"at most {MOST_BYTES}", folder)


def _unsavable(seen: str) -> ModelFileError:
    return ModelFileError(
        "an estimator that can't be saved safely",
        seen=seen[:500],
        expected="only types of ratchet.model_types.ALLOWED_TYPES",
        hint="take another estimator or other params: docs/add-a-model.md names those that can be saved",
    )


def _refused(what: str, seen: object, expected: object, folder: Path) -> ModelFileError:
    return ModelFileError(
        what, seen=seen, expected=expected, where=folder, hint="do not load it by other means; train and register again"
    )
