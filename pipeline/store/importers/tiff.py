"""TIFF stacks into an OME-Zarr image, section by section.

1. The page list is checked: whole, grey, of one size and dtype.
2. Sections are decoded one page at a time and written in slabs of one file's depth.
3. The pyramid and the metadata are added, and the store gets its final name.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from pipeline.contract import Box, Triple
from pipeline.errors import InputError, OutputError
from pipeline.store.arrays import create_volume_array, reason, write_box
from pipeline.store.importers.tiff_metadata import stack_voxel_size
from pipeline.store.layout import TARGET_CHUNK, Nanometres, pyramid_levels
from pipeline.store.ngff import image_attributes
from pipeline.store.nodes import MARK, read_node, remove_directory, write_group
from pipeline.store.ownership import check_apart
from pipeline.store.pyramid import build_levels
from pipeline.store.volume import DTYPES, Volume, open_volume

SLAB_BYTES = 1 << 28
FILE_SIDE = 1024
IMPORTED = "imported_from"

Progress = Callable[[int, int], None]
"""Called with (sections done, sections in all)."""


@dataclass(frozen=True)
class _Stack:
    """An open TIFF whose pages fit together; ``shape`` is zyx."""

    src: Path
    tif: tifffile.TiffFile
    shape: Triple
    dtype: np.dtype[Any]


def import_tiff(
    src: str | Path,
    dst: str | Path,
    *,
    voxel_size_nm: tuple[float, ...] | None = None,
    progress: Progress | None = None,
    overwrite: bool = False,
) -> Volume:
    """Write a TIFF stack as an OME-Zarr 0.5 image with a pyramid.

    Parameters
    ----------
    src
        Grey stack of uint8, uint16 or float32: one page a section, one page that is a stack,
        or raw sections behind one page (ImageJ). Read one page at a time.
    dst
        The image's directory; it appears when it is complete.
    voxel_size_nm
        zyx, in nanometres; goes before what the file says.
    progress
        Told after each slab of sections.
    overwrite
        Replace an image that was imported earlier.

    Returns
    -------
    volume
        The imported volume.

    Raises
    ------
    InputError
        If the file is no TIFF, damaged, truncated, of mixed pages, or without voxel size.
    OutputError
        If ``dst`` is taken.
    """
    src, dst = Path(src), Path(dst)
    if not src.is_file():
        raise InputError(f"{src}: does not exist or is not a file")
    check_apart(src, dst)
    _check_free(dst, overwrite)
    partial = dst.absolute().with_name(f".{dst.absolute().name}.{uuid.uuid4().hex}.partial")
    try:
        with _opened(src) as tif:
            stack = _checked_stack(src, tif)
            size = stack_voxel_size(src, tif, voxel_size_nm)
            _write_image(partial, stack, size, progress)
        remove_directory(dst)
        partial.rename(dst.absolute())
    finally:
        remove_directory(partial)
    return open_volume(dst)


def _opened(src: Path) -> tifffile.TiffFile:
    try:
        return tifffile.TiffFile(src)
    except Exception as error:
        raise InputError(f"{src}: cannot be read as a TIFF ({reason(error)})") from error


def _check_free(dst: Path, overwrite: bool) -> None:
    if not dst.exists():
        return
    try:
        node = read_node(dst)
    except ValueError:
        node = None
    if node is None or IMPORTED not in node.attributes.get(MARK, {}):
        raise OutputError(
            f"{dst}: exists and was not imported by this program; choose another path"
        )
    if not overwrite:
        raise OutputError(f"{dst}: was imported earlier; replace it with --overwrite")


def _checked_stack(src: Path, tif: tifffile.TiffFile) -> _Stack:
    """The stack, judged from its page list alone."""
    try:
        pages = list(tif.pages)
        first = pages[0]
        contiguous = _contiguous(tif)
    except Exception as error:
        raise InputError(f"{src}: its page list is damaged ({reason(error)})") from error
    _check_end(src, tif, pages[-1], len(pages))
    dtype = np.dtype(first.dtype)
    if dtype.name not in DTYPES:
        raise InputError(f"{src}: has dtype {dtype}; convert it to {', '.join(sorted(DTYPES))}")
    for number, page in enumerate(pages, start=1):
        if page.shape != first.shape or page.dtype != first.dtype:
            raise InputError(
                f"{src}: page {number} has shape {page.shape} {page.dtype}, "
                f"page 1 has {first.shape} {first.dtype}; all must be equal"
            )
    axes = contiguous.axes if contiguous is not None else first.axes
    shape = contiguous.shape if contiguous is not None else first.shape
    if axes.endswith("S") or len(shape) not in (2, 3):
        raise InputError(f"{src}: has shape {shape} (axes {axes}); one grey stack is needed")
    if len(tif.series) == 1 and len(tif.series[0].shape) > 3:
        series = tif.series[0]
        raise InputError(
            f"{src}: has shape {series.shape} (axes {series.axes}); save one channel and time "
            "point as its own stack"
        )
    height, width = shape[-2:]
    depth = 1 if len(shape) == 2 else shape[0]
    sections = depth if contiguous is not None else depth * len(pages)
    return _Stack(src, tif, (sections, height, width), dtype)


def _check_end(src: Path, tif: tifffile.TiffFile, last: Any, count: int) -> None:
    """A truncated file announces, after its last whole page, another one."""
    layout = tif.tiff
    tif.filehandle.seek(last.offset)
    (tags,) = struct.unpack(layout.tagnoformat, tif.filehandle.read(layout.tagnosize))
    tif.filehandle.seek(last.offset + layout.tagnosize + tags * layout.tagsize)
    raw = tif.filehandle.read(layout.offsetsize)
    if len(raw) < layout.offsetsize or struct.unpack(layout.offsetformat, raw)[0] != 0:
        raise InputError(f"{src}: is truncated or damaged: page {count + 1} cannot be read")


def _contiguous(tif: tifffile.TiffFile) -> Any | None:
    """The one series of raw voxels that lie in one piece, whatever pages there are."""
    series = tif.series[0]
    raw = len(tif.series) == 1 and series.dataoffset is not None and len(series.shape) == 3
    return series if raw else None


def _sections(stack: _Stack) -> Iterator[NDArray[Any]]:
    """Every section, (Y, X), in the machine's byte order."""
    native = stack.dtype.newbyteorder("=")
    series = _contiguous(stack.tif)
    if series is not None:
        yield from _raw_sections(stack, series.dataoffset)
        return
    for number, page in enumerate(stack.tif.pages, start=1):
        try:
            data = page.asarray()
        except Exception as error:
            raise InputError(
                f"{stack.src}: page {number} is damaged or truncated ({reason(error)})"
            ) from error
        yield from data.reshape(-1, *stack.shape[1:]).astype(native, copy=False)


