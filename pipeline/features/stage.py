"""Features of edges and nodes: statistics per block, merged exactly, finished once.

1. Channels: raw and boundary map as uint8, and their filter responses (``channels``).
2. Samples: one per voxel face of an edge, one per voxel of a node (``samples``).
3. Integer statistics of the samples, keyed by superpixel ids (``statistics``).
4. Merge: parts are added in rows of the graph's tables; then the columns of the chosen
   families, ``appearance`` (raw, boundary), ``regions``, ``shape``, ``topology``, in this
   order. The nodes' columns are always the same: lifted edges compare them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contract import (
    Block,
    Halo,
    Inputs,
    Outputs,
    Resources,
    Stage,
    Table,
    TableSpec,
)
from pipeline.features import appearance, regions, shape, topology
from pipeline.features.channels import INPUTS, channel_names, scales, sources
from pipeline.features.columns import Column
from pipeline.features.config import FAMILIES, Family, FeaturesConfig
from pipeline.features.parts import measured_parts, totals
from pipeline.features.statistics import summary
from pipeline.features.surroundings import Surroundings


def halo(config: FeaturesConfig, resources: Resources) -> Halo:
    """Reach of the largest filter; one more above, for the faces of the last voxels."""
    filters = scales(config, resources.volume) if sources(config) else []
    z, y, x = (max((f.radius[axis] for f in filters), default=0) for axis in range(3))
    return Halo(below=(z, y, x), above=(z + 1, y + 1, x + 1))


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
    (Z, Y, X) over ``block.read``, and the table ``intensity``.

    Returns
    -------
    parts
        ``edges`` and ``nodes``: ``ids`` and the columns of ``Statistics``.
    """
    return measured_parts(block, inputs, config, resources)


def merge(
    parts: Sequence[Outputs],
    tables: Mapping[str, Table],
    config: FeaturesConfig,
    resources: Resources,
) -> Outputs:
    """Features in the rows of the graph's tables; the order of the parts does not matter.

    Returns
    -------
    outputs
        ``edges``: ``features`` (m, f) float32; ``nodes``: ``features`` (n, g) float32.
    """
    resolved = config.resolved(resources.volume)
    nodes, edges = tables["nodes"], tables["edges"]
    surroundings = Surroundings.of(nodes, edges, resolved.flat, resources.volume)
    node_rows = [_node_rows(nodes["id"], part["nodes"]["ids"]) for part in parts]
    of_nodes = np.zeros((len(nodes["id"]), len(node_columns(resolved))), np.float32)
    for rows, statistics in totals(parts, "nodes", node_rows, len(of_nodes), len(INPUTS)):
        of_nodes[rows] = regions.node_features(surroundings, rows, statistics)

    edge_rows = [_edge_rows(nodes["id"], edges["uv"], part["edges"]["ids"]) for part in parts]
    of_edges = np.zeros((len(edges["uv"]), len(edge_columns(resolved))), np.float32)
    measured = len(channel_names(resolved))
    for rows, statistics in totals(parts, "edges", edge_rows, len(of_edges), measured):
        families = [summary(statistics)]
        if "regions" in resolved.families:
            families.append(regions.values(edges["uv"][rows], of_nodes))
        if "shape" in resolved.families:
            families.append(shape.values(surroundings, rows))
        if "topology" in resolved.families:
            families.append(topology.values(surroundings, rows))
        of_edges[rows] = np.concatenate(families, 1)
    return {"edges": {"features": of_edges}, "nodes": {"features": of_nodes}}


def _node_rows(ids: NDArray[np.uint64], wanted: NDArray[np.uint64]) -> NDArray[np.intp]:
    """Rows of superpixel ids in the sorted ``ids``, which hold them all."""
    rows = np.searchsorted(ids, wanted)
    if wanted.size and not np.array_equal(ids[np.minimum(rows, len(ids) - 1)], wanted):
        raise AssertionError("a superpixel is missing in the graph")
    return rows


def _edge_rows(
    ids: NDArray[np.uint64], uv: NDArray[np.uint64], wanted: NDArray[np.uint64]
) -> NDArray[np.intp]:
    """Rows of pairs of superpixel ids in the sorted edges ``uv``, which hold them all."""
    pairs = _node_rows(ids, wanted)
    keys = uv[:, 0].astype(np.int64) * len(ids) + uv[:, 1].astype(np.int64)
    key = pairs[:, 0] * len(ids) + pairs[:, 1]
    rows = np.searchsorted(keys, key)
    if len(key) and not np.array_equal(keys[np.minimum(rows, len(keys) - 1)], key):
        raise AssertionError("an edge is missing in the graph")
    return rows


STAGE = Stage(
    name="features",
    version=2,
    config=FeaturesConfig,
    reads=("raw", "boundaries", "superpixels", "intensity", "nodes", "edges"),
    writes=(
        TableSpec("edges", {"features": "float32"}),
        TableSpec("nodes", {"features": "float32"}),
    ),
    compute=compute,
    halo=halo,
    merge=merge,
    attributes=attributes,
)
