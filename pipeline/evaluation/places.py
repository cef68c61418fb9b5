"""Where the pieces of objects lie: one voxel a piece, found while sections are read in order.

1. Every slab, with a section before and after it, tells the number, sum of coordinates and span
   of the voxels of each piece, and of those that touch the body's largest piece by a face.
2. A piece is shown where it touches; if it does not, or is the largest, anywhere within it.
3. The sections of these voxels are read again for the one nearest to their mean.

Sums are integers, so slabs of any depth give the same voxels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.contract import Triple
from pipeline.evaluation.slabs import Sections, Slab

WHOLE, TOUCHING = 0, 1
"""Kinds of voxels of a piece."""
Progress = Callable[[int, int], None]
"""Called with the number of slabs that are done, and of all."""


@dataclass(frozen=True)
class Body:
    """An object whose pieces are looked for.

    Parameters
    ----------
    of_truth
        Whether it is a true object in predicted pieces, or a predicted one in true pieces.
    id
        Of the object.
    pieces
        Ids of the pieces, the largest first.
    span
        First section of the object, and the one after its last.
    """

    of_truth: bool
    id: int
    pieces: tuple[int, ...]
    span: tuple[int, int]


def find_places(
    bodies: Sequence[Body], sections: Sections, progress: Progress | None = None
) -> list[list[Triple]]:
    """A voxel of every piece of every body.

    Parameters
    ----------
    bodies
        Each with at least one piece.
    sections
        Voxels whose true id is 0, or that are not scored, belong to no body.
    progress
        Of both readings together.

    Returns
    -------
    places
        zyx, a list a body, in the order of its pieces. Of the voxels that touch the largest
        piece by a face the one nearest to their mean; if none does, and for the largest piece,
        the voxel of the piece nearest to its own.
    """
    spans = [body.span for body in bodies]
    met = [_Met.of(len(body.pieces)) for body in bodies]
    for number, pixels in _readings(bodies, spans, sections, progress, readings_before=0):
        met[number].add(pixels)
    spans = [one.span_of_chosen() for one in met]
    nearest = [[_Nearest() for _ in body.pieces] for body in bodies]
    for number, pixels in _readings(bodies, spans, sections, progress, readings_before=1):
        for piece in np.unique(pixels.piece).tolist():
            kind = met[number].chosen[piece]
            of_piece = (pixels.piece == piece) & (pixels.touching | (kind == WHOLE))
            count, total = met[number].count[kind, piece], met[number].total[kind, piece]
            nearest[number][piece].look(pixels.coordinates(of_piece), count, total)
    return [[one.at for one in of_body] for of_body in nearest]


@dataclass(frozen=True)
class _Pixels:
    """Pixels of a body in a section.

    Parameters
    ----------
    section
        Its number.
    piece
        (n,) int, number of the piece.
    y, x
        (n,) int64, from the section's corner, ascending.
    touching
        (n,) bool: by a face beside the largest piece, but not of it.
    """

    section: int
    piece: NDArray[np.int64]
    y: NDArray[np.int64]
    x: NDArray[np.int64]
    touching: NDArray[np.bool_]

    def coordinates(self, chosen: NDArray[np.bool_]) -> NDArray[np.int64]:
        """(m, 3) zyx of the pixels where ``chosen`` is true."""
        y = self.y[chosen]
        return np.stack([np.full(y.size, self.section), y, self.x[chosen]], axis=1)


@dataclass
class _Met:
    """Voxels of the pieces of a body so far: all of them (``WHOLE``), and those that touch.

    Parameters
    ----------
    count
        (2, pieces) int64.
    total
        (2, pieces, 3) int64, sum of zyx.
    first, last
        (2, pieces) int64, sections.
    """

    count: NDArray[np.int64]
    total: NDArray[np.int64]
    first: NDArray[np.int64]
    last: NDArray[np.int64]

    @classmethod
    def of(cls, pieces: int) -> _Met:
        """None met yet."""
        zeros = np.zeros((2, pieces), np.int64)
        return cls(zeros, np.zeros((2, pieces, 3), np.int64), zeros - 1, zeros - 1)

    def add(self, pixels: _Pixels) -> None:
        """Meet those of the next section."""
        for kind, chosen in ((WHOLE, np.ones_like(pixels.touching)), (TOUCHING, pixels.touching)):
            places = pixels.coordinates(chosen)
            np.add.at(self.count[kind], pixels.piece[chosen], 1)
            np.add.at(self.total[kind], pixels.piece[chosen], places)
            present = np.unique(pixels.piece[chosen])
            self.last[kind, present] = pixels.section
            new = present[self.first[kind, present] < 0]
            self.first[kind, new] = pixels.section

    @property
    def chosen(self) -> NDArray[np.int64]:
        """(pieces,) which voxels show the piece."""
        return np.where(self.count[TOUCHING] > 0, TOUCHING, WHOLE)

    def span_of_chosen(self) -> tuple[int, int]:
        """First section of any chosen voxel, and the one after the last."""
        chosen = self.chosen, np.arange(self.count.shape[1])
        return int(self.first[chosen].min()), int(self.last[chosen].max()) + 1


@dataclass
class _Nearest:
    """The voxel nearest to a mean, the first of equals, as sections go on."""

    distance: float = np.inf
    at: Triple = (0, 0, 0)

    def look(self, places: NDArray[np.int64], count: np.int64, total: NDArray[np.int64]) -> None:
        """Look at voxels (n, 3) of a section; ``total / count`` is the mean."""
        if not len(places):
            return
        # Integer distances to the mean times the number of voxels: no rounding decides a tie.
        away = places * count - total
        distances = (away.astype(np.float64) ** 2).sum(axis=1)
        nearest = int(np.argmin(distances))
        if distances[nearest] < self.distance:
            self.distance = float(distances[nearest])
            z, y, x = places[nearest].tolist()
            self.at = (z, y, x)


def _readings(
    bodies: Sequence[Body],
    spans: Sequence[tuple[int, int]],
    sections: Sections,
    progress: Progress | None,
    *,
    readings_before: int,
) -> Iterator[tuple[int, _Pixels]]:
    """Number of a body, and its pixels in a section; only sections of its span are read."""
    slabs = sections.slabs()
    for done, (begin, end) in enumerate(slabs, readings_before * len(slabs) + 1):
        present = [n for n, (low, high) in enumerate(spans) if low < end and begin < high]
        if present:
            slab = sections.read(max(begin - 1, 0), min(end + 1, sections.shape[0]))
            counted = slab.truth != 0 if slab.scored is None else slab.scored & (slab.truth != 0)
            for number in present:
                for pixels in _pixels(slab, counted, bodies[number]):
                    if begin <= pixels.section < end:
                        yield number, pixels
        if progress is not None:
            progress(done, 2 * len(slabs))


def _pixels(slab: Slab, counted: NDArray[np.bool_], body: Body) -> Iterator[_Pixels]:
    """Listed pieces of a body in a slab, section by section."""
    owner, other = slab.truth, slab.prediction
    if not body.of_truth:
        owner, other = other, owner
    inside = counted & (owner == owner.dtype.type(body.id))
    box = _box(inside)
    if box is None:
        return
    inside, other = inside[box], other[box]
    largest = inside & (other == other.dtype.type(body.pieces[0]))
    touching = _beside(largest) & ~largest
    first, top, left = (side.start for side in box)
    names = np.array(body.pieces, np.uint64)
    order = np.argsort(names)
    for section, pixels in enumerate(inside):
        y, x = np.nonzero(pixels)
        ids = other[section][y, x].astype(np.uint64)
        place = np.minimum(np.searchsorted(names, ids, sorter=order), names.size - 1)
        piece = order[place]
        listed = names[piece] == ids
        y, x, piece = y[listed], x[listed], piece[listed]
        near = touching[section][y, x]
        yield _Pixels(slab.first + first + section, piece, y + top, x + left, near)


def _box(mask: NDArray[np.bool_]) -> tuple[slice, slice, slice] | None:
    """The smallest box that holds all that is true; ``None`` if nothing is."""
    plane = np.logical_or.reduce(mask, axis=0)
    if not plane.any():
        return None
    z, y, x = (np.flatnonzero(side) for side in (mask.any((1, 2)), plane.any(1), plane.any(0)))
    return slice(z[0], z[-1] + 1), slice(y[0], y[-1] + 1), slice(x[0], x[-1] + 1)


def _beside(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Voxels with a neighbour by a face where ``mask`` is true."""
    beside = np.zeros_like(mask)
    for axis in range(mask.ndim):
        near, here = np.moveaxis(beside, axis, 0), np.moveaxis(mask, axis, 0)
        near[1:] |= here[:-1]
        near[:-1] |= here[1:]
    return beside
