"""MRC and CCP4 volumes (.mrc .map .rec .st), plain or gzipped, from any program.

The header is read with mrcfile's layout of it. Where old files say nothing they are taken as
IMOD does: no byte-order stamp, then the order in which the header makes sense; bytes of a file
by IMOD are signed only if it says so.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mrcfile.dtypes import HEADER_DTYPE
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.store.importers.checks import (
    Slices,
    check_no_choice,
    checked_reader,
    checked_shape,
    existing_file,
    judging,
    number_dtype,
    shortest,
)
from pipeline.store.importers.foreign import Foreign, Format, Wanted
from pipeline.store.importers.gzipped import first_bytes, gzipped_array, is_gzipped
from pipeline.store.importers.raw import RawArray
from pipeline.store.layout import Nanometres
from pipeline.store.units import scale_to_nm

SUFFIXES = (".mrc", ".map", ".rec", ".st")
PACKED = (".gz", ".bz2")
HEADER_BYTES = 1024
MODES = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2"}
REFUSED = {3: "complex 16-bit integers", 4: "complex numbers", 101: "4-bit integers"}
BYTE_ORDERS = {0x44: "<", 0x11: ">"}
"""First byte of the machine stamp -> numpy's byte order."""
IMOD_STAMP, IMOD_STAMP_AT, IMOD_SIGNED = 1146047817, 152, 1
VOLUME_STACKS = range(401, 631)
"""Space groups that mean several volumes in one file."""
UNKNOWN_ANGSTROM = 1.0
"""Voxel size that programs write when they do not know it."""
BZIP2_MAGIC = b"BZh"


@dataclass(frozen=True)
class _Header:
    """What the first 1024 bytes say; ``shape`` and ``axes`` are slowest first."""

    shape: tuple[int, ...]
    axes: str
    stored: np.dtype[Any]
    offset: int
    voxel_size_nm: Nanometres | str
    has_map_id: bool


def recognises_mrc(path: str) -> bool:
    """Whether a path ends like an MRC file."""
    name = path.lower()
    for packed in PACKED:
        name = name.removesuffix(packed)
    return name.endswith(SUFFIXES)


@contextmanager
def open_mrc(path: str, wanted: Wanted) -> Iterator[Foreign]:
    """Open an MRC file; see ``Opener``.

    Raises
    ------
    InputError
        If it is no MRC file, truncated, or its mode holds no grey values.
    """
    check_no_choice(path, wanted, "MRC")
    file = existing_file(path)
    with judging(path, "MRC"):
        header = _header(path, file)
        dtype = number_dtype(path, header.stored)
    with ExitStack() as stack:
        read, behind = _reader(stack, file, header)
        yield Foreign(
            path=path,
            format="MRC volume",
            shape=header.shape,
            axes=header.axes,
            dtype=dtype,
            voxel_size_nm=header.voxel_size_nm,
            chunk=(*(1 for _ in header.shape[:-2]), *header.shape[-2:]),
            read=checked_reader(path, header.shape, dtype, read),
            files=(path,),
            facts={"bytes after the voxels": str(behind)} if behind else {},
        )


def _header(path: str, file: Path) -> _Header:
    raw = first_bytes(file, HEADER_BYTES)
    if raw.startswith(BZIP2_MAGIC):
        raise InputError(f"{path}: is packed with bzip2; unpack it first with bunzip2")
    if len(raw) < HEADER_BYTES:
        raise InputError(f"{path}: is no MRC file, or its header is truncated")
    order = _byte_order(path, raw)
    fields = np.frombuffer(raw, HEADER_DTYPE.newbyteorder(order))[0]
    mode = int(fields["mode"])
    if mode not in MODES:
        what = REFUSED.get(mode)
        raise InputError(
            f"{path}: holds {what} (mode {mode}); save it as real numbers, mode 0, 1, 2, 6 or 12"
            if what
            else f"{path}: is no MRC file, or its header is damaged (mode {mode})"
        )
    shape, axes = _axes(path, fields)
    behind_header = int(fields["nsymbt"])
    if behind_header < 0:
        raise InputError(f"{path}: its MRC header is damaged (nsymbt {behind_header})")
    return _Header(
        shape=shape,
        axes=axes,
        stored=_dtype(mode, raw, order),
        offset=HEADER_BYTES + behind_header,
        voxel_size_nm=_voxel_size(fields),
        has_map_id=bytes(fields["map"]).startswith(b"MAP"),
    )


