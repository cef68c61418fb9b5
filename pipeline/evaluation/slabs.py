"""Volumes as slabs: consecutive sections that are read, and scored, together."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.contract import Triple

SectionArrays = tuple[NDArray[Any], NDArray[Any], NDArray[np.bool_] | None]
"""Prediction, truth and the scored pixels of a section, (Y, X) each."""


@dataclass(frozen=True)
class Slab:
    """Consecutive sections of a prediction and its ground truth.

    Parameters
    ----------
    first
        Number of the first section.
    prediction
        (n, Y, X) ids, or a boundary map.
    truth
        (n, Y, X) ids, or a mask.
    scored
        (n, Y, X) bool, False = left out of every score; ``None``: all are scored.
    """

    first: int
    prediction: NDArray[Any]
    truth: NDArray[Any]
    scored: NDArray[np.bool_] | None = None

    def sections(self) -> Iterator[tuple[int, SectionArrays]]:
        """Every section with its number."""
        scored = itertools.repeat(None) if self.scored is None else self.scored
        for number, arrays in enumerate(zip(self.prediction, self.truth, scored, strict=False)):
            yield self.first + number, arrays


class Sections(Protocol):
    """A volume that is read slab by slab."""

    @property
    def shape(self) -> Triple:
        """zyx, in voxels."""

    def slabs(self) -> Sequence[tuple[int, int]]:
        """First section of every slab, and the one after its last; all sections, in order."""

    def read(self, begin: int, end: int) -> Slab:
        """Sections ``begin .. end - 1``."""


@dataclass(frozen=True)
class ArraySections:
    """Arrays in memory as slabs.

    Parameters
    ----------
    prediction, truth, scored
        As of a ``Slab``, of all sections.
    depth
        Sections of a slab; changes no score.
    """

    prediction: NDArray[Any]
    truth: NDArray[Any]
    scored: NDArray[np.bool_] | None = None
    depth: int = 16

    @property
    def shape(self) -> Triple:
        """zyx, in voxels."""
        z, y, x = self.truth.shape
        return z, y, x

    def slabs(self) -> Sequence[tuple[int, int]]:
        """``depth`` sections each."""
        return slab_ranges(len(self.truth), self.depth)

    def read(self, begin: int, end: int) -> Slab:
        """Views of the arrays."""
        scored = None if self.scored is None else self.scored[begin:end]
        return Slab(begin, self.prediction[begin:end], self.truth[begin:end], scored)


def slab_ranges(sections: int, depth: int, offset: int = 0) -> list[tuple[int, int]]:
    """Slabs that begin where chunks do.

    Parameters
    ----------
    sections
        In all.
    depth
        Of a slab.
    offset
        Place of section 0 in a volume whose chunks begin at multiples of ``depth``.

    >>> slab_ranges(10, 4, offset=3)
    [(0, 1), (1, 5), (5, 9), (9, 10)]
    """
    edges = [0, *range(depth - offset % depth, sections, depth), sections]
    return list(itertools.pairwise(edges))
