"""Numpy's own files: ``.npy``, and ``.npz`` with a dataset for every array; no pickled objects."""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.store.arrays import reason
from pipeline.store.importers.checks import check_no_choice, check_no_level, checked_shape
from pipeline.store.importers.foreign import Foreign, Format, Wanted
from pipeline.store.importers.raw import RawArray

MAGIC = b"\x93NUMPY"
ZIP_MAGIC = b"PK"
NO_SIZE = "a numpy array has no voxel size"
LISTED = 8


@dataclass(frozen=True)
class _Header:
    """What stands before the voxels."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]
    bytes: int


def recognises(path: str) -> bool:
    """Whether a file's ending or its first bytes are numpy's."""
    if not os.path.isfile(path):
        return False
    if path.lower().endswith((".npy", ".npz")):
        return True
    try:
        with open(path, "rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


@contextmanager
def open_npy(path: str, wanted: Wanted) -> Iterator[Foreign]:
    """Open a ``.npy`` or ``.npz`` file.

    Parameters
    ----------
    path
        Of the file.
    wanted
        ``dataset`` is the name of an array in an ``.npz`` file that holds several.

    Raises
    ------
    InputError
        If it is damaged, truncated, or holds no numbers.
    """
    try:
        with open(path, "rb") as file:
            magic = file.read(len(MAGIC))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    if magic.startswith(ZIP_MAGIC):
        check_no_level(path, wanted, "an .npz file")
        with _open_npz(path, wanted.dataset) as foreign:
            yield foreign
        return
    check_no_choice(path, wanted, "an .npy file")
    with open(path, "rb") as file:
        header = _header(path, file)
    raw = RawArray(path, header.bytes, _stored(header), header.dtype)
    raw.check_whole()
    yield _foreign(path, path, "numpy array", header, raw)


NPY = Format("numpy", recognises, open_npy)


@contextmanager
def _open_npz(path: str, dataset: str | None) -> Iterator[Foreign]:
    try:
        archive = zipfile.ZipFile(path)
    except Exception as error:
        raise InputError(f"{path}: is damaged or truncated ({reason(error)})") from error
    with archive:
        names = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
        name = _chosen(path, names, dataset)
        label = f"{path}:{name}"
        try:
            with archive.open(f"{name}.npy") as file:
                header = _header(label, file)
            member = archive.open(f"{name}.npy")
        except InputError:
            raise
        except Exception as error:
            raise InputError(f"{label}: is damaged ({reason(error)})") from error
        with member:
            packed = _PackedArray(label, member, header.bytes, _stored(header), header.dtype)
            stored = archive.getinfo(f"{name}.npy").file_size
            if stored < packed.end:
                raise InputError(f"{label}: is truncated: {stored} bytes of {packed.end}")
            yield _foreign(path, label, "array in an .npz file", header, packed)


def _chosen(path: str, names: list[str], dataset: str | None) -> str:
    shown = ", ".join(names[:LISTED]) + (", ..." if len(names) > LISTED else "")
    if not names:
        raise InputError(f"{path}: holds no numpy array")
    if dataset is None and len(names) == 1:
        return names[0]
    if dataset is None:
        raise InputError(f"{path}: holds several arrays; give {path}:NAME, one of: {shown}")
    if dataset not in names:
        raise InputError(f"{path}: has no array {dataset!r}; it has: {shown}")
    return dataset


@dataclass(frozen=True)
class _PackedArray:
    """Voxels in a compressed stream, which is cheap to read forwards only."""

    path: str
    stream: IO[bytes]
    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def end(self) -> int:
        """Bytes that the stream must have."""
        return self.offset + math.prod(self.shape) * self.dtype.itemsize

    def read(self, part: tuple[slice, ...]) -> NDArray[Any]:
        """A part of the array: the slowest axis is gone through plane by plane."""
        first, *rest = part
        plane = math.prod(self.shape[1:])
        out = np.empty([one.stop - one.start for one in part], self.dtype)
        try:
            self.stream.seek(self.offset + first.start * plane * self.dtype.itemsize)
            for number in range(first.stop - first.start):
                data = self._plane(plane).reshape(self.shape[1:])
                out[number] = data[tuple(rest)]
        except Exception as error:  # a damaged stream makes the decoder raise anything
            raise InputError(f"{self.path}: is damaged or truncated ({reason(error)})") from error
        return out.astype(self.dtype.newbyteorder("="), copy=False)

    def _plane(self, voxels: int) -> NDArray[Any]:
        data = self.stream.read(voxels * self.dtype.itemsize)
        return np.frombuffer(data, self.dtype, voxels)


def _foreign(
    path: str, label: str, kind: str, header: _Header, data: RawArray | _PackedArray
) -> Foreign:
    """In the array's own order of axes, whichever lies fastest in the file."""
    unit = (1,) if isinstance(data, _PackedArray) else (1,) * (len(data.shape) - 1)
    chunk = (*unit, *data.shape[len(unit) :])

    def read(part: tuple[slice, ...]) -> NDArray[Any]:
        return data.read(part[::-1]).T if header.fortran else data.read(part)

    return Foreign(
        path=label,
        format=kind,
        shape=header.shape,
        axes="",
        dtype=header.dtype.newbyteorder("="),
        voxel_size_nm=NO_SIZE,
        chunk=chunk[::-1] if header.fortran else chunk,
        read=read,
        files=(os.path.abspath(path),),
    )


def _stored(header: _Header) -> tuple[int, ...]:
    """Shape with the fastest axis last."""
    return header.shape[::-1] if header.fortran else header.shape


def _header(path: str, file: IO[bytes]) -> _Header:
    """Shape and dtype; ``InputError`` if they are damaged or no numbers."""
    try:
        version = np.lib.format.read_magic(file)
        if version == (1, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
        elif version == (2, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_2_0(file)
        else:
            raise ValueError(f"version {'.'.join(map(str, version))} of the format is not known")
        position = file.tell()
    except Exception as error:  # a damaged header makes numpy raise anything
        raise InputError(f"{path}: is no numpy file, or damaged ({reason(error)})") from error
    if dtype.hasobject or dtype.fields:
        raise InputError(f"{path}: holds objects or records, not voxels")
    return _Header(checked_shape(path, shape), bool(fortran), dtype, position)
