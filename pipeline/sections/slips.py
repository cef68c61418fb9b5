"""Where sections have slipped aside, and the way of the stack through them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.sections.config import SectionsConfig
from pipeline.sections.stack import Flags, Stack

CLEAR = 2.5
"""Least correlation at the best shift, over that elsewhere. Real neighbours have 2.4 to 20."""
STRAIGHT = 0.7
"""Most of the correlation at the best shift that may be left without a shift."""


@dataclass(frozen=True)
class Slips:
    """Displacements of sections.

    Parameters
    ----------
    slip
        (Z, 2) int64, of a section against the nearest usable one below, in voxels; 0 where
        there is none or it is not clear.
    place
        (Z, 2) int64: what lies at (y, x) of section 0 lies at (y, x) + ``place`` here.
    """

    slip: NDArray[np.int64]
    place: NDArray[np.int64]


def slips_of(stack: Stack, good: Flags, config: SectionsConfig) -> Slips:
    """Slips of all sections, added up from the first one.

    A section that comes back to about the place from before the last slip is at that place, so
    that one displaced section does not move those above it. Sections that are not used have the
    place of the one below.

    Parameters
    ----------
    stack
        Evidence.
    good
        (Z,) which sections are used.
    config
        Resolved.
    """
    slip, place = np.zeros((2, stack.depth, 2), np.int64)
    smallest = config.smallest_slip_voxels
    assert smallest is not None
    below, before = -1, np.zeros(2, np.int64)
    for z in range(stack.depth):
        place[z] = place[z - 1] if z else 0
        if not good[z]:
            continue
        if below >= 0:
            slip[z] = _slip(stack, z, z - below, smallest)
        if slip[z].any():
            here = place[z] + slip[z]
            back = np.hypot(*(here - before)) < smallest
            before, place[z] = place[z].copy(), before if back else here
        below = z
    return Slips(slip, place)


def _slip(stack: Stack, z: int, depth: int, smallest: int) -> NDArray[np.int64]:
    """Of a section against that ``depth`` below."""
    none = np.zeros(2, np.int64)
    if not stack.comparable or depth > stack.alike.shape[1]:
        return none
    alike, second, straight = (a[z, depth - 1] for a in (stack.alike, stack.second, stack.straight))
    if not (alike > max(CLEAR * second, stack.chance) and straight < STRAIGHT * alike):
        return none
    shift = np.rint(stack.shift[z, depth - 1]).astype(np.int64)
    return shift if np.hypot(*shift) >= smallest else none
