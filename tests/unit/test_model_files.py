"""The safe loader: what was registered loads; anything else is refused before it runs (S1, S2)."""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import zipfile
from pathlib import Path

import mlflow.sklearn
import numpy as np
import pandas as pd
import pytest
import sklearn
import skops.io
import yaml
from sklearn.compose import ColumnTransformer
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from ratchet.errors import ModelFileError, OtherLibrariesError
from ratchet.model_files import MOST_MLMODEL_BYTES, check_model, load_model, model_digest
from ratchet.model_types import TRUSTED_TYPES

CANARY = "RATCHET_TEST_CANARY"


def rows(count: int = 400, seed: int = 1) -> tuple[pd.DataFrame, pd.Series]:
    draw = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {"a": draw.normal(size=count), "b": draw.normal(size=count), "c": draw.choice(["x", "y", "z"], count)}
    )
    frame.loc[::7, "a"] = np.nan
    frame.loc[::11, "c"] = None
    return frame, (frame["b"] + draw.normal(size=count) > 0).astype(int)


def pipelines() -> dict[str, Pipeline]:
    numeric = Pipeline([("impute", SimpleImputer(strategy="median", add_indicator=True)), ("scale", StandardScaler())])
    one_hot = OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=20)
    ordinal = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan, encoded_missing_value=np.nan)
    return {
        "base_rate": Pipeline([("model", DummyClassifier(strategy="prior"))]),
        "logistic_regression": Pipeline(
            [
                ("columns", ColumnTransformer([("numeric", numeric, ["a", "b"]), ("categorical", one_hot, ["c"])])),
                ("model", LogisticRegression()),
            ]
        ),
        "hist_gradient_boosting": Pipeline(
            [
                (
                    "columns",
                    ColumnTransformer([("numeric", "passthrough", ["a", "b"]), ("categorical", ordinal, ["c"])]),
                ),
                ("model", HistGradientBoostingClassifier(max_iter=5, categorical_features=[False, False, True])),
            ]
        ),
    }


def save(estimator, folder: Path) -> str:
    """As the registry saves it; the digest comes back."""
    mlflow.sklearn.save_model(
        estimator,
        folder,
        serialization_format="skops",
        skops_trusted_types=list(TRUSTED_TYPES),
        pip_requirements=["scikit-learn"],
        pyfunc_predict_fn="predict_proba",
    )
    return model_digest(folder)


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "model"
    save(pipelines()["hist_gradient_boosting"].fit(*rows()), folder)
    return folder


@pytest.fixture
def model(saved, tmp_path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "model"))


@pytest.mark.parametrize("family", pipelines())
def test_each_family_comes_back_and_predicts_the_same(family, tmp_path):
    frame, label = rows()
    estimator = pipelines()[family].fit(frame, label)
    digest = save(estimator, tmp_path / "model")
    assert check_model(tmp_path / "model") == digest
    loaded = load_model(tmp_path / "model", digest)
    unseen, _ = rows(seed=2)
    unseen.loc[:5, "c"] = "never seen"
    np.testing.assert_array_equal(loaded.predict_proba(unseen), estimator.predict_proba(unseen))


@pytest.mark.parametrize("name", ["MLmodel", "model.skops", "requirements.txt"])
def test_s1_a_flipped_bit_is_refused(model, name):
    digest = model_digest(model)
    data = bytearray((model / name).read_bytes())
    data[len(data) // 2] ^= 1
    (model / name).write_bytes(data)
    with pytest.raises(ModelFileError, match="not those that were registered"):
        load_model(model, digest)


def test_s1_a_swapped_model_is_refused(model, tmp_path):
    digest = model_digest(model)
    save(pipelines()["base_rate"].fit(*rows()), tmp_path / "other")
    shutil.copy(tmp_path / "other" / "model.skops", model / "model.skops")
    with pytest.raises(ModelFileError, match="not those that were registered"):
        load_model(model, digest)


def test_s1_a_missing_an_added_and_a_linked_file_are_refused(model, tmp_path):
    digest = model_digest(model)
    (model / "extra.py").write_text("")
    with pytest.raises(ModelFileError, match="extra"):
        load_model(model, digest)
    (model / "extra.py").unlink()
    (model / "model.skops").rename(tmp_path / "elsewhere")
    with pytest.raises(ModelFileError):
        load_model(model, digest)
    (model / "model.skops").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ModelFileError, match="no links"):
        load_model(model, digest)


