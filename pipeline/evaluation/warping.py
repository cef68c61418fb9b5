"""Warping error: what differs once truth has been bent towards the proposal without tearing."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.measure import label

from pipeline.compiled import compiled
from pipeline.evaluation.contingency import require_same_shape

NEIGHBOURS = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))
"""y, x of the eight neighbours, in the order of their bits in a neighbourhood's number."""


def warp(truth: NDArray[np.bool_], proposal: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Truth, warped towards the proposal as far as its topology allows.

    1. Go row by row through the pixels where truth differs from the proposal.
    2. Flip each that is a simple point, at once: a pixel whose eight neighbours hold exactly
       one 4-connected piece of cell that it touches by an edge, and exactly one 8-connected
       piece of boundary.
    3. Again with what still differs, until nothing flips.

    The number of cells (4-connected) and of pieces of boundary (8-connected, all that touch
    the border of the section joined outside) stays what it was.

    Parameters
    ----------
    truth, proposal
        (Y, X) bool, True = cell, False = boundary; what lies outside counts as boundary.

    Returns
    -------
    warped
        (Y, X) bool. Where it differs from ``proposal`` no flip keeps the topology. Another
        order of flips can leave a slightly different number of pixels.

    Raises
    ------
    InputError
        If the shapes differ.

    References
    ----------
    Jain et al. 2010, CVPR, Boundary learning by optimization with topological constraints;
    Bertrand 1994, Pattern Recognition Letters 15:169 (simple points).
    """
    require_same_shape(truth, proposal)
    warped = np.pad(truth, 1)
    width = warped.shape[1]
    steps = np.array([y * width + x for y, x in NEIGHBOURS])
    differing = np.flatnonzero(warped != np.pad(proposal, 1))
    _warp(warped.reshape(-1), differing, steps, _SIMPLE)
    inner: NDArray[np.bool_] = warped[1:-1, 1:-1].copy()
    return inner


def warping_error(truth: NDArray[np.bool_], proposal: NDArray[np.bool_]) -> int:
    """Number of pixels of a section that differ after warping; as for ``warp``.

    Thinner, thicker and slightly shifted boundaries cost nothing, a gap its length. Only pixels
    that differ flip, so a boundary that moved past its own width is not followed, and a false
    piece of boundary costs one pixel if it hangs on a true one, else all its pixels.
    """
    return int(np.count_nonzero(warp(truth, proposal) != proposal))


def is_simple(neighbours: NDArray[np.bool_]) -> bool:
    """Whether the middle pixel of 3 x 3 can flip without a change of topology.

    Parameters
    ----------
    neighbours
        (3, 3) bool, True = cell; the middle does not matter.
    """
    cell, boundary = neighbours.copy(), ~neighbours
    cell[1, 1] = boundary[1, 1] = False
    pieces: NDArray[Any] = label(cell, connectivity=1)
    touching = np.unique(pieces[(0, 1, 1, 2), (1, 0, 2, 1)])
    return bool(np.count_nonzero(touching) == 1 and label(boundary, connectivity=2).max() == 1)


def _simple_table() -> NDArray[np.bool_]:
    """``is_simple`` of all 256 neighbourhoods."""
    table = np.zeros(256, bool)
    for number in range(256):
        square = np.zeros((3, 3), bool)
        for bit, (y, x) in enumerate(NEIGHBOURS):
            square[y + 1, x + 1] = number >> bit & 1
        table[number] = is_simple(square)
    return table


_SIMPLE = _simple_table()


@compiled
def _warp(
    image: NDArray[np.bool_],
    differing: NDArray[np.int64],
    steps: NDArray[np.int64],
    simple: NDArray[np.bool_],
) -> None:
    """Flip simple points among ``differing`` until none is left; both are changed in place."""
    left = differing.size
    while left:
        kept = 0
        for n in range(left):
            pixel = differing[n]
            number = 0
            for bit in range(8):
                if image[pixel + steps[bit]]:
                    number |= 1 << bit
            if simple[number]:
                image[pixel] = not image[pixel]
            else:
                differing[kept] = pixel
                kept += 1
        if kept == left:
            break
        left = kept
