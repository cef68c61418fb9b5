"""Neighbours of nodes, read from the tables of the graph by ranges."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.contract import Rows
from pipeline.tables import take


@dataclass(frozen=True, eq=False)
class Neighbourhoods:
    """Some nodes, and all their half-edges.

    Parameters
    ----------
    nodes
        (k,) int64, rows in ``nodes``, ascending.
    first
        (k + 1,) int64: ``first[i] .. first[i + 1] - 1`` are the half-edges of ``nodes[i]``.
    other
        (h,) int64, rows in ``nodes`` of the other ends, ascending within a node.
    edge
        (h,) int64, rows in ``edges``.
    """

    nodes: NDArray[np.int64]
    first: NDArray[np.int64]
    other: NDArray[np.int64]
    edge: NDArray[np.int64]

    @property
    def degrees(self) -> NDArray[np.int64]:
        """(k,) number of neighbours."""
        return np.diff(self.first)

    @property
    def of_half_edges(self) -> NDArray[np.int64]:
        """(h,) position in ``nodes`` of the node that a half-edge belongs to."""
        return np.repeat(np.arange(len(self.nodes)), self.degrees)


def neighbours_of_set(nodes: Rows, neighbours: Rows, index: NDArray[np.integer]) -> Neighbourhoods:
    """Neighbours of any nodes.

    Parameters
    ----------
    nodes, neighbours
        Tables of the graph.
    index
        (k,) rows in ``nodes``, strictly ascending.

    Returns
    -------
    neighbourhoods
        Its memory grows with the degrees of these nodes alone.
    """
    rows = np.asarray(index).astype(np.int64)
    begin = take(nodes, "first_neighbour", rows).astype(np.int64)
    end = np.full(len(rows), neighbours.count, np.int64)
    inside = rows + 1 < nodes.count
    end[inside] = take(nodes, "first_neighbour", rows[inside] + 1)
    first = np.concatenate([[0], np.cumsum(end - begin)])
    place = np.repeat(begin - first[:-1], end - begin) + np.arange(first[-1])
    other, edge = (take(neighbours, name, place).astype(np.int64) for name in ("other", "edge"))
    return Neighbourhoods(rows, first, other, edge)
