"""Tree of unions of an agglomeration, and the height at which two nodes come together.

Clusters are joined by union by size, without path compression: the tree is at most log2(n)
deep, and join times rise towards its root. A pair climbs in it, always the one that was
joined earlier, until both meet; the last join on the way brought them into one cluster.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.compiled import compiled

CHUNK_PAIRS = 1 << 16


@dataclass(frozen=True, eq=False)
class MergeTree:
    """Unions of nodes in the order of their time.

    Parameters
    ----------
    parent
        (n,) int64; a root is its own parent.
    time
        (n,) int64, number of the join that gave the node its parent; ``len(heights)`` at roots.
    heights
        (t,) float64, height of every join in order of time.
    """

    parent: NDArray[np.int64]
    time: NDArray[np.int64]
    heights: NDArray[np.float64]

    @classmethod
    def of(
        cls, number_of_nodes: int, joins: NDArray[np.int64], heights: NDArray[np.float64]
    ) -> MergeTree:
        """The tree of joins in order of time.

        Parameters
        ----------
        number_of_nodes
            Nodes are ``0 .. number_of_nodes - 1``.
        joins
            (m, 2) int64, any node of each of two clusters; rows within one cluster are skipped.
        heights
            (m,) float64, of the joins.
        """
        parent, time, rows = _unions(number_of_nodes, joins)
        return cls(parent, time, heights[rows])

    def heights_of(self, pairs: NDArray[np.int64], threads: int = 1) -> NDArray[np.float64]:
        """Height of the join that brought the nodes of each pair into one cluster.

        Parameters
        ----------
        pairs
            (k, 2) node indices.
        threads
            They do not change the result.

        Returns
        -------
        heights
            (k,) float64; infinite where the nodes were never joined, minus infinite for a
            node and itself.
        """
        table = np.concatenate([self.heights, [np.inf, -np.inf]])
        result = np.empty(len(pairs))

        def climb(begin: int) -> None:
            rows = slice(begin, begin + CHUNK_PAIRS)
            last = _last_joins(self.parent, self.time, np.ascontiguousarray(pairs[rows], np.int64))
            result[rows] = table[last]

        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(climb, range(0, len(pairs), CHUNK_PAIRS)))
        return result

    def labels(self) -> NDArray[np.int64]:
        """(n,) root of every node: equal where two nodes end in one cluster."""
        root = self.parent
        while not np.array_equal(root, root[root]):
            root = root[root]
        return root


@compiled
def _last_joins(
    parent: NDArray[np.int64], time: NDArray[np.int64], pairs: NDArray[np.int64]
) -> NDArray[np.int64]:
    last = np.full(len(pairs), -1, np.int64)
    for row in range(len(pairs)):
        u, v = pairs[row, 0], pairs[row, 1]
        while u != v:
            if time[u] > time[v]:
                u, v = v, u
            last[row] = time[u]
            if parent[u] == u:  # two roots: never joined
                break
            u = parent[u]
    return last


@compiled
def _unions(
    number_of_nodes: int, joins: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Parents and times of the tree, and the rows of ``joins`` that joined two clusters.

    Of two clusters of equally many nodes the second is hung below the first.
    """
    parent = np.arange(number_of_nodes)
    short = np.arange(number_of_nodes)
    members = np.ones(number_of_nodes, np.int64)
    time = np.full(number_of_nodes, -1, np.int64)
    rows = np.empty(min(len(joins), number_of_nodes), np.int64)
    now = 0
    for row in range(len(joins)):
        a, b = _root(short, joins[row, 0]), _root(short, joins[row, 1])
        if a == b:
            continue
        if members[a] < members[b]:
            a, b = b, a
        parent[b] = short[b] = a
        time[b] = now
        members[a] += members[b]
        rows[now] = row
        now += 1
    time[time < 0] = now
    return parent, time, rows[:now]


@compiled
def _root(short: NDArray[np.int64], node: int) -> int:
    """Root of a node, halving the way there for the next caller."""
    while short[node] != node:
        short[node] = short[short[node]]
        node = short[node]
    return node
