"""The raw volume: opened read only, checked once, read by boxes."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from pipeline.contract import Box, Triple, VolumeInfo
from pipeline.errors import InputError
from pipeline.store.arrays import show
from pipeline.store.layout import Nanometres
from pipeline.store.place import Place, as_place
from pipeline.store.source import Source, find_source
from pipeline.store.units import HINT

DTYPES = frozenset({"uint8", "uint16", "float32"})


@dataclass(frozen=True)
class Volume:
    """A raw volume, or the region of it that is processed.

    Parameters
    ----------
    path
        As given: a folder, or an address.
    source
        The array there.
    voxel_size_nm
        zyx, in nanometres.
    translation_nm
        zyx, centre of the region's first voxel, in nanometres.
    roi
        The region in voxels of the array on disk.
    """

    path: Place
    source: Source
    voxel_size_nm: Nanometres
    translation_nm: Nanometres
    roi: Box

    @property
    def shape(self) -> Triple:
        """Of the region: zyx, in voxels."""
        return self.roi.shape

    @property
    def dtype(self) -> str:
        """Name of the numpy dtype, in the machine's byte order."""
        return self.source.array.dtype.name

    @property
    def level(self) -> int:
        """Pyramid level on disk; 0 is the finest."""
        return self.source.level

    @property
    def info(self) -> VolumeInfo:
        """What stages may know."""
        return VolumeInfo(self.shape, self.voxel_size_nm, self.dtype)

    def read(self, box: Box) -> NDArray[Any]:
        """Voxels of a box.

        Parameters
        ----------
        box
            Relative to the region.

        Returns
        -------
        raw
            (Z, Y, X) uint8, uint16 or float32 in the machine's byte order.

        Raises
        ------
        InputError
            If a chunk is damaged or may not be read; a ``StoreError`` if a remote store does not
            answer.
        """
        if not _inside(box, self.shape):
            raise AssertionError(f"box {show(box)} leaves the volume {self.shape}")
        return self.source.read(shifted(box, self.roi.begin))

    def fingerprint(self) -> str:
        """Hash that changes when the volume may have: metadata, region, any chunk's size or time.

        Raises
        ------
        InputError
            If a chunk is empty, which is what an interrupted copy leaves, or a remote store has
            none.
        """
        facts: dict[str, Any] = {
            "shape": self.shape,
            "dtype": self.source.array.dtype.str,
            "metadata": self.source.node.metadata,
            "voxel_size_nm": self.voxel_size_nm,
            "translation_nm": self.translation_nm,
            "roi": (self.roi.begin, self.roi.end),
        }
        if not self.source.axes.are_plain:
            facts["axes"] = (self.source.axes.fixed, self.source.axes.zyx)
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
        self.source.add_stamps(digest, self.roi)
        return digest.hexdigest()


def open_volume(
    path: str | Place,
    *,
    level: int | None = None,
    voxel_size_nm: tuple[float, ...] | None = None,
    roi: Box | None = None,
    channel: int | None = None,
    time: int | None = None,
) -> Volume:
    """Open an OME-Zarr image (0.4 or 0.5) or a bare zarr array (format 2 or 3).

    Parameters
    ----------
    path
        The image's group, or the array: a folder, or an address such as ``s3://...``.
    level
        Pyramid level; the finest by default.
    voxel_size_nm
        zyx, in nanometres, of the chosen level; goes before the metadata. Without it the
        metadata must have one: with a unit, or without where every edge lies in 2 to 200
        and so is taken for nanometres (see ``units``).
    roi
        Region to use, in voxels of the chosen level; all by default.
    channel, time
        Place on these axes, from 0; needed where they are longer than 1.

    Raises
    ------
    InputError
        If the path, shape, dtype, voxel size or region cannot be used; a ``StoreError`` if a
        remote store does not answer.
    """
    place = as_place(path)
    source = find_source(place, level, channel=channel, time=time)
    if source.array.dtype.name not in DTYPES:
        raise InputError(
            f"{source.node.path}: has dtype {source.array.dtype.name}; convert it to one of "
            f"{', '.join(sorted(DTYPES))}"
        )
    size, translation = _place(source, voxel_size_nm)
    region = checked_roi(source.node.path, source.shape, roi)
    z, y, x = (t + b * s for t, b, s in zip(translation, region.begin, size, strict=True))
    return Volume(place, source, size, (z, y, x), region)


def checked_roi(path: Place, shape: Triple, roi: Box | None) -> Box:
    """The region, or the whole volume.

    Raises
    ------
    InputError
        If the region is empty or leaves the volume.
    """
    if roi is None:
        return Box((0, 0, 0), shape)
    if not _inside(roi, shape) or min(roi.shape) < 1:
        raise InputError(
            f"{path}: the region {show(roi)} is empty or leaves the volume of {shape} voxels"
        )
    return roi


def _place(source: Source, given: tuple[float, ...] | None) -> tuple[Nanometres, Nanometres]:
    """Voxel size and translation."""
    if given is None:
        if isinstance(source.place.voxel_size_nm, str):
            raise InputError(f"{source.node.path}: {source.place.voxel_size_nm}; {HINT}")
        return source.place.voxel_size_nm, source.place.translation_nm
    if len(given) != 3 or not all(0 < size < float("inf") for size in given):
        shown = ",".join(f"{size:g}" for size in given)
        raise InputError(f"voxel size {shown} is not three positive numbers; {HINT}")
    z, y, x = (float(size) for size in given)
    return (z, y, x), source.place.translation_nm


def _inside(box: Box, shape: Triple) -> bool:
    return all(0 <= b <= e <= n for b, e, n in zip(box.begin, box.end, shape, strict=True))


def shifted(box: Box, by: Triple) -> Box:
    """A box moved along z, y, x."""
    z, y, x = (b + s for b, s in zip(box.begin, by, strict=True))
    end_z, end_y, end_x = (e + s for e, s in zip(box.end, by, strict=True))
    return Box((z, y, x), (end_z, end_y, end_x))
