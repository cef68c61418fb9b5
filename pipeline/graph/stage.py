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
from pipeline.graph.adjacency import block_edges, block_nodes, union_edges, union_nodes


class GraphConfig(StageConfig):
    """Region adjacency graph; it has no parameters."""


def halo(config: GraphConfig, resources: Resources) -> Halo:
    """One voxel above: a face belongs to the block of its lower voxel."""
    return Halo(above=(1, 1, 1))


def compute(block: Block, inputs: Inputs, config: GraphConfig, resources: Resources) -> Outputs:
    """Part of the graph in one block: tables ``nodes`` and ``edges`` keyed by ids."""
    superpixels = inputs["superpixels"]
    return {"nodes": block_nodes(block, superpixels), "edges": block_edges(block, superpixels)}


def combine(parts: Sequence[Outputs]) -> Outputs:
    """Union of parts of the graph: associative, commutative, exact."""
    return {
        "nodes": union_nodes(_stack([part["nodes"] for part in parts])),
        "edges": union_edges(_stack([part["edges"] for part in parts])),
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
        (mean zyx, voxels), ``box`` (n, 6) int64.
        ``edges``, sorted by ``uv`` (m, 2) uint64 (dense indices, u < v): ``length_voxels``
        uint64 (voxel faces), ``across_sections`` bool.
    """
    graph = combine(parts)
    nodes, edges = graph["nodes"], graph["edges"]
    uv = np.searchsorted(nodes["id"], edges["ids"])
    if len(uv) and not np.array_equal(
        nodes["id"][np.minimum(uv, len(nodes["id"]) - 1)], edges["ids"]
    ):
        raise AssertionError("an edge names a superpixel that no block holds")
    return {
        "nodes": {
            "id": nodes["id"],
            "size_voxels": nodes["size_voxels"],
            "centre": nodes["sums"].astype(np.float64) / nodes["size_voxels"][:, None],
            "box": nodes["box"],
        },
        "edges": {
            "uv": uv.astype(np.uint64),
            "across_sections": _across(nodes, edges, uv, resources.volume.flat_sections),
            "length_voxels": edges["faces_z"] + edges["faces_yx"],
        },
    }


def _across(
    nodes: Table, edges: Table, uv: NDArray[np.intp], flat_sections: bool
) -> NDArray[np.bool_]:
    """Whether an edge joins sections: z faces only, in flat data or between flat superpixels."""
    only_z = edges["faces_yx"] == 0
    if flat_sections:
        return np.asarray(only_z)
    flat = nodes["box"][:, 3] - nodes["box"][:, 0] == 1
    return np.asarray(only_z & flat[uv].all(1))


def _stack(parts: Sequence[Table]) -> Table:
    """Rows of all parts, one below the other."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


STAGE = Stage(
    name="graph",
    version=1,
    config=GraphConfig,
    reads=("superpixels",),
    writes=(
        TableSpec(
            "nodes",
            {"id": "uint64", "size_voxels": "uint64", "centre": "float64", "box": "int64"},
        ),
        TableSpec(
            "edges",
            {"uv": "uint64", "across_sections": "bool", "length_voxels": "uint64"},
        ),
    ),
    compute=compute,
    halo=halo,
    merge=merge,
)
