"""Which axis of a foreign array is z, y and x, and which channel and time point is taken."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contract import Box, Triple
from pipeline.errors import ConfigError, InputError
from pipeline.store.importers.checks import checked_shape
from pipeline.store.importers.foreign import Foreign
from pipeline.store.layout import AXES, Nanometres

LETTERS = {"z": "z", "y": "y", "x": "x", "c": "channels", "t": "time points"}
OPTIONS = {"c": "--channel", "t": "--time"}


@dataclass(frozen=True)
class Arrangement:
    """How a zyx volume lies in a foreign array.

    Parameters
    ----------
    order
        Axis of the array along z, y, x; ``None``: it has no such axis, the volume has length 1.
    chosen
        Axis that is none of them -> the one position that is taken.
    shape
        zyx, in voxels.
    voxel_size_nm
        zyx, or why it is unknown.
    translation_nm
        zyx, centre of the first voxel.
    """

    order: tuple[int | None, int | None, int | None]
    chosen: Mapping[int, int]
    shape: Triple
    voxel_size_nm: Nanometres | str
    translation_nm: Nanometres

    def part(self, box: Box) -> tuple[slice, ...]:
        """A box of the volume as slices of the array's axes."""
        found = {axis: slice(index, index + 1) for axis, index in self.chosen.items()}
        for axis, begin, end in zip(self.order, box.begin, box.end, strict=True):
            if axis is not None:
                found[axis] = slice(begin, end)
        return tuple(found[axis] for axis in range(len(found)))

    def turned(self, data: NDArray[Any]) -> NDArray[Any]:
        """What was read of a ``part``, as (Z, Y, X)."""
        missing = data.ndim
        padded = data[..., None, None, None]
        front = [missing + i if axis is None else axis for i, axis in enumerate(self.order)]
        rest = [axis for axis in range(padded.ndim) if axis not in front]
        return padded.transpose(*front, *rest).reshape(*(padded.shape[axis] for axis in front))

    def along(self, lengths: tuple[int, ...]) -> Triple:
        """Lengths along the array's axes, e.g. of a chunk, as zyx."""
        z, y, x = (1 if axis is None else lengths[axis] for axis in self.order)
        return z, y, x


def arrange(
    foreign: Foreign, axes: str | None = None, channel: int | None = None, time: int | None = None
) -> Arrangement:
    """Find z, y, x.

    Parameters
    ----------
    foreign
        The array.
    axes
        One letter of ``zyxct`` for each of its axes; goes before what the file says.
    channel, time
        From 0, where there are several.

    Raises
    ------
    ConfigError
        If ``axes`` is no such text.
    InputError
        If it does not fit the array, or a choice is missing or impossible.
    """
    own = _own_letters(foreign)
    letters = own if axes is None else _given_letters(foreign, axes)
    _check(foreign, letters)
    asked = {"c": channel, "t": time}
    for letter, option in OPTIONS.items():
        if letter not in letters and asked[letter] is not None:
            raise InputError(
                f"{foreign.path}: has no axis of {LETTERS[letter]} ({_described(foreign, letters)})"
                f"; leave {option} out"
            )
    chosen = {
        axis: _choice(foreign, letters, axis, asked.get(letter))
        for axis, letter in enumerate(letters)
        if letter not in AXES
    }
    z, y, x = (letters.index(name) if name in letters else None for name in AXES)
    length_z, length_y, length_x = (
        1 if axis is None else foreign.shape[axis] for axis in (z, y, x)
    )
    size, translation = _place(foreign, own, (z, y, x))
    return Arrangement((z, y, x), chosen, (length_z, length_y, length_x), size, translation)


def _own_letters(foreign: Foreign) -> str:
    """What the format says; ``-`` for an axis that is dropped; empty: unknown."""
    if foreign.axes:
        return foreign.axes.lower()
    shape = foreign.shape
    if len(shape) == 2:
        return "yx"
    spare = [axis for axis, n in enumerate(shape) if n == 1][: max(len(shape) - 3, 0)]
    if len(shape) - len(spare) != 3:
        return ""
    left = iter(AXES)
    return "".join("-" if axis in spare else next(left) for axis in range(len(shape)))


def _given_letters(foreign: Foreign, axes: str) -> str:
    letters = axes.strip().lower()
    if not letters or set(letters) - set(LETTERS) or len(set(letters)) < len(letters):
        raise ConfigError(
            f"--axes {axes!r}: give one letter an axis, slowest first, of z, y, x, c (channel) and "
            "t (time), e.g. xyz"
        )
    if not {"y", "x"} <= set(letters):
        raise ConfigError(f"--axes {axes!r}: y and x must be among them")
    if len(foreign.shape) == 2 and set(letters) == set(AXES):
        letters = letters.replace("z", "")  # formats leave the one section's axis out
    if len(letters) != len(foreign.shape):
        raise InputError(
            f"{foreign.path}: has {len(foreign.shape)} axes (shape {foreign.shape}), "
            f"--axes {axes} names {len(letters)}"
        )
    return letters


def _check(foreign: Foreign, letters: str) -> None:
    checked_shape(foreign.path, foreign.shape)
    if not letters:
        raise InputError(
            f"{foreign.path}: has {len(foreign.shape)} axes without names (shape {foreign.shape}); "
            "a volume of z, y, x is needed: name them with --axes, e.g. czyx"
        )
    if not {"y", "x"} <= set(letters):
        raise InputError(
            f"{foreign.path}: has no y or no x ({_described(foreign, letters)}); name the axes "
            "with --axes"
        )


def _choice(foreign: Foreign, letters: str, axis: int, asked: int | None) -> int:
    """Position along an axis of channels or time points."""
    count, letter = foreign.shape[axis], letters[axis]
    if asked is None and count == 1:
        return 0
    option, kind = OPTIONS.get(letter, ""), LETTERS.get(letter, "")
    if asked is None:
        hint = "" if "z" in letters else "; if they are the sections, give --axes "
        hint += letters.replace(letter, "z") if hint else ""
        raise InputError(
            f"{foreign.path}: has {count} {kind} ({_described(foreign, letters)}), one grey stack "
            f"is needed: choose with {option} 0 to {count - 1}{hint}"
        )
    if not 0 <= asked < count:
        raise InputError(f"{foreign.path}: has {kind} 0 to {count - 1}, not {asked}")
    return asked


def _described(foreign: Foreign, letters: str) -> str:
    return f"shape {foreign.shape}, axes {letters}"


def _place(
    foreign: Foreign, own: str, order: tuple[int | None, int | None, int | None]
) -> tuple[Nanometres | str, Nanometres]:
    """Voxel size and translation: both belong to the array's axes, whatever they are called."""
    if not own:
        return foreign.voxel_size_nm, foreign.translation_nm
    before = [None if axis is None or own[axis] not in AXES else own[axis] for axis in order]
    unused = [name for name in AXES if name not in before]
    names = [unused.pop(0) if letter is None else letter for letter in before]
    turned = [AXES.index(name) for name in names]
    translation = np.array(foreign.translation_nm)[turned].tolist()
    if isinstance(foreign.voxel_size_nm, str):
        return foreign.voxel_size_nm, _triple(translation)
    return _triple(np.array(foreign.voxel_size_nm)[turned].tolist()), _triple(translation)


def _triple(values: list[float]) -> Nanometres:
    z, y, x = (float(value) for value in values)
    return z, y, x
