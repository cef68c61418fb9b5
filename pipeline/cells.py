"""Cells of the volume: boxes in which superpixels lie by their seeds.

Stages over the whole graph work cell by cell where it does not fit in memory. The grid depends
on the volume and on the number of superpixels, never on storage blocks or workers.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from pipeline.contract import Box, Triple, VolumeInfo
from pipeline.grid import grid_shape


@dataclass(frozen=True)
class Cells:
    """A grid of boxes, numbered z slowest.

    Parameters
    ----------
    volume_shape
        zyx, in voxels.
    shape
        Of a cell, zyx, in voxels; the last ones along an axis may be smaller.
    shift
        zyx, in voxels; the grid begins so far below the volume, so the first cells are smaller.
    """

    volume_shape: Triple
    shape: Triple
    shift: Triple = (0, 0, 0)

    @classmethod
    def of(cls, volume: VolumeInfo, superpixels: int, per_cell: int) -> Self:
        """Cells that hold about ``per_cell`` superpixels, at most, if they lie evenly.

        The axis along which a cell is longest, in nanometres, is halved until they do.

        >>> volume = VolumeInfo((16, 512, 512), (40.0, 4.0, 4.0), "uint8")
        >>> Cells.of(volume, 8000, 2500).shape
        (16, 256, 256)
        """
        shape = list(volume.shape)
        held = float(superpixels)
        while held > per_cell and max(shape) > 1:
            lengths = [
                n * nm if n > 1 else 0.0 for n, nm in zip(shape, volume.voxel_size_nm, strict=True)
            ]
            axis = int(np.argmax(lengths))
            halved = -(-shape[axis] // 2)
            held *= halved / shape[axis]
            shape[axis] = halved
        z, y, x = shape
        return cls(volume.shape, (z, y, x))

    @property
    def grid(self) -> Triple:
        """Cells along z, y, x."""
        z, y, x = (n + t for n, t in zip(self.volume_shape, self.shift, strict=True))
        return grid_shape((z, y, x), self.shape)

    @property
    def count(self) -> int:
        """Number of cells."""
        z, y, x = self.grid
        return z * y * x

    def twice(self) -> Cells:
        """Cells of 2 x 2 x 2 of these."""
        z, y, x = (min(2 * s, n) for s, n in zip(self.shape, self.volume_shape, strict=True))
        return Cells(self.volume_shape, (z, y, x))

    def of_voxels(self, zyx: NDArray[np.integer]) -> NDArray[np.int64]:
        """(n, 3) voxels -> (n,) cells."""
        index = (np.asarray(zyx).astype(np.int64) + np.array(self.shift)) // np.array(self.shape)
        flat: NDArray[np.int64] = np.ravel_multi_index(tuple(index.T), self.grid).astype(np.int64)
        return flat

    def of_ids(self, ids: NDArray[np.uint64]) -> NDArray[np.int64]:
        """(n,) superpixel ids -> (n,) cells of their seeds."""
        return self.of_voxels(seeds(ids, self.volume_shape))

    def box(self, cell: int) -> Box:
        """Voxels of a cell."""
        low = [i * s - t for i, s, t in zip(self.index(cell), self.shape, self.shift, strict=True)]
        z0, y0, x0 = (max(b, 0) for b in low)
        z1, y1, x1 = (
            min(b + s, n) for b, s, n in zip(low, self.shape, self.volume_shape, strict=True)
        )
        return Box((z0, y0, x0), (z1, y1, x1))

    def index(self, cell: int) -> Triple:
        """Place of a cell in the grid."""
        z, y, x = np.unravel_index(cell, self.grid)
        return int(z), int(y), int(x)

    def touched(self, box: Box) -> list[int]:
        """Cells that a box reaches, ascending; the box may end outside of the volume."""
        ranges: list[Iterable[int]] = [
            range((max(b, 0) + t) // s, (min(e, n) - 1 + t) // s + 1)
            for b, e, s, t, n in zip(
                box.begin, box.end, self.shape, self.shift, self.volume_shape, strict=True
            )
        ]
        return [int(np.ravel_multi_index(index, self.grid)) for index in itertools.product(*ranges)]


def grown(box: Box, reach: Triple) -> Box:
    """A box that is larger on every side; it may end outside of the volume."""
    z0, y0, x0 = (b - r for b, r in zip(box.begin, reach, strict=True))
    z1, y1, x1 = (e + r for e, r in zip(box.end, reach, strict=True))
    return Box((z0, y0, x0), (z1, y1, x1))


def seeds(ids: NDArray[np.uint64], volume_shape: Triple) -> NDArray[np.int64]:
    """(n,) superpixel ids -> (n, 3) zyx voxels of their seeds: an id is 1 + the flat index."""
    index = np.unravel_index(np.asarray(ids).astype(np.int64) - 1, volume_shape)
    return np.stack(index, axis=-1).astype(np.int64)
