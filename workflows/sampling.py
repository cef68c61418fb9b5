"""Which voxels of a volume are looked at: bounded, spread evenly, the same at every call.

A volume that is small enough is read whole. Of a larger one are read

1. boxes all over it, for its grey values, and
2. a window in the middle of its sections, or of runs of consecutive ones, for what is wrong
   with single sections.

Stores decode whole chunks, so boxes and windows are made of these where chunks are small, and
there are fewer of them where they are large.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pipeline.contract import Box, Triple

VOXELS = 1 << 26
"""That are looked at, of each kind."""
DECODED = 8
"""Voxels that may be decoded for each one that is looked at."""
SIDE = 256
"""Edge of a box or window along y and x, at the least."""
RUN = 8
"""Consecutive sections of which some are looked at, at the least."""
SLAB_VOXELS = 1 << 22
"""That are read at once."""
FEWEST = 2
"""Boxes and runs of any volume, however large what is decoded at once."""
STEPS = (0.8191725133961645, 0.6710436067037893, 0.5497004779019703)
"""Of the evenest sequence of points in a cube: 1/g, 1/g^2, 1/g^3, where g^4 = g + 1 (Roberts 2018,
"The unreasonable effectiveness of quasirandom sequences")."""


@dataclass(frozen=True)
class Sample:
    """What is read.

    Parameters
    ----------
    shape
        Of the volume.
    boxes
        For the grey values.
    window
        y and x of the sections that are looked at one by one: (begin, end) each.
    runs
        Consecutive sections that are looked at, ascending.
    depth
        Sections that are decoded at once.
    """

    shape: Triple
    boxes: tuple[Box, ...]
    window: tuple[tuple[int, int], tuple[int, int]]
    runs: tuple[range, ...]
    depth: int

    @property
    def is_whole(self) -> bool:
        """Whether nothing is left out; then ``boxes`` are slabs of whole sections."""
        return self.share == 1

    @property
    def share(self) -> float:
        """Of the voxels, for the grey values."""
        return sum(box.size for box in self.boxes) / math.prod(self.shape)

    @property
    def slab_boxes(self) -> tuple[Box, ...]:
        """The window of all runs, as boxes to read one after another."""
        return tuple(box for run in self.runs for box in slabs(run, self.window, self.depth))

    @property
    def sections(self) -> int:
        """Number of sections that are looked at one by one."""
        return sum(len(run) for run in self.runs)


def choose_sample(shape: Triple, unit: Triple, voxels: int = VOXELS) -> Sample:
    """What to read of a volume.

    Parameters
    ----------
    shape
        zyx, in voxels.
    unit
        Voxels that are decoded at once, zyx, on a grid from the first voxel.
    voxels
        To look at, about.
    """
    z, y, x = (max(1, min(u, n)) for u, n in zip(unit, shape, strict=True))
    unit = (z, y, x)
    if math.prod(shape) <= voxels:
        sections = range(shape[0])
        window = ((0, shape[1]), (0, shape[2]))
        return Sample(shape, tuple(slabs(sections, window, unit[0])), window, (sections,), unit[0])
    boxes = tuple(_spread(shape, unit, voxels))
    window, runs = _sections(shape, unit, voxels)
    return Sample(shape, boxes, window, runs, unit[0])


def slabs(run: range, window: tuple[tuple[int, int], tuple[int, int]], depth: int) -> Iterator[Box]:
    """A run of sections as boxes of few, cut where chunks begin.

    Parameters
    ----------
    run, window
        See ``Sample``.
    depth
        Sections that are decoded at once.
    """
    (top, bottom), (left, right) = window
    step = max(1, SLAB_VOXELS // ((bottom - top) * (right - left)) // depth) * depth
    begin = run.start
    while begin < run.stop:
        end = min((begin // step + 1) * step, run.stop)
        yield Box((begin, top, left), (end, bottom, right))
        begin = end


def _spread(shape: Triple, unit: Triple, voxels: int) -> Iterator[Box]:
    """Boxes all over a volume, none twice, sorted."""
    depth, height, width = (
        _whole_units(side, u, n) for side, u, n in zip((1, SIDE, SIDE), unit, shape, strict=True)
    )
    decoded = depth * height * width
    while depth * height * width > max(voxels // FEWEST, height * width):
        depth = max(1, depth // 2)
    while height * width > voxels // FEWEST:
        height, width = (height // 2, width) if height > width else (height, width // 2)
    box = (depth, height, width)
    cells = [max(1, n // side) for n, side in zip(shape, box, strict=True)]
    count = max(FEWEST, min(voxels // math.prod(box), DECODED * voxels // decoded))
    for z, y, x in sorted(_even_cells(cells, count)):
        begins = [
            _begin(k, m, n, side)
            for k, m, n, side in zip((z, y, x), cells, shape, box, strict=True)
        ]
        ends = [b + side for b, side in zip(begins, box, strict=True)]
        yield Box((begins[0], begins[1], begins[2]), (ends[0], ends[1], ends[2]))


def _begin(cell: int, cells: int, length: int, side: int) -> int:
    """Of a box in a row of them; the last one ends where the volume ends."""
    return length - side if cell == cells - 1 else cell * side


def _even_cells(cells: list[int], count: int) -> set[Triple]:
    """``count`` cells of a grid, or all of them if it has fewer."""
    if math.prod(cells) <= count:
        return {(z, y, x) for z, y, x in np.ndindex(cells[0], cells[1], cells[2])}
    found: set[Triple] = set()
    for number in range(2 * count):
        place = [math.floor((0.5 + number * s) % 1 * n) for s, n in zip(STEPS, cells, strict=True)]
        found.add((place[0], place[1], place[2]))
        if len(found) == count:
            break
    return found


def _sections(
    shape: Triple, unit: Triple, voxels: int
) -> tuple[tuple[tuple[int, int], tuple[int, int]], tuple[range, ...]]:
    """The window, and the runs of sections."""
    depth, *extent = shape
    side = max(SIDE, math.isqrt(voxels // depth))
    rows, columns = (_middle(n, side, u) for n, u in zip(extent, unit[1:], strict=True))
    kept = math.prod(end - begin for begin, end in (rows, columns))
    decoded = math.prod(
        _whole_units(end - begin, u, n)
        for (begin, end), u, n in zip((rows, columns), unit[1:], extent, strict=True)
    )
    most = min(voxels // kept, DECODED * voxels // decoded)
    if depth <= most:
        return (rows, columns), (range(depth),)
    length = -(-min(RUN, depth) // unit[0]) * unit[0]
    count = max(FEWEST, most // length)
    groups = -(-depth // length)
    picked = np.unique(np.linspace(0, groups - 1, min(count, groups)).round().astype(int))
    runs = tuple(range(k * length, min((k + 1) * length, depth)) for k in picked.tolist())
    return (rows, columns), runs


def _middle(length: int, side: int, unit: int) -> tuple[int, int]:
    """Begin and end of the middle of an axis, on whole chunks where they are small."""
    if side >= length:
        return 0, length
    begin = (length - side) // 2
    if unit <= side:
        begin = (begin + unit // 2) // unit * unit
        side = side // unit * unit
    return begin, begin + side


def _whole_units(side: int, unit: int, length: int) -> int:
    """Length of the whole chunks that hold a side."""
    return min(-(-side // unit) * unit, length)
