"""Opening foreign volumes in tests, and what must hold whatever a file holds."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.store.importers.foreign import Foreign, Opener, Wanted

MOST_VOXELS = 1 << 22


def opened(
    opener: Opener, path: Path | str, dataset: str | None = None, level: int = 0
) -> tuple[Foreign, NDArray[Any]]:
    """The description and all voxels."""
    with opener(str(path), Wanted(dataset, level)) as foreign:
        return foreign, foreign.read(tuple(slice(0, n) for n in foreign.shape))


def refusal(opener: Opener, path: Path | str, dataset: str | None = None, level: int = 0) -> str:
    """The one line with which opening or reading is refused."""
    with pytest.raises(InputError) as told:
        opened(opener, path, dataset, level)
    line = str(told.value)
    assert "\n" not in line
    return line


def check_parts(opener: Opener, path: Path | str, expected: NDArray[Any], **wanted: Any) -> None:
    """Parts read in no order are those of the whole."""
    rng = np.random.default_rng(1)
    with opener(str(path), Wanted(**wanted)) as foreign:
        assert foreign.shape == expected.shape
        for _ in range(12):
            ends = [sorted(rng.integers(0, n + 1, 2).tolist()) for n in foreign.shape]
            part = tuple(
                slice(a, max(b, a + (a < n))) for (a, b), n in zip(ends, foreign.shape, strict=True)
            )
            assert np.array_equal(foreign.read(part), expected[part])


def survive(opener: Opener, path: Path | str, **wanted: Any) -> bool:
    """Open and read what may be damaged: refused, or read with exactly the shape it says.

    Returns
    -------
    read
        Whether it was read.
    """
    try:
        with opener(str(path), Wanted(**wanted)) as foreign:
            assert len(foreign.chunk) == len(foreign.shape)
            assert not foreign.axes or len(foreign.axes) == len(foreign.shape)
            whole = math.prod(foreign.shape) <= MOST_VOXELS
            part = tuple(slice(0, n if whole else min(n, 2)) for n in foreign.shape)
            data = foreign.read(part)
            assert data.shape == tuple(axis.stop for axis in part)
            assert data.dtype == foreign.dtype
            size = foreign.voxel_size_nm
            assert isinstance(size, str) or all(0 < length < math.inf for length in size)
    except InputError:
        return False
    return True


def flipped(content: bytes, flips: list[tuple[int, int]], first: int, last: int) -> bytes:
    """Bytes with some of those between ``first`` and ``last`` replaced."""
    changed = bytearray(content)
    for place, value in flips:
        changed[first + place % (last - first)] = value
    return bytes(changed)


def random_volume(shape: tuple[int, ...], dtype: str, seed: int = 0) -> NDArray[Any]:
    """Voxels over the dtype's range, with its ends among them."""
    rng = np.random.default_rng(seed)
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return rng.normal(0, 100, shape).astype(kind)
    limits = np.iinfo(kind)
    data = rng.integers(limits.min, limits.max, shape, dtype=kind, endpoint=True)
    data.flat[:2] = limits.min, limits.max
    return data
