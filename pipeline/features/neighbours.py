"""Neighbours that the two ends of an edge share."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.compiled import compiled


def common_neighbours(uv: NDArray[np.uint64], degree: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number of nodes that touch both ends of every edge.

    Each neighbour of the end with fewer of them is looked up among those of the other: a hub
    costs its neighbours a logarithm of its degree.

    Parameters
    ----------
    uv
        (m, 2) uint64, u < v, sorted by (u, v), each once.
    degree
        (n,) int64, number of edges of every node.

    Returns
    -------
    common
        (m,) int64.
    """
    start = np.concatenate([[0], np.cumsum(degree)]).astype(np.int64)
    pairs = np.ascontiguousarray(uv.astype(np.int64))
    return _common(pairs, start, _sorted_neighbours(pairs, start))


@compiled
def _sorted_neighbours(uv: NDArray[np.int64], start: NDArray[np.int64]) -> NDArray[np.int64]:
    """Neighbours of every node, one list after the other, each ascending.

    Edges are sorted, so lower neighbours arrive in order, and higher ones too.
    """
    neighbours = np.empty(2 * len(uv), np.int64)
    filled = start[:-1].copy()
    for edge in range(len(uv)):
        neighbours[filled[uv[edge, 1]]] = uv[edge, 0]
        filled[uv[edge, 1]] += 1
    for edge in range(len(uv)):
        neighbours[filled[uv[edge, 0]]] = uv[edge, 1]
        filled[uv[edge, 0]] += 1
    return neighbours


@compiled
def _common(
    uv: NDArray[np.int64], start: NDArray[np.int64], neighbours: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Size of the intersection of the neighbours of both ends of every edge."""
    common = np.zeros(len(uv), np.int64)
    for edge in range(len(uv)):
        few, many = uv[edge, 0], uv[edge, 1]
        if start[few + 1] - start[few] > start[many + 1] - start[many]:
            few, many = many, few
        low, end = start[many], start[many + 1]
        for at in range(start[few], start[few + 1]):
            high = end
            while low < high:  # both lists ascend: what is below stays below
                middle = (low + high) // 2
                if neighbours[middle] < neighbours[at]:
                    low = middle + 1
                else:
                    high = middle
            if low == end:
                break
            if neighbours[low] == neighbours[at]:
                common[edge] += 1
    return common
