"""A mask volume of the user: opened read only, checked once, read by boxes."""

from __future__ import annotations

import hashlib
import itertools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from pipeline.contract import Box, Triple
from pipeline.errors import InputError
from pipeline.store.arrays import reason
from pipeline.store.input_grid import InputGrid
from pipeline.store.place import Place, as_place
from pipeline.store.source import TIFF_SUFFIXES, Source, find_source
from pipeline.store.volume import Volume, shifted

SEARCHED: Triple = (32, 1024, 1024)
"""Voxels that are read at once in search of foreground."""


@dataclass(frozen=True)
class MaskVolume:
    """A mask, or the region of it that is processed; 0 is background.

    Parameters
    ----------
    path
        As given.
    data
        A zarr array on disk, or the voxels of a TIFF.
    roi
        The region in voxels of ``data``.
    finest
        Of a mask on the input's finest grid, where a coarser level is segmented: that grid.
    """

    path: Place
    data: Source | NDArray[Any]
    roi: Box
    finest: InputGrid | None = None

    def read(self, box: Box) -> NDArray[Any]:
        """Voxels of a box relative to the region: (Z, Y, X) bool or integers.

        Raises
        ------
        InputError
            If a chunk is damaged.
        """
        if self.finest is None:
            return self._own(box)
        fine, index = self.finest.around(box)
        return self._own(fine)[index]

    def _own(self, box: Box) -> NDArray[Any]:
        """Voxels of the mask's own grid."""
        place = shifted(box, self.roi.begin)
        if isinstance(self.data, Source):
            return self.data.read(place)
        return self.data[place.slices]

    def fingerprint(self) -> str:
        """Hash that changes when the mask may have: region, metadata, a file's size or time.

        Raises
        ------
        InputError
            If a chunk is empty, which is what an interrupted copy leaves.
        """
        facts: dict[str, Any] = {"roi": (self.roi.begin, self.roi.end)}
        if self.finest is not None:
            facts["finest"] = self.finest.as_json()
        if isinstance(self.data, Source):
            facts["metadata"] = self.data.node.metadata
            if not self.data.axes.are_plain:
                facts["axes"] = self.data.axes.zyx
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
        if isinstance(self.data, Source):
            self.data.add_stamps(digest, self.roi)
        else:
            assert isinstance(self.path, Path)
            status = self.path.stat()
            digest.update(f"\n {status.st_size} {status.st_mtime_ns}".encode())
        return digest.hexdigest()

    def check_foreground(self) -> None:
        """Check that not all is background; ends at the first voxel that is not 0.

        Raises
        ------
        InputError
            If there is no such voxel.
        """
        steps = (range(0, n, step) for n, step in zip(self.roi.shape, SEARCHED, strict=True))
        for z, y, x in itertools.product(*steps):
            end_z, end_y, end_x = (
                min(b + step, n)
                for b, step, n in zip((z, y, x), SEARCHED, self.roi.shape, strict=True)
            )
            if self._own(Box((z, y, x), (end_z, end_y, end_x))).any():
                return
        raise InputError(
            f"{self.path}: the mask is 0 everywhere, so all is background; it must be non-zero "
            "where there is tissue"
        )


def open_mask(path: str | Place, volume: Volume, finest: InputGrid | None = None) -> MaskVolume:
    """Open a mask for a volume: an OME-Zarr image, a zarr array or a TIFF.

    Parameters
    ----------
    path
        The image's group (its finest level is taken) or the array, here or remote, or the file.
    volume
        The mask has the shape of its region, or of the whole array that the region is cut
        from.
    finest
        Of the input, where a coarser level is segmented; the mask may lie on it, too.

    Raises
    ------
    InputError
        If nothing readable is there, or dtype or shape do not fit.
    """
    path = as_place(path)
    data: Source | NDArray[Any]
    if isinstance(path, Path) and path.suffix.lower() in TIFF_SUFFIXES and path.is_file():
        data = _read_tiff(path)
        dtype, (z, y, x) = data.dtype, data.shape
    else:
        data = find_source(path)
        dtype, (z, y, x) = data.array.dtype, data.shape
    if dtype.kind not in "biu":
        raise InputError(f"{path}: a mask holds bool or integers (0 = background), not {dtype}")
    shape = (z, y, x)
    if shape == volume.shape:
        return MaskVolume(path, data, Box((0, 0, 0), shape))
    if finest is not None and shape == volume.source.shape == finest.shape:
        raise InputError(
            f"{path}: the mask has shape {shape}, that of the region on the finest level and that "
            f"of all of level {volume.level}; give a mask of the whole finest level {finest.whole}"
        )
    if shape == volume.source.shape:
        return MaskVolume(path, data, volume.roi)
    if finest is not None and shape in (finest.shape, finest.whole):
        roi = finest.region if shape == finest.whole else Box((0, 0, 0), shape)
        return MaskVolume(path, data, roi, finest)
    whole = "" if volume.shape == volume.source.shape else f" or, uncut, {volume.source.shape}"
    raise InputError(
        f"{path}: the mask has shape {shape}, the volume {volume.shape}{whole}; give a mask of the "
        "same voxels"
    )


def _read_tiff(path: Path) -> NDArray[Any]:
    try:
        array = np.asarray(tifffile.imread(path))
    except Exception as error:  # damaged TIFFs make the decoders raise anything
        raise InputError(f"{path}: cannot be read as a TIFF ({reason(error)})") from error
    volume = array[None] if array.ndim == 2 else array
    if volume.ndim != 3:
        raise InputError(f"{path}: has shape {array.shape}; z, y, x is needed")
    return volume
