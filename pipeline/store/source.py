"""Finds the array that a path means, in whatever zarr layout it comes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from pipeline.contract import Box, Triple
from pipeline.errors import InputError
from pipeline.store.arrays import reason, show
from pipeline.store.layout import AXES
from pipeline.store.ngff import ImageMetadata, LevelMetadata, read_image_metadata
from pipeline.store.nodes import Node, read_node

TIFF_SUFFIXES = frozenset({".tif", ".tiff"})
SUGGESTED = 8


@dataclass(frozen=True)
class Source:
    """A zyx array of somebody else's store; read only.

    Parameters
    ----------
    array
        With leading axes of length 1 still there.
    node
        Its directory and metadata.
    shape
        zyx, in voxels.
    place
        Voxel size (or why it is unknown) and translation.
    level
        Pyramid level; 0 for a bare array.
    """

    array: zarr.Array[Any]
    node: Node
    shape: Triple
    place: LevelMetadata
    level: int

    def read(self, box: Box) -> NDArray[Any]:
        """Voxels of a box, in the machine's byte order.

        Raises
        ------
        InputError
            If a chunk is damaged.
        """
        index = (0,) * (self.array.ndim - len(AXES)) + box.slices
        try:
            data = np.asarray(self.array[index])
        except Exception as error:
            raise InputError(
                f"{self.node.path}: cannot read voxels {show(box)}: a chunk is damaged or "
                f"cannot be decoded ({reason(error)})"
            ) from error
        return data.astype(data.dtype.newbyteorder("="), copy=False)


def find_source(path: Path, level: int | None = None) -> Source:
    """The array at ``path``, or the chosen level of the OME-Zarr image there.

    Raises
    ------
    InputError
        If there is none, or it is not zyx; one line that says what to do.
    """
    node = existing_node(path)
    if node.kind == "array":
        if level:
            raise InputError(f"{path}: is a single array, so there is no level {level}")
        return _source(node, *_place_of_array(node))
    image = read_image_metadata(node.attributes)
    if image is None:
        raise InputError(f"{path}: is a zarr group but not an OME-Zarr image; {_suggest(path)}")
    number = level or 0
    if not 0 <= number < len(image.levels):
        raise InputError(f"{path}: has levels 0 to {len(image.levels) - 1}, not {number}")
    place = image.levels[number]
    child = _checked_node(path / place.path)
    if child is None or child.kind != "array":
        raise InputError(f"{path}: its metadata names level {place.path!r}, but no array is there")
    return _source(child, image, place, number)


def existing_node(path: Path) -> Node:
    """The zarr node at ``path``.

    Raises
    ------
    InputError
        If nothing or something else is there.
    """
    if not path.exists():
        raise InputError(f"{path}: does not exist")
    if path.suffix.lower() in TIFF_SUFFIXES and path.is_file():
        raise InputError(f"{path}: is a TIFF, not a zarr; make it one with 'import' first")
    node = _checked_node(path) if path.is_dir() else None
    if node is None:
        raise InputError(
            f"{path}: is not a zarr array or group (no zarr.json, .zarray or .zgroup in it)"
        )
    return node


def _checked_node(path: Path) -> Node | None:
    try:
        return read_node(path)
    except ValueError as error:
        raise InputError(str(error)) from error


def _place_of_array(node: Node) -> tuple[ImageMetadata | None, LevelMetadata, int]:
    """Metadata of a bare array: that of the OME-Zarr image which lists it, if any."""
    parent = _parent_image(node.path)
    for number, place in enumerate(parent.levels if parent else ()):
        if place.path == node.path.name:
            return parent, place, number
    return None, LevelMetadata(node.path.name, "it is a bare array without a voxel size"), 0


def _parent_image(path: Path) -> ImageMetadata | None:
    try:
        parent = read_node(path.absolute().parent)
    except ValueError:
        return None
    return read_image_metadata(parent.attributes) if parent else None


def _source(node: Node, image: ImageMetadata | None, place: LevelMetadata, level: int) -> Source:
    try:
        array = zarr.open_array(str(node.path), mode="r", zarr_format=node.zarr_format)
    except Exception as error:
        raise InputError(
            f"{node.path}: cannot be opened as a zarr array ({reason(error)})"
        ) from error
    axes = image.axes if image else ()
    if axes and len(axes) != array.ndim:
        raise InputError(f"{node.path}: has {array.ndim} axes, its metadata {len(axes)}")
    shape = _volume_shape(node.path, array.shape, axes)
    return Source(array, node, shape, place, level)


def _volume_shape(path: Path, shape: tuple[int, ...], axes: tuple[str, ...]) -> Triple:
    """Length of z, y, x; leading axes must have length 1."""
    if len(shape) < len(AXES):
        raise InputError(f"{path}: has {len(shape)} axes {shape}; a volume of z, y, x is needed")
    names = tuple(name.lower() for name in axes[-len(AXES) :])
    if names and names != AXES:
        raise InputError(f"{path}: its axes are {', '.join(axes)}; the last three must be z, y, x")
    leading = shape[: -len(AXES)]
    if any(n != 1 for n in leading):
        label = f" ({', '.join(axes)})" if axes else ""
        raise InputError(
            f"{path}: has shape {shape}{label}; which time point or channel is meant? "
            "save one of them as its own z, y, x volume"
        )
    z, y, x = shape[-len(AXES) :]
    if 0 in (z, y, x):
        raise InputError(f"{path}: is empty: shape {shape}")
    return z, y, x


def _suggest(path: Path) -> str:
    found = list(_usable_below(path, SUGGESTED + 1))
    if not found:
        return "no array is inside"
    listed = ", ".join(str(one) for one in found[:SUGGESTED])
    return f"inside are: {listed}{', ...' if len(found) > SUGGESTED else ''}; give one of them"


def _usable_below(path: Path, limit: int) -> Iterator[Path]:
    """Arrays and images below a group, the first ``limit``."""
    count = 0
    for folder, subfolders, _ in os.walk(path):
        subfolders.sort()
        try:
            node = read_node(Path(folder))
        except ValueError:
            continue
        if node is None:
            subfolders.clear()
        elif node.kind == "array" or read_image_metadata(node.attributes):
            subfolders.clear()
            yield Path(folder)
            count += 1
        if count == limit:
            return
