"""Where things lie in a store that this program writes, and how arrays are cut.

::

    volume.neurons.zarr/        the boundary map: OME-Zarr image, arrays 0 1 2 ...
      labels/superpixels/0 ...  label images
      labels/neurons/0 ...
      graph/<table>/<column>    one array a column
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from pipeline.contract import Triple

AXES = ("z", "y", "x")

ROOT_IMAGE = "boundaries"
"""The array that is the root's own image, so that viewers can open the store."""

TARGET_CHUNK: Triple = (32, 128, 128)
"""Voxels of an inner chunk along z, y, x: what a viewer or a halo reads at the least."""

SMALLEST_LEVEL = 128
"""Pyramids end at the level with no axis longer than this, in voxels."""

Nanometres = tuple[float, float, float]
"""Lengths along z, y, x."""


class Geometry(Protocol):
    """What a store must know of the volume it belongs to."""

    @property
    def shape(self) -> Triple:
        """zyx, in voxels."""

    @property
    def voxel_size_nm(self) -> Nanometres:
        """zyx, in nanometres."""

    @property
    def translation_nm(self) -> Nanometres:
        """zyx, centre of the first voxel, in nanometres."""


@dataclass(frozen=True)
class Level:
    """One level of a pyramid.

    Parameters
    ----------
    shape
        zyx, in voxels.
    factor
        zyx, how many voxels of the next finer level make one.
    voxel_size_nm
        zyx, in nanometres.
    translation_nm
        zyx, centre of the first voxel, in nanometres.
    """

    shape: Triple
    factor: Triple
    voxel_size_nm: Nanometres
    translation_nm: Nanometres


def group_path(name: str) -> str:
    """Path of the image that holds an array, relative to the store; ``""`` is the root."""
    return "" if name == ROOT_IMAGE else f"labels/{name}"


def table_path(name: str) -> str:
    """Path of a table, relative to the store."""
    return f"graph/{name}"


def shard_shape(shape: Triple, block_shape: Triple) -> Triple:
    """Voxels of one file: the write block, no larger than the volume needs.

    >>> shard_shape((20, 300, 4000), (64, 512, 512))
    (20, 384, 512)
    """
    z, y, x = (
        min(block, n if n <= target else -(-n // target) * target)
        for n, block, target in zip(shape, block_shape, TARGET_CHUNK, strict=True)
    )
    return z, y, x


def chunk_shape(shard: Triple) -> Triple:
    """Inner chunk that divides the shard, close to ``TARGET_CHUNK``.

    >>> chunk_shape((50, 300, 512))
    (25, 100, 128)
    """
    z, y, x = (_divisor(n, target) for n, target in zip(shard, TARGET_CHUNK, strict=True))
    return z, y, x


def pyramid_levels(
    shape: Triple,
    voxel_size_nm: Nanometres,
    translation_nm: Nanometres,
) -> tuple[Level, ...]:
    """Levels of a pyramid, finest first.

    An axis is halved unless its voxels are already twice as long as the shortest (of the
    axes longer than one voxel), so that coarse sections wait until voxels are about
    isotropic.

    >>> [level.shape for level in pyramid_levels((50, 600, 500), (40, 10, 10), (0, 0, 0))]
    [(50, 600, 500), (50, 300, 250), (50, 150, 125), (25, 75, 63)]
    """
    levels = [Level(shape, (1, 1, 1), voxel_size_nm, translation_nm)]
    while max(levels[-1].shape) > SMALLEST_LEVEL:
        levels.append(_coarser(levels[-1]))
    return tuple(levels)


def _coarser(level: Level) -> Level:
    sizes = np.array(level.voxel_size_nm)
    long = np.array(level.shape) > 1
    factor = np.where(long & (sizes < 2 * sizes[long].min()), 2, 1)
    z, y, x = (int(f) for f in factor)
    depth, height, width = (int(n) for n in -(-np.array(level.shape) // factor))
    size_z, size_y, size_x = (float(s) for s in sizes * factor)
    shift = np.array(level.translation_nm) + sizes * (factor - 1) / 2
    shift_z, shift_y, shift_x = (float(t) for t in shift)
    return Level(
        (depth, height, width), (z, y, x), (size_z, size_y, size_x), (shift_z, shift_y, shift_x)
    )


def _divisor(n: int, target: int) -> int:
    """Largest divisor up to ``target``; if that is tiny, the smallest above it."""
    if n <= target:
        return n
    divisors = [d for d in range(1, n + 1) if n % d == 0]
    below = max(d for d in divisors if d <= target)
    return below if 4 * below >= target else min(d for d in divisors if d > target)
