"""P(cut) by a forest of plain arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError, ModelError
from pipeline.forests.model import LEAF, Forest

CHUNK_ROWS = 8192
"""Rows that go down a tree together: their features stay in the processor's cache."""


def predict(
    forest: Forest, features: NDArray[np.float32], names: Sequence[str]
) -> NDArray[np.float32]:
    """P(cut) of every row: the mean over trees of the value of the row's leaf.

    Parameters
    ----------
    forest
        Checked by its own creation.
    features
        (n, f) float32, finite.
    names
        f column names; must be the forest's, in its order.

    Returns
    -------
    p_cut
        (n,) float32, 0..1.

    Raises
    ------
    ModelError
        If the forest was fitted on other features; lists the missing and the unexpected.
    InputError
        If a feature is NaN or infinite; names the column.
    """
    _check_names(forest, names)
    if features.ndim != 2 or features.shape[1] != len(names):
        raise InputError(f"features of shape {features.shape} for {len(names)} names")
    table = _Table(forest)
    result = np.empty(len(features), np.float32)
    for start in range(0, len(features), CHUNK_ROWS):
        rows = np.ascontiguousarray(features[start : start + CHUNK_ROWS], np.float32)
        finite = np.isfinite(rows).all(axis=0)
        if not finite.all():
            raise InputError(f"feature {names[int(np.argmin(finite))]} is NaN or infinite")
        result[start : start + CHUNK_ROWS] = table.mean_value(rows)
    return result


class _Table:
    """The forest laid out for traversal: ``children[2 * node + (x > threshold)]``.

    A leaf is its own child, so that rows may arrive at different depths.
    """

    def __init__(self, forest: Forest) -> None:
        itself = np.arange(len(forest.feature), dtype=np.int32)
        leaf = forest.feature == LEAF
        children = np.stack([forest.children_left, forest.children_right], axis=1)
        self.children = np.where(leaf[:, None], itself[:, None], children).ravel()
        self.feature = np.where(leaf, 0, forest.feature).astype(np.int32)
        self.leaf = leaf
        self.forest = forest

    def mean_value(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        total = np.zeros(len(rows))
        for root in self.forest.tree_offsets[:-1]:
            total += self.forest.value[self._leaves(rows, int(root))]
        return np.clip(total / self.forest.trees, 0, 1).astype(np.float32)

    def _leaves(self, rows: NDArray[np.float32], root: int) -> NDArray[np.int32]:
        flat = rows.ravel()
        row_start = np.arange(len(rows), dtype=np.int32) * np.int32(rows.shape[1])
        node = np.full(len(rows), root, np.int32)
        while not self.leaf.take(node).all():
            value = flat.take(row_start + self.feature.take(node))
            above = value > self.forest.threshold.take(node)
            node = self.children.take(2 * node + above)
        return node


def _check_names(forest: Forest, names: Sequence[str]) -> None:
    if tuple(names) == forest.feature_names:
        return
    missing = [name for name in forest.feature_names if name not in set(names)]
    unexpected = [name for name in names if name not in set(forest.feature_names)]
    if not missing and not unexpected:
        raise ModelError("the forest was fitted on the same features in another order")
    raise ModelError(
        "the forest was fitted on other features; "
        f"missing: {', '.join(missing) or 'none'}; "
        f"unexpected: {', '.join(unexpected) or 'none'}"
    )
