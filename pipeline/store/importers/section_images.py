"""One section: an image file of one page; its header, and any part of its pixels."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.store.arrays import reason
from pipeline.store.importers.tiff import checked_pages, tiff_file
from pipeline.store.importers.tiff_pages import missing_part, page_chunk, read_page, value_note

MODES = {
    "1": ("bool", 1),
    "L": ("uint8", 1),
    "I;16": ("uint16", 1),
    "I;16L": ("uint16", 1),
    "I;16B": ("uint16", 1),
    "I": ("uint16", 1),
    "LA": ("uint8", 2),
    "RGB": ("uint8", 3),
    "RGBA": ("uint8", 4),
    "CMYK": ("uint8", 4),
}
"""Pillow's modes -> dtype and number of channels; ``I`` is how older ones give 16 bits."""


PNG_DEPTH_AT = 24
"""Byte of a PNG that says its bits for each grey value or colour."""


@dataclass(frozen=True)
class Header:
    """What an image says of itself before it is decoded.

    Parameters
    ----------
    shape
        Rows, columns and, if there are several, colours.
    dtype
        In the machine's byte order.
    chunk
        What is decoded together, along the axes of ``shape``.
    note
        What is odd about its values, or empty.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunk: tuple[int, ...]
    note: str = ""


def image_header(file: str) -> Header:
    """Of a PNG, JPEG or BMP.

    Raises
    ------
    InputError
        If it is damaged, or its pixels would not come as they are stored.
    """
    with _image(file) as image:
        if image.mode not in MODES:
            colours = "a colour palette" if image.mode == "P" else f"mode {image.mode}"
            raise InputError(f"{file}: has {colours}; save it as grey values of 8 or 16 bits")
        if getattr(image, "n_frames", 1) != 1:
            raise InputError(f"{file}: holds several images; a section has one")
        _check_depth(file, image)
        name, channels = MODES[image.mode]
        shape = (image.height, image.width)
    shape_all = shape if channels == 1 else (*shape, channels)
    return Header(shape_all, np.dtype(name), shape_all)


def _check_depth(file: str, image: Any) -> None:
    """Refuse PNG pixels that Pillow squeezes or spreads to 8 bits without a word."""
    if image.format != "PNG":
        return
    with open(file, "rb") as opened:
        bits = opened.read(PNG_DEPTH_AT + 1)[PNG_DEPTH_AT]
    if bits in (2, 4) or (bits == 16 and MODES[image.mode][1] > 1):
        raise InputError(
            f"{file}: has {bits} bits for each {'colour' if bits == 16 else 'pixel'}; save it as "
            "grey values of 8 or 16 bits"
        )


def read_image(file: str, part: tuple[slice, ...]) -> NDArray[Any]:
    """A part of a PNG, JPEG or BMP; the whole image is decoded.

    Raises
    ------
    InputError
        If it is damaged.
    """
    with _image(file) as image:
        header = MODES[image.mode][0]
        try:
            data = np.asarray(image)
        except Exception as error:  # damaged images make the decoders raise anything
            raise InputError(f"{file}: is damaged or truncated ({reason(error)})") from error
    return data[part].astype(header, copy=False)


@contextmanager
def _image(file: str) -> Iterator[Any]:
    """An image that is closed at the end; only its header has been read."""
    from PIL import Image

    limit = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None  # sections are larger than what Pillow takes for an attack
    try:
        image = Image.open(file)
    except Exception as error:
        text = reason(error).removesuffix(f" {file!r}")
        raise InputError(f"{file}: cannot be read as an image ({text})") from error
    finally:
        Image.MAX_IMAGE_PIXELS = limit
    with image:
        yield image


def tiff_header(file: str) -> Header:
    """Of a TIFF with one page.

    Raises
    ------
    InputError
        If it is damaged, or no single section.
    """
    with tiff_file(file) as tif:
        page = _only_page(file, tif)
        lost = missing_part(page)
        if lost:
            raise InputError(f"{file}: is damaged or truncated ({lost})")
        dtype = np.dtype(page.dtype).newbyteorder("=")
        return Header(page.shape, dtype, page_chunk(page), value_note(page))


def read_tiff(file: str, part: tuple[slice, ...]) -> NDArray[Any]:
    """A part of a TIFF with one page.

    Raises
    ------
    InputError
        If it is damaged.
    """
    with tiff_file(file) as tif:
        page = _only_page(file, tif)
        try:
            return read_page(page, part)
        except InputError:
            raise
        except Exception as error:  # damaged strips make the decoders raise anything
            raise InputError(f"{file}: is damaged or truncated ({reason(error)})") from error


def _only_page(file: str, tif: Any) -> Any:
    pages = checked_pages(file, tif)
    if len(pages) != 1:
        raise InputError(
            f"{file}: holds {len(pages)} pages; a section has one (import a stack by itself)"
        )
    (page,) = pages
    if page.axes not in ("YX", "YXS"):
        raise InputError(f"{file}: has axes {page.axes}; a section has y and x")
    return page
