"""Which axis of an array is which: three are z, y, x; of the others one place is chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from pipeline.contract import Box, Triple
from pipeline.errors import InputError
from pipeline.store.layout import AXES

CHOSEN = {"c": "channel", "t": "time"}
"""Axis -> the option that chooses a place on it."""
PLURAL = {"c": "channels", "t": "time points"}
BARE = "tczyx"
"""Axes of an array that does not name them, as far as it has them."""
AS_AXIS = {"channel": "c", "channels": "c", "time": "t"}


@dataclass(frozen=True)
class Axes:
    """How z, y, x lie in an array.

    Parameters
    ----------
    fixed
        Of each axis of the array the place that is read; ``None`` for z, y and x.
    zyx
        Which axis of the array is z, y and x.
    """

    fixed: tuple[int | None, ...]
    zyx: Triple

    @property
    def are_plain(self) -> bool:
        """Whether the array's last axes are z, y, x, and of others the first place is read."""
        count = len(self.fixed)
        in_order = self.zyx == (count - 3, count - 2, count - 1)
        return in_order and not any(self.fixed)

    def index(self, box: Box) -> tuple[int | slice, ...]:
        """What to read from the array for a box of the volume."""
        found: list[int | slice] = [0 if place is None else place for place in self.fixed]
        for axis, part in zip(self.zyx, box.slices, strict=True):
            found[axis] = part
        return tuple(found)

    def turned(self, data: NDArray[Any]) -> NDArray[Any]:
        """What was read with ``index``, as (Z, Y, X)."""
        order = np.argsort(np.argsort(self.zyx))
        return np.ascontiguousarray(data.transpose([int(n) for n in order]))


def find_axes(
    where: object,
    shape: Sequence[int],
    names: Sequence[str],
    *,
    channel: int | None = None,
    time: int | None = None,
) -> Axes:
    """Which axis is which, and which place is read of those that are not z, y, x.

    Parameters
    ----------
    where
        The array, for messages.
    shape
        Of the array.
    names
        Of its axes, of any case; empty: it does not say, and its last three axes are z, y, x.
    channel, time
        Place on that axis, from 0; needed where it is longer than 1.

    Raises
    ------
    InputError
        If z, y, x are not among the axes, or it is not said which place is meant.
    """
    named = tuple(AS_AXIS.get(name.lower(), name.lower()) for name in names)
    if len(shape) < len(AXES):
        raise InputError(
            f"{where}: has {len(shape)} axes {tuple(shape)}; a volume of z, y, x is needed"
        )
    if named and (sorted(set(named) & set(AXES)) != sorted(AXES) or len(set(named)) < len(named)):
        raise InputError(f"{where}: its axes are {', '.join(names)}; z, y, x must be among them")
    axes = named or tuple(BARE[-len(shape) :].rjust(len(shape), "?"))
    given = {"c": channel, "t": time}
    for axis, place in given.items():
        if place is not None and axis not in axes:
            raise InputError(
                f"{where}: has no axis of {PLURAL[axis]}, so leave --{CHOSEN[axis]} out"
            )
    fixed = tuple(
        None if axis in AXES else _place(where, shape, axes, number, given.get(axis))
        for number, axis in enumerate(axes)
    )
    z, y, x = (axes.index(axis) for axis in AXES)
    return Axes(fixed, (z, y, x))


def names_of_bare_array(array: zarr.Array[Any]) -> tuple[str, ...]:
    """Names that an array gives its axes itself; none, unless z, y and x are among them.

    Formats: ``dimension_names`` of zarr 3, and ``_ARRAY_DIMENSIONS``, which xarray writes.
    """
    names: Any = getattr(array.metadata, "dimension_names", None)
    if names is None:
        names = array.attrs.asdict().get("_ARRAY_DIMENSIONS")
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        return ()
    known = len(names) == array.ndim and set(AXES) <= {name.lower() for name in names}
    return tuple(names) if known else ()


def _place(
    where: object, shape: Sequence[int], axes: Sequence[str], number: int, given: int | None
) -> int:
    """The place that is read on an axis which is not z, y or x."""
    axis, length = axes[number], shape[number]
    if given is not None:
        if not 0 <= given < length:
            raise InputError(
                f"{where}: has {PLURAL[axis]} 0 to {length - 1}, not {given} (--{CHOSEN[axis]})"
            )
        return given
    if length == 1:
        return 0
    label = f"{tuple(shape)} ({', '.join(axes)})"
    if axis not in CHOSEN:
        raise InputError(
            f"{where}: has shape {label}; axis {number} is neither z, y, x nor time point or "
            "channel; save one place of it as its own z, y, x volume"
        )
    raise InputError(
        f"{where}: has shape {label}; which time point or channel is meant? Give "
        f"--{CHOSEN[axis]} 0 to {length - 1}"
    )
