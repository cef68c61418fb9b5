"""One page of a TIFF: whether its voxels are all there, and any part of it decoded.

Tifffile decodes whole pages, and takes strips that are missing or cut off for empty ones. Here
every strip or tile must lie in the file, and only those that are needed are decoded.
``page.keyframe`` is the page itself or, where tifffile read only its offsets, the one it is like.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.store.importers.raw import RawArray

JPEG = (6, 7, 34892, 33007)
"""Compressions whose tables lie outside their strips."""
WHITE_IS_ZERO, PALETTE = 0, 3
NORMALISED = ("separate samples", "Z", "Y", "X", "S")
"""Axes of a page as tifffile decodes it; planes of samples go first if they are separate."""


def missing_part(page: Any) -> str | None:
    """What of a page is not in the file; ``None``: all is there."""
    size = page.parent.filehandle.size
    if is_raw(page):
        begin, end = page.dataoffsets[0], page.dataoffsets[0] + page.keyframe.nbytes
        return None if begin > 0 and end <= size else f"lies at bytes {begin}:{end} of {size}"
    expected = math.prod(page.keyframe.chunked)
    found = list(zip(page.dataoffsets, page.databytecounts, strict=False))
    kind = "tile" if page.keyframe.is_tiled else "strip"
    if len(found) < expected:
        return f"has {len(found)} of {expected} {kind}s"
    for number, (offset, count) in enumerate(found[:expected], start=1):
        if offset <= 0 or count <= 0:
            return f"{kind} {number} is missing"
        if offset + count > size:
            return f"{kind} {number} ends after the file's {size} bytes"
    return None


def value_note(page: Any) -> str:
    """Where stored values are not those that a viewer shows; empty otherwise."""
    if page.photometric == WHITE_IS_ZERO:
        return "says that 0 is white; values are kept as they are stored"
    if page.photometric == PALETTE:
        return "has a colour palette; values are kept as they are stored"
    return ""


def is_raw(page: Any) -> bool:
    """Whether a page's voxels lie in one piece, just as they are."""
    if not page.keyframe.is_final or not page.dataoffsets:
        return False
    found = list(zip(page.dataoffsets, page.databytecounts, strict=False))
    return all(a + n == b for (a, n), (b, _) in itertools.pairwise(found))


def page_chunk(page: Any) -> tuple[int, ...]:
    """Voxels along the page's axes that are decoded together: a row, a strip or a tile."""
    if is_raw(page):
        return (*(1 for _ in page.shape[:-1]), page.shape[-1])
    lengths = _lengths(page)
    return tuple(lengths[axis] for axis in _places(page))


def read_page(page: Any, part: tuple[slice, ...]) -> NDArray[Any]:
    """A part of a page, in the machine's byte order.

    Parameters
    ----------
    page
        Of tifffile, that misses nothing.
    part
        A slice for each axis of ``page.shape``.

    Raises
    ------
    Exception
        Of any kind, if a strip or tile is damaged.
    """
    if is_raw(page):
        stored = page.keyframe.dtype.newbyteorder(page.parent.byteorder)
        path = page.parent.filehandle.path
        return RawArray(path, page.dataoffsets[0], page.shape, stored).read(part)
    places = _places(page)
    wanted = [slice(0, n) for n in page.keyframe.shaped]
    for place, one in zip(places, part, strict=True):
        wanted[place] = one
    out = np.empty([one.stop - one.start for one in wanted], page.keyframe.dtype)
    lengths = _lengths(page)
    ranges = [
        range(one.start // n, -(-one.stop // n)) for one, n in zip(wanted, lengths, strict=True)
    ]
    counts = [-(-n // length) for n, length in zip(page.keyframe.shaped, lengths, strict=True)]
    for position in itertools.product(*ranges):
        index = int(np.ravel_multi_index(position, counts))
        begin = [p * n for p, n in zip(position, lengths, strict=True)]
        _place_segment(out, wanted, begin, _decoded(page, index))
    return out.reshape([one.stop - one.start for one in part])


def _decoded(page: Any, index: int) -> NDArray[Any]:
    """Strip or tile, with its axis of separate samples."""
    file = page.parent.filehandle
    with file.lock:
        if file.closed:  # of another file of an OME-TIFF in several
            file.open()
        file.seek(page.dataoffsets[index])
        data = file.read(page.databytecounts[index])
    tables = {}
    if page.keyframe.compression in JPEG:
        tables = {"jpegtables": page.jpegtables, "jpegheader": page.keyframe.jpegheader}
    segment, _, _ = page.keyframe.decode(data, index, **tables)
    return np.asarray(segment)[None]


def _place_segment(
    out: NDArray[Any], wanted: list[slice], begin: list[int], segment: NDArray[Any]
) -> None:
    """Copy what of a strip or tile is wanted; it may reach over the page's border."""
    source, target = [], []
    for one, first, n in zip(wanted, begin, segment.shape, strict=True):
        low, high = max(one.start, first), min(one.stop, first + n)
        if high <= low:
            raise ValueError("a strip or tile is too small")
        source.append(slice(low - first, high - first))
        target.append(slice(low - one.start, high - one.start))
    whole = segment[tuple(source)]
    if whole.shape != out[tuple(target)].shape:
        raise ValueError("a strip or tile is too small")
    out[tuple(target)] = whole


def _places(page: Any) -> list[int]:
    """Which normalised axis each axis of the page is."""
    axes = page.keyframe.axes
    places = []
    for number, letter in enumerate(axes):
        if letter == "S":
            places.append(0 if "Y" in axes[number:] else 4)
        else:
            places.append(NORMALISED.index(letter))
    return places


def _lengths(page: Any) -> tuple[int, int, int, int, int]:
    """Length of a strip or tile along the normalised axes."""
    _, _, height, width, samples = page.keyframe.shaped
    if page.keyframe.is_tiled:
        return (
            1,
            max(page.keyframe.tiledepth, 1),
            page.keyframe.tilelength,
            page.keyframe.tilewidth,
            samples,
        )
    return (1, 1, min(max(page.keyframe.rowsperstrip, 1), height), width, samples)
