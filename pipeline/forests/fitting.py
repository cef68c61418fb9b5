"""Random forests by scikit-learn, turned into plain arrays."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.forests.model import LEAF, Forest

if TYPE_CHECKING:
    from sklearn.ensemble import RandomForestClassifier


def fit_forest(
    features: NDArray[np.float32],
    labels: NDArray[np.bool_] | NDArray[np.uint8],
    names: Sequence[str],
    *,
    trees: int,
    max_depth: int,
    min_leaf: int,
    seed: int,
    threads: int,
    metadata: dict[str, Any] | None = None,
) -> tuple[Forest, NDArray[np.float32]]:
    """Fit a random forest with both classes weighted equally.

    Breiman, "Random forests", Machine Learning 45, 2001.

    Parameters
    ----------
    features
        (n, f) float32, finite.
    labels
        (n,) 1 or True = cut.
    names
        f column names.
    trees, max_depth, min_leaf
        Number of trees, their depth, and the rows that a leaf holds at least.
    seed
        Of all randomness.
    threads
        Of the fit; the result does not depend on it.
    metadata
        JSON to be stored with the forest.

    Returns
    -------
    forest
        Its predictions equal scikit-learn's.
    out_of_bag_probability
        (n,) float32, P(cut) of every row by the trees that did not see it; 0.5 for a row
        that all trees saw (only with few trees).

    Raises
    ------
    InputError
        If shapes disagree, a feature is not finite, or only one class is present.
    """
    from sklearn.ensemble import RandomForestClassifier

    cut = _checked(features, labels, names)
    classifier = RandomForestClassifier(
        n_estimators=trees,
        max_depth=max_depth,
        min_samples_leaf=min_leaf,
        class_weight="balanced",
        bootstrap=True,
        oob_score=True,
        random_state=seed,
        n_jobs=threads,
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Some inputs do not have OOB scores")
        classifier.fit(features, cut)
    votes = np.asarray(classifier.oob_decision_function_)
    voted = votes.sum(axis=1) > 0.5  # scikit-learn gives (0, 0), not NaN, to a row without vote
    unseen = np.where(voted, votes[:, 1], 0.5).astype(np.float32)
    return as_arrays(classifier, names, metadata or {}), unseen


def as_arrays(
    classifier: RandomForestClassifier, names: Sequence[str], metadata: dict[str, Any]
) -> Forest:
    """A fitted two-class scikit-learn forest as plain arrays.

    scikit-learn compares float32 features with float64 thresholds. Rounded down to float32
    the thresholds decide every float32 feature the same way.
    """
    trees = [estimator.tree_ for estimator in classifier.estimators_]
    offsets = np.cumsum([0, *(tree.node_count for tree in trees)])

    def children(name: str) -> NDArray[np.int32]:
        parts = [
            np.where(getattr(tree, name) == LEAF, LEAF, getattr(tree, name) + offset)
            for tree, offset in zip(trees, offsets[:-1], strict=True)
        ]
        return np.concatenate(parts).astype(np.int32)

    left = children("children_left")
    leaf = left == LEAF
    weight = np.concatenate([tree.value[:, 0, :] for tree in trees])
    threshold = _rounded_down(np.concatenate([tree.threshold for tree in trees]))
    feature = np.concatenate([tree.feature for tree in trees])
    return Forest(
        children_left=left,
        children_right=children("children_right"),
        feature=np.where(leaf, LEAF, feature).astype(np.int16),
        threshold=np.where(leaf, np.float32(0), threshold),
        value=(weight[:, 1] / weight.sum(axis=1)).astype(np.float32),
        tree_offsets=offsets.astype(np.int32),
        feature_names=tuple(names),
        metadata=metadata,
    )


def _rounded_down(values: NDArray[np.float64]) -> NDArray[np.float32]:
    rounded = values.astype(np.float32)
    lower = np.nextafter(rounded, np.float32(-np.inf))
    return np.where(rounded > values, lower, rounded)


def _checked(
    features: NDArray[np.float32], labels: NDArray[Any], names: Sequence[str]
) -> NDArray[np.bool_]:
    if features.shape != (len(labels), len(names)):
        raise InputError(
            f"features of shape {features.shape} for {len(labels)} labels and {len(names)} names"
        )
    bad = [name for name, column in zip(names, features.T, strict=True) if not _finite(column)]
    if bad:
        raise InputError(f"features with NaN or infinite values: {', '.join(bad)}")
    cut = labels.astype(bool)
    if not cut.any() or cut.all():
        only = "cut" if cut.any() else "joined"
        raise InputError(f"all {len(cut)} training rows are {only}; both kinds are needed")
    return cut


def _finite(column: NDArray[np.float32]) -> bool:
    return bool(np.isfinite(column).all())
