"""How an array of somebody else's store is cut and coded, and how much of it is there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zarr

from pipeline.store.chunk_keys import ChunkKeys
from pipeline.store.nodes import chunk_files
from pipeline.store.source import Source

MOST_FILES = 200_000
"""Chunk files that are counted; of arrays with more, and of remote ones, it is not known how many
there are."""


@dataclass(frozen=True)
class ArrayFacts:
    """What the metadata of a zarr array say, and what its folder holds.

    Parameters
    ----------
    zarr_format
        2 or 3.
    shape
        Of all axes.
    dtype
        numpy name.
    byte_order
        ``little``, ``big``, or ``none`` where a voxel is one byte.
    chunks
        Voxels that are decoded at once, along every axis.
    shards
        Voxels of a file with several chunks; ``None`` where a file is a chunk.
    codecs
        Compression, checksums and filters, in the order in which they are applied.
    files
        Chunk files of a complete array.
    files_present
        Those that are there; a missing one reads as the fill value. ``None``: not counted.
    disk_bytes
        Of those; ``None``: not known.
    """

    zarr_format: int
    shape: tuple[int, ...]
    dtype: str
    byte_order: str
    chunks: tuple[int, ...]
    shards: tuple[int, ...] | None
    codecs: tuple[str, ...]
    files: int
    files_present: int | None
    disk_bytes: int | None


def array_facts(source: Source) -> ArrayFacts:
    """Facts of an opened array; nothing of its voxels is read."""
    array = source.array
    present, size = _counted(source.node.path)
    files = len(ChunkKeys(array))
    return ArrayFacts(
        zarr_format=source.node.zarr_format,
        shape=tuple(array.shape),
        dtype=array.dtype.name,
        byte_order=_byte_order(array),
        chunks=tuple(array.chunks),
        shards=tuple(array.shards) if array.shards else None,
        codecs=tuple(_codec_names(array)),
        files=files,
        files_present=None if present is None else min(present, files),
        disk_bytes=size,
    )


def _counted(place: object) -> tuple[int | None, int | None]:
    """Number of chunk files and their bytes."""
    if not isinstance(place, Path):
        return None, None
    size = 0
    count = 0
    for _, status in chunk_files(place):
        size += status.st_size
        count += 1
        if count > MOST_FILES:
            return None, None
    return count, size


def _byte_order(array: zarr.Array[Any]) -> str:
    if array.dtype.itemsize == 1:
        return "none"
    endian = getattr(getattr(array, "serializer", None), "endian", None)
    if endian is not None:
        return str(getattr(endian, "value", endian))
    return "big" if array.dtype.str.startswith(">") else "little"


def _codec_names(array: zarr.Array[Any]) -> Iterator[str]:
    for codec in (*(array.filters or ()), *(array.compressors or ())):
        yield _codec_name(codec)


def _codec_name(codec: Any) -> str:
    """``zstd 3``, ``blosc lz4 5``: the library's name, and how hard it tries."""
    if hasattr(codec, "get_config"):  # numcodecs, of zarr 2
        settings = dict(codec.get_config())
        name = settings.pop("id")
    else:
        described = codec.to_dict()
        name, settings = described["name"], described.get("configuration") or {}
    level = settings.get("clevel", settings.get("level"))
    shown = (name, settings.get("cname"), level)
    return " ".join(str(one) for one in shown if one is not None)
