"""Blocks, halos and faces of a regular grid anchored at the volume's origin."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contract import Block, Box, Halo, Triple


def grid_shape(volume_shape: Triple, block_shape: Triple) -> Triple:
    """Number of blocks along z, y, x; the last ones may be smaller.

    >>> grid_shape((10, 5, 4), (4, 5, 3))
    (3, 1, 2)
    """
    z, y, x = (-(-n // b) for n, b in zip(volume_shape, block_shape, strict=True))
    return z, y, x


def block_at(index: Triple, volume_shape: Triple, block_shape: Triple, halo: Halo) -> Block:
    """The block at ``index`` of the grid, its halo clipped to the volume.

    >>> block_at((1, 0, 0), (10, 5, 5), (4, 5, 5), Halo.symmetric(3, 1, 1)).read
    Box(begin=(1, 0, 0), end=(10, 5, 5))
    """
    begin = tuple(i * b for i, b in zip(index, block_shape, strict=True))
    end = tuple(min(o + b, n) for o, b, n in zip(begin, block_shape, volume_shape, strict=True))
    low = tuple(max(b - h, 0) for b, h in zip(begin, halo.below, strict=True))
    high = tuple(min(e + h, n) for e, h, n in zip(end, halo.above, volume_shape, strict=True))
    return Block(
        index=index,
        write=Box(_triple(begin), _triple(end)),
        read=Box(_triple(low), _triple(high)),
        volume_shape=volume_shape,
    )


def blocks(volume_shape: Triple, block_shape: Triple, halo: Halo | None = None) -> Iterator[Block]:
    """All blocks of the grid, z slowest."""
    halo = halo or Halo()
    for index in itertools.product(*(range(n) for n in grid_shape(volume_shape, block_shape))):
        yield block_at(_triple(index), volume_shape, block_shape, halo)


def whole(volume_shape: Triple) -> Block:
    """The one block that covers the volume: how the in-memory run calls a stage."""
    return block_at((0, 0, 0), volume_shape, volume_shape, Halo())


def faces(block: Block, array: NDArray[Any], axis: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """The two sides of all voxel faces along ``axis`` that belong to a block.

    A face belongs to the block of its lower voxel, so ``array`` must cover ``block.read``
    with one voxel above ``block.write`` (where the volume goes on).

    Parameters
    ----------
    block
        Its ``write`` box chooses the faces.
    array
        (Z, Y, X), covers ``block.read``.
    axis
        0, 1 or 2.

    Returns
    -------
    lower, upper
        Views of equal shape: values on both sides of every face.
    """
    low = list(block.inner)
    reach = min(block.write.end[axis], block.volume_shape[axis] - 1)
    start = low[axis].start
    count = reach - block.write.begin[axis]
    if array.shape[axis] < start + count + 1:
        raise AssertionError("the block must be read with a halo of 1 above")
    low[axis] = slice(start, start + count)
    high = list(low)
    high[axis] = slice(start + 1, start + count + 1)
    return array[tuple(low)], array[tuple(high)]


def flat_index(block: Block) -> NDArray[np.uint64]:
    """Flat index in the whole volume of every voxel of ``block.read``.

    Returns
    -------
    index
        (Z, Y, X) uint64, row-major over ``block.volume_shape``.
    """
    _, height, width = block.volume_shape
    z, y, x = (
        np.arange(b, e, dtype=np.uint64)
        for b, e in zip(block.read.begin, block.read.end, strict=True)
    )
    plane = np.uint64(height * width)
    return z[:, None, None] * plane + y[None, :, None] * np.uint64(width) + x[None, None, :]


def _triple(values: tuple[int, ...]) -> Triple:
    z, y, x = values
    return z, y, x
