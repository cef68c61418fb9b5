"""Features of edges and nodes: statistics per block, merged exactly, finished once.

1. Channels: raw and boundary map as uint8, and their filter responses (``channels``).
2. Samples: one per voxel face of an edge, one per voxel of a node (``samples``).
3. Integer statistics of the samples, keyed by superpixel ids (``statistics``).
4. An index of what the blocks kept (``index``).
5. Ranges of nodes, then of edges: what the blocks kept is added up (``totals``); then the columns
   of the chosen families, ``appearance`` (raw, boundary), ``regions``, ``shape``, ``topology``,
   in this order. The nodes' columns are always the same: lifted edges compare them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contract import (
    BLOCKS,
    ROWS,
    Block,
    Halo,
    Inputs,
    Outputs,
    Resources,
    Stage,
    Step,
    TableSpec,
)
from pipeline.features import appearance, regions, shape, topology
from pipeline.features.channels import INPUTS, channel_names, scales, sources
from pipeline.features.columns import Column
from pipeline.features.config import FAMILIES, Family, FeaturesConfig
from pipeline.features.contacts import BYTES_PER_HALF_EDGE, HALF_EDGES_AT_ONCE
from pipeline.features.index import index_blocks, index_tasks
from pipeline.features.parts import measured_parts
from pipeline.features.statistics import BYTES_PER_CHANNEL, summary
from pipeline.features.surroundings import Surroundings, radii_nm
from pipeline.features.totals import ROWS_AT_ONCE, addends, stretches, total
from pipeline.grid import faces_halo, widened
from pipeline.intervals import INDEX
from pipeline.tables import row_range, take


def halo(config: FeaturesConfig, resources: Resources) -> Halo:
    """Reach of the largest filter, beyond what the faces of the last voxels reach.

    Along z also that of the sections in the place of those that are bridged.
    """
    filters = scales(config, resources.volume) if sources(config) else []
    z, y, x = (max((f.radius[axis] for f in filters), default=0) for axis in range(3))
    corrections = resources.corrections
    faces = faces_halo(corrections.links if corrections else ())
    reach = (z + (corrections.reach if corrections else 0), y, x)
    return widened(faces, reach)


def edge_families(config: FeaturesConfig) -> dict[Family, list[Column]]:
    """Columns of every chosen family, in the order of ``edges/features``.

    ``config`` is resolved.
    """
    everything: dict[Family, list[Column]] = {
        "raw": appearance.columns(config, "raw"),
        "boundary": appearance.columns(config, "boundary"),
        "regions": regions.columns(config),
        "shape": shape.columns(config),
        "topology": list(topology.COLUMNS),
    }
    return {family: everything[family] for family in FAMILIES if family in config.families}


def edge_columns(config: FeaturesConfig) -> list[Column]:
    """Columns of ``edges/features``; ``config`` is resolved."""
    return [column for columns in edge_families(config).values() for column in columns]


def node_columns(config: FeaturesConfig) -> list[Column]:
    """Columns of ``nodes/features``, whatever the families; ``config`` is resolved."""
    return regions.node_columns(config)


def edge_names(config: FeaturesConfig) -> list[str]:
    """Names of the columns of ``edges/features``; ``config`` is resolved."""
    return [column.name for column in edge_columns(config)]


def node_names(config: FeaturesConfig) -> list[str]:
    """Names of the columns of ``nodes/features``; ``config`` is resolved."""
    return [column.name for column in node_columns(config)]


def attributes(config: FeaturesConfig, resources: Resources) -> Mapping[str, Mapping[str, Any]]:
    """Names and units of the columns."""
    resolved = config.resolved(resources.volume)
    tables = {"edges": edge_columns(resolved), "nodes": node_columns(resolved)}
    return {
        f"{table}/features": {
            "names": [column.name for column in columns],
            "units": [column.unit for column in columns],
        }
        for table, columns in tables.items()
    }


def compute(block: Block, inputs: Inputs, config: FeaturesConfig, resources: Resources) -> Outputs:
    """Statistics of the edges and nodes of one block, keyed by superpixel ids.

    Reads ``raw`` (any grey values), ``boundaries`` uint8, ``superpixels`` uint64, each
    (Z, Y, X) over ``block.read``; raw data are bridged and normalised as the table
    ``sections`` says.

    Returns
    -------
    parts
        ``nodes``: ``key`` (the id) and the columns of ``Statistics``; ``edges``: ``key`` (the
        lower id), ``upper`` (the higher one), likewise. Rows are sorted; where a histogram
        outgrows its dtype, the rest follows in a row of the same ids.
    """
    return measured_parts(block, inputs, config, resources)


def compute_nodes(
    task: int, inputs: Inputs, config: FeaturesConfig, resources: Resources
) -> Outputs:
    """``features`` (n, g) float32 of a range of ``nodes``."""
    resolved, volume = config.resolved(resources.volume), resources.volume
    nodes, parts = inputs["nodes"], inputs.parts(BLOCKS)
    begin, end = row_range(task, nodes.count)
    found = addends(inputs, "nodes", nodes.read("id", begin, end)[:, None], resources)
    size = nodes.read("size_voxels", begin, end)
    radii = radii_nm(nodes.read("moments", begin, end), resolved.flat, volume)
    features = np.empty((end - begin, len(node_columns(resolved))), np.float32)
    for rows in stretches(end - begin):
        statistics = total(parts, "nodes", found, rows, size[rows], len(INPUTS))
        features[rows] = regions.node_features(size[rows], radii[rows], statistics)
    return {"nodes": {"features": features}}


def compute_edges(
    task: int, inputs: Inputs, config: FeaturesConfig, resources: Resources
) -> Outputs:
    """``features`` (m, f) float32 of a range of ``edges``."""
    resolved = config.resolved(resources.volume)
    edges, parts = inputs["edges"], inputs.parts(BLOCKS)
    begin, end = row_range(task, edges.count)
    index, ends = np.unique(edges.read("uv", begin, end).astype(np.int64), return_inverse=True)
    ends = ends.reshape(-1, 2)
    found = addends(inputs, "edges", take(inputs["nodes"], "id", index)[ends], resources)
    samples = edges.read("length_voxels", begin, end)
    measured = len(channel_names(resolved))
    families = _families(inputs, begin, index, ends, resolved, resources)
    features = np.empty((end - begin, len(edge_columns(resolved))), np.float32)
    for rows in stretches(end - begin):
        appear = summary(total(parts, "edges", found, rows, samples[rows], measured))
        features[rows] = np.concatenate([appear, *(values(rows) for values in families)], 1)
    return {"edges": {"features": features}}


def _families(
    inputs: Inputs,
    begin: int,
    index: NDArray[np.int64],
    ends: NDArray[np.int64],
    config: FeaturesConfig,
    resources: Resources,
) -> list[Callable[[slice], NDArray[np.float32]]]:
    """The columns after the appearance, as functions of rows of the task's edges."""
    families: list[Callable[[slice], NDArray[np.float32]]] = []
    if "regions" in config.families:
        of_nodes = take(inputs["nodes"], "features", index)
        families.append(lambda rows: regions.values(ends[rows], of_nodes))
    if {"shape", "topology"} & set(config.families):
        around = Surroundings.of(inputs, begin, index, ends, config.flat, resources.volume)
        if "shape" in config.families:
            families.append(lambda rows: shape.values(around, rows))
        if "topology" in config.families:
            families.append(lambda rows: topology.values(around, rows))
    return families


