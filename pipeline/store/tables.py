"""Tables on disk: one array a column, whole or not there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.contract import Table
from pipeline.errors import OutputError
from pipeline.store.arrays import check_files, create_table_array, open_array, reason
from pipeline.store.nodes import remove_directory, write_group

CHUNK_ROWS = 1 << 17
CHUNK_BYTES = 1 << 25


def write_columns(
    folder: Path, columns: Table, attributes: Mapping[str, Mapping[str, Any]] | None = None
) -> None:
    """Write columns; others of the table stay.

    1. Old columns of these names are removed.
    2. Each is written under a temporary name.
    3. All are renamed, so a kill at any time leaves whole columns or none.

    Parameters
    ----------
    folder
        Of the table.
    columns
        Name -> (rows, ...) array of bool, integers or floats; no rows are fine.
    attributes
        Column -> JSON attributes, e.g. names and units of features.
    """
    rows = {len(column) for column in columns.values()}
    if len(rows) > 1:
        lengths = {name: len(column) for name, column in columns.items()}
        raise AssertionError(f"columns of table {folder.name} differ in rows: {lengths}")
    unknown = set(attributes or {}) - set(columns)
    if unknown:
        raise AssertionError(f"attributes for missing columns {sorted(unknown)}")
    for parent in (folder.parent, folder):
        if not (parent / "zarr.json").is_file():
            write_group(parent, {})
    remove_columns(folder, list(columns))
    for name, column in columns.items():
        _write_column(_partial(folder, name), column, (attributes or {}).get(name, {}))
    for name in columns:
        _partial(folder, name).rename(folder / name)


def read_columns(
    folder: Path, columns: Sequence[str] | None = None, rows: slice | None = None
) -> Table:
    """Columns of a table (all by default), or a range of their rows.

    Raises
    ------
    OutputError
        If the table or a column is missing or damaged, or columns differ in rows.
    """
    names = column_names(folder) if columns is None else list(columns)
    table = {name: _read_column(folder / name, rows or slice(None)) for name in names}
    if len({len(column) for column in table.values()}) > 1:
        lengths = ", ".join(f"{name} {len(column)}" for name, column in table.items())
        raise OutputError(f"{folder}: columns differ in rows: {lengths}; compute the table again")
    return table


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


def remove_columns(folder: Path, columns: Sequence[str]) -> None:
    """Remove columns, and what an interrupted write of them left."""
    for name in columns:
        remove_directory(folder / name)
        remove_directory(_partial(folder, name))


def _partial(folder: Path, name: str) -> Path:
    return folder / f".{name}.partial"


def _write_column(path: Path, column: np.ndarray[Any, Any], attributes: Mapping[str, Any]) -> None:
    row_bytes = max(1, column.dtype.itemsize * int(np.prod(column.shape[1:])))
    rows = max(1, min(CHUNK_ROWS, CHUNK_BYTES // row_bytes))
    create_table_array(path, column.shape, column.dtype.name, rows, attributes)
    if column.size:
        open_array(path, "r+")[...] = column


def _read_column(path: Path, rows: slice) -> np.ndarray[Any, Any]:
    array = open_array(path)
    check_files(path, array)
    try:
        return np.asarray(array[rows])
    except Exception as error:
        raise OutputError(f"{path}: damaged column ({reason(error)})") from error
