"""Tables that benchmarks publish, as data and as Markdown."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.reports import ROOT

Cell = str | int | float | None
DOES_NOT_APPLY = "–"
NOT_MEASURED = "—"
"""Of a row that was not run or not trained; the table's note says which command fills it."""
SEEN = "seen in training"
"""A cell that holds these words stands out."""
_NUMBER = re.compile(r"[+-]?\d[\d,.]*( ?%)?|nan|[+-]?inf")


@dataclass(frozen=True)
class Table:
    """A table of scores or measurements.

    Parameters
    ----------
    title
        Heading above it; empty: none.
    columns
        Names, with units; a paper's values stand in columns that say "paper".
    rows
        As many cells each as there are columns. ``None`` does not apply.
    note
        One paragraph of Markdown below the table.
    decimals
        Of its floats.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""
    decimals: int = 4

    def __post_init__(self) -> None:
        rows = tuple(tuple(plain(cell) for cell in row) for row in self.rows)
        for row in rows:
            if len(row) != len(self.columns):
                raise ValueError(f"{self.title}: {len(self.columns)} columns, but a row {row}")
        object.__setattr__(self, "rows", rows)


def table_markdown(table: Table) -> str:
    """The table alone; columns of numbers are aligned right."""
    cells = [[cell_text(cell, table.decimals) for cell in row] for row in table.rows]
    marks = [
        "---:" if _is_numeric([row[index] for row in cells]) else "---"
        for index in range(len(table.columns))
    ]
    lines = [table.columns, marks, *cells]
    rows = ["| " + " | ".join(line) + " |" for line in lines]
    rows[1] = "|" + "|".join(marks) + "|"
    return "\n".join(rows) + "\n"


def cell_text(cell: Cell, decimals: int) -> str:
    r"""A cell as Markdown.

    >>> [cell_text(c, 2) for c in (0.125, 3, None, "a|b", "seen in training")]
    ['0.12', '3', '–', 'a\\|b', '🔴 **seen in training**']
    """
    if cell is None:
        return DOES_NOT_APPLY
    if isinstance(cell, float):
        return f"{cell:z.{decimals}f}"
    if isinstance(cell, int):
        return str(cell)
    text = " ".join(cell.replace("|", "\\|").split())
    if SEEN in text:
        text = f"🔴 {text.replace('**', '').replace(SEEN, f'**{SEEN}**')}"
    return text


def _is_numeric(cells: Sequence[str]) -> bool:
    told = [cell for cell in cells if cell not in (DOES_NOT_APPLY, NOT_MEASURED)]
    return bool(told) and all(_NUMBER.fullmatch(cell) for cell in told)


def plain(value: Any) -> Any:
    """The same as JSON can hold it; paths inside this checkout become relative."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, str | Path):
        return str(value).replace(f"{ROOT}/", "")
    return value
