"""Lines and tables of plain text, readable without colour."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

NAME = 13
"""Characters of a line's name."""
NARROWEST = 40
"""Characters that a value has at the least."""


def plain_table(*columns: str) -> Table:
    """An empty table with a line below its head."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        table.add_column(name, overflow="fold")
    return table


def print_facts(console: Console, facts: Iterable[tuple[str, str]]) -> None:
    """Name and value a line; long values go on below themselves."""
    for name, value in facts:
        wide = max(console.width - NAME - 2, NARROWEST)
        first, *rest = textwrap.wrap(value, wide, break_long_words=False) or [""]
        below = [f"{'':{NAME}} {line}" for line in rest]
        print_lines(console, [f"{f'  {name}':{NAME}} {first}", *below])


def print_lines(console: Console, lines: Iterable[str]) -> None:
    """As they are, however long, so that commands and paths can be copied."""
    for line in lines:
        console.print(Text(line), soft_wrap=True)


def by(numbers: Iterable[float]) -> str:
    """``30 x 512 x 512``."""
    return " x ".join(f"{n:g}" if isinstance(n, float) else str(n) for n in numbers)


def by_closely(numbers: Iterable[float]) -> str:
    """``30x512x512``, for tables."""
    return "x".join(f"{n:g}" if isinstance(n, float) else str(n) for n in numbers)


def percent(share: float) -> str:
    """With the digits that matter: ``12 %``, ``0.3 %``, ``<0.01 %``."""
    value = 100 * share
    if value in (0, 100):
        return f"{value:.0f} %"
    if value < 0.01:
        return "<0.01 %"
    return f"{value:.2g} %" if value < 99.5 else f"{min(value, 99.99):.2f} %"
