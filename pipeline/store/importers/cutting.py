"""How a volume is cut for import: files to write, and boxes of whole files to read at once.

Formats differ in what they decode at the least: a row, a tile, a section, a chunk of any shape.
Of all files and boxes that the memory allows, those are taken that decode the fewest voxels
twice; of equal ones the largest files, then the smallest boxes.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.contract import Box, Triple
from pipeline.grid import blocks, grid_shape
from pipeline.store.layout import shard_shape

FILE_VOXELS = 1 << 25
FILE_DEPTHS = (32, 16, 8, 4, 2, 1)
FILE_SIDES = (1024, 2048, 4096, 512, 256, 128)
WIDE_BYTES = 4
"""Voxels of more bytes (labels) get files of a quarter the size."""
BOX_BYTES = 1 << 28
LARGEST_BOX_BYTES = 1 << 31
"""Of a box, where what is decoded at once is larger than ``BOX_BYTES``."""
ENOUGH = 1.25
"""Voxels decoded for each one needed, at which files are not made smaller any more."""


@dataclass(frozen=True)
class Cut:
    """Files and boxes of one import.

    Parameters
    ----------
    shape
        Of the region that is imported: zyx, in voxels.
    file_shape
        zyx, in voxels; files lie on a grid from the region's first voxel.
    box_shape
        zyx, in voxels: whole files.
    """

    shape: Triple
    file_shape: Triple
    box_shape: Triple

    @property
    def count(self) -> int:
        """Number of boxes."""
        return math.prod(grid_shape(self.shape, self.box_shape))

    def boxes(self) -> Iterator[Box]:
        """All boxes, z slowest."""
        return (block.write for block in blocks(self.shape, self.box_shape))

    def files(self, box: Box) -> Iterator[Triple]:
        """Index along z, y, x of every file in a box."""
        ranges = (
            range(begin // step, -(-end // step))
            for begin, end, step in zip(box.begin, box.end, self.file_shape, strict=True)
        )
        z, y, x = ranges
        return itertools.product(z, y, x)


def cut(region: Box, source: Triple, chunk: Triple, item_bytes: int) -> Cut:
    """Files and boxes for a region of a source.

    Parameters
    ----------
    region
        In voxels of the source.
    source
        Shape of the source.
    chunk
        Voxels that the source decodes at once, on a grid from its first voxel.
    item_bytes
        Of a voxel that is written.
    """
    chunk_z, chunk_y, chunk_x = (max(1, min(c, n)) for c, n in zip(chunk, source, strict=True))
    chunk = (chunk_z, chunk_y, chunk_x)
    limit = max(BOX_BYTES, min(2 * math.prod(chunk) * item_bytes, LARGEST_BOX_BYTES)) // item_bytes
    axes = [
        _Axis(b, e, n, c)
        for b, e, n, c in zip(region.begin, region.end, source, chunk, strict=True)
    ]
    best: tuple[float, Cut] | None = None
    for wanted in _file_shapes(item_bytes):
        files = shard_shape(region.shape, wanted)
        found = _box(axes, files, limit)
        if found and (best is None or found[0] < best[0]):
            best = found[0], Cut(region.shape, files, found[1])
        if best and best[0] <= ENOUGH:
            break
    if best is None:  # not one file fits the limit
        return Cut(region.shape, files, files)
    return best[1]


@dataclass(frozen=True)
class _Axis:
    """One axis of the region, of the source, and of its chunks."""

    begin: int
    end: int
    length: int
    chunk: int

    def decoded(self, step: int) -> int:
        """Voxels along the axis that are decoded if the region is read in steps."""
        begin, chunk = self.begin, self.chunk
        once = min(-(-self.end // chunk) * chunk, self.length) - begin // chunk * chunk
        last = (self.length - 1) // chunk * chunk  # where the last chunk, maybe a short one, begins
        cuts = (self.end - begin - 1) // step
        before_last = min(cuts, max(0, (last - begin) // step))
        # a cut between two chunks costs nothing, any other one more decoding of its chunk
        common = math.gcd(step, chunk)
        free = 0
        if begin % common == 0:
            period = chunk // common
            first = -(begin // common) * pow(step // common, -1, period) % period
            free = (before_last - first) // period + (first > 0)
        short = self.length - last
        return once + (before_last - free) * chunk + (cuts - before_last) * short

    def steps(self, file: int) -> list[int]:
        """Lengths of a box: multiples of a file that pay."""
        size = self.end - self.begin
        files = -(-size // file)
        aligned = self.chunk // math.gcd(self.chunk, file)
        counts = {1, aligned, files, *(1 << k for k in range(files.bit_length()))}
        return sorted(min(count * file, size) for count in counts if count <= files)


def _box(axes: list[_Axis], files: Triple, limit: int) -> tuple[float, Triple] | None:
    """Voxels decoded for each that must be, and the box; ``None`` if a file is over the limit."""
    costs = []
    for axis, file in zip(axes, files, strict=True):
        least = axis.decoded(axis.end - axis.begin)
        costs.append([(axis.decoded(step) / least, step) for step in axis.steps(file)])
    found = [
        (math.prod(cost for cost, _ in one), math.prod(step for _, step in one), one)
        for one in itertools.product(*costs)
        if math.prod(step for _, step in one) <= limit
    ]
    if not found:
        return None
    cost, _, ((_, z), (_, y), (_, x)) = min(found)
    return cost, (z, y, x)


def _file_shapes(item_bytes: int) -> Iterator[Triple]:
    """Files to consider, those with the most voxels first; of equal ones the deepest."""
    voxels = FILE_VOXELS // 4 if item_bytes > WIDE_BYTES else FILE_VOXELS
    shapes = [
        (depth, side, side)
        for depth, side in itertools.product(FILE_DEPTHS, FILE_SIDES)
        if depth * side * side <= voxels
    ]
    yield from sorted(shapes, key=lambda shape: (-math.prod(shape), -shape[0]))
