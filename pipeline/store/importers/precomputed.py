"""Neuroglancer precomputed volumes: a local folder, or one behind gs://, s3:// or https://.

Axes are x, y, z, channel on disk, and (channel) z, y, x here. Chunks that are not there mean 0;
in a local folder they are counted.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contract import Triple
from pipeline.errors import InputError
from pipeline.store.arrays import reason
from pipeline.store.importers.checks import Slices, checked_reader, checked_shape, judging
from pipeline.store.importers.foreign import Foreign, Format, Wanted
from pipeline.store.importers.precomputed_urls import INFO, key_value_store, recognises_precomputed
from pipeline.store.importers.tensorstores import answer, open_store, piecewise, read_key
from pipeline.store.layout import Nanometres
from pipeline.store.units import scale_to_nm

DTYPES = frozenset({*(f"{u}int{b}" for u in ("", "u") for b in (8, 16, 32, 64)), "float32"})
VOLUME = "neuroglancer_multiscale_volume"
CHUNK_NAME = re.compile(r"(-?\d+)-(-?\d+)_(-?\d+)-(-?\d+)_(-?\d+)-(-?\d+)")
SHARD_SUFFIX = ".shard"
PACKED = (".gz", ".br", ".zstd")
LARGEST_OFFSET = 1 << 53
REMOTE_ZERO = "chunks that are not there are read as 0"


@dataclass(frozen=True)
class _Scale:
    """One resolution; lengths zyx."""

    key: str
    shape: Triple
    chunk: Triple
    resolution_nm: Nanometres
    translation_nm: Nanometres
    offset: Triple
    channels: int
    dtype: np.dtype[Any]
    encoding: str
    sharded: bool


@contextmanager
def open_precomputed(path: str, wanted: Wanted) -> Iterator[Foreign]:
    """Open a precomputed volume; see ``Opener``.

    Raises
    ------
    InputError
        If its ``info`` is missing, damaged or not that of a volume, or the store does not answer.
    """
    if wanted.dataset is not None:
        raise InputError(
            f"{path}: a precomputed volume has no dataset {wanted.dataset!r}; its resolutions are "
            "chosen as levels"
        )
    store = key_value_store(path)
    with judging(path, "precomputed"):
        scale = _scale(path, _info(path, store), wanted.level)
        files, warnings = _local_files(path, store, scale)
        array = _array(path, store, wanted.level)
    shape = (scale.channels, *scale.shape) if scale.channels > 1 else scale.shape
    chunk = (scale.channels, *scale.chunk) if scale.channels > 1 else scale.chunk
    size = scale_to_nm(scale.resolution_nm, ("nm",) * 3)
    z, y, x = scale.translation_nm

    def read(part: Slices) -> NDArray[Any]:
        *channel, depth, height, width = part
        chosen = channel[0] if channel else 0
        return np.asarray(answer(path, array[width, height, depth, chosen].read())).transpose()

    yield Foreign(
        path=path,
        format="Neuroglancer precomputed volume",
        shape=shape,
        axes="czyx" if scale.channels > 1 else "zyx",
        dtype=scale.dtype,
        voxel_size_nm=size,
        chunk=chunk,
        read=checked_reader(path, shape, scale.dtype, piecewise(read, chunk, scale.dtype)),
        translation_nm=(z, y, x),
        files=files,
        facts={
            "scale": scale.key,
            "encoding": scale.encoding + (", sharded" if scale.sharded else ""),
            **({} if files else {"missing chunks": REMOTE_ZERO}),
        },
        warnings=warnings,
    )


def _info(path: str, store: Mapping[str, Any]) -> Mapping[str, Any]:
    """The volume's description."""
    content = read_key(path, store, INFO)
    if content is None:
        raise InputError(f"{path}: no Neuroglancer volume is there (no file {INFO!r})")
    try:
        info = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: its {INFO!r} is damaged ({reason(error)})") from error
    if not isinstance(info, dict):
        raise InputError(f"{path}: its {INFO!r} is damaged: it holds no description")
    kind = info.get("@type", VOLUME)
    if kind != VOLUME or not isinstance(info.get("scales"), list):
        raise InputError(f"{path}: is no Neuroglancer volume ({kind}, without scales)")
    return info


