"""Foreign dtypes to those that this program works on; nothing is lost without a word."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contract import Triple
from pipeline.errors import InputError
from pipeline.store.volume import DTYPES

SHIFTED = {"int8": "uint8", "int16": "uint16"}
FLOATS = frozenset({"float16", "float64"})
UINT16_MAX = int(np.iinfo(np.uint16).max)

Check = Callable[[str, NDArray[Any], Triple], None]
"""Called with the path, a part as stored and its first voxel; raises ``InputError``."""


@dataclass(frozen=True)
class Conversion:
    """From one dtype to another.

    Parameters
    ----------
    dtype
        numpy dtype name of the result.
    offset
        What is added to every value.
    note
        What is done, for people; empty where values stay as they are.
    check
        That no value of a part is lost.
    """

    dtype: str
    offset: int = 0
    note: str = ""
    check: Check | None = None

    def convert(self, path: str, part: NDArray[Any], begin: Triple) -> NDArray[Any]:
        """The part in ``dtype``.

        Parameters
        ----------
        path
            For messages.
        part
            (Z, Y, X) as stored.
        begin
            Its first voxel in the source.

        Raises
        ------
        InputError
            If a value does not fit; says which and where.
        """
        if self.check:
            self.check(path, part, begin)
        if self.offset:
            wide = part.astype(np.int32)
            wide += self.offset
            return wide.astype(self.dtype)
        with np.errstate(over="ignore"):  # infinities were looked for, or were there before
            return part.astype(self.dtype, copy=False)


def conversion(path: str, dtype: np.dtype[Any], labels: bool = False) -> Conversion:
    """How voxels of a dtype are turned.

    Parameters
    ----------
    path
        For messages.
    dtype
        As stored.
    labels
        Whether they are ids, which become uint64, or grey values.

    Raises
    ------
    InputError
        If they cannot be: colours, complex numbers, text, or labels that are no integers.
    """
    if labels:
        if dtype.kind not in "biu":
            raise InputError(f"{path}: labels must be integers, not {dtype}")
        return Conversion("uint64", check=_not_negative if dtype.kind == "i" else None)
    if dtype.name in DTYPES:
        return Conversion(dtype.name)
    if dtype.kind == "b":
        return Conversion("uint8", note="bool is stored as uint8, 0 and 1")
    if dtype.name in SHIFTED:
        half = -int(np.iinfo(dtype).min)
        target = SHIFTED[dtype.name]
        return Conversion(target, half, f"{dtype} is stored as {target}, shifted by {half}")
    if dtype.name in FLOATS:
        return Conversion("float32", note=f"{dtype} is stored as float32", check=_finite_in_float32)
    if dtype.kind in "iu":
        return Conversion("uint16", note=f"{dtype} is stored as uint16", check=_within_uint16)
    raise InputError(
        f"{path}: has dtype {dtype}, which is no grey value; save it as {', '.join(sorted(DTYPES))}"
    )


def _not_negative(path: str, part: NDArray[Any], begin: Triple) -> None:
    if part.size and part.min() < 0:
        value, place = _first(part, part < 0, begin)
        raise InputError(
            f"{path}: label {value} at voxel {place} (z, y, x) is negative; ids must be 0 "
            "(background) or more"
        )


def _within_uint16(path: str, part: NDArray[Any], begin: Triple) -> None:
    if part.size and (part.min() < 0 or part.max() > UINT16_MAX):
        value, place = _first(part, (part < 0) | (part > UINT16_MAX), begin)
        raise InputError(
            f"{path}: value {value} at voxel {place} (z, y, x) does not fit into uint16: give "
            f"--labels if these are ids, or rescale grey values to 0..{UINT16_MAX}"
        )


def _finite_in_float32(path: str, part: NDArray[Any], begin: Triple) -> None:
    with np.errstate(over="ignore"):
        lost = np.isinf(part.astype(np.float32)) & np.isfinite(part)
    if lost.any():
        value, place = _first(part, lost, begin)
        raise InputError(
            f"{path}: value {value} at voxel {place} (z, y, x) does not fit into float32; rescale "
            "the volume"
        )


def _first(part: NDArray[Any], where: NDArray[Any], begin: Triple) -> tuple[Any, str]:
    """Value and place of the first voxel that is meant."""
    index = np.unravel_index(int(np.argmax(where)), part.shape)
    place = ", ".join(str(int(i) + b) for i, b in zip(index, begin, strict=True))
    return part[index], place
