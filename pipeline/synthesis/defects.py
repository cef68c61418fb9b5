"""Defects of real volumes, put into a stack: for tests, and to measure what they cost.

All functions give a new stack of the dtype and shape of the given one.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Stack = NDArray[Any]


def inverted(raw: Stack) -> Stack:
    """Bright membranes in place of dark ones; the range of grey values stays."""
    low, high = grey_limits(raw)
    return _as(low + high - raw.astype(np.float64), raw)


def padded(raw: Stack, width: int, *, white: bool = False) -> Stack:
    """A black or white border around every section, as alignment leaves it, in voxels."""
    found = raw.copy()
    grey = grey_limits(raw)[1 if white else 0]
    inner = np.zeros(raw.shape[1:], np.bool_)
    inner[width : raw.shape[1] - width, width : raw.shape[2] - width] = True
    found[:, ~inner] = grey
    return found


def constant(raw: Stack, z: int, grey: float) -> Stack:
    """One grey value in all of a section."""
    found = raw.copy()
    found[z] = grey
    return found


def missing(raw: Stack, z: int) -> Stack:
    """A black section."""
    return constant(raw, z, grey_limits(raw)[0])


def saturated(raw: Stack, z: int, share: float = 0.8) -> Stack:
    """A section so bright that this share of its voxels is white."""
    low, high = grey_limits(raw)
    section = raw[z].astype(np.float64)
    white = float(np.quantile(section, 1 - share))
    return _with(raw, z, low + (section - low) * (high - low) / max(white - low, 1e-9))


def duplicated(raw: Stack, z: int, rng: np.random.Generator, noise: float = 0.01) -> Stack:
    """A section recorded again in the place of the next one.

    Parameters
    ----------
    raw
        The stack.
    z
        The section that becomes like the one below it.
    rng
        Of the noise of the second recording.
    noise
        Its standard deviation, in shares of the grey range.
    """
    low, high = grey_limits(raw)
    return _with(raw, z, raw[z - 1] + rng.normal(0, noise * (high - low), raw.shape[1:]))


def noise_only(raw: Stack, z: int, rng: np.random.Generator) -> Stack:
    """A section of noise with the mean and standard deviation of its grey values."""
    return _with(raw, z, rng.normal(raw[z].mean(), raw[z].std(), raw.shape[1:]))


def jumped(raw: Stack, z: int, gain: float, offset: float) -> Stack:
    """A section of another brightness and contrast.

    Parameters
    ----------
    raw
        The stack.
    z
        The section.
    gain
        Factor of its contrast, around its mean.
    offset
        Added, in shares of the grey range.
    """
    return _with(raw, z, _regreyed(raw, z, gain, offset))


def drifted(raw: Stack, gain: float, offset: float) -> Stack:
    """Brightness and contrast that drift along the stack.

    They are those of the volume in the middle, and reach ``gain`` and ``offset`` (see
    ``jumped``) at the last section, as far on the other side at the first one.
    """
    found = raw.copy()
    for z, part in enumerate(np.linspace(-1, 1, len(raw))):
        found[z] = _as(_regreyed(raw, z, gain**part, offset * part), raw)
    return found


def slipped(
    stack: Stack,
    z: int,
    shift: tuple[int, int],
    *,
    lasting: bool,
    fill: Literal["reflect", "zero"] = "reflect",
) -> Stack:
    """Sections displaced by some voxels along y and x.

    Parameters
    ----------
    stack
        Grey values, or labels.
    z
        The section.
    shift
        What lies at (y, x) comes to (y, x) + ``shift``.
    lasting
        Whether all sections above are displaced too.
    fill
        What comes in from beyond: the section's mirror image, or 0, for labels.
    """
    found = stack.copy()
    y, x = shift
    before, after = (max(y, 0), max(x, 0)), (max(-y, 0), max(-x, 0))
    for section in range(z, len(stack) if lasting else z + 1):
        padding = tuple(zip(before, after, strict=True))
        if fill == "reflect":
            wide = np.pad(stack[section], padding, mode="reflect")
        else:
            wide = np.pad(stack[section], padding)
        top, left = after
        height, width = stack.shape[1:]
        found[section] = wide[top : top + height, left : left + width]
    return found


def grey_limits(raw: Stack) -> tuple[float, float]:
    """Black and white: of the dtype, of floating point the lowest and highest grey value."""
    if raw.dtype.kind == "f":
        return float(raw.min()), float(raw.max())
    limits = np.iinfo(raw.dtype)
    return float(limits.min), float(limits.max)


def _regreyed(raw: Stack, z: int, gain: float, offset: float) -> NDArray[np.float64]:
    low, high = grey_limits(raw)
    section = raw[z].astype(np.float64)
    mean = section.mean()
    changed: NDArray[np.float64] = mean + gain * (section - mean) + offset * (high - low)
    return changed


def _with(raw: Stack, z: int, section: NDArray[np.float64]) -> Stack:
    found = raw.copy()
    found[z] = _as(section, raw)
    return found


def _as(grey: NDArray[np.float64], raw: Stack) -> Stack:
    """Rounded where the stack holds integers, and clipped to black and white."""
    clipped = np.clip(grey, *grey_limits(raw))
    return (clipped if raw.dtype.kind == "f" else np.rint(clipped)).astype(raw.dtype)
