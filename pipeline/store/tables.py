"""Tables on disk: one array a column, written by ranges of rows, whole or not there.

A column is made under a temporary name, filled by many tasks, and renamed when all its files
are there. A file holds a power of two of rows that divides ``contract.ROWS``, so tasks that
write ``ROWS`` rows each never share one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from pipeline.contract import ROWS, Table
from pipeline.errors import OutputError
from pipeline.store.arrays import (
    FILES_NAMED,
    create_table_array,
    is_filled,
    open_array,
    replace_files,
)
from pipeline.store.nodes import remove_directory, write_group
from pipeline.store.rows import StoredRows, file_of

FILE_BYTES = 1 << 25
"""Of the rows in one file of a column, before compression, at most (a single row may be more)."""


def create_columns(
    folder: Path,
    dtypes: Mapping[str, str],
    widths: Mapping[str, int],
    rows: int,
    attributes: Mapping[str, Mapping[str, Any]] | None = None,
) -> None:
    """Make empty columns under temporary names; old ones of these names go first.

    Parameters
    ----------
    folder
        Of the table.
    dtypes
        Column -> numpy dtype name.
    widths
        Column -> numbers in a row, of columns with several.
    rows
        Of all columns; none is fine.
    attributes
        Column -> JSON attributes, e.g. names and units of features.
    """
    unknown = {*(attributes or {}), *widths} - set(dtypes)
    if unknown:
        raise AssertionError(f"attributes or widths for missing columns {sorted(unknown)}")
    for parent in (folder.parent, folder):
        if not (parent / "zarr.json").is_file():
            write_group(parent, {})
    remove_columns(folder, list(dtypes))
    for name, dtype in dtypes.items():
        shape = (rows, widths[name]) if name in widths else (rows,)
        in_file = min(rows_in_file(np.dtype(dtype).itemsize * widths.get(name, 1)), max(rows, 1))
        kept = (attributes or {}).get(name, {})
        create_table_array(_partial(folder, name), shape, dtype, in_file, kept)


def rows_in_file(row_bytes: int) -> int:
    """Rows of a column that one file holds, if there are so many: a power of two up to ``ROWS``.

    >>> rows_in_file(8), rows_in_file(4 * 200)
    (65536, 32768)
    """
    rows = ROWS
    while rows > 1 and rows * row_bytes > FILE_BYTES:
        rows //= 2
    return rows


def write_rows(folder: Path, columns: Table, begin: int) -> None:
    """Write rows of columns that were created; whole files, so that several processes may.

    Parameters
    ----------
    folder
        Of the table.
    columns
        Name -> (rows, ...) array; they end at a multiple of ``ROWS`` or at the table's end.
    begin
        First row, a multiple of ``ROWS``.
    """
    _same_length(folder, columns)
    for name, column in columns.items():
        array = open_array(_unfinished(folder, name), "r+")
        end = begin + len(column)
        if begin % ROWS or (end % ROWS and end != array.shape[0]) or end > array.shape[0]:
            raise AssertionError(
                f"{folder.name}/{name}: rows {begin}:{end} of {array.shape[0]} are no whole files"
            )
        if column.dtype != array.dtype or column.shape[1:] != array.shape[1:]:
            raise AssertionError(
                f"{folder.name}/{name}: {column.dtype} {column.shape} given for "
                f"{array.dtype} {array.shape}"
            )
        if column.size:
            others = tuple(slice(0, n) for n in array.shape[1:])
            replace_files(_unfinished(folder, name), array, (slice(begin, end), *others), column)


def finish_columns(folder: Path, columns: Sequence[str]) -> None:
    """Give columns their names, if every file is there.

    Killed half-way and called again it goes on, so that a column is whole or not there.

    Raises
    ------
    OutputError
        If a file is missing or empty; names it.
    """
    for name in columns:
        _check_files(_unfinished(folder, name))
    for name in columns:
        if _partial(folder, name).exists():
            _partial(folder, name).rename(folder / name)


def has_columns(folder: Path, columns: Sequence[str], rows: int) -> bool:
    """Whether columns of so many rows were created, finished or not."""
    for name in columns:
        try:
            if open_array(_unfinished(folder, name)).shape[0] != rows:
                return False
        except OutputError:
            return False
    return True


def check_columns(folder: Path, columns: Sequence[str]) -> None:
    """Check that every file of finished columns is there and not empty.

    Raises
    ------
    OutputError
        Naming the column and the files.
    """
    for name in columns:
        _check_files(folder / name)


def write_columns(
    folder: Path, columns: Table, attributes: Mapping[str, Mapping[str, Any]] | None = None
) -> None:
    """Create, write and finish columns that are in memory; others of the table stay."""
    _same_length(folder, columns)
    rows = len(next(iter(columns.values()), ()))
    dtypes = {name: column.dtype.name for name, column in columns.items()}
    widths = {name: column.shape[1] for name, column in columns.items() if column.ndim > 1}
    create_columns(folder, dtypes, widths, rows, attributes)
    write_rows(folder, columns, 0)
    finish_columns(folder, list(columns))


def read_columns(folder: Path, columns: Sequence[str] | None = None) -> Table:
    """Columns of a table, all by default.

    Raises
    ------
    OutputError
        If the table or a column is missing or damaged, or columns differ in rows.
    """
    names = column_names(folder) if columns is None else list(columns)
    return dict(StoredRows(folder, names))


def column_names(folder: Path) -> list[str]:
    """Sorted names of the columns that are there.

    Raises
    ------
    OutputError
        If there is no such table.
    """
    if not folder.is_dir():
        raise OutputError(f"{folder}: no such table; run the stage that makes it")
    found = (one for one in folder.iterdir() if not one.name.startswith("."))
    return sorted(one.name for one in found if (one / "zarr.json").is_file())


def read_column_attributes(folder: Path) -> dict[str, dict[str, Any]]:
    """JSON attributes of every column of a table."""
    return {name: dict(open_array(folder / name).attrs) for name in column_names(folder)}


def remove_columns(folder: Path, columns: Iterable[str]) -> None:
    """Remove columns, and what an interrupted write of them left."""
    for name in columns:
        remove_directory(folder / name)
        remove_directory(_partial(folder, name))


def _partial(folder: Path, name: str) -> Path:
    return folder / f".{name}.partial"


def _unfinished(folder: Path, name: str) -> Path:
    """Where a created column lies; one that a kill left half renamed has its name already."""
    partial = _partial(folder, name)
    return partial if partial.exists() else folder / name


def _same_length(folder: Path, columns: Table) -> None:
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise AssertionError(f"columns of table {folder.name} differ in rows: {lengths}")


def _check_files(column: Path) -> None:
    array = open_array(column)
    missing = [file for file in _files(column, array) if not is_filled(file)]
    if missing:
        named = ", ".join(str(file) for file in missing[:FILES_NAMED])
        more = f" and {len(missing) - FILES_NAMED} more" if len(missing) > FILES_NAMED else ""
        raise OutputError(f"{column}: finished rows are gone: missing or empty {named}{more}")


def _files(column: Path, array: zarr.Array[Any]) -> Iterator[Path]:
    """Every file of a column."""
    if array.size:
        for number in range(-(-array.shape[0] // array.chunks[0])):
            yield file_of(column, array, number)
