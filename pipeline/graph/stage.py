"""Region adjacency graph: per block keyed by superpixel ids, then by ranges of ids and of rows.

1. The blocks keep totals of their superpixels and of the pairs that touch.
2. ``index`` and ``ranges`` gather them by ranges of ids (``ranges``).
3. ``nodes``, ``edges`` and ``overlaps`` are written out of the ranges (``finish``).
4. ``upper``, ``first_neighbour`` and ``neighbours`` give every node its edges (``half_edges``).

No task holds more than some blocks' rows of one range, or a stretch of a table.
"""

from __future__ import annotations

from pipeline.contract import (
    Block,
    Halo,
    Inputs,
    Outputs,
    Resources,
    Stage,
    StageConfig,
    Step,
    TableSpec,
)
from pipeline.graph import finish, half_edges, ranges
from pipeline.graph.adjacency import Labels, block_edges, block_nodes, block_overlaps
from pipeline.grid import columns_of, faces_halo, faces_of
from pipeline.intervals import INDEX


class GraphConfig(StageConfig):
    """Region adjacency graph; it has no parameters."""


def halo(config: GraphConfig, resources: Resources) -> Halo:
    """What the faces of a block reach: one voxel above; more across gaps and where it slipped.

    In flat sections two sections above, for overlaps.
    """
    flat, corrections = resources.volume.flat_sections, resources.corrections
    if corrections is None:
        return Halo(above=(2 if flat else 1, 1, 1))
    return faces_halo((*corrections.links, *(corrections.links_over(2) if flat else ())))


def compute(block: Block, inputs: Inputs, config: GraphConfig, resources: Resources) -> Outputs:
    """Part of the graph in one block: ``nodes``, ``edges``, ``overlaps`` keyed by ids.

    Reads ``superpixels`` (Z, Y, X) uint64 over ``block.read``; 0 = masked: no node, no edge.
    """
    corrections = resources.corrections
    assert corrections is not None
    faces = faces_of(block, corrections)
    columns = columns_of(block, corrections, 2) if resources.volume.flat_sections else []
    labels = Labels.of(block, inputs["superpixels"], [*faces, *columns])
    return {
        "nodes": block_nodes(labels),
        "edges": block_edges(labels, faces),
        "overlaps": block_overlaps(labels, columns),
    }


NODES = TableSpec(
    "nodes",
    {
        "id": "uint64",
        "size_voxels": "uint64",
        "centre": "float64",
        "moments": "float64",
        "box": "int64",
    },
    {"centre": 3, "moments": 6, "box": 6},
)
EDGES = TableSpec(
    "edges",
    {
        "uv": "uint64",
        "across_sections": "bool",
        "length_voxels": "uint64",
        "faces": "uint64",
        "centre": "float64",
        "moments": "float64",
    },
    {"uv": 2, "faces": 3, "centre": 3, "moments": 6},
)
OVERLAPS = TableSpec("overlaps", {"uv": "uint64", "voxels": "uint64"}, {"uv": 2})
FIRST_NEIGHBOUR = TableSpec("nodes", {"first_neighbour": "uint64"})
NEIGHBOURS = TableSpec("neighbours", {"other": "uint64", "edge": "uint64"})

STAGE = Stage(
    name="graph",
    version=4,
    config=GraphConfig,
    reads=("superpixels", "sections"),
    compute=compute,
    halo=halo,
    after=(
        Step(INDEX, ranges.index_blocks, tasks=ranges.index_tasks),
        Step(ranges.RANGES, ranges.gather_range, tasks=ranges.range_tasks),
        Step("nodes", finish.finish_nodes, rows=finish.node_count, writes=(NODES,)),
        Step("edges", finish.finish_edges, rows=finish.edge_count, writes=(EDGES,)),
        Step("overlaps", finish.finish_overlaps, rows=finish.overlap_count, writes=(OVERLAPS,)),
        Step(half_edges.UPPER, half_edges.sort_upper, tasks=half_edges.upper_tasks),
        Step(
            "first_neighbour",
            half_edges.first_neighbours,
            rows=half_edges.node_count,
            writes=(FIRST_NEIGHBOUR,),
        ),
        Step(
            "neighbours",
            half_edges.neighbours,
            rows=half_edges.half_edge_count,
            writes=(NEIGHBOURS,),
        ),
    ),
)
