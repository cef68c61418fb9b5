"""Family: where two superpixels lie, how large they are, and how they overlap.

Superpixels of flat sections overlap if a column along z meets one in a section and the other
two sections on; the graph's table ``overlaps`` counts these columns.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from pipeline.contract import Table, VolumeInfo
from pipeline.lifted.config import LiftedConfig


def units(config: LiftedConfig) -> dict[str, str]:
    """Name -> unit of every column."""
    return {
        "geometry/steps": "steps",
        "geometry/distance": "nm",
        "geometry/in_plane": "nm",
        "geometry/sections": "sections",
        "geometry/size_min": "voxels",
        "geometry/size_max": "voxels",
        "geometry/size_ratio": "share",
        "geometry/overlap_min": "share",
        "geometry/overlap_max": "share",
        "geometry/overlap_union": "share",
    }


def values(
    pairs: NDArray[np.int64],
    steps: NDArray[np.int64],
    nodes: Table,
    overlaps: Table,
    volume: VolumeInfo,
) -> Iterator[NDArray[np.generic]]:
    """Columns of (k,), in the order of ``units``.

    Parameters
    ----------
    pairs
        (k, 2) nodes, u < v.
    steps
        (k,) fewest steps between them in the graph.
    nodes
        ``size_voxels`` (n,) and ``centre`` (n, 3) zyx voxels.
    overlaps
        ``uv`` (o, 2) u < v, and ``voxels`` (o,), of superpixels two sections apart.
    volume
        For its voxel size.

    Returns
    -------
    columns
        Overlaps are shares of the smaller and the larger quotient by a superpixel's size, and
        of the union of both (intersection over union); 0 where there is none.
    """
    u, v = pairs.T
    centre = np.asarray(nodes["centre"], np.float64)
    offset = np.abs(centre[u] - centre[v])
    nanometres = offset * np.array(volume.voxel_size_nm)
    size = np.asarray(nodes["size_voxels"], np.float64)
    smaller, larger = np.minimum(size[u], size[v]), np.maximum(size[u], size[v])
    shared = overlap_voxels(pairs, overlaps, len(size))
    yield steps
    yield np.sqrt((nanometres**2).sum(axis=1))
    yield np.sqrt((nanometres[:, 1:] ** 2).sum(axis=1))
    yield offset[:, 0]
    yield smaller
    yield larger
    yield smaller / larger
    yield shared / larger
    yield shared / smaller
    yield shared / (smaller + larger - shared)


def overlap_voxels(
    pairs: NDArray[np.int64], overlaps: Table, number_of_nodes: int
) -> NDArray[np.float64]:
    """Columns along z that the superpixels of each pair share; 0 where none are listed.

    Parameters
    ----------
    pairs
        (k, 2) nodes, u < v.
    overlaps
        ``uv`` (o, 2) u < v, and ``voxels`` (o,), in any order.
    number_of_nodes
        n.

    Returns
    -------
    voxels
        (k,) float64.
    """
    if not len(overlaps["uv"]):
        return np.zeros(len(pairs))
    listed = np.asarray(overlaps["uv"], np.int64) @ np.array([number_of_nodes, 1])
    order = np.argsort(listed, kind="stable")
    listed = listed[order]
    wanted = pairs @ np.array([number_of_nodes, 1])
    row = np.minimum(np.searchsorted(listed, wanted), len(listed) - 1)
    voxels = np.asarray(overlaps["voxels"], np.float64)[order[row]]
    return np.where(listed[row] == wanted, voxels, 0.0)
