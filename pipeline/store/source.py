"""Finds the array that a path or address means, in whatever zarr layout it comes."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from pipeline.contract import Box, Triple
from pipeline.errors import InputError, PipelineError, StoreError
from pipeline.store.arrays import reason, show
from pipeline.store.axes import Axes, find_axes, names_of_bare_array
from pipeline.store.chunk_keys import ChunkKeys
from pipeline.store.ngff import ImageMetadata, LevelMetadata, read_image_metadata
from pipeline.store.nodes import Node, read_node
from pipeline.store.place import Place, RemotePlace
from pipeline.store.stamps import add_chunk_stamps
from pipeline.store.suggestions import suggestion

TIFF_SUFFIXES = frozenset({".tif", ".tiff"})


@dataclass(frozen=True)
class Source:
    """A zyx array of somebody else's store; read only.

    Parameters
    ----------
    array
        With all of its axes.
    node
        Its place and metadata.
    shape
        zyx, in voxels.
    place
        Voxel size (or why it is unknown) and translation.
    level
        Pyramid level; 0 for a bare array.
    axes
        How z, y, x lie in the array.
    """

    array: zarr.Array[Any]
    node: Node
    shape: Triple
    place: LevelMetadata
    level: int
    axes: Axes

    def read(self, box: Box) -> NDArray[Any]:
        """Voxels of a box, (Z, Y, X) in the machine's byte order.

        Raises
        ------
        InputError
            If a chunk is damaged or may not be read; names its file or object.
        StoreError
            If a remote store does not answer.
        """
        data = self.axes.turned(self._voxels(box))
        return data.astype(data.dtype.newbyteorder("="), copy=False)

    def _voxels(self, box: Box) -> NDArray[Any]:
        """As they lie in the array; read twice where nothing is wrong the second time."""
        index = self.axes.index(box)
        for last in (False, True):
            try:
                return np.asarray(self.array[index])
            except PipelineError:
                raise
            except Exception as error:
                found = self._first_failing(box)
                if last or found is not None:
                    raise self._failure(box, found, error) from error
        raise AssertionError("the second attempt ends")

    def add_stamps(self, digest: Any, box: Box) -> None:
        """Add to a digest what tells that chunks have changed; see ``stamps``."""
        add_chunk_stamps(digest, self.node.path, self.array, self._part(box))

    def _part(self, box: Box) -> tuple[slice, ...]:
        """A box as slices of all axes of the array."""
        index = self.axes.index(box)
        return tuple(slice(one, one + 1) if isinstance(one, int) else one for one in index)

    def _failure(
        self, box: Box, found: tuple[Place, Exception] | None, error: Exception
    ) -> InputError:
        """What to say of a box that cannot be read, and of the first chunk of it that cannot."""
        where, why = found or (None, error)
        problem = "a chunk is damaged or cannot be decoded"
        if isinstance(why, OSError):
            problem = "the file system gives an error"
            if why.errno in (errno.EACCES, errno.EPERM):
                problem = "a chunk may not be read; correct its permissions"
        named = f" [{where}]" if where else ""
        return InputError(
            f"{self.node.path}: cannot read voxels {show(box)}: {problem}{named} ({reason(why)})"
        )

    def _first_failing(self, box: Box) -> tuple[Place, Exception] | None:
        """The first chunk of a box that cannot be read by itself, and why."""
        keys = ChunkKeys(self.array, self._part(box))
        for number in range(len(keys)):
            try:
                _ = self.array[keys.held(number)]
            except Exception as error:
                return self.node.path / keys[number], error
        return None


def find_source(
    path: Place,
    level: int | None = None,
    *,
    channel: int | None = None,
    time: int | None = None,
) -> Source:
    """The array at ``path``, or the chosen level of the OME-Zarr image there.

    Parameters
    ----------
    path
        A folder, or an address.
    level
        Of an image; the finest by default.
    channel, time
        Place on these axes, from 0, where they are longer than 1.

    Raises
    ------
    InputError
        If there is none, or z, y, x are not among its axes; one line that says what to do. A
        ``StoreError`` if a remote store does not answer.
    """
    node = existing_node(path)
    if node.kind == "array":
        if level:
            raise InputError(f"{path}: is a single array, so there is no level {level}")
        return _source(node, *_place_of_array(node), channel, time)
    image = read_image_metadata(node.attributes)
    if image is None:
        raise InputError(f"{path}: is a zarr group but not an OME-Zarr image; {suggestion(path)}")
    number = level or 0
    if not 0 <= number < len(image.levels):
        raise InputError(f"{path}: has levels 0 to {len(image.levels) - 1}, not {number}")
    place = image.levels[number]
    child = _checked_node(path / place.path)
    if child is None or child.kind != "array":
        raise InputError(f"{path}: its metadata names level {place.path!r}, but no array is there")
    return _source(child, image, place, number, channel, time)


def existing_node(path: Place) -> Node:
    """The zarr node at ``path``.

    Raises
    ------
    InputError
        If nothing or something else is there.
    """
    if isinstance(path, RemotePlace):
        node = _checked_node(path)
        if node is None:
            raise InputError(
                f"{path}: no zarr array or group is there (no zarr.json, .zarray or .zgroup); "
                f"{suggestion(path)}"
            )
        return node
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


def _checked_node(path: Place) -> Node | None:
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


def _parent_image(path: Place) -> ImageMetadata | None:
    """The image above an array; ``None`` if there is none, or it may not be read."""
    try:
        parent = read_node(path.absolute().parent)
    except StoreError:
        raise
    except (ValueError, InputError):
        return None
    return read_image_metadata(parent.attributes) if parent else None


def _source(
    node: Node,
    image: ImageMetadata | None,
    place: LevelMetadata,
    level: int,
    channel: int | None,
    time: int | None,
) -> Source:
    try:
        array = zarr.open_array(_store(node.path), mode="r", zarr_format=node.zarr_format)
    except PipelineError:
        raise
    except Exception as error:
        raise InputError(
            f"{node.path}: cannot be opened as a zarr array ({reason(error)})"
        ) from error
    if any(step < 1 for step in (*array.chunks, *(array.shards or ()))):
        raise InputError(f"{node.path}: is damaged: its metadata says chunks {array.chunks}")
    names = image.axes if image else ()
    if names and len(names) != array.ndim:
        raise InputError(f"{node.path}: has {array.ndim} axes, its metadata {len(names)}")
    names = names or names_of_bare_array(array)
    axes = find_axes(node.path, array.shape, names, channel=channel, time=time)
    z, y, x = (array.shape[axis] for axis in axes.zyx)
    if 0 in (z, y, x):
        raise InputError(f"{node.path}: is empty: shape {array.shape}")
    return Source(array, node, (z, y, x), place, level, axes)


def _store(place: Place) -> Any:
    """What zarr opens."""
    if not isinstance(place, RemotePlace):
        return str(place)
    from pipeline.store.remote import zarr_store

    return zarr_store(place)
