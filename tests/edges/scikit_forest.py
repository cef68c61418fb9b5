"""A forest fitted by scikit-learn as plain arrays, for comparison."""

import numpy as np

from pipeline.forests import Forest
from pipeline.forests.model import LEAF


def as_arrays(classifier, names):
    """A fitted two-class RandomForestClassifier.

    scikit-learn compares float32 features with float64 thresholds. Rounded down to float32
    the thresholds decide every float32 feature the same way.
    """
    trees = [estimator.tree_ for estimator in classifier.estimators_]
    offsets = np.cumsum([0, *(tree.node_count for tree in trees)])

    def children(name):
        parts = [
            np.where(getattr(tree, name) == LEAF, LEAF, getattr(tree, name) + offset)
            for tree, offset in zip(trees, offsets[:-1], strict=True)
        ]
        return np.concatenate(parts).astype(np.int32)

    left = children("children_left")
    leaf = left == LEAF
    weight = np.concatenate([tree.value[:, 0, :] for tree in trees])
    threshold = rounded_down(np.concatenate([tree.threshold for tree in trees]))
    feature = np.concatenate([tree.feature for tree in trees])
    return Forest(
        children_left=left,
        children_right=children("children_right"),
        feature=np.where(leaf, LEAF, feature).astype(np.int16),
        threshold=np.where(leaf, np.float32(0), threshold),
        value=(weight[:, 1] / weight.sum(axis=1)).astype(np.float32),
        tree_offsets=offsets.astype(np.int32),
        feature_names=tuple(names),
    )


def rounded_down(values):
    rounded = values.astype(np.float32)
    lower = np.nextafter(rounded, np.float32(-np.inf))
    return np.where(rounded > values, lower, rounded)