class Burglar:
    """Leaves a trace in the environment as soon as it is built from a pickle."""

    def __reduce__(self):
        return (exec, (f"import os; os.environ['{CANARY}'] = '1'",))


@pytest.fixture
def canary():
    os.environ.pop(CANARY, None)
    yield lambda: CANARY in os.environ
    os.environ.pop(CANARY, None)


def edit(model: Path, change) -> str:
    """Change the MLmodel file, as one who may write artifacts would, and give the digest that they would forge."""
    content = yaml.safe_load((model / "MLmodel").read_text())
    change(content["flavors"])
    (model / "MLmodel").write_text(yaml.safe_dump(content))
    return model_digest(model)


CRAFTED = {
    "pickle": lambda f: f["sklearn"].update(serialization_format="pickle"),
    "cloudpickle": lambda f: f["sklearn"].update(serialization_format="cloudpickle"),
    "no_format_which_means_pickle": lambda f: f["sklearn"].pop("serialization_format"),
    "another_file": lambda f: f["sklearn"].update(pickled_model="conda.yaml"),
    "loader_module": lambda f: f["python_function"].update(loader_module="antigravity"),
    "code_of_pyfunc": lambda f: f["python_function"].update(code="code"),
    "code_of_sklearn": lambda f: f["sklearn"].update(code="code"),
    "python_model": lambda f: f["python_function"].update(python_model="model.pkl"),
    "another_flavor": lambda f: f.update(pyspark={"model_data": "x"}),
    "no_sklearn_flavor": lambda f: f.pop("sklearn"),
    "flavors_of_another_shape": lambda f: f.update(sklearn=["skops"]),
}


@pytest.mark.parametrize("change", CRAFTED.values(), ids=CRAFTED)
def test_s2_a_crafted_mlmodel_is_refused_even_with_its_own_digest(model, change):
    digest = edit(model, change)
    with pytest.raises(ModelFileError, match="MLmodel"):
        load_model(model, digest)
    with pytest.raises(ModelFileError, match="MLmodel"):
        check_model(model)


def test_s2_an_mlmodel_with_a_yaml_object_never_runs_it(model, canary):
    (model / "MLmodel").write_text(f"flavors: !!python/object/apply:exec [\"import os; os.environ['{CANARY}']='1'\"]\n")
    with pytest.raises(ModelFileError, match="can't be read"):
        load_model(model, model_digest(model))
    assert not canary()


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9)
)
HOSTILE_YAML = {
    "deep": "flavors: " + "[" * 100_000,
    "deep_blocks": "flavors: " + "- " * 20_000 + "x",
    "aliases": f"{BOMB}flavors: {{sklearn: {{code: *a8}}}}\n",
    "one_alias": "a: &a {serialization_format: skops}\nflavors: {sklearn: *a}\n",
    "no_text": "flavors: \x00",
    "long_number": "flavors: 0x" + "f" * 100_000,
    "nothing": "",
}


@pytest.mark.parametrize("content", HOSTILE_YAML.values(), ids=HOSTILE_YAML)
def test_s1_s2_an_mlmodel_that_is_made_to_choke_its_reader_is_refused(model, content):
    digest = model_digest(model)
    (model / "MLmodel").write_text(content)
    with pytest.raises(ModelFileError, match="not those that were registered"):
        load_model(model, digest)
    for look in (check_model, lambda folder: load_model(folder, model_digest(folder))):
        with pytest.raises(ModelFileError, match="MLmodel file can't be read") as told:
            look(model)
        assert len(str(told.value)) < 2_000


def test_s2_an_mlmodel_beyond_its_bounds_is_not_parsed(model):
    with open(model / "MLmodel", "a") as handle:
        handle.write("#" * MOST_MLMODEL_BYTES)
    with pytest.raises(ModelFileError, match="MLmodel file is too large"):
        check_model(model)


def test_s2_a_pickle_in_place_of_the_skops_file_never_runs(model, canary):
    (model / "model.skops").write_bytes(pickle.dumps(Burglar()))
    with pytest.raises(ModelFileError, match="can't be read"):
        load_model(model, model_digest(model))
    assert not canary()


