"""A forest of binary decision trees as flat arrays, and what makes such arrays sound."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ModelError

LEAF = -1
MAX_DEPTH = 64
"""Deeper trees are refused: prediction costs one pass a level."""


@dataclass(frozen=True, eq=False)
class Forest:
    """Trees, one after the other, in flat arrays; nodes are numbered through all trees.

    At an inner node a row goes to ``children_left`` if ``row[feature] <= threshold``, else to
    ``children_right``. The arrays are checked on creation, so prediction ends and stays in
    bounds whatever file they came from.

    Parameters
    ----------
    children_left, children_right
        (nodes,) int32, index of the child, above the node's own; -1 at a leaf.
    feature
        (nodes,) int16, column of the features, -1 at a leaf.
    threshold
        (nodes,) float32, finite.
    value
        (nodes,) float32, P(cut) of the training rows in the node, 0..1.
    tree_offsets
        (trees + 1,) int32, first node of each tree and the number of nodes.
    feature_names
        Name of every column.
    metadata
        Whatever JSON the maker notes, e.g. training data and out-of-bag error.
    calibration_x, calibration_y
        (knots,) float32, the piecewise linear map from the trees' mean to P(cut): x rises
        strictly, y never falls, both lie in 0..1. No knots: the mean itself is P(cut).

    Raises
    ------
    ModelError
        If the arrays are not a forest; says why.
    """

    children_left: NDArray[np.int32]
    children_right: NDArray[np.int32]
    feature: NDArray[np.int16]
    threshold: NDArray[np.float32]
    value: NDArray[np.float32]
    tree_offsets: NDArray[np.int32]
    feature_names: tuple[str, ...]
    metadata: dict[str, Any] = field(default_factory=dict)
    calibration_x: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    calibration_y: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))

    def __post_init__(self) -> None:
        """Refuse arrays that are not a forest."""
        self._check_shapes()
        self._check_values()
        self._check_children()
        if self.depth > MAX_DEPTH:
            raise ModelError(f"a tree is deeper than {MAX_DEPTH}")
        check_knots(self.calibration_x, self.calibration_y)

    @property
    def trees(self) -> int:
        """Number of trees."""
        return len(self.tree_offsets) - 1

    @property
    def depth(self) -> int:
        """Edges on the longest way from a root to a leaf; at most ``MAX_DEPTH`` + 1."""
        nodes = self.tree_offsets[:-1]
        for depth in range(MAX_DEPTH + 2):
            nodes = nodes[self.feature[nodes] != LEAF]
            if not len(nodes):
                return depth
            nodes = np.concatenate([self.children_left[nodes], self.children_right[nodes]])
        return MAX_DEPTH + 1

    def _check_shapes(self) -> None:
        n = self.feature.size
        for name, dtype in ARRAYS.items():
            array = getattr(self, name)
            if array.ndim != 1 or array.dtype != dtype:
                raise ModelError(
                    f"{name} must be one-dimensional {dtype}, is {array.ndim}d {array.dtype}"
                )
            if name != "tree_offsets" and len(array) != n:
                raise ModelError(f"{name} has {len(array)} nodes, feature has {n}")
        offsets = self.tree_offsets.astype(np.int64)
        if len(offsets) < 2 or offsets[0] != 0 or offsets[-1] != n or (np.diff(offsets) < 1).any():
            raise ModelError(f"tree_offsets must rise from 0 to the {n} nodes")

    def _check_values(self) -> None:
        if not np.isfinite(self.threshold).all():
            raise ModelError("a threshold is not finite")
        if not ((self.value >= 0) & (self.value <= 1)).all():
            raise ModelError("a value lies outside 0..1")
        if len(set(self.feature_names)) != len(self.feature_names):
            raise ModelError("feature names repeat")
        highest = int(self.feature.max())
        if self.feature.min() < LEAF or highest >= len(self.feature_names):
            raise ModelError(
                f"feature numbers reach {highest}, but there are {len(self.feature_names)} names"
            )

    def _check_children(self) -> None:
        leaf = self.feature == LEAF
        tree_end = np.repeat(self.tree_offsets[1:], np.diff(self.tree_offsets))
        index = np.arange(len(leaf))
        parents = np.zeros(len(leaf), np.int64)
        for side in (self.children_left, self.children_right):
            if (side[leaf] != LEAF).any():
                raise ModelError("a leaf has children")
            inner = side[~leaf]
            if ((inner <= index[~leaf]) | (inner >= tree_end[~leaf])).any():
                raise ModelError("a child does not come after its parent within its tree")
            parents += np.bincount(inner, minlength=len(leaf))
        parents[self.tree_offsets[:-1]] += 1
        if (parents != 1).any():
            raise ModelError("a node is the child of none or of several nodes")


def check_knots(x: NDArray[Any], y: NDArray[Any]) -> None:
    """Refuse arrays that are no calibration.

    Raises
    ------
    ModelError
        Unless both are (knots,) float32 in 0..1, x rises strictly, y never falls, and there
        are no knots or at least two.
    """
    for name, array in (("calibration_x", x), ("calibration_y", y)):
        if array.ndim != 1 or array.dtype != np.float32:
            raise ModelError(
                f"{name} must be one-dimensional float32, is {array.ndim}d {array.dtype}"
            )
        if not ((array >= 0) & (array <= 1)).all():
            raise ModelError(f"{name} reaches outside 0..1")
    if len(x) != len(y) or len(x) == 1:
        raise ModelError(f"the calibration has {len(x)} x and {len(y)} y; 2 or more are needed")
    if (np.diff(x) <= 0).any():
        raise ModelError("calibration_x does not rise strictly")
    if (np.diff(y) < 0).any():
        raise ModelError("calibration_y falls")


ARRAYS: dict[str, np.dtype[Any]] = {
    "children_left": np.dtype(np.int32),
    "children_right": np.dtype(np.int32),
    "feature": np.dtype(np.int16),
    "threshold": np.dtype(np.float32),
    "value": np.dtype(np.float32),
    "tree_offsets": np.dtype(np.int32),
}
"""The arrays of a forest and their dtypes, in memory and in its file."""
KNOTS: dict[str, np.dtype[Any]] = {
    "calibration_x": np.dtype(np.float32),
    "calibration_y": np.dtype(np.float32),
}
"""The arrays of a calibration; a file holds both or none."""
