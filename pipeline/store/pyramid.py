"""Pyramids: coarser levels of images (mean) and of labels (mode), one file at a time."""

from __future__ import annotations

import itertools
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

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
from pipeline.store.layout import Level, shard_shape
from pipeline.store.nodes import remove_directory

Kind = Literal["image", "labels"]
MIXED_AT_ONCE = 1 << 18


@dataclass(frozen=True)
class Pyramid:
    """The levels of one image, each made from the one before, file by file.

    Parameters
    ----------
    group
        Directory of the image; its arrays are 0, 1, ...
    levels
        Finest first.
    block_shape
        zyx, in voxels; the file size of every level.
    background
        Of every level, files that are not written and read as 0; none by default.
    """

    group: Path
    levels: Sequence[Level]
    block_shape: Triple
    background: Sequence[Container[Triple]] = ()

    def create(self, number: int) -> None:
        """Make a level, from 1, empty; an old one is removed."""
        shape, dtype = self.levels[number].shape, open_array(self._array(0)).dtype
        create_volume_array(self._array(number), shape, dtype.name, self.block_shape)

    def has_level(self, number: int) -> bool:
        """Whether a level was created, with the right shape."""
        dtype = open_array(self._array(0)).dtype
        try:
            array = open_array(self._array(number))
        except OutputError:
            return False
        there = (array.shape, array.shards, array.dtype)
        return there == (self.levels[number].shape, self._files(number), dtype)

    def missing(self, number: int, indices: Iterable[Triple]) -> Iterator[Triple]:
        """Those files of a level, by their index along z, y, x, that are gone or empty."""
        folder = self._array(number) / "c"
        for index in indices:
            if not is_filled(folder.joinpath(*map(str, index))):
                yield index

    def blocks(self, number: int) -> list[Triple]:
        """Index of every file of a level that is to be written, z slowest."""
        files = self._files(number)
        absent = self._background(number)
        found = (block.index for block in blocks(self.levels[number].shape, files))
        return [index for index in found if index not in absent]

    def write(self, number: int, kind: Kind, index: Triple) -> None:
        """Write one file of a level from the level before; no other file is touched.

        Memory is bounded by about one file of either level.

        Raises
        ------
        OutputError
            If a file of the level before is missing or damaged.
        """
        level = self.levels[number]
        box = block_at(index, level.shape, self._files(number), Halo()).write
        downsample = downsample_mode if kind == "labels" else downsample_mean
        data = np.empty(box.shape, open_array(self._array(number)).dtype)
        for part in _halves(box):
            fine = self._read(number - 1, _covered(part, level, self.levels[number - 1]))
            data[part.within(box)] = downsample(fine, level.factor)
        write_box(self._array(number), box, data)

    def check(self) -> None:
        """Check that the files of all levels are there and not empty.

        Raises
        ------
        OutputError
            Naming the level and its files.
        """
        for number in range(len(self.levels)):
            array = self._array(number)
            check_files(array, open_array(array), background=self._background(number))

    def _read(self, number: int, box: Box) -> NDArray[Any]:
        return read_box(self._array(number), box, self._background(number))

    def _array(self, number: int) -> Path:
        return self.group / str(number)

    def _files(self, number: int) -> Triple:
        return shard_shape(self.levels[number].shape, self.block_shape)

    def _background(self, number: int) -> Container[Triple]:
        return self.background[number] if self.background else ()


def build_levels(group: Path, levels: Sequence[Level], kind: Kind, block_shape: Triple) -> None:
    """Write the arrays 1, 2, ... of an image from its array 0, here and one after the other.

    Parameters
    ----------
    group, levels, block_shape
        See ``Pyramid``. Old levels are removed first.
    kind
        ``image``: mean. ``labels``: mode.

    Raises
    ------
    OutputError
        If a file of level 0 is missing or damaged.
    """
    for old in [p for p in group.iterdir() if p.name.isdecimal() and int(p.name) > 0]:
        remove_directory(old)
    pyramid = Pyramid(group, levels, block_shape)
    for number in range(1, len(levels)):
        pyramid.create(number)
        for index in pyramid.blocks(number):
            pyramid.write(number, kind, index)


