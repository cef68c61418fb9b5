"""Samples of channels: one per voxel face between superpixels, one per voxel inside them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.contract import Block, Box
from pipeline.features.runs import grouped_runs

ALONG = ((1, 0, 0), (0, 1, 0), (0, 0, 1))
"""Steps from the lower to the upper voxel of a face."""


@dataclass(frozen=True)
class Samples:
    """Where samples lie: runs along x, sorted by the group (edge or node) they belong to.

    Parameters
    ----------
    ids
        Of every group: (k, 2) uint64, lower id first, for edges; (k,) uint64 for nodes.
        Rows are sorted.
    first
        (k + 1,) int64, position of every group's first run, and the number of runs.
    start
        (r,) int64, flat position of a run's first voxel.
    step
        (r,) int64, from a voxel to that which it is added to; 0 inside a superpixel.
    length
        (r,) int32, samples of a run.
    """

    ids: NDArray[np.uint64]
    first: NDArray[np.int64]
    start: NDArray[np.int64]
    step: NDArray[np.int64]
    length: NDArray[np.int32]

    @property
    def count(self) -> NDArray[np.uint64]:
        """Samples of every group, (k,) uint64; no group is empty."""
        ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(self.length, dtype=np.int64)])
        return np.diff(ends[self.first]).astype(np.uint64)


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
    scans = []
    for step in ALONG:
        z, y, x = (
            min(written, covered - s)
            for written, covered, s in zip(
                block.write.shape, sampled_box(block).shape, step, strict=True
            )
        )
        scans.append(((z, y, x), step))
    return Samples(*grouped_runs(superpixels, scans))


def node_samples(block: Block, superpixels: NDArray[np.uint64]) -> Samples:
    """The voxels of ``block.write``, by superpixel; id 0 (masked) has none.

    Parameters
    ----------
    block, superpixels
        As for ``edge_samples``.
    """
    scans = [(block.write.shape, (0, 0, 0))]
    pairs, first, start, step, length = grouped_runs(superpixels, scans)
    return Samples(np.ascontiguousarray(pairs[:, 0]), first, start, step, length)
