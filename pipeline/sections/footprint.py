"""Which voxels and bins of a section are a block's own, and which lie around them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contract import Block


@dataclass(frozen=True)
class Span:
    """A block along y or x; a bin is its own if the bin's first voxel is.

    Parameters
    ----------
    read
        First voxel that is read, and one past the last.
    own
        Voxels of the block, likewise.
    length
        Of the volume.
    """

    read: tuple[int, int]
    own: tuple[int, int]
    length: int

    def bins(self, size: int) -> slice:
        """Voxels of all whole bins that are read, as an index of what is read."""
        first, last = self._read_bins(size)
        return slice(first * size - self.read[0], last * size - self.read[0])

    def around(self, size: int, reach: int) -> tuple[slice, tuple[int, int]]:
        """Own bins and ``reach`` on each side.

        Returns
        -------
        index
            Of those in the volume, among the bins that are read.
        missing
            How many lie before the volume's first bin and after its last.
        """
        count = self.length // size
        first = min(-(-self.own[0] // size), count)
        last = max(first, min(-(-self.own[1] // size), count))
        low, high = max(first - reach, 0), min(last + reach, count)
        offset = self._read_bins(size)[0]
        return slice(low - offset, high - offset), (low - first + reach, last + reach - high)

    def squares(self, size: int) -> slice:
        """Voxels of own bins, the volume's last one cut, as an index of what is read."""
        first, last = (min(-(-n // size) * size, self.length) - self.read[0] for n in self.own)
        return slice(first, max(first, last))

    def inner(self) -> slice:
        """Own voxels that have neighbours on both sides, and these neighbours."""
        low, high = max(self.own[0], 1) - 1, min(self.own[1], self.length - 1) + 1
        return slice(low - self.read[0], max(low, high) - self.read[0])

    @property
    def voxels(self) -> slice:
        """Own voxels, as an index of what is read."""
        return slice(self.own[0] - self.read[0], self.own[1] - self.read[0])

    def _read_bins(self, size: int) -> tuple[int, int]:
        first = -(-self.read[0] // size)
        return first, max(first, self.read[1] // size)


@dataclass(frozen=True)
class Footprint:
    """A block within its sections."""

    y: Span
    x: Span

    @classmethod
    def of(cls, block: Block) -> Footprint:
        """Where a block reads and what it owns."""
        y, x = (
            Span(
                (block.read.begin[axis], block.read.end[axis]),
                (block.write.begin[axis], block.write.end[axis]),
                block.volume_shape[axis],
            )
            for axis in (1, 2)
        )
        return cls(y, x)

    def part(self, plane: NDArray[Any], of: Callable[[Span], slice]) -> NDArray[Any]:
        """Part of a section that is read, the same along y and x."""
        return plane[of(self.y), of(self.x)]

    def bins(self, plane: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
        """Voxels of all whole bins that are read."""
        return plane[self.y.bins(size[0]), self.x.bins(size[1])]

    def around(
        self, bins: NDArray[Any], size: tuple[int, int], reach: tuple[int, int], *, padded: bool
    ) -> NDArray[Any]:
        """Own bins and those within reach; ``padded`` with 0 where the volume ends."""
        (rows, above), (columns, beside) = (
            span.around(*given)
            for span, given in zip((self.y, self.x), zip(size, reach, strict=True), strict=True)
        )
        found = bins[rows, columns]
        return np.pad(found, (above, beside)) if padded else found
