"""Ranges of rows of a table on disk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from pipeline.contract import ROWS, Rows
from pipeline.errors import OutputError
from pipeline.store.arrays import is_filled, open_array, reason

HEAD_THREADS = 8
"""Files that are read at a time for the first row of each."""


class StoredRows(Rows):
    """Finished columns of a table, read when they are asked for.

    Parameters
    ----------
    folder
        Of the table.
    columns
        Those to be seen.

    Raises
    ------
    OutputError
        On reading, if a column is not there, columns differ in rows, or a file that holds
        some of the rows is missing, empty or fails its checksum; names it.
    """

    def __init__(self, folder: Path, columns: Sequence[str]) -> None:
        self._folder = folder
        self._columns = tuple(dict.fromkeys(columns))
        self._opened: dict[str, zarr.Array[Any]] = {}
        self._heads: dict[str, NDArray[Any]] = {}

    @property
    def count(self) -> int:
        """Number of rows."""
        return self._array(self._columns[0]).shape[0] if self._columns else 0

    def read(self, column: str, begin: int, end: int) -> NDArray[Any]:
        """Rows ``begin .. end - 1`` of a column, clipped to those there are."""
        array = self._array(column)
        begin, end = max(begin, 0), min(end, array.shape[0])
        if begin >= end or not array.size:
            return np.empty((max(end - begin, 0), *array.shape[1:]), array.dtype)
        path = self._folder / column
        numbers = range(begin // array.chunks[0], (end - 1) // array.chunks[0] + 1)
        for number in numbers:
            file = file_of(path, array, number)
            if not is_filled(file):
                raise OutputError(f"{path}: finished rows are gone: missing or empty {file}")
        try:
            return np.asarray(array[begin:end])
        except Exception as error:
            damaged = _damaged_file(path, array, numbers)
            raise OutputError(
                f"{path}: cannot read rows {begin}:{end}, damaged file {damaged} ({reason(error)})"
            ) from error

    def heads(self, column: str) -> NDArray[Any]:
        """First row of every ``ROWS`` rows; read once."""
        if column not in self._heads:
            begins = range(0, self.count, ROWS)
            with ThreadPoolExecutor(HEAD_THREADS) as pool:
                first = list(pool.map(lambda begin: self.read(column, begin, begin + 1), begins))
            self._heads[column] = np.concatenate([self.read(column, 0, 0), *first])
        return self._heads[column]

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    def _array(self, column: str) -> zarr.Array[Any]:
        if column not in self._columns:
            raise KeyError(column)
        if column not in self._opened:
            array = open_array(self._folder / column)
            for other, known in self._opened.items():
                if known.shape[0] != array.shape[0]:
                    raise OutputError(
                        f"{self._folder}: columns differ in rows: {other} {known.shape[0]}, "
                        f"{column} {array.shape[0]}; compute the table again"
                    )
            self._opened[column] = array
        return self._opened[column]


def file_of(column: Path, array: zarr.Array[Any], number: int) -> Path:
    """The file with rows ``number * chunks[0]`` and on of a column."""
    return column.joinpath("c", str(number), *["0"] * (array.ndim - 1))


def _damaged_file(path: Path, array: zarr.Array[Any], numbers: range) -> Path:
    """The first of some files that cannot be read by itself."""
    rows = array.chunks[0]
    for number in numbers:
        try:
            array[number * rows : (number + 1) * rows]
        except Exception:
            return file_of(path, array, number)
    return path
