"""The files of an annotated volume, opened and checked, read section by section."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contract import Box
from pipeline.errors import InputError
from pipeline.store import Place, as_place
from pipeline.training.targets import known_voxels
from workflows.annotated_volume import AnnotatedVolume
from workflows.voxel_files import VoxelFile, open_annotation, open_grey

READ_SECTIONS = 16
"""Sections of an annotation that are read at once."""


@dataclass(frozen=True, eq=False)
class OpenedVolume:
    """The files of a volume, and the part of them that is used."""

    volume: AnnotatedVolume
    raw: VoxelFile
    truth: VoxelFile
    known: VoxelFile | None
    box: Box

    def annotation(self, begin: int, end: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Truth of some sections, and what of it is annotated."""
        part = self.sections(begin, end)
        truth = self.truth.read(part)
        listed = self.volume.annotated_sections
        trusted = None
        if listed is not None:
            trusted = np.isin(np.arange(begin, end), listed)
        return truth, known_voxels(
            truth,
            unlabelled=self.volume.unlabelled,
            mask=None if self.known is None else self.known.read(part),
            trusted=trusted,
        )

    def sections(self, begin: int, end: int) -> Box:
        """The box of some sections."""
        return Box((begin, *self.box.begin[1:]), (end, *self.box.end[1:]))

    def runs(self, first: int, last: int) -> Iterator[tuple[int, int]]:
        """Ranges of sections, ``first`` to ``last - 1``, that are read at once."""
        for begin in range(first, last, READ_SECTIONS):
            yield begin, min(begin + READ_SECTIONS, last)

    def read_sections(self, first: int, chosen: NDArray[np.int64]) -> NDArray[Any]:
        """Grey values of sections counted from ``first``; neighbours are read together."""
        parts = np.split(chosen, np.flatnonzero(np.diff(chosen) != 1) + 1)
        read = [self.raw.read(self.sections(first + p[0], first + p[-1] + 1)) for p in parts]
        return read[0] if len(read) == 1 else np.concatenate(read)


def placed(data: Path, text: str) -> Place:
    """Where a volume lies: below a folder, or at its own address.

    Parameters
    ----------
    data
        Folder that paths are relative to.
    text
        A path, absolute or not, or an address as ``run`` takes it: ``s3://bucket/volume.zarr``.

    Raises
    ------
    InputError
        If nothing can be read from such an address.
    """
    place = as_place(text)
    return data / place if isinstance(place, Path) else place


def open_annotated(volume: AnnotatedVolume, data: Path) -> OpenedVolume:
    """Open the files of a volume and check that they fit each other.

    Raises
    ------
    InputError
        If a file cannot be read, shapes or voxel sizes differ, or sections or region lie outside.
    """
    raw = open_grey(placed(data, volume.raw), volume.voxel_size_nm)
    truth = open_annotation(placed(data, volume.truth))
    known = None if volume.known is None else open_annotation(placed(data, volume.known))
    for other in (truth, *([known] if known else [])):
        same_plane = other.shape[1:] == raw.shape[1:]
        if not same_plane or (volume.sections is None and other.shape != raw.shape):
            hint = "; say which 'sections' it covers" if same_plane else ""
            raise InputError(
                f"{volume.name}: raw is {raw.shape}, but {other.path} is {other.shape}{hint}"
            )
    depth = min(file.shape[0] for file in (raw, truth, known) if file is not None)
    box = volume.box((depth, *raw.shape[1:]))
    for z in volume.annotated_sections or ():
        if not box.begin[0] <= z < box.end[0]:
            raise InputError(
                f"{volume.name}: annotated section {z} does not lie inside "
                f"{box.begin[0]}..{box.end[0]}"
            )
    return OpenedVolume(volume, raw, truth, known, box)
