"""TIFF, BigTIFF, ImageJ's and OME-TIFF: pages, one page that is a stack, or raw voxels behind."""

from __future__ import annotations

import logging
import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from pipeline.errors import InputError
from pipeline.store.arrays import reason
from pipeline.store.importers.foreign import Foreign, Format, Wanted
from pipeline.store.importers.tiff_metadata import voxel_size
from pipeline.store.importers.tiff_pages import value_note
from pipeline.store.importers.tiff_stack import Stack, check_complete, find_series, find_stack
from pipeline.store.layout import Nanometres

# what is wrong with a file is said in our own words, once
logging.getLogger("tifffile").addHandler(logging.NullHandler())

SUFFIXES = (".tif", ".tiff", ".btf", ".tf8", ".tf2")
MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
RGB = 2


def recognises(path: str) -> bool:
    """Whether a file's ending or its first bytes are those of a TIFF."""
    if not Path(path).is_file():
        return False
    if path.lower().endswith(SUFFIXES):
        return True
    try:
        with open(path, "rb") as file:
            return file.read(4) in MAGIC
    except OSError:
        return False


@contextmanager
def open_tiff(path: str, wanted: Wanted) -> Iterator[Foreign]:
    """Open a TIFF.

    Parameters
    ----------
    path
        Of the file.
    wanted
        ``dataset`` is the number of an image, from 0, where a file holds several.

    Raises
    ------
    InputError
        If it is no TIFF, damaged, truncated, or its pages do not fit together.
    """
    with tiff_file(path) as tif:
        pages = checked_pages(path, tif)
        number, series = find_series(path, tif, pages, wanted.dataset)
        stack, factors = find_stack(path, series, pages, wanted.level)
        check_complete(stack)
        size = voxel_size(tif, number)
        scaled = size if isinstance(size, str) else _triple(np.multiply(size, factors))
        shift = (0.0, 0.0, 0.0) if isinstance(size, str) else _shift(size, factors)
        yield Foreign(
            path=path,
            format=_kind(tif),
            shape=stack.shape,
            axes=_letters(stack),
            dtype=np.dtype(stack.page.dtype).newbyteorder("="),
            voxel_size_nm=scaled,
            chunk=stack.chunk,
            read=stack.read,
            translation_nm=shift,
            files=_files(path, stack.pages),
            facts={"compression": stack.page.compression.name.lower(), "pages": str(len(pages))},
            warnings=_warnings(path, stack),
        )


TIFF = Format("TIFF", recognises, open_tiff)


@contextmanager
def tiff_file(path: str) -> Iterator[Any]:
    """A TIFF that is closed at the end.

    Raises
    ------
    InputError
        If it is none.
    """
    try:
        tif = tifffile.TiffFile(path)
    except Exception as error:
        raise InputError(f"{path}: cannot be read as a TIFF ({reason(error)})") from error
    with tif:
        yield tif


def checked_pages(path: str, tif: Any) -> list[Any]:
    """All pages; their list must be whole.

    Raises
    ------
    InputError
        If it is damaged, or the file was cut off.
    """
    try:
        pages = list(tif.pages)
        whole = _ends(tif, pages[-1])
    except Exception as error:
        raise InputError(f"{path}: its page list is damaged ({reason(error)})") from error
    if not whole:
        raise InputError(f"{path}: is truncated or damaged: page {len(pages) + 1} cannot be read")
    for number, page in enumerate(pages, start=1):
        if page.dtype is None or not page.shape or 0 in page.shape:
            raise InputError(f"{path}: page {number} is damaged or of an unknown kind")
    return pages


def _ends(tif: Any, last: Any) -> bool:
    """Whether no page is announced after the last; a truncated file announces one."""
    layout = tif.tiff
    tif.filehandle.seek(last.offset)
    (tags,) = struct.unpack(layout.tagnoformat, tif.filehandle.read(layout.tagnosize))
    tif.filehandle.seek(last.offset + layout.tagnosize + tags * layout.tagsize)
    raw = tif.filehandle.read(layout.offsetsize)
    return bool(len(raw) == layout.offsetsize and struct.unpack(layout.offsetformat, raw)[0] == 0)


def _letters(stack: Stack) -> str:
    """Axes as ``Foreign`` names them; empty if they are not known."""
    known = {"Z": "z", "Y": "y", "X": "x", "C": "c", "T": "t"}
    known |= {"S": "c"} if stack.axes.endswith("S") and "C" not in stack.axes else {}
    letters = "".join(known.get(axis, "?") for axis in stack.axes)
    if letters.count("?") == 1 and "z" not in letters:
        letters = letters.replace("?", "z")
    return letters if "?" not in letters and len(set(letters)) == len(letters) else ""


def _kind(tif: Any) -> str:
    if tif.is_ome:
        return "OME-TIFF"
    if tif.is_imagej:
        return "ImageJ TIFF"
    return "BigTIFF" if tif.is_bigtiff else "TIFF"


def _files(path: str, pages: Sequence[Any]) -> tuple[str, ...]:
    others = (str(page.parent.filehandle.path) for page in pages)
    return tuple(sorted({os.path.abspath(path), *others}))


def _warnings(path: str, stack: Stack) -> tuple[str, ...]:
    page = stack.page
    note = value_note(page)
    if note:
        return (f"{path}: {note}",)
    if page.photometric == RGB and stack.axes.startswith("S"):
        # tifffile writes so, unasked, what are the 3 or 4 sections of a small stack
        return (f"{path}: says that its {stack.shape[0]} planes are colours; taken as sections",)
    return ()


def _shift(size: Nanometres, factors: tuple[float, float, float]) -> Nanometres:
    """Centre of the first voxel of a coarser level."""
    return _triple(np.multiply(size, np.subtract(factors, 1)) / 2)


def _triple(values: Any) -> Nanometres:
    z, y, x = (float(value) for value in values)
    return z, y, x
