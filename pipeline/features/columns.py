"""A column of features: its name, its unit, what it means."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Column:
    """One column.

    Parameters
    ----------
    name
        ``family/...``, unique in its table.
    unit
        ``1`` for a plain number or share, ``log nm`` for the natural logarithm of nanometres.
    meaning
        One clause, for people.
    """

    name: str
    unit: str
    meaning: str
