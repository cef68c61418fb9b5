"""Neighbours that the two ends of an edge share."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.compiled import compiled


def common_neighbours(
    ends: NDArray[np.int64], first: NDArray[np.int64], other: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Number of nodes that touch both ends of every edge.

    Each neighbour of the end with fewer of them is looked up among those of the other: a hub
    costs its neighbours a logarithm of its degree.

    Parameters
    ----------
    ends
        (m, 2) int64, places in ``first``.
    first
        (k + 1,) int64, where the neighbours of every node begin in ``other``.
    other
        (h,) int64, neighbours, named in any way; those of one node ascend, each once.

    Returns
    -------
    common
        (m,) int64.
    """
    return _common(
        np.ascontiguousarray(ends), np.ascontiguousarray(first), np.ascontiguousarray(other)
    )


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
