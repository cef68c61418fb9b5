"""Family: how raw data and boundary map look inside superpixels, and how two differ.

The columns of nodes are kept for pairs that do not touch (lifted edges).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.contract import Table
from pipeline.features.appearance import SHAPE
from pipeline.features.channels import INPUTS
from pipeline.features.statistics import SUMMARY, Statistics, summary

COMBINATIONS = ("min", "max", "difference")


def node_names() -> list[str]:
    """Columns of one superpixel."""
    inside = [f"{source}/{column}" for source in INPUTS for column in SUMMARY]
    return ["log_size", *inside]


def node_units() -> list[str]:
    """Unit of every column of one superpixel."""
    inside = ["1" if column in SHAPE else "range" for _ in INPUTS for column in SUMMARY]
    return ["log voxels", *inside]


def node_features(nodes: Table, statistics: Statistics) -> NDArray[np.float32]:
    """Columns of superpixels.

    Parameters
    ----------
    nodes
        Rows of the graph's table: ``size_voxels``.
    statistics
        Of the voxels of these rows, in the channels of INPUTS; a sample is twice a voxel.

    Returns
    -------
    features
        (n, g) float32, see ``node_names``.
    """
    size = np.log(nodes["size_voxels"].astype(np.float64)).astype(np.float32)
    return np.concatenate([size[:, None], summary(statistics)], 1)


def names() -> list[str]:
    """Columns of an edge."""
    return [f"regions/{name}/{how}" for how in COMBINATIONS for name in node_names()]


def units() -> list[str]:
    """Unit of every column of an edge."""
    return node_units() * len(COMBINATIONS)


def values(uv: NDArray[np.uint64], features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Minimum, maximum and absolute difference of the two superpixels' columns.

    Parameters
    ----------
    uv
        (m, 2) rows of ``features``.
    features
        (n, g) float32, of nodes.

    Returns
    -------
    values
        (m, 3 g) float32.
    """
    u, v = features[uv[:, 0]], features[uv[:, 1]]
    return np.concatenate([np.minimum(u, v), np.maximum(u, v), np.abs(u - v)], 1)
