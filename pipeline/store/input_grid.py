"""The finest grid of an input of which a coarser level is segmented."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from pipeline.contract import Box, Triple
from pipeline.errors import InputError
from pipeline.store.layout import AXES, Geometry, Nanometres

DECIMALS = 6
"""Places in voxels are rounded to as many, so that halves of voxels are halves."""
ROOM_VOXELS, ROOM = 2.0, 0.01
"""By so many voxels of the coarser level, or by such a part of it, levels may end apart: sizes
are rounded from level to level."""


@dataclass(frozen=True)
class InputGrid:
    """Voxels of the finest level, as seen from the level that is segmented.

    Parameters
    ----------
    shape
        zyx, of the region that is segmented.
    voxel_size_nm
        zyx, in nanometres.
    translation_nm
        zyx, centre of the region's first voxel, in nanometres.
    begin
        First voxel of the region in the finest level.
    whole
        Shape of the finest level.
    first
        Centre of the region's first voxel, in voxels of the segmented volume, of which the
        centre of the first one is 0.
    step
        Edges of a voxel, in voxels of the segmented volume.
    """

    shape: Triple
    voxel_size_nm: Nanometres
    translation_nm: Nanometres
    begin: Triple
    whole: Triple
    first: Nanometres
    step: Nanometres

    @classmethod
    def between(cls, finest: Geometry, coarse: Geometry, region: Box | None) -> tuple[Self, Box]:
        """The grid of a region, and what of the coarser level covers it.

        Where metadata give levels of different voxel sizes the same translation, they only
        leave it out: then both levels begin at the same place, as pyramids by means do.

        Parameters
        ----------
        finest, coarse
            Whole levels.
        region
            In voxels of the finest level; all by default.

        Returns
        -------
        grid, box
            ``box`` in voxels of the coarser level; the grid is seen from it.

        Raises
        ------
        InputError
            If the levels do not lie in the same place: shapes, voxel sizes or translations in
            the metadata are wrong.
        """
        cut = region is not None
        region = region or Box((0, 0, 0), finest.shape)
        begin, end, first, step, translation = [], [], [], [], []
        for axis in range(3):
            fine, long = finest.voxel_size_nm[axis], coarse.voxel_size_nm[axis]
            each = fine / long
            shift = finest.translation_nm[axis] - coarse.translation_nm[axis]
            origin = shift / long
            if round(origin, DECIMALS) == 0:
                origin = (each - 1) / 2
            edge = origin + 0.5 - each / 2
            _check_place(axis, edge, edge + finest.shape[axis] * each, coarse.shape[axis])
            low = math.floor(round(edge + region.begin[axis] * each, DECIMALS))
            high = math.ceil(round(edge + region.end[axis] * each, DECIMALS))
            length = coarse.shape[axis]
            begin.append(min(max(low, 0), length - 1) if cut else 0)
            end.append(max(min(high, length), begin[-1] + 1) if cut else length)
            first.append(origin + region.begin[axis] * each - begin[-1])
            step.append(each)
            translation.append(finest.translation_nm[axis] + region.begin[axis] * fine)
        grid = cls(
            region.shape,
            finest.voxel_size_nm,
            (translation[0], translation[1], translation[2]),
            region.begin,
            finest.shape,
            (first[0], first[1], first[2]),
            (step[0], step[1], step[2]),
        )
        return grid, Box((begin[0], begin[1], begin[2]), (end[0], end[1], end[2]))

    @classmethod
    def of_json(cls, values: Mapping[str, Any]) -> Self:
        """From ``as_json``."""
        return cls(**{name: tuple(values[name]) for name in cls.__dataclass_fields__})

    def as_json(self) -> dict[str, Any]:
        """For attributes."""
        return {name: list(values) for name, values in asdict(self).items()}

    @property
    def region(self) -> Box:
        """In voxels of the finest level."""
        z, y, x = (b + n for b, n in zip(self.begin, self.shape, strict=True))
        return Box(self.begin, (z, y, x))

    def nearest(self, axis: int, begin: int, end: int, length: int) -> NDArray[np.int64]:
        """Voxels of the segmented volume, ``length`` along an axis, nearest to some of the grid.

        Of two at the same distance it is the upper.
        """
        place = self.first[axis] + np.arange(begin, end) * self.step[axis]
        return np.clip(_rounded(place), 0, length - 1)

    def nearest_of_grid(self, axis: int, begin: int, end: int) -> NDArray[np.int64]:
        """Voxels of the grid along an axis nearest to voxels begin .. end - 1 of the volume."""
        place = (np.arange(begin, end) - self.first[axis]) / self.step[axis]
        return np.clip(_rounded(place), 0, self.shape[axis] - 1)

    def around(self, box: Box) -> tuple[Box, tuple[NDArray[np.int64], ...]]:
        """Voxels of the grid nearest to those of a box of the segmented volume.

        Returns
        -------
        fine, index
            A box of the grid, and where in it these voxels lie: an index that gives the shape
            of ``box``.
        """
        ends = zip(box.begin, box.end, strict=True)
        near = [self.nearest_of_grid(axis, *one) for axis, one in enumerate(ends)]
        z, y, x = (int(one[0]) for one in near)
        end_z, end_y, end_x = (int(one[-1]) + 1 for one in near)
        index = np.ix_(*(one - low for one, low in zip(near, (z, y, x), strict=True)))
        return Box((z, y, x), (end_z, end_y, end_x)), index


def _check_place(axis: int, low: float, high: float, length: int) -> None:
    """Check that the finest level begins and ends about where the coarser one does."""
    room = max(ROOM_VOXELS, ROOM * length)
    if abs(low) > room or abs(high - length) > room:
        raise InputError(
            f"along {AXES[axis]} the finest level covers voxels {low:.4g} to {high:.4g} of the "
            f"coarser one, which has {length}: shapes, scales or translations in the metadata are "
            "wrong; correct them, or choose a level by --level"
        )


def _rounded(place: NDArray[np.floating[Any]]) -> NDArray[np.int64]:
    return np.floor(np.round(place + 0.5, DECIMALS)).astype(np.int64)