def _raw_sections(stack: _Stack, offset: int) -> Iterator[NDArray[Any]]:
    """Sections that lie one after another from ``offset``, uncompressed."""
    depth, height, width = stack.shape
    section_bytes = height * width * stack.dtype.itemsize
    file = stack.tif.filehandle
    if offset + depth * section_bytes > file.size:
        whole = max(0, file.size - offset) // section_bytes
        raise InputError(f"{stack.src}: is truncated: page {whole + 1} of {depth} is not whole")
    stored = stack.dtype.newbyteorder(stack.tif.byteorder)
    for number in range(depth):
        file.seek(offset + number * section_bytes)
        data = np.frombuffer(file.read(section_bytes), stored)
        yield data.reshape(height, width).astype(stack.dtype.newbyteorder("="))


def _write_image(
    target: Path, stack: _Stack, voxel_size_nm: Nanometres, progress: Progress | None
) -> None:
    """Level 0 slab by slab, then the pyramid, then the metadata."""
    depth, height, width = stack.shape
    name = stack.dtype.name
    slab_depth = SLAB_BYTES // (height * width * stack.dtype.itemsize)
    slab_depth = max(1, min(TARGET_CHUNK[0], slab_depth))
    file_shape = (slab_depth, FILE_SIDE, FILE_SIDE)
    mark = {MARK: {IMPORTED: stack.src.name}}
    write_group(target, mark)
    create_volume_array(target / "0", stack.shape, name, file_shape)
    sections = _sections(stack)
    for begin in range(0, depth, slab_depth):
        end = min(begin + slab_depth, depth)
        slab = np.stack([next(sections) for _ in range(begin, end)])
        write_box(target / "0", Box((begin, 0, 0), (end, height, width)), slab)
        if progress:
            progress(end, depth)
    levels = pyramid_levels(stack.shape, voxel_size_nm, (0.0, 0.0, 0.0))
    build_levels(target, levels, "image", file_shape)
    write_group(target, {**mark, "ome": image_attributes(levels, stack.src.stem, "mean")})
