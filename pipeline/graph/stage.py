"""Region adjacency graph: per block keyed by superpixel ids, merged to dense indices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.contract import (
    Block,
    Halo,
    Inputs,
    Outputs,
    Resources,
    Stage,
    StageConfig,
    Table,
    TableSpec,
)
from pipeline.graph.adjacency import (
    Labels,
    block_edges,
    block_nodes,
    block_overlaps,
    no_overlaps,
    union_nodes,
    union_pairs,
)
from pipeline.graph.moments import central_moments, means


class GraphConfig(StageConfig):
    """Region adjacency graph; it has no parameters."""


def halo(config: GraphConfig, resources: Resources) -> Halo:
    """One voxel above: a face belongs to its lower voxel's block; two sections for overlaps."""
    return Halo(above=(2 if resources.volume.flat_sections else 1, 1, 1))


def compute(block: Block, inputs: Inputs, config: GraphConfig, resources: Resources) -> Outputs:
    """Part of the graph in one block: ``nodes``, ``edges``, ``overlaps`` keyed by ids.

    Reads ``superpixels`` (Z, Y, X) uint64 over ``block.read``; 0 = masked: no node, no edge.
    """
    labels = Labels.of(block, inputs["superpixels"])
    return {
        "nodes": block_nodes(labels),
        "edges": block_edges(labels),
        "overlaps": block_overlaps(labels) if resources.volume.flat_sections else no_overlaps(),
    }


def combine(parts: Sequence[Outputs]) -> Outputs:
    """Union of parts of the graph: associative, commutative, exact."""
    return {
        "nodes": union_nodes(_stack([part["nodes"] for part in parts])),
        "edges": union_pairs(_stack([part["edges"] for part in parts])),
        "overlaps": union_pairs(_stack([part["overlaps"] for part in parts])),
    }


def merge(
    parts: Sequence[Outputs],
    tables: Mapping[str, Table],
    config: GraphConfig,
    resources: Resources,
) -> Outputs:
    """The volume's graph.

    Returns
    -------
    outputs
        ``nodes``, sorted by ``id`` uint64: ``size_voxels`` uint64, ``centre`` (n, 3) float64
        (mean zyx, voxels), ``moments`` (n, 6) float64 (population second moments about the
        centre, zz zy zx yy yx xx, voxels^2), ``box`` (n, 6) int64.
        ``edges``, sorted by ``uv`` (m, 2) uint64 (dense indices, u < v): ``length_voxels``
        uint64 (voxel faces), ``faces`` (m, 3) uint64 (those along z, y, x),
        ``across_sections`` bool, ``centre`` and ``moments`` of the faces' positions (midway
        between the two voxels).
        ``overlaps``, of flat sections only, sorted by ``uv`` (k, 2) uint64: ``voxels``
        uint64, number of (y, x) where a section holds u and the second one above it v, or
        the reverse.
    """
    graph = combine(parts)
    nodes, edges, overlaps = graph["nodes"], graph["edges"], graph["overlaps"]
    uv = _dense(nodes["id"], edges["ids"])
    length = edges["faces"].sum(1, dtype=np.uint64)
    return {
        "nodes": {
            "id": nodes["id"],
            "size_voxels": nodes["size_voxels"],
            "centre": means(nodes["size_voxels"], nodes["sums"]),
            "moments": central_moments(nodes["size_voxels"], nodes["sums"], nodes["products"]),
            "box": nodes["box"],
        },
        "edges": {
            "uv": uv.astype(np.uint64),
            "across_sections": _across(nodes, edges, uv, resources.volume.flat_sections),
            "length_voxels": length,
            "faces": edges["faces"],
            # summed positions are doubled: halved once for a mean, twice for a product
            "centre": means(length, edges["sums"]) / 2,
            "moments": central_moments(length, edges["sums"], edges["products"]) / 4,
        },
        "overlaps": {
            "uv": _dense(nodes["id"], overlaps["ids"]).astype(np.uint64),
            "voxels": overlaps["voxels"],
        },
    }


def _dense(ids: NDArray[np.uint64], pairs: NDArray[np.uint64]) -> NDArray[np.intp]:
    """Rows of pairs of superpixel ids in the sorted ``ids``, which hold them all."""
    rows = np.searchsorted(ids, pairs)
    if len(rows) and not np.array_equal(ids[np.minimum(rows, len(ids) - 1)], pairs):
        raise AssertionError("an edge names a superpixel that no block holds")
    return rows


def _across(
    nodes: Table, edges: Table, uv: NDArray[np.intp], flat_sections: bool
) -> NDArray[np.bool_]:
    """Whether an edge joins sections: z faces only, in flat data or between flat superpixels."""
    only_z = (edges["faces"][:, 1:] == 0).all(1)
    if flat_sections:
        return np.asarray(only_z)
    flat = nodes["box"][:, 3] - nodes["box"][:, 0] == 1
    return np.asarray(only_z & flat[uv].all(1))


def _stack(parts: Sequence[Table]) -> Table:
    """Rows of all parts, one below the other."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


STAGE = Stage(
    name="graph",
    version=2,
    config=GraphConfig,
    reads=("superpixels",),
    writes=(
        TableSpec(
            "nodes",
            {
                "id": "uint64",
                "size_voxels": "uint64",
                "centre": "float64",
                "moments": "float64",
                "box": "int64",
            },
        ),
        TableSpec(
            "edges",
            {
                "uv": "uint64",
                "across_sections": "bool",
                "length_voxels": "uint64",
                "faces": "uint64",
                "centre": "float64",
                "moments": "float64",
            },
        ),
        TableSpec("overlaps", {"uv": "uint64", "voxels": "uint64"}),
    ),
    compute=compute,
    halo=halo,
    merge=merge,
)
