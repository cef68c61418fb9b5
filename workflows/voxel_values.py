"""Grey values of a sample: range, percentiles, histogram, padding, saturation; ids of labels.

Everything is counted box by box, so that no more than a box is held.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.foreground.padding import section_padding
from pipeline.foreground.stage import ForegroundConfig
from pipeline.normalisation import BINS, bins_of, value_of

GREY, LABELS, MASK, NOTHING = "grey values", "labels", "a mask", "nothing"
"""What voxels look like: ids fill whole regions, a mask has two values, nothing one."""
PERCENTILES = (0.5, 50.0, 99.5)
ROWS = 16
"""Of a histogram."""
NARROW = 0.25
"""Where the outer percentiles take less than this part of the range, the histogram shows what lies
between them, and its outer rows hold the rest."""
EQUAL_NEIGHBOURS = 0.6
"""Of labels more neighbouring voxels than this share are equal; of grey values, some 10 %."""
MOST_IDS = 1 << 20
"""Different ids that are counted."""
PADDING_WIDTH: int = ForegroundConfig().padding_width_voxels
LIKELY_PADDING = 0.02
"""Share of a section that one value must have to be looked at as padding, unless it is the lowest
or highest of the dtype."""


@dataclass(frozen=True)
class Values:
    """What a sample holds.

    Parameters
    ----------
    voxels
        Number of them.
    lowest, highest
        Of the finite values; ``None`` if there is none.
    percentiles
        Percentile -> value; of floating-point and wide integers to 7 bits of their fraction.
    histogram
        (begin, end, share) of every row, ascending; ``begin <= value < end``. The first row holds
        all that is lower too, the last one all that is higher.
    nan, infinite
        Number of such voxels.
    padding
        (value, share of all voxels) of what fills squares of ``PADDING_WIDTH`` voxels within
        sections, the most frequent first.
    saturated
        Shares of the voxels outside padding that have the lowest and the highest value of the
        dtype; 0 of floating-point ones. Of grey values only, like ``padding``.
    equal_neighbours
        Share of pairs of neighbours along x that are equal, where neither has the lowest or the
        highest value there is.
    distinct
        Different values, at most ``MOST_IDS``; ``None`` of floating-point ones.
    zero
        Share of voxels that are 0.
    looks_like
        ``GREY``, ``LABELS``, ``MASK`` or ``NOTHING``.
    """

    voxels: int
    lowest: float | None
    highest: float | None
    percentiles: dict[float, float]
    histogram: tuple[tuple[float, float, float], ...]
    nan: int
    infinite: int
    padding: tuple[tuple[float, float], ...]
    saturated: tuple[float, float]
    equal_neighbours: float
    distinct: int | None
    zero: float
    looks_like: str


class Tally:
    """Counts values of a volume of one dtype.

    Parameters
    ----------
    dtype
        Any integers or floating-point numbers, or bool.
    """

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self._dtype = dtype
        self._exact = dtype.kind in "biu" and dtype.itemsize <= 2
        self._offset = int(np.iinfo(dtype).min) if dtype.kind == "i" and self._exact else 0
        self._counts = np.zeros(BINS, np.int64)
        self._lowest, self._highest = math.inf, -math.inf
        self._nan = self._infinite = self._zero = self._pairs = self._equal = self._voxels = 0
        self._padding: dict[float, int] = {}
        self._ids = np.zeros(0, dtype)

    def add(self, data: NDArray[Any]) -> None:
        """Count the voxels of a box.

        Parameters
        ----------
        data
            (Z, Y, X) of the dtype.
        """
        if not data.size:
            return
        self._voxels += data.size
        finite = self._finite(data)
        if finite.size:
            self._lowest = min(self._lowest, finite.min().item())
            self._highest = max(self._highest, finite.max().item())
        self._counts += np.bincount(self._bins(finite), minlength=BINS)
        self._zero += data.size - int(np.count_nonzero(data))
        if self._dtype.kind in "iu" and not self._exact and len(self._ids) < MOST_IDS:
            self._ids = np.union1d(self._ids, data)
        self._add_pairs(data)
        if self._dtype.kind != "b" and data.dtype.itemsize <= 4:
            for section in data:
                self._add_padding(section)

    def values(self) -> Values:
        """What was counted."""
        used = np.flatnonzero(self._counts)
        distinct = None
        if self._dtype.kind in "biu":
            distinct = len(used) if self._exact else min(len(self._ids), MOST_IDS)
        equal = self._equal / self._pairs if self._pairs else 0.0
        looks_like = _looks_like(distinct, equal, self._lowest == self._highest)
        padding = self._padding if looks_like == GREY else {}
        return Values(
            voxels=self._voxels,
            lowest=self._lowest if len(used) else None,
            highest=self._highest if len(used) else None,
            percentiles=self._percentiles(),
            histogram=tuple(self._histogram()),
            nan=self._nan,
            infinite=self._infinite,
            padding=tuple(
                (value, count / self._voxels)
                for value, count in sorted(padding.items(), key=lambda one: -one[1])
            ),
            saturated=self._saturated() if looks_like == GREY else (0.0, 0.0),
            equal_neighbours=equal,
            distinct=distinct,
            zero=self._zero / max(self._voxels, 1),
            looks_like=looks_like,
        )

    def _finite(self, data: NDArray[Any]) -> NDArray[Any]:
        """The finite voxels; others are counted."""
        if self._dtype.kind != "f":
            return data.ravel()
        good = np.isfinite(data)
        if good.all():
            return data.ravel()
        nan = int(np.isnan(data).sum())
        self._nan += nan
        self._infinite += int(data.size - good.sum()) - nan
        found: NDArray[Any] = data[good]
        return found

    def _bins(self, data: NDArray[Any]) -> NDArray[np.int64]:
        if self._exact:
            return data.astype(np.int64) - self._offset
        with np.errstate(over="ignore"):
            return bins_of(data.astype(np.float32))

    def _value(self, index: int) -> float:
        """The smallest value of a bin."""
        if self._exact:
            return float(index + self._offset)
        return value_of(index, "float32")

    def _add_pairs(self, data: NDArray[Any]) -> None:
        """Count neighbours that are equal, where neither is as low or high as any in the box."""
        first, second = data[..., :-1], data[..., 1:]
        low, high = data.min(), data.max()
        inner = (first != low) & (first != high) & (second != low) & (second != high)
        self._pairs += int(np.count_nonzero(inner))
        self._equal += int(np.count_nonzero(inner & (first == second)))

    def _add_padding(self, section: NDArray[Any]) -> None:
        for value in self._candidates(section):
            found = section_padding(section, (value,), PADDING_WIDTH)
            count = int(np.count_nonzero(found))
            if count:
                self._padding[value] = self._padding.get(value, 0) + count

    def _candidates(self, section: NDArray[Any]) -> list[float]:
        """Values that may fill a square of a section."""
        if min(section.shape) < PADDING_WIDTH:
            return []
        low, high = section.min(), section.max()
        if not self._exact:
            return sorted({0.0} | {float(v) for v in (low, high) if math.isfinite(v)})
        counts = np.bincount(self._bins(section.ravel()))
        most = int(counts.argmax())
        found = {int(low), int(high)}
        if counts[most] > LIKELY_PADDING * section.size:
            found.add(most + self._offset)
        return sorted(float(value) for value in found)

    def _percentiles(self) -> dict[float, float]:
        total = self._counts.cumsum()
        if not total[-1]:
            return {}
        found = {}
        for percentile in PERCENTILES:
            index = int(np.searchsorted(total, max(total[-1] * percentile / 100, 1)))
            found[percentile] = min(max(self._value(index), self._lowest), self._highest)
        return found

    def _histogram(self) -> Iterator[tuple[float, float, float]]:
        used = np.flatnonzero(self._counts)
        if not len(used):
            return
        edges = self._edges()
        values = np.array([self._value(int(one)) for one in used])
        row = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
        shares = np.bincount(row, self._counts[used], len(edges) - 1) / self._voxels
        yield from zip(edges[:-1].tolist(), edges[1:].tolist(), shares.tolist(), strict=True)

    def _edges(self) -> NDArray[np.float64]:
        """Of the rows, one more than these."""
        low, high = self._lowest, self._highest
        if self._dtype.kind in "biu" and high - low < ROWS:
            return np.arange(low, high + 2, dtype=np.float64)
        begin, end = (self._percentiles()[p] for p in (PERCENTILES[0], PERCENTILES[-1]))
        if 0 < end - begin < NARROW * (high - low):
            low, high = begin, end
        if self._dtype.kind == "f":
            return np.linspace(low, high if high > low else low + 1, ROWS + 1)
        step = max(1, math.ceil((high + 1 - low) / ROWS))
        return low + step * np.arange(math.ceil((high + 1 - low) / step) + 1, dtype=np.float64)

    def _saturated(self) -> tuple[float, float]:
        if not self._exact or self._dtype.kind == "b":
            return 0.0, 0.0
        limits = np.iinfo(self._dtype)
        outside = self._voxels - sum(self._padding.values())
        shares = [
            (int(self._counts[v - self._offset]) - self._padding.get(float(v), 0)) / max(outside, 1)
            for v in (int(limits.min), int(limits.max))
        ]
        return shares[0], shares[1]


def _looks_like(distinct: int | None, equal: float, constant: bool) -> str:
    if constant:
        return NOTHING
    if distinct is None:
        return GREY
    if distinct == 2:
        return MASK
    return LABELS if equal > EQUAL_NEIGHBOURS else GREY
