"""Min-max paths: over all paths between two nodes, the lowest highest edge.

Equal to the height at which agglomeration by minimum linkage joins the two: edges are taken by
rising height, and each joins the clusters of its ends (Kruskal's minimum spanning tree).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.lifted.merge_tree import MergeTree


def minimum_linkage(
    number_of_nodes: int, uv: NDArray[np.uint64], heights: NDArray[np.float32]
) -> MergeTree:
    """Agglomeration by the lowest edge between two clusters.

    Parameters
    ----------
    number_of_nodes
        Nodes are ``0 .. number_of_nodes - 1``.
    uv
        (m, 2) uint64, edges.
    heights
        (m,) finite.

    Returns
    -------
    tree
        The height of a pair in it is the min-max height of the paths between its nodes.
    """
    by_height = np.argsort(heights, kind="stable")
    edges = np.ascontiguousarray(uv[by_height], np.int64)
    return MergeTree.of(number_of_nodes, edges, np.asarray(heights, np.float64)[by_height])
