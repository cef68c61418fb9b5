"""Prediction, ground truth and mask on disk as slabs of sections; no volume is loaded whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contract import Box, Triple
from pipeline.evaluation.isbi import TruthKind
from pipeline.evaluation.regions import Region
from pipeline.evaluation.slabs import Slab, slab_ranges
from pipeline.store import StoredVolume
from workflows.truth import Truth

MOST_BYTES = 1 << 28
"""Of prediction and truth that are read at once; a section is never cut."""
FEW_VOXELS = 1 << 21
"""Thinner slabs are read together, so that small sections do not cost a call each."""


@dataclass(frozen=True)
class StoredSections:
    """Sections that are scored.

    Parameters
    ----------
    prediction
        Labels, or a boundary map.
    truth
        Of the same shape.
    begin, end
        First section that is scored, and the one after the last. They are numbered from 0.
    region
        What is left out by its ids or its place.
    mask
        Of the same shape; 0 = left out.
    """

    prediction: StoredVolume
    truth: Truth
    begin: int
    end: int
    region: Region
    mask: Truth | None = None

    @property
    def shape(self) -> Triple:
        """zyx, in voxels."""
        _, y, x = self.truth.shape
        return self.end - self.begin, y, x

    def slabs(self) -> Sequence[tuple[int, int]]:
        """As thick as chunks are, where memory allows it, and beginning where they do."""
        depth = slab_depth((self.prediction, self.truth.stored))
        return slab_ranges(self.end - self.begin, depth, self.begin)

    def read(self, begin: int, end: int) -> Slab:
        """Sections ``begin .. end - 1``.

        Raises
        ------
        PipelineError
            If voxels are damaged, or a map leaves 0..1.
        """
        _, height, width = self.truth.shape
        box = Box((self.begin + begin, 0, 0), (self.begin + end, height, width))
        truth = self.truth.read(box)
        mask = None if self.mask is None else self.mask.read(box)
        return Slab(begin, self.prediction.read(box), truth, self.region.scored(truth, mask))


def slab_depth(volumes: Sequence[StoredVolume]) -> int:
    """Sections to read at once of volumes of one shape; thick chunks may be decoded twice."""
    _, height, width = volumes[0].shape
    section = height * width * sum(volume.dtype.itemsize for volume in volumes)
    most = max(1, MOST_BYTES // section)
    chunk = max(volume.chunk[0] for volume in volumes)
    together = -(-FEW_VOXELS // (chunk * height * width))
    return min(chunk * together, most)


def kind_of(truth: Truth) -> TruthKind:
    """``mask`` if labels have but one value beside 0; they are read until a second one comes."""
    depth, height, width = truth.shape
    first: int | None = None
    for begin, end in slab_ranges(depth, slab_depth([truth.stored])):
        values = truth.read(Box((begin, 0, 0), (end, height, width)))
        inside = values[values != 0]
        if not inside.size:
            continue
        first = int(inside[0]) if first is None else first
        if _others(inside, first):
            return "labels"
    return "mask"


def _others(values: NDArray[Any], known: int) -> bool:
    return bool(np.any(values != values.dtype.type(known)))
