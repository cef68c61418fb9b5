"""Write blocks without tissue: later stages never compute them, so they have no files.

Stage ``foreground`` lists them in the table ``background``, by the flat index in the volume of
their first voxel. A block of a coarser level is background where all that it covers is.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.contract import Triple
from pipeline.grid import grid_shape
from pipeline.store.layout import Level, shard_shape, table_path
from pipeline.store.tables import read_columns

TABLE = "background"
COLUMN = "first_voxel"
LISTS_HELD = 4


class BackgroundBlocks:
    """Background blocks of one level; the table is read when the first one is asked for.

    Parameters
    ----------
    store
        Path of the output store.
    levels
        Of its pyramids, finest first.
    block_shape
        Write block, zyx, in voxels.
    level
        Number of the level.
    """

    def __init__(
        self, store: Path, levels: Sequence[Level], block_shape: Triple, level: int = 0
    ) -> None:
        self._store, self._levels = store, tuple(levels)
        self._block_shape, self._level = block_shape, level

    @cached_property
    def _grid(self) -> NDArray[np.bool_]:
        folder = self._store / table_path(TABLE)
        try:
            found = (folder / COLUMN / "zarr.json").stat()
        except OSError:  # stage foreground is not finished: nothing is known
            return np.zeros(level_grid(self._levels[self._level], self._block_shape), np.bool_)
        written = (found.st_mtime_ns, found.st_ino, found.st_size)
        return _stored_grids(folder, written, self._levels, self._block_shape)[self._level]

    def __contains__(self, index: object) -> bool:
        """Whether the block at this index along z, y, x of the level's grid is background."""
        return isinstance(index, tuple) and bool(self._grid[index])

    def __len__(self) -> int:
        return int(np.count_nonzero(self._grid))


def level_grid(level: Level, block_shape: Triple) -> Triple:
    """Number of files of a level along z, y, x."""
    return grid_shape(level.shape, shard_shape(level.shape, block_shape))


def background_grids(
    blocks: NDArray[np.bool_], levels: Sequence[Level], block_shape: Triple
) -> tuple[NDArray[np.bool_], ...]:
    """Which files of every level cover background only.

    Parameters
    ----------
    blocks
        (Z, Y, X) bool, write blocks that are background.
    levels
        Finest first.
    block_shape
        Write block, zyx, in voxels.

    Returns
    -------
    grids
        One (Z, Y, X) bool a level.
    """
    grids = [blocks]
    for level in levels[1:]:
        found = grids[-1]
        # files of both levels hold a write block, or are the only one along an axis
        for axis, count in enumerate(level_grid(level, block_shape)):
            begins = np.arange(count) * level.factor[axis]
            found = np.logical_and.reduceat(found, begins, axis=axis)
        grids.append(found)
    return tuple(grids)


@lru_cache(maxsize=LISTS_HELD)
def _stored_grids(
    folder: Path, written: tuple[int, ...], levels: tuple[Level, ...], block_shape: Triple
) -> tuple[NDArray[np.bool_], ...]:
    """``background_grids`` of the table; ``written`` tells its versions apart."""
    first = read_columns(folder, [COLUMN])[COLUMN]
    begin = np.unravel_index(first.astype(np.int64), levels[0].shape)
    blocks = np.zeros(level_grid(levels[0], block_shape), np.bool_)
    blocks[tuple(b // n for b, n in zip(begin, block_shape, strict=True))] = True
    return background_grids(blocks, levels, block_shape)
