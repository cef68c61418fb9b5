"""Grey values and annotations of a training on disk: TIFF stacks, zarr, outputs of ours."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tifffile
from numpy.typing import NDArray

from pipeline.contract import Box, Triple
from pipeline.errors import InputError
from pipeline.store import Output, Place, is_output, open_volume
from pipeline.store.source import TIFF_SUFFIXES, find_source
from workflows.colour_labels import ids_of_colours, is_coloured

GREY_DTYPES = ("uint8", "uint16", "float32")
Nanometres = tuple[float, float, float]
SAME_SIZE = 0.01
"""Relative difference of voxel sizes that are the same but for rounding."""
SIZE_HINT = "give 'voxel_size_nm: [z, y, x]' in the configuration, or --voxel-size Z,Y,X"


@dataclass(frozen=True, eq=False)
class VoxelFile:
    """A volume on disk that is read by boxes.

    Parameters
    ----------
    path
        For messages.
    shape
        zyx, in voxels.
    voxel_size_nm
        zyx; ``None`` if the file does not say.
    read
        Voxels of a box: (Z, Y, X) in the machine's byte order.
    """

    path: Place
    shape: Triple
    voxel_size_nm: Nanometres | None
    read: Callable[[Box], NDArray[Any]]


def open_grey(path: Place, voxel_size_nm: Nanometres | None) -> VoxelFile:
    """Grey values of a TIFF stack, an OME-Zarr image or a zarr array.

    Parameters
    ----------
    path
        Of the file, group or array, or a zarr's address.
    voxel_size_nm
        zyx, as the user says; must be that of the metadata where they have one.

    Raises
    ------
    InputError
        If it cannot be read, has a dtype that the pipeline does not take, or no voxel size is
        known or two that differ.
    """
    if isinstance(path, Path) and is_tiff(path):
        array = read_tiff(path)
        if array.dtype.name not in GREY_DTYPES:
            raise InputError(
                f"{path}: has dtype {array.dtype.name}; convert it to one of "
                f"{', '.join(GREY_DTYPES)}"
            )
        if voxel_size_nm is None:
            raise InputError(f"{path}: the voxel size of a TIFF is not read; {SIZE_HINT}")
        return _in_memory(path, array, voxel_size_nm)
    written = find_source(path).place.voxel_size_nm
    if isinstance(written, str):
        if voxel_size_nm is None:
            raise InputError(f"{path}: {written}; {SIZE_HINT}")
        written = voxel_size_nm
    _check_same(path, written, voxel_size_nm)
    volume = open_volume(path, voxel_size_nm=written)
    return VoxelFile(path, volume.shape, volume.voxel_size_nm, volume.read)


def open_annotation(path: Place) -> VoxelFile:
    """Labels or a mask: TIFF stack, OME-Zarr, zarr array, or the neurons of an output of ours.

    Of a TIFF stack in colours every colour is an id, black is 0.

    Raises
    ------
    InputError
        If it cannot be read or does not hold integers or bool.
    """
    if isinstance(path, Path) and is_tiff(path):
        opened = _in_memory(path, read_tiff(path, colours=True))
    elif isinstance(path, Path) and path.exists() and is_output(path):
        output = Output.open(path)
        opened = VoxelFile(
            path, output.shape, output.voxel_size_nm, lambda box: output.read("neurons", box)
        )
    else:
        source = find_source(path)
        opened = VoxelFile(path, source.shape, None, source.read)
    z, y, x = (min(1, n) for n in opened.shape)
    kind = opened.read(Box((0, 0, 0), (z, y, x))).dtype
    if kind.kind not in "biu":
        raise InputError(f"{path}: an annotation holds integers or bool, not {kind}; convert it")
    return opened


def is_tiff(path: Path) -> bool:
    """Whether a path is, or by its name should be, a TIFF file."""
    return path.suffix.lower() in TIFF_SUFFIXES and not path.is_dir()


def read_tiff(path: Path, *, colours: bool = False) -> NDArray[Any]:
    """A TIFF stack, (Z, Y, X), in the machine's byte order; on request colours become ids."""
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        array: NDArray[Any] = tifffile.imread(path)
    except Exception as error:  # damaged TIFFs make the decoders raise anything
        raise InputError(f"{path}: not a readable TIFF ({error})") from error
    if colours and is_coloured(array):
        return ids_of_colours(array)
    if array.ndim != 3:  # also what is left of a stack that was cut short
        raise InputError(
            f"{path}: has {array.ndim} dimensions, a stack (z, y, x) has 3; make a single section "
            "a volume with 'import' first"
        )
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _in_memory(
    path: Path, array: NDArray[Any], voxel_size_nm: Nanometres | None = None
) -> VoxelFile:
    z, y, x = array.shape
    return VoxelFile(path, (z, y, x), voxel_size_nm, lambda box: array[box.slices])


def _check_same(path: Place, written: Nanometres, given: Nanometres | None) -> None:
    if given is not None and not all(
        math.isclose(a, b, rel_tol=SAME_SIZE) for a, b in zip(written, given, strict=True)
    ):
        sizes = [", ".join(f"{v:g}" for v in size) for size in (given, written)]
        raise InputError(
            f"{path}: voxel size {sizes[0]} nm is given, but its metadata say {sizes[1]} nm; leave "
            "it out, or correct the metadata"
        )
