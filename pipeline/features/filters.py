"""Filter responses of an image at one scale, compiled: one pass over the sections.

1. Section z is smoothed (inner window): along z, then y, then x.
2. Its gradient's products are smoothed within the section (outer window) and kept until all
   sections that section z's outer window reaches are there.
3. Responses of section z, a part of a row at a time: levels, gradient, Laplacian, eigenvalues
   of the Hessian and of the structure tensor.

The image goes on with its border's value. Windows are finite and every sum is added in one
fixed order, so responses far enough from the array's border have the same bits wherever the
array begins. There is no trigonometry: sines and cosines of vectors may differ in the last
bit with a voxel's place, sums, products, quotients and square roots do not.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.compiled import compiled
from pipeline.contract import UINT8_MAX, Triple

TILE = 128
"""Voxels of a row at once: element k of the matrix of voxel i is at ``k * TILE + i``, so that
loops over i run on vectors without a check whether arrays overlap."""
HALF, ZERO, ONE, TWO = np.float32(0.5), np.float32(0), np.float32(1), np.float32(2)
ROOT_3 = 3**0.5
QUARTER = np.float32(0.25)
HIGHEST = np.float32(UINT8_MAX)
MIDDLE = np.float32(UINT8_MAX / 2)

Windows = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]
"""Weights along z, y, x from the centre outwards; the other half is the same."""
Factors = tuple[np.float32, np.float32, np.float32]


@compiled
def eigenvalues_2x2(elements: NDArray[np.float32], count: int) -> None:
    """Replace matrices by their eigenvalues.

    Parameters
    ----------
    elements
        (3 TILE,) yy, yx, xx of every matrix; becomes largest, smallest eigenvalue.
    count
        Number of matrices, at most TILE.
    """
    for i in range(count):
        yy, yx, xx = elements[i], elements[TILE + i], elements[2 * TILE + i]
        mean = HALF * (yy + xx)
        difference = HALF * (yy - xx)
        spread = np.sqrt(difference * difference + yx * yx)
        elements[i] = mean + spread
        elements[TILE + i] = mean - spread


@compiled
def eigenvalues_3x3(elements: NDArray[np.float32], count: int) -> None:
    """Replace matrices by their eigenvalues.

    With mean m and spread s, an eigenvalue is m + s t, where t^3 - 3 t = 2 r and -1 <= r <= 1.
    The root farthest from 0 has the sign of r and lies alone between sqrt 3 and 2: three of
    Newton's steps from the chord find it to the last bits; the others follow from a quadratic.
    In float64: equal eigenvalues are the root of a rounded 0.

    Parameters
    ----------
    elements
        (6 TILE,) zz, zy, zx, yy, yx, xx of every matrix; becomes the eigenvalues, largest
        first.
    count
        Number of matrices, at most TILE.
    """
    for i in range(count):
        zz, zy = np.float64(elements[i]), np.float64(elements[TILE + i])
        zx, yy = np.float64(elements[2 * TILE + i]), np.float64(elements[3 * TILE + i])
        yx, xx = np.float64(elements[4 * TILE + i]), np.float64(elements[5 * TILE + i])
        mean = (zz + yy + xx) / 3
        a, b, c = zz - mean, yy - mean, xx - mean
        off = zy * zy + zx * zx + yx * yx
        spread = np.sqrt((a * a + b * b + c * c + 2 * off) / 6)
        determinant = a * (b * c - yx * yx) - zy * (zy * c - yx * zx) + zx * (zy * yx - b * zx)
        cube = spread * spread * spread
        ratio = determinant / (2 * cube) if cube > 0 else 0.0
        size = min(abs(ratio), 1.0)
        root = ROOT_3 + (2 - ROOT_3) * size
        root -= (root * root * root - 3 * root - 2 * size) / (3 * root * root - 3)
        root -= (root * root * root - 3 * root - 2 * size) / (3 * root * root - 3)
        root -= (root * root * root - 3 * root - 2 * size) / (3 * root * root - 3)
        root = min(root, 2.0)
        gap = 0.5 * np.sqrt(12 - 3 * root * root)
        near, far = gap - 0.5 * root, -gap - 0.5 * root
        positive = ratio >= 0
        elements[i] = np.float32(mean + spread * (root if positive else -far))
        elements[TILE + i] = np.float32(mean + spread * (near if positive else -near))
        elements[2 * TILE + i] = np.float32(mean + spread * (far if positive else -root))


@compiled
def _smooth_depth(
    source: NDArray[Any],
    window: NDArray[np.float32],
    z: int,
    depth: int,
    rows: tuple[int, int],
    out: NDArray[np.float32],
) -> None:
    """Rows of section z smoothed along z; ``source`` may hold the last few sections only."""
    kept, _, width = source.shape
    for y in range(rows[0], rows[1]):
        centre, line, weight = source[z % kept, y], out[y], window[0]
        for x in range(width):
            line[x] = weight * np.float32(centre[x])
        for k in range(1, len(window)):
            below, above = source[max(z - k, 0) % kept, y], source[min(z + k, depth - 1) % kept, y]
            weight = window[k]
            for x in range(width):
                line[x] += weight * (np.float32(below[x]) + np.float32(above[x]))


@compiled
def _smooth_section(
    source: NDArray[np.float32],
    window_y: NDArray[np.float32],
    window_x: NDArray[np.float32],
    rows: tuple[int, int],
    margin: int,
    out: NDArray[np.float32],
) -> None:
    """Rows of a section smoothed along y and x; ``margin`` columns on both sides repeat."""
    height, width = source.shape
    reach_y, reach_x = len(window_y) - 1, len(window_x) - 1
    padded = np.empty(width + 2 * reach_x, np.float32)
    line = padded[reach_x : reach_x + width]
    for y in range(rows[0], rows[1]):
        centre, weight = source[y], window_y[0]
        for x in range(width):
            line[x] = weight * centre[x]
        for k in range(1, reach_y, 2):  # two rings at once: fewer passes over the line
            near0, near1, near = source[max(y - k, 0)], source[min(y + k, height - 1)], window_y[k]
            far0, far1 = source[max(y - k - 1, 0)], source[min(y + k + 1, height - 1)]
            far = window_y[k + 1]
            for x in range(width):
                line[x] = line[x] + near * (near0[x] + near1[x]) + far * (far0[x] + far1[x])
        if reach_y % 2:
            near0, near1 = source[max(y - reach_y, 0)], source[min(y + reach_y, height - 1)]
            near = window_y[reach_y]
            for x in range(width):
                line[x] += near * (near0[x] + near1[x])
        padded[:reach_x], padded[reach_x + width :] = line[0], line[width - 1]
        smoothed, weight = out[y, margin : margin + width], window_x[0]
        for x in range(width):
            smoothed[x] = weight * line[x]
        for k in range(1, reach_x, 2):
            near0, near1, near = padded[reach_x - k :], padded[reach_x + k :], window_x[k]
            far0, far1, far = padded[reach_x - k - 1 :], padded[reach_x + k + 1 :], window_x[k + 1]
            for x in range(width):
                smoothed[x] = smoothed[x] + near * (near0[x] + near1[x]) + far * (far0[x] + far1[x])
        if reach_x % 2:
            near0, near1, near = padded, padded[2 * reach_x :], window_x[reach_x]
            for x in range(width):
                smoothed[x] += near * (near0[x] + near1[x])
        out[y, :margin], out[y, margin + width :] = smoothed[0], smoothed[width - 1]


@compiled
def _gradients(
    smooth: NDArray[np.float32],
    z: int,
    depth: int,
    rows: tuple[int, int],
    axes: Factors,
    out: NDArray[np.float32],
) -> None:
    """Slopes of rows of section z along (z,) y, x, by central differences."""
    kept, height, _ = smooth.shape
    directions, _, width = out.shape
    for y in range(rows[0], rows[1]):
        row = smooth[z % kept, y]
        low, high = smooth[z % kept, max(y - 1, 0)], smooth[z % kept, min(y + 1, height - 1)]
        slope, factor = out[directions - 2, y], HALF * axes[1]
        for x in range(width):
            slope[x] = factor * (high[x + 1] - low[x + 1])
        slope, factor = out[directions - 1, y], HALF * axes[2]
        for x in range(width):
            slope[x] = factor * (row[x + 2] - row[x])
        if directions == 3:
            low, high = smooth[max(z - 1, 0) % kept, y], smooth[min(z + 1, depth - 1) % kept, y]
            slope, factor = out[0, y], HALF * axes[0]
            for x in range(width):
                slope[x] = factor * (high[x + 1] - low[x + 1])


@compiled
def _store(
    values: NDArray[np.float32],
    gain: np.float32,
    zero: np.float32,
    channel: int,
    out: NDArray[np.uint8],
) -> None:
    """``zero`` + ``gain`` times the values as levels 0..255, clipped and rounded."""
    for i in range(len(out)):
        level = min(max(gain * values[i] + zero, ZERO), HIGHEST)
        out[i, channel] = np.uint8(np.int32(level + HALF))


@compiled
def _store_roots(
    values: NDArray[np.float32], gain: np.float32, channel: int, out: NDArray[np.uint8]
) -> None:
    """``gain`` times the square roots of the values as levels 0..255."""
    for i in range(len(out)):
        level = min(gain * np.sqrt(max(values[i], ZERO)), HIGHEST)
        out[i, channel] = np.uint8(np.int32(level + HALF))


@compiled
def _squared_gradient(
    smooth: NDArray[np.float32],
    sections: tuple[int, int, int],
    y: int,
    x: int,
    axes: Factors,
    count: int,
    out: NDArray[np.float32],
) -> None:
    """Squared gradient of ``count`` voxels from (y, x) on; ``sections``: below, here, above."""
    height = smooth.shape[1]
    row, factor = smooth[sections[1], y, x:], HALF * axes[2]
    for i in range(count):
        slope = factor * (row[i + 2] - row[i])
        out[i] = slope * slope
    low, high = (
        smooth[sections[1], max(y - 1, 0), x:],
        smooth[sections[1], min(y + 1, height - 1), x:],
    )
    factor = HALF * axes[1]
    for i in range(count):
        slope = factor * (high[i + 1] - low[i + 1])
        out[i] += slope * slope
    if axes[0] > ZERO:
        low, high, factor = smooth[sections[0], y, x:], smooth[sections[2], y, x:], HALF * axes[0]
        for i in range(count):
            slope = factor * (high[i + 1] - low[i + 1])
            out[i] += slope * slope


@compiled
def _second(
    low: NDArray[np.float32],
    centre: NDArray[np.float32],
    high: NDArray[np.float32],
    factor: np.float32,
    out: NDArray[np.float32],
) -> None:
    """Second difference along one axis times ``factor``."""
    for i in range(len(out)):
        out[i] = factor * ((low[i] + high[i]) - TWO * centre[i])


@compiled
def _mixed(
    low: tuple[NDArray[np.float32], NDArray[np.float32]],
    high: tuple[NDArray[np.float32], NDArray[np.float32]],
    factor: np.float32,
    out: NDArray[np.float32],
) -> None:
    """Central difference of central differences, of rows (low, high) along a second axis."""
    low0, low1, high0, high1 = low[0], low[1], high[0], high[1]
    for i in range(len(out)):
        out[i] = factor * ((high1[i] - high0[i]) - (low1[i] - low0[i]))


@compiled
def _hessian(
    smooth: NDArray[np.float32],
    sections: tuple[int, int, int],
    y: int,
    x: int,
    axes: Factors,
    count: int,
    out: NDArray[np.float32],
) -> None:
    """Second derivatives of ``count`` voxels, in the order that ``eigenvalues`` wants them."""
    height = smooth.shape[1]
    below, here, above = sections
    up, down = max(y - 1, 0), min(y + 1, height - 1)
    first = 3 * TILE if axes[0] > ZERO else 0
    row, low, high = smooth[here, y, x:], smooth[here, up, x:], smooth[here, down, x:]
    _second(low[1:], row[1:], high[1:], axes[1] * axes[1], out[first : first + count])
    factor = QUARTER * axes[1] * axes[2]
    _mixed((low, low[2:]), (high, high[2:]), factor, out[first + TILE : first + TILE + count])
    begin = first + 2 * TILE
    _second(row, row[1:], row[2:], axes[2] * axes[2], out[begin : begin + count])
    if first:
        low, high = smooth[below, y, x:], smooth[above, y, x:]
        _second(low[1:], row[1:], high[1:], axes[0] * axes[0], out[:count])
        lows = smooth[below, up, x + 1 :], smooth[below, down, x + 1 :]
        highs = smooth[above, up, x + 1 :], smooth[above, down, x + 1 :]
        _mixed(lows, highs, QUARTER * axes[0] * axes[1], out[TILE : TILE + count])
        factor = QUARTER * axes[0] * axes[2]
        _mixed((low, low[2:]), (high, high[2:]), factor, out[2 * TILE : 2 * TILE + count])


@compiled
def _trace(
    elements: NDArray[np.float32], directions: int, count: int, out: NDArray[np.float32]
) -> None:
    """Sum of the diagonal of matrices in the order of ``eigenvalues``."""
    last = 5 if directions == 3 else 2
    for i in range(count):
        out[i] = elements[i] + elements[last * TILE + i]
    if directions == 3:
        for i in range(count):
            out[i] += elements[3 * TILE + i]


@compiled
def _write_responses(
    smooth: NDArray[np.float32],
    tensor: NDArray[np.float32],
    sections: tuple[int, int, int],
    begin: tuple[int, int],
    axes: Factors,
    gains: Factors,
    out: NDArray[np.uint8],
) -> None:
    """Levels of all responses of one section from row and column ``begin`` on."""
    directions = 3 if axes[0] > ZERO else 2
    elements, single = np.empty(6 * TILE, np.float32), np.empty(TILE, np.float32)
    for row in range(out.shape[0]):
        y = begin[0] + row
        for first in range(0, out.shape[1], TILE):
            levels = out[row, first : first + TILE]
            x, count = begin[1] + first, len(levels)
            _store(smooth[sections[1], y, x + 1 :], ONE, ZERO, 0, levels)
            _squared_gradient(smooth, sections, y, x, axes, count, single)
            _store_roots(single, gains[0], 1, levels)
            _hessian(smooth, sections, y, x, axes, count, elements)
            _trace(elements, directions, count, single)
            _store(single, gains[1], MIDDLE, 2, levels)
            _eigenvalues(elements, directions, count)
            for k in range(directions):
                _store(elements[k * TILE :], gains[1], MIDDLE, 3 + k, levels)
            for k in range(len(tensor)):
                elements[k * TILE : k * TILE + count] = tensor[k, y, x : x + count]
            _eigenvalues(elements, directions, count)
            for k in range(directions):
                _store_roots(elements[k * TILE :], gains[2], 3 + directions + k, levels)


@compiled
def _eigenvalues(elements: NDArray[np.float32], directions: int, count: int) -> None:
    """Eigenvalues of 2x2 or 3x3 matrices, in place."""
    if directions == 3:
        eigenvalues_3x3(elements, count)
    else:
        eigenvalues_2x2(elements, count)


@compiled
def _multiply(
    a: NDArray[np.float32], b: NDArray[np.float32], rows: tuple[int, int], out: NDArray[np.float32]
) -> None:
    """Rows of the product of two images."""
    for y in range(rows[0], rows[1]):
        left, right, line = a[y], b[y], out[y]
        for x in range(len(line)):
            line[x] = left[x] * right[x]


def responses(
    image: NDArray[np.uint8],
    inner: Windows,
    outer: Windows,
    axes: Factors,
    gains: Factors,
    begin: Triple,
    out: NDArray[np.uint8],
) -> None:
    """All responses of a part of an image.

    Parameters
    ----------
    image
        (Z, Y, X) uint8.
    inner, outer
        Windows of the smoothing before and after differences are taken.
    axes
        Factor of a derivative along z, y, x; 0 along z: every section by itself.
    gains
        Levels per unit of the gradient, of second derivatives, and of the root of an
        eigenvalue of the structure tensor.
    begin
        First voxel of the part.
    out
        (z, y, x, 3 + 2 d) uint8, written: smoothed, gradient magnitude, Laplacian, d
        eigenvalues of the Hessian, d of the structure tensor (largest first); d = 2 section
        by section, else 3. Second derivatives: 127.5 is none.
    """
    depth, height, width = image.shape
    directions, near = (3, 1) if axes[0] > ZERO else (2, 0)
    reach, reach_y = len(outer[0]) - 1, len(outer[1]) - 1
    wanted = begin[1], begin[1] + out.shape[1]
    sloped = _within((wanted[0] - reach_y, wanted[1] + reach_y), height)
    smoothed = _within((sloped[0] - 1, sloped[1] + 1), height)
    read = _within((smoothed[0] - len(inner[1]), smoothed[1] + len(inner[1])), height)
    pairs = [(i, j) for i in range(directions) for j in range(i, directions)]
    plane = np.empty((height, width), np.float32)
    gradients = np.empty((directions, height, width), np.float32)
    tensor = np.empty((len(pairs), height, width), np.float32)
    # rings of sections: section z is at z modulo their length
    smooth = np.empty((min(reach + 2 * near + 1, depth), height, width + 2), np.float32)
    products = np.empty((len(pairs), min(2 * reach + 1, depth), height, width), np.float32)
    made = max(begin[0] - reach, 0)
    blurred = max(made - near, 0)
    for z in range(begin[0], begin[0] + out.shape[0]):
        while made <= min(z + reach, depth - 1):
            while blurred <= min(made + near, depth - 1):
                _smooth_depth(image, inner[0], blurred, depth, read, plane)
                section = smooth[blurred % len(smooth)]
                _smooth_section(plane, inner[1], inner[2], smoothed, 1, section)
                blurred += 1
            _gradients(smooth, made, depth, sloped, axes, gradients)
            for product, (i, j) in zip(products, pairs, strict=True):
                _multiply(gradients[i], gradients[j], sloped, plane)
                section = product[made % len(product)]
                _smooth_section(plane, outer[1], outer[2], wanted, 0, section)
            made += 1
        for product, mean in zip(products, tensor, strict=True):
            _smooth_depth(product, outer[0], z, depth, wanted, mean)
        below, above = max(z - 1, 0), min(z + 1, depth - 1)
        sections = below % len(smooth), z % len(smooth), above % len(smooth)
        levels = out[z - begin[0]]
        _write_responses(smooth, tensor, sections, begin[1:], axes, gains, levels)


def _within(rows: tuple[int, int], height: int) -> tuple[int, int]:
    return max(rows[0], 0), min(rows[1], height)
