"""Pyramids: coarser levels of images (mean) and of labels (mode), one file at a time."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.contract import Box, Triple
from pipeline.grid import blocks
from pipeline.store.arrays import create_volume_array, open_array, read_box, write_box
from pipeline.store.layout import Level, shard_shape
from pipeline.store.nodes import remove_directory

Kind = Literal["image", "labels"]
MIXED_AT_ONCE = 1 << 22


def build_levels(group: Path, levels: Sequence[Level], kind: Kind, block_shape: Triple) -> None:
    """Write the arrays 1, 2, ... of an image from its array 0.

    Memory is bounded by about one file of either level. Old levels are removed first.

    Parameters
    ----------
    group
        Directory of the image.
    levels
        All levels, finest first.
    kind
        ``image``: mean. ``labels``: mode.
    block_shape
        zyx, in voxels; the file size of every level.

    Raises
    ------
    OutputError
        If a file of level 0 is missing or damaged.
    """
    for old in [p for p in group.iterdir() if p.name.isdecimal() and int(p.name) > 0]:
        remove_directory(old)
    dtype = open_array(group / "0").dtype.name
    for number, level in enumerate(levels[1:], start=1):
        finer, coarser = group / str(number - 1), group / str(number)
        shards = shard_shape(level.shape, block_shape)
        create_volume_array(coarser, level.shape, dtype, block_shape)
        for block in blocks(level.shape, shards):
            data = _coarse_block(finer, levels[number - 1].shape, block.write, level.factor, kind)
            write_box(coarser, block.write, data)


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


def _coarse_block(
    finer: Path, finer_shape: Triple, box: Box, factor: Triple, kind: Kind
) -> NDArray[Any]:
    """Voxels of a box of the coarser level, read part by part from the finer one."""
    downsample = downsample_mode if kind == "labels" else downsample_mean
    data = np.empty(box.shape, open_array(finer).dtype)
    for part in _halves(box):
        z, y, x = (b * f for b, f in zip(part.begin, factor, strict=True))
        end_z, end_y, end_x = (
            min(e * f, n) for e, f, n in zip(part.end, factor, finer_shape, strict=True)
        )
        fine = read_box(finer, Box((z, y, x), (end_z, end_y, end_x)))
        data[part.within(box)] = downsample(fine, factor)
    return data


def _halves(box: Box) -> Iterator[Box]:
    """The box cut once along every axis."""
    half_z, half_y, half_x = (max(1, -(-n // 2)) for n in box.shape)
    for block in blocks(box.shape, (half_z, half_y, half_x)):
        (z, y, x), (end_z, end_y, end_x) = block.write.begin, block.write.end
        oz, oy, ox = box.begin
        yield Box((z + oz, y + oy, x + ox), (end_z + oz, end_y + oy, end_x + ox))
