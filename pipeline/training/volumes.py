"""Annotated sections as arrays, and any section of them with its neighbours."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.errors import ConfigError
from pipeline.training.targets import IGNORE

THICK_SHARE = 8
"""Planes along z are drawn if at least 1/8 of a crop's side is annotated without a gap."""


@dataclass(frozen=True, eq=False)
class TrainingVolume:
    """Sections to learn from.

    Parameters
    ----------
    name
        For messages.
    raw
        (Z, Y, X) float32, 0..1 (see ``pipeline.normalisation``).
    target
        (Z, Y, X) uint8: 0, 1 = boundary, 255 = ignore.
    weight
        Relative number of crops drawn from this volume.
    isotropic
        Crops are drawn from the three planes, not from xy alone.
    voxel_nm
        z, y, x; ``None``: not known.
    z
        (Z,) int64, increasing: which sections these are of those on disk; ``None``: 0, 1, ..
    separate
        The sections are no neighbours: none is context of another.
    """

    name: str
    raw: NDArray[np.float32]
    target: NDArray[np.uint8]
    weight: float = 1.0
    isotropic: bool = False
    voxel_nm: tuple[float, float, float] | None = None
    z: NDArray[np.int64] | None = None
    separate: bool = False

    @cached_property
    def places(self) -> NDArray[np.int64]:
        """``z``, also where it is not given."""
        return np.arange(len(self.raw)) if self.z is None else self.z

    def part(self, sections: slice) -> TrainingVolume:
        """Some of the sections."""
        return replace(
            self,
            raw=self.raw[sections],
            target=self.target[sections],
            z=self.places[sections],
        )

    def covered(self, axis: int, pixel_nm: float | None) -> tuple[float, float]:
        """Voxels along the two axes of a section that a pixel covers.

        Parameters
        ----------
        axis
            Across which the section lies.
        pixel_nm
            Edge of a pixel; ``None``: voxels are pixels.

        Raises
        ------
        ConfigError
            If the size of the voxels is not known.
        """
        if pixel_nm is None:
            return 1.0, 1.0
        if self.voxel_nm is None:
            raise ConfigError(f"{self.name}: pixel_nm needs voxel_size_nm of the volume")
        y, x = (edge for k, edge in enumerate(self.voxel_nm) if k != axis)
        return pixel_nm / y, pixel_nm / x

    def section(self, axis: int, place: int, context: int) -> Section:
        """A section across an axis, with its neighbours.

        Parameters
        ----------
        axis
            0, 1 or 2.
        place
            Index along it.
        context
            Neighbours on each side.
        """
        around = neighbours(self._along(axis), place, context, alone=self.separate and axis == 0)
        raw = np.ascontiguousarray(np.moveaxis(self.raw.take(around, axis), axis, 0))
        target = np.ascontiguousarray(self.target.take(place, axis))
        return Section(
            torch.from_numpy(raw),
            torch.from_numpy((target == 1).astype(np.float32)),
            torch.from_numpy((target != IGNORE).astype(np.float32)),
        )

    def _along(self, axis: int) -> NDArray[np.int64]:
        return self.places if axis == 0 else np.arange(self.raw.shape[axis])

    @cached_property
    def known_voxels(self) -> tuple[NDArray[np.int64], ...]:
        """Number of voxels with a target in every section along z, y and x."""
        known = self.target != IGNORE
        others = ((1, 2), (0, 2), (0, 1))
        return tuple(np.count_nonzero(known, axis=axes).astype(np.int64) for axes in others)

    @cached_property
    def is_complete(self) -> bool:
        """Whether every voxel has a target."""
        return int(self.known_voxels[0].sum()) == self.target.size

    def axes(self, crop: int) -> tuple[int, ...]:
        """Axes across which crops are taken.

        A few annotated sections are but lines in the planes along z, which teach little for the
        time that they take.

        Parameters
        ----------
        crop
            Side of a crop, in pixels.
        """
        if not self.isotropic:
            return (0,)
        thick = [
            longest_run(counts > 0) >= min(crop // THICK_SHARE, len(counts))
            for counts in self.known_voxels
        ]
        found = tuple(axis for axis in range(3) if all(thick[:axis] + thick[axis + 1 :]))
        return found or (0,)


@dataclass(frozen=True, eq=False)
class Section:
    """A section with its neighbours, before it is changed.

    Parameters
    ----------
    raw
        (2 c + 1, H, W) float32 0..1.
    target
        (H, W) float32, 1 = boundary.
    known
        (H, W) float32, 1 where the target teaches.
    """

    raw: Tensor
    target: Tensor
    known: Tensor


def neighbours(
    places: NDArray[np.int64], place: int, context: int, *, alone: bool = False
) -> list[int]:
    """Indices of a section and its neighbours, in their order.

    In the place of one that is not there stands the one as far on the other side, or the next
    nearer one.

    Parameters
    ----------
    places
        (n,) z of each section, increasing.
    place
        Index of the section.
    context
        Neighbours on each side.
    alone
        No section is the neighbour of another.

    >>> neighbours(np.array([0, 1, 2, 5]), 0, 2)
    [2, 1, 0, 1, 2]
    >>> neighbours(np.array([0, 1, 2, 5]), 2, 2)
    [0, 1, 2, 1, 0]
    >>> neighbours(np.array([0, 1, 2, 5]), 3, 1)
    [3, 3, 3]
    """
    index = {} if alone else {int(z): i for i, z in enumerate(places)}
    middle = int(places[place])
    found = {0: place}
    for distance in range(1, context + 1):
        for side in (-1, 1):
            offset = side * distance
            nearer = found[offset - side]
            found[offset] = index.get(middle + offset, index.get(middle - offset, nearer))
    return [found[offset] for offset in range(-context, context + 1)]


def longest_run(flags: NDArray[np.bool_]) -> int:
    """Most neighbours that are all true.

    >>> longest_run(np.array([True, False, True, True, False]))
    2
    """
    ends = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    return int((ends[1::2] - ends[::2]).max(initial=0))
