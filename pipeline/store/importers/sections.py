"""A folder of section images, or one image: PNG, JPEG, BMP, or TIFF with one page each."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.store.importers.checks import check_no_choice
from pipeline.store.importers.foreign import Foreign, Format, Wanted
from pipeline.store.importers.section_images import (
    Header,
    image_header,
    read_image,
    read_tiff,
    tiff_header,
)
from pipeline.store.importers.section_names import natural_key, numbering, shown

KINDS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".bmp": "BMP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}
IGNORED = frozenset({"thumbs.db", "desktop.ini"})
NO_SIZE = "images of sections have no voxel size"


def recognises(path: str) -> bool:
    """Whether it is a folder with images, or one image that is no TIFF."""
    try:
        if os.path.isfile(path):
            return KINDS.get(Path(path).suffix.lower(), "TIFF") != "TIFF"
        return os.path.isdir(path) and any(_kind(name) for name in os.listdir(path))
    except OSError:
        return False


@contextmanager
def open_sections(path: str, wanted: Wanted) -> Iterator[Foreign]:
    """Open a folder of sections; the headers of all are read.

    Parameters
    ----------
    path
        Of the folder, or of one image.
    wanted
        A folder has nothing to choose.

    Raises
    ------
    InputError
        If a file cannot be read, is not like the first, or has another ending.
    """
    check_no_choice(path, wanted, "a folder of images")
    files, warnings = _files(path)
    kind = KINDS[Path(files[0]).suffix.lower()]
    header_of, read_part = (
        (tiff_header, read_tiff) if kind == "TIFF" else (image_header, read_image)
    )
    headers = [header_of(file) for file in files]
    _check_alike(files, headers)
    first = headers[0]
    read = _reader(files, headers, read_part)
    yield Foreign(
        path=path,
        format=f"{len(files)} {kind} sections" if len(files) > 1 else f"{kind} image",
        shape=(len(files), *first.shape),
        axes="zyx" if len(first.shape) == 2 else "zyxc",
        dtype=first.dtype,
        voxel_size_nm=NO_SIZE,
        chunk=(1, *first.chunk),
        read=read,
        files=tuple(os.path.abspath(file) for file in files),
        facts={"first section": os.path.basename(files[0]), "last": os.path.basename(files[-1])},
        warnings=(*warnings, *_notes(files, headers)),
    )


SECTIONS = Format("folder of PNG, TIFF, JPEG or BMP sections", recognises, open_sections)


def _kind(name: str) -> str | None:
    """Kind of an image by its name; ``None`` for other and for hidden files."""
    return None if name.startswith(".") else KINDS.get(Path(name).suffix.lower())


def _files(path: str) -> tuple[list[str], tuple[str, ...]]:
    """Images in their order, and what is odd about the folder."""
    if os.path.isfile(path):
        return [path], ()
    try:
        names = sorted(os.listdir(path), key=natural_key)
    except OSError as error:
        raise InputError(f"{path}: cannot be listed ({error.strerror or error})") from error
    images = [name for name in names if _kind(name)]
    for file in (os.path.join(path, name) for name in images):
        if os.path.exists(file) and not os.path.isfile(file):  # a pipe would be waited for
            raise InputError(f"{file}: is no file")
    kinds = sorted({kind for name in images if (kind := _kind(name))})
    if len(kinds) > 1:
        counts = [f"{sum(_kind(name) == kind for name in images)} {kind}" for kind in kinds]
        raise InputError(
            f"{path}: holds {' and '.join(counts)} files; keep the sections alone in a folder"
        )
    others = [
        name
        for name in names
        if not _kind(name) and not name.startswith(".") and name.casefold() not in IGNORED
    ]
    warnings = [f"{path}: not used: {shown(others)}"] if others else []
    found = numbering(images)
    if found.twice:
        first, second = found.twice
        raise InputError(
            f"{path}: {first} and {second} have the same number; which is the section?"
        )
    if found.missing:
        numbers = shown(found.missing, found.missing_count)
        warnings.append(
            f"{path}: {len(images)} files, but no section {numbers}; the others are put one after "
            "another"
        )
    if found.several:
        warnings.append(
            f"{path}: no single number in the names gives the order; taken as sections from "
            f"{images[0]} to {images[-1]}, in the order of their names"
        )
    return [os.path.join(path, name) for name in images], tuple(warnings)


def _check_alike(files: list[str], headers: list[Header]) -> None:
    first = headers[0]
    for file, header in zip(files, headers, strict=True):
        if header.shape != first.shape or header.dtype != first.dtype:
            raise InputError(
                f"{file}: has shape {header.shape} {header.dtype}, "
                f"{os.path.basename(files[0])} has {first.shape} {first.dtype}; all must be equal"
            )


def _notes(files: list[str], headers: list[Header]) -> Iterator[str]:
    """What is odd about the values of sections; said once, at the first of them."""
    for note in sorted({header.note for header in headers if header.note}):
        noted = [file for file, header in zip(files, headers, strict=True) if header.note == note]
        others = f" (and {len(noted) - 1} other sections)" if len(noted) > 1 else ""
        yield f"{noted[0]}: {note}{others}"


def _reader(
    files: list[str],
    headers: list[Header],
    read_part: Callable[[str, tuple[slice, ...]], NDArray[Any]],
) -> Callable[[tuple[slice, ...]], NDArray[Any]]:
    def read(part: tuple[slice, ...]) -> NDArray[Any]:
        depth, rest = part[0], part[1:]
        out = np.empty([one.stop - one.start for one in part], headers[0].dtype)
        for number in range(depth.start, depth.stop):
            out[number - depth.start] = read_part(files[number], rest)
        return out

    return read
