"""The part of an annotated volume that a training must not see: found, scored, and covered up.

It is neither learned from nor seen beside or above what is learned from. In its place stands

- nothing, where it is whole sections: a network with context is shown the section on the other
  side instead (``pipeline.training.volumes.neighbours``);
- the mirror image of what lies beside it in the section, where it is a part of each;
- the mirror image of the sections below or above, where it is whole sections in the middle of a
  volume with planes along z.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contract import Box
from pipeline.errors import InputError
from pipeline.training.targets import IGNORE
from workflows.annotated_volume import AnnotatedVolume


def held_part(volume: AnnotatedVolume, box: Box, first: int, last: int) -> Box | None:
    """What is held back, as an index into arrays of the sections ``first`` to ``last - 1``.

    Parameters
    ----------
    volume
        Described.
    box
        Its sections and region.
    first, last
        Sections that are loaded.

    Raises
    ------
    InputError
        If it is empty or leaves the volume's sections and region.
    """
    if volume.held_back is None:
        return None
    z, z_end, y, y_end, x, x_end = volume.held_back
    begin, end = (z, y, x), (z_end, y_end, x_end)
    if not all(
        b <= low < high <= e for b, low, high, e in zip(box.begin, begin, end, box.end, strict=True)
    ):
        raise InputError(
            f"{volume.name}: what is held back, {list(volume.held_back)}, is empty or leaves "
            "the sections and region"
        )
    _, top, left = box.begin
    z, z_end = (min(max(place, first), last) - first for place in (z, z_end))
    return Box((z, y - top, x - left), (z_end, y_end - top, x_end - left))


def only(target: NDArray[np.uint8], part: Box, name: str) -> NDArray[np.uint8]:
    """The target of the part alone; elsewhere it is to be ignored.

    Raises
    ------
    InputError
        If nothing is annotated there; ``name`` is of the volume.
    """
    held = np.full_like(target, IGNORE)
    held[part.slices] = target[part.slices]
    if (held == IGNORE).all():
        raise InputError(f"{name}: nothing is annotated in what is held back")
    return held


def without(target: NDArray[np.uint8], part: Box, margin: tuple[int, int, int]) -> NDArray[Any]:
    """The target of all but the part, and of so many voxels round it.

    Parameters
    ----------
    target
        (Z, Y, X) uint8.
    part
        What is held back.
    margin
        Voxels along z, y, x whose target tells of the part: a border between two labels marks
        one voxel on both sides.
    """
    wider = tuple(
        slice(max(low - more, 0), high + more)
        for low, high, more in zip(part.begin, part.end, margin, strict=True)
    )
    taught = target.copy()
    taught[wider] = IGNORE
    return taught


def left_out(part: Box, shape: tuple[int, ...], *, planes: bool) -> NDArray[np.bool_]:
    """Which sections hold nothing but what is held back, and can be left out, (Z,) bool.

    Parameters
    ----------
    part
        What is held back.
    shape
        Of the volume's loaded part.
    planes
        Whether planes along z are drawn: then only sections at an end can be left out, as what
        lies below and above others would meet.
    """
    flags = np.zeros(shape[0], bool)
    begin, end = part.begin[0], part.end[0]
    if part.shape[1:] == tuple(shape[1:]) and not (planes and begin > 0 and end < shape[0]):
        flags[begin:end] = True
    return flags


def covered_up(raw: NDArray[Any], part: Box, sections: NDArray[np.int64]) -> NDArray[Any]:
    """Grey values with the mirror image of what lies beside the part in its place.

    Parameters
    ----------
    raw
        (n, Y, X) of some sections.
    part
        What is held back.
    sections
        (n,) their places among the sections that ``part`` counts.

    Returns
    -------
    raw
        Another array, unless no section holds anything of the part.
    """
    inside = (sections >= part.begin[0]) & (sections < part.end[0])
    if not inside.any():
        return raw
    z = np.flatnonzero(inside)
    place = (slice(z[0], z[-1] + 1), *part.slices[1:])
    axes = (1, 2) if part.shape[1:] != raw.shape[1:] else (0,)
    sides = [(place[k].start, k, True) for k in axes]
    sides += [(raw.shape[k] - place[k].stop, k, False) for k in axes]
    _, axis, before = max(sides, key=lambda side: side[0])
    length = place[axis].stop - place[axis].start
    beside = list(place)
    beside[axis] = slice(0, place[axis].start) if before else slice(place[axis].stop, None)
    source = raw[tuple(beside)]
    gap = [(0, 0)] * 3
    gap[axis] = (0, length) if before else (length, 0)
    mirrored = np.pad(source, gap, mode="symmetric")
    kept = [slice(None)] * 3
    kept[axis] = slice(-length, None) if before else slice(0, length)
    covered = raw.copy()
    covered[place] = mirrored[tuple(kept)]
    return covered
