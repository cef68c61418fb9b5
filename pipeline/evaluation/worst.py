"""The worst false splits and merges, each with its pieces, their share of the error, and where."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.contract import Triple
from pipeline.evaluation.contingency import Contingency

Kind = Literal["split", "merge"]


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
    prediction: NDArray[Any],
    truth: NDArray[Any],
    *,
    count: int,
    scored: NDArray[np.bool_] | None = None,
    origin: Triple = (0, 0, 0),
    most_pieces: int = 5,
) -> list[WorstObject]:
    """The objects that carry most of the variation of information, splits and merges together.

    Parameters
    ----------
    table
        Of these arrays, without the true ids that are not scored.
    prediction, truth
        (Z, Y, X) ids.
    count
        Rows at most.
    scored
        (Z, Y, X) bool, the voxels in the table; by default those whose true id is not 0.
    origin
        Added to every coordinate.
    most_pieces
        Pieces listed for an object at most.

    Returns
    -------
    rows
        By bits, descending; of equals splits first, then by id. Only objects with an error.
    """
    counted = truth != 0 if scored is None else scored & (truth != 0)
    found: list[tuple[float, Kind, int, int, float]] = []
    for kind in ("split", "merge"):
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
        owner, other = (truth, prediction) if kind == "split" else (prediction, truth)
        pieces = _pieces(table, kind, name, voxels)
        body = counted & (owner == owner.dtype.type(name))
        places = _places(body, other, [piece for piece, _, _ in pieces[:most_pieces]], origin)
        rows.append(
            WorstObject(
                kind,
                name,
                voxels,
                -negative,
                -negative / whole,
                tuple(Piece(*p, at) for p, at in zip(pieces[:most_pieces], places, strict=True)),
                max(len(pieces) - most_pieces, 0),
            )
        )
    return rows


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


def _places(
    body: NDArray[np.bool_], other: NDArray[Any], names: list[int], origin: Triple
) -> list[Triple]:
    """A voxel of each piece ``names`` of a body; the first is the largest."""
    box = ndimage.find_objects(body.astype(np.uint8))[0]
    body, other = body[box], other[box]
    corner = np.array([side.start for side in box]) + np.array(origin)
    largest = body & (other == other.dtype.type(names[0]))
    beside = ndimage.binary_dilation(largest)
    places = []
    for name in names:
        piece = body & (other == other.dtype.type(name))
        touching = piece & beside
        chosen = touching if name != names[0] and touching.any() else piece
        z, y, x = (_central(np.argwhere(chosen)) + corner).tolist()
        places.append((z, y, x))
    return places


def _central(voxels: NDArray[np.int64]) -> NDArray[np.int64]:
    """The voxel nearest to the middle of all, the first of equals."""
    # Integer distances to the mean times the number of voxels: no rounding decides a tie.
    away = voxels * len(voxels) - voxels.sum(axis=0)
    nearest: NDArray[np.int64] = voxels[np.argmin((away.astype(np.float64) ** 2).sum(axis=1))]
    return nearest
