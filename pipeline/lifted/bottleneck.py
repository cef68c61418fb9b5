"""Min-max paths: over all paths between two nodes, the lowest highest edge.

1. The minimum spanning tree holds a min-max path of every pair.
2. Its edges are joined in ascending order by union by size, without path compression: this
   tree of unions is at most log2(n) deep, and join times rise towards its root.
3. A pair climbs in it, always the one that was joined earlier, until both meet; the last
   join on the way is the bottleneck.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import minimum_spanning_tree


def bottlenecks(
    number_of_nodes: int,
    uv: NDArray[np.uint64],
    heights: NDArray[np.float32],
    pairs: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Exact min-max height of the path between the nodes of every pair.

    Parameters
    ----------
    number_of_nodes
        Nodes are ``0 .. number_of_nodes - 1``.
    uv
        (m, 2) uint64, edges.
    heights
        (m,) finite.
    pairs
        (k, 2) node indices.

    Returns
    -------
    bottleneck
        (k,) float64; infinite where no path exists, minus infinite for a node and itself.
    """
    edges, tree_heights = _spanning_tree(number_of_nodes, uv, heights)
    parent, time = _unions(number_of_nodes, edges)
    u, v = pairs[:, 0].astype(np.int64), pairs[:, 1].astype(np.int64)
    last = np.full(len(pairs), -1, np.int64)
    apart = np.flatnonzero(u != v)
    never = len(edges)
    while len(apart):
        a, b = u[apart], v[apart]
        first_is_a = time[a] <= time[b]
        climber = np.where(first_is_a, a, b)
        last[apart] = time[climber]
        u[apart] = np.where(first_is_a, parent[a], a)
        v[apart] = np.where(first_is_a, b, parent[b])
        apart = apart[(u[apart] != v[apart]) & (time[climber] < never)]
    return np.concatenate([tree_heights, [np.inf, -np.inf]])[last]


def _spanning_tree(
    number_of_nodes: int, uv: NDArray[np.uint64], heights: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Edges of a minimum spanning forest by rising height, and these heights."""
    by_height = np.argsort(heights, kind="stable")
    rank = np.empty(len(uv))
    rank[by_height] = np.arange(1, len(uv) + 1)  # above 0: csgraph takes 0 for "no edge"
    row, column = uv.astype(np.int64).T
    graph = coo_array((rank, (row, column)), shape=(number_of_nodes, number_of_nodes))
    tree = minimum_spanning_tree(graph.tocsr())
    chosen = by_height[np.sort(tree.data).astype(np.int64) - 1]
    return uv[chosen].astype(np.int64), np.asarray(heights, np.float64)[chosen]


def _unions(
    number_of_nodes: int, edges: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Tree of unions by size: each node's parent and the time at which it got it.

    A root is its own parent, at time ``len(edges)``.
    """
    parent = list(range(number_of_nodes))
    time = [len(edges)] * number_of_nodes
    size = [1] * number_of_nodes
    short = list(range(number_of_nodes))
    for now, (u, v) in enumerate(edges.tolist()):
        a, b = _root(short, u), _root(short, v)
        if size[a] < size[b]:
            a, b = b, a
        parent[b] = short[b] = a
        time[b] = now
        size[a] += size[b]
    return np.array(parent, np.int64), np.array(time, np.int64)


def _root(short: list[int], node: int) -> int:
    """Root of a node, halving the way there for the next caller."""
    while short[node] != node:
        short[node] = short[short[node]]
        node = short[node]
    return node
