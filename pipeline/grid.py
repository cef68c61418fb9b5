"""Blocks, halos and faces of a regular grid anchored at the volume's origin."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.contract import Block, Box, Halo, Triple
from pipeline.corrections import Corrections, Link


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


@dataclass(frozen=True)
class Faces:
    """The faces between every voxel of a box and that a step further.

    Parameters
    ----------
    lower
        The box, in the volume.
    step
        zyx, from the lower voxel of a face to the upper one.
    axis
        0, 1 or 2, that they count for: 0 (z) wherever the step leads to another section.
    """

    lower: Box
    step: Triple
    axis: int


def faces_of(block: Block, corrections: Corrections) -> list[Faces]:
    """All faces that belong to a block: to that of their lower voxel.

    Between two sections, and across a gap, they follow the links; each is named once.
    """
    across = [_faces(block, link.step, 0, (link.begin, link.end)) for link in corrections.links]
    sections = (0, block.volume_shape[0])
    within = [_faces(block, (0, 1, 0), 1, sections), _faces(block, (0, 0, 1), 2, sections)]
    return [faces for faces in (*across, *within) if min(faces.lower.shape) > 0]


def columns_of(block: Block, corrections: Corrections, depth: int) -> list[Faces]:
    """As ``faces_of``: voxels that lie over each other ``depth`` sections apart."""
    links = corrections.links_over(depth)
    found = [_faces(block, link.step, 0, (link.begin, link.end)) for link in links]
    return [faces for faces in found if min(faces.lower.shape) > 0]


def faces_box(block: Block, faces: Iterable[Faces]) -> Box:
    """The smallest box that holds ``block.write`` and all upper voxels."""
    begin, end = [np.array(corner) for corner in (block.write.begin, block.write.end)]
    for one in faces:
        begin = np.minimum(begin, np.add(one.lower.begin, one.step))
        end = np.maximum(end, np.add(one.lower.end, one.step))
    return Box(_triple(begin), _triple(end))


def faces_halo(links: Iterable[Link]) -> Halo:
    """What ``faces_box`` adds to a block, at most; without any links, as where all is straight."""
    steps = np.array([(1, 1, 1), *(link.step for link in links)])
    return Halo(_triple(-steps.min(0, initial=0)), _triple(steps.max(0)))


def widened(halo: Halo, reach: Triple) -> Halo:
    """A halo that reaches further on every side."""
    below = (n + r for n, r in zip(halo.below, reach, strict=True))
    above = (n + r for n, r in zip(halo.above, reach, strict=True))
    return Halo(_triple(below), _triple(above))


def _faces(block: Block, step: Triple, axis: int, sections: tuple[int, int]) -> Faces:
    """Those whose lower voxels lie in some sections; both voxels lie in the volume."""
    reach = zip(step, block.volume_shape, strict=True)
    limits = [(max(0, -s), n - max(0, s)) for s, n in reach]
    limits[0] = max(limits[0][0], sections[0]), min(limits[0][1], sections[1])
    begin = [max(b, low) for b, (low, _) in zip(block.write.begin, limits, strict=True)]
    end = [min(e, high) for e, (_, high) in zip(block.write.end, limits, strict=True)]
    return Faces(Box(_triple(begin), _triple(end)), step, axis)


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


def _triple(values: Iterable[int]) -> Triple:
    z, y, x = (int(value) for value in values)
    return z, y, x
