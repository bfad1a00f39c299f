"""Whether the trees of a model file can be walked: scikit-learn follows their indices without bounds checks, so that a
crafted one could crash the process, read what lies beside it, or never end.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator

import numpy as np


def arguments_fit(schema: object, archive: zipfile.ZipFile) -> bool:
    """Whether every `sklearn.tree._tree.Tree` of a skops schema is built from arguments that belong together.

    Its constructor copies as many numbers of classes as it is told there are outputs, from an array that may be
    shorter: so one output, and one number at least. skops builds what bears a known `__id__` only once: no other thing
    may bear the id of one of these arguments.
    """
    nodes = list(walk(schema))
    arguments = [argument for node in nodes if _is_tree(node) for argument in _arguments(node)]
    by_id = {argument["__id__"]: argument for argument in arguments if "__id__" in argument}
    return all(_fits(node, archive) for node in nodes if _is_tree(node)) and all(
        by_id.get(node.get("__id__"), node) == node for node in nodes
    )


def walk(schema: object) -> Iterator[dict]:
    """Every mapping inside, however deep."""
    waiting = [schema]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            yield node
            waiting.extend(node.values())
        elif isinstance(node, list):
            waiting.extend(node)


def nodes_fit(estimator: object) -> bool:
    """Whether no tree inside has nodes that point outside their arrays or backwards, or to features that its owner
    isn't given, and no bin mapper speaks of other features than there are."""
    from sklearn.ensemble._hist_gradient_boosting.predictor import TreePredictor
    from sklearn.tree._tree import Tree

    checks = {TreePredictor: _is_grown_by_boosting, Tree: _is_grown}
    try:
        return all(checks.get(type(thing), _is_mapped)(thing, features) for thing, features in _trees(estimator))
    except (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError):
        return False


def _is_tree(node: dict) -> bool:
    return node.get("__loader__") == "TreeNode" or node.get("__class__") == "Tree"


def _arguments(node: dict) -> list[dict]:
    given = node["__reduce__"]["args"]
    return [given, *given["content"]]


def _fits(node: dict, archive: zipfile.ZipFile) -> bool:
    whole, features, classes, outputs = _arguments(node)
    loaders = [part["__loader__"] for part in (node, whole, features, classes, outputs)]
    if loaders != ["TreeNode", "TupleNode", "JsonNode", "NdArrayNode", "JsonNode"] or classes["type"] != "numpy":
        return False
    numbers = np.load(io.BytesIO(archive.read(classes["file"])), allow_pickle=False)
    return type(json.loads(features["content"])) is int and json.loads(outputs["content"]) == 1 <= numbers.size


def _is_mapped(bins: object, features: int) -> bool:
    """The bin mapper speaks of each feature once."""
    return bins.is_categorical_.shape == (features,) and len(bins.bin_thresholds_) == features


def _is_grown_by_boosting(tree: object, features: int) -> bool:
    """In a grown tree children come after their parent; a set of categories is 8 words of 32 bits."""
    nodes, bitsets = tree.nodes, tree.raw_left_cat_bitsets
    at = (nodes["is_leaf"] == 0).nonzero()[0]
    inner = nodes[at]
    return bool(
        len(nodes)
        and _point_onward(at, [inner["left"], inner["right"]], len(nodes))
        and ((inner["feature_idx"] >= 0) & (inner["feature_idx"] < features)).all()
        and bitsets.shape[1] == 8
        and (inner["bitset_idx"][inner["is_categorical"] == 1] < len(bitsets)).all()
    )


def _is_grown(tree: object, features: int) -> bool:
    """A leaf is a node whose left child is -1. Counted before the arrays are touched: they are as long as it says."""
    if not 0 < tree.node_count == tree.capacity:
        return False
    left, right, feature = (array.copy() for array in (tree.children_left, tree.children_right, tree.feature))
    at = (left != -1).nonzero()[0]
    return bool(
        _point_onward(at, [left[at], right[at]], len(left)) and ((feature[at] >= 0) & (feature[at] < features)).all()
    )


def _point_onward(at: np.ndarray, sides: list[np.ndarray], count: int) -> bool:
    children = (side.astype("int64") for side in sides)
    return all(((child > at) & (child < count)).all() for child in children)


def _trees(estimator: object) -> Iterator[tuple[object, int]]:
    """Each (tree or bin mapper, number of features that its owner is given at prediction) inside, however deep.

    An ensemble hands its trees rows of its own width without asking them: the narrowest owner counts. Looked at anew
    for each width, as one tree may stand in several models.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.ensemble._forest import BaseForest
    from sklearn.ensemble._hist_gradient_boosting.predictor import TreePredictor
    from sklearn.tree import BaseDecisionTree
    from sklearn.tree._tree import Tree

    owners = (HistGradientBoostingClassifier, HistGradientBoostingRegressor, BaseForest, BaseDecisionTree)
    waiting, seen = [(estimator, None)], set()
    while waiting:
        thing, features = waiting.pop()
        if (id(thing), features) in seen:
            continue
        seen.add((id(thing), features))
        if isinstance(thing, (TreePredictor, Tree)):
            yield thing, features or 0
            continue
        if isinstance(thing, owners):  # one that doesn't know its width takes rows of any
            own = int(getattr(thing, "n_features_in_", 0))
            features = own if features is None else min(own, features)
        if hasattr(thing, "_bin_mapper"):
            yield thing._bin_mapper, int(thing.n_features_in_)
        waiting.extend((part, features) for part in _parts(thing))


def _parts(thing: object) -> list:
    if isinstance(thing, list | tuple):
        return list(thing)
    if getattr(getattr(thing, "dtype", None), "kind", None) == "O":
        return thing.ravel().tolist()
    return list((thing if isinstance(thing, dict) else getattr(thing, "__dict__", {})).values())
