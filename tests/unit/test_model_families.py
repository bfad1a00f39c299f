"""Each family of estimators on offer comes back from its file the same; trees that were tampered with are refused
before anything walks them; and what can't be saved safely says so before anything is logged."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import mlflow.sklearn
import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.tree import DecisionTreeClassifier
from sklearn.tree._tree import Tree

from ratchet.candidates import make_estimator
from ratchet.errors import ModelFileError
from ratchet.model_files import check_estimator, load_model, model_digest
from ratchet.model_types import TRUSTED_TYPES
from ratchet.specs import CandidateSpec, ModelSpec

CLASSES = ["low", "middle", "high"]
CLASSIFIERS = [
    "base_rate",
    "logistic_regression",
    "hist_gradient_boosting",
    "sklearn.calibration.CalibratedClassifierCV",
    "sklearn.discriminant_analysis.LinearDiscriminantAnalysis",
    "sklearn.ensemble.ExtraTreesClassifier",
    "sklearn.ensemble.RandomForestClassifier",
    "sklearn.linear_model.LogisticRegression",
    "sklearn.naive_bayes.BernoulliNB",
    "sklearn.naive_bayes.GaussianNB",
    "sklearn.tree.DecisionTreeClassifier",
    "sklearn.tree.ExtraTreeClassifier",
]
REGRESSORS = [
    "base_rate",
    "hist_gradient_boosting",
    "sklearn.ensemble.ExtraTreesRegressor",
    "sklearn.ensemble.RandomForestRegressor",
    "sklearn.linear_model.BayesianRidge",
    "sklearn.linear_model.ElasticNet",
    "sklearn.linear_model.GammaRegressor",
    "sklearn.linear_model.HuberRegressor",
    "sklearn.linear_model.Lasso",
    "sklearn.linear_model.LinearRegression",
    "sklearn.linear_model.PoissonRegressor",
    "sklearn.linear_model.QuantileRegressor",
    "sklearn.linear_model.Ridge",
    "sklearn.tree.DecisionTreeRegressor",
    "sklearn.tree.ExtraTreeRegressor",
]
FAMILIES = [
    *((task, kind) for task in ("binary", "multiclass") for kind in CLASSIFIERS),
    *(("regression", kind) for kind in REGRESSORS),
]
NOT_OFFERED = [
    ("binary", "sklearn.ensemble.GradientBoostingClassifier"),
    ("binary", "sklearn.neighbors.KNeighborsClassifier"),
    ("binary", "sklearn.neural_network.MLPClassifier"),
    ("regression", "sklearn.svm.SVR"),
]


def spec_of(task: str) -> ModelSpec:
    """As much of a spec as an estimator is made from."""
    classes = CLASSES if task == "multiclass" else []
    columns = {"numeric_features": ["a", "b"], "categorical_features": ["c"]}
    return ModelSpec.model_construct(name="m", task=task, classes=classes, seed=1, **columns)


def rows(task: str, seed: int = 0, count: int = 240) -> tuple[pd.DataFrame, np.ndarray]:
    draw = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {"a": draw.normal(size=count), "b": draw.normal(size=count), "c": draw.choice([*"xyz"], count)}
    )
    label = {
        "binary": (frame["b"] > 0).astype("int64").to_numpy(),
        "multiclass": np.asarray(CLASSES)[np.digitize(frame["b"], [-0.5, 0.5])],
        "regression": frame["b"].abs().to_numpy() + 1,
    }[task]
    frame.loc[::7, "a"], frame.loc[::11, "c"] = np.nan, None
    return frame.astype({"c": "str"}), label


def fitted(task: str, kind: str):
    few = {"n_estimators": 5} if "Trees" in kind or "Forest" in kind else {}
    estimator = make_estimator(CandidateSpec(name="one", estimator=kind, params=few), spec_of(task))
    return estimator.fit(*rows(task))


def save(estimator, folder: Path) -> str:
    """As the registry saves it; the digest comes back."""
    mlflow.sklearn.save_model(
        estimator,
        folder,
        serialization_format="skops",
        skops_trusted_types=list(TRUSTED_TYPES),
        pip_requirements=["scikit-learn"],
        pyfunc_predict_fn="predict_proba" if hasattr(estimator, "predict_proba") else "predict",
    )
    return model_digest(folder)


@pytest.mark.parametrize(("task", "kind"), FAMILIES)
def test_each_family_comes_back_and_predicts_the_same(task, kind, tmp_path):
    estimator = fitted(task, kind)
    check_estimator(estimator)
    loaded = load_model(tmp_path / "model", save(estimator, tmp_path / "model"))
    unseen, _ = rows(task, seed=2)
    unseen.loc[:5, "c"] = "never seen"
    how = "predict" if task == "regression" else "predict_proba"
    np.testing.assert_array_equal(getattr(loaded, how)(unseen), getattr(estimator, how)(unseen))
    np.testing.assert_array_equal(loaded.predict(unseen), estimator.predict(unseen))


@pytest.mark.parametrize(("task", "kind"), NOT_OFFERED)
def test_an_estimator_that_can_not_be_saved_safely_says_so_before_anything_is_logged(task, kind):
    with pytest.raises(ModelFileError, match="can't be saved safely(.|\n)*add-a-model"):
        check_estimator(fitted(task, kind))


# Trees that were tampered with


def tree_of(nodes: np.ndarray, like: Tree, **state: object) -> Tree:
    """A tree with these nodes, as unpickling would build it."""
    made = Tree(like.n_features, np.array([2], dtype=np.intp), 1)
    made.__setstate__({**like.__getstate__(), "nodes": nodes, **state})
    return made


def plain_tree() -> DecisionTreeClassifier:
    frame, label = rows("binary")
    return DecisionTreeClassifier(max_depth=3, random_state=0).fit(frame[["a", "b"]].fillna(0), label)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("left_child", 10**9),
        ("left_child", 0),
        ("left_child", -7),
        ("right_child", 0),
        ("right_child", -1),
        ("feature", 2),
        ("feature", -2),
    ],
)
def test_s2_a_tree_that_points_outside_itself_backwards_or_to_other_features_is_refused(tmp_path, field, value):
    estimator = plain_tree()
    nodes = estimator.tree_.__getstate__()["nodes"].copy()
    nodes[field][0] = value
    estimator.tree_ = tree_of(nodes, estimator.tree_)
    with pytest.raises(ModelFileError, match="outside itself"):
        load_model(tmp_path / "model", save(estimator, tmp_path / "model"))


def test_s2_a_tree_of_a_forest_that_looks_at_more_features_than_the_forest_gets_is_refused(tmp_path):
    """A forest hands its rows on without asking the tree how wide they should be."""
    frame, label = rows("binary")
    forest = RandomForestClassifier(n_estimators=3, random_state=0).fit(frame[["b"]], label)
    forest.estimators_[1] = plain_tree()
    assert forest.estimators_[1].tree_.feature.max() == 1
    with pytest.raises(ModelFileError, match="outside itself"):
        load_model(tmp_path / "model", save(forest, tmp_path / "model"))


def test_s2_a_tree_shared_with_a_narrower_model_is_refused(tmp_path):
    frame, label = rows("binary")
    wide, narrow = plain_tree(), DecisionTreeClassifier(max_depth=3).fit(frame[["b"]], label)
    narrow.tree_ = wide.tree_
    with pytest.raises(ModelFileError, match="outside itself"):
        load_model(tmp_path / "model", save(wide.set_params(class_weight={"other": narrow}), tmp_path / "model"))


def test_s2_a_forest_that_does_not_know_its_width_is_refused(tmp_path):
    frame, label = rows("binary")
    forest = RandomForestClassifier(n_estimators=3, random_state=0).fit(frame[["b"]], label)
    del forest.n_features_in_
    with pytest.raises(ModelFileError, match="outside itself"):
        load_model(tmp_path / "model", save(forest, tmp_path / "model"))


def rewrite(folder: Path, change) -> str:
    """Change the nodes of the trees in the schema of the skops file; the digest is that of the forgery."""
    path = folder / "model.skops"
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    schema = json.loads(files["schema.json"])
    change(schema["content"]["content"]["tree_"], schema)
    files["schema.json"] = json.dumps(schema).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return model_digest(folder)


def arguments(tree: dict) -> list[dict]:
    return tree["__reduce__"]["args"]["content"]


def more_outputs(tree: dict, _: dict) -> None:
    arguments(tree)[2].update(content="1000000", __id__=1)


def fewer_nodes_than_counted(tree: dict, _: dict) -> None:
    tree["content"]["content"]["node_count"].update(content="-1", __id__=2)


def a_list_for_an_array(tree: dict, _: dict) -> None:
    tree["__reduce__"]["args"]["content"][1] = {**arguments(tree)[2], "content": "[2]", "__id__": 3}


def another_constructor(tree: dict, _: dict) -> None:
    tree.update(__loader__="ConstructorFromReduceNode", content=tree["__reduce__"]["args"])


def another_loader_of_the_same_tree(tree: dict, _: dict) -> None:
    tree.update(__class__="dict", __module__="builtins")
    more_outputs(tree, {})


def a_known_number_in_place_of_its_own(tree: dict, schema: dict) -> None:
    """skops builds what bears a known __id__ once: the first one wins, and it stands before the tree."""
    schema["content"]["content"]["criterion"] = {**arguments(tree)[2], "content": "1000000"}


TAMPERED = [
    more_outputs,
    fewer_nodes_than_counted,
    a_list_for_an_array,
    another_constructor,
    another_loader_of_the_same_tree,
    a_known_number_in_place_of_its_own,
]


@pytest.mark.parametrize("change", TAMPERED, ids=lambda change: change.__name__)
def test_s2_a_tree_built_from_arguments_that_do_not_fit_is_refused(tmp_path, change):
    """Its constructor would read or write beside its arrays: the process must not even try."""
    save(plain_tree(), tmp_path / "model")
    with pytest.raises(ModelFileError, match="a tree of the model"):
        load_model(tmp_path / "model", rewrite(tmp_path / "model", change))
