"""Rows of the final tables: superpixel ids become rows of nodes, integer sums measures."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contract import Inputs, Outputs, Resources, Table
from pipeline.graph.moments import central_moments, means
from pipeline.graph.ranges import node_rows, range_rows, rows_of
from pipeline.tables import row_range, take


def node_count(inputs: Inputs, config: Any, resources: Resources) -> int:
    """Number of superpixels."""
    return rows_of("nodes", inputs)


def edge_count(inputs: Inputs, config: Any, resources: Resources) -> int:
    """Number of pairs of superpixels that touch."""
    return rows_of("edges", inputs)


def overlap_count(inputs: Inputs, config: Any, resources: Resources) -> int:
    """Number of pairs of superpixels that lie over each other two sections apart."""
    return rows_of("overlaps", inputs)


def finish_nodes(task: int, inputs: Inputs, config: Any, resources: Resources) -> Outputs:
    """Some rows of ``nodes``, sorted by ``id``.

    Returns
    -------
    tables
        ``nodes``: ``id`` uint64; ``size_voxels`` uint64; ``centre`` (n, 3) float64 (mean
        zyx, voxels); ``moments`` (n, 6) float64 (population second moments about the centre,
        zz zy zx yy yx xx, voxels^2); ``box`` (n, 6) int64.
    """
    nodes = _rows("nodes", task, inputs)
    size, sums = nodes["size_voxels"], nodes["sums"]
    return {
        "nodes": {
            "id": nodes["id"],
            "size_voxels": size,
            "centre": means(size, sums),
            "moments": central_moments(size, sums, nodes["products"]),
            "box": nodes["box"],
        }
    }


def finish_edges(task: int, inputs: Inputs, config: Any, resources: Resources) -> Outputs:
    """Some rows of ``edges``, sorted by ``uv``; needs the boxes of ``nodes``.

    Returns
    -------
    tables
        ``edges``: ``uv`` (m, 2) uint64 (dense indices, u < v); ``length_voxels`` uint64
        (voxel faces); ``faces`` (m, 3) uint64 (those along z, y, x); ``across_sections``
        bool; ``centre`` and ``moments`` of the faces' positions (midway between the two
        voxels).
    """
    edges = _rows("edges", task, inputs)
    uv = node_rows(edges["ids"], inputs, resources)
    length = edges["faces"].sum(1, dtype=np.uint64)
    return {
        "edges": {
            "uv": uv.astype(np.uint64),
            "across_sections": _across(inputs, edges, uv, resources.volume.flat_sections),
            "length_voxels": length,
            "faces": edges["faces"],
            # summed positions are doubled: halved once for a mean, twice for a product
            "centre": means(length, edges["sums"]) / 2,
            "moments": central_moments(length, edges["sums"], edges["products"]) / 4,
        }
    }


def finish_overlaps(task: int, inputs: Inputs, config: Any, resources: Resources) -> Outputs:
    """Some rows of ``overlaps``, of flat sections only, sorted by ``uv``.

    Returns
    -------
    tables
        ``overlaps``: ``uv`` (k, 2) uint64; ``voxels`` uint64, number of (y, x) where a
        section holds u and the second one above it v, or the reverse.
    """
    overlaps = _rows("overlaps", task, inputs)
    uv = node_rows(overlaps["ids"], inputs, resources).astype(np.uint64)
    return {"overlaps": {"uv": uv, "voxels": overlaps["voxels"]}}


def _rows(table: str, task: int, inputs: Inputs) -> Table:
    return range_rows(table, inputs, *row_range(task, rows_of(table, inputs)))


def _across(
    inputs: Inputs, edges: Table, uv: NDArray[np.int64], flat_sections: bool
) -> NDArray[np.bool_]:
    """Whether an edge joins sections: z faces only, in flat data or between flat superpixels."""
    across = np.asarray((edges["faces"][:, 1:] == 0).all(1))
    if not flat_sections:
        box = take(inputs["nodes"], "box", uv[across])
        across[across] = (box[..., 3] - box[..., 0] == 1).all(1)
    return across