def _scale(path: str, info: Mapping[str, Any], level: int) -> _Scale:
    """The level's description, judged."""
    scales = info["scales"]
    if not 0 <= level < len(scales):
        raise InputError(f"{path}: has levels 0 to {len(scales) - 1}, not {level}")
    entry, dtype = scales[level], info.get("data_type")
    if dtype not in DTYPES:
        raise InputError(f"{path}: has voxels of type {dtype}; integers or float32 are needed")
    channels = _whole(info.get("num_channels"))
    checked_shape(path, (channels, *_triple(entry["size"])))
    if min(_triple(entry["chunk_sizes"][0])) < 1:
        raise InputError(f"{path}: its {INFO!r} is damaged (chunks {entry['chunk_sizes']})")
    z, y, x = _resolution(entry)
    offset = _triple(entry.get("voxel_offset", [0, 0, 0]))
    # offsets count from the corner of the volume, translations from the centre of its first voxel
    shift_z, shift_y, shift_x = (
        n * size + (size - finest) / 2
        for n, size, finest in zip(offset, (z, y, x), _resolution(scales[0]), strict=True)
    )
    size_z, size_y, size_x = _triple(entry["size"])
    chunk_z, chunk_y, chunk_x = _triple(entry["chunk_sizes"][0])
    return _Scale(
        key=str(entry["key"]),
        shape=(size_z, size_y, size_x),
        chunk=(min(chunk_z, size_z), min(chunk_y, size_y), min(chunk_x, size_x)),
        resolution_nm=(z, y, x),
        translation_nm=(shift_z, shift_y, shift_x),
        offset=offset,
        channels=channels,
        dtype=np.dtype(str(dtype)),
        encoding=str(entry["encoding"]),
        sharded=bool(entry.get("sharding")),
    )


def _resolution(entry: Mapping[str, Any]) -> Nanometres:
    """Voxel size of a scale, zyx."""
    x, y, z = (float(length) for length in entry["resolution"])
    return z, y, x


def _whole(value: Any) -> int:
    if type(value) is not int or not -LARGEST_OFFSET < value < LARGEST_OFFSET:
        raise ValueError(f"{value!r} is no whole number")
    return value


def _triple(values: Any) -> Triple:
    """Whole numbers of x, y, z as zyx."""
    x, y, z = (_whole(value) for value in values)
    return z, y, x


def _array(path: str, store: Mapping[str, Any], level: int) -> Any:
    """The level as x, y, z, channel, from 0."""
    spec = {"driver": "neuroglancer_precomputed", "kvstore": store, "scale_index": level}
    array = open_store(path, spec)
    return array.translate_to[(0,) * array.rank]


def _local_files(
    path: str, store: Mapping[str, Any], scale: _Scale
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Files of a volume on disk, and what to say about missing ones; nothing for a remote one."""
    if store["driver"] != "file":
        return (), ()
    root = Path(store["path"])
    folder = Path(os.path.normpath(root / scale.key))
    names = sorted(os.listdir(folder)) if folder.is_dir() else []
    wanted = [name for name in names if _is_data(name, scale)]
    count = math.prod(-(-n // c) for n, c in zip(scale.shape, scale.chunk, strict=True))
    packed = [name for name in names if name.endswith(PACKED)]
    if packed:
        raise InputError(
            f"{path}: its chunks are packed one by one ({scale.key}/{packed[0]}); unpack them "
            "first, e.g. with gunzip -r"
        )
    if not wanted:
        raise InputError(f"{path}: none of its {count} chunks is in {folder}")
    files = (str(root / INFO), *(str(folder / name) for name in wanted))
    missing = 0 if scale.sharded else count - len(wanted)
    told = f"{missing} of its {count} chunks are not there and are read as 0"
    return files, ((told,) if missing > 0 else ())


def _is_data(name: str, scale: _Scale) -> bool:
    """Whether a file holds voxels of the volume: a shard, or a chunk of its grid."""
    if scale.sharded:
        return name.endswith(SHARD_SUFFIX)
    told = CHUNK_NAME.fullmatch(name)
    if told is None:
        return False
    bounds = [int(number) for number in told.groups()]
    ranges = zip(bounds[::2], bounds[1::2], strict=True)
    return all(
        begin in range(first, first + n, step) and end == min(begin + step, first + n)
        for (begin, end), first, n, step in zip(
            ranges, scale.offset[::-1], scale.shape[::-1], scale.chunk[::-1], strict=True
        )
    )


PRECOMPUTED = Format("Neuroglancer precomputed", recognises_precomputed, open_precomputed)
