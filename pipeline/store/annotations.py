"""Labels and boundary maps to score or to learn from, in the formats they come in."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contract import Box, Triple
from pipeline.errors import InputError
from pipeline.store.arrays import open_array
from pipeline.store.layout import ROOT_IMAGE, Nanometres, group_path
from pipeline.store.output import Output
from pipeline.store.ownership import is_output
from pipeline.store.source import TIFF_SUFFIXES, existing_node, find_source
from pipeline.store.stamps import add_chunk_stamps
from pipeline.store.volume import checked_roi

SCALED = {"uint8": 255, "uint16": 65535}
"""Dtypes of boundary maps -> what stands for 1."""


@dataclass(frozen=True)
class StoredVolume:
    """Labels or a boundary map that lie on disk.

    Parameters
    ----------
    path
        As given.
    shape
        zyx, in voxels.
    dtype
        Of what ``read`` gives.
    chunk
        zyx, voxels that are decoded together.
    voxel_size_nm
        zyx, in nanometres; ``None`` if the file does not say.
    read
        (Z, Y, X) voxels of a box. Raises ``InputError`` or ``OutputError`` where they are
        damaged.
    add_stamps
        Adds to a digest of ``hashlib`` what tells that the voxels have changed: sizes and times.
    """

    path: Path
    shape: Triple
    dtype: np.dtype[Any]
    chunk: Triple
    voxel_size_nm: Nanometres | None
    read: Callable[[Box], NDArray[Any]]
    add_stamps: Callable[[Any], None]

    def fingerprint(self) -> str:
        """Hash that changes when the volume may have."""
        facts = (self.shape, self.dtype.str, self.voxel_size_nm)
        digest = hashlib.sha256(json.dumps(facts).encode())
        self.add_stamps(digest)
        return digest.hexdigest()

    def at(self, voxels: NDArray[np.int64]) -> NDArray[Any]:
        """(n,) values at (n, 3) zyx voxels; of every chunk only the box around them is read."""
        found = np.empty(len(voxels), self.dtype)
        chunks = voxels // np.array(self.chunk)
        order = np.lexsort(chunks.T)
        changes = np.any(chunks[order[1:]] != chunks[order[:-1]], axis=1)
        for rows in np.split(order, np.flatnonzero(changes) + 1) if len(voxels) else ():
            low, high = voxels[rows].min(axis=0), voxels[rows].max(axis=0) + 1
            (z, y, x), (end_z, end_y, end_x) = low.tolist(), high.tolist()
            values = self.read(Box((z, y, x), (end_z, end_y, end_x)))
            found[rows] = values[tuple((voxels[rows] - low).T)]
        return found


@dataclass(frozen=True)
class LabelVolume:
    """Labels in memory.

    Parameters
    ----------
    labels
        (Z, Y, X), any integer dtype, 0 = background.
    voxel_size_nm
        zyx, in nanometres; ``None`` if the file does not say.
    """

    labels: NDArray[Any]
    voxel_size_nm: Nanometres | None


def stored_labels(path: str | Path) -> StoredVolume:
    """Labels of an output store of ours, an OME-Zarr label image, a zarr array or a TIFF.

    Parameters
    ----------
    path
        Of an output store its neurons are taken.

    Returns
    -------
    labels
        Any integer dtype, 0 = background.

    Raises
    ------
    InputError
        If nothing readable is there, or it does not hold integers.
    OutputError
        If an output store of ours has no finished neurons, or lost some.
    """
    stored = _stored(Path(path), "neurons")
    if stored.dtype.kind == "b":
        as_uint8 = partial(_converted, stored.read, partial(np.asarray, dtype=np.uint8))
        return replace(stored, dtype=np.dtype(np.uint8), read=as_uint8)
    if stored.dtype.kind not in "iu":
        raise InputError(f"{path}: labels must be integers, not {stored.dtype}")
    return stored


def stored_map(path: str | Path) -> StoredVolume:
    """A boundary map in the same formats (of an output store, its boundary map).

    Parameters
    ----------
    path
        uint8 0..255, uint16 0..65535 or float 0..1; 1 = boundary.

    Returns
    -------
    boundaries
        float32, 0..1; its ``read`` raises ``InputError`` where values leave 0..1.

    Raises
    ------
    InputError
        If nothing readable is there.
    """
    stored = _stored(Path(path), ROOT_IMAGE)
    if stored.dtype.name not in SCALED and stored.dtype.kind != "f":
        raise InputError(f"{path}: a boundary map is uint8, uint16 or float, not {stored.dtype}")
    probabilities = partial(_converted, stored.read, partial(_probabilities, stored.path))
    return replace(stored, dtype=np.dtype(np.float32), read=probabilities)


def open_labels(path: str | Path, roi: Box | None = None) -> LabelVolume:
    """``stored_labels``, read into memory; of a region in voxels, or all."""
    stored = stored_labels(path)
    return LabelVolume(
        stored.read(checked_roi(stored.path, stored.shape, roi)), stored.voxel_size_nm
    )


def read_labels(path: str | Path, roi: Box | None = None) -> NDArray[Any]:
    """The array of ``open_labels``: (Z, Y, X), any integer dtype, 0 = background."""
    return open_labels(path, roi).labels


def read_map(path: str | Path, roi: Box | None = None) -> NDArray[np.float32]:
    """``stored_map``, read into memory: (Z, Y, X) float32, 0..1; of a region, or all."""
    stored = stored_map(path)
    boundaries: NDArray[np.float32] = stored.read(checked_roi(stored.path, stored.shape, roi))
    return boundaries


def _stored(path: Path, own_array: str) -> StoredVolume:
    """The volume at a path; of an output store ``own_array``."""
    if path.suffix.lower() in TIFF_SUFFIXES and path.is_file():
        # the other formats' libraries are slow to import
        from pipeline.store.tiff_volume import TiffVolume

        tiff = TiffVolume(path)
        return StoredVolume(
            path, tiff.shape, tiff.dtype, tiff.chunk, None, tiff.read, tiff.add_stamps
        )
    existing_node(path)
    if is_output(path):
        output = Output.open(path)
        place = path / group_path(own_array) / "0"
        array = open_array(place)
        whole = Box((0, 0, 0), output.shape)
        output.verify(own_array, whole)
        z, y, x = array.chunks
        return StoredVolume(
            path,
            output.shape,
            array.dtype,
            (z, y, x),
            output.voxel_size_nm,
            partial(output.read, own_array),
            partial(add_chunk_stamps, place=place, array=array, part=whole.slices),
        )
    source = find_source(path)
    size = source.place.voxel_size_nm
    z, y, x = (source.array.chunks[axis] for axis in source.axes.zyx)
    return StoredVolume(
        path,
        source.shape,
        source.array.dtype.newbyteorder("="),
        (z, y, x),
        None if isinstance(size, str) else size,
        source.read,
        partial(source.add_stamps, box=Box((0, 0, 0), source.shape)),
    )


def _converted(
    read: Callable[[Box], NDArray[Any]], convert: Callable[[NDArray[Any]], NDArray[Any]], box: Box
) -> NDArray[Any]:
    return convert(read(box))


def _probabilities(path: Path, array: NDArray[Any]) -> NDArray[np.float32]:
    """Stored values as float32, 0..1."""
    if array.dtype.name in SCALED:
        return array.astype(np.float32) / np.float32(SCALED[array.dtype.name])
    if not ((array >= 0) & (array <= 1)).all():
        raise InputError(f"{path}: a boundary map of floats must lie in 0..1 (1 = boundary)")
    return array.astype(np.float32)
