"""Labels and boundary maps to score or to learn from, in the formats they come in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from pipeline.contract import Box
from pipeline.errors import InputError
from pipeline.store.arrays import reason
from pipeline.store.layout import ROOT_IMAGE, Nanometres
from pipeline.store.output import Output
from pipeline.store.ownership import is_output
from pipeline.store.source import TIFF_SUFFIXES, existing_node, find_source
from pipeline.store.volume import checked_roi

IMAGE_AXES = (2, 3)


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


def open_labels(path: str | Path, roi: Box | None = None) -> LabelVolume:
    """Labels from an output store of ours, an OME-Zarr label image, a zarr array or a TIFF.

    Parameters
    ----------
    path
        Of an output store its neurons are read.
    roi
        Region in voxels; all by default.

    Raises
    ------
    InputError
        If nothing readable is there, or it does not hold integers.
    OutputError
        If an output store of ours has no finished neurons, or lost some.
    """
    array, size = _read(Path(path), roi, "neurons")
    if array.dtype.kind == "b":
        array = array.astype(np.uint8)
    if array.dtype.kind not in "iu":
        raise InputError(f"{path}: labels must be integers, not {array.dtype}")
    return LabelVolume(array, size)


def read_labels(path: str | Path, roi: Box | None = None) -> NDArray[Any]:
    """The array of ``open_labels``: (Z, Y, X), any integer dtype, 0 = background."""
    return open_labels(path, roi).labels


def read_map(path: str | Path, roi: Box | None = None) -> NDArray[np.float32]:
    """A boundary map from the same formats (of an output store, its boundary map).

    Parameters
    ----------
    path
        uint8 0..255, uint16 0..65535 or float 0..1; 1 = boundary.
    roi
        Region in voxels; all by default.

    Returns
    -------
    boundaries
        (Z, Y, X) float32, 0..1.

    Raises
    ------
    InputError
        If nothing readable is there, or values leave 0..1.
    """
    array, _ = _read(Path(path), roi, ROOT_IMAGE)
    if array.dtype.name in ("uint8", "uint16"):
        return array.astype(np.float32) / np.float32(np.iinfo(array.dtype).max)
    if array.dtype.kind != "f":
        raise InputError(f"{path}: a boundary map is uint8, uint16 or float, not {array.dtype}")
    if not ((array >= 0) & (array <= 1)).all():
        raise InputError(f"{path}: a boundary map of floats must lie in 0..1 (1 = boundary)")
    return array.astype(np.float32)


def _read(path: Path, roi: Box | None, own_array: str) -> tuple[NDArray[Any], Nanometres | None]:
    """Voxels and voxel size; of an output store those of ``own_array``."""
    if path.suffix.lower() in TIFF_SUFFIXES and path.is_file():
        return _read_tiff(path, roi), None
    existing_node(path)
    if is_output(path):
        output = Output.open(path)
        region = checked_roi(path, output.shape, roi)
        return output.read(own_array, region), output.voxel_size_nm
    source = find_source(path)
    size = source.place.voxel_size_nm
    region = checked_roi(path, source.shape, roi)
    return source.read(region), None if isinstance(size, str) else size


def _read_tiff(path: Path, roi: Box | None) -> NDArray[Any]:
    try:
        array = np.asarray(tifffile.imread(path))
    except Exception as error:
        raise InputError(f"{path}: cannot be read as a TIFF ({reason(error)})") from error
    if array.ndim not in IMAGE_AXES:
        raise InputError(f"{path}: has shape {array.shape}; z, y, x is needed")
    volume = array if array.ndim == max(IMAGE_AXES) else array[None]
    z, y, x = volume.shape
    return volume[checked_roi(path, (z, y, x), roi).slices]
