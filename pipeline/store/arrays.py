"""Arrays that this program writes: checksummed, and loud when data is missing or damaged.

Two traps of zarr 3 are closed here. The default codecs of a shard carry no checksum of the
data, so crc32c stands explicitly inside the shard. A missing or empty file reads as zeros,
so every chunk is written, and files are looked at before they are read; only background
blocks, which really are zeros, may have none.
"""

from __future__ import annotations

import itertools
from collections.abc import Container, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import Crc32cCodec, ZstdCodec

from pipeline.contract import Box, Triple
from pipeline.errors import OutputError
from pipeline.store.layout import AXES, chunk_shape, shard_shape
from pipeline.store.nodes import remove_directory

ZSTD_LEVEL = 3
FILES_NAMED = 3


def create_volume_array(path: Path, shape: Triple, dtype: str, block_shape: Triple) -> None:
    """An empty zyx array whose files are the write blocks; an old one is removed.

    Parameters
    ----------
    path
        Directory of the array.
    shape
        zyx, in voxels.
    dtype
        numpy dtype name.
    block_shape
        zyx, in voxels; one file holds at most one block.
    """
    shards = shard_shape(shape, block_shape)
    _create(path, shape, dtype, chunks=chunk_shape(shards), shards=shards, dimension_names=AXES)


def create_table_array(
    path: Path, shape: tuple[int, ...], dtype: str, rows: int, attributes: Mapping[str, Any]
) -> None:
    """An empty column, ``rows`` rows a file; an old one is removed."""
    chunks = tuple(max(1, n) for n in (rows, *shape[1:]))
    _create(path, shape, dtype, chunks=chunks, attributes=attributes)


def open_array(path: Path, mode: str = "r") -> zarr.Array[Any]:
    """An array that this program wrote.

    Raises
    ------
    OutputError
        If it is not there or its metadata is damaged.
    """
    if not (path / "zarr.json").is_file():
        raise OutputError(f"{path}: no such array; run the stage that makes it")
    try:
        array = zarr.open_array(str(path), mode="r" if mode == "r" else "r+", zarr_format=3)
        # zarr does not store this with the array, and open_array ignores it as an argument
        every_chunk: zarr.Array[Any] = array.with_config({"write_empty_chunks": True})
        return every_chunk
    except Exception as error:
        raise OutputError(f"{path}: damaged metadata ({reason(error)})") from error


def read_box(path: Path, box: Box, background: Container[Triple] = ()) -> NDArray[Any]:
    """Voxels of a box.

    Parameters
    ----------
    path
        Directory of the array.
    box
        In its voxels.
    background
        Files, by their index along z, y, x, that may be missing and then are 0.

    Raises
    ------
    OutputError
        If another file is missing or empty, or one fails its checksum; names it.
    """
    array = open_array(path)
    check_files(path, array, box, background)
    try:
        return np.asarray(array[box.slices])
    except Exception as error:
        damaged = _damaged_file(path, array, box)
        raise OutputError(
            f"{path}: cannot read voxels {show(box)}, damaged file {damaged} ({reason(error)})"
        ) from error


def write_box(path: Path, box: Box, data: NDArray[Any]) -> None:
    """Write whole files; an unaligned box is a mistake in the program."""
    array = open_array(path, "r+")
    for begin, end, step, n in zip(
        box.begin, box.end, _file_shape(array), array.shape, strict=True
    ):
        if begin % step or (end % step and end != n) or not begin < end <= n:
            raise AssertionError(f"{path.name}: box {show(box)} does not cover whole files")
    if data.shape != box.shape or data.dtype != array.dtype:
        raise AssertionError(
            f"{path.name}: {data.dtype} {data.shape} given for {array.dtype} {box.shape}"
        )
    replace_files(path, array, box.slices, data)


def replace_files(
    path: Path, array: zarr.Array[Any], part: tuple[slice, ...], data: NDArray[Any]
) -> None:
    """Write whole files, whatever lies there.

    Zarr reads a file that the array's end clips before it writes it, and fails where that is
    damaged, e.g. by a power cut; such files are removed first.
    """
    try:
        array[part] = data
    except OSError:
        raise
    except Exception:
        for _, file, _ in _files(path, array, part):
            file.unlink(missing_ok=True)
        array[part] = data


def check_files(
    path: Path,
    array: zarr.Array[Any],
    box: Box | None = None,
    background: Container[tuple[int, ...]] = (),
) -> None:
    """Check that the files of a box (of the whole array) are there and not empty.

    ``background`` is asked for a file that is missing only, by its index along the axes.
    """
    missing = [
        file
        for index, file, _ in _files(path, array, box.slices if box else None)
        if not is_filled(file) and index not in background
    ]
    if missing:
        named = ", ".join(str(file) for file in missing[:FILES_NAMED])
        more = f" and {len(missing) - FILES_NAMED} more" if len(missing) > FILES_NAMED else ""
        where = f" in block {show(box)}" if box else ""
        raise OutputError(f"{path}: finished data is gone{where}: missing or empty {named}{more}")


def is_filled(file: Path) -> bool:
    """Whether a file is there and not empty; a missing one would read as zeros."""
    try:
        return file.stat().st_size > 0
    except OSError:
        return False


def show(box: Box) -> str:
    """A box as people read it.

    >>> show(Box((0, 0, 0), (1, 2, 3)))
    'z 0:1 y 0:2 x 0:3'
    """
    return " ".join(
        f"{axis} {begin}:{end}" for axis, begin, end in zip("zyx", box.begin, box.end, strict=True)
    )


def reason(error: BaseException) -> str:
    """One line that says what went wrong."""
    text = " ".join(str(error).split())
    return text[:200] if text else type(error).__name__


def _create(
    path: Path,
    shape: tuple[int, ...],
    dtype: str,
    *,
    chunks: tuple[int, ...],
    shards: tuple[int, ...] | None = None,
    dimension_names: tuple[str, ...] | None = None,
    attributes: Mapping[str, Any] | None = None,
) -> None:
    remove_directory(path)
    zarr.create_array(
        str(path),
        shape=shape,
        dtype=dtype,
        chunks=chunks,
        shards=shards,
        compressors=[ZstdCodec(level=ZSTD_LEVEL), Crc32cCodec()],
        fill_value=0,
        dimension_names=dimension_names,
        attributes=dict(attributes or {}),
        config={"write_empty_chunks": True},
        zarr_format=3,
    )


def _file_shape(array: zarr.Array[Any]) -> tuple[int, ...]:
    return array.shards or array.chunks


def _files(
    path: Path, array: zarr.Array[Any], part: tuple[slice, ...] | None
) -> Iterator[tuple[tuple[int, ...], Path, tuple[slice, ...]]]:
    """Index of each file that holds some of a part, its path, and what of the array it holds."""
    steps = _file_shape(array)
    whole = tuple(slice(0, n) for n in array.shape)
    ranges = (
        range(axis.start // step, -(-axis.stop // step))
        for axis, step in zip(part or whole, steps, strict=True)
    )
    for index in itertools.product(*ranges):
        held = tuple(slice(i * s, (i + 1) * s) for i, s in zip(index, steps, strict=True))
        yield index, path.joinpath("c", *(str(i) for i in index)), held


def _damaged_file(path: Path, array: zarr.Array[Any], box: Box) -> Path:
    """The first file of the box that cannot be read by itself."""
    for _, file, part in _files(path, array, box.slices):
        try:
            array[part]
        except Exception:
            return file
    return path
