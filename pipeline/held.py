"""Inputs of tasks that lie in memory: for the in-memory run, training and tests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from pipeline.contract import KEY, Inputs, Outputs, Parts, Rows, Table


class HeldRows(Rows):
    """A table in memory.

    Parameters
    ----------
    table
        Columns of equal length.
    """

    def __init__(self, table: Mapping[str, NDArray[Any]]) -> None:
        lengths = {name: len(column) for name, column in table.items()}
        if len(set(lengths.values())) > 1:
            raise AssertionError(f"columns differ in rows: {lengths}")
        self._table = dict(table)
        self._count = next(iter(lengths.values()), 0)

    @property
    def count(self) -> int:
        """Number of rows."""
        return self._count

    def read(self, column: str, begin: int, end: int) -> NDArray[Any]:
        """Rows ``begin .. end - 1``, a view."""
        return self._table[column][begin : max(begin, end)]

    def __iter__(self) -> Iterator[str]:
        return iter(self._table)

    def __len__(self) -> int:
        return len(self._table)


class HeldParts(Parts):
    """What the tasks of a step kept, in memory."""

    def __init__(self, parts: Sequence[Outputs]) -> None:
        self._parts = [{name: HeldRows(table) for name, table in p.items()} for p in parts]
        self._keys: dict[str, NDArray[np.uint64]] = {}

    def counts(self, table: str) -> NDArray[np.int64]:
        """(t,) rows of every task."""
        return np.array([part[table].count for part in self._parts], np.int64)

    def keys(self, table: str) -> NDArray[np.uint64]:
        """(t, 2) lowest and highest key; looked for once."""
        if table not in self._keys:
            found = np.zeros((len(self._parts), 2), np.uint64)
            for row, part in zip(found, self._parts, strict=True):
                row[:] = key_range(part[table])
            self._keys[table] = found
        return self._keys[table]

    @overload
    def __getitem__(self, index: int) -> Mapping[str, Rows]: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Mapping[str, Rows]]: ...

    def __getitem__(self, index: int | slice) -> Mapping[str, Rows] | Sequence[Mapping[str, Rows]]:
        return self._parts[index]

    def __len__(self) -> int:
        return len(self._parts)


class HeldInputs(Inputs):
    """Arrays, tables and attributes in memory.

    Parameters
    ----------
    known
        Name -> array, table (a dict of columns or ``Rows``), or ``attributes``.
    parts
        Step -> what each of its tasks kept.
    """

    def __init__(
        self, known: Mapping[str, Any], parts: Mapping[str, Sequence[Outputs]] | None = None
    ) -> None:
        self._known = {
            name: HeldRows(value) if _is_table(name, value) else value
            for name, value in known.items()
        }
        self._parts = {step: HeldParts(kept) for step, kept in (parts or {}).items()}

    def parts(self, step: str) -> Parts:
        """What an earlier step kept."""
        return self._parts[step]

    def __getitem__(self, name: str) -> Any:
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)


def key_range(table: Mapping[str, NDArray[Any]]) -> tuple[int, int]:
    """Lowest and highest key of a kept table; (1, 0) where it has no rows or no keys.

    Raises
    ------
    AssertionError
        If the keys do not ascend.
    """
    if KEY not in table or not len(table[KEY]):
        return 1, 0
    keys = table[KEY]
    if (keys[1:] < keys[:-1]).any():
        raise AssertionError("the keys of a kept table must ascend")
    return int(keys[0]), int(keys[-1])


def _is_table(name: str, value: Any) -> bool:
    return name != "attributes" and isinstance(value, dict)


def held(table: Table) -> HeldRows:
    """A table in memory as ``Rows``."""
    return HeldRows(table)
