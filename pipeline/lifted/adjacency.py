"""The graph as every node's list of neighbours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Adjacency:
    """Neighbours of node i: ``node[start[i]:start[i + 1]]``, ascending.

    Parameters
    ----------
    start
        (n + 1,) int64.
    node
        (2 m,) int64.
    edge
        (2 m,) int64, row of the edge that leads there.
    """

    start: NDArray[np.int64]
    node: NDArray[np.int64]
    edge: NDArray[np.int64]

    @classmethod
    def of(cls, number_of_nodes: int, uv: NDArray[np.integer]) -> Adjacency:
        """Both directions of every edge of (m, 2)."""
        pairs = np.asarray(uv, np.int64).reshape(-1, 2)
        rows = np.concatenate([pairs[:, 0], pairs[:, 1]])
        columns = np.concatenate([pairs[:, 1], pairs[:, 0]])
        order = np.argsort(rows * number_of_nodes + columns, kind="stable")
        counts = np.bincount(rows, minlength=number_of_nodes)
        return cls(
            start=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            node=columns[order],
            edge=order % max(len(pairs), 1),
        )

    @property
    def degree(self) -> NDArray[np.int64]:
        """(n,) number of neighbours."""
        return np.diff(self.start)
