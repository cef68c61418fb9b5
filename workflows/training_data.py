"""Annotated volumes of a training as arrays.

1. ``described``: voxel size, sections, and which of them are annotated, found out on disk.
2. ``load``: grey values and targets of what is annotated; what is held back is not in them. Or
   ``read_pair``: the same for the forests, as grey values and truth.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.config import parse_config
from pipeline.corrections import SECTIONS, Corrections
from pipeline.errors import InputError
from pipeline.store import Place
from pipeline.training.targets import IGNORE, from_labels, from_mask
from pipeline.training.volumes import TrainingVolume, longest_run
from workflows.annotated_volume import AnnotatedVolume
from workflows.held_back_part import covered_up, held_part, left_out, only, without
from workflows.in_memory import reconstruct_array
from workflows.machine import available_cores
from workflows.opened_volume import OpenedVolume, open_annotated, placed
from workflows.voxel_files import open_annotation, read_tiff

__all__ = [
    "AnnotatedVolume",
    "HeldBack",
    "Pair",
    "described",
    "load",
    "plane_of",
    "read_pair",
    "read_tiff",
]

LOG = logging.getLogger(__name__)
SEPARATE: dict[str, Any] = {"sections": {"bridge": False, "slips": "ignore"}}
"""Annotated sections need not be neighbours, so none may stand in for another."""
FEW_SECTIONS = 8
"""With fewer annotated neighbours an isotropic volume teaches in its xy sections alone."""
FEW_PIXELS = 256 * 256
"""Annotated voxels below which a training is warned of: one crop of the default size."""


@dataclass(frozen=True, eq=False)
class HeldBack:
    """A part that is not learned from, and the sections round it.

    Parameters
    ----------
    name
        Of the volume.
    raw
        (Z, Y, X) uint8, uint16 or float32.
    target
        (Z, Y, X) uint8: 0, 1 = boundary, 255 = ignore, also outside the part.
    voxel_size_nm
        z, y, x.
    """

    name: str
    raw: NDArray[Any]
    target: NDArray[np.uint8]
    voxel_size_nm: tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class Pair:
    """Grey values and truth of the same voxels.

    Parameters
    ----------
    raw
        (Z, Y, X) uint8, uint16 or float32.
    truth
        (Z, Y, X) labels or a mask.
    known
        (Z, Y, X) bool, what of the truth is annotated.
    """

    raw: NDArray[Any]
    truth: NDArray[Any]
    known: NDArray[np.bool_]


def described(volume: AnnotatedVolume, data: Path) -> AnnotatedVolume:
    """The same volume with what its files tell.

    Parameters
    ----------
    volume
        As in the configuration.
    data
        Folder that its paths are relative to.

    Returns
    -------
    volume
        With ``voxel_size_nm``, ``sections``, and ``annotated_sections`` unless all are.

    Raises
    ------
    InputError
        If a file cannot be read, shapes or voxel sizes differ, sections or region lie outside,
        or nothing is annotated.
    """
    opened = open_annotated(volume, data)
    annotated: list[int] = []
    found = volume.unlabelled is None
    first, last = opened.box.begin[0], opened.box.end[0]
    for begin, end in opened.runs(first, last):
        truth, known = opened.annotation(begin, end)
        annotated += (begin + np.flatnonzero(known.any(axis=(1, 2)))).tolist()
        found = found or bool((truth == volume.unlabelled).any())
    if not annotated:
        raise InputError(
            f"{volume.name}: no voxel of sections {first}..{last} is annotated in "
            f"{opened.truth.path}; give the sections that are, and what 'unlabelled' means"
        )
    if not found:
        LOG.warning(
            "%s: no voxel has the value %s that means 'not annotated'",
            volume.name,
            volume.unlabelled,
        )
    all_of_them = len(annotated) == last - first
    return volume.model_copy(
        update={
            "voxel_size_nm": opened.raw.voxel_size_nm,
            "sections": (first, last),
            "annotated_sections": None if all_of_them else tuple(annotated),
        }
    )


def read_pair(volume: AnnotatedVolume, data: Path) -> Pair:
    """Grey values and truth of a described volume, from the first to the last annotated section.

    Raises
    ------
    InputError
        As ``described``.
    """
    opened = open_annotated(volume, data)
    begin, end = _extent(volume)
    truth, known = opened.annotation(begin, end)
    return Pair(opened.raw.read(opened.sections(begin, end)), truth, known)


def load(
    volume: AnnotatedVolume, data: Path, context: int = 0
) -> tuple[TrainingVolume, HeldBack | None]:
    """Grey values, normalised over the sections that are read, and the target.

    Parameters
    ----------
    volume
        Described.
    data
        Folder that its paths are relative to.
    context
        Sections that the network sees on each side of the predicted one.

    Returns
    -------
    training
        Without sections that teach nothing, where these are not needed as context, and without
        what is held back (see ``held_back_part``).
    held_back
        The part that is scored, if there is one, with the sections that the network sees there.

    Raises
    ------
    InputError
        As ``described``; or if only one class is annotated, or nothing beside what is held
        back.
    """
    opened = open_annotated(volume, data)
    begin, end = _extent(volume)
    target = _target(opened, begin, end)
    part = held_part(volume, opened.box, begin, end)
    held = None if part is None else only(target, part, volume.name)
    if part is not None:
        target = without(target, part, _reach_of_truth(volume))
    _check_target(volume, target, opened.truth.path)
    annotated = (target != IGNORE).any(axis=(1, 2))
    connected = longest_run(annotated) >= min(FEW_SECTIONS, len(annotated))
    planes = volume.isotropic and connected
    context = 0 if volume.separate_sections else context
    needed = np.ones_like(annotated) if planes else _with_neighbours(annotated, context)
    if part is not None:
        needed &= ~left_out(part, target.shape, planes=planes)
    taught = np.flatnonzero(needed)
    raw = opened.read_sections(begin, taught)
    if part is not None:
        raw = covered_up(raw, part, taught)
    training = TrainingVolume(
        volume.name,
        _normalised(raw, opened),
        target[taught],
        volume.weight,
        planes,
        volume.size_nm,
        begin + taught,
        volume.separate_sections,
    )
    if held is None:
        return training, None
    scored = np.flatnonzero(_with_neighbours((held != IGNORE).any(axis=(1, 2)), context))
    grey = opened.read_sections(begin, scored)
    return training, HeldBack(volume.name, grey, held[scored], volume.size_nm)


def _with_neighbours(flags: NDArray[np.bool_], distance: int) -> NDArray[np.bool_]:
    """True also up to so far from what is."""
    widened = np.convolve(flags, np.ones(2 * distance + 1, np.int64))
    return widened[distance : distance + len(flags)] > 0


def _normalised(raw: NDArray[Any], opened: OpenedVolume) -> NDArray[np.float32]:
    """Grey values as ``run`` gives them to the network: inverted or brightened where needed."""
    try:
        found = reconstruct_array(
            raw,
            opened.volume.size_nm,
            parse_config(SEPARATE, opened.volume.name),
            until=SECTIONS,
            threads=available_cores(),
        )
    except InputError as error:
        raise InputError(f"{opened.raw.path}: {error}") from error
    corrections = Corrections.of(found[SECTIONS])
    if (corrections.low > corrections.high).any():
        LOG.info("%s: membranes are brighter than cells; inverted", opened.volume.name)
    return corrections.normalise(raw, np.arange(len(raw)))


def plane_of(volume: AnnotatedVolume, data: Path) -> tuple[int, int]:
    """Height and width of the sections, in pixels."""
    _, height, width = open_annotation(placed(data, volume.truth)).shape
    return height, width


def _extent(volume: AnnotatedVolume) -> tuple[int, int]:
    """From the first annotated section to one past the last, of a described volume."""
    assert volume.sections is not None
    listed = volume.annotated_sections
    return (listed[0], listed[-1] + 1) if listed else volume.sections


def _target(opened: OpenedVolume, first: int, last: int) -> NDArray[np.uint8]:
    """Target of sections, made in runs; borders along z reach over the runs."""
    volume = opened.volume
    target = np.empty(opened.sections(first, last).shape, np.uint8)
    reach = 1 if volume.isotropic and volume.truth_kind == "labels" else 0
    for begin, end in opened.runs(first, last):
        low, high = max(begin - reach, first), min(end + reach, last)
        truth, known = opened.annotation(low, high)
        if volume.truth_kind == "labels":
            found = from_labels(
                truth,
                isotropic=volume.isotropic,
                zero_is_boundary=volume.zero_is_boundary,
                known=known,
            )
        else:
            found = from_mask(truth, membrane_is_zero=volume.truth_kind == "cells", known=known)
        target[begin - first : end - first] = found[begin - low : end - low]
    return target


def _reach_of_truth(volume: AnnotatedVolume) -> tuple[int, int, int]:
    """Voxels along z, y, x over which the truth of one tells of its neighbour's target."""
    if volume.truth_kind != "labels":
        return 0, 0, 0
    return (1 if volume.isotropic else 0), 1, 1


def _check_target(volume: AnnotatedVolume, target: NDArray[np.uint8], path: Place) -> None:
    boundary, inside = (int(np.count_nonzero(target == value)) for value in (1, 0))
    if boundary + inside == 0:
        raise InputError(f"{volume.name}: nothing is left to learn from beside what is held back")
    if boundary == 0 or inside == 0:
        only = "cell" if boundary == 0 else "membrane"
        raise InputError(
            f"{volume.name}: all that is annotated in {path} is {only}; a network needs both, so "
            "check truth_kind and which value means 'not annotated'"
        )
    if boundary + inside < FEW_PIXELS:
        LOG.warning(
            "%s: only %s voxels are annotated, less than a crop of 256 x 256; expect little",
            volume.name,
            f"{boundary + inside:,}",
        )
