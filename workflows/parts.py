"""Outputs of single blocks of table stages, kept on disk until they are merged."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, overload
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from pipeline.contract import Outputs
from pipeline.errors import BlockError


def part_path(parts: Path, block: str) -> Path:
    """File of one block's tables."""
    return parts / f"{block}.npz"


def save_part(path: Path, outputs: Outputs) -> None:
    """The tables of one block, ``table/column`` -> array, atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}.partial")
    columns = {f"{t}/{c}": a for t, table in outputs.items() for c, a in table.items()}
    with temporary.open("wb") as file:
        np.savez(file, **columns)
    os.replace(temporary, path)


class Parts(Sequence[Outputs]):
    """What ``save_part`` wrote; a column is read when it is asked for, to save memory."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    @overload
    def __getitem__(self, index: int) -> Outputs: ...

    @overload
    def __getitem__(self, index: slice) -> Parts: ...

    def __getitem__(self, index: int | slice) -> Outputs | Parts:
        if isinstance(index, slice):
            return Parts(self.paths[index])
        path = self.paths[index]
        columns: dict[str, list[str]] = {}
        with _part_file(path) as part:
            for key in part.files:
                table, _, column = key.partition("/")
                columns.setdefault(table, []).append(column)
        return {table: _Columns(path, table, tuple(c)) for table, c in columns.items()}


class _Columns(Mapping[str, NDArray[Any]]):
    def __init__(self, path: Path, table: str, names: tuple[str, ...]) -> None:
        self.path, self.table, self.names = path, table, names

    def __getitem__(self, name: str) -> NDArray[Any]:
        if name not in self.names:
            raise KeyError(name)
        with _part_file(self.path) as part:
            column: NDArray[Any] = part[f"{self.table}/{name}"]
        return column

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


@contextmanager
def _part_file(path: Path) -> Iterator[Any]:
    try:
        with np.load(path, allow_pickle=False) as part:
            yield part
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise BlockError(
            f"{path}: damaged or missing ({error}); remove it and run again"
        ) from error
