"""Samples of channels: one per voxel face between superpixels, one per voxel inside them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipeline.contract import Block, Box
from pipeline.grid import faces


@dataclass(frozen=True)
class Samples:
    """Where samples lie, sorted by the group (edge or node) they belong to.

    Parameters
    ----------
    ids
        Of every group: (k, 2) uint64, lower id first, for edges; (k,) uint64 for nodes.
        Rows are sorted.
    first
        (k,) position of every group's first sample.
    lower, upper
        (n,) flat positions of the two voxels whose sum is the sample; the same voxel twice
        inside a superpixel.
    """

    ids: NDArray[np.uint64]
    first: NDArray[np.int64]
    lower: NDArray[np.signedinteger]
    upper: NDArray[np.signedinteger]

    def read(self, channel: NDArray[np.uint8]) -> NDArray[np.uint16]:
        """Samples of a channel, 0..510, which covers the sampled box."""
        flat = channel.ravel()
        summed: NDArray[np.uint16] = np.add(flat[self.lower], flat[self.upper], dtype=np.uint16)
        return summed


def sampled_box(block: Block) -> Box:
    """``block.write`` and the voxels above it that its faces reach."""
    z, y, x = (min(e + 1, n) for e, n in zip(block.write.end, block.volume_shape, strict=True))
    return Box(block.write.begin, (z, y, x))


def edge_samples(block: Block, superpixels: NDArray[np.uint64]) -> Samples:
    """The faces of a block between different superpixels; id 0 (masked) has none.

    Parameters
    ----------
    block
        A face belongs to the block of its lower voxel.
    superpixels
        uint64, covers ``sampled_box(block)``.
    """
    block = replace(block, read=sampled_box(block))
    ids, dense = _dense(superpixels)
    position = _positions(dense.shape)
    keys, lowers, uppers = [], [], []
    for axis in range(dense.ndim):
        a, b = faces(block, dense, axis)
        touching = a != b
        if ids[0] == 0:
            touching &= (a > 0) & (b > 0)
        low, high = faces(block, position, axis)
        a, b = a[touching], b[touching]
        keys.append(np.minimum(a, b).astype(np.int64) * len(ids) + np.maximum(a, b))
        lowers.append(low[touching])
        uppers.append(high[touching])
    key, lower, upper = (np.concatenate(parts) for parts in (keys, lowers, uppers))
    order = np.argsort(key)
    pairs, first = np.unique(key[order], return_index=True)
    return Samples(
        ids=ids[np.stack(np.divmod(pairs, len(ids)), 1)],
        first=first.astype(np.int64),
        lower=lower[order],
        upper=upper[order],
    )


def node_samples(block: Block, superpixels: NDArray[np.uint64]) -> Samples:
    """The voxels of ``block.write``, by superpixel; id 0 (masked) has none.

    Parameters
    ----------
    block, superpixels
        As for ``edge_samples``.
    """
    box = sampled_box(block)
    position = _positions(superpixels.shape)
    inner = block.write.within(box)
    ids, dense = _dense(superpixels[inner])
    order = np.argsort(dense.ravel())
    counts = np.bincount(dense.ravel(), minlength=len(ids))
    if ids[0] == 0:
        order, counts, ids = order[counts[0] :], counts[1:], ids[1:]
    voxels = position[inner].ravel()[order]
    first = (np.cumsum(counts) - counts).astype(np.int64)
    return Samples(ids=ids, first=first, lower=voxels, upper=voxels)


def _positions(shape: tuple[int, ...]) -> NDArray[np.signedinteger]:
    """Flat position of every voxel, as narrow as fits."""
    size = math.prod(shape)
    if size <= np.iinfo(np.int32).max:
        return np.arange(size, dtype=np.int32).reshape(shape)
    return np.arange(size, dtype=np.int64).reshape(shape)


def _dense(ids: NDArray[np.uint64]) -> tuple[NDArray[np.uint64], NDArray[np.int32]]:
    """Sorted distinct ids, and for every voxel its place among them.

    Runs of equal ids along x are looked up once.
    """
    flat = np.ascontiguousarray(ids).ravel()
    start = np.flatnonzero(np.concatenate([[True], flat[1:] != flat[:-1]]))
    distinct, place = np.unique(flat[start], return_inverse=True)
    lengths = np.diff(start, append=flat.size)
    return distinct, np.repeat(place.astype(np.int32), lengths).reshape(ids.shape)
