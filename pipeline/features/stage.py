"""Features of edges and nodes: statistics per block, merged exactly, finished once.

1. Channels: raw and boundary map as uint8, and their filter responses (``channels``).
2. Samples: one per voxel face of an edge, one per voxel of a node (``samples``).
3. Integer statistics of the samples, keyed by superpixel ids (``statistics``).
4. Merge: parts are added in rows of the graph's tables; then the families' columns,
   ``appearance``, ``regions``, ``contact``, in this order.
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
from pipeline.features import appearance, contact, regions
from pipeline.features.channels import INPUTS, channel_names, scales
from pipeline.features.config import FeaturesConfig
from pipeline.features.parts import measured_parts, totals
from pipeline.features.statistics import summary


def halo(config: FeaturesConfig, resources: Resources) -> Halo:
    """Reach of the largest filter; one more above, for the faces of the last voxels."""
    radius = [scale.radius for scale in scales(config, resources.volume)]
    z, y, x = (max(r[axis] for r in radius) for axis in range(3))
    return Halo(below=(z, y, x), above=(z + 1, y + 1, x + 1))


def edge_names(config: FeaturesConfig) -> list[str]:
    """Columns of ``edges/features``."""
    return [*appearance.names(config), *regions.names(), *contact.names()]


def node_names(config: FeaturesConfig) -> list[str]:
    """Columns of ``nodes/features``."""
    return regions.node_names()


def attributes(config: FeaturesConfig, resources: Resources) -> Mapping[str, Mapping[str, Any]]:
    """Names and units of the columns."""
    return {
        "edges/features": {
            "names": edge_names(config),
            "units": [*appearance.units(config), *regions.units(), *contact.units()],
        },
        "nodes/features": {"names": node_names(config), "units": regions.node_units()},
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
    nodes, edges = tables["nodes"], tables["edges"]
    flat = config.resolved(resources.volume).mode == "2d"
    node_rows = [_node_rows(nodes["id"], part["nodes"]["ids"]) for part in parts]
    of_nodes = np.zeros((len(nodes["id"]), len(node_names(config))), np.float32)
    for rows, statistics in totals(parts, "nodes", node_rows, len(of_nodes), len(INPUTS)):
        some = {name: column[rows] for name, column in nodes.items()}
        of_nodes[rows] = regions.node_features(some, statistics)

    edge_rows = [_edge_rows(nodes["id"], edges["uv"], part["edges"]["ids"]) for part in parts]
    of_edges = np.zeros((len(edges["uv"]), len(edge_names(config))), np.float32)
    degree = contact.degrees(edges["uv"], len(nodes["id"]))
    measured = len(channel_names(config))
    for rows, statistics in totals(parts, "edges", edge_rows, len(of_edges), measured):
        some = {name: column[rows] for name, column in edges.items()}
        of_edges[rows] = np.concatenate(
            [
                summary(statistics),
                regions.values(some["uv"], of_nodes),
                contact.values(some, nodes, degree, flat, resources.volume),
            ],
            1,
        )
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
    version=1,
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
