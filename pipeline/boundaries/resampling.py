"""Sections in pixels of the size that the network knows, and its map back on the voxels.

Pixels lie on one grid that begins where the volume begins: pixel k of an axis covers the voxels
from k * step to (k + 1) * step. What a pixel holds therefore depends on the volume alone, and
tiles whose windows overlap see the same pixels there. Where a step is 1 pixels are voxels.

Finer voxels are averaged over the pixel's area; between coarser ones a cubic spline
(Catmull-Rom) is laid. On the way back the map is interpolated linearly, or averaged.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.contract import Box, Triple, VolumeInfo
from pipeline.errors import ConfigError

SQUARE_WITHIN = 1.1
"""Pixels whose edges differ by no more than this factor count as square."""
MARGIN = 1.3
"""Pixels that are made lie so far, as a factor, within the range that the network knows: its
ends come from the scaling of training data (by .75 to 1.35) and were seen rarely. Of 16 nm
voxels it sees 8 nm better than 12 nm."""
LARGEST_FACTOR = 8
"""Between the edges of a pixel and a voxel."""
REFLECTED_PIXELS = 32
"""Pixels that are made up by reflection beyond the volume's border, at most."""
SPLINE_VOXELS = 2
"""How far a spline reaches from the voxels between which it lies."""

Steps = tuple[float, float, float]
"""Voxels that a pixel covers along z, y, x."""
UNCHANGED: Steps = (1.0, 1.0, 1.0)


def steps_of(
    wanted: float | Literal["auto", "off"],
    volume: VolumeInfo,
    planes: Sequence[int],
    known_nm: tuple[float, float] | None,
) -> Steps:
    """How many voxels a pixel of the network covers.

    Parameters
    ----------
    wanted
        Edge of a pixel in nm; ``off``: voxels are pixels; ``auto``: see ``chosen_pixel``.
    volume
        Its voxel size counts.
    planes
        Axes along which sections are taken: (0,) or (0, 1, 2).
    known_nm
        Lowest and highest edge that the network was trained on; ``None``: not known, so that
        ``auto`` changes nothing.

    Raises
    ------
    ConfigError
        If a pixel that is asked for is more than ``LARGEST_FACTOR`` times a voxel, or less
        than the same part of one.
    """
    axes = [k for k in range(3) if any(k != axis for axis in planes)]
    edges = [volume.voxel_size_nm[k] for k in axes]
    if wanted == "auto":
        pixel = chosen_pixel(edges, known_nm) if known_nm else None
    else:
        pixel = None if wanted == "off" else wanted
    if pixel is None:
        return UNCHANGED
    low, high = max(edges) / LARGEST_FACTOR, min(edges) * LARGEST_FACTOR
    if wanted != "auto" and not low <= pixel <= high:
        raise ConfigError(
            f"boundaries.pixel_nm = {pixel:g} is too far from the voxels' "
            f"{' x '.join(f'{edge:g}' for edge in edges)} nm; give {low:g} to {high:g}, auto or off"
        )
    z, y, x = (
        round(pixel / edge, 9) if k in axes else 1.0 for k, edge in enumerate(volume.voxel_size_nm)
    )
    return z, y, x


def chosen_pixel(edges_nm: Sequence[float], known_nm: tuple[float, float]) -> float | None:
    """Edge of the pixels that a network should see; ``None``: voxels are good as they are.

    It is the shortest edge of the voxels where the network knows it, else a multiple or a
    part of it, in halves, that lies within the range: few voxels make a pixel, always the
    same number.

    Parameters
    ----------
    edges_nm
        Of the voxels, along the axes of the sections.
    known_nm
        Lowest and highest edge that the network was trained on.

    >>> [chosen_pixel((edge, edge), (3, 13)) for edge in (1, 2, 2.5, 8, 16, 30)]
    [4.0, 4.0, 5.0, None, 8.0, 10.0]
    >>> chosen_pixel((4, 8), (3, 13))
    4
    """
    low, high = known_nm
    finest, coarsest = min(edges_nm), max(edges_nm)
    if low <= finest <= high:
        fits = coarsest <= min(high, finest * SQUARE_WITHIN)
        return None if fits else finest
    distance = low / finest if finest < low else finest / high
    factor = min(math.ceil(2 * distance * MARGIN) / 2, LARGEST_FACTOR)
    pixel = finest * factor if finest < low else finest / factor
    if distance * MARGIN > LARGEST_FACTOR or low <= pixel <= high:
        return pixel
    return math.sqrt(low * high)  # of a narrow range


