"""In which sections ids occur: the first and the last of every id; they merge like tables."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Spans:
    """First and last section of every id.

    Parameters
    ----------
    ids
        (n,) uint64, ascending.
    first, last
        (n,) int64.
    """

    ids: NDArray[np.uint64]
    first: NDArray[np.int64]
    last: NDArray[np.int64]

    @classmethod
    def of_section(cls, ids: NDArray[np.uint64], section: int) -> Spans:
        """Of the ids of one section, in any order and number."""
        found = np.unique(ids)
        place = np.full(found.size, section, np.int64)
        return cls(found, place, place)

    def merge(self, other: Spans) -> Spans:
        """Of the sections of both; exact, associative and commutative."""
        ids, number = np.unique(np.concatenate([self.ids, other.ids]), return_inverse=True)
        first = np.full(ids.size, np.iinfo(np.int64).max)
        last = np.full(ids.size, -1)
        np.minimum.at(first, number, np.concatenate([self.first, other.first]))
        np.maximum.at(last, number, np.concatenate([self.last, other.last]))
        return Spans(ids, first, last)

    def of(self, name: int) -> tuple[int, int]:
        """First section of an id that occurs, and the one after its last."""
        place = int(np.searchsorted(self.ids, np.uint64(name)))
        return int(self.first[place]), int(self.last[place]) + 1


@dataclass(frozen=True)
class ObjectSpans:
    """Spans of true and of predicted objects; background and what is not scored left out."""

    true: Spans
    predicted: Spans

    def merge(self, other: ObjectSpans) -> ObjectSpans:
        """Of the sections of both."""
        return ObjectSpans(self.true.merge(other.true), self.predicted.merge(other.predicted))
