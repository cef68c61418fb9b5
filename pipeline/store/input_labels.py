"""Labels on the finest grid of an input of which a coarser level is segmented, file by file.

They come from the nearest voxel of the segmented level, by the places of both in space.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contract import Box, Halo, Triple
from pipeline.errors import OutputError
from pipeline.grid import block_at, blocks
from pipeline.store.arrays import (
    check_files,
    create_volume_array,
    is_filled,
    open_array,
    read_box,
    write_box,
)
from pipeline.store.input_grid import InputGrid
from pipeline.store.layout import Level, shard_shape
from pipeline.store.stamps import add_chunk_stamps


@dataclass(frozen=True)
class InputLabels:
    """A label image on the grid of the input, written file by file.

    Parameters
    ----------
    group
        Directory of the image; its array is ``0``.
    source
        Directory of the labels that are segmented.
    volume_shape
        Of these, zyx.
    grid
        What is written.
    block_shape
        zyx, in voxels; the file size of both arrays.
    background
        Files of ``source`` that are not there and read as 0.
    """

    group: Path
    source: Path
    volume_shape: Triple
    grid: InputGrid
    block_shape: Triple
    background: Container[Triple]

    @property
    def level(self) -> Level:
        """The one level of the image."""
        return Level(self.grid.shape, (1, 1, 1), self.grid.voxel_size_nm, self.grid.translation_nm)

    def create(self) -> None:
        """Make it, empty; an old one is removed."""
        dtype = open_array(self.source).dtype.name
        create_volume_array(self._array, self.grid.shape, dtype, self.block_shape)

    def exists(self) -> bool:
        """Whether it was created, with the right shape."""
        try:
            array = open_array(self._array)
        except OutputError:
            return False
        return (array.shape, array.shards) == (self.grid.shape, self._files)

    def blocks(self) -> list[Triple]:
        """Index of every file that is to be written, z slowest; none of background alone."""
        found = (block.index for block in blocks(self.grid.shape, self._files))
        return [index for index in found if index not in self]

    def __contains__(self, index: object) -> bool:
        """Whether the file at this index along z, y, x holds nothing but background."""
        assert isinstance(index, tuple)
        ranges = []
        for near, size in zip(self._sources(index), self._source_files, strict=True):
            ranges.append(range(int(near[0]) // size, int(near[-1]) // size + 1))
        z, y, x = ranges
        return all((i, j, k) in self.background for i in z for j in y for k in x)

    def missing(self, indices: Iterator[Triple]) -> Iterator[Triple]:
        """Those files that are gone or empty."""
        for index in indices:
            if not is_filled(self._array.joinpath("c", *map(str, index))):
                yield index

    def write(self, index: Triple) -> None:
        """Write one file; no other is touched.

        Raises
        ------
        OutputError
            If a file of the labels is missing or damaged.
        """
        near = self._sources(index)
        low = [int(one[0]) for one in near]
        high = [int(one[-1]) + 1 for one in near]
        box = Box((low[0], low[1], low[2]), (high[0], high[1], high[2]))
        labels = read_box(self.source, box, self.background)
        fine = labels[np.ix_(*(one - b for one, b in zip(near, low, strict=True)))]
        write_box(self._array, self._box(index), fine)

    def read(self, box: Box | None = None) -> NDArray[Any]:
        """Labels of a box of the grid, all by default.

        Raises
        ------
        OutputError
            If a file is missing or damaged.
        """
        return read_box(self._array, box or Box((0, 0, 0), self.grid.shape), self)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the labels."""
        return open_array(self._array).dtype

    @property
    def chunk(self) -> Triple:
        """zyx, voxels that are decoded together."""
        z, y, x = open_array(self._array).chunks
        return z, y, x

    def add_stamps(self, digest: Any) -> None:
        """Add to a digest what tells that files have changed."""
        whole = Box((0, 0, 0), self.grid.shape)
        add_chunk_stamps(digest, self._array, open_array(self._array), whole.slices)

    def check(self) -> None:
        """Check that every file is there and not empty.

        Raises
        ------
        OutputError
            Naming the file.
        """
        check_files(self._array, open_array(self._array), None, self)

    @property
    def _array(self) -> Path:
        return self.group / "0"

    @cached_property
    def _files(self) -> Triple:
        return shard_shape(self.grid.shape, self.block_shape)

    @cached_property
    def _source_files(self) -> Triple:
        return shard_shape(self.volume_shape, self.block_shape)

    def _box(self, index: Triple) -> Box:
        return block_at(index, self.grid.shape, self._files, Halo()).write

    def _sources(self, index: Triple) -> list[NDArray[np.int64]]:
        """Along every axis, the voxels that a file's voxels are taken from, ascending."""
        box = self._box(index)
        ends = zip(box.begin, box.end, self.volume_shape, strict=True)
        return [self.grid.nearest(axis, *one) for axis, one in enumerate(ends)]
