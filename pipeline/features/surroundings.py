"""What the features of one edge need to know of the whole graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from pipeline.contract import Table, VolumeInfo
from pipeline.features.neighbours import common_neighbours
from pipeline.features.principal_axes import principal_variances, with_voxel_extent


@dataclass(frozen=True, eq=False)
class Surroundings:
    """The graph's tables, and sums and extremes over the edges of every node.

    Contacts across sections and within them are counted apart (columns 1 and 0): lengths of
    the former are areas, of the latter, in flat data, lines.

    Parameters
    ----------
    nodes, edges
        The graph's tables, whole.
    flat
        Whether superpixels lie within sections.
    voxel_size_nm
        zyx.
    radii_nm
        (n, 2) if flat, else (n, 3), descending: standard deviation of a superpixel's body
        along its principal axes (see ``principal_axes``); above 0.
    degree
        (n,) int64, edges.
    surface, longest
        (n, 2) float64, sum and maximum of the voxel faces of a node's edges.
    common
        (m,) int64, neighbours that both ends of an edge share.
    """

    nodes: Table
    edges: Table
    flat: bool
    voxel_size_nm: tuple[float, float, float]
    radii_nm: NDArray[np.float64]
    degree: NDArray[np.int64]
    surface: NDArray[np.float64]
    longest: NDArray[np.float64]
    common: NDArray[np.int64]

    @classmethod
    def of(cls, nodes: Table, edges: Table, flat: bool, volume: VolumeInfo) -> Self:
        """From the graph's tables."""
        count = len(nodes["id"])
        uv = edges["uv"].astype(np.int64)
        degree = np.bincount(uv.ravel(), minlength=count).astype(np.int64)
        length = np.repeat(edges["length_voxels"].astype(np.float64), 2)
        kind = 2 * uv.ravel() + np.repeat(edges["across_sections"].astype(np.int64), 2)
        longest = np.zeros(2 * count)
        np.maximum.at(longest, kind, length)
        variances = principal_variances(
            with_voxel_extent(nodes["moments"]), volume.voxel_size_nm, flat
        )
        return cls(
            nodes=nodes,
            edges=edges,
            flat=flat,
            voxel_size_nm=volume.voxel_size_nm,
            radii_nm=np.sqrt(variances),
            degree=degree,
            surface=np.asarray(np.bincount(kind, length, 2 * count), np.float64).reshape(-1, 2),
            longest=longest.reshape(-1, 2),
            common=common_neighbours(edges["uv"], degree),
        )
