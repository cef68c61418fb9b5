"""Union of many parts that merge."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, Self, TypeVar


class Mergeable(Protocol):
    """What parts of a volume give, to be put together in any order."""

    def merge(self, other: Self) -> Self:
        """What both parts together give."""


Part = TypeVar("Part", bound=Mergeable)


def merge_all(parts: Iterable[Part]) -> Part:
    """Union of parts, at least one, taken one by one.

    Unions of equally many parts are merged, so that of n parts no more than log2(n) unions are
    held, and nothing is merged more than log2(n) times.
    """
    held: list[tuple[int, Part]] = []
    for part in parts:
        number, union = 1, part
        while held and held[-1][0] == number:
            union = held.pop()[1].merge(union)
            number *= 2
        held.append((number, union))
    _, union = held.pop()
    while held:
        union = held.pop()[1].merge(union)
    return union