def memory_of_edges(inputs: Inputs, config: FeaturesConfig, resources: Resources) -> int:
    """Bytes of a task: its features and the statistics of some rows; before these, contacts."""
    resolved = config.resolved(resources.volume)
    rows = min(int(inputs["edges"].count), ROWS)
    row = len(edge_columns(resolved)) * np.dtype(np.float32).itemsize
    statistics = 2 * row + len(channel_names(resolved)) * BYTES_PER_CHANNEL
    contacts = HALF_EDGES_AT_ONCE * BYTES_PER_HALF_EDGE
    return rows * row + max(min(rows, ROWS_AT_ONCE) * statistics, contacts)


STAGE = Stage(
    name="features",
    version=3,
    config=FeaturesConfig,
    reads=("raw", "boundaries", "superpixels", "sections", "nodes", "edges", "neighbours"),
    compute=compute,
    halo=halo,
    after=(
        Step(INDEX, index_blocks, tasks=index_tasks),
        Step(
            "nodes",
            compute_nodes,
            rows=lambda inputs, config, resources: int(inputs["nodes"].count),
            writes=(TableSpec("nodes", {"features": "float32"}),),
        ),
        Step(
            "edges",
            compute_edges,
            rows=lambda inputs, config, resources: int(inputs["edges"].count),
            writes=(TableSpec("edges", {"features": "float32"}),),
            memory=memory_of_edges,
        ),
    ),
    attributes=attributes,
)
