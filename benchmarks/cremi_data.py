"""CREMI's HDF5 files (cremi.org): raw data, neuron ids, and where the ids lie in the raw data.

A file ``sample_A_20160501.hdf`` holds ``volumes/raw`` (uint8) and ``volumes/labels/neuron_ids``
(uint64) with attributes ``resolution`` (40, 4, 4 nm) and, in the padded versions, where the ids
are smaller than the raw data, ``offset`` (nm).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.contract import Box
from pipeline.errors import InputError
from pipeline.evaluation.regions import boundary_band
from pipeline.store.importers import open_foreign
from pipeline.store.importers.foreign import Foreign

FOLDER = "cremi"
SAMPLES = ("A", "B", "C")
RAW, IDS = "volumes/raw", "volumes/labels/neuron_ids"
SPECIAL = np.uint64(2**64 - 3)
"""Ids from here on are no neurons: outside, invalid, transparent."""
BAND_NM = 25.0
"""The challenge leaves out what lies so near to a border between true ids."""


@dataclass(frozen=True, eq=False)
class Sample:
    """The labelled part of a sample.

    Parameters
    ----------
    name
        A, B or C.
    path
        Of the file.
    box
        The part of ``volumes/raw`` that the ids cover, in voxels.
    ids
        (Z, Y, X) uint64, 0 = not labelled.
    """

    name: str
    path: Path
    box: Box
    ids: NDArray[np.uint64]


def sample_path(data: Path, name: str) -> Path | None:
    """The file of a sample below ``--data``: the cropped version before the padded one."""
    found = sorted((data / FOLDER).glob(f"sample_{name}_*.hdf"))
    return min(found, key=lambda path: ("padded" in path.name, path.name), default=None)


def read_sample(path: Path, name: str) -> Sample:
    """Ids of a sample, and where they lie.

    Raises
    ------
    InputError
        If a dataset is missing or damaged, voxel sizes differ, or the ids leave the raw data.
    """
    with open_foreign(str(path), RAW) as raw, open_foreign(str(path), IDS) as labels:
        box = _place(raw, labels)
        ids = labels.read(tuple(slice(0, length) for length in labels.shape))
    if ids.dtype.kind not in "iu":
        raise InputError(f"{path}:{IDS}: holds {ids.dtype}, but ids are integers")
    ids = ids.astype(np.uint64)
    ids[ids >= SPECIAL] = 0
    return Sample(name, path, box, ids)


def _place(raw: Foreign, labels: Foreign) -> Box:
    """Where the labels lie in the raw data, told by their offsets in nanometres."""
    if len(raw.shape) != 3 or len(labels.shape) != 3:
        raise InputError(f"{labels.path}: raw and ids must have 3 axes: z, y, x")
    begin = (0, 0, 0)
    if not (isinstance(raw.voxel_size_nm, str) or isinstance(labels.voxel_size_nm, str)):
        if raw.voxel_size_nm != labels.voxel_size_nm:
            raise InputError(
                f"{labels.path}: voxels of {labels.voxel_size_nm} nm, but those of raw have "
                f"{raw.voxel_size_nm} nm"
            )
        shift = [
            (of_labels - of_raw) / size
            for of_labels, of_raw, size in zip(
                labels.translation_nm, raw.translation_nm, raw.voxel_size_nm, strict=True
            )
        ]
        if not all(math.isclose(s, round(s), abs_tol=1e-3) for s in shift):
            raise InputError(f"{labels.path}: its offset is no whole number of voxels: {shift}")
        begin = (round(shift[0]), round(shift[1]), round(shift[2]))
    z, y, x = (b + n for b, n in zip(begin, labels.shape, strict=True))
    if min(begin) < 0 or any(e > n for e, n in zip((z, y, x), raw.shape, strict=True)):
        raise InputError(
            f"{labels.path}: {labels.shape} voxels from {begin} on leave raw, which has {raw.shape}"
        )
    return Box(begin, (z, y, x))


def without_band(
    ids: NDArray[np.uint64], *, pixel_nm: float, width_nm: float = BAND_NM
) -> NDArray[np.uint64]:
    """Ids with 0 in the band round true borders that the challenge does not score.

    Parameters
    ----------
    ids
        (Z, Y, X).
    pixel_nm
        Edge of a pixel.
    width_nm
        Pixels whose distance, in their section, to a border pixel (one with another id among
        its four neighbours) is at most this are left out.

    Returns
    -------
    ids
        (Z, Y, X), a new array.
    """
    kept = ids.copy()
    for section, border in zip(kept, boundary_band(ids, 1), strict=True):
        if border.any():
            section[ndimage.distance_transform_edt(~border) * pixel_nm <= width_nm] = 0
    return kept


def cut_to(sample: Sample, shape: tuple[int, int, int]) -> Sample:
    """The first sections and pixels of a sample, at most so many along z, y, x."""
    z, y, x = (min(n, most) for n, most in zip(sample.ids.shape, shape, strict=True))
    end = (sample.box.begin[0] + z, sample.box.begin[1] + y, sample.box.begin[2] + x)
    ids: NDArray[Any] = np.ascontiguousarray(sample.ids[:z, :y, :x])
    return Sample(sample.name, sample.path, Box(sample.box.begin, end), ids)
