"""NIfTI-1 and NIfTI-2 volumes, plain (.nii) or gzipped (.nii.gz).

The header is judged by nibabel; voxels are read from where they lie. On disk x is fastest, so
the axes slowest first are (c t) z y x. Orientation in space (qform, sform) is not applied.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from nibabel.imageglobals import LoggingOutputSuppressor
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

SUFFIXES = (".nii", ".nii.gz")
HEADERS = {348: nibabel.Nifti1Header, 540: nibabel.Nifti2Header}
MAGICS = {348: (344, b"n+1\0", b"ni1\0"), 540: (4, b"n+2\0", b"ni2\0")}
"""Bytes of the header -> where the magic is, that of one file, that of a pair."""
AXES = "ctzyx"


def recognises_nifti(path: str) -> bool:
    """Whether a path ends like a NIfTI file."""
    return path.lower().endswith(SUFFIXES)


@contextmanager
def open_nifti(path: str, wanted: Wanted) -> Iterator[Foreign]:
    """Open a NIfTI file; see ``Opener``.

    Raises
    ------
    InputError
        If it is no NIfTI file, a pair of files, truncated, or holds no grey values.
    """
    check_no_choice(path, wanted, "NIfTI")
    file = existing_file(path)
    with judging(path, "NIfTI"):
        header = _header(file)
        shape = _shape(path, header)
        stored = header.get_data_dtype()
        plain = number_dtype(path, stored)
        slope, inter = _scaling(header)
        offset = int(header.get_data_offset())
        size = _voxel_size(header)
    scaled = (slope, inter) != (1.0, 0.0)
    dtype = np.dtype(np.float64) if scaled else plain
    with ExitStack() as stack:
        read = _stored_reader(stack, file, offset, shape, stored)
        yield Foreign(
            path=path,
            format="NIfTI volume",
            shape=shape,
            axes=AXES[-len(shape) :],
            dtype=dtype,
            voxel_size_nm=size,
            chunk=(*(1 for _ in shape[:-2]), *shape[-2:]),
            read=checked_reader(path, shape, dtype, _scale(read, slope, inter) if scaled else read),
            files=(path,),
            facts=_facts(file, plain, slope, inter, scaled),
        )


def _header(file: Path) -> Any:
    """The checked header, without what follows it."""
    raw = first_bytes(file, max(HEADERS))
    for size, (at, single, pair) in MAGICS.items():
        magic = raw[at : at + len(single)]
        if magic == pair:
            raise InputError(
                f"{file}: is half of a NIfTI pair (.hdr and .img); save it as one .nii"
            )
        if magic == single and len(raw) >= size:
            with LoggingOutputSuppressor():
                header = HEADERS[size](raw[:size], check=True)
            # nibabel makes something up for lengths that are 0 or negative
            header["pixdim"][1:4] = HEADERS[size](raw[:size], check=False)["pixdim"][1:4]
            return header
    raise InputError(f"{file}: is not a NIfTI file, or its header is truncated or damaged")


def _shape(path: str, header: Any) -> tuple[int, ...]:
    """Lengths along (c t) z y x; missing ones of z, y, x are 1."""
    lengths = checked_shape(path, header.get_data_shape())
    if any(n != 1 for n in lengths[len(AXES) :]):
        raise InputError(
            f"{path}: has shape {lengths} (x, y, z, t, ...); save one z, y, x volume of it"
        )
    kept = lengths[: len(AXES)] + (1,) * (3 - len(lengths))
    return kept[::-1]


def _scaling(header: Any) -> tuple[float, float]:
    """``scl_slope`` and ``scl_inter``; 1 and 0 if they say nothing."""
    slope, inter = header.get_slope_inter()
    return (1.0 if slope is None else float(slope)), (0.0 if inter is None else float(inter))


def _scale(
    read: Callable[[Slices], NDArray[Any]], slope: float, inter: float
) -> Callable[[Slices], NDArray[Any]]:
    """Stored values to slope * value + inter; whether float32 holds them is seen later."""
    return lambda part: read(part) * np.float64(slope) + np.float64(inter)


def _stored_reader(
    stack: ExitStack, file: Path, offset: int, shape: tuple[int, ...], stored: np.dtype[Any]
) -> Callable[[Slices], NDArray[Any]]:
    if is_gzipped(file):
        return stack.enter_context(gzipped_array(file, offset, shape, stored)).read
    array = RawArray(str(file), offset, shape, stored)
    array.check_whole()
    return array.read


def _voxel_size(header: Any) -> Nanometres | str:
    x, y, z = (shortest(size) for size in header["pixdim"][1:4])
    try:
        unit, _ = header.get_xyzt_units()
    except KeyError:
        return "its unit of length (xyzt_units) is none that NIfTI knows"
    return scale_to_nm((z, y, x), (None if unit == "unknown" else unit,) * 3)


def _facts(
    file: Path, stored: np.dtype[Any], slope: float, inter: float, scaled: bool
) -> Mapping[str, str]:
    facts = {}
    if scaled:
        facts["values"] = f"{slope:g} * stored {stored} + {inter:g}, as the header says"
    if is_gzipped(file):
        facts["compression"] = "gzip: decoded from the start, section by section"
    return facts


NIFTI = Format("NIfTI", recognises_nifti, open_nifti)
