"""Files or objects that hold a part of an array."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import zarr


class ChunkKeys:
    """Keys of the chunks (of sharded arrays: the shards) that hold a part of an array.

    Parameters
    ----------
    array
        Opened.
    part
        A slice an axis; by default all of the array.
    """

    def __init__(self, array: zarr.Array[Any], part: Sequence[slice] | None = None) -> None:
        self._encode = array.metadata.encode_chunk_key
        self._shape = array.shape
        self._steps = array.shards or array.chunks
        whole = [slice(0, n) for n in array.shape]
        self._ranges = [
            range(one.start // step, -(-one.stop // step))
            for one, step in zip(part or whole, self._steps, strict=True)
        ]

    def __len__(self) -> int:
        return math.prod(len(one) for one in self._ranges)

    def __getitem__(self, number: int) -> str:
        if not 0 <= number < len(self):
            raise IndexError(number)
        return self._encode(self._index(number))

    def held(self, number: int) -> tuple[slice, ...]:
        """What of the array a chunk holds."""
        return tuple(
            slice(i * step, min((i + 1) * step, n))
            for i, step, n in zip(self._index(number), self._steps, self._shape, strict=True)
        )

    def _index(self, number: int) -> tuple[int, ...]:
        index = []
        for one in reversed(self._ranges):
            number, place = divmod(number, len(one))
            index.append(one[place])
        return tuple(reversed(index))
