"""What the features of some edges need to know of the graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from pipeline.contract import Inputs, Table, VolumeInfo
from pipeline.features.contacts import Contacts
from pipeline.features.principal_axes import principal_variances, with_voxel_extent
from pipeline.tables import take

EDGE_COLUMNS = ("across_sections", "length_voxels", "faces", "centre", "moments")
NODE_COLUMNS = ("size_voxels", "centre", "moments")


@dataclass(frozen=True, eq=False)
class Surroundings:
    """Some rows of the graph's edges, and the superpixels at their ends.

    Parameters
    ----------
    edges
        EDGE_COLUMNS of m edges.
    ends
        (m, 2) int64, the place of both ends among ``nodes``.
    nodes
        NODE_COLUMNS of the superpixels at the ends, each once.
    radii_nm
        Of ``nodes``, see ``radii_nm``.
    contacts
        Of both ends of the edges.
    flat
        Whether superpixels lie within sections.
    voxel_size_nm
        zyx.
    """

    edges: Table
    ends: NDArray[np.int64]
    nodes: Table
    radii_nm: NDArray[np.float64]
    contacts: Contacts
    flat: bool
    voxel_size_nm: tuple[float, float, float]

    @classmethod
    def of(
        cls,
        inputs: Inputs,
        begin: int,
        index: NDArray[np.int64],
        ends: NDArray[np.int64],
        flat: bool,
        volume: VolumeInfo,
    ) -> Self:
        """Read from the graph's ``nodes``, ``edges`` and ``neighbours``.

        Parameters
        ----------
        inputs
            Of a step.
        begin
            The first of the edges.
        index
            (k,) int64, ascending: rows of the nodes at their ends.
        ends
            (m, 2) int64, places in ``index``.
        flat, volume
            See above.
        """
        nodes = {name: take(inputs["nodes"], name, index) for name in NODE_COLUMNS}
        last = begin + len(ends)
        return cls(
            edges={name: inputs["edges"].read(name, begin, last) for name in EDGE_COLUMNS},
            ends=ends,
            nodes=nodes,
            radii_nm=radii_nm(nodes["moments"], flat, volume),
            contacts=Contacts.of(index[ends], inputs),
            flat=flat,
            voxel_size_nm=volume.voxel_size_nm,
        )


def radii_nm(moments: NDArray[np.float64], flat: bool, volume: VolumeInfo) -> NDArray[np.float64]:
    """Standard deviations of superpixels' bodies along their principal axes.

    Parameters
    ----------
    moments
        (n, 6) of their voxels' centres, see the graph's ``nodes``.
    flat
        Whether superpixels lie within sections.
    volume
        Gives the voxel size.

    Returns
    -------
    radii
        (n, 2) if flat, else (n, 3) float64, descending; above 0.
    """
    return np.sqrt(principal_variances(with_voxel_extent(moments), volume.voxel_size_nm, flat))
