"""Family: size and place of a contact, relative to the two superpixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.contract import Table, VolumeInfo

COLUMNS = {
    "log_length": "log voxel faces",
    "across_sections": "0/1",
    "overlap_of_smaller": "1",
    "overlap_of_union": "1",
    "length_to_smaller": "1",
    "length_to_larger": "1",
    "degree_min": "edges",
    "degree_max": "edges",
    "centre_distance_z": "nm",
    "centre_distance_yx": "nm",
}


def names() -> list[str]:
    """Columns of an edge."""
    return [f"contact/{name}" for name in COLUMNS]


def units() -> list[str]:
    """Unit of every column."""
    return list(COLUMNS.values())


def degrees(uv: NDArray[np.uint64], nodes: int) -> NDArray[np.int64]:
    """Number of edges of every node, (n,) int64."""
    return np.bincount(uv.ravel().astype(np.int64), minlength=nodes).astype(np.int64)


def values(
    edges: Table, nodes: Table, degree: NDArray[np.int64], flat: bool, volume: VolumeInfo
) -> NDArray[np.float32]:
    """Columns of edges.

    Overlaps are of contacts across sections and 0 within them. Lengths are compared with
    the extent of a superpixel of the same size: the square root of its voxels in flat
    data, else their cube root squared.

    Parameters
    ----------
    edges
        Rows of the graph's table: ``uv``, ``across_sections``, ``length_voxels``.
    nodes
        The whole table of nodes: ``size_voxels``, ``centre``.
    degree
        (n,) see ``degrees``.
    flat
        Whether superpixels lie within sections.
    volume
        Gives the voxel size.

    Returns
    -------
    values
        (m, 10) float32, see ``names``.
    """
    uv = edges["uv"].astype(np.int64)
    length = edges["length_voxels"].astype(np.float64)
    across = edges["across_sections"].astype(np.float64)
    sizes = nodes["size_voxels"][uv].astype(np.float64)
    smaller, larger = sizes.min(1), sizes.max(1)
    # superpixels that are not flat may share more faces than the smaller has voxels
    union = np.maximum(smaller + larger - length, 1)
    extent = np.sqrt if flat else _face_of_cube
    ends = nodes["centre"][uv] * np.array(volume.voxel_size_nm)
    offset = ends[:, 0] - ends[:, 1]
    degree_of_ends = degree[uv]
    columns = [
        np.log(length),
        across,
        across * length / smaller,
        across * length / union,
        length / extent(smaller),
        length / extent(larger),
        degree_of_ends.min(1),
        degree_of_ends.max(1),
        np.abs(offset[:, 0]),
        np.sqrt(offset[:, 1] ** 2 + offset[:, 2] ** 2),
    ]
    return np.stack(columns, 1).astype(np.float32)


def _face_of_cube(size: NDArray[np.float64]) -> NDArray[np.float64]:
    """Voxels on one face of a cube of ``size`` voxels."""
    root: NDArray[np.float64] = np.cbrt(size)
    return root * root
