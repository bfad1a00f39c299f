"""The one way a saved model is opened: digest first, then our own allow-lists, then skops. Nothing is ever unpickled.

MLflow's loaders are not used: an MLmodel file may name a `loader_module` and a `code` folder of its own, and
MLflow takes the list of trusted skops types from the very file that it should distrust. Here the lists are this
module's. To offer a new kind of estimator, review what its types do when built from a file, then add their names.

A file is read once: what is digested, checked and built are the same bytes, so nothing can be swapped in between.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from ratchet.digests import digest_of
from ratchet.errors import ModelFileError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sklearn.base import BaseEstimator

MODEL_FILE = "model.skops"
MLMODEL_FILE = "MLmodel"
FILES = frozenset({MODEL_FILE, MLMODEL_FILE, "conda.yaml", "python_env.yaml", "requirements.txt"})
MOST_BYTES = 512 * 2**20  # of a folder, and of what its skops file unpacks to

# Types that skops does not trust by itself and we do, after review: they only hold arrays, or name check_array.
TRUSTED_TYPES = (
    "functools.partial",
    "numpy.dtype",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",  # its nodes are checked: see _check_trees
    "sklearn.utils.validation.check_array",
)

# Every type that a model file of ours may hold: shorter than skops' own list, which trusts all of scikit-learn.
ALLOWED_TYPES = frozenset(TRUSTED_TYPES) | {
    "builtins.bool",
    "builtins.dict",
    "builtins.float",
    "builtins.int",
    "builtins.list",
    "builtins.slice",
    "builtins.str",
    "builtins.tuple",
    "numpy.bool",
    "numpy.float32",
    "numpy.float64",
    "numpy.int32",
    "numpy.int64",
    "numpy.ndarray",
    "numpy.random._generator.Generator",
    "numpy.uint64",
    "numpy.uint8",
    "sklearn._loss._loss.CyHalfBinomialLoss",
    "sklearn._loss.link.Interval",
    "sklearn._loss.link.LogitLink",
    "sklearn._loss.loss.HalfBinomialLoss",
    "sklearn.compose._column_transformer.ColumnTransformer",
    "sklearn.dummy.DummyClassifier",
    "sklearn.ensemble._hist_gradient_boosting.binning._BinMapper",
    "sklearn.ensemble._hist_gradient_boosting.gradient_boosting.HistGradientBoostingClassifier",
    "sklearn.impute._base.MissingIndicator",
    "sklearn.impute._base.SimpleImputer",
    "sklearn.linear_model._logistic.LogisticRegression",
    "sklearn.pipeline.Pipeline",
    "sklearn.preprocessing._data.StandardScaler",
    "sklearn.preprocessing._encoders.OneHotEncoder",
    "sklearn.preprocessing._encoders.OrdinalEncoder",
    "sklearn.preprocessing._function_transformer.FunctionTransformer",
    "sklearn.preprocessing._label.LabelEncoder",
}

_SKLEARN_KEYS = {"code", "pickled_model", "serialization_format", "sklearn_version", "skops_trusted_types"}
_PYFUNC_KEYS = {"code", "env", "loader_module", "model_path", "predict_fn", "python_version"}


def model_digest(folder: Path) -> str:
    """sha256, in hex, over names and bytes of all files of a saved model.

    Says whether the files are those that were registered; not whether two models are alike: skops writes other bytes
    at every save. Raises ModelFileError for a file that is not part of a saved model of ours.
    """
    return _digest(_read_folder(Path(folder)))


def load_model(folder: Path, expected_digest: str) -> BaseEstimator:
    """The estimator saved in `folder`, if its files are those of `expected_digest` and hold nothing but trusted types.

    Raises ModelFileError before anything of the file has been built, let alone run.
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
    _check_flavors(files[MLMODEL_FILE], folder)
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


def _check_flavors(mlmodel: bytes, folder: Path) -> None:
    """Only what MLflow writes for a skops model: no other flavour, no loader but its own, no code, no pickle."""
    try:
        flavors = dict(yaml.safe_load(mlmodel)["flavors"])
        sklearn, pyfunc = dict(flavors.pop("sklearn")), dict(flavors.pop("python_function", {}))
    except (yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise _refused("the MLmodel file can't be read", repr(error), "an sklearn flavour", folder) from error
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
            seen,
            "the sklearn flavour in skops format, no code",
            folder,
        )


