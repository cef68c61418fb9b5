"""Sections of a TIFF, decoded when they are asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from pipeline.contract import Box, Triple
from pipeline.errors import InputError
from pipeline.store.importers.tiff import checked_pages, tiff_file
from pipeline.store.importers.tiff_stack import Stack, check_complete, find_series, find_stack

IMAGE_AXES = (2, 3)


class TiffVolume:
    """The first image of a TIFF as z, y, x; its file is opened again where a page needs it."""

    def __init__(self, path: Path) -> None:
        """Look at the file, without its voxels.

        Raises
        ------
        InputError
            If it is no TIFF, damaged, truncated, or neither 2D nor 3D.
        """
        with tiff_file(str(path)) as tif:
            pages = checked_pages(str(path), tif)
            _, series = find_series(str(path), tif, pages, "0")
            self._stack: Stack = find_stack(str(path), series, pages, 0)[0]
            check_complete(self._stack)
        shape = self._stack.shape
        if len(shape) not in IMAGE_AXES:
            raise InputError(f"{path}: has shape {shape}; z, y, x is needed")
        z, y, x = (1, *shape)[-3:]
        self.shape: Triple = (z, y, x)
        self.dtype = self._stack.page.dtype.newbyteorder("=")
        self.chunk: Triple = (1, y, x)
        self._path = path

    def read(self, box: Box) -> NDArray[Any]:
        """(Z, Y, X) voxels of a box.

        Raises
        ------
        InputError
            Naming a page that is damaged.
        """
        return self._stack.read(box.slices[-len(self._stack.shape) :]).reshape(box.shape)

    def add_stamps(self, digest: Any) -> None:
        """Add the file's size and time to a digest."""
        status = self._path.stat()
        digest.update(f"{status.st_size} {status.st_mtime_ns}".encode())
