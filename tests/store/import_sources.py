"""Sources of imports that tests make: an array that counts what is read, and files on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from pipeline.store.importers.foreign import Foreign, Format, Wanted

SIZE = (50.0, 4.0, 4.0)


def foreign_of(data: NDArray[Any], **changes: Any) -> Foreign:
    """An array in memory as a foreign volume."""
    given: dict[str, Any] = {
        "path": "memory",
        "format": "array",
        "shape": data.shape,
        "axes": "",
        "dtype": data.dtype,
        "voxel_size_nm": SIZE,
        "chunk": data.shape,
        "read": lambda part: data[part],
    }
    return Foreign(**{**given, **changes})


def format_of(foreign: Foreign) -> Format:
    """A format that recognises everything and gives one volume."""

    @contextmanager
    def opened(path: str, wanted: Wanted) -> Iterator[Foreign]:
        yield foreign

    return Format("memory", lambda path: True, opened)


def write_png_folder(folder: Path, data: NDArray[Any]) -> Path:
    folder.mkdir(parents=True)
    for number, section in enumerate(data):
        Image.fromarray(section).save(folder / f"section{number}.png")
    return folder


def write_tiff_folder(folder: Path, data: NDArray[Any]) -> Path:
    folder.mkdir(parents=True)
    for number, section in enumerate(data):
        tifffile.imwrite(folder / f"s{number}.tif", section, compression="deflate")
    return folder


def write_npy(path: Path, data: NDArray[Any]) -> Path:
    np.save(path, data)
    return path.with_suffix(".npy")


def write_npz(path: Path, data: NDArray[Any]) -> Path:
    np.savez_compressed(path, raw=data)
    return path.with_suffix(".npz")


def write_tiff(path: Path, data: NDArray[Any]) -> Path:
    target = path.with_suffix(".tif")
    tifffile.imwrite(target, data, compression="deflate", photometric="minisblack")
    return target


WRITERS: dict[str, Callable[[Path, NDArray[Any]], Path]] = {
    "png folder": write_png_folder,
    "tiff folder": write_tiff_folder,
    "npy": write_npy,
    "npz": write_npz,
    "tiff": write_tiff,
}
"""Format -> writer of a volume, called with a path without ending; gives what was written."""
