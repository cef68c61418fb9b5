"""The worst false splits and merges, each with its pieces, their share of the error, and where."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from pipeline.contract import Triple
from pipeline.evaluation.contingency import Contingency
from pipeline.evaluation.places import Body, Progress, find_places
from pipeline.evaluation.slabs import Sections
from pipeline.evaluation.spans import ObjectSpans

Kind = Literal["split", "merge"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class Piece:
    """A part of an object that is split, or of several that are merged.

    Parameters
    ----------
    id
        Of the prediction in a split, of truth in a merge; 0 = background or unlabelled.
    voxels
        That the object and the piece share.
    bits
        Of VOI split, or merge, that these voxels carry.
    at
        zyx voxel of the piece: of those that touch the largest piece by a face the one nearest
        to their middle, if none does the voxel of the piece nearest to its own middle; of the
        largest piece always the latter.
    """

    id: int
    voxels: int
    bits: float
    at: Triple


@dataclass(frozen=True)
class WorstObject:
    """An object and what is wrong with it.

    Parameters
    ----------
    kind
        ``split``: a true object that lies in several predicted ones; ``merge``: a predicted
        object that holds several true ones.
    id
        Of truth in a split, of the prediction in a merge.
    voxels
        Scored voxels of the object.
    bits
        Of VOI split, or merge, that the object carries.
    share
        Of the whole VOI split, or merge, 0..1.
    pieces
        The largest first.
    more_pieces
        Number of smaller pieces that are not listed.
    """

    kind: Kind
    id: int
    voxels: int
    bits: float
    share: float
    pieces: tuple[Piece, ...]
    more_pieces: int


@dataclass(frozen=True)
class ObjectErrors:
    """Error of every object, exact: bits add up to VOI split, or merge.

    Parameters
    ----------
    ids
        (n,) uint64, ascending.
    voxels
        (n,) uint64.
    bits
        (n,) float64, >= 0.
    """

    ids: NDArray[np.uint64]
    voxels: NDArray[np.uint64]
    bits: NDArray[np.float64]


def object_errors(table: Contingency, kind: Kind) -> ObjectErrors:
    """What every object carries of VOI split (true objects) or merge (predicted ones).

    An object of n voxels among N that lies in pieces of n_i carries
    sum n_i log2(n / n_i) / N bits. Tables merge over blocks before.

    Parameters
    ----------
    table
        Counts of pairs of ids, without the true ids that are not scored.
    kind
        Side to look at.
    """
    owner, _ = _sides(table, kind)
    order = np.argsort(owner, kind="stable")
    ids, starts, number = np.unique(owner[order], return_index=True, return_inverse=True)
    if not ids.size:
        return ObjectErrors(ids, table.counts, np.empty(0))
    counts = table.counts[order]
    voxels = np.add.reduceat(counts, starts)
    bits = counts * np.log2(voxels[number] / counts) / table.total
    return ObjectErrors(ids, voxels, np.add.reduceat(bits, starts))


def worst_objects(
    table: Contingency,
    sections: Sections,
    *,
    count: int,
    spans: ObjectSpans | None = None,
    origin: Triple = (0, 0, 0),
    most_pieces: int = 5,
    progress: Progress | None = None,
) -> list[WorstObject]:
    """The objects that carry most of the variation of information, splits and merges together.

    The table tells which they are; the volume is then read for their coordinates only.

    Parameters
    ----------
    table
        Of the volume, without the true ids that are not scored.
    sections
        The volume; voxels of true id 0 are in no object.
    count
        Rows at most.
    spans
        Sections of all objects, so that no others are read; all sections by default.
    origin
        Added to every coordinate.
    most_pieces
        Pieces listed for an object at most.
    progress
        Called with the number of slabs read, and of all to be read.

    Returns
    -------
    rows
        By bits, descending; of equals splits first, then by id. Only objects with an error.
    """
    rows = _rows(table, count, most_pieces)
    bodies = [_body(row, spans, sections.shape[0]) for row in rows]
    found = []
    for row, places in zip(rows, find_places(bodies, sections, progress), strict=True):
        shifted = [_shifted(place, origin) for place in places]
        pieces = zip(row.pieces, shifted, strict=True)
        found.append(replace(row, pieces=tuple(replace(piece, at=at) for piece, at in pieces)))
    return found


def _rows(table: Contingency, count: int, most_pieces: int) -> list[WorstObject]:
    """The rows, without coordinates."""
    found: list[tuple[float, Kind, int, int, float]] = []
    for kind in KINDS:
        errors = object_errors(table, kind)
        whole = math.fsum(errors.bits.tolist())
        found += [
            (-float(errors.bits[n]), kind, int(errors.ids[n]), int(errors.voxels[n]), whole)
            for n in np.argsort(-errors.bits, kind="stable")[:count]
            if errors.bits[n] > 0
        ]
    rows = []
    for negative, kind, name, voxels, whole in sorted(
        found, key=lambda row: (row[0], row[1] == "merge", row[2])
    )[:count]:
        pieces = _pieces(table, kind, name, voxels)
        listed = tuple(Piece(*piece, at=(0, 0, 0)) for piece in pieces[:most_pieces])
        more = max(len(pieces) - most_pieces, 0)
        share = -negative / whole
        rows.append(WorstObject(kind, name, voxels, -negative, share, listed, more))
    return rows


def _body(row: WorstObject, spans: ObjectSpans | None, depth: int) -> Body:
    of_truth = row.kind == "split"
    span = (0, depth)
    if spans is not None:
        span = (spans.true if of_truth else spans.predicted).of(row.id)
    return Body(of_truth, row.id, tuple(piece.id for piece in row.pieces), span)


def _shifted(place: Triple, by: Triple) -> Triple:
    z, y, x = (one + step for one, step in zip(place, by, strict=True))
    return z, y, x


def _sides(table: Contingency, kind: Kind) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Ids of the objects that have errors, and of their pieces."""
    if kind == "split":
        return table.truth, table.prediction
    return table.prediction, table.truth


def _pieces(table: Contingency, kind: Kind, name: int, voxels: int) -> list[tuple[int, int, float]]:
    """Id, voxels and bits of the pieces of an object, the largest first, of equals by id."""
    owner, other = _sides(table, kind)
    rows = np.flatnonzero(owner == np.uint64(name))
    sizes = [(int(other[row]), int(table.counts[row])) for row in rows]
    return [
        (piece, size, size * math.log2(voxels / size) / table.total)
        for piece, size in sorted(sizes, key=lambda item: (-item[1], item[0]))
    ]