def rewrite(model: Path, change) -> str:
    """Change the schema inside the skops file; the digest is that of the forgery."""
    path = model / "model.skops"
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    schema = json.loads(files["schema.json"])
    files["schema.json"] = json.dumps(change(schema) or schema).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return model_digest(model)


def text(value: str) -> dict:
    content = json.dumps(value)
    return {"__class__": "str", "__module__": "builtins", "__loader__": "JsonNode", "content": content, "is_json": True}


def sequence(kind: str, *items: dict) -> dict:
    return {
        "__class__": kind,
        "__module__": "builtins",
        "__loader__": f"{kind.capitalize()}Node",
        "content": list(items),
    }


def call(module: str, name: str, *arguments: str) -> dict:
    """What skops would build by calling module.name(*arguments)."""
    return {
        "__class__": name,
        "__module__": module,
        "__loader__": "ConstructorFromReduceNode",
        "content": sequence("tuple", *map(text, arguments)),
    }


LIES = {
    "a_call": call("builtins", "exec", f"import os; os.environ['{CANARY}']='1'"),
    "a_process": call("subprocess", "Popen", "true"),
    "an_operator": {
        "__class__": "methodcaller",
        "__module__": "operator",
        "__loader__": "OperatorFuncNode",
        "attrs": sequence("tuple", text("system"), text("true")),
    },
    "a_function": {"__class__": "system", "__module__": "os", "__loader__": "FunctionNode"},
    "a_type_that_skops_trusts": {"__class__": "arcsin", "__module__": "numpy", "__loader__": "FunctionNode"},
    "a_class_without_a_module": {"__class__": "exec", "__loader__": "TypeNode"},
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_s2_an_untrusted_type_is_refused_and_never_runs(model, canary, lie):
    def add(schema):
        steps = schema["content"]["content"]
        steps["steps"] = lie

    digest = rewrite(model, add)
    edit(model, lambda f: f["sklearn"].update(skops_trusted_types=["builtins.exec", "subprocess.Popen", "os.system"]))
    with pytest.raises(ModelFileError, match="do not trust"):
        load_model(model, model_digest(model))
    with pytest.raises(ModelFileError, match="do not trust"):
        check_model(model)
    assert digest and not canary()


def test_s2_a_type_named_under_a_trusted_loader_is_refused(model):
    """A bound method of an allowed object is no type: skops' own audit refuses it."""

    def add(schema):
        plain = {"__class__": "dict", "__module__": "builtins"}
        owner = {**plain, "__loader__": "DictNode", "content": {}, "key_types": sequence("list")}
        method = {**plain, "__loader__": "MethodNode", "content": {"func": "clear", "obj": owner}}
        schema["content"]["content"]["verbose"] = method

    with pytest.raises(ModelFileError, match="can't be built"):
        load_model(model, rewrite(model, add))


def test_s2_an_estimator_outside_the_list_is_refused_with_its_name(tmp_path):
    frame, label = rows()
    neighbours = KNeighborsClassifier().fit(frame[["b"]], label)
    (tmp_path / "model").mkdir()
    save(pipelines()["base_rate"].fit(frame, label), tmp_path / "saved")
    shutil.copytree(tmp_path / "saved", tmp_path / "model", dirs_exist_ok=True)
    skops.io.dump(neighbours, tmp_path / "model" / "model.skops")
    with pytest.raises(ModelFileError, match="KNeighborsClassifier"):
        check_model(tmp_path / "model")


def boosted() -> Pipeline:
    return pipelines()["hist_gradient_boosting"].fit(*rows())


@pytest.mark.parametrize(("field", "value"), [("left", 10**6), ("right", 0), ("feature_idx", 99), ("feature_idx", -1)])
def test_s2_a_tree_that_points_outside_itself_is_refused(tmp_path, field, value):
    estimator = boosted()
    estimator[-1]._predictors[0][0].nodes[field][0] = value
    digest = save(estimator, tmp_path / "model")
    with pytest.raises(ModelFileError, match="outside itself"):
        load_model(tmp_path / "model", digest)


@pytest.mark.parametrize("name", ["is_categorical_", "bin_thresholds_"])
def test_s2_bins_of_other_features_than_the_model_s_are_refused(tmp_path, name):
    """scikit-learn looks features up in them without bounds checks: predicting would crash the process."""
    estimator = boosted()
    bins = estimator[-1]._bin_mapper
    setattr(bins, name, getattr(bins, name)[:0])
    digest = save(estimator, tmp_path / "model")
    with pytest.raises(ModelFileError, match="outside itself"):
        load_model(tmp_path / "model", digest)


def test_s2_a_bad_tree_in_an_array_of_objects_is_found(tmp_path):
    estimator = boosted()
    estimator[-1]._predictors[1][0].nodes["left"][0] = 10**6
    estimator[-1]._predictors = np.array(estimator[-1]._predictors, dtype=object)
    digest = save(estimator, tmp_path / "model")
    with pytest.raises(ModelFileError, match="outside itself"):
        load_model(tmp_path / "model", digest)


def test_s2_a_file_that_stands_twice_in_the_archive_is_refused(model):
    """Two readers may take different ones of the two."""
    path = model / "model.skops"
    with zipfile.ZipFile(path) as archive:
        schema = archive.read("schema.json")
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr("schema.json", schema)
    with pytest.raises(ModelFileError, match="files that skops doesn't write"):
        load_model(model, model_digest(model))


@pytest.mark.parametrize("name", ["../evil.npy", "/etc/passwd", "evil.py", "1.npy/", "1.pkl"])
def test_s2_a_file_of_another_name_in_the_archive_is_refused(model, name):
    with zipfile.ZipFile(model / "model.skops", "a") as archive:
        archive.writestr(name, b"")
    with pytest.raises(ModelFileError, match="files that skops doesn't write"):
        load_model(model, model_digest(model))


def test_s2_an_archive_that_unpacks_to_too_much_is_refused_before_it_is_unpacked(model, monkeypatch):
    with zipfile.ZipFile(model / "model.skops", "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("1.npy", bytes(50_000_000))
    assert (model / "model.skops").stat().st_size < 1_000_000
    monkeypatch.setattr("ratchet.model_files.MOST_BYTES", 20_000_000)
    with pytest.raises(ModelFileError, match="unpacks to too much"):
        load_model(model, model_digest(model))


def test_s2_an_array_that_holds_a_pickle_never_runs(model, canary):
    pickled = io.BytesIO()
    np.save(pickled, np.array([Burglar()], dtype=object), allow_pickle=True)
    path = model / "model.skops"
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, pickled.getvalue() if name.endswith(".npy") else data)
    with pytest.raises(ModelFileError, match="can't be built"):
        load_model(model, model_digest(model))
    assert not canary()


def other_version(model: Path, version: str) -> str:
    return edit(model, lambda flavors: flavors["sklearn"].update(sklearn_version=version))


@pytest.mark.parametrize("version", ["1.8.2", "0.24.0", "2.0.0", "1.10.0", None])
def test_a_model_of_another_minor_version_of_scikit_learn_is_refused(model, version):
    with pytest.raises(OtherLibrariesError, match="another version of scikit-learn(.|\n)*RATCHET_OTHER_MODEL_VERSIONS"):
        load_model(model, other_version(model, version))


def test_a_model_of_another_version_is_loaded_with_a_warning_where_settings_say_so(model, caplog):
    frame, _ = rows()
    loaded = load_model(model, other_version(model, "1.8.2"), other_versions="warn")
    assert loaded.predict_proba(frame).shape == (len(frame), 2)
    assert "another version of scikit-learn" in caplog.text and "1.8.2" in caplog.text


def test_a_model_of_another_patch_of_the_same_minor_version_is_loaded(model, caplog):
    minor = ".".join(sklearn.__version__.split(".")[:2])
    assert load_model(model, other_version(model, f"{minor}.99")) is not None
    assert "another version" not in caplog.text


@pytest.mark.parametrize("data", [b"", b"PK\x05\x06" + b"\0" * 18, b"no zip"], ids=["empty", "empty_zip", "text"])
def test_a_broken_file_is_refused_by_name(model, data):
    (model / "model.skops").write_bytes(data)
    with pytest.raises(ModelFileError, match="can't be read"):
        load_model(model, model_digest(model))


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ModelFileError, match="not a saved model"):
        load_model(tmp_path / "nowhere", "0" * 64)
