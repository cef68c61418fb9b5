"""What is done about sections with defects: their grey range, their replacement, their place.

The table ``sections`` has a row for every section of the volume. Stages that read grey values
or join sections take it as ``Corrections``:

1. A section that cannot be used is bridged: wherever grey values are read, the nearest usable
   section stands in its place.
2. Every section has grey values of its own that become 0 and 1, so that drift and inverted
   contrast end here.
3. A link says which voxel of a section lies below which voxel of a later one: straight, aside
   where the stack has slipped, and across a gap to the first usable section.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

SECTIONS = "sections"
"""The table."""


class Link(NamedTuple):
    """Voxel (z, y, x) lies below voxel (z, y, x) + ``step``, where ``begin <= z < end``."""

    begin: int
    end: int
    step: tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class Corrections:
    """Corrections of Z sections, in the volume's order.

    Parameters
    ----------
    low, high
        (Z,) float64, grey values that become 0 and 1; ``low > high`` where the contrast is
        inverted.
    source
        (Z,) int64, the section whose grey values are used: itself, or, of a section that is
        bridged, the nearest usable one (of two, the lower).
    place
        (Z, 2) int64: what lies at (y, x) of section 0 lies at (y, x) + ``place`` here, in
        voxels; 0 where nothing slipped.
    """

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    source: NDArray[np.int64]
    place: NDArray[np.int64]

    @classmethod
    def of(cls, sections: Mapping[str, Any]) -> Self:
        """From the table ``sections``."""
        return cls(*(np.asarray(sections[name]) for name in cls.__dataclass_fields__))

    @classmethod
    def none(cls, depth: int, low: float, high: float) -> Self:
        """Those of a volume of ``depth`` sections without defects."""
        return cls(
            np.full(depth, low),
            np.full(depth, high),
            np.arange(depth),
            np.zeros((depth, 2), np.int64),
        )

    def table(self) -> dict[str, NDArray[Any]]:
        """The columns of the table ``sections`` that hold them."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    @property
    def reach(self) -> int:
        """Sections from a bridged one to that in its place, at most."""
        distance: NDArray[np.int64] = np.abs(self.source - np.arange(len(self.source)))
        return int(distance.max(initial=0))

    @cached_property
    def links(self) -> tuple[Link, ...]:
        """From every section but the last to the next one, and across every gap.

        A gap lies between two usable sections; what was put into it is linked as well.
        """
        usable = np.flatnonzero(self.source == np.arange(len(self.source)))
        below, depth = usable[:-1], np.diff(usable)
        across = [self._link(z, n) for z, n in zip(below, depth, strict=True) if n > 1]
        return (*self.links_over(1), *across)

    def links_over(self, depth: int) -> Iterator[Link]:
        """From every section to that ``depth`` further on, as long ones as can be."""
        beneath = np.arange(max(len(self.source) - depth, 0))
        shift = self._places[beneath + depth] - self._places[beneath]
        changes = np.flatnonzero((shift[1:] != shift[:-1]).any(1)) + 1
        borders = [0, *changes.tolist(), len(beneath)]
        for begin, end in pairwise(borders):
            if begin < end:
                yield self._link(begin, depth)._replace(end=end)

    def bridged(self, raw: NDArray[Any], begin: int) -> NDArray[Any]:
        """Grey values with usable sections in the place of others.

        Parameters
        ----------
        raw
            (Z, Y, X), sections from ``begin``; where one is bridged it must reach to the one
            in its place.
        begin
            The first section in the volume.
        """
        here = np.arange(begin, begin + len(raw))
        source = self.source[begin : begin + len(raw)]
        if np.array_equal(source, here):
            return raw
        inside = (source >= begin) & (source < begin + len(raw))
        # the outermost sections of a halo may be bridged from beyond it; nobody uses them
        taken: NDArray[Any] = raw[np.where(inside, source, here) - begin]
        return taken

    def normalise(
        self, raw: NDArray[Any], z: NDArray[np.integer], axis: int = 0
    ) -> NDArray[np.float32]:
        """Grey values as 0..1, clipped.

        Parameters
        ----------
        raw
            uint8, uint16 or float32, bridged. The result takes four bytes a voxel, so callers
            give few sections at a time.
        z
            (n,) integers: which sections of the volume lie along ``axis``.
        axis
            Of ``raw``.

        Returns
        -------
        normalised
            float32, 0..1, as large as ``raw``.
        """
        along = [-1 if k == axis else 1 for k in range(raw.ndim)]
        source = self.source[z]
        low, high = (
            bound[source].astype(np.float32).reshape(along) for bound in (self.low, self.high)
        )
        scaled = raw.astype(np.float32)
        scaled -= low
        scaled /= high - low
        return np.clip(scaled, np.float32(0), np.float32(1), out=scaled)

    @cached_property
    def _places(self) -> NDArray[np.int64]:
        """(Z, 2) place of what stands in every section."""
        places: NDArray[np.int64] = self.place[self.source]
        return places

    def _link(self, z: int, depth: int) -> Link:
        """Of one section."""
        shift_y, shift_x = self._places[z + depth] - self._places[z]
        return Link(int(z), int(z) + 1, (int(depth), int(shift_y), int(shift_x)))
