"""Rows going down trees: the compiled loops of prediction."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.compiled import compiled

CHUNK_ROWS = 64
"""Rows that go down a tree together: they and the tree stay in the processor's cache."""
EXPONENT = 0x7F800000
"""Bits of a float32 that are all set in NaN and in infinity alone."""


@compiled
def sum_leaf_values(
    rows: NDArray[np.float32],
    column: NDArray[np.int32],
    threshold: NDArray[np.float32],
    children: NDArray[np.int32],
    value: NDArray[np.float32],
    roots: NDArray[np.int32],
    depths: NDArray[np.int32],
    skip: NDArray[np.bool_],
    total: NDArray[np.float64],
    votes: NDArray[np.int32],
) -> None:
    """Add the value of each row's leaf to ``total`` and 1 to ``votes``, tree after tree.

    All rows of a chunk take ``depth`` steps down a tree, at each to ``children[2 * node + (x >
    threshold)]``; a leaf is its own child. Without a branch, the steps of different rows
    overlap in the processor. The trees' order is the order of the sum.

    Parameters
    ----------
    rows
        (n, f) float32, C order, finite.
    column
        (nodes,) int32, column of ``rows`` that a node looks at; any at a leaf.
    threshold, value
        (nodes,) float32.
    children
        (2 * nodes,) int32, left and right child of every node.
    roots, depths
        (trees,) int32, first node and depth of each tree.
    skip
        (trees, n) bool, where a row is not to be counted; (0, 0) bool: nowhere.
    total
        (n,) float64, changed.
    votes
        (n,) int32, changed.
    """
    node = np.empty(CHUNK_ROWS, np.int32)
    some = skip.shape[0] > 0
    for start in range(0, len(rows), CHUNK_ROWS):
        count = min(CHUNK_ROWS, len(rows) - start)
        for tree in range(len(roots)):
            for r in range(count):
                node[r] = roots[tree]
            for _ in range(depths[tree]):
                for r in range(count):
                    i = node[r]
                    node[r] = children[2 * i + (rows[start + r, column[i]] > threshold[i])]
            for r in range(count):
                if some and skip[tree, start + r]:
                    continue
                total[start + r] += value[node[r]]
                votes[start + r] += 1


@compiled
def first_not_finite(bits: NDArray[np.uint32], columns: NDArray[np.int32]) -> int:
    """The first of some columns that holds a NaN or an infinity, or -1.

    Parameters
    ----------
    bits
        (n, f) uint32, the bits of float32 values.
    columns
        (k,) int32, columns looked at.

    Returns
    -------
    place
        Index into ``columns``.
    """
    bad = len(columns)
    for r in range(len(bits)):
        for k in range(bad):
            if bits[r, columns[k]] & np.uint32(EXPONENT) == np.uint32(EXPONENT):
                bad = k
                break
    return bad if bad < len(columns) else -1


def depths_of(
    roots: NDArray[Any], left: NDArray[Any], right: NDArray[Any], leaf: NDArray[np.bool_]
) -> NDArray[np.int32]:
    """Depth of each tree; a child comes after its parent.

    Parameters
    ----------
    roots
        (trees,) first node of each tree.
    left, right
        (nodes,) children, any number at a leaf.
    leaf
        (nodes,) whether a node is a leaf.

    Returns
    -------
    depths
        (trees,) int32, steps from the root to the deepest leaf.
    """
    depths = np.zeros(len(roots), np.int32)
    tree, nodes, depth = np.arange(len(roots)), np.asarray(roots, np.int64), 0
    while len(nodes):
        depths[tree] = depth
        inner = ~leaf[nodes]
        nodes = nodes[inner]
        nodes = np.concatenate([left[nodes], right[nodes]]).astype(np.int64)
        tree, depth = np.tile(tree[inner], 2), depth + 1
    return depths
