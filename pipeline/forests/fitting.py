"""Random forests grown on binned columns, as plain arrays."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.forests.growing import binned, grow_tree, most_nodes
from pipeline.forests.model import LEAF, Forest
from pipeline.forests.prediction import count_votes


@dataclass(frozen=True)
class Growth:
    """How a forest is grown.

    Parameters
    ----------
    trees, max_depth, min_leaf
        Number of trees, their depth, and the rows that a leaf holds at least.
    max_features
        Share of the columns that a split chooses from, 0..1; None: their square root.
    max_samples
        Rows drawn for each tree as a share of all, 0..1.
    balanced
        Whether both classes weigh the same in total.
    """

    trees: int
    max_depth: int
    min_leaf: int
    max_features: float | None = None
    max_samples: float = 1.0
    balanced: bool = True


@dataclass(frozen=True, eq=False)
class Learned:
    """A forest and what is known of its training rows.

    Parameters
    ----------
    forest
        Without calibration.
    out_of_bag
        (n,) float32, 0..1, mean vote on every row of the trees that did not see it; 0.5 for
        a row that all trees saw (only with few trees).
    seen
        (trees, n) bool, which rows each tree learned from.
    importance
        (f,) float64, sums to 1 (or 0 without a split): the impurity that splits on each
        column took away, mean over trees. Columns of many values get more than they deserve.
    """

    forest: Forest
    out_of_bag: NDArray[np.float32]
    seen: NDArray[np.bool_]
    importance: NDArray[np.float64]


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
    """Forest and out-of-bag vote of ``learn_forest``, both classes weighted equally."""
    growth = Growth(trees, max_depth, min_leaf)
    learned = learn_forest(features, labels, names, growth, seed=seed, threads=threads)
    return replace(learned.forest, metadata=metadata or {}), learned.out_of_bag


def learn_forest(
    features: NDArray[np.float32],
    labels: NDArray[np.bool_] | NDArray[np.uint8],
    names: Sequence[str],
    growth: Growth,
    *,
    seed: int,
    threads: int = 1,
    weights: NDArray[np.float64] | None = None,
) -> Learned:
    """Fit a random forest, and let its trees vote on the rows that they did not see.

    The algorithm is that of scikit-learn's RandomForestClassifier, on columns cut into 256
    bins: 7 times faster, with the same out-of-bag scores (ISBI 2012, 18,500 edges, 233 columns,
    60 trees: area under the ROC curve 0.972 both, processor time 1.3 s instead of 9.5 s).

    Breiman, "Random forests", Machine Learning 45, 2001.

    Parameters
    ----------
    features
        (n, f) float32, finite.
    labels
        (n,) 1 or True = cut.
    names
        f column names.
    growth
        Size of the forest, and what each tree and split sees.
    seed
        Of all randomness.
    threads
        Of the fit; the result does not depend on it.
    weights
        (n,) positive, of the rows in splits and leaves; None = all 1.

    Returns
    -------
    learned
        Forest, out-of-bag votes and importance.

    Raises
    ------
    InputError
        If shapes disagree, a feature is not finite, or only one class is present.
    """
    cut = _checked(features, labels, names)
    bins, limits = binned(features)
    weight = _row_weights(cut, weights, growth.balanced)
    tried = max(round((growth.max_features or len(names) ** -0.5) * len(names)), 1)

    def grow(number: int) -> _Tree:
        rng = np.random.default_rng((seed, number))
        draws = max(round(growth.max_samples * len(cut)), 1)
        count = np.bincount(rng.integers(0, len(cut), draws), minlength=len(cut))
        return _grown(bins, limits, weight * count, cut, growth, tried, rng)

    with ThreadPoolExecutor(threads) as pool:
        trees = list(pool.map(grow, range(growth.trees)))
    forest = _joined(trees, names)
    seen = np.stack([tree.seen for tree in trees])
    unseen, _ = count_votes(forest, features, names, threads=threads, skip=seen)
    return Learned(forest, unseen, seen, np.mean([tree.importance for tree in trees], axis=0))


@dataclass(frozen=True, eq=False)
class _Tree:
    """Arrays of one tree as in ``Forest``, the rows that it saw, and its importance."""

    children: NDArray[np.int32]
    feature: NDArray[np.int16]
    threshold: NDArray[np.float32]
    value: NDArray[np.float32]
    seen: NDArray[np.bool_]
    importance: NDArray[np.float64]


def _row_weights(
    cut: NDArray[np.bool_], weights: NDArray[np.float64] | None, balanced: bool
) -> NDArray[np.float64]:
    weight = np.ones(len(cut)) if weights is None else np.asarray(weights, np.float64)
    if not balanced:
        return weight
    of_cuts, of_joins = float(weight[cut].sum()), float(weight[~cut].sum())
    half = (of_cuts + of_joins) / 2
    return weight * np.where(cut, half / of_cuts, half / of_joins).astype(np.float64)


def _grown(
    bins: NDArray[np.uint8],
    limits: Sequence[NDArray[np.float32]],
    weight: NDArray[np.float64],
    cut: NDArray[np.bool_],
    growth: Growth,
    tried: int,
    rng: np.random.Generator,
) -> _Tree:
    """A tree on the rows of positive weight."""
    rows = np.flatnonzero(weight).astype(np.int32)
    size = most_nodes(len(rows), growth.max_depth, growth.min_leaf)
    children, feature = np.empty((size, 2), np.int32), np.empty(size, np.int16)
    place, value = np.empty(size, np.uint8), np.empty(size, np.float32)
    importance = np.zeros(len(bins))
    nodes = grow_tree(
        bins,
        weight,
        cut,
        rows,
        tried,
        growth.max_depth,
        growth.min_leaf,
        rng,
        children,
        feature,
        place,
        value,
        importance,
    )
    threshold = np.zeros(nodes, np.float32)
    for node in np.flatnonzero(feature[:nodes] != LEAF):
        threshold[node] = limits[feature[node]][place[node]]
    total = importance.sum()
    return _Tree(
        children[:nodes],
        feature[:nodes],
        threshold,
        value[:nodes],
        weight > 0,
        importance / total if total > 0 else importance,
    )


def _joined(trees: Sequence[_Tree], names: Sequence[str]) -> Forest:
    offsets = np.cumsum([0, *(len(tree.feature) for tree in trees)])
    children = np.concatenate(
        [
            np.where(tree.children == LEAF, LEAF, tree.children + offset)
            for tree, offset in zip(trees, offsets[:-1], strict=True)
        ]
    ).astype(np.int32)
    return Forest(
        children_left=np.ascontiguousarray(children[:, 0]),
        children_right=np.ascontiguousarray(children[:, 1]),
        feature=np.concatenate([tree.feature for tree in trees]),
        threshold=np.concatenate([tree.threshold for tree in trees]),
        value=np.concatenate([tree.value for tree in trees]),
        tree_offsets=offsets.astype(np.int32),
        feature_names=tuple(names),
    )


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