def halo_voxels(halo: int, stride: int, steps: Steps) -> Triple:
    """Voxels around a tile that are read along z, y, x.

    Parameters
    ----------
    halo
        Pixels of context that the network needs.
    stride
        Windows begin and end at multiples of it where pixels are not voxels.
    steps
        See ``Steps``.
    """
    z, y, x = (
        halo if step == 1 else math.ceil((halo + stride + 1) * step) + SPLINE_VOXELS + 1
        for step in steps
    )
    return z, y, x


@dataclass(frozen=True, eq=False)
class Taps:
    """Samples along an axis as weighted sums of few others.

    Parameters
    ----------
    index
        (t, n) int64, the others.
    weight
        (t, n) float32, their weights; the sum over t is 1.
    """

    index: NDArray[np.int64]
    weight: NDArray[np.float32]

    def of(self, values: Tensor, dim: int) -> Tensor:
        """The samples of ``values`` along an axis.

        Every sample is the same sum in the same order, whatever lies beside it.
        """
        shape = [-1 if k == dim % values.ndim else 1 for k in range(values.ndim)]
        total: Tensor | None = None
        for index, weight in zip(self.index, self.weight, strict=True):
            part = values.index_select(dim, torch.from_numpy(index).to(values.device))
            if len(self.index) > 1:
                part *= torch.from_numpy(weight).to(values.device).reshape(shape)
            total = part if total is None else total.add_(part)
        assert total is not None
        return total


def taps(first: int, count: int, step: float, *, spline: bool = False) -> Taps:
    """How samples come from others of which one is 1 long.

    Parameters
    ----------
    first, count
        Samples first .. first + count - 1.
    step
        Length of a sample: sample k covers k * step to (k + 1) * step. From 1 on it is the
        mean over that, below 1 the value at its centre.
    spline
        Take that value of a cubic spline, not of a straight line.

    Returns
    -------
    taps
        Their indices are not limited to samples that exist.
    """
    place = np.arange(first, first + count)
    if step >= 1:
        begin = place * step
        index = np.floor(begin).astype(np.int64) + np.arange(math.ceil(step) + 1)[:, None]
        weight = np.minimum(index + 1, begin + step) - np.maximum(index, begin)
        weight = np.maximum(weight, 0) / step
    else:
        centre = (place + 0.5) * step - 0.5
        before = np.floor(centre).astype(np.int64)
        t = centre - before
        offsets, weight = _spline(t) if spline else (np.arange(2), np.stack([1 - t, t]))
        index = before + offsets[:, None]
    used = weight.any(1)
    return Taps(index[used], weight[used].astype(np.float32))


