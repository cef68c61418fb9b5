"""Samples of channels: one per voxel face between superpixels, one per voxel inside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.contract import Box, Triple
from pipeline.features.runs import Scan, grouped_runs
from pipeline.grid import Faces


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


def edge_samples(faces: Sequence[Faces], box: Box, superpixels: NDArray[np.uint64]) -> Samples:
    """The faces of a block between different superpixels; id 0 (masked) has none.

    Parameters
    ----------
    faces
        Of the block, see ``grid.faces_of``.
    box
        That holds both voxels of every face.
    superpixels
        uint64, covers ``box``.
    """
    return Samples(*grouped_runs(superpixels, [_scan(f.lower, f.step, box) for f in faces]))


def node_samples(write: Box, box: Box, superpixels: NDArray[np.uint64]) -> Samples:
    """The voxels of ``write``, by superpixel; id 0 (masked) has none.

    Parameters
    ----------
    write
        Of the block.
    box, superpixels
        As for ``edge_samples``.
    """
    scans = [_scan(write, (0, 0, 0), box)]
    pairs, first, start, step, length = grouped_runs(superpixels, scans)
    return Samples(np.ascontiguousarray(pairs[:, 0]), first, start, step, length)


def _scan(lower: Box, step: Triple, box: Box) -> Scan:
    z, y, x = (part.start for part in lower.within(box))
    return (z, y, x), lower.shape, step
