"""HDF5: ``file.h5:dataset``, or the only dataset of three or more axes.

Links that leave the file are never followed. A virtual dataset is read if all its parts are
there, and the files they lie in are named.
"""

from __future__ import annotations

import importlib
import math
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import h5py

from pipeline.errors import InputError
from pipeline.store.arrays import reason
from pipeline.store.importers.checks import (
    check_no_level,
    checked_reader,
    checked_shape,
    existing_file,
    judging,
    number_dtype,
)
from pipeline.store.importers.foreign import Foreign, Format, Wanted
from pipeline.store.importers.gzipped import LARGEST_RATIO
from pipeline.store.importers.hdf5_contents import find_dataset, show_dataset
from pipeline.store.importers.hdf5_metadata import axes_of, place_of

SUFFIXES = (".h5", ".hdf5", ".hdf", ".he5")
FILTERS = {
    307: "bzip2",
    32000: "lzf",
    32001: "blosc",
    32004: "lz4",
    32008: "bitshuffle",
    32013: "zfp",
    32015: "zstd",
    32017: "sz",
    32026: "blosc2",
    4: "szip",
}
"""Filters that an HDF5 library may lack -> their registered names."""
PLUGINS = "hdf5plugin"
LARGEST_CHUNK = (1 << 32) - 1
"""Bytes of a chunk that the format allows."""
DEFLATE, SHUFFLE, FLETCHER32 = 1, 2, 3


def recognises_hdf5(path: str) -> bool:
    """Whether a path ends like an HDF5 file or begins like one."""
    if path.lower().endswith(SUFFIXES):
        return not os.path.isdir(path)
    with suppress(Exception):
        return os.path.isfile(path) and bool(h5py.is_hdf5(path))
    return False


@contextmanager
def open_hdf5(path: str, wanted: Wanted) -> Iterator[Foreign]:
    """Open a dataset of an HDF5 file; see ``Opener``.

    Raises
    ------
    InputError
        If the file is damaged, the dataset is not there or not the only one, lies in another
        file, or its voxels cannot be decoded.
    """
    check_no_level(path, wanted, "HDF5")
    file = existing_file(path)
    with suppress(ImportError):
        importlib.import_module(PLUGINS)
    with opened_hdf5(path, file) as container:
        with judging(path, "HDF5"):
            foreign = _foreign(path, wanted, container)
        yield foreign


def opened_hdf5(path: str, file: Path) -> Any:
    """The file, open for reading; ``InputError`` if it is damaged."""
    try:
        return h5py.File(file, "r", locking="best-effort")
    except Exception as error:
        told = re.search(r"truncated file: eof = (\d+).*stored_eof = (\d+)", str(error))
        if told:
            raise InputError(f"{path}: is truncated: has {told[1]} bytes of {told[2]}") from error
        raise InputError(
            f"{path}: cannot be opened as HDF5: no HDF5 file, damaged, or in use by a program that "
            f"writes it ({reason(error)})"
        ) from error


def _foreign(path: str, wanted: Wanted, container: Any) -> Foreign:
    dataset = find_dataset(path, container, wanted.dataset)
    name = f"{path}:{dataset.name.lstrip('/')}"
    if dataset.dtype.kind == "V":
        raise InputError(f"{name}: has records {dataset.dtype}, not voxels; choose another dataset")
    dtype = number_dtype(name, dataset.dtype)
    shape = checked_shape(name, dataset.shape)
    _check_filters(name, dataset)
    facts, warnings = {"dataset": show_dataset(dataset)}, []
    sources = _sources(name, path, dataset)
    if sources:
        facts["virtual"] = f"voxels come from {', '.join(sources)}"
        warnings.append(f"is a virtual dataset: its voxels come from {', '.join(sources)}")
    else:
        warnings += _check_storage(name, dataset, shape)
    if dataset.compression:
        facts["compression"] = str(dataset.compression)
    axes, complaint = axes_of(dataset)
    warnings += [complaint] if complaint else []
    size, translation = place_of(dataset, axes)
    return Foreign(
        path=name,
        format="HDF5 dataset",
        shape=shape,
        axes=axes,
        dtype=dtype,
        voxel_size_nm=size,
        chunk=tuple(dataset.chunks or (*(1 for _ in shape[:-2]), *shape[-2:])),
        read=checked_reader(name, shape, dtype, dataset.__getitem__),
        translation_nm=translation,
        files=(path, *sources),
        facts=facts,
        warnings=tuple(warnings),
    )