def _build(data: bytes, folder: Path) -> BaseEstimator:
    import skops.io

    _check_types(data, folder)
    try:
        estimator = skops.io.loads(data, trusted=list(TRUSTED_TYPES))
    except Exception as error:  # whatever a crafted or broken file provokes in skops or scikit-learn is a refusal
        raise _refused("the model file can't be built", repr(error), "a skops file of this release", folder) from error
    _check_trees(estimator, folder)
    return estimator


def _check_types(data: bytes, folder: Path) -> None:
    """Refuses a skops file that names a type outside ALLOWED_TYPES. Reads its schema only; builds nothing."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if (size := sum(entry.file_size for entry in archive.infolist())) > MOST_BYTES:
                raise _refused("the model file unpacks to too much", f"{size} bytes", f"at most {MOST_BYTES}", folder)
            named = set(_named_types(json.loads(archive.read("schema.json"))))
    except (zipfile.BadZipFile, KeyError, ValueError, RecursionError, NotImplementedError, OSError) as error:
        raise _refused("the model file can't be read", repr(error), "a skops file", folder) from error
    if unknown := named - ALLOWED_TYPES:
        raise ModelFileError(
            "the model file holds types that we do not trust",
            seen=sorted(unknown),
            expected="only those of ratchet.model_files.ALLOWED_TYPES",
            where=folder,
            hint="if a new kind of estimator needs them: review what they do when built, then add them there",
        )


def _named_types(schema: object) -> Iterator[str]:
    waiting = [schema]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            if "__class__" in node or "__module__" in node:
                yield f"{node.get('__module__')}.{node.get('__class__')}"
            waiting.extend(node.values())
        elif isinstance(node, list):
            waiting.extend(node)


def _check_trees(estimator: object, folder: Path) -> None:
    """Refuses trees whose nodes point outside their arrays or backwards, and bins for other features than there are.

    scikit-learn follows these indices without bounds checks, so that a crafted tree could crash the process or never
    end (skops does not trust TreePredictor for that reason).
    """
    from sklearn.ensemble._hist_gradient_boosting.predictor import TreePredictor

    for tree, features in _trees(estimator):
        try:
            whole = _is_whole(tree, features) if isinstance(tree, TreePredictor) else _is_mapped(tree, features)
        except (AttributeError, IndexError, TypeError, ValueError):
            whole = False
        if not whole:
            raise _refused(
                "a tree of the model points outside itself", "node indices out of range", "a grown tree", folder
            )


def _is_mapped(bins: object, features: int) -> bool:
    """The bin mapper speaks of each feature once."""
    return bins.is_categorical_.shape == (features,) and len(bins.bin_thresholds_) == features


def _is_whole(tree: object, features: int) -> bool:
    """In a grown tree children come after their parent; a set of categories is 8 words of 32 bits."""
    nodes, bitsets = tree.nodes, tree.raw_left_cat_bitsets
    at = (nodes["is_leaf"] == 0).nonzero()[0]
    inner = nodes[at]
    children = (inner[side].astype("int64") for side in ("left", "right"))
    return bool(
        len(nodes)
        and all(((child > at) & (child < len(nodes))).all() for child in children)
        and ((inner["feature_idx"] >= 0) & (inner["feature_idx"] < features)).all()
        and bitsets.shape[1] == 8
        and (inner["bitset_idx"][inner["is_categorical"] == 1] < len(bitsets)).all()
    )


def _trees(estimator: object) -> Iterator[tuple[object, int]]:
    """Each (tree or bin mapper, number of features it is given) of every boosted model inside, however deep."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.ensemble._hist_gradient_boosting.predictor import TreePredictor

    waiting, seen = [(estimator, 0)], set()
    while waiting:
        thing, features = waiting.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        if isinstance(thing, TreePredictor):
            yield thing, features
            continue
        if isinstance(thing, HistGradientBoostingClassifier):
            features = int(thing.n_features_in_)
            yield thing._bin_mapper, features
        waiting.extend((part, features) for part in _parts(thing))


def _parts(thing: object) -> list:
    if isinstance(thing, list | tuple):
        return list(thing)
    if getattr(getattr(thing, "dtype", None), "kind", None) == "O":
        return thing.ravel().tolist()
    return list((thing if isinstance(thing, dict) else getattr(thing, "__dict__", {})).values())


def _refused(what: str, seen: object, expected: object, folder: Path) -> ModelFileError:
    return ModelFileError(
        what, seen=seen, expected=expected, where=folder, hint="do not load it by other means; train and register again"
    )