def _spline(t: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Catmull-Rom weights of four neighbours at ``t`` between the middle two."""
    weights = (
        -0.5 * t + t**2 - 0.5 * t**3,
        1 - 2.5 * t**2 + 1.5 * t**3,
        0.5 * t + 2 * t**2 - 1.5 * t**3,
        -0.5 * t**2 + 0.5 * t**3,
    )
    return np.arange(-1, 3), np.stack(weights)


@dataclass(frozen=True, eq=False)
class Line:
    """One axis of a window.

    Parameters
    ----------
    low, high
        Voxels that are read.
    pixels
        Pixels of the network's input from these voxels.
    voxels
        Voxels of the tile from pixels of the network's output.
    """

    low: int
    high: int
    pixels: Taps
    voxels: Taps


@dataclass(frozen=True, eq=False)
class Window:
    """A tile with its halo, as one axis' sections are predicted.

    Parameters
    ----------
    box
        What is read.
    rows, columns
        The axes of a section.
    """

    box: Box
    rows: Line
    columns: Line

    @property
    def pixels(self) -> int:
        """Of a section that the network sees."""
        return int(self.rows.pixels.index.shape[1] * self.columns.pixels.index.shape[1])

    def to_pixels(self, sections: Tensor) -> Tensor:
        """What the network sees.

        Parameters
        ----------
        sections
            (n, height, width) float32 0..1, voxels of ``box``.

        Returns
        -------
        pixels
            (n, ..) float32 0..1; sides are multiples of the stride, and what lies outside the
            volume is reflected a little, so that any size works.
        """
        narrow = self.columns.pixels.of(sections, -1)
        return self.rows.pixels.of(narrow, -2).clamp_(0, 1)

    def to_voxels(self, probability: Tensor) -> Tensor:
        """The network's map, (n, ..) float32 0..1, on the (n, height, width) voxels of the tile."""
        narrow = self.columns.voxels.of(probability, -1)
        return self.rows.voxels.of(narrow, -2).clamp_(0, 1)


def window_of(
    tile: Box,
    volume_shape: Triple,
    axis: int,
    halo: int,
    stride: int,
    steps: Steps,
    context_sections: int = 0,
) -> Window:
    """What is read for the sections of a tile across an axis.

    Parameters
    ----------
    tile
        In the volume's voxels.
    volume_shape
        zyx, in voxels.
    axis
        Along which sections are taken.
    halo, stride
        Of the network, in pixels.
    steps
        See ``Steps``.
    context_sections
        Sections that are read on each side of the tile, as far as there are any.
    """
    begin, end = list(tile.begin), list(tile.end)
    begin[axis] = max(begin[axis] - context_sections, 0)
    end[axis] = min(end[axis] + context_sections, volume_shape[axis])
    lines = []
    for k in (k for k in range(3) if k != axis):
        one = _line((tile.begin[k], tile.end[k]), volume_shape[k], halo, stride, steps[k])
        begin[k], end[k] = one.low, one.high
        lines.append(one)
    rows, columns = lines
    box = Box((begin[0], begin[1], begin[2]), (end[0], end[1], end[2]))
    return Window(box, rows, columns)


def _line(tile: tuple[int, int], length: int, halo: int, stride: int, step: float) -> Line:
    begin, end = tile
    pixels = math.ceil(length / step)
    back = taps(begin, end - begin, 1 / step)
    wanted = np.clip(back.index, 0, pixels - 1)
    low, high = int(wanted.min()), int(wanted.max()) + 1
    beyond = min(halo, REFLECTED_PIXELS)
    first = max(low - halo, -beyond)
    if step != 1:  # the network is the same at multiples of its stride only
        first -= first % stride
    count = min(high + halo, pixels + beyond) - first
    count += -count % stride
    if step == 1:
        read = max(begin - halo, 0), min(end + halo, length)
    else:
        read = (
            max(math.floor(first * step) - SPLINE_VOXELS, 0),
            min(math.ceil((first + count) * step) + SPLINE_VOXELS, length),
        )
    there = taps(first, count, step, spline=True)
    return Line(
        *read,
        Taps(reflected(there.index, *read) - read[0], there.weight),
        Taps(wanted - first, back.weight),
    )


def reflected(index: NDArray[np.int64], low: int, high: int) -> NDArray[np.int64]:
    """Indices at low .. high - 1 for others, mirrored at the first and last of these."""
    if high - low == 1:
        return np.full_like(index, low)
    period = 2 * (high - low - 1)
    offset = (index - low) % period
    return low + np.minimum(offset, period - offset)