def _check_filters(name: str, dataset: Any) -> None:
    plist = dataset.id.get_create_plist()
    for number in range(plist.get_nfilters()):
        code, _, _, described = plist.get_filter(number)
        if not h5py.h5z.filter_avail(code):
            known = FILTERS.get(code) or described.decode(errors="replace") or "unknown"
            raise InputError(
                f"{name}: is compressed with the filter {known} ({code}), which is not installed: "
                f"pip install {PLUGINS}, or rewrite it with h5repack -f GZIP=4 old.h5 new.h5"
            )


def _check_storage(name: str, dataset: Any, shape: tuple[int, ...]) -> list[str]:
    """Whether what is stored fits the shape; warns where nothing was ever written."""
    if dataset.external:
        raise InputError(
            f"{name}: its voxels lie in another file ({dataset.external[0][0]}); make it one file "
            "with h5repack"
        )
    stored = int(dataset.id.get_storage_size())
    if dataset.chunks is None:
        if stored not in (0, math.prod(shape) * dataset.dtype.itemsize):
            raise InputError(f"{name}: is damaged: stores {stored} bytes for shape {shape}")
        count, written = 1, int(stored > 0)
    else:
        _check_chunks(name, dataset)
        count = math.prod(-(-n // c) for n, c in zip(shape, dataset.chunks, strict=True))
        written = int(dataset.id.get_num_chunks())
        if written > count:
            raise InputError(f"{name}: is damaged: stores {written} chunks of {count}")
        needed = written * math.prod(dataset.chunks) * dataset.dtype.itemsize
        if stored * _largest_ratio(dataset) < needed:
            raise InputError(
                f"{name}: is damaged: {stored} stored bytes cannot hold {written} chunks "
                f"{dataset.chunks}"
            )
    if written == 0:
        raise InputError(f"{name}: no voxels were ever written into it")
    missing = count - written
    fill = f"{missing} of its {count} chunks were never written and are read as {dataset.fillvalue}"
    return [fill] if missing else []


def _largest_ratio(dataset: Any) -> float:
    """How many bytes one stored byte may give; infinite where it is not known."""
    plist = dataset.id.get_create_plist()
    codes = [plist.get_filter(number)[0] for number in range(plist.get_nfilters())]
    if set(codes) <= {SHUFFLE, FLETCHER32}:
        return 1.0
    known = set(codes) <= {DEFLATE, SHUFFLE, FLETCHER32}
    return LARGEST_RATIO ** codes.count(DEFLATE) if known else math.inf


def _check_chunks(name: str, dataset: Any) -> None:
    too_long = any(
        most is not None and c > most
        for c, most in zip(dataset.chunks, dataset.maxshape, strict=True)
    )
    if too_long or math.prod(dataset.chunks) * dataset.dtype.itemsize > LARGEST_CHUNK:
        raise InputError(f"{name}: is damaged: its metadata says chunks {dataset.chunks}")


def _sources(name: str, path: str, dataset: Any) -> tuple[str, ...]:
    """Files of a virtual dataset's parts; a part that is not there would be read as 0."""
    if not dataset.is_virtual:
        return ()
    folder = os.path.dirname(os.path.abspath(path))
    found: dict[str, None] = {}
    for part in dataset.virtual_sources():
        file = path if part.file_name == "." else os.path.join(folder, part.file_name)
        if not os.path.isfile(file):
            raise InputError(f"{name}: is a virtual dataset, and its part {file} does not exist")
        _check_part(name, file, part.dset_name)
        found[file] = None
    found.pop(path, None)
    return tuple(found)


def _check_part(name: str, file: str, dataset: str) -> None:
    try:
        with h5py.File(file, "r", locking="best-effort") as container:
            there = isinstance(container.get(dataset), h5py.Dataset)
    except OSError as error:
        raise InputError(
            f"{name}: is a virtual dataset, and its part {file} cannot be opened ({reason(error)})"
        ) from error
    if not there:
        raise InputError(
            f"{name}: is a virtual dataset, and its part {file}:{dataset} is not there"
        )


HDF5 = Format("HDF5", recognises_hdf5, open_hdf5)
