"""What every opener checks: the file is there, holds numbers, and gives what was asked for."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError, PipelineError, ResourceError
from pipeline.store.arrays import reason
from pipeline.store.importers.foreign import Wanted

MOST_VOXELS = 1 << 60
NUMBERS = "biuf"
WIDEST_BYTES = 8

Slices = tuple[slice, ...]


def existing_file(path: str) -> Path:
    """The file at ``path``.

    Raises
    ------
    InputError
        If nothing or a folder is there, or it may not be read.
    """
    if not os.path.isfile(path):
        what = "is a folder, not a file" if os.path.isdir(path) else "does not exist"
        raise InputError(f"{path}: {what}")
    if not os.access(path, os.R_OK):
        raise InputError(f"{path}: may not be read (no permission)")
    return Path(path)


def check_no_choice(path: str, wanted: Wanted, format_name: str) -> None:
    """Refuse a dataset name or level where the format holds one volume.

    Raises
    ------
    InputError
        If one is asked for.
    """
    if wanted.dataset is not None:
        raise InputError(f"{path}: {format_name} holds one volume, so no {wanted.dataset!r} in it")
    check_no_level(path, wanted, format_name)


def check_no_level(path: str, wanted: Wanted, format_name: str) -> None:
    """Refuse a level other than 0 where there is one resolution."""
    if wanted.level:
        raise InputError(f"{path}: {format_name} has one resolution, so no level {wanted.level}")


@contextmanager
def judging(path: str, format_name: str) -> Iterator[None]:
    """Give whatever goes wrong while metadata are read as one line.

    Raises
    ------
    InputError
        For every error that is not one of this program.
    """
    try:
        yield
    except PipelineError:
        raise
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({reason(error)})") from error
    except Exception as error:
        raise InputError(
            f"{path}: its {format_name} metadata is damaged ({reason(error)})"
        ) from error


def number_dtype(path: str, dtype: np.dtype[Any]) -> np.dtype[Any]:
    """A dtype of plain numbers, in the machine's byte order.

    Raises
    ------
    InputError
        If voxels are complex, records (RGB), objects, text or wider than 8 bytes.
    """
    if dtype.kind not in NUMBERS or dtype.itemsize > WIDEST_BYTES:
        raise InputError(
            f"{path}: has voxels of type {dtype}; integers or floats of up to 64 bits are needed"
        )
    return np.dtype(dtype.str).newbyteorder("=")


def checked_shape(path: str, shape: Sequence[int]) -> tuple[int, ...]:
    """A shape without empty, negative or absurd axes.

    Raises
    ------
    InputError
        If it has one.
    """
    checked = tuple(int(n) for n in shape)
    if any(n == 0 for n in checked):
        raise InputError(f"{path}: is empty: shape {checked}")
    if any(n < 0 for n in checked) or math.prod(checked) > MOST_VOXELS:
        raise InputError(f"{path}: is damaged: its metadata says shape {checked}")
    return checked


def shortest(number: float) -> float:
    """A length that was stored as float32, as it was meant.

    >>> shortest(0.03999999910593033)
    0.04
    """
    return float(str(np.float32(number)))


def checked_reader(
    path: str, shape: tuple[int, ...], dtype: np.dtype[Any], read: Callable[[Slices], Any]
) -> Callable[[Slices], NDArray[Any]]:
    """Wrap a library's reading: exactly the asked voxels in ``dtype``, or one clear line.

    Parameters
    ----------
    path
        For messages.
    shape
        Voxels along every axis.
    dtype
        Of what is given back.
    read
        Called with slices inside ``shape``, without steps.
    """

    def checked(part: Slices) -> NDArray[Any]:
        inside = tuple(slice(*axis.indices(n)[:2]) for axis, n in zip(part, shape, strict=True))
        asked = tuple(max(0, axis.stop - axis.start) for axis in inside)
        try:
            data = np.asarray(read(inside))
        except InputError:
            raise
        except MemoryError as error:
            raise ResourceError(
                f"{path}: not enough memory to read voxels {_show(inside)}"
            ) from error
        except Exception as error:
            raise InputError(
                f"{path}: cannot read voxels {_show(inside)}: damaged or truncated "
                f"({reason(error)})"
            ) from error
        if data.shape != asked:
            raise InputError(
                f"{path}: is damaged: voxels {_show(inside)} came with shape {data.shape}"
            )
        return data.astype(dtype, copy=False)

    return checked


def _show(part: Slices) -> str:
    return ", ".join(f"{axis.start}:{axis.stop}" for axis in part)