def downsample_mean(array: NDArray[Any], factor: Triple) -> NDArray[Any]:
    """Mean of each cell; half-covered cells at the upper border use what they have.

    Parameters
    ----------
    array
        (Z, Y, X), integers are rounded half up.
    factor
        zyx, 1 or 2.

    Returns
    -------
    coarse
        (ceil(Z / fz), ceil(Y / fy), ceil(X / fx)), same dtype.
    """
    views = _cells(array, factor)
    if array.dtype.kind == "f":
        total = sum(views[1:], start=views[0].astype(np.float64))
        return (total / len(views)).astype(array.dtype)
    sums = views[0].astype(np.uint32)
    for view in views[1:]:
        sums += view
    return ((sums + len(views) // 2) // len(views)).astype(array.dtype)


def downsample_mode(array: NDArray[Any], factor: Triple) -> NDArray[Any]:
    """Most frequent id of each cell; of equally frequent ids the smallest that is not 0.

    Half-covered cells at the upper border use what they have.

    Parameters
    ----------
    array
        (Z, Y, X) unsigned integers, 0 = background.
    factor
        zyx, 1 or 2.

    Returns
    -------
    coarse
        (ceil(Z / fz), ceil(Y / fy), ceil(X / fx)), same dtype.
    """
    views = _cells(array, factor)
    coarse = views[0].copy()
    mixed = np.zeros(coarse.shape, bool)
    for view in views[1:]:
        mixed |= view != views[0]
    where = np.nonzero(mixed.ravel())[0]
    flat = coarse.reshape(-1)
    for start in range(0, len(where), MIXED_AT_ONCE):
        part = where[start : start + MIXED_AT_ONCE]
        index = np.unravel_index(part, coarse.shape)
        flat[part] = _mode_of_rows(np.stack([view[index] for view in views], axis=1))
    return coarse


def _mode_of_rows(rows: NDArray[Any]) -> NDArray[Any]:
    """Mode of each row by run lengths of the sorted row."""
    rows = np.sort(rows, axis=1)
    best = rows[:, 0].copy()
    best_count = np.ones(len(rows), np.int8)
    run = np.ones(len(rows), np.int8)
    for column in range(1, rows.shape[1]):
        value = rows[:, column]
        run = np.where(value == rows[:, column - 1], run + 1, 1).astype(np.int8)
        better = (run > best_count) | ((run == best_count) & (best == 0))
        best = np.where(better, value, best)
        best_count = np.where(better, run, best_count)
    return best


def _cells(array: NDArray[Any], factor: Triple) -> list[NDArray[Any]]:
    """One view for each voxel of the cells.

    An odd border is doubled, which keeps both the mean and the mode of what is there.
    """
    odd = [(0, n % f) for n, f in zip(array.shape, factor, strict=True)]
    even = np.pad(array, odd, mode="edge") if any(o for _, o in odd) else array
    steps = [[slice(i, None, f) for i in range(f)] for f in factor]
    return [even[corner] for corner in itertools.product(*steps)]


def _covered(box: Box, level: Level, finer: Level) -> Box:
    """Voxels of the finer level that a box of a level is made of."""
    z, y, x = (b * f for b, f in zip(box.begin, level.factor, strict=True))
    end_z, end_y, end_x = (
        min(e * f, n) for e, f, n in zip(box.end, level.factor, finer.shape, strict=True)
    )
    return Box((z, y, x), (end_z, end_y, end_x))


def _halves(box: Box) -> Iterator[Box]:
    """The box cut once along every axis."""
    half_z, half_y, half_x = (max(1, -(-n // 2)) for n in box.shape)
    for block in blocks(box.shape, (half_z, half_y, half_x)):
        (z, y, x), (end_z, end_y, end_x) = block.write.begin, block.write.end
        oz, oy, ox = box.begin
        yield Box((z + oz, y + oy, x + ox), (end_z + oz, end_y + oy, end_x + ox))
