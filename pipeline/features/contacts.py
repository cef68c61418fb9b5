"""The contacts of both ends of edges: how many, how long, with whom."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from pipeline.contract import Inputs, Rows
from pipeline.features.neighbours import common_neighbours
from pipeline.neighbourhoods import neighbours_of_set
from pipeline.tables import take

HALF_EDGES_AT_ONCE = 1 << 20
"""Neighbours of nodes that are held at the same time; more where one edge's ends have more."""
BYTES_PER_HALF_EDGE = 120


@dataclass(frozen=True, eq=False)
class Contacts:
    """Sums and extremes over all contacts of both ends of m edges.

    Contacts across sections and within them are counted apart (1 and 0 in the last axis):
    lengths of the former are areas, of the latter, in flat data, lines.

    Parameters
    ----------
    degree
        (m, 2) int64, edges of each end.
    surface, longest
        (m, 2, 2) float64, sum and maximum of the voxel faces of each end's edges.
    common
        (m,) int64, neighbours that both ends share.
    """

    degree: NDArray[np.int64]
    surface: NDArray[np.float64]
    longest: NDArray[np.float64]
    common: NDArray[np.int64]

    @classmethod
    def of(cls, uv: NDArray[np.int64], inputs: Inputs) -> Self:
        """Of edges ``uv`` (m, 2), rows of the graph's nodes; reads no more of the graph."""
        nodes, ends = np.unique(uv, return_inverse=True)
        if len(uv) > 1 and _half_edges(inputs, nodes) > HALF_EDGES_AT_ONCE:
            halves = [cls.of(half, inputs) for half in np.array_split(uv, 2)]
            return cls(
                *(
                    np.concatenate([getattr(half, name) for half in halves])
                    for name in cls.__dataclass_fields__
                )
            )
        return cls._of_all(nodes, ends.reshape(uv.shape), inputs)

    @classmethod
    def _of_all(cls, nodes: NDArray[np.int64], ends: NDArray[np.int64], inputs: Inputs) -> Self:
        """Of edges between ``nodes``, whose neighbours are read all at once."""
        around = neighbours_of_set(inputs["nodes"], inputs["neighbours"], nodes)
        length = take(inputs["edges"], "length_voxels", around.edge).astype(np.float64)
        across = take(inputs["edges"], "across_sections", around.edge)
        kind = 2 * around.of_half_edges + across
        # lengths are integers: exact in any order
        surface = np.asarray(np.bincount(kind, length, 2 * len(nodes)), np.float64)
        longest = np.zeros(2 * len(nodes))
        np.maximum.at(longest, kind, length)
        return cls(
            degree=around.degrees[ends],
            surface=surface.reshape(-1, 2)[ends],
            longest=longest.reshape(-1, 2)[ends],
            common=common_neighbours(ends, around.first, around.other),
        )


def _half_edges(inputs: Inputs, nodes: NDArray[np.int64]) -> int:
    """Sum of the degrees of some nodes."""
    rows: Rows = inputs["nodes"]
    last = rows.count - 1
    first = take(rows, "first_neighbour", nodes).astype(np.int64)
    end = take(rows, "first_neighbour", np.minimum(nodes + 1, last)).astype(np.int64)
    return int((np.where(nodes < last, end, inputs["neighbours"].count) - first).sum())
