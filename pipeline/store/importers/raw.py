"""Uncompressed voxels in a file, read with plain reads.

A memory map would be shorter, but where a network disk fails it ends the process without a word.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError

GAP_BYTES = 1 << 16
"""What is not asked for is read and dropped if it is no more than this, rather than skipped."""


@dataclass(frozen=True)
class RawArray:
    """Voxels one after another, the last axis fastest.

    Parameters
    ----------
    path
        Of the file.
    offset
        Of the first voxel, in bytes.
    shape
        Voxels along every axis, slowest first.
    dtype
        As stored, with its byte order.
    """

    path: str
    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def end(self) -> int:
        """Bytes that the file must have."""
        return self.offset + math.prod(self.shape) * self.dtype.itemsize

    def check_whole(self) -> None:
        """Check that the file holds all voxels.

        Raises
        ------
        InputError
            If it is shorter.
        """
        size = os.path.getsize(self.path)
        if size < self.end:
            raise InputError(
                f"{self.path}: is truncated: has {size} bytes of the {self.end} that its "
                f"shape {self.shape} of {self.dtype.name} needs"
            )

    def read(self, part: tuple[slice, ...]) -> NDArray[Any]:
        """A part of the array, in the machine's byte order.

        Raises
        ------
        InputError
            If the file ends before it or cannot be read.
        """
        taken, last_cut = self._widened(part)
        data = np.empty([stop - start for start, stop in taken], self.dtype)
        inner = math.prod(self.shape[last_cut + 1 :])
        first, _ = taken[last_cut]
        try:
            with open(self.path, "rb", buffering=0) as file:
                for index in np.ndindex(*data.shape[:last_cut]):
                    outer = [i + start for i, (start, _) in zip(index, taken, strict=False)]
                    flat = 0
                    for position, n in zip([*outer, first], self.shape, strict=False):
                        flat = flat * n + position
                    file.seek(self.offset + flat * inner * self.dtype.itemsize)
                    self._fill(file, data[index])
        except OSError as error:
            raise InputError(f"{self.path}: cannot be read ({error.strerror or error})") from error
        inside = tuple(
            slice(wanted.start - start, wanted.stop - start)
            for wanted, (start, _) in zip(part, taken, strict=True)
        )
        return data[inside].astype(self.dtype.newbyteorder("="), copy=False)

    def _widened(self, part: tuple[slice, ...]) -> tuple[list[tuple[int, int]], int]:
        """Ranges to read, and the last axis of which not all is read (0 if all is)."""
        taken = [(axis.start, axis.stop) for axis in part]
        inner = self.dtype.itemsize
        for axis in reversed(range(len(taken))):
            start, stop = taken[axis]
            if axis == 0 or (self.shape[axis] - (stop - start)) * inner > GAP_BYTES:
                return taken, axis
            taken[axis] = (0, self.shape[axis])
            inner *= self.shape[axis]
        return taken, 0

    def _fill(self, file: Any, into: NDArray[Any]) -> None:
        view = into.reshape(-1).view(np.uint8).data
        while view:
            count = file.readinto(view)
            if not count:
                raise InputError(f"{self.path}: is truncated: it ends before its last voxels")
            view = view[count:]
