"""Pairs of nodes 2 .. d steps apart in the graph, and the shortest paths between them.

1. Both directions of every edge become a compressed adjacency.
2. Sources are walked breadth first, many at a time; hubs are reached but not passed through.
3. Every source keeps its nearest partners; a pair stays if each keeps the other.

Hubs (background, glia, vessels) would otherwise make all their neighbours into pairs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CHUNK_ROWS = 1 << 21
"""Rows of a walk that are held at once (about 100 bytes each)."""
NEVER_CERTAIN = 1e-6
"""P(cut) is kept this far below 1, so that a path's cost is finite."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs of nodes and their paths of fewest steps.

    Parameters
    ----------
    uv
        (k, 2) int64, u < v, sorted by (u, v), no pair twice.
    steps
        (k,) int64, edges on the path, 2 or more.
    paths
        (k,) int64, number of such paths; at 2 steps, the common neighbours.
    cost
        (k,) float64, lowest sum of -log(1 - P(cut)) over these paths.
    highest
        (k,) float64, lowest maximum of P(cut) over these paths.
    """

    uv: NDArray[np.int64]
    steps: NDArray[np.int64]
    paths: NDArray[np.int64]
    cost: NDArray[np.float64]
    highest: NDArray[np.float64]

    def take(self, rows: NDArray[np.int64]) -> Pairs:
        """Only the rows of these numbers."""
        return Pairs(
            self.uv[rows], self.steps[rows], self.paths[rows], self.cost[rows], self.highest[rows]
        )


@dataclass(frozen=True, eq=False)
class Adjacency:
    """Neighbours of node i: ``node[start[i]:start[i + 1]]``, ascending."""

    start: NDArray[np.int64]
    node: NDArray[np.int64]
    p_cut: NDArray[np.float64]
    cost: NDArray[np.float64]

    @classmethod
    def of(
        cls, number_of_nodes: int, uv: NDArray[np.uint64], p_cut: NDArray[np.float32]
    ) -> Adjacency:
        """From the regular edges."""
        pairs = uv.astype(np.int64)
        rows = np.concatenate([pairs[:, 0], pairs[:, 1]])
        columns = np.concatenate([pairs[:, 1], pairs[:, 0]])
        order = np.lexsort((columns, rows))
        p = np.tile(np.asarray(p_cut, np.float64), 2)[order]
        counts = np.bincount(rows, minlength=number_of_nodes)
        return cls(
            start=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            node=columns[order],
            p_cut=p,
            cost=-np.log1p(-np.minimum(p, 1 - NEVER_CERTAIN)),
        )

    @property
    def degree(self) -> NDArray[np.int64]:
        """(n,) number of neighbours."""
        return np.diff(self.start)


def neighbouring_pairs(
    number_of_nodes: int,
    uv: NDArray[np.uint64],
    p_cut: NDArray[np.float32],
    centre_nm: NDArray[np.float64],
    *,
    max_distance: int,
    max_degree: int,
    max_partners: int,
) -> Pairs:
    """All pairs 2 .. ``max_distance`` steps apart, up to the limits.

    Parameters
    ----------
    number_of_nodes
        Nodes are ``0 .. number_of_nodes - 1``.
    uv
        (m, 2) uint64, regular edges.
    p_cut
        (m,) 0..1.
    centre_nm
        (n, 3) zyx in nanometres; among partners equally many steps away the nearer centre
        comes first, then the lower index.
    max_distance
        Steps.
    max_degree
        Paths do not pass through nodes with more neighbours; they may end there.
    max_partners
        Partners that each node keeps at most.

    Returns
    -------
    pairs
        See ``Pairs``; steps are counted on the paths that are allowed.
    """
    adjacency = Adjacency.of(number_of_nodes, uv, p_cut)
    parts = [
        _nearest(_walk(adjacency, sources, max_distance, max_degree), centre_nm, max_partners)
        for sources in _chunks(adjacency, max_distance, max_degree)
    ]
    directed = _joined(parts)
    code = directed.uv[:, 0] * number_of_nodes + directed.uv[:, 1]
    mirrored = directed.uv[:, 1] * number_of_nodes + directed.uv[:, 0]
    mutual = (directed.uv[:, 0] < directed.uv[:, 1]) & np.isin(code, mirrored)
    rows = np.flatnonzero(mutual)
    return directed.take(rows[np.argsort(code[rows])])


def _chunks(
    adjacency: Adjacency, max_distance: int, max_degree: int
) -> Iterator[NDArray[np.int64]]:
    degree = np.where(adjacency.degree > max_degree, 1, adjacency.degree)
    if not len(adjacency.node):
        return
    second = np.add.reduceat(np.append(degree[adjacency.node], 0), adjacency.start[:-1])
    second[adjacency.degree == 0] = 0
    rows = second * max(float(degree.mean()), 1.0) ** max(max_distance - 2, 0)
    chunk = (np.cumsum(rows) // CHUNK_ROWS).astype(np.int64)
    edges = np.flatnonzero(np.diff(chunk)) + 1
    yield from np.split(np.arange(len(degree)), edges)


def _walk(
    adjacency: Adjacency, sources: NDArray[np.int64], max_distance: int, max_degree: int
) -> Pairs:
    n = len(adjacency.degree)
    through = adjacency.degree <= max_degree
    none = np.zeros(len(sources))
    frontier = Pairs(
        np.stack([sources, sources], axis=1), none.astype(int), none.astype(int) + 1, none, none
    )
    seen = sources * n + sources
    found: list[Pairs] = []
    for step in range(1, max_distance + 1):
        if step > 1:
            frontier = frontier.take(np.flatnonzero(through[frontier.uv[:, 1]]))
        frontier = _best_per_pair(_expanded(adjacency, frontier, step), n, seen)
        seen = np.sort(np.concatenate([seen, frontier.uv[:, 0] * n + frontier.uv[:, 1]]))
        if step > 1:
            found.append(frontier)
    return _joined(found)


def _expanded(adjacency: Adjacency, frontier: Pairs, step: int) -> Pairs:
    at = frontier.uv[:, 1]
    counts = adjacency.degree[at]
    row = np.repeat(np.arange(len(at)), counts)
    within = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
    edge = adjacency.start[at][row] + within
    return Pairs(
        np.stack([frontier.uv[row, 0], adjacency.node[edge]], axis=1),
        np.full(len(row), step),
        frontier.paths[row],
        frontier.cost[row] + adjacency.cost[edge],
        np.maximum(frontier.highest[row], adjacency.p_cut[edge]),
    )


def _best_per_pair(walked: Pairs, n: int, seen: NDArray[np.int64]) -> Pairs:
    code = walked.uv[:, 0] * n + walked.uv[:, 1]
    place = np.minimum(np.searchsorted(seen, code), len(seen) - 1)
    fresh = np.flatnonzero(seen[place] != code)
    order = fresh[np.argsort(code[fresh], kind="stable")]
    if not len(order):
        return walked.take(order)
    code = code[order]
    first = np.concatenate([[0], np.flatnonzero(code[1:] != code[:-1]) + 1])
    return Pairs(
        walked.uv[order[first]],
        walked.steps[order[first]],
        np.add.reduceat(walked.paths[order], first),
        np.minimum.reduceat(walked.cost[order], first),
        np.minimum.reduceat(walked.highest[order], first),
    )


def _nearest(pairs: Pairs, centre_nm: NDArray[np.float64], max_partners: int) -> Pairs:
    u, v = pairs.uv.T
    apart = ((centre_nm[u] - centre_nm[v]) ** 2).sum(axis=1)
    order = np.lexsort((v, apart, pairs.steps, u))
    if not len(order):
        return pairs
    source = u[order]
    first = np.concatenate([[0], np.flatnonzero(source[1:] != source[:-1]) + 1])
    counts = np.diff(np.append(first, len(source)))
    rank = np.arange(len(source)) - np.repeat(first, counts)
    return pairs.take(order[rank < max_partners])


def _joined(parts: list[Pairs]) -> Pairs:
    if not parts:
        none = np.zeros(0)
        whole = none.astype(np.int64)
        return Pairs(np.zeros((0, 2), np.int64), whole, whole, none, none)
    return Pairs(
        np.concatenate([part.uv for part in parts]),
        np.concatenate([part.steps for part in parts]),
        np.concatenate([part.paths for part in parts]),
        np.concatenate([part.cost for part in parts]),
        np.concatenate([part.highest for part in parts]),
    )
