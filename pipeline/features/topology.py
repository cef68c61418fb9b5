"""Family ``topology``: how an edge lies in the graph, and how sections cover each other."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.features.columns import Column
from pipeline.features.surroundings import Surroundings

COLUMNS = (
    Column("topology/across_sections", "0/1", "whether the edge joins two sections"),
    Column(
        "topology/overlap_of_smaller",
        "1",
        "across sections: overlap over the smaller superpixel; within: 0",
    ),
    Column(
        "topology/overlap_of_union",
        "1",
        "across sections: overlap over the union of both; within: 0",
    ),
    Column("topology/degree_min", "edges", "neighbours of the side with fewer"),
    Column("topology/degree_max", "edges", "neighbours of the side with more"),
    Column("topology/common_neighbours", "superpixels", "neighbours of both sides"),
    Column(
        "topology/common_share",
        "1",
        "neighbours of both sides over neighbours of either; 0 where there are none",
    ),
)


def values(surroundings: Surroundings, rows: slice) -> NDArray[np.float32]:
    """Columns of some edges, (m, 7) float32, see COLUMNS."""
    edges, contacts = surroundings.edges, surroundings.contacts
    length = edges["length_voxels"][rows].astype(np.float64)
    across = edges["across_sections"][rows].astype(np.float64)
    sizes = surroundings.nodes["size_voxels"][surroundings.ends[rows]].astype(np.float64)
    smaller = sizes.min(1)
    # superpixels that are not flat may share more faces than the smaller has voxels
    union = np.maximum(sizes.sum(1) - length, 1)
    degree = contacts.degree[rows]
    common = contacts.common[rows]
    either = degree.sum(1) - 2 - common
    return np.stack(
        [
            across,
            across * length / smaller,
            across * length / union,
            degree.min(1),
            degree.max(1),
            common,
            common / np.maximum(either, 1),
        ],
        1,
    ).astype(np.float32)
