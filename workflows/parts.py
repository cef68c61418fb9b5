"""What tasks keep for later steps of their stage: one file a task, and its summary."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from pipeline.contract import Outputs, Parts, Rows
from pipeline.errors import BlockError
from pipeline.held import key_range
from workflows.part_files import PartFile, write_part

Kept = dict[str, tuple[int, int, int]]
"""Table -> rows, lowest key, highest key (1, 0 where there is none) that one task kept."""
OPEN_FILES = 128
"""Of one step, at a time."""


def part_path(parts: Path, task: str) -> Path:
    """File of one task's tables."""
    return parts / f"{task}.safetensors"


def save_part(path: Path, outputs: Outputs) -> Kept:
    """Write the tables of one task; the file is whole or not there.

    Returns
    -------
    kept
        Their summary, for the done mark of the task.
    """
    kept: Kept = {}
    for name, table in outputs.items():
        lengths = {column: len(values) for column, values in table.items()}
        if len(set(lengths.values())) != 1:
            raise AssertionError(f"columns of kept table {name} differ in rows: {lengths}")
        kept[name] = (next(iter(lengths.values())), *key_range(table))
    write_part(path, {f"{t}/{c}": a for t, table in outputs.items() for c, a in table.items()})
    return kept


def is_whole(path: Path) -> bool:
    """Whether the file of a task is there, and as long as its header says."""
    try:
        PartFile(path)
    except BlockError:
        return False
    return True


class StoredParts(Parts):
    """What the tasks of a step kept, on disk; rows are read when they are asked for.

    Parameters
    ----------
    paths
        Of the files, in the order of the tasks.
    summaries
        Of each what ``save_part`` gave.
    """

    def __init__(self, paths: Sequence[Path], summaries: Sequence[Kept]) -> None:
        if len(paths) != len(summaries):
            raise AssertionError(f"{len(paths)} files and {len(summaries)} summaries")
        self._paths, self._summaries = tuple(paths), tuple(summaries)
        self._open = lru_cache(OPEN_FILES)(PartFile)
        self._counts: dict[str, NDArray[np.int64]] = {}
        self._keys: dict[str, NDArray[np.uint64]] = {}

    def counts(self, table: str) -> NDArray[np.int64]:
        """(t,) rows that each task kept; no file is touched."""
        if table not in self._counts:
            rows = [kept[table][0] for kept in self._summaries]
            self._counts[table] = np.array(rows, np.int64)
        return self._counts[table]

    def keys(self, table: str) -> NDArray[np.uint64]:
        """(t, 2) lowest and highest key of each task; no file is touched."""
        if table not in self._keys:
            keys = np.array([kept[table][1:] for kept in self._summaries], np.uint64)
            self._keys[table] = keys.reshape(-1, 2)
        return self._keys[table]

    @overload
    def __getitem__(self, index: int) -> Mapping[str, Rows]: ...

    @overload
    def __getitem__(self, index: slice) -> StoredParts: ...

    def __getitem__(self, index: int | slice) -> Mapping[str, Rows] | StoredParts:
        if isinstance(index, slice):
            return StoredParts(self._paths[index], self._summaries[index])
        return _tables(self._open(self._paths[index]))

    def __len__(self) -> int:
        return len(self._paths)


class PartRows(Rows):
    """One table of one task.

    Parameters
    ----------
    file
        That holds it.
    table
        Its name.
    columns
        Their names.
    """

    def __init__(self, file: PartFile, table: str, columns: Sequence[str]) -> None:
        self._file, self._table, self._columns = file, table, tuple(columns)

    @property
    def count(self) -> int:
        """Number of rows."""
        return self._file.columns[f"{self._table}/{self._columns[0]}"].shape[0]

    def read(self, column: str, begin: int, end: int) -> NDArray[Any]:
        """Rows ``begin .. end - 1`` of a column, clipped to those there are."""
        if column not in self._columns:
            raise KeyError(column)
        begin, end = max(begin, 0), min(end, self.count)
        return self._file.read(f"{self._table}/{column}", begin, max(begin, end))

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)


def _tables(file: PartFile) -> dict[str, Rows]:
    columns: dict[str, list[str]] = {}
    for name in file.columns:
        table, _, column = name.partition("/")
        columns.setdefault(table, []).append(column)
    return {table: PartRows(file, table, names) for table, names in columns.items()}
