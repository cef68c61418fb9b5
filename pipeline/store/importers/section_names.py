"""Order of the sections in a folder, told by their file names, and the numbers that are missing."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass

NUMBER = re.compile(r"([0-9]+)")
NAMED = 5


@dataclass(frozen=True)
class Numbering:
    """What the numbers in file names say of their sections.

    Parameters
    ----------
    missing
        First few of the numbers between the first and the last that no file has.
    missing_count
        Of all of them.
    twice
        The first two files with one number, if there are such.
    several
        Whether more than one number changes from file to file, or other letters do too, so that
        nothing is known.
    """

    missing: tuple[int, ...] = ()
    missing_count: int = 0
    twice: tuple[str, str] | None = None
    several: bool = False


def natural_key(name: str) -> tuple[tuple[str | int, ...], str]:
    """Sorts numbers in names by their value: z2 before z10.

    >>> sorted(["z10.png", "z2.png", "Z1.png"], key=natural_key)
    ['Z1.png', 'z2.png', 'z10.png']
    """
    parts = NUMBER.split(name)
    key = tuple(int(p) if i % 2 else p.casefold() for i, p in enumerate(parts))
    return key, name


def numbering(names: Sequence[str]) -> Numbering:
    """Numbers of the sections.

    Parameters
    ----------
    names
        In natural order.

    >>> numbering(["s_01.png", "s_02.png", "s_05.png"]).missing
    (3, 4)
    """
    split = [NUMBER.split(name) for name in names]
    numbers = [tuple(int(part) for part in parts[1::2]) for parts in split]
    if len(names) < 2 or not all(numbers):
        return Numbering(several=len(names) > 1)
    same_letters = len({tuple(parts[::2]) for parts in split}) == 1
    if same_letters or len(set(numbers)) > 1:
        first_with: dict[tuple[int, ...], str] = {}
        for name, row in zip(names, numbers, strict=True):
            if row in first_with:
                return Numbering(twice=(first_with[row], name))
            first_with[row] = name
    if not same_letters:
        return Numbering(several=True)
    changing = [
        place for place, column in enumerate(zip(*numbers, strict=True)) if len(set(column)) > 1
    ]
    if len(changing) > 1:
        return Numbering(several=True)
    found = [row[changing[0]] for row in numbers]
    gaps = list(itertools.pairwise(found))
    step = min(b - a for a, b in gaps)
    numbers_left_out = itertools.chain.from_iterable(range(a + step, b, step) for a, b in gaps)
    count = sum(len(range(a + step, b, step)) for a, b in gaps)
    return Numbering(tuple(itertools.islice(numbers_left_out, NAMED)), count)


def shown(items: Sequence[object], count: int | None = None) -> str:
    """The first few of ``count`` items (of all that are given), and how many more.

    >>> shown([1, 2, 3, 4, 5, 6, 7])
    '1, 2, 3, 4, 5 and 2 more'
    """
    named = items[:NAMED]
    left = (len(items) if count is None else count) - len(named)
    return ", ".join(str(item) for item in named) + (f" and {left} more" if left else "")
