"""Which pages of a TIFF, or which raw voxels behind one, are the volume; reading of any part."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.store.arrays import reason
from pipeline.store.importers.raw import RawArray
from pipeline.store.importers.tiff_pages import missing_part, page_chunk, read_page

LISTED = 8


@dataclass(frozen=True)
class Stack:
    """What is read of a file: pages of one shape, or raw voxels behind one page.

    ``shape`` and ``axes`` (tifffile's letters) are those of leading axes, then of a page.
    """

    path: str
    shape: tuple[int, ...]
    axes: str
    page: Any
    pages: Sequence[Any] = ()
    raw: RawArray | None = None

    @property
    def chunk(self) -> tuple[int, ...]:
        """Voxels that are decoded together."""
        if self.raw:
            return (*(1 for _ in self.shape[:-1]), self.shape[-1])
        inner = page_chunk(self.page)
        return (*(1 for _ in range(len(self.shape) - len(inner))), *inner)

    def read(self, part: tuple[slice, ...]) -> NDArray[Any]:
        """A part, in the machine's byte order; ``InputError`` names a damaged page."""
        if self.raw:
            return self.raw.read(part)
        leading = len(self.shape) - len(self.page.shape)
        out = np.empty([one.stop - one.start for one in part], self.page.dtype)
        for index in np.ndindex(*out.shape[:leading]):
            place = [i + one.start for i, one in zip(index, part, strict=False)]
            number = 0
            for position, n in zip(place, self.shape, strict=False):
                number = number * n + position
            try:
                out[index] = read_page(self.pages[number], part[leading:])
            except InputError:
                raise
            except Exception as error:  # damaged strips make the decoders raise anything
                raise InputError(
                    f"{self.path}: page {number + 1} is damaged or truncated ({reason(error)})"
                ) from error
        return out


def find_series(path: str, tif: Any, pages: list[Any], dataset: str | None) -> tuple[int, Any]:
    """The image that is meant.

    Parameters
    ----------
    path
        For messages.
    tif
        The open file.
    pages
        All of its pages.
    dataset
        Number of an image, from 0, if one was asked for.

    Returns
    -------
    number
        Of the image in the file.
    series
        Tifffile's image, or the list of all pages where each is a section by itself.

    Raises
    ------
    InputError
        If the choice is impossible or missing, or pages differ.
    """
    try:
        images = list(tif.series)
    except Exception as error:
        raise InputError(f"{path}: its page list is damaged ({reason(error)})") from error
    if dataset is not None:
        if not dataset.isdecimal() or int(dataset) >= len(images):
            raise InputError(f"{path}: has no image {dataset!r}; it has {_listed(images)}")
        return int(dataset), images[int(dataset)]
    if len(images) == 1:
        return 0, images[0]
    if tif.is_ome:
        raise InputError(f"{path}: has several images; give {path}:N: {_listed(images)}")
    _check_equal(path, pages)
    if any(len(image.pages) > 1 for image in images):
        raise InputError(f"{path}: has several images; give {path}:N: {_listed(images)}")
    return 0, pages


def _listed(images: list[Any]) -> str:
    shown = ", ".join(
        f"{number} ({' x '.join(map(str, image.shape))} {image.dtype})"
        for number, image in enumerate(images[:LISTED])
    )
    return f"{shown}{', ...' if len(images) > LISTED else ''}"


def _check_equal(path: str, pages: Sequence[Any]) -> None:
    first = pages[0]
    for number, page in enumerate(pages, start=1):
        if page.shape != first.shape or page.dtype != first.dtype:
            raise InputError(
                f"{path}: page {number} has shape {page.shape} {page.dtype}, "
                f"page 1 has {first.shape} {first.dtype}; all must be equal"
            )


def find_stack(
    path: str, series: Any, all_pages: list[Any], level: int
) -> tuple[Stack, tuple[float, float, float]]:
    """Pages or raw voxels of an image.

    Parameters
    ----------
    path
        Of the file.
    series
        See ``find_series``.
    all_pages
        Of the file, completely read; tifffile gives only offsets of most.
    level
        Resolution, 0 = finest.

    Returns
    -------
    stack
        What is read.
    factors
        zyx, how many times longer voxels are than those of level 0.

    Raises
    ------
    InputError
        If there is no such level, or pages are missing or differ.
    """
    if isinstance(series, list):
        _check_level(path, level, 1)
        first = series[0]
        return Stack(path, (len(series), *first.shape), f"I{first.axes}", first, series), (1, 1, 1)
    levels = series.levels
    _check_level(path, level, len(levels))
    chosen = levels[level]
    lengths = [dict(zip(one.axes, one.shape, strict=True)) for one in (series, chosen)]
    z, y, x = (lengths[0].get(axis, 1) / lengths[1].get(axis, 1) for axis in "ZYX")
    page = chosen.keyframe
    offset = chosen.dataoffset
    if offset is not None and not chosen.is_multifile:
        stored = np.dtype(chosen.dtype).newbyteorder(chosen.parent.byteorder)
        raw = RawArray(path, offset, chosen.shape, stored)
        return Stack(path, chosen.shape, chosen.axes, page, raw=raw), (z, y, x)
    if len(chosen.pages) == 1 and math.prod(chosen.shape) == math.prod(page.shape):
        return Stack(path, page.shape, page.axes, page, [page]), (z, y, x)
    leading = chosen.shape[: len(chosen.shape) - len(page.shape)]
    count = math.prod(leading)
    if chosen.shape[len(leading) :] != page.shape or count != len(chosen.pages):
        raise InputError(
            f"{path}: has shape {chosen.shape} (axes {chosen.axes}), but {len(chosen.pages)} pages "
            f"of {page.shape}; it is damaged or of an unknown kind"
        )
    checked = {(id(one.parent), one.offset): one for one in all_pages}
    found = [chosen.pages[number] for number in range(count)]
    pages = [one and checked.get((id(one.parent), one.offset), one) for one in found]
    if None in pages:
        raise InputError(
            f"{path}: page {pages.index(None) + 1} of {count} is missing: it may be in another "
            "file of the same OME-TIFF"
        )
    _check_equal(path, pages)
    return Stack(path, chosen.shape, chosen.axes, page, pages), (z, y, x)


def _check_level(path: str, level: int, count: int) -> None:
    if not 0 <= level < count:
        raise InputError(f"{path}: has levels 0 to {count - 1}, not {level}")


def check_complete(stack: Stack) -> None:
    """Find a truncated file before anything is read.

    Raises
    ------
    InputError
        Naming the page that is not whole.
    """
    if stack.raw:
        size = Path(stack.path).stat().st_size
        section = math.prod(stack.shape[-2:]) * stack.raw.dtype.itemsize
        if stack.raw.end > size:
            whole = max(0, size - stack.raw.offset) // section
            count = math.prod(stack.shape[:-2])
            raise InputError(
                f"{stack.path}: is truncated: page {whole + 1} of {count} is not whole"
            )
    for number, page in enumerate(stack.pages, start=1):
        lost = missing_part(page)
        if lost:
            raise InputError(f"{stack.path}: page {number} is damaged or truncated ({lost})")