def _byte_order(path: str, raw: bytes) -> str:
    """By the machine stamp; without one, the order in which mode and axes make sense."""
    stamp = HEADER_DTYPE.fields["machst"][1]
    if raw[stamp] in BYTE_ORDERS:
        return BYTE_ORDERS[raw[stamp]]
    for order in "<>":
        nx, ny, nz, mode = np.frombuffer(raw, f"{order}i4", 4).tolist()
        if mode in (*MODES, *REFUSED) and min(nx, ny, nz) > 0:
            return order
    raise InputError(f"{path}: is no MRC file, or its header is damaged")


def _dtype(mode: int, raw: bytes, order: str) -> np.dtype[Any]:
    stamp, flags = np.frombuffer(raw, f"{order}i4", 2, IMOD_STAMP_AT).tolist()
    if mode == 0 and stamp == IMOD_STAMP and not flags & IMOD_SIGNED:
        return np.dtype(np.uint8)
    return np.dtype(order + MODES[mode])


def _axes(path: str, fields: Any) -> tuple[tuple[int, ...], str]:
    """Sections, rows, columns, and which of z, y, x each is."""
    shape = checked_shape(path, [fields["nz"], fields["ny"], fields["nx"]])
    numbers = [int(fields[name]) for name in ("maps", "mapr", "mapc")]
    if numbers == [0, 0, 0]:
        numbers = [3, 2, 1]
    if sorted(numbers) != [1, 2, 3]:
        raise InputError(f"{path}: its MRC header is damaged (maps, mapr, mapc are {numbers})")
    axes = "".join("xyz"[number - 1] for number in numbers)
    depth = int(fields["mz"])
    if int(fields["ispg"]) in VOLUME_STACKS and 0 < depth < shape[0]:
        if shape[0] % depth:
            raise InputError(
                f"{path}: its MRC header is damaged: {shape[0]} sections are no volumes of {depth}"
            )
        return (shape[0] // depth, depth, *shape[1:]), f"t{axes}"
    return shape, axes


def _voxel_size(fields: Any) -> Nanometres | str:
    """Cell edge through intervals along x, y, z, which are in angstrom."""
    intervals = [int(fields[name]) for name in ("mz", "my", "mx")]
    cell = [float(fields["cella"][axis]) for axis in "zyx"]
    if all(edge == 0 for edge in cell) or any(n <= 0 for n in intervals):
        return "its MRC header gives no voxel size (cell 0)"
    sizes = [shortest(edge / n) for edge, n in zip(cell, intervals, strict=True)]
    if all(size == UNKNOWN_ANGSTROM for size in sizes):
        return "its voxel size is 1 angstrom, which programs write when they do not know it"
    return scale_to_nm(sizes, ("angstrom",) * 3)


def _reader(
    stack: ExitStack, file: Path, header: _Header
) -> tuple[Callable[[Slices], NDArray[Any]], int]:
    """How voxels are read, and bytes after them."""
    if is_gzipped(file):
        packed = gzipped_array(file, header.offset, header.shape, header.stored)
        return stack.enter_context(packed).read, 0
    array = RawArray(str(file), header.offset, header.shape, header.stored)
    array.check_whole()
    behind = os.path.getsize(file) - array.end
    if behind and not header.has_map_id:
        raise InputError(
            f"{file}: is no MRC file, or its header is damaged: it has no MAP mark, and is "
            f"{behind} bytes longer than shape {header.shape} of {header.stored.name} needs"
        )
    return array.read, behind


MRC = Format("MRC", recognises_mrc, open_mrc)
