"""Numbers that papers report, for columns named "paper": ``paper_table("rc-spcnet", 1)``.

They are data (``papers.yaml``), each table with where in the paper it stands.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Self

import yaml
from pydantic import BaseModel, ConfigDict, TypeAdapter, model_validator

from benchmarks.published import Cell, Table

FILE = Path(__file__).with_name("papers.yaml")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PaperTable(_Strict):
    """One table of a paper.

    Parameters
    ----------
    title, columns, rows
        As the paper has them; the first columns are words, the others numbers or ``None``.
    source
        Number of the table, section, and what the numbers were measured on.
    decimals
        That the paper gives.
    """

    title: str
    source: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    decimals: int = 4

    @model_validator(mode="after")
    def _rows_have_all_columns(self) -> Self:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"{self.title}: {len(self.columns)} columns, but a row {row}")
        return self

    def value(self, column: str, *words: str) -> Cell:
        """The cell of the one row that begins with these words.

        Raises
        ------
        KeyError
            If there is no such column, or not exactly one such row.
        """
        rows = [row for row in self.rows if row[: len(words)] == words]
        if len(rows) != 1 or column not in self.columns:
            raise KeyError(f"{self.source}: {len(rows)} rows {words}, column {column}")
        return rows[0][self.columns.index(column)]

    def as_table(self) -> Table:
        """The whole table to publish; its note says where it stands."""
        note = f"From the paper: {self.source}."
        return Table(self.title, self.columns, self.rows, note, self.decimals)


class Paper(_Strict):
    """A paper and those of its tables that we compare with."""

    citation: str
    tables: dict[str, PaperTable]


@cache
def papers() -> dict[str, Paper]:
    """All papers, by short name."""
    return TypeAdapter(dict[str, Paper]).validate_python(yaml.safe_load(FILE.read_text("utf-8")))


def paper_table(paper: str, table: int | str) -> PaperTable:
    """A table by the paper's short name and its number there.

    >>> paper_table("rc-spcnet", 3).value("stack4", "SegNet")
    0.6399
    """
    return papers()[paper].tables[str(table)]
